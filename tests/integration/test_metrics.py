"""Metrics put to CloudWatch on loopback, and what happens when it does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from cropmask.contract import METRIC_SECONDS, METRIC_SUCCEEDED
from cropmask.machine.metrics import CloudWatchMetrics, NoMetrics, open_metrics
from tests.clouds import serve_aws, use_made_up_credentials
from tests.workers import Time


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    use_made_up_credentials(monkeypatch, tmp_path)
    with serve_aws() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", url)
        yield url


@pytest.fixture
def namespace() -> str:
    return f"Test-{uuid4().hex}"


def total(endpoint: str, namespace: str, name: str, region: str | None) -> float:
    """Sum of a metric."""
    client: Any = boto3.client("cloudwatch", endpoint_url=endpoint)
    words = {"Environment": "dev", "Region": region}
    now = datetime.now(UTC)
    answer = client.get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in words.items() if value],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=86_400,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


def test_values_arrive_in_batches_with_their_dimensions(endpoint: str, namespace: str) -> None:
    metrics = open_metrics(namespace, "dev")
    for _ in range(1200):
        metrics.add(METRIC_SUCCEEDED, 1, region="eastern")
    metrics.add(METRIC_SECONDS, 12.5, region="sahel")
    metrics.add(METRIC_SUCCEEDED, 1, region=None)
    metrics.flush()
    metrics.flush()  # nothing is put twice
    assert total(endpoint, namespace, METRIC_SUCCEEDED, "eastern") == 1200
    # moto adds up all that have the dimension, CloudWatch would not.
    assert total(endpoint, namespace, METRIC_SUCCEEDED, None) == 1201
    assert total(endpoint, namespace, METRIC_SECONDS, "sahel") == 12.5


def test_they_are_put_once_a_minute(endpoint: str, namespace: str) -> None:
    clock = Time()
    metrics = CloudWatchMetrics(namespace, "dev", clock=clock)
    metrics.add(METRIC_SUCCEEDED, 1, region="eastern")
    clock.now += 59
    metrics.flush_if_due()
    assert total(endpoint, namespace, METRIC_SUCCEEDED, "eastern") == 0
    clock.now += 1
    metrics.flush_if_due()
    assert total(endpoint, namespace, METRIC_SUCCEEDED, "eastern") == 1


def test_what_cannot_be_put_is_kept_and_costs_a_warning(
    endpoint: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = open_metrics(namespace, "dev")
    metrics.add(METRIC_SUCCEEDED, 1, region="eastern")
    good = metrics._aws  # type: ignore[attr-defined]
    good.open()
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")
    metrics._aws = CloudWatchMetrics(namespace, "dev")._aws  # type: ignore[attr-defined]
    metrics.flush()
    assert "1 metrics were not put" in caplog.text
    metrics._aws = good  # type: ignore[attr-defined]
    metrics.flush()
    assert total(endpoint, namespace, METRIC_SUCCEEDED, "eastern") == 1


def test_without_a_namespace_nothing_is_put() -> None:
    metrics = open_metrics(None, "local")
    assert isinstance(metrics, NoMetrics)
    metrics.add(METRIC_SUCCEEDED, 1, region="eastern")
    metrics.flush()
