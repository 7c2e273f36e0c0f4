"""What runs in the cluster beside tiles: scaling of nodes and Jobs, and observation."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import IDependable

from infra import pins, policies
from infra.naming import CropmaskStack, acknowledge, managed, wildcard
from infra.pod_identity import PodRole
from infra.stacks.groups import ON_DEMAND, SPOT, SYSTEM
from infra.stacks.retention import retention_of

KEDA_NAMESPACE: Final = "keda"
OBSERVABILITY: Final = "amazon-cloudwatch-observability"
_AGENT_POLICY: Final = "CloudWatchAgentServerPolicy"
_LOGS: Final = ("application", "dataplane", "host", "performance")
"""What the CloudWatch add-on writes, each into a group of its own."""
_SYSTEM: Final = {"role": SYSTEM}
_PRIORITIES: Final = {"50": [f".*-{SPOT}-.*"], "10": [f".*-{ON_DEMAND}-.*"]}
"""The autoscaler asks for a node on demand only where no spot node can be had."""


def add_controllers(stack: CropmaskStack, cluster: eks.Cluster, *needs: IDependable) -> None:
    """KEDA and the CloudWatch add-on, and the autoscaler where groups are to be scaled.

    Each has a role of its own.

    Parameters
    ----------
    needs
        The nodes that they run on, and what answers their names.
    """
    if stack.settings.cluster.nodes == "groups":
        _add_autoscaler(stack, cluster, *needs)
    _add_keda(stack, cluster, *needs)
    _add_observability(stack, cluster, *needs)


def _add_autoscaler(stack: CropmaskStack, cluster: eks.Cluster, *needs: IDependable) -> None:
    account = "cluster-autoscaler"
    role = PodRole(
        stack,
        "Autoscaler",
        cluster_name=cluster.cluster_name,
        namespace="kube-system",
        service_account=account,
        statements=[
            policies.look_at_groups(),
            policies.look_at_empty_groups(stack.places),
            policies.scale_groups(stack.places),
        ],
    )
    acknowledge(role, "Descriptions of EC2 and Auto Scaling know no resources.", wildcard("*"))
    acknowledge(
        role,
        "Node groups and Auto Scaling groups get part of their name from EKS; groups that are "
        "scaled must carry the tag of this cluster.",
        wildcard(stack.places.arn("eks", f"nodegroup/{stack.places.cluster}/*")),
        wildcard(stack.places.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*")),
    )
    chart = cluster.add_helm_chart(
        "AutoscalerChart",
        chart=pins.AUTOSCALER.name,
        repository=pins.AUTOSCALER.repository,
        version=pins.AUTOSCALER.version,
        release=account,
        namespace="kube-system",
        timeout=Duration.minutes(10),
        values={
            "fullnameOverride": account,
            "autoDiscovery": {"clusterName": stack.places.cluster},
            "awsRegion": stack.region,
            "image": {
                "repository": pins.AUTOSCALER_IMAGE.repository,
                "tag": pins.AUTOSCALER_IMAGE.tag_and_digest,
            },
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
    chart.node.add_dependency(*needs, role)


def _add_keda(stack: CropmaskStack, cluster: eks.Cluster, *needs: IDependable) -> None:
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
                resources=[stack.places.tasks.arn],
            )
        ],
    )
    chart = cluster.add_helm_chart(
        "KedaChart",
        chart=pins.KEDA.name,
        repository=pins.KEDA.repository,
        version=pins.KEDA.version,
        release="keda",
        namespace=KEDA_NAMESPACE,
        create_namespace=True,
        wait=True,  # its kinds must be known before a ScaledJob is applied
        timeout=Duration.minutes(10),
        values={
            "clusterName": stack.places.cluster,
            # Auto Mode has nodes of its own for controllers.
            **({} if stack.settings.cluster.nodes == "auto" else {"nodeSelector": _SYSTEM}),
        },
    )
    chart.node.add_dependency(*needs, role)


def _add_observability(stack: CropmaskStack, cluster: eks.Cluster, *needs: IDependable) -> None:
    role = iam.Role(
        stack,
        "Observability",
        assumed_by=iam.ServicePrincipal("pods.eks.amazonaws.com").with_session_tags(),
        description="CloudWatch agent: metrics and logs of nodes and pods",
        managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(_AGENT_POLICY)],
    )
    acknowledge(role, "AWS's own policy for AWS's own agent.", managed(_AGENT_POLICY))
    addon = eks.CfnAddon(
        stack,
        "ObservabilityAddon",
        addon_name=OBSERVABILITY,
        addon_version=pins.ADDONS[OBSERVABILITY],
        cluster_name=cluster.cluster_name,
        pod_identity_associations=[
            eks.CfnAddon.PodIdentityAssociationProperty(
                role_arn=role.role_arn, service_account="cloudwatch-agent"
            )
        ],
        resolve_conflicts="OVERWRITE",
    )
    addon.node.add_dependency(*needs)
    for kind in _LOGS:  # the agent would make them too, and keep them for ever
        log = logs.LogGroup(
            stack,
            f"{kind.capitalize()}Log",
            log_group_name=f"/aws/containerinsights/{stack.places.cluster}/{kind}",
            retention=retention_of(stack.settings.cluster.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        addon.node.add_dependency(log)
