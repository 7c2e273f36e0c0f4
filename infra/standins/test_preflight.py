"""The preflight, against moto and, where it knows nothing, against canned answers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID

from infra import pins
from infra.offers import CAPE_TOWN_ARM
from infra.places import BUDGETS_REGION, Places
from infra.preflight.__main__ import fetch, look, report
from infra.preflight.account import (
    check_bootstrap,
    check_names,
    check_placeholders,
    check_quotas,
    check_roles,
    check_zones,
    quotas_of,
)
from infra.preflight.charts import check_charts, check_images
from infra.preflight.finding import Ask, Check, Clients, Level
from infra.preflight.image import check_own_images
from infra.preflight.nodes import check_addons, check_kubernetes, check_types
from infra.settings import Index, Settings, load_settings

TRUSTED = {
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]
}
CLOSED = {"Statement": [{"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
DIGEST = "sha256:" + "c" * 64


@pytest.fixture
def settings() -> Settings:
    """Dev's, in moto's account, with somebody's own network and addresses."""
    known = load_settings("dev")
    return dataclasses.replace(
        known,
        account=DEFAULT_ACCOUNT_ID,
        cluster=dataclasses.replace(known.cluster, endpoint_from=()),
        budget=dataclasses.replace(known.budget, emails=("me@cropland.africa",)),
    )


@pytest.fixture(autouse=True, scope="module")
def aws() -> Iterator[None]:
    with mock_aws():
        for region in ("af-south-1", BUDGETS_REGION):
            boto3.client("ssm", region).put_parameter(
                Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String"
            )
        yield


@dataclass
class Answers:
    """AWS: moto, but for what it does not know."""

    quotas: dict[str, float] = field(default_factory=dict)
    builds: dict[str, list[str]] = field(default_factory=dict)
    status: str = "STANDARD_SUPPORT"
    opted: str = "opted-in"
    manifest: dict[str, Any] | None = None
    refused: str = ""
    taken: str = ""

    def __call__(self, service: str, region: str) -> Any:
        if service == self.refused:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, f"Ask{service}")
        made = {"service-quotas": self._quotas, "eks": self._eks, "ecr": self._ecr}.get(service)
        if made is not None:
            return made()
        client = boto3.client(service, region)
        if service == "ec2":
            known = client.describe_regions

            def described(**more: Any) -> dict[str, Any]:
                found: dict[str, Any] = known(**more)
                for one in found["Regions"]:
                    one["OptInStatus"] = self.opted
                return found

            client.describe_regions = described
        if service == "s3":
            head = client.head_bucket

            def looked(**bucket: str) -> Any:
                if bucket["Bucket"] == self.taken:
                    answer = {"HTTPStatusCode": 403}
                    raise client.exceptions.ClientError({"ResponseMetadata": answer}, "HeadBucket")
                return head(**bucket)

            client.head_bucket = looked
        return client

    def _quotas(self) -> Any:
        def get(**asked: str) -> dict[str, Any]:
            return {"Quota": {"Value": self.quotas.get(asked["QuotaCode"], 1000.0)}}

        return SimpleNamespace(get_service_quota=get)

    def _eks(self) -> Any:
        def versions(**asked: list[str]) -> dict[str, Any]:
            assert asked == {"clusterVersions": [pins.KUBERNETES]}
            until = datetime(2027, 8, 2, tzinfo=UTC)
            one = {"versionStatus": self.status, "endOfStandardSupportDate": until}
            return {"clusterVersions": [one] if self.status else []}

        def addons(addonName: str, kubernetesVersion: str) -> dict[str, Any]:
            assert kubernetesVersion == pins.KUBERNETES
            known = self.builds.get(addonName, [pins.ADDONS[addonName]])
            both = ["amd64", "arm64"]
            builds = [{"addonVersion": build, "architecture": both} for build in known]
            return {"addons": [{"addonVersions": builds}]}

        return SimpleNamespace(describe_cluster_versions=versions, describe_addon_versions=addons)

    def _ecr(self) -> Any:
        def get(**asked: Any) -> dict[str, Any]:
            assert asked["registryId"] == "111111111111"
            assert asked["imageIds"] == [{"imageDigest": DIGEST}]
            images = [{"imageManifest": json.dumps(self.manifest)}] if self.manifest else []
            return {"images": images}

        gone = type("RepositoryNotFoundException", (Exception,), {})
        return SimpleNamespace(
            batch_get_image=get,
            get_download_url_for_layer=lambda **_: {"downloadUrl": "https://layer.example"},
            exceptions=SimpleNamespace(RepositoryNotFoundException=gone),
        )


