"""What EKS and EC2 have: versions, add-ons, instance types."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from infra import pins
from infra.preflight.finding import Ask, Finding, missing, note, ready, unknown
from infra.settings import Settings

NODE_CPUS: Final = 8
"""Of a node for tiles."""
_LOOK: Final = "infra/pins.py"
_ARCHITECTURES: Final = {"x86_64": "amd64", "arm64": "arm64"}


def check_kubernetes(ask: Ask) -> Iterator[Finding]:
    """Whether EKS has the version, in standard support."""
    found = ask.here("eks").describe_cluster_versions(clusterVersions=[pins.KUBERNETES])
    versions = found["clusterVersions"]
    if not versions:
        yield missing(f"EKS has no Kubernetes {pins.KUBERNETES} here", f"see {_LOOK}")
        return
    status = versions[0].get("versionStatus", "")
    until = versions[0].get("endOfStandardSupportDate")
    said = f"Kubernetes {pins.KUBERNETES}" + (
        f", standard support until {until:%Y-%m-%d}" if until else ""
    )
    if status == "STANDARD_SUPPORT":
        yield ready(said)
    else:
        yield note(
            f"{said} has left standard support: the control plane costs six times as much",
            "upgrade: docs/deploy.md#upgrade-and-roll-back",
        )


def addons_of(settings: Settings) -> tuple[str, ...]:
    """Add-ons that the environment has."""
    return pins.AUTO_ADDONS if settings.cluster.nodes == "auto" else tuple(pins.ADDONS)


def check_addons(ask: Ask) -> Iterator[Finding]:
    """Whether EKS has the builds of the add-ons, for the processors of the nodes."""
    architecture = _ARCHITECTURES[ask.settings.cluster.architecture]
    for name in addons_of(ask.settings):
        wanted, builds = pins.ADDONS[name], _builds(ask, name)
        if wanted not in builds:
            newest = next(iter(builds), None)
            yield missing(
                f"add-on {name} {wanted} is not to be had for Kubernetes {pins.KUBERNETES}",
                f"write {newest} into {_LOOK}" if newest else f"see {_LOOK}",
            )
        elif architecture not in builds[wanted]:
            yield missing(f"add-on {name} {wanted} does not run on {architecture}", f"see {_LOOK}")
        else:
            yield ready(f"add-on {name} {wanted}")


def _builds(ask: Ask, name: str) -> dict[str, list[str]]:
    """Builds of an add-on, newest first, with the processors that they run on."""
    found = ask.here("eks").describe_addon_versions(
        addonName=name, kubernetesVersion=pins.KUBERNETES
    )
    return {
        build["addonVersion"]: build.get("architecture", [])
        for addon in found["addons"]
        for build in addon["addonVersions"]
    }


def check_types(ask: Ask) -> Iterator[Finding]:
    """Whether the region offers the instance types, and in which of our zones."""
    settings = ask.settings
    zones = {f"{settings.region}{letter}" for letter in settings.network.zones}
    offered = _offered(ask, {*settings.cluster.types, *settings.cluster.system_types})
    for kind, types in (
        ("tiles", settings.cluster.types),
        ("controllers", settings.cluster.system_types),
    ):
        absent = [type_ for type_ in types if not offered[type_]]
        if absent:
            yield missing(
                f"{settings.region} offers no {', '.join(absent)} for {kind}",
                f"take them out of infra/environments/{settings.name}.py or infra/offers.py",
            )
        partly = [type_ for type_ in types if offered[type_] and zones - offered[type_]]
        if partly:
            yield note(f"{', '.join(partly)} for {kind}: not in all zones")
        if not absent:
            yield ready(f"{len(types)} instance types for {kind} are offered")
    if not any(zones <= offered[type_] for type_ in settings.cluster.system_types):
        yield unknown("no type for controllers is offered in all zones: they may lack one")


def check_prices(ask: Ask) -> Iterator[Finding]:
    """What spot costs there today, beside the price of the settings."""
    found = ask.here("ec2").describe_spot_price_history(
        InstanceTypes=list(ask.settings.cluster.types),
        ProductDescriptions=["Linux/UNIX"],
        StartTime=datetime.now(UTC),
    )["SpotPriceHistory"]
    prices = sorted(float(one["SpotPrice"]) / NODE_CPUS for one in found)
    said = ask.settings.workers.cpu_hour_price
    if prices:
        yield note(
            f"spot costs ${prices[0]:.4f} to ${prices[-1]:.4f} an hour and CPU today, "
            f"${prices[len(prices) // 2]:.4f} in the middle; the settings say ${said.dollars:g} "
            f"({said.source}, {said.date})"
        )


def _offered(ask: Ask, types: set[str]) -> dict[str, set[str]]:
    """Zones that offer each type."""
    zones: dict[str, set[str]] = defaultdict(set)
    pages: Any = ask.here("ec2").get_paginator("describe_instance_type_offerings")
    wanted = [{"Name": "instance-type", "Values": sorted(types)}]
    for page in pages.paginate(LocationType="availability-zone", Filters=wanted):
        for offer in page["InstanceTypeOfferings"]:
            zones[offer["InstanceType"]].add(offer["Location"])
    return zones
