from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cropmask.contract import BATCH_TAINT
from infra.places import Places
from infra.settings import Settings
from infra.stacks.cluster import SPOT_TYPES
from infra.tests.synthesized import Properties, Synthesized, load

GROUPS = ("system", "spot", "ondemand")


def group(cloud: Synthesized, name: str) -> Properties:
    return cloud.named("AWS::EKS::Nodegroup", "NodegroupName", f"-{name}")


def test_all_five_logs_of_the_control_plane_are_kept(
    cloud: Synthesized, settings: Settings
) -> None:
    logging = cloud.one("AWS::EKS::Cluster")["Logging"]["ClusterLogging"]["EnabledTypes"]
    assert {entry["Type"] for entry in logging} == {
        *("api", "audit", "authenticator", "controllerManager", "scheduler"),
    }
    log = cloud.named("AWS::Logs::LogGroup", "LogGroupName", f"{Places(settings).cluster}/cluster")
    assert log["RetentionInDays"] == settings.cluster.log_days


def test_logs_of_pods_and_nodes_are_not_kept_for_ever(
    cloud: Synthesized, settings: Settings
) -> None:
    name = f"/aws/containerinsights/{Places(settings).cluster}/"
    groups = {str(g["LogGroupName"]): g for g in cloud.properties("AWS::Logs::LogGroup", "cluster")}
    ours = {name + kind for kind in ("application", "dataplane", "host", "performance")}
    assert ours <= set(groups)
    assert {groups[one]["RetentionInDays"] for one in ours} == {settings.cluster.log_days}


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_quotas_that_the_page_asks_for_are_those_of_the_settings(name: str) -> None:
    cloud = load(name)
    page = " ".join((Path(__file__).parents[2] / "docs/deploy.md").read_text().split())
    most = {name_: group(cloud, name_)["ScalingConfig"]["MaxSize"] for name_ in GROUPS}
    spot, on_demand = 8 * most["spot"], 2 * most["system"] + 8 * most["ondemand"]
    asked = re.findall(r"\(dev \d+, prod \d+\)", page)
    assert f"{name} {spot}" in asked[0]
    assert f"{name} {on_demand}" in asked[1]


def test_secrets_are_encrypted_with_a_key_that_rotates(cloud: Synthesized) -> None:
    (config,) = cloud.one("AWS::EKS::Cluster")["EncryptionConfig"]
    assert config["Resources"] == ["secrets"]
    key = config["Provider"]["KeyArn"]["Fn::GetAtt"][0]
    (found,) = [r for r in cloud.resources("AWS::KMS::Key", "cluster") if r.id == key]
    assert found.properties["EnableKeyRotation"] is True


def test_the_api_is_private_in_prod_and_open_to_named_networks_in_dev(
    dev: Synthesized, prod: Synthesized
) -> None:
    inside = prod.one("AWS::EKS::Cluster")["ResourcesVpcConfig"]
    assert inside["EndpointPrivateAccess"] is True
    assert inside["EndpointPublicAccess"] is False
    outside = dev.one("AWS::EKS::Cluster")["ResourcesVpcConfig"]
    assert outside["EndpointPrivateAccess"] is True
    assert outside["PublicAccessCidrs"] == ["203.0.113.0/24"]


def test_whoever_deploys_gets_no_access_by_that(cloud: Synthesized) -> None:
    access = cloud.one("AWS::EKS::Cluster")["AccessConfig"]
    assert access["AuthenticationMode"] == "API"
    assert access["BootstrapClusterCreatorAdminPermissions"] is False


def test_nodes_for_tiles_start_from_zero(cloud: Synthesized, settings: Settings) -> None:
    wanted = {
        "spot": ("SPOT", settings.cluster.spot_nodes),
        "ondemand": ("ON_DEMAND", settings.cluster.on_demand_nodes),
    }
    for name, (capacity, most) in wanted.items():
        nodes = group(cloud, name)
        assert nodes["CapacityType"] == capacity
        assert nodes["ScalingConfig"] == {"MinSize": 0, "DesiredSize": 0, "MaxSize": most}
        assert nodes["Labels"][BATCH_TAINT] == "true"
        (taint,) = nodes["Taints"]
        assert taint == {"Key": BATCH_TAINT, "Value": "true", "Effect": "NO_SCHEDULE"}


