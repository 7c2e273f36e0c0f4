"""Charts and images of others: whether their makers have what was pinned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from infra import pins
from infra.preflight.finding import Ask, Finding, missing, ready
from infra.settings import Settings

MANIFESTS: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_PUBLIC: Final = "public.ecr.aws"


def charts_of(settings: Settings) -> list[pins.Chart]:
    """Charts that the environment has."""
    bring = {"groups": [pins.AUTOSCALER], "karpenter": [pins.KARPENTER], "auto": []}
    return [pins.KEDA, *bring[settings.cluster.nodes]]


def images_of(settings: Settings) -> list[pins.Image]:
    """Images of charts that are pinned by digest."""
    images = {"groups": [pins.AUTOSCALER_IMAGE], "karpenter": [pins.KARPENTER_IMAGE], "auto": []}
    return images[settings.cluster.nodes]


def check_charts(ask: Ask) -> Iterator[Finding]:
    """Whether the repositories of the charts have the versions."""
    for chart in charts_of(ask.settings):
        if _has_chart(ask, chart):
            yield ready(f"chart {chart.name} {chart.version}")
        else:
            yield missing(
                f"chart {chart.name} {chart.version} is not at {chart.repository}",
                "see infra/pins.py",
            )


def _has_chart(ask: Ask, chart: pins.Chart) -> bool:
    if chart.repository.startswith("oci://"):
        return _has_manifest(ask, chart.repository.removeprefix("oci://"), chart.version)
    index = ask.web(f"{chart.repository}/index.yaml", {})
    # A line of its own; a whole parser of an index of megabytes is not worth it.
    line = rf"(?m)^\s+version: ['\"]?{re.escape(chart.version)}['\"]?\s*$"
    return index is not None and bool(re.search(line, index.decode(errors="replace")))


def check_images(ask: Ask) -> Iterator[Finding]:
    """Whether the images that are pinned by digest are there."""
    for image in images_of(ask.settings):
        if _has_manifest(ask, image.repository, image.digest):
            yield ready(f"image {image.repository} {image.tag} by digest")
        else:
            yield missing(
                f"image {image.repository} {image.tag} has no digest {image.digest}",
                "see infra/pins.py",
            )


def _has_manifest(ask: Ask, repository: str, reference: str) -> bool:
    """Whether a registry that asks nobody's name has a tag or digest."""
    host, _, name = repository.partition("/")
    headers = {"Accept": MANIFESTS}
    if host == _PUBLIC:
        headers["Authorization"] = f"Bearer {_public_token(ask, name)}"
    return ask.web(f"https://{host}/v2/{name}/manifests/{reference}", headers) is not None


def _public_token(ask: Ask, name: str) -> str:
    """Token that Amazon's public registry gives to everybody."""
    url = f"https://{_PUBLIC}/token/?service={_PUBLIC}&scope=repository:{name}:pull"
    return str(json.loads(ask.web(url, {}) or b"{}").get("token", ""))
