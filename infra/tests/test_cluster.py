from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from cropmask import contract
from cropmask.contract import BATCH_TAINT
from infra import pins
from infra.places import Places
from infra.settings import Settings
from infra.stacks.groups import groups_of
from infra.tests.synthesized import Properties, Synthesized, load

GROUPS = ("system", "spot", "ondemand")
WORKERS_ON_A_NODE = 4
ALLOCATABLE_MILLIS = 7910
ALLOCATABLE_MIB = 14_103
"""What Karpenter's tables say of 2xlarge nodes, with the least memory of all that are named."""
DAEMONS_MILLIS = 450
DAEMONS_MIB = 300
"""Requests on every node: network 50, proxy 100, CloudWatch's agent 250 and its logs 50."""


def group(cloud: Synthesized, name: str) -> Properties:
    (found,) = [
        properties
        for properties in cloud.properties("AWS::EKS::Nodegroup")
        if re.fullmatch(rf"cropmask-\w+-{name}-[0-9a-f]{{6}}", properties["NodegroupName"])
    ]
    return found


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
        assert nodes["ScalingConfig"] == {"MinSize": 0, "MaxSize": most}
        assert nodes["Labels"][BATCH_TAINT] == "true"
        (taint,) = nodes["Taints"]
        assert taint == {"Key": BATCH_TAINT, "Value": "true", "Effect": "NO_SCHEDULE"}


def test_controllers_have_nodes_of_their_own_on_demand(cloud: Synthesized) -> None:
    nodes = group(cloud, "system")
    assert nodes["CapacityType"] == "ON_DEMAND"
    assert nodes["ScalingConfig"]["MinSize"] >= 2
    assert "Taints" not in nodes
    assert BATCH_TAINT not in nodes["Labels"]


def test_tiles_have_many_types_of_one_size(cloud: Synthesized, settings: Settings) -> None:
    for name in ("spot", "ondemand"):
        types = group(cloud, name)["InstanceTypes"]
        assert types == list(settings.cluster.types)
        assert len(types) >= 10
        assert {type_[0] for type_ in types} == {"c", "m"}
        assert {type_.split(".")[1] for type_ in types} == {"2xlarge"}


def test_a_deployment_puts_no_number_of_nodes_back(cloud: Synthesized) -> None:
    for nodes in cloud.properties("AWS::EKS::Nodegroup"):
        assert set(nodes["ScalingConfig"]) == {"MinSize", "MaxSize"}


def test_groups_of_other_types_have_another_name(settings: Settings) -> None:
    """What cannot be changed in place is replaced, and two groups cannot have one name."""
    before = {g.name_in("cropmask-dev") for g in groups_of(settings.cluster)}
    fewer = dataclasses.replace(settings.cluster, types=settings.cluster.types[1:])
    after = {g.name_in("cropmask-dev") for g in groups_of(fewer)}
    assert len(before & after) == 1  # the system's


def test_the_autoscaler_knows_the_disk_of_a_group_without_nodes(
    cloud: Synthesized, settings: Settings
) -> None:
    """Else it would start none for a worker that asks for some."""
    key = "k8s.io/cluster-autoscaler/node-template/resources/ephemeral-storage"
    for name in ("spot", "ondemand"):
        said = int(group(cloud, name)["Tags"][key].removesuffix("Gi"))
        needed = WORKERS_ON_A_NODE * int(contract.WORKER_DISK.removesuffix("Gi"))
        assert needed <= said < settings.cluster.disk_gib


def test_workers_fill_a_node(cloud: Synthesized) -> None:
    """Four on 8 CPUs, also on those with the least memory, beside what runs on every node."""
    (container,) = cloud.manifest("ScaledJob")["spec"]["jobTargetRef"]["template"]["spec"][
        "containers"
    ]
    asked = container["resources"]["requests"]
    cpu, memory = int(asked["cpu"].removesuffix("m")), int(asked["memory"].removesuffix("Mi"))
    free_cpu, free_memory = ALLOCATABLE_MILLIS - DAEMONS_MILLIS, ALLOCATABLE_MIB - DAEMONS_MIB
    assert WORKERS_ON_A_NODE * cpu <= free_cpu < (WORKERS_ON_A_NODE + 1) * cpu
    assert WORKERS_ON_A_NODE * memory <= free_memory
    assert WORKERS_ON_A_NODE * cpu / ALLOCATABLE_MILLIS > 0.9
    # A thread for each CPU that a worker asks for, rounded up: none of the eight is idle.
    assert WORKERS_ON_A_NODE * -(-cpu // 1000) == 8 == WORKERS_ON_A_NODE * contract.WORKER_CPUS


def test_workers_are_spread_over_zones_where_there_is_a_choice(cloud: Synthesized) -> None:
    pod = cloud.manifest("ScaledJob")["spec"]["jobTargetRef"]["template"]
    (spread,) = pod["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


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
    assert {name: addon["AddonVersion"] for name, addon in addons.items()} == dict(pins.ADDONS)
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
        pinned = {"keda": pins.KEDA, "cluster-autoscaler": pins.AUTOSCALER}
        assert chart.properties["Version"] == pinned[chart.properties["Chart"]].version


def test_the_autoscaler_is_of_the_clusters_version(cloud: Synthesized) -> None:
    (chart,) = [
        found
        for found in cloud.properties("Custom::AWSCDK-EKS-HelmChart")
        if found["Chart"] == "cluster-autoscaler"
    ]
    version = cloud.one("AWS::EKS::Cluster")["Version"]
    image = json.loads(chart["Values"])["image"]
    assert re.fullmatch(rf"v{re.escape(version)}\.\d+@sha256:[0-9a-f]{{64}}", image["tag"])
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
    first, second = sorted(values["expanderPriorities"], key=int, reverse=True)
    # EKS begins the name of a scaling group with that of its node group.
    for priority, name in ((first, "spot"), (second, "ondemand")):
        (pattern,) = values["expanderPriorities"][priority]
        assert re.fullmatch(pattern, f"eks-{group(cloud, name)['NodegroupName']}-8ec7b1f2")


def test_kubectl_of_deployments_is_of_the_clusters_version(cloud: Synthesized) -> None:
    version = cloud.one("AWS::EKS::Cluster")["Version"]
    assert version == pins.KUBERNETES
    layer = f"kubectl-v{version.partition('.')[2]}=="
    assert layer in (Path(__file__).parents[2] / "pyproject.toml").read_text()
    layers = cloud.properties("AWS::Lambda::LayerVersion", "cluster")
    assert any(f"kubectl {version}." in made["Description"] for made in layers)


def test_only_one_role_of_ours_administers_the_cluster(
    cloud: Synthesized, settings: Settings
) -> None:
    admins = [
        entry["PrincipalArn"]
        for entry in cloud.properties("AWS::EKS::AccessEntry")
        if "AmazonEKSClusterAdminPolicy" in json.dumps(entry["AccessPolicies"])
    ]
    named = [arn for arn in admins if isinstance(arn, str)]
    assert named == list(settings.cluster.admins) == []
    made = {re.sub("[0-9A-F]{8}$", "", arn["Fn::GetAtt"][0]) for arn in admins}
    # Ours, and the CDK itself at deployment.
    assert made == {"Admin", "ClusterKubectlProviderHandlerServiceRole"}
    role = cloud.named("AWS::IAM::Role", "RoleName", f"{Places(settings).cluster}-admin")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": f"arn:aws:iam::{settings.account}:root"}
