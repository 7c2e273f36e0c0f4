"""A synthesized environment as plain values: what CloudFormation would get."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CDK_OUT = Path(__file__).parents[1] / "cdk.out"
PARTS = ("budget", "network", "data", "cluster", "workers", "observability")
Properties = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """One resource of a template."""

    stack: str
    id: str
    type: str
    properties: Properties
    whole: dict[str, Any]


@dataclass(frozen=True)
class Synthesized:
    """All templates of one environment."""

    environment: str
    templates: dict[str, dict[str, Any]]
    folder: Path

    def resources(self, type_: str | None = None, stack: str | None = None) -> list[Resource]:
        """Resources of a type, of all stacks or of one."""
        return [
            Resource(part, id_, found["Type"], found.get("Properties", {}), found)
            for part, template in self.templates.items()
            if stack in (None, part)
            for id_, found in template["Resources"].items()
            if type_ in (None, found["Type"])
        ]

    def properties(self, type_: str, stack: str | None = None) -> list[Properties]:
        """Properties of the resources of a type."""
        return [resource.properties for resource in self.resources(type_, stack)]

    def one(self, type_: str, stack: str | None = None) -> Properties:
        """Properties of the only resource of a type."""
        (found,) = self.properties(type_, stack)
        return found

    def named(self, type_: str, key: str, end: str) -> Properties:
        """Properties of the only resource whose name ends so."""
        (found,) = [p for p in self.properties(type_) if str(p.get(key, "")).endswith(end)]
        return found

    def manifests(self) -> Iterator[dict[str, Any]]:
        """Kubernetes documents that are applied."""
        for properties in self.properties("Custom::AWSCDK-EKS-KubernetesResource"):
            text = properties["Manifest"]
            if isinstance(text, dict):  # names that are known at deployment only
                text = "".join(p if isinstance(p, str) else "?" for p in text["Fn::Join"][1])
            yield from json.loads(text)

    def images(self) -> dict[str, dict[str, Any]]:
        """Images that are built at deployment, by their stage of the Dockerfile."""
        file = self.folder / f"cropmask-{self.environment}-workers.assets.json"
        built = json.loads(file.read_text()).get("dockerImages", {}).values()
        return {image["source"]["dockerBuildTarget"]: image for image in built}

    def image(self, stage: str) -> str:
        """Address of the image that is built of a stage."""
        (place,) = self.images()[stage]["destinations"].values()
        (account,) = re.findall(r"::(\d{12}):", place["assumeRoleArn"])
        registry = f"{account}.dkr.ecr.{place['region']}.amazonaws.com"
        return f"{registry}/{place['repositoryName']}:{place['imageTag']}"

    def manifest(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """The only Kubernetes document of a kind, and name."""
        (found,) = [
            document
            for document in self.manifests()
            if document["kind"] == kind and name in (None, document["metadata"]["name"])
        ]
        return found


@cache
def load(environment: str) -> Synthesized:
    """What ``make infra-synth`` left for an environment."""
    return read(environment, CDK_OUT / environment)


def read(environment: str, folder: Path) -> Synthesized:
    """The templates of an environment in a folder."""
    files = {part: folder / f"cropmask-{environment}-{part}.template.json" for part in PARTS}
    missing = [str(file) for file in files.values() if not file.is_file()]
    assert not missing, f"synthesize first, with 'make infra-synth': {missing} are not there"
    return Synthesized(
        environment,
        {part: json.loads(file.read_text()) for part, file in files.items()},
        folder,
    )


def statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """Statements of a policy document, with actions and resources as lists."""
    return [
        {
            **found,
            "Action": _listed(found.get("Action")),
            "Resource": _listed(found.get("Resource")),
        }
        for found in _listed(policy["Statement"])
    ]


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 (JSON)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
