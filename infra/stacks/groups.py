"""Nodes in groups that EKS manages: controllers on their own, tiles on spot or on demand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, cast

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam

from cropmask.contract import BATCH_TAINT
from infra.naming import CropmaskStack, acknowledge, managed
from infra.settings import Cluster

SYSTEM: Final = "system"
SPOT: Final = "spot"
ON_DEMAND: Final = "ondemand"
_NODE_POLICIES: Final = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEKS_CNI_Policy",
)
_DISK_TAG: Final = "k8s.io/cluster-autoscaler/node-template/resources/ephemeral-storage"
_FREE_SHARE: Final = 0.85
"""Of a disk, what is left to pods beside the system and what Kubernetes keeps free."""
_AMI: Final = {
    "x86_64": eks.NodegroupAmiType.AL2023_X86_64_STANDARD,
    "arm64": eks.NodegroupAmiType.AL2023_ARM_64_STANDARD,
}


@dataclass(frozen=True, slots=True)
class Group:
    """One group of nodes, as values."""

    name: str
    types: tuple[str, ...]
    least: int
    most: int

    def name_in(self, cluster: str) -> str:
        """Name that changes with what cannot be changed in place.

        A group of other types takes the place of the old one; two cannot have one name.
        """
        digest = hashlib.sha256(" ".join(self.types).encode()).hexdigest()[:6]
        return f"{cluster}-{self.name}-{digest}"


def groups_of(cluster: Cluster) -> list[Group]:
    """Groups that the settings ask for; only managed groups run tiles too."""
    system = Group(SYSTEM, cluster.system_types, cluster.system_nodes, cluster.system_nodes + 1)
    if cluster.nodes != "groups":
        return [system]
    return [
        system,
        Group(SPOT, cluster.types, 0, cluster.spot_nodes),
        Group(ON_DEMAND, cluster.types, 0, cluster.on_demand_nodes),
    ]


def make_node_role(stack: CropmaskStack) -> iam.Role:
    """What a node may do: join, pull images, give addresses to pods."""
    role = iam.Role(
        stack,
        "NodeRole",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        description="Nodes: join the cluster, pull images, give addresses to pods",
        managed_policies=[
            iam.ManagedPolicy.from_aws_managed_policy_name(name) for name in _NODE_POLICIES
        ],
    )
    acknowledge(
        role,
        "The policies that EKS asks of its nodes; pods do not get them.",
        *map(managed, _NODE_POLICIES),
    )
    return role


def add_groups(stack: CropmaskStack, cluster: eks.Cluster, role: iam.Role) -> eks.Nodegroup:
    """Add the groups to a cluster; the system's is given back, for others to wait for it."""
    template = _launch_template(stack)
    made = [_add(stack, cluster, role, template, g) for g in groups_of(stack.settings.cluster)]
    for nodes in made[1:]:
        nodes.node.add_dependency(made[0])
    return made[0]


def _launch_template(stack: CropmaskStack) -> ec2.LaunchTemplate:
    return ec2.LaunchTemplate(
        stack,
        "Nodes",
        require_imdsv2=True,
        # One hop: a pod cannot fetch the credentials of its node.
        http_put_response_hop_limit=1,
        block_devices=[
            ec2.BlockDevice(
                device_name="/dev/xvda",
                volume=ec2.BlockDeviceVolume.ebs(
                    stack.settings.cluster.disk_gib,
                    encrypted=True,
                    volume_type=ec2.EbsDeviceVolumeType.GP3,
                ),
            )
        ],
    )


def _add(
    stack: CropmaskStack,
    cluster: eks.Cluster,
    role: iam.Role,
    template: ec2.LaunchTemplate,
    group: Group,
) -> eks.Nodegroup:
    system = group.name == SYSTEM
    settings = stack.settings.cluster
    nodes = cluster.add_nodegroup_capacity(
        group.name,
        nodegroup_name=group.name_in(stack.places.cluster),
        node_role=role,
        instance_types=[ec2.InstanceType(type_) for type_ in group.types],
        ami_type=_AMI[settings.architecture],
        # EKS takes spot where price and capacity are best, over all types and zones.
        capacity_type=eks.CapacityType.SPOT if group.name == SPOT else eks.CapacityType.ON_DEMAND,
        launch_template_spec=eks.LaunchTemplateSpec(
            id=template.launch_template_id or "", version=template.latest_version_number
        ),
        subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
        min_size=group.least,
        max_size=group.most,
        labels={"role": SYSTEM} if system else {BATCH_TAINT: "true", "role": group.name},
        taints=None
        if system
        else [eks.TaintSpec(effect=eks.TaintEffect.NO_SCHEDULE, key=BATCH_TAINT, value="true")],
        # Of a group without nodes the autoscaler knows no disk, and workers ask for some.
        tags={_DISK_TAG: f"{int(_FREE_SHARE * settings.disk_gib)}Gi"},
        enable_node_auto_repair=True,
    )
    # Left to the autoscaler: a number here would be put back by every deployment.
    cfn = cast("eks.CfnNodegroup", nodes.node.default_child)
    cfn.add_property_deletion_override("ScalingConfig.DesiredSize")
    return nodes