@dataclass
class Published:
    """What makers of charts and images publish; addresses without these words are empty."""

    words: tuple[str, ...] = ("autoscaler", "keda", "karpenter", "layer", "token")
    versions: str = ""

    def __call__(self, url: str, headers: dict[str, str]) -> bytes | None:
        assert url.startswith("https://")
        if "public.ecr.aws/v2/" in url:
            assert headers["Authorization"] == "Bearer everybody"
        if not any(word in url for word in self.words):
            return None
        if url.endswith("index.yaml"):
            charts = self.versions or f"{pins.KEDA.version} {pins.AUTOSCALER.version}"
            return "".join(f"    version: {one}\n" for one in charts.split()).encode()
        return json.dumps({"token": "everybody", "architecture": "arm64"}).encode()


@dataclass
class Laptop:
    engine: bool = True
    processor: str = "x86_64"

    def runs(self, *command: str) -> bool:
        return self.engine and command == ("docker", "info")

    def architecture(self) -> str:
        return self.processor


def ask(
    settings: Settings,
    *checks: Check,
    answers: Clients | None = None,
    published: Published | None = None,
    laptop: Laptop | None = None,
) -> dict[Level, str]:
    """What some checks find, in one text for each level."""
    asked = Ask(settings, answers or Answers(), published or Published(), laptop or Laptop())
    found = [finding for check in checks for finding in check(asked)]
    return {level: "\n".join(str(f) for f in found if f.level is level) for level in Level}


