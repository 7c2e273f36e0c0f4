"""Metrics by name: those of a queue, and those that workers put for their environment."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

from cropmask.contract import METRIC_DIMENSIONS, METRICS_NAMESPACE
from infra.places import QueuePlace

FIVE_MINUTES: Final = Duration.minutes(5)

WAITING: Final = "ApproximateNumberOfMessagesVisible"
IN_FLIGHT: Final = "ApproximateNumberOfMessagesNotVisible"
AGE: Final = "ApproximateAgeOfOldestMessage"
DELETED: Final = "NumberOfMessagesDeleted"


def queue_metric(
    queue: QueuePlace,
    name: str,
    statistic: str,
    *,
    period: Duration = FIVE_MINUTES,
    label: str | None = None,
) -> cw.Metric:
    """One metric that SQS puts for a queue."""
    return cw.Metric(
        namespace="AWS/SQS",
        metric_name=name,
        dimensions_map={"QueueName": queue.name},
        statistic=statistic,
        period=period,
        label=label,
    )


def environment_metric(
    name: str,
    environment: str,
    statistic: str,
    *,
    period: Duration = FIVE_MINUTES,
    label: str | None = None,
) -> cw.Metric:
    """One metric that workers put for no region."""
    return cw.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=name,
        dimensions_map={METRIC_DIMENSIONS[0]: environment},
        statistic=statistic,
        period=period,
        label=label,
    )