def test_controllers_have_nodes_of_their_own_on_demand(cloud: Synthesized) -> None:
    nodes = group(cloud, "system")
    assert nodes["CapacityType"] == "ON_DEMAND"
    assert nodes["ScalingConfig"]["MinSize"] >= 2
    assert "Taints" not in nodes
    assert BATCH_TAINT not in nodes["Labels"]


def test_spot_has_many_types_of_one_size(cloud: Synthesized) -> None:
    types = group(cloud, "spot")["InstanceTypes"]
    assert types == list(SPOT_TYPES)
    assert len(types) >= 6
    assert {type_.split(".")[1] for type_ in types} == {"2xlarge"}


def test_pods_cannot_take_the_credentials_of_their_node(cloud: Synthesized) -> None:
    data = cloud.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (disk,) = data["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] is True


def test_add_ons_are_there_and_network_policies_are_enforced(cloud: Synthesized) -> None:
    addons = {addon["AddonName"]: addon for addon in cloud.properties("AWS::EKS::Addon")}
    assert set(addons) == {
        *("vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "metrics-server"),
        "amazon-cloudwatch-observability",
    }
    values = json.loads(addons["vpc-cni"]["ConfigurationValues"])
    assert values == {"enableNetworkPolicy": "true"}
    (identity,) = addons["amazon-cloudwatch-observability"]["PodIdentityAssociations"]
    assert identity["ServiceAccount"] == "cloudwatch-agent"


def test_pods_get_roles_by_pod_identity(cloud: Synthesized) -> None:
    associations = {
        (found["Namespace"], found["ServiceAccount"])
        for found in cloud.properties("AWS::EKS::PodIdentityAssociation")
    }
    assert associations >= {
        ("kube-system", "cluster-autoscaler"),
        ("keda", "keda-operator"),
        ("cropmask", "cropmask-worker"),
    }
    assert cloud.resources("AWS::IAM::OIDCProvider") == []


def test_charts_wait_for_nodes_and_for_their_role(cloud: Synthesized) -> None:
    charts = cloud.resources("Custom::AWSCDK-EKS-HelmChart")
    assert {chart.properties["Chart"] for chart in charts} == {"keda", "cluster-autoscaler"}
    for chart in charts:
        needs = " ".join(chart.whole["DependsOn"])
        assert "Nodegroupsystem" in needs
        assert "Association" in needs
        assert "Addoncoredns" in needs
        assert chart.properties["Version"]


def test_the_autoscaler_is_of_the_clusters_version(cloud: Synthesized) -> None:
    (chart,) = [
        found
        for found in cloud.properties("Custom::AWSCDK-EKS-HelmChart")
        if found["Chart"] == "cluster-autoscaler"
    ]
    version = cloud.one("AWS::EKS::Cluster")["Version"]
    assert json.loads(chart["Values"])["image"]["tag"].startswith(f"v{version}.")
    # Charts before 9.47 do not let it see volume attachments, and it then scales nothing.
    assert tuple(map(int, chart["Version"].split("."))) >= (9, 47, 0)


def test_the_autoscaler_prefers_spot(cloud: Synthesized, settings: Settings) -> None:
    (chart,) = [
        found
        for found in cloud.properties("Custom::AWSCDK-EKS-HelmChart")
        if found["Chart"] == "cluster-autoscaler"
    ]
    values = json.loads(chart["Values"])
    assert values["autoDiscovery"]["clusterName"] == Places(settings).cluster
    assert values["extraArgs"]["expander"].startswith("priority")
    best = max(values["expanderPriorities"], key=int)
    assert "-spot-" in values["expanderPriorities"][best][0]
    assert group(cloud, "spot")["NodegroupName"].endswith("-spot")


def test_only_named_roles_administer_the_cluster(cloud: Synthesized, settings: Settings) -> None:
    admins = [
        entry["PrincipalArn"]
        for entry in cloud.properties("AWS::EKS::AccessEntry")
        if "AmazonEKSClusterAdminPolicy" in json.dumps(entry["AccessPolicies"])
    ]
    named = [arn for arn in admins if isinstance(arn, str)]
    assert named == list(settings.cluster.admins)
    (other,) = [arn for arn in admins if not isinstance(arn, str)]
    assert "KubectlProvider" in other["Fn::GetAtt"][0]  # CDK itself, at deployment
