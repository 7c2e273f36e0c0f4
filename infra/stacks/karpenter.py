"""Karpenter: nodes as pods need them, of whatever type is to be had, without groups."""

from __future__ import annotations

from typing import Any, Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import IDependable

from infra import pins, policies
from infra.documents import apply_documents, as_cluster
from infra.naming import CropmaskStack, acknowledge, tags_of, wildcard
from infra.pod_identity import PodRole
from infra.stacks.groups import SYSTEM
from infra.stacks.nodepool import POOL, make_node_pool

_AMI: Final = "al2023@v20260911"
"""Image of nodes; ``latest`` would replace nodes whenever AWS has a newer one."""
_EVENTS: Final = (
    "EC2 Spot Instance Interruption Warning",
    "EC2 Instance Rebalance Recommendation",
    "EC2 Instance State-change Notification",
    "AWS Health Event",
)


def add_karpenter(
    stack: CropmaskStack, cluster: eks.Cluster, nodes: iam.Role, *needs: IDependable
) -> None:
    """Karpenter with its role and its queue, and the pool of nodes for tiles.

    Parameters
    ----------
    nodes
        Role of nodes, which Karpenter gives to the ones that it starts.
    needs
        The nodes that Karpenter runs on, and what answers its names.
    """
    _add_queue(stack)
    role = _add_role(stack, cluster, nodes)
    eks.CfnAccessEntry(
        stack,
        "KarpenterNodes",
        cluster_name=cluster.cluster_name,
        principal_arn=nodes.role_arn,
        type="EC2_LINUX",
    )
    chart = cluster.add_helm_chart(
        "KarpenterChart",
        chart=pins.KARPENTER.name,
        repository=pins.KARPENTER.repository,
        version=pins.KARPENTER.version,
        release="karpenter",
        namespace="kube-system",
        wait=True,  # its kinds must be known before a pool is applied
        timeout=Duration.minutes(10),
        values={
            "settings": {
                "clusterName": stack.places.cluster,
                "interruptionQueue": stack.places.interruptions.name,
            },
            "nodeSelector": {"role": SYSTEM},
            "controller": {
                "image": {
                    "tag": pins.KARPENTER_IMAGE.tag,
                    "digest": pins.KARPENTER_IMAGE.digest,
                },
                "resources": {
                    "requests": {"cpu": "250m", "memory": "512Mi"},
                    "limits": {"memory": "1Gi"},
                },
            },
        },
    )
    chart.node.add_dependency(*needs, role)
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": POOL}
    pool = apply_documents(
        stack,
        "TilePool",
        as_cluster(cluster),
        _node_class(stack, cluster, nodes),
        make_node_pool(stack.settings.cluster, reference),
    )
    pool.node.add_dependency(chart)


def _node_class(stack: CropmaskStack, cluster: eks.Cluster, nodes: iam.Role) -> dict[str, Any]:
    """What Karpenter's nodes are like: as those of the groups."""
    disk = {
        "volumeSize": f"{stack.settings.cluster.disk_gib}Gi",
        "volumeType": "gp3",
        "encrypted": True,
        "deleteOnTermination": True,
    }
    subnets = cluster.vpc.private_subnets
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": POOL},
        "spec": {
            "role": nodes.role_name,
            "amiSelectorTerms": [{"alias": _AMI}],
            "subnetSelectorTerms": [{"id": subnet.subnet_id} for subnet in subnets],
            "securityGroupSelectorTerms": [{"id": cluster.cluster_security_group_id}],
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": disk}],
            "tags": tags_of(stack.settings),
        },
    }


def _add_queue(stack: CropmaskStack) -> None:
    """What AWS says about instances: Karpenter empties a node before it is taken."""
    queue = sqs.Queue(
        stack,
        "Interruptions",
        queue_name=stack.places.interruptions.name,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.minutes(5),
        removal_policy=RemovalPolicy.DESTROY,
    )
    acknowledge(queue, "News of instances is worthless after five minutes.", "SQS3")
    events.Rule(
        stack,
        "InstanceNews",
        description="What AWS says about instances, for Karpenter",
        event_pattern=events.EventPattern(
            source=["aws.ec2", "aws.health"], detail_type=list(_EVENTS)
        ),
        targets=[targets.SqsQueue(queue)],
    )


def _add_role(stack: CropmaskStack, cluster: eks.Cluster, nodes: iam.Role) -> PodRole:
    statements = policies.bring_nodes(stack.places, nodes.role_arn)
    role = PodRole(
        stack,
        "Karpenter",
        cluster_name=cluster.cluster_name,
        namespace="kube-system",
        service_account="karpenter",
        statements=statements,
    )
    wide = {arn for statement in statements for arn in statement.resources if "*" in arn}
    acknowledge(
        role,
        "Instances are named by EC2; what is changed must carry the tags of this cluster, and "
        "descriptions know no resources.",
        *map(wildcard, sorted(wide)),
    )
    return role
