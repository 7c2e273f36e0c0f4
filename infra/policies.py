"""Who may do what in AWS: statements by purpose, each for named resources.

Written out rather than taken from ``grant_...``, whose actions come with wildcards.
"""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_iam as iam

from cropmask.contract import METRICS_NAMESPACE
from infra.places import BucketPlace, Places, QueuePlace

_CONSUME: Final = [
    "sqs:ReceiveMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
]
_SEND: Final = ["sqs:SendMessage", "sqs:GetQueueAttributes"]


def take_tasks(places: Places) -> list[iam.PolicyStatement]:
    """Take tasks, keep, return and finish them; park what can never succeed."""
    return [
        _on_queue("TakeTasks", places.tasks, _CONSUME),
        _on_queue("ParkTasks", places.dead_letters, _SEND),
    ]


def send_tasks(places: Places) -> iam.PolicyStatement:
    """Send tasks, and count them."""
    return _on_queue("SendTasks", places.tasks, _SEND)


def drop_tasks(places: Places) -> iam.PolicyStatement:
    """Drop everything that waits."""
    return _on_queue("DropTasks", places.tasks, ["sqs:PurgeQueue"])


def count_dead_letters(places: Places) -> iam.PolicyStatement:
    """Count dead letters, as ``cropmask status`` does."""
    return _on_queue("CountDeadLetters", places.dead_letters, ["sqs:GetQueueAttributes"])


def redrive(places: Places) -> iam.PolicyStatement:
    """Take dead letters, to send them back or discard them."""
    return _on_queue("Redrive", places.dead_letters, _CONSUME)


def _on_queue(sid: str, queue: QueuePlace, actions: list[str]) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=actions, resources=[queue.arn])


def read_objects(sid: str, bucket: BucketPlace, prefix: str = "") -> list[iam.PolicyStatement]:
    """Read and list objects below a prefix; an absent object is then a 404, not a 403."""
    return [
        iam.PolicyStatement(
            sid=f"Read{sid}", actions=["s3:GetObject"], resources=[bucket.objects(prefix)]
        ),
        iam.PolicyStatement(sid=f"List{sid}", actions=["s3:ListBucket"], resources=[bucket.arn]),
    ]


