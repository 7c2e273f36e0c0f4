"""What runs in the cluster beside tiles: scaling of nodes and Jobs, and observation."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import IDependable

from infra.naming import acknowledge
from infra.pod_identity import PodRole

AUTOSCALER_CHART: Final = "9.50.1"
AUTOSCALER_IMAGE: Final = "v1.35.0"
KEDA_CHART: Final = "2.18.0"
KEDA_NAMESPACE: Final = "keda"
OBSERVABILITY: Final = "amazon-cloudwatch-observability"
_SYSTEM: Final = {"role": "system"}
_PRIORITIES: Final = {"50": [".*-spot-.*"], "10": [".*-ondemand-.*"]}
"""The autoscaler asks for a node on demand only where no spot node can be had."""


def add_controllers(
    stack: Stack,
    cluster: eks.Cluster,
    cluster_name: str,
    queue: sqs.IQueue,
    nodes: IDependable,
) -> None:
    """Cluster autoscaler, KEDA and the CloudWatch add-on, each with a role of its own.

    Parameters
    ----------
    queue
        The one queue whose length KEDA may ask for.
    nodes
        The nodes that they run on.
    """
    _add_autoscaler(stack, cluster, cluster_name, nodes)
    _add_keda(stack, cluster, cluster_name, queue, nodes)
    _add_observability(stack, cluster, nodes)


def _add_autoscaler(
    stack: Stack, cluster: eks.Cluster, cluster_name: str, nodes: IDependable
) -> None:
    account = "cluster-autoscaler"
    role = PodRole(
        stack,
        "Autoscaler",
        cluster_name=cluster.cluster_name,
        namespace="kube-system",
        service_account=account,
        statements=_autoscaler_statements(stack, cluster_name),
    )
    acknowledge(
        role,
        "Descriptions of EC2 and Auto Scaling know no resources; changes are limited to groups "
        "that carry the tag of this cluster.",
        "IAM5",
    )
    chart = cluster.add_helm_chart(
        "AutoscalerChart",
        chart="cluster-autoscaler",
        repository="https://kubernetes.github.io/autoscaler",
        version=AUTOSCALER_CHART,
        release=account,
        namespace="kube-system",
        timeout=Duration.minutes(10),
        values={
            "fullnameOverride": account,
            "autoDiscovery": {"clusterName": cluster_name},
            "awsRegion": stack.region,
            "image": {"tag": AUTOSCALER_IMAGE},
            "nodeSelector": _SYSTEM,
            "rbac": {"serviceAccount": {"name": account}},
            "expanderPriorities": _PRIORITIES,
            "extraArgs": {
                "expander": "priority,least-waste",
                "max-node-provision-time": "5m",
                "scale-down-unneeded-time": "5m",
                "skip-nodes-with-system-pods": False,
            },
        },
    )
    chart.node.add_dependency(nodes, role)


def _autoscaler_statements(stack: Stack, cluster_name: str) -> list[iam.PolicyStatement]:
    arn = f"arn:{stack.partition}"
    place = f"{stack.region}:{stack.account}"
    return [
        iam.PolicyStatement(
            sid="Look",
            actions=[
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeLaunchConfigurations",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeTags",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:GetInstanceTypesFromInstanceRequirements",
            ],
            resources=["*"],
        ),
        # Labels and taints of a group without nodes: this is what lets it start from zero.
        iam.PolicyStatement(
            sid="LookAtEmptyGroups",
            actions=["eks:DescribeNodegroup"],
            resources=[f"{arn}:eks:{place}:nodegroup/{cluster_name}/*"],
        ),
        iam.PolicyStatement(
            sid="Scale",
            actions=[
                "autoscaling:SetDesiredCapacity",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
            ],
            resources=[f"{arn}:autoscaling:{place}:autoScalingGroup:*:autoScalingGroupName/eks-*"],
            conditions={
                "StringEquals": {
                    f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster_name}": "owned"
                }
            },
        ),
    ]


def _add_keda(
    stack: Stack,
    cluster: eks.Cluster,
    cluster_name: str,
    queue: sqs.IQueue,
    nodes: IDependable,
) -> None:
    role = PodRole(
        stack,
        "Keda",
        cluster_name=cluster.cluster_name,
        namespace=KEDA_NAMESPACE,
        service_account="keda-operator",
        statements=[
            iam.PolicyStatement(
                sid="LengthOfTheQueue",
                actions=["sqs:GetQueueAttributes"],
                resources=[queue.queue_arn],
            )
        ],
    )
    chart = cluster.add_helm_chart(
        "KedaChart",
        chart="keda",
        repository="https://kedacore.github.io/charts",
        version=KEDA_CHART,
        release="keda",
        namespace=KEDA_NAMESPACE,
        create_namespace=True,
        wait=True,  # its kinds must be known before a ScaledJob is applied
        timeout=Duration.minutes(10),
        values={"clusterName": cluster_name, "nodeSelector": _SYSTEM},
    )
    chart.node.add_dependency(nodes, role)


def _add_observability(stack: Stack, cluster: eks.Cluster, nodes: IDependable) -> None:
    role = iam.Role(
        stack,
        "Observability",
        assumed_by=iam.ServicePrincipal("pods.eks.amazonaws.com").with_session_tags(),
        description="CloudWatch agent: metrics and logs of nodes and pods",
        managed_policies=[
            iam.ManagedPolicy.from_aws_managed_policy_name("CloudWatchAgentServerPolicy")
        ],
    )
    acknowledge(role, "AWS's own policy for AWS's own agent.", "IAM4")
    addon = eks.CfnAddon(
        stack,
        "ObservabilityAddon",
        addon_name=OBSERVABILITY,
        cluster_name=cluster.cluster_name,
        pod_identity_associations=[
            eks.CfnAddon.PodIdentityAssociationProperty(
                role_arn=role.role_arn, service_account="cloudwatch-agent"
            )
        ],
        resolve_conflicts="OVERWRITE",
    )
    addon.node.add_dependency(nodes)
