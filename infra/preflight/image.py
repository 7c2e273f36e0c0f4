"""The images of ours: whether they can be built here, or are there for the nodes' processors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any, Final

from infra.preflight.charts import MANIFESTS
from infra.preflight.finding import Ask, Finding, missing, note, ready, unknown
from infra.settings import Architecture

_ADDRESS: Final = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[\w-]+)\.amazonaws\.com/"
    r"(?P<repository>[^@:]+)(?::[^@]+)?@(?P<digest>sha256:[0-9a-f]{64})"
)
_PLATFORMS: Final[dict[Architecture, str]] = {"x86_64": "amd64", "arm64": "arm64"}
_SAME: Final = {"x86_64": "x86_64", "AMD64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}


def check_own_images(ask: Ask) -> Iterator[Finding]:
    """Images of workers and indexer."""
    index = ask.settings.workers.index
    named = {"worker": ask.settings.workers.image}
    if index is not None:
        named["indexer"] = index.image
    for image in filter(None, named.values()):
        yield _check_digest(ask, image)
    if None in named.values():
        yield from _check_engine(ask)


def _check_engine(ask: Ask) -> Iterator[Finding]:
    """Whether the machine builds images, for the processors of the nodes."""
    engine = os.environ.get("CDK_DOCKER", "docker")
    if not ask.machine.runs(engine, "info"):
        yield missing(
            f"the image is built here, and {engine} does not answer",
            "start it, or set CDK_DOCKER=podman, or name an image by digest in the settings",
        )
        return
    yield ready(f"{engine} builds the image")
    wanted, here = ask.settings.cluster.architecture, ask.machine.architecture()
    if _SAME.get(here) != wanted:
        yield note(
            f"nodes are {wanted}, this machine is {here}: the image is built under emulation",
            "docker run --privileged --rm tonistiigi/binfmt --install all   (once)",
        )


def _check_digest(ask: Ask, image: str) -> Finding:
    """Whether an image is in its repository, and runs on the nodes."""
    found = _ADDRESS.fullmatch(image)
    if found is None:
        return unknown(f"{image} is in no repository of ECR: look whether nodes may pull it")
    manifest = _manifest(ask, found)
    if manifest is None:
        return missing(
            f"there is no image {image}, or its repository is closed to this account",
            "copy it, or add the account to the readers of the other environment",
        )
    wanted = _PLATFORMS[ask.settings.cluster.architecture]
    platforms = _platforms(ask, found, manifest)
    if wanted not in platforms:
        return missing(
            f"{image} is for {' and '.join(sorted(platforms))}, nodes are {wanted}",
            "build it for several platforms: jobs/README.md",
        )
    return ready(f"image {found['repository']}@{found['digest'][:19]} runs on {wanted}")


def _manifest(ask: Ask, found: re.Match[str]) -> dict[str, Any] | None:
    ecr = ask.clients("ecr", found["region"])
    try:
        answer = ecr.batch_get_image(
            registryId=found["account"],
            repositoryName=found["repository"],
            imageIds=[{"imageDigest": found["digest"]}],
            acceptedMediaTypes=MANIFESTS.split(", "),
        )
    except ecr.exceptions.RepositoryNotFoundException:
        return None
    images = answer["images"]
    manifest: dict[str, Any] | None = json.loads(images[0]["imageManifest"]) if images else None
    return manifest


def _platforms(ask: Ask, found: re.Match[str], manifest: dict[str, Any]) -> set[str]:
    """Processors of an image: said by its index, or by the configuration of the only one."""
    if "manifests" in manifest:
        return {
            part["platform"]["architecture"] for part in manifest["manifests"] if "platform" in part
        }
    address = ask.clients("ecr", found["region"]).get_download_url_for_layer(
        registryId=found["account"],
        repositoryName=found["repository"],
        layerDigest=manifest["config"]["digest"],
    )["downloadUrl"]
    return {json.loads(ask.web(address, {}) or b"{}").get("architecture", "unknown")}
