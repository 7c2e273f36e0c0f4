"""AWS on loopback: moto's server, credentials that open nothing real, and queues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cropmask.contract import LEASE_SECONDS, MAX_RECEIVES


@contextmanager
def serve_aws() -> Iterator[str]:
    """Address of a server that speaks S3, SQS and CloudWatch."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def use_made_up_credentials(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Credentials that open nothing real, and no other source of any."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


def make_queue(
    endpoint: str, *, max_receives: int = MAX_RECEIVES, name: str | None = None
) -> tuple[str, str]:
    """URLs of a new SQS queue and of its dead letters."""
    client: Any = boto3.client("sqs", endpoint_url=endpoint)
    name = name or f"tasks-{uuid4().hex[:8]}"
    dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    facts = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    policy = {
        "deadLetterTargetArn": facts["Attributes"]["QueueArn"],
        "maxReceiveCount": str(max_receives),
    }
    made = client.create_queue(
        QueueName=name,
        Attributes={
            "RedrivePolicy": json.dumps(policy),
            "VisibilityTimeout": str(LEASE_SECONDS),
        },
    )
    return str(made["QueueUrl"]), str(dead)