def test_a_good_account_is_ready(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    asked = Ask(settings, Answers(), Published(), Laptop())
    assert report(asked) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "dev is ready"
    assert "13 instance types for tiles are offered" in said
    assert f"Kubernetes {pins.KUBERNETES}, standard support until 2027-08-02" in said
    for name, build in pins.ADDONS.items():
        assert f"add-on {name} {build}" in said


def test_a_region_that_is_off_comes_first_and_alone(settings: Settings) -> None:
    asked = Ask(settings, Answers(opted="not-opted-in"), Published(), Laptop())
    said = "\n".join(map(str, look(asked)))
    assert "aws account enable-region --region-name af-south-1" in said
    assert "before it is enabled" in said
    assert "zones" not in said


def test_quotas_of_a_new_account_are_too_small(settings: Settings) -> None:
    small = {"L-34B43A08": 5.0, "L-1216C47A": 5.0}
    said = ask(settings, check_quotas, answers=Answers(quotas=small))[Level.MISSING]
    assert "5 vCPUs of spot, 32 are needed" in said
    assert "5 vCPUs on demand, 14 are needed" in said
    assert "--quota-code L-34B43A08 --desired-value 32" in said


def test_pools_may_be_on_demand_altogether(settings: Settings) -> None:
    cluster = dataclasses.replace(settings.cluster, nodes="auto")
    needed = {q.code: q.needed for q in quotas_of(dataclasses.replace(settings, cluster=cluster))}
    assert needed["L-1216C47A"] == 2 * 3 + 8 * (4 + 1)


def test_types_that_are_not_offered_are_named(settings: Settings) -> None:
    types = ("m6a.2xlarge", *settings.cluster.types)
    cluster = dataclasses.replace(settings.cluster, types=types)
    said = ask(dataclasses.replace(settings, cluster=cluster), check_types)[Level.MISSING]
    assert "af-south-1 offers no m6a.2xlarge for tiles" in said


def test_gravitons_zones_and_emulation_are_said(settings: Settings) -> None:
    cluster = dataclasses.replace(
        settings.cluster,
        architecture="arm64",
        types=CAPE_TOWN_ARM,
        system_types=("m7g.large",),
    )
    network = dataclasses.replace(settings.network, zones=("a", "b", "c"))
    chosen = dataclasses.replace(settings, cluster=cluster, network=network)
    said = ask(chosen, check_types, check_own_images)
    assert "c6g.2xlarge, m6gd.2xlarge for tiles: not in all zones" in said[Level.NOTE]
    assert "built under emulation" in said[Level.NOTE]
    assert said[Level.MISSING] == ""


def test_zones_that_are_not_there_are_named(settings: Settings) -> None:
    network = dataclasses.replace(settings.network, zones=("a", "x"))
    said = ask(dataclasses.replace(settings, network=network), check_zones)[Level.MISSING]
    assert "af-south-1 has no zone x" in said
    assert "choose zones of a, b, c" in said


def test_addons_charts_and_images_that_are_gone_are_named(settings: Settings) -> None:
    answers = Answers(builds={"coredns": ["v9.9.9-eksbuild.1"]})
    published = Published(words=("keda",), versions="1.0.0")
    asked = (check_addons, check_charts, check_images)
    said = ask(settings, *asked, answers=answers, published=published)[Level.MISSING]
    assert f"add-on coredns {pins.ADDONS['coredns']} is not to be had" in said
    assert "write v9.9.9-eksbuild.1 into infra/pins.py" in said
    assert f"chart keda {pins.KEDA.version} is not at" in said
    assert f"{pins.AUTOSCALER_IMAGE.tag} has no digest {pins.AUTOSCALER_IMAGE.digest}" in said


def test_karpenters_chart_and_image_are_asked_for_with_everybodys_token(
    settings: Settings,
) -> None:
    cluster = dataclasses.replace(settings.cluster, nodes="karpenter")
    chosen = dataclasses.replace(settings, cluster=cluster)
    said = ask(chosen, check_charts, check_images, check_roles)
    assert f"chart karpenter {pins.KARPENTER.version}" in said[Level.READY]
    assert "create-service-linked-role" in said[Level.MISSING]
    boto3.client("iam").create_role(
        RoleName="AWSServiceRoleForEC2Spot", AssumeRolePolicyDocument=json.dumps(TRUSTED)
    )
    assert ask(chosen, check_roles)[Level.MISSING] == ""


def test_a_version_out_of_standard_support_is_said(settings: Settings) -> None:
    said = ask(settings, check_kubernetes, answers=Answers(status="EXTENDED_SUPPORT"))
    assert "six times as much" in said[Level.NOTE]
    gone = ask(settings, check_kubernetes, answers=Answers(status=""))
    assert "EKS has no Kubernetes" in gone[Level.MISSING]


def test_named_roles_must_exist_and_be_open_to_somebody(settings: Settings) -> None:
    iam = boto3.client("iam")
    for name, policy in (("open", TRUSTED), ("closed", CLOSED)):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy))
    arns = tuple(f"arn:aws:iam::{settings.account}:role/{n}" for n in ("open", "closed", "gone"))
    cluster = dataclasses.replace(settings.cluster, admins=arns)
    said = ask(dataclasses.replace(settings, cluster=cluster), check_roles)
    assert "role open exists and may be assumed" in said[Level.READY]
    assert "nobody may assume role closed" in said[Level.MISSING]
    assert "role gone does not exist" in said[Level.MISSING]
    assert "role cropmask-dev-operator will be made" in said[Level.NOTE]


def test_buckets_of_others_are_said(settings: Settings) -> None:
    boto3.client("s3", "af-south-1").create_bucket(
        Bucket=Places(settings).models.name,
        CreateBucketConfiguration={"LocationConstraint": "af-south-1"},
    )
    said = ask(settings, check_names, answers=Answers(taken=Places(settings).results.name))
    assert f"bucket {Places(settings).results.name} is somebody else's (403)" in said[Level.MISSING]
    assert f"bucket {Places(settings).models.name} is there already" in said[Level.NOTE]
    assert f"bucket {Places(settings).logs.name} is free" in said[Level.READY]


