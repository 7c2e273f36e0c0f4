"""What else can bring nodes, by a setting: Karpenter on Graviton, and EKS Auto Mode."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from cropmask.contract import BATCH_TAINT
from infra import pins
from infra.app import build
from infra.naming import SHARED_RUN, tag_everything
from infra.offers import CAPE_TOWN_ARM
from infra.settings import Settings, load_settings
from infra.tests.synthesized import Synthesized, read
from infra.tests.test_policies import granted, text

PROMOTED = "111111111111.dkr.ecr.af-south-1.amazonaws.com/cropmask-dev/worker@sha256:" + "a" * 64


def synthesize(settings: Settings, folder: Path) -> Synthesized:
    context = json.loads((Path(__file__).parents[2] / "cdk.json").read_text())["context"]
    app = App(context=context, outdir=str(folder), analytics_reporting=False)
    build(app, settings)
    tag_everything(app, settings, SHARED_RUN)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return read(settings.name, folder)


def change(**cluster: Any) -> Settings:  # noqa: ANN401 (fields of Cluster)
    settings = load_settings("dev")
    workers = dataclasses.replace(settings.workers, image=PROMOTED)
    return dataclasses.replace(
        settings, workers=workers, cluster=dataclasses.replace(settings.cluster, **cluster)
    )


@pytest.fixture(scope="module")
def karpenter(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    settings = change(
        nodes="karpenter",
        architecture="arm64",
        types=CAPE_TOWN_ARM,
        system_types=("m7g.large", "m6g.large"),
    )
    return synthesize(settings, tmp_path_factory.mktemp("karpenter"))


@pytest.fixture(scope="module")
def auto(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return synthesize(change(nodes="auto"), tmp_path_factory.mktemp("auto"))


def test_the_rules_find_nothing_there_either(karpenter: Synthesized, auto: Synthesized) -> None:
    for cloud in (karpenter, auto):
        report = json.loads((cloud.folder / "validation-report.json").read_text())
        assert [v for plugin in report["pluginReports"] for v in plugin["violations"]] == []


def test_an_image_by_digest_is_run_and_none_is_built(karpenter: Synthesized) -> None:
    assert karpenter.images() == {}
    pod = karpenter.manifest("ScaledJob")["spec"]["jobTargetRef"]["template"]["spec"]
    assert pod["containers"][0]["image"] == PROMOTED


def test_karpenter_is_the_chart_and_image_that_were_looked_up(karpenter: Synthesized) -> None:
    charts = {c.properties["Chart"]: c for c in karpenter.resources("Custom::AWSCDK-EKS-HelmChart")}
    assert set(charts) == {"keda", "karpenter"}
    chart = charts["karpenter"]
    assert chart.properties["Version"] == pins.KARPENTER.version
    assert chart.properties["Repository"].startswith("oci://public.ecr.aws/")
    image = json.loads(chart.properties["Values"])["controller"]["image"]
    assert image == {"tag": pins.KARPENTER_IMAGE.tag, "digest": pins.KARPENTER_IMAGE.digest}
    assert "KarpenterAssociation" in " ".join(chart.whole["DependsOn"])


def test_graviton_is_a_setting_for_all_nodes(karpenter: Synthesized) -> None:
    (system,) = karpenter.properties("AWS::EKS::Nodegroup")
    assert system["AmiType"] == "AL2023_ARM_64_STANDARD"
    asked = {r["key"]: r["values"] for r in pool(karpenter)["template"]["spec"]["requirements"]}
    assert asked["kubernetes.io/arch"] == ["arm64"]
    assert asked["node.kubernetes.io/instance-type"] == list(CAPE_TOWN_ARM)


def test_pools_are_for_tiles_only_on_spot_first_and_have_an_end(
    karpenter: Synthesized, auto: Synthesized
) -> None:
    cluster = load_settings("dev").cluster
    for cloud in (karpenter, auto):
        found = pool(cloud)
        template = found["template"]["spec"]
        asked = {r["key"]: r["values"] for r in template["requirements"]}
        assert asked["karpenter.sh/capacity-type"] == ["spot", "on-demand"]
        taint = {"key": BATCH_TAINT, "value": "true", "effect": "NoSchedule"}
        assert template["taints"] == [taint]
        assert found["template"]["metadata"]["labels"] == {BATCH_TAINT: "true"}
        assert int(found["limits"]["cpu"]) == 8 * (cluster.spot_nodes + cluster.on_demand_nodes)
        assert found["disruption"] == {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": "5m",
        }


def pool(cloud: Synthesized) -> dict[str, Any]:
    spec: dict[str, Any] = cloud.manifest("NodePool")["spec"]
    return spec


def test_karpenters_nodes_are_as_closed_as_those_of_groups(karpenter: Synthesized) -> None:
    spec = karpenter.manifest("EC2NodeClass")["spec"]
    assert spec["metadataOptions"] == {"httpTokens": "required", "httpPutResponseHopLimit": 1}
    (disk,) = spec["blockDeviceMappings"]
    assert disk["ebs"]["encrypted"] is True
    assert spec["tags"]["cropmask:environment"] == "dev"
    assert not spec["amiSelectorTerms"][0]["alias"].endswith("latest")
    assert len(spec["subnetSelectorTerms"]) == 2
    types = {e["Type"] for e in karpenter.properties("AWS::EKS::AccessEntry") if "Type" in e}
    assert types == {"EC2_LINUX"}


def test_karpenter_starts_and_ends_nothing_of_others(karpenter: Synthesized) -> None:
    owned = "kubernetes.io/cluster/cropmask-dev"
    for owner, statement in granted(karpenter):
        if not owner.startswith("Karpenter"):
            continue
        condition = json.dumps(statement.get("Condition", {}))
        changes = {a for a in statement["Action"] if not a.split(":")[1].startswith(READ)}
        used = all(re_used(text(r)) for r in statement["Resource"])
        if changes - {"iam:PassRole", "sqs:DeleteMessage"} and not used:
            assert owned in condition, statement["Sid"]
    (give,) = [s for _, s in granted(karpenter) if "iam:PassRole" in s["Action"]]
    assert [text(r) for r in give["Resource"]] != ["*"]


READ = ("Describe", "Get", "List", "Receive")


def re_used(resource: str) -> bool:
    """Whether it is something that an instance is started with."""
    kind = resource.split(":")[-1].split("/")[0]
    return kind in {"image", "snapshot", "security-group", "subnet"}


def test_karpenter_hears_when_an_instance_is_taken(karpenter: Synthesized) -> None:
    rules = karpenter.properties("AWS::Events::Rule", "cluster")
    kinds = {kind for rule in rules for kind in rule["EventPattern"]["detail-type"]}
    assert "EC2 Spot Instance Interruption Warning" in kinds
    (queue,) = karpenter.properties("AWS::SQS::Queue", "cluster")
    assert queue["QueueName"] == "cropmask-dev-interruptions"
    values = next(
        json.loads(c["Values"])
        for c in karpenter.properties("Custom::AWSCDK-EKS-HelmChart")
        if c["Chart"] == "karpenter"
    )
    assert values["settings"]["interruptionQueue"] == queue["QueueName"]


def test_auto_mode_brings_what_groups_need_add_ons_for(auto: Synthesized) -> None:
    cluster = auto.one("AWS::EKS::Cluster")
    assert cluster["ComputeConfig"]["Enabled"] is True
    assert set(cluster["ComputeConfig"]["NodePools"]) == {"general-purpose", "system"}
    assert auto.properties("AWS::EKS::Nodegroup") == []
    addons = {addon["AddonName"] for addon in auto.properties("AWS::EKS::Addon")}
    assert addons == set(pins.AUTO_ADDONS)
    charts = {c["Chart"] for c in auto.properties("Custom::AWSCDK-EKS-HelmChart")}
    assert charts == {"keda"}


def test_auto_mode_enforces_network_policies_too(auto: Synthesized) -> None:
    config = auto.manifest("ConfigMap", "amazon-vpc-cni")
    assert config["data"] == {"enable-network-policy-controller": "true"}
