"""The account: region, zones, bootstrap, quotas, roles, and names that must be free."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from infra.places import BUDGETS_REGION, Places
from infra.preflight.finding import Ask, Finding, missing, note, ready
from infra.preflight.nodes import NODE_CPUS
from infra.settings import Settings

_BOOTSTRAP: Final = "/cdk-bootstrap/hnb659fds/version"
_EXAMPLE_NETWORK: Final = "203.0.113."
_EXAMPLE_DOMAIN: Final = "example.org"


def check_placeholders(ask: Ask) -> Iterator[Finding]:
    """Values of the settings that only stand for somebody's own."""
    file, settings = f"infra/environments/{ask.settings.name}.py", ask.settings
    networks = [n for n in settings.cluster.endpoint_from if n.startswith(_EXAMPLE_NETWORK)]
    if networks:
        yield missing(
            f"{networks[0]} is a network of examples: nobody would reach the Kubernetes API",
            f"write your own network as endpoint_from into {file}, or () for inside only",
        )
    heard = [*settings.budget.emails, settings.alarms.email or ""]
    if any(address.endswith(_EXAMPLE_DOMAIN) for address in heard):
        yield missing(
            f"addresses at {_EXAMPLE_DOMAIN} hear of budget and alarms",
            f"write your own addresses into {file}",
        )


def check_region(ask: Ask) -> Iterator[Finding]:
    """Whether the account has switched the region on, and the zones are its own."""
    region = ask.settings.region
    regions = ask.clients("ec2", BUDGETS_REGION).describe_regions(AllRegions=True)["Regions"]
    found = [one for one in regions if one["RegionName"] == region]
    if not found:
        yield missing(f"there is no region {region}", "write another region into the settings")
    elif found[0]["OptInStatus"] == "not-opted-in":
        yield missing(
            f"region {region} is not enabled for the account",
            f"aws account enable-region --region-name {region}   (takes minutes to hours)",
        )
    else:
        yield ready(f"region {region} is enabled")


def check_zones(ask: Ask) -> Iterator[Finding]:
    """Whether the zones of the settings are there and open."""
    region, letters = ask.settings.region, ask.settings.network.zones
    found = {
        zone["ZoneName"].removeprefix(region)
        for zone in ask.here("ec2").describe_availability_zones()["AvailabilityZones"]
        if zone["State"] == "available" and zone.get("ZoneType") == "availability-zone"
    }
    absent = sorted(set(letters) - found)
    if absent:
        yield missing(
            f"{region} has no zone {' and '.join(absent)}",
            f"choose zones of {', '.join(sorted(found))} in the settings",
        )
    else:
        yield ready(f"zones {', '.join(letters)} are open")


def check_bootstrap(ask: Ask) -> Iterator[Finding]:
    """Whether the CDK has its bucket, repository and roles."""
    for region in sorted({ask.settings.region, BUDGETS_REGION}):
        ssm = ask.clients("ssm", region)
        try:
            version = ssm.get_parameter(Name=_BOOTSTRAP)["Parameter"]["Value"]
        except ssm.exceptions.ParameterNotFound:
            yield note(
                f"{region} is not bootstrapped yet", f"cdk bootstrap -c env={ask.settings.name}"
            )
        else:
            yield ready(f"{region} is bootstrapped (version {version})")


@dataclass(frozen=True, slots=True)
class Quota:
    """What a deployment needs of a quota."""

    service: str
    code: str
    what: str
    needed: int


def quotas_of(settings: Settings) -> list[Quota]:
    """Quotas that a new account is too small in."""
    cluster = settings.cluster
    pools = cluster.nodes != "groups"
    tiles = cluster.on_demand_nodes + (cluster.spot_nodes if pools else 0)
    # A pool takes what can be had: all of it may be on demand on a bad day.
    system = 2 * (cluster.system_nodes + 1)
    return [
        Quota("ec2", "L-34B43A08", "vCPUs of spot", NODE_CPUS * cluster.spot_nodes),
        Quota("ec2", "L-1216C47A", "vCPUs on demand", system + NODE_CPUS * tiles),
        Quota("ec2", "L-0263D0A3", "elastic addresses", settings.network.nat_gateways),
        Quota("vpc", "L-F678F1CE", "VPCs", 1),
    ]


def check_quotas(ask: Ask) -> Iterator[Finding]:
    """Whether quotas hold what the settings ask for; what else uses them is not counted."""
    for quota in quotas_of(ask.settings):
        found = ask.here("service-quotas").get_service_quota(
            ServiceCode=quota.service, QuotaCode=quota.code
        )["Quota"]["Value"]
        if found < quota.needed:
            yield missing(
                f"the account may have {found:g} {quota.what}, {quota.needed} are needed",
                f"aws service-quotas request-service-quota-increase --region "
                f"{ask.settings.region} --service-code {quota.service} --quota-code {quota.code} "
                f"--desired-value {quota.needed}",
            )
        else:
            yield ready(f"{quota.needed} {quota.what} of {found:g}")


def check_roles(ask: Ask) -> Iterator[Finding]:
    """Whether roles that the settings name exist, and somebody may assume them."""
    settings = ask.settings
    named = dict.fromkeys((*settings.cluster.admins, *settings.workers.operators))
    for arn in named:
        yield _check_role(ask, arn)
    cluster = Places(settings).cluster
    for role, given in (
        ("admin", settings.cluster.admins),
        ("operator", settings.workers.operators),
    ):
        if not given:
            yield note(
                f"role {cluster}-{role} will be made: whom the account's policies let may assume it"
            )
    if (
        settings.cluster.nodes == "karpenter"
        and _find_role(ask, "AWSServiceRoleForEC2Spot") is None
    ):
        yield missing(
            "Karpenter gets no spot before the account has EC2's role for it",
            "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
        )


def _check_role(ask: Ask, arn: str) -> Finding:
    account, name = arn.split(":")[4], arn.rpartition("/")[2]
    if account != ask.settings.account:
        return note(f"{arn} is of another account: look there whether it exists")
    role = _find_role(ask, name)
    if role is None:
        return missing(
            f"role {name} does not exist, and EKS and IAM refuse what they do not know",
            "make it, or leave admins and operators empty in the settings",
        )
    if not _may_be_assumed(role["AssumeRolePolicyDocument"]):
        return missing(
            f"nobody may assume role {name}: its trust policy allows no sts:AssumeRole",
            f"aws iam update-assume-role-policy --role-name {name} --policy-document ...",
        )
    return ready(f"role {name} exists and may be assumed")


def _find_role(ask: Ask, name: str) -> dict[str, Any] | None:
    iam = ask.here("iam")
    try:
        role: dict[str, Any] = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return role


def _may_be_assumed(policy: dict[str, Any] | str) -> bool:
    document = json.loads(policy) if isinstance(policy, str) else policy
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        actions = statement.get("Action", [])
        listed = [actions] if isinstance(actions, str) else actions
        if statement["Effect"] == "Allow" and any(a.startswith("sts:AssumeRole") for a in listed):
            return True
    return False


def check_names(ask: Ask) -> Iterator[Finding]:
    """Whether buckets have names that nobody else took: they are unique in the world."""
    places, s3 = Places(ask.settings), ask.here("s3")
    for bucket in (places.results, places.models, places.logs):
        try:
            s3.head_bucket(Bucket=bucket.name)
        except s3.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status != 404:
                yield missing(
                    f"bucket {bucket.name} is somebody else's ({status})",
                    "choose another name for the environment",
                )
                continue
            yield ready(f"bucket {bucket.name} is free")
        else:
            yield note(f"bucket {bucket.name} is there already", "import it, if no stack has it")