def test_what_is_not_bootstrapped_yet_is_no_hindrance(settings: Settings) -> None:
    elsewhere = dataclasses.replace(settings, region="eu-west-1")
    said = ask(elsewhere, check_bootstrap)
    assert "us-east-1 is bootstrapped (version 30)" in said[Level.READY]
    assert "cdk bootstrap -c env=dev" in said[Level.NOTE]
    assert said[Level.MISSING] == ""


@pytest.mark.parametrize(
    ("manifest", "level", "words"),
    [
        (None, Level.MISSING, "there is no image"),
        ({"config": {"digest": "sha256:1"}}, Level.MISSING, "is for arm64, nodes are amd64"),
        (
            {"manifests": [{"platform": {"architecture": a}} for a in ("amd64", "arm64")]},
            Level.READY,
            "runs on amd64",
        ),
    ],
)
def test_an_image_by_digest_must_be_there_for_the_nodes(
    settings: Settings, manifest: dict[str, Any] | None, level: Level, words: str
) -> None:
    registry = "111111111111.dkr.ecr.af-south-1.amazonaws.com"
    image = f"{registry}/cropmask-dev/worker@{DIGEST}"
    workers = dataclasses.replace(settings.workers, image=image)
    chosen = dataclasses.replace(settings, workers=workers)
    answers = Answers(manifest=manifest)
    said = ask(chosen, check_own_images, answers=answers, laptop=Laptop(engine=False))
    assert words in said[level]


def test_a_machine_that_builds_nothing_is_said(settings: Settings) -> None:
    said = ask(settings, check_own_images, laptop=Laptop(engine=False))[Level.MISSING]
    assert "docker does not answer" in said
    index = Index(schedule="15 3 * * *", image=None, database="10.0.0.0/16")
    workers = dataclasses.replace(
        settings.workers, image=f"ghcr.io/somebody/cropmask@{DIGEST}", index=index
    )
    chosen = dataclasses.replace(settings, workers=workers)
    elsewhere = ask(chosen, check_own_images, laptop=Laptop(engine=False))
    assert "in no repository of ECR" in elsewhere[Level.UNKNOWN]
    assert "docker does not answer" in elsewhere[Level.MISSING]  # the indexer's is built


def test_examples_in_the_settings_are_found() -> None:
    known = dataclasses.replace(load_settings("dev"), account=DEFAULT_ACCOUNT_ID)
    said = ask(known, check_placeholders)[Level.MISSING]
    assert "203.0.113.0/24 is a network of examples" in said
    assert "addresses at example.org" in said


def test_what_may_not_be_asked_ends_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Ask(settings, Answers(refused="service-quotas"), Published(), Laptop())
    assert report(asked) == 0
    said = capsys.readouterr().out
    assert "quotas: AccessDeniedException for Askservice-quotas" in said
    assert said.splitlines()[-1] == "dev is ready, 1 could not be asked"


def test_what_is_to_be_done_is_counted(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Ask(settings, Answers(quotas={"L-34B43A08": 5.0}), Published(), Laptop())
    assert report(asked) == 20
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 things to do before dev can be deployed"


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [("nowhere", 2, "no environment 'nowhere'"), ("dev", 13, "cropmask: ")],
)
def test_wrong_environments_and_accounts_end_in_one_line(
    environment: str, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = subprocess.run(
        [sys.executable, "-m", "infra.preflight", environment],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_account_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from infra.preflight.__main__ import main

    assert main(["dev"]) == 13
    said = capsys.readouterr().err
    assert f"credentials are of account {DEFAULT_ACCOUNT_ID}" in said
    assert "say 111111111111" in said


def test_nothing_published_is_nothing() -> None:
    with pytest.raises(OSError, match="refused"):
        fetch("http://127.0.0.1:1/index.yaml", {})
