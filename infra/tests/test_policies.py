"""An independent reading of every IAM policy: what is wide must be explained here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from cropmask import contract
from infra.places import Places
from infra.settings import Settings
from infra.tests.synthesized import Synthesized, statements

ONLY_EVERYTHING = {
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeLaunchConfigurations",
    "autoscaling:DescribeScalingActivities",
    "autoscaling:DescribeTags",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:GetInstanceTypesFromInstanceRequirements",
    "cloudwatch:PutMetricData",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "cloudwatch:ListDashboards",
    "cloudwatch:ListMetrics",
    "logs:DescribeLogGroups",
    "logs:GetQueryResults",
}
"""Actions that know no resources: AWS takes nothing but ``*`` for them."""

PARTS_OF_NAMES = {
    r"arn:aws:s3:::cropmask-\w+-(results|models)-\d{12}/(crop_mask/)?\*": "objects of our buckets",
    r"arn:aws:eks:[\w-]+:\d{12}:nodegroup/cropmask-\w+/\*": "EKS ends names of node groups",
    r"arn:aws:autoscaling:[\w-]+:\d{12}:autoScalingGroup:\*:autoScalingGroupName/eks-\*": (
        "EKS names the groups; a condition on their tag names the cluster"
    ),
    r"arn:aws:logs:[\w-]+:\d{12}:log-group:/aws/containerinsights/cropmask-\w+/\*": (
        "the add-on makes a log group for each kind of log"
    ),
    r"arn:aws:kms:[\w-]+:\d{12}:key/\*": "conditions name the key's alias, and SNS",
    r"<Fn::GetAtt:ClusterKubectlProviderHandler\w+\.Arn>:\*": "versions of CDK's own function",
}
"""Wildcards within a name, and why they are there."""

MANAGED = {
    "AmazonEKSClusterPolicy": "control plane",
    "AmazonEKSWorkerNodePolicy": "nodes",
    "AmazonEC2ContainerRegistryPullOnly": "nodes",
    "AmazonEKS_CNI_Policy": "nodes",
    "CloudWatchAgentServerPolicy": "CloudWatch agent",
    "service-role/AWSLambdaBasicExecutionRole": "kubectl at deployment",
    "service-role/AWSLambdaVPCAccessExecutionRole": "kubectl at deployment",
    "AmazonEC2ContainerRegistryReadOnly": "kubectl at deployment",
    "AmazonElasticContainerRegistryPublicReadOnly": "kubectl at deployment",
}
"""Policies that AWS manages, and who has them."""


def text(value: Any) -> str:  # noqa: ANN401 (CloudFormation)
    """A value of a template as text; references by name."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(text(part) for part in argument[1])
    if function == "Fn::Sub":
        return str(argument)
    if function == "Ref" and argument == "AWS::Partition":
        return "aws"
    name = ".".join(argument) if isinstance(argument, list) else argument
    return f"<{function}:{name}>"


def granted(cloud: Synthesized) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement that allows something to a role of ours, with the role's id."""
    for resource in cloud.resources():
        documents = []
        if resource.type == "AWS::IAM::Role":
            documents = [p["PolicyDocument"] for p in resource.properties.get("Policies", [])]
        if resource.type in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            documents = [resource.properties["PolicyDocument"]]
        for document in documents:
            for statement in statements(document):
                if statement["Effect"] == "Allow":
                    yield resource.id, statement


def test_policies_are_found(cloud: Synthesized) -> None:
    owners = {re.sub(r"[0-9A-F]{8}$", "", owner) for owner, _ in granted(cloud)}
    assert {"WorkerRole", "Operator", "AutoscalerRole", "KedaRole"} <= owners


def test_no_action_is_a_wildcard(cloud: Synthesized) -> None:
    wide = [
        (owner, action)
        for owner, statement in granted(cloud)
        for action in statement["Action"]
        if "*" in action
    ]
    assert wide == []


def test_no_statement_allows_all_but_something(cloud: Synthesized) -> None:
    for _, statement in granted(cloud):
        assert not {"NotAction", "NotResource"} & set(statement)


def test_every_wildcard_resource_is_explained(cloud: Synthesized) -> None:
    unexplained = []
    for owner, statement in granted(cloud):
        for resource in map(text, statement["Resource"]):
            if resource == "*":
                if not set(statement["Action"]) <= ONLY_EVERYTHING:
                    unexplained.append((owner, statement["Action"]))
            elif "*" in resource and not any(re.fullmatch(p, resource) for p in PARTS_OF_NAMES):
                unexplained.append((owner, resource))
    assert unexplained == []


def test_metrics_go_to_one_namespace(cloud: Synthesized) -> None:
    puts = [s for _, s in granted(cloud) if "cloudwatch:PutMetricData" in s["Action"]]
    assert [put["Condition"] for put in puts] == [
        {"StringEquals": {"cloudwatch:namespace": contract.METRICS_NAMESPACE}}
    ]


