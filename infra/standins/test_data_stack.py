"""The synthesized data stack, created by a stand-in for CloudFormation, and a worker that uses it.

Run by ``make infra-check``, which synthesizes first.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from moto.core import DEFAULT_ACCOUNT_ID

from cropmask import contract
from cropmask.grid import Tile
from cropmask.task import Order, Period, Task
from infra.standins.templates import template_of
from tests.clouds import serve_aws

REGION = "af-south-1"
ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
WORKER_SECONDS = 600  # kernels may have to be compiled first, on a busy machine


def settings_of(environment: str) -> dict[str, str]:
    """The ConfigMap of the workers, as the cluster would get it."""
    for resource in template_of(environment, "workers")["Resources"].values():
        for document in json.loads(resource.get("Properties", {}).get("Manifest", "[]")):
            if document["kind"] == "ConfigMap":
                values: dict[str, str] = document["data"]
                return values
    raise AssertionError("the workers stack has no ConfigMap")


def statements_of_the_worker(environment: str) -> list[dict[str, Any]]:
    """What the role of the workers allows, as synthesized."""
    for id_, resource in template_of(environment, "workers")["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role" and id_.startswith("WorkerRole"):
            (policy,) = resource["Properties"]["Policies"]
            statements: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
            return statements
    raise AssertionError("the workers stack has no role of the workers")


@dataclass(frozen=True)
class Cloud:
    """An environment whose data stack was created."""

    endpoint: str
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION)

    @contextmanager
    def only(self, statements: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
        """Credentials, as variables, of a role that may do just this; and from now on it counts.

        The stand-in knows no conditions, has one account, and calls CloudWatch as its address does.
        """
        known = [{k: v for k, v in found.items() if k != "Condition"} for found in statements]
        iam, name = self.client("iam"), "worker"
        document = json.dumps({"Version": "2012-10-17", "Statement": known})
        document = document.replace('"cloudwatch:', '"monitoring:')
        document = re.sub(r":\d{12}:", f":{DEFAULT_ACCOUNT_ID}:", document)
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(ANYBODY))
        iam.put_role_policy(RoleName=name, PolicyName="pod", PolicyDocument=document)
        found = self.client("sts").assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="pod")
        self._count_from("0")
        try:
            yield {
                "AWS_ACCESS_KEY_ID": found["Credentials"]["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": found["Credentials"]["SecretAccessKey"],
                "AWS_SESSION_TOKEN": found["Credentials"]["SessionToken"],
            }
        finally:
            self._count_from("inf")

    def _count_from(self, request: str) -> None:
        requests.post(f"{self.endpoint}/moto-api/reset-auth", data=request, timeout=60)

    def attributes(self, variable: str) -> dict[str, str]:
        url = self.outputs[variable]
        found = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        attributes: dict[str, str] = found["Attributes"]
        return attributes


@pytest.fixture(params=["dev", "prod"])
def environment(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def cloud(environment: str) -> Iterator[Cloud]:
    with serve_aws() as endpoint:
        requests.post(f"{endpoint}/moto-api/reset", timeout=60)  # one state in a process
        make = Cloud(endpoint, {}).client
        # What 'cdk bootstrap' leaves, and every template of the CDK asks for.
        make("ssm").put_parameter(
            Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String"
        )
        name = f"cropmask-{environment}-data"
        body = json.dumps(_without_distribution(template_of(environment, "data")))
        make("cloudformation").create_stack(StackName=name, TemplateBody=body)
        (stack,) = make("cloudformation").describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        yield Cloud(endpoint, {o["Description"]: o["OutputValue"] for o in stack["Outputs"]})


def _without_distribution(template: dict[str, Any]) -> dict[str, Any]:
    """Without the public distribution, which the stand-in cannot make."""
    left_out = [
        id_
        for id_, found in template["Resources"].items()
        if found["Type"].startswith("AWS::CloudFront::")
    ]
    for id_ in left_out:
        del template["Resources"][id_]
    outputs = {n: o for n, o in template["Outputs"].items() if "Fn::Join" not in o["Value"]}
    return {**template, "Outputs": outputs}


def test_the_stack_makes_what_the_settings_of_the_workers_name(
    cloud: Cloud, environment: str
) -> None:
    settings = settings_of(environment)
    for variable in (contract.ENV_QUEUE, contract.ENV_DEAD_LETTERS):
        assert cloud.outputs[variable].rpartition("/")[2] == settings[variable].rpartition("/")[2]
    assert cloud.outputs[contract.ENV_OUTPUT] == settings[contract.ENV_OUTPUT]
    bucket = settings[contract.ENV_OUTPUT].split("/")[2]
    buckets = {found["Name"] for found in cloud.client("s3").list_buckets()["Buckets"]}
    assert bucket in buckets
    assert len(buckets) == 3


def test_the_queue_behaves_as_the_contract_says(cloud: Cloud) -> None:
    facts = cloud.attributes(contract.ENV_QUEUE)
    assert int(facts["VisibilityTimeout"]) == contract.LEASE_SECONDS
    assert int(facts["ReceiveMessageWaitTimeSeconds"]) == contract.POLL_SECONDS
    redrive = json.loads(facts["RedrivePolicy"])
    assert int(redrive["maxReceiveCount"]) == contract.MAX_RECEIVES
    dead = cloud.attributes(contract.ENV_DEAD_LETTERS)
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]


def test_what_nobody_finishes_ends_among_the_dead_letters(cloud: Cloud) -> None:
    sqs, queue = cloud.client("sqs"), cloud.outputs[contract.ENV_QUEUE]
    sqs.send_message(QueueUrl=queue, MessageBody="a tile")
    receive = {"QueueUrl": queue, "VisibilityTimeout": 0, "WaitTimeSeconds": 0}
    seen = [len(sqs.receive_message(**receive).get("Messages", [])) for _ in range(10)]
    assert sum(seen) == contract.MAX_RECEIVES
    dead = cloud.attributes(contract.ENV_DEAD_LETTERS)
    assert dead["ApproximateNumberOfMessages"] == "1"


@pytest.mark.timeout(WORKER_SECONDS + 100)
@pytest.mark.parametrize("environment", ["dev"], indirect=True)
def test_a_worker_drains_the_queue_into_the_bucket(
    cloud: Cloud, environment: str, demo_cache: Path, tmp_path: Path
) -> None:
    """With settings and permissions of the cluster, but for the made-up world."""
    queue = cloud.outputs[contract.ENV_QUEUE]
    for tile, region in ((Tile(10, 20), "eastern"), (Tile(11, 20), "nowhere")):
        order = Order(Task(tile, region, Period.parse("2019")), recipe="boosted")
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in order.attributes.items()
        }
        cloud.client("sqs").send_message(
            QueueUrl=queue, MessageBody=order.body, MessageAttributes=attributes
        )
    made_up = {
        contract.ENV_ENVIRONMENT: "local",
        contract.ENV_RESOLUTION: "100",
        contract.ENV_IDLE_EXIT: "5",
        contract.ENV_CACHE: str(demo_cache),
        contract.ENV_QUEUE: queue,
        contract.ENV_DEAD_LETTERS: cloud.outputs[contract.ENV_DEAD_LETTERS],
        "AWS_ENDPOINT_URL": cloud.endpoint,
        contract.ENV_S3_ENDPOINT: cloud.endpoint,
        contract.ENV_SQS_ENDPOINT: cloud.endpoint,
        "TMPDIR": str(tmp_path),
    }
    with cloud.only(statements_of_the_worker(environment)) as credentials:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("cropmask")), "worker"],
            env={**os.environ, **settings_of(environment), **made_up, **credentials},
            capture_output=True,
            text=True,
            timeout=WORKER_SECONDS,
            check=False,
        )
    assert done.returncode == contract.ExitCode.DONE, done.stderr
    for kind in ("", "NotVisible"):
        left = cloud.attributes(contract.ENV_QUEUE)[f"ApproximateNumberOfMessages{kind}"]
        assert left == "0"
    assert cloud.attributes(contract.ENV_DEAD_LETTERS)["ApproximateNumberOfMessages"] == "1"
    keys = _keys(cloud, settings_of(environment)[contract.ENV_OUTPUT])
    items = [key for key in keys if key.endswith(".stac-item.json")]
    assert [key.split("/")[1:4] for key in items] == [["crop_mask_eastern", "1-1-0", "x010"]]
    states = sorted(key.rsplit(".", 2)[1] for key in keys if f"/{contract.RUNS}/" in key)
    assert "SUCCEEDED" in states
    _assert_metrics(cloud)


def _keys(cloud: Cloud, output: str) -> list[str]:
    bucket, _, prefix = output.removeprefix("s3://").partition("/")
    pages = cloud.client("s3").get_paginator("list_objects_v2")
    found = [
        entry["Key"] for page in pages.paginate(Bucket=bucket) for entry in page.get("Contents", [])
    ]
    assert all(key.startswith(f"{prefix}/") for key in found)
    return found


def _assert_metrics(cloud: Cloud) -> None:
    """The dashboard and an alarm ask for exactly these names and dimensions."""
    listed = cloud.client("cloudwatch").list_metrics(Namespace=contract.METRICS_NAMESPACE)
    metrics = {
        metric["MetricName"]: tuple(d["Name"] for d in metric["Dimensions"])
        for metric in listed["Metrics"]
    }
    assert metrics[contract.METRIC_SUCCEEDED] == contract.METRIC_DIMENSIONS
    assert metrics[contract.METRIC_SECONDS] == contract.METRIC_DIMENSIONS
