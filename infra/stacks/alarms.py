"""The alarms, as values: what each means is said here and explained in the runbook."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

from cropmask.contract import METRIC_DIMENSIONS, METRIC_FAILED, METRICS_NAMESPACE
from infra.places import Places, QueuePlace
from infra.stacks.metrics import AGE, DELETED, FIVE_MINUTES, WAITING, queue_metric

_HOUR: Final = Duration.hours(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm: it sounds above a threshold."""

    name: str
    """In camel case; the runbook's heading is the same in words."""
    meaning: str
    metric: cw.IMetric
    threshold: float
    periods: int = 1

    @property
    def anchor(self) -> str:
        """Anchor of the heading in the runbook, such as ``dead-letters``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self.name).lower()


def make_alarms(places: Places) -> list[Alarm]:
    """Alarms of one environment."""
    limits = places.settings.alarms
    return [
        Alarm(
            name="DeadLetters",
            meaning="Tasks are among the dead letters: nobody will try them again by itself.",
            metric=queue_metric(places.dead_letters, WAITING, "Maximum"),
            threshold=0,
        ),
        Alarm(
            name="OldestTask",
            meaning=f"A task has waited for more than {limits.oldest_hours} hours.",
            metric=queue_metric(places.tasks, AGE, "Maximum"),
            threshold=limits.oldest_hours * 3600,
            periods=3,
        ),
        Alarm(
            name="NothingCompletes",
            meaning="Tasks wait, and none was finished or parked for an hour.",
            metric=_stalled(places.tasks),
            threshold=0,
        ),
        Alarm(
            name="TilesFail",
            meaning=f"More than {limits.failures_an_hour} attempts failed within an hour.",
            metric=_failures(places.settings.workers.site),
            threshold=limits.failures_an_hour,
        ),
        Alarm(
            name="NodesFail",
            meaning="A node of the cluster is not ready.",
            metric=cw.Metric(
                namespace="ContainerInsights",
                metric_name="cluster_failed_node_count",
                dimensions_map={"ClusterName": places.cluster},
                period=FIVE_MINUTES,
                statistic="Maximum",
            ),
            threshold=0,
            periods=3,
        ),
    ]


def _failures(environment: str) -> cw.IMetric:
    """Failed attempts of all regions; a query, since an alarm takes no search."""
    name = METRIC_DIMENSIONS[0]
    source = f'FROM SCHEMA("{METRICS_NAMESPACE}", {", ".join(METRIC_DIMENSIONS)})'
    return cw.MathExpression(
        expression=f"SELECT SUM({METRIC_FAILED}) {source} WHERE {name} = '{environment}'",
        using_metrics={},
        period=_HOUR,
        label="failed attempts",
    )


def _stalled(queue: QueuePlace) -> cw.IMetric:
    """1 for an hour in which tasks were visible all the time and none left the queue.

    Minimum: an hour in which the queue was empty for a while is no stall. A worker deletes the
    message of every task that is done, skipped or parked.
    """
    waiting = queue_metric(queue, WAITING, "Minimum", period=_HOUR)
    left = queue_metric(queue, DELETED, "Sum", period=_HOUR)
    return cw.MathExpression(
        expression="IF(waiting > 0 AND FILL(left, 0) == 0, 1, 0)",
        using_metrics={"waiting": waiting, "left": left},
        period=_HOUR,
        label="tasks wait, none leaves",
    )