def test_groups_that_are_scaled_are_those_of_the_cluster(
    cloud: Synthesized, settings: Settings
) -> None:
    (scale,) = [s for _, s in granted(cloud) if "autoscaling:SetDesiredCapacity" in s["Action"]]
    cluster = Places(settings).cluster
    assert scale["Condition"] == {
        "StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster}": "owned"}
    }


def test_managed_policies_are_known(cloud: Synthesized) -> None:
    for role in cloud.properties("AWS::IAM::Role"):
        for arn in role.get("ManagedPolicyArns", []):
            named = re.findall(r":iam::aws:policy/([\w/-]+)", json.dumps(arn).replace("\\", ""))
            assert named, arn
            assert set(named) <= set(MANAGED)


def test_the_worker_may_do_its_work_and_no_more(cloud: Synthesized, settings: Settings) -> None:
    places = Places(settings)
    may = {
        (action, resource)
        for owner, statement in granted(cloud)
        if owner.startswith("WorkerRole")
        for action in statement["Action"]
        for resource in map(text, statement["Resource"])
    }
    tasks, dead = places.tasks.arn, places.dead_letters.arn
    objects = places.results.objects("crop_mask/")
    assert may == {
        ("sqs:ReceiveMessage", tasks),
        ("sqs:ChangeMessageVisibility", tasks),
        ("sqs:DeleteMessage", tasks),
        ("sqs:GetQueueAttributes", tasks),
        ("sqs:SendMessage", dead),
        ("sqs:GetQueueAttributes", dead),
        ("s3:GetObject", objects),
        ("s3:PutObject", objects),
        ("s3:DeleteObject", objects),
        ("s3:AbortMultipartUpload", objects),
        ("s3:ListBucket", places.results.arn),
        ("cloudwatch:PutMetricData", "*"),
    }


def test_operators_may_do_what_the_runbook_tells_them(
    cloud: Synthesized, settings: Settings
) -> None:
    places = Places(settings)
    may = {
        (action, resource)
        for owner, statement in granted(cloud)
        if owner.startswith("Operator")
        for action in statement["Action"]
        for resource in map(text, statement["Resource"])
    }
    tasks, dead = places.tasks.arn, places.dead_letters.arn
    results = places.results.objects("crop_mask/")
    assert may >= {
        ("sqs:SendMessage", tasks),
        ("sqs:PurgeQueue", tasks),
        ("sqs:ReceiveMessage", dead),
        ("sqs:DeleteMessage", dead),
        ("s3:DeleteObject", results),
        ("s3:GetObjectVersion", results),
        ("s3:ListBucketVersions", places.results.arn),
        ("cloudwatch:GetMetricData", "*"),
        ("logs:FilterLogEvents", places.cluster_logs),
        ("eks:DescribeCluster", places.arn("eks", f"cluster/{places.cluster}")),
    }
    assert ("sqs:ReceiveMessage", tasks) not in may
    assert ("s3:DeleteObjectVersion", results) not in may


def test_steps_of_a_workflow_take_no_task(prod: Synthesized) -> None:
    may = {a for owner, s in granted(prod) if owner.startswith("WorkflowRole") for a in s["Action"]}
    assert "sqs:SendMessage" in may
    assert not {"sqs:ReceiveMessage", "sqs:DeleteMessage"} & may


def test_keda_reads_the_length_of_the_queue_and_nothing_else(
    cloud: Synthesized, settings: Settings
) -> None:
    may = [s for owner, s in granted(cloud) if owner.startswith("KedaRole")]
    assert [(s["Action"], s["Resource"]) for s in may] == [
        (["sqs:GetQueueAttributes"], [Places(settings).tasks.arn])
    ]


def test_roles_of_pods_are_for_one_service_account(cloud: Synthesized) -> None:
    associations = cloud.properties("AWS::EKS::PodIdentityAssociation")
    for resource in cloud.resources("AWS::IAM::Role"):
        (trust,) = statements(resource.properties["AssumeRolePolicyDocument"])
        service = trust["Principal"].get("Service")
        if service != "pods.eks.amazonaws.com" or resource.id.startswith("Observability"):
            continue
        (association,) = [a for a in associations if a["RoleArn"]["Fn::GetAtt"][0] == resource.id]
        assert trust["Condition"]["StringEquals"] == {
            "aws:RequestTag/kubernetes-namespace": association["Namespace"],
            "aws:RequestTag/kubernetes-service-account": association["ServiceAccount"],
        }


def test_nobody_outside_may_become_one_of_our_roles(cloud: Synthesized, settings: Settings) -> None:
    for role in cloud.properties("AWS::IAM::Role"):
        for trust in statements(role["AssumeRolePolicyDocument"]):
            principals = trust["Principal"].get("AWS", [])
            for principal in [principals] if isinstance(principals, str) else principals:
                assert f":{settings.account}:" in principal
