"""The alarms, as values: what each means is said here and explained in the runbook."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

from cropmask.contract import (
    METRIC_ALIVE,
    METRIC_BUDGET,
    METRIC_DIMENSIONS,
    METRIC_FAILED,
    METRIC_INVALID,
    METRIC_LOST,
    METRIC_STOPPED,
    METRICS_NAMESPACE,
)
from infra.places import Places, QueuePlace
from infra.stacks.metrics import (
    AGE,
    DELETED,
    FIVE_MINUTES,
    IN_FLIGHT,
    WAITING,
    environment_metric,
    queue_metric,
)

_HOUR: Final = Duration.hours(1)
_FIVE_MINUTES_OF_AN_HOUR: Final = 12
_PATIENCE: Final = 4
"""Five minutes in which nobody gives a sign; the first node and its image take some of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm: it sounds above a threshold."""

    name: str
    """In camel case; the runbook's heading is the same in words."""
    meaning: str
    metric: cw.IMetric
    threshold: float
    periods: int = 1
    """How often in a row."""

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
            metric=_count(METRIC_FAILED, places.settings.workers.site, "failed attempts"),
            threshold=limits.failures_an_hour,
        ),
        Alarm(
            name="HungWork",
            meaning="Tasks were in flight for an hour, and none was finished or parked.",
            metric=_hung(places.tasks),
            threshold=0,
            periods=_FIVE_MINUTES_OF_AN_HOUR,
        ),
        Alarm(
            name="WorkersSilent",
            meaning="There are tasks, and no worker gave a sign of life for 20 minutes.",
            metric=_silent(places.tasks, places.settings.workers.site),
            threshold=0,
            periods=_PATIENCE,
        ),
        Alarm(
            name="WorkersLost",
            meaning=f"More than {limits.lost_an_hour} workers died on a tile within an hour, "
            "without a word.",
            metric=_count(METRIC_LOST, places.settings.workers.site, "attempts of dead workers"),
            threshold=limits.lost_an_hour,
        ),
        Alarm(
            name="RunStopped",
            meaning="A worker stopped a run: its tiles fail alike, or it has cost what it may.",
            metric=_select("SUM", METRIC_STOPPED, places.settings.workers.site, "runs stopped"),
            threshold=0,
        ),
        Alarm(
            name="RunBudget",
            meaning=f"A run has cost more than {limits.budget_percent} percent of what it may.",
            metric=_select("MAX", METRIC_BUDGET, places.settings.workers.site, "percent"),
            threshold=limits.budget_percent,
        ),
        Alarm(
            name="PoisonMessages",
            meaning="A message came that is no task, or names a region that no worker knows.",
            metric=_poison(places.settings.workers.site),
            threshold=0,
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


def _count(metric: str, environment: str, label: str) -> cw.IMetric:
    """Sum of an hour."""
    return _select("SUM", metric, environment, label, _HOUR)


def _select(
    function: str, metric: str, environment: str, label: str, period: Duration = FIVE_MINUTES
) -> cw.IMetric:
    """Values of a metric in all regions; a query, since an alarm takes no search."""
    name = METRIC_DIMENSIONS[0]
    source = f'FROM SCHEMA("{METRICS_NAMESPACE}", {", ".join(METRIC_DIMENSIONS)})'
    return cw.MathExpression(
        expression=f"SELECT {function}({metric}) {source} WHERE {name} = '{environment}'",
        using_metrics={},
        period=period,
        label=label,
    )


def _poison(environment: str) -> cw.IMetric:
    """Messages that ended without a region; a query for those of regions does not see them."""
    return cw.MathExpression(
        expression="FILL(invalid, 0) + FILL(failed, 0)",
        using_metrics={
            "invalid": environment_metric(METRIC_INVALID, environment, "Sum"),
            "failed": environment_metric(METRIC_FAILED, environment, "Sum"),
        },
        period=FIVE_MINUTES,
        label="messages without a region",
    )


def _hung(queue: QueuePlace) -> cw.IMetric:
    """1 for five minutes in which a task was in flight and none left the queue.

    An attempt is stopped at its time limit, which is an hour, so twelve of them in a row are no
    tile that takes long. Workers that die on a task and get it again are seen as well.
    """
    return cw.MathExpression(
        expression="IF(flying > 0 AND FILL(left, 0) == 0, 1, 0)",
        using_metrics={
            "flying": queue_metric(queue, IN_FLIGHT, "Maximum"),
            "left": queue_metric(queue, DELETED, "Sum"),
        },
        period=FIVE_MINUTES,
        label="tasks in flight, none leaves",
    )


def _silent(queue: QueuePlace, environment: str) -> cw.IMetric:
    """1 for five minutes in which there were tasks and no worker said that it was alive.

    Should CloudWatch not fill a metric that nobody has put for long, this stays silent, and that
    nothing completes is heard after an hour: SQS counts by itself.
    """
    return cw.MathExpression(
        expression="IF(waiting + flying > 0 AND FILL(alive, 0) == 0, 1, 0)",
        using_metrics={
            "waiting": queue_metric(queue, WAITING, "Maximum"),
            "flying": queue_metric(queue, IN_FLIGHT, "Maximum"),
            "alive": environment_metric(METRIC_ALIVE, environment, "Sum"),
        },
        period=FIVE_MINUTES,
        label="tasks, and no worker",
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
