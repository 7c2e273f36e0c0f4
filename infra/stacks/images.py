"""The images of workers and indexer: built and pushed at deployment, or taken by digest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aws_cdk import IgnoreMode, Stack
from aws_cdk import aws_ecr_assets as assets
from constructs import Construct

from cropmask.contract import VERSION
from infra.settings import Architecture

IMAGES: Final = ("worker", "indexer")
"""Stages of ``jobs/Dockerfile`` that are images."""
_ROOT: Final = Path(__file__).parents[2]
_DOCKERFILE: Final = "jobs/Dockerfile"
_PLATFORMS: Final = {
    "x86_64": assets.Platform.LINUX_AMD64,
    "arm64": assets.Platform.LINUX_ARM64,
}


def find_image(scope: Construct, stage: str, named: str | None, architecture: Architecture) -> str:
    """Image that the settings name; else one that is built of this clone.

    What is not in the image does not change it, so a deployment that changed none of it builds
    nothing. The CDK pushes to the repository that ``cdk bootstrap`` made, under a tag that is a
    digest of what it was built of, and that never moves.
    """
    if named is not None:
        return named
    image = assets.DockerImageAsset(
        scope,
        f"{stage.capitalize()}Image",
        directory=str(_ROOT),
        file=_DOCKERFILE,
        target=stage,
        platform=_PLATFORMS[architecture],
        build_args={"VERSION": VERSION},
        exclude=[*(_ROOT / f"{_DOCKERFILE}.dockerignore").read_text().split(), f"!{_DOCKERFILE}"],
        ignore_mode=IgnoreMode.DOCKER,
    )
    # A literal, as all names of ours: the partition is known.
    address = str(Stack.of(scope).resolve(image.image_uri)["Fn::Sub"])
    return address.replace("${AWS::URLSuffix}", "amazonaws.com")
