"""Messages by a topic of SNS on loopback: they arrive with their subject, or say why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from cropmask.errors import Misconfigured
from cropmask.machine.notices import NoNotices, open_notices
from tests.clouds import serve_aws, use_made_up_credentials


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    use_made_up_credentials(monkeypatch, tmp_path)
    with serve_aws() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", url)
        yield url


def test_a_message_reaches_whoever_subscribed(endpoint: str) -> None:
    sns: Any = boto3.client("sns", endpoint_url=endpoint, region_name="af-south-1")
    sqs: Any = boto3.client("sqs", endpoint_url=endpoint, region_name="af-south-1")
    topic = sns.create_topic(Name=f"people-{uuid4().hex}")["TopicArn"]
    box = sqs.create_queue(QueueName=f"box-{uuid4().hex}")["QueueUrl"]
    words = sqs.get_queue_attributes(QueueUrl=box, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=words["QueueArn"])
    subject = f"cropmask eastern-2026 needs somebody: {'é' * 100}"
    open_notices(topic).tell(subject, "canary: 60 % nodata, too much")
    (message,) = sqs.receive_message(QueueUrl=box)["Messages"]
    found = json.loads(message["Body"])
    assert found["Message"] == "canary: 60 % nodata, too much"
    assert found["Subject"] == subject.replace("é", "?")[:99]
    with pytest.raises(Misconfigured, match=f"{topic}-lost: the server answers 404"):
        open_notices(f"{topic}-lost").tell("a", "b")


@pytest.mark.parametrize(
    "topic", ["alarms", "arn:aws:sqs:af-south-1:123456789012:x", "arn:aws:sns"]
)
def test_what_is_no_topic_is_refused_at_once(topic: str) -> None:
    with pytest.raises(Misconfigured, match="is no topic of SNS: write it like arn:aws:sns"):
        open_notices(topic)


def test_without_a_topic_nobody_is_told() -> None:
    notices = open_notices(None)
    assert isinstance(notices, NoNotices)
    notices.tell("a", "b")