def write_results(places: Places) -> list[iam.PolicyStatement]:
    """Write results and attempts; delete, since overwriting removes the item first."""
    return [
        *read_objects("Results", places.results, places.results_prefix),
        iam.PolicyStatement(
            sid="WriteResults",
            actions=["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            resources=[places.results.objects(places.results_prefix)],
        ),
    ]


def bring_back_results(places: Places) -> list[iam.PolicyStatement]:
    """Find and read versions that were replaced or deleted."""
    return [
        iam.PolicyStatement(
            sid="ReadReplaced",
            actions=["s3:GetObjectVersion"],
            resources=[places.results.objects(places.results_prefix)],
        ),
        iam.PolicyStatement(
            sid="ListReplaced",
            actions=["s3:ListBucketVersions"],
            resources=[places.results.arn],
        ),
    ]


def write_models(places: Places) -> list[iam.PolicyStatement]:
    """Put models where workers read them."""
    return [
        *read_objects("Models", places.models),
        iam.PolicyStatement(
            sid="WriteModels",
            actions=["s3:PutObject", "s3:AbortMultipartUpload"],
            resources=[places.models.objects()],
        ),
    ]


def describe_cluster(places: Places) -> iam.PolicyStatement:
    """Find the Kubernetes API, for ``aws eks update-kubeconfig``."""
    return iam.PolicyStatement(
        sid="FindCluster",
        actions=["eks:DescribeCluster"],
        resources=[places.arn("eks", f"cluster/{places.cluster}")],
    )


def tell_people(places: Places) -> list[iam.PolicyStatement]:
    """Publish to the topic of the alarms, whose key is known by its alias only."""
    service = f"sns.{places.settings.region}.amazonaws.com"
    return [
        _may("TellPeople", ["sns:Publish"], [places.alarm_topic]),
        _may(
            "EncryptMessages",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            [places.arn("kms", "key/*")],
            {
                "StringEquals": {"kms:ViaService": service},
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{places.alarms}"},
            },
        ),
    ]


def put_metrics() -> iam.PolicyStatement:
    """Put metrics of the workers' own namespace; CloudWatch knows no finer resource."""
    return iam.PolicyStatement(
        sid="PutMetrics",
        actions=["cloudwatch:PutMetricData"],
        resources=["*"],
        conditions={"StringEquals": {"cloudwatch:namespace": METRICS_NAMESPACE}},
    )


def watch(places: Places) -> list[iam.PolicyStatement]:
    """Look at the dashboard and at what pods wrote; metrics and alarms know no resources."""
    return [
        iam.PolicyStatement(
            sid="LookAtMetrics",
            actions=[
                "cloudwatch:DescribeAlarms",
                "cloudwatch:GetMetricData",
                "cloudwatch:ListDashboards",
                "cloudwatch:ListMetrics",
                "logs:DescribeLogGroups",
                "logs:GetQueryResults",
            ],
            resources=["*"],
        ),
        iam.PolicyStatement(
            sid="LookAtDashboard",
            actions=["cloudwatch:GetDashboard"],
            resources=[f"arn:aws:cloudwatch::{places.settings.account}:dashboard/{places.cluster}"],
        ),
        iam.PolicyStatement(
            sid="ReadLogs",
            actions=["logs:FilterLogEvents", "logs:GetLogEvents", "logs:StartQuery"],
            resources=[places.cluster_logs],
        ),
    ]


def look_at_groups() -> iam.PolicyStatement:
    """Describe node groups, types and images; these actions know no resources."""
    return iam.PolicyStatement(
        sid="LookAtGroups",
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
    )


def look_at_empty_groups(places: Places) -> iam.PolicyStatement:
    """Labels and taints of a group without nodes: this is what lets it start from zero."""
    return iam.PolicyStatement(
        sid="LookAtEmptyGroups",
        actions=["eks:DescribeNodegroup"],
        resources=[places.arn("eks", f"nodegroup/{places.cluster}/*")],
    )


def scale_groups(places: Places) -> iam.PolicyStatement:
    """Grow and shrink the groups of this cluster; EKS names and tags them."""
    return iam.PolicyStatement(
        sid="ScaleGroups",
        actions=[
            "autoscaling:SetDesiredCapacity",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
        ],
        resources=[places.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*")],
        conditions={
            "StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{places.cluster}": "owned"}
        },
    )


def bring_nodes(places: Places, node_role: str) -> list[iam.PolicyStatement]:
    """Start and end instances for pods of this cluster, as Karpenter does.

    Nothing is started without the tag of the cluster, and nothing else is ended.
    """
    owned = f"kubernetes.io/cluster/{places.cluster}"
    asked = {"StringEquals": {f"aws:RequestTag/{owned}": "owned"}}
    ours = {"StringEquals": {f"aws:ResourceTag/{owned}": "owned"}}
    here = {"StringEquals": {"aws:RequestedRegion": places.settings.region}}
    made = [
        places.arn("ec2", f"{kind}/*")
        for kind in (
            *("fleet", "instance", "launch-template", "network-interface"),
            *("spot-instances-request", "volume"),
        )
    ]
    used = [
        *(f"arn:aws:ec2:{places.settings.region}::{kind}/*" for kind in ("image", "snapshot")),
        *(places.arn("ec2", f"{kind}/*") for kind in ("security-group", "subnet")),
    ]
    templates, instances = places.arn("ec2", "launch-template/*"), places.arn("ec2", "instance/*")
    profiles = f"arn:aws:iam::{places.settings.account}:instance-profile/*"
    start = ["ec2:CreateFleet", "ec2:RunInstances"]
    return [
        _may("UseForNodes", start, used),
        _may("UseTemplates", start, [templates], ours),
        _may("StartNodes", [*start, "ec2:CreateLaunchTemplate"], made, asked),
        _may("TagNewNodes", ["ec2:CreateTags"], made, asked),
        _may("TagNodes", ["ec2:CreateTags"], [instances], ours),
        _may(
            "EndNodes",
            ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"],
            [instances, templates],
            ours,
        ),
        _may(
            "LookAtCapacity",
            [
                "ec2:DescribeCapacityReservations",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceStatus",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeInstances",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribePlacementGroups",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets",
            ],
            ["*"],
            here,
        ),
        _may("LookAtPrices", ["iam:ListInstanceProfiles", "pricing:GetProducts"], ["*"]),
        _may(
            "FindImages",
            ["ssm:GetParameter"],
            [f"arn:aws:ssm:{places.settings.region}::parameter/aws/service/*"],
        ),
        _may(
            "GiveRole",
            ["iam:PassRole"],
            [node_role],
            {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
        _may("LookAtProfiles", ["iam:GetInstanceProfile"], [profiles]),
        _may(
            "MakeProfiles",
            ["iam:CreateInstanceProfile", "iam:TagInstanceProfile"],
            [profiles],
            asked,
        ),
        _may(
            "ChangeProfiles",
            [
                "iam:AddRoleToInstanceProfile",
                "iam:DeleteInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
            ],
            [profiles],
            ours,
        ),
        describe_cluster(places),
        _may(
            "HearOfInterruptions",
            ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
            [places.interruptions.arn],
        ),
    ]


def _may(
    sid: str,
    actions: list[str],
    resources: list[str],
    conditions: dict[str, dict[str, str]] | None = None,
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid, actions=actions, resources=resources, conditions=conditions or {}
    )
