"""Nights in which something goes wrong, as CloudWatch would see them: which alarms sound.

Values go through the alarms of the synthesized template: their metrics, their own expressions, and
their thresholds. Workers put theirs by the code that they put them with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from cropmask import contract
from cropmask.machine.metrics import CloudWatchMetrics
from infra.standins.alarmrules import AlarmRule
from infra.standins.metricmath import Metric, Recording
from infra.standins.templates import template_of

BEGIN = datetime(2026, 7, 1, 20, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Minute:
    """What is there, and what happens, in one minute."""

    waiting: int = 50
    flying: int = 4
    dead: int = 0
    oldest_seconds: int = 600
    workers: int = 4
    done: int = 2
    failed: int = 0
    lost: int = 0
    poison: int = 0
    stopped: int = 0
    budget_percent: float | None = 30
    bad_nodes: int = 0


GOOD = Minute()
IDLE = Minute(waiting=0, flying=0, oldest_seconds=0, workers=0, done=0, budget_percent=None)


@dataclass(slots=True)
class Night:
    """Minutes, one after the other, and what CloudWatch has of them."""

    name: str
    recording: Recording = field(default_factory=Recording)
    now: datetime = BEGIN
    workers: CloudWatchMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.workers = CloudWatchMetrics(
            contract.METRICS_NAMESPACE, self.name, now=lambda: self.now
        )
        self.workers._aws = self  # type: ignore[assignment]

    def open(self) -> Recording:
        """The client to which workers put."""
        return self.recording

    def pass_(self, minute: Minute, minutes: int) -> None:
        """Let the same minute pass so often."""
        for _ in range(minutes):
            self._from_aws(minute)
            self._from_workers(minute)
            self.now += timedelta(minutes=1)

    def _from_aws(self, minute: Minute) -> None:
        tasks, letters = f"cropmask-{self.name}-tasks", f"cropmask-{self.name}-dead-letters"
        for queue, name, value in (
            (tasks, "ApproximateNumberOfMessagesVisible", minute.waiting),
            (tasks, "ApproximateNumberOfMessagesNotVisible", minute.flying),
            (tasks, "ApproximateAgeOfOldestMessage", minute.oldest_seconds),
            (tasks, "NumberOfMessagesDeleted", minute.done + minute.poison),
            (letters, "ApproximateNumberOfMessagesVisible", minute.dead),
        ):
            self._put("AWS/SQS", name, {"QueueName": queue}, value)
        cluster = {"ClusterName": f"cropmask-{self.name}"}
        self._put("ContainerInsights", "cluster_failed_node_count", cluster, minute.bad_nodes)

    def _put(self, namespace: str, name: str, dimensions: dict[str, str], value: float) -> None:
        metric = Metric(namespace, name, frozenset(dimensions.items()))
        self.recording.put(metric, self.now.timestamp(), value)

    def _from_workers(self, minute: Minute) -> None:
        for name, count, region in (
            (contract.METRIC_ALIVE, minute.workers, None),
            (contract.METRIC_SUCCEEDED, minute.done, "eastern"),
            (contract.METRIC_FAILED, minute.failed, "sahel"),
            (contract.METRIC_LOST, minute.lost, "eastern"),
            (contract.METRIC_INVALID, minute.poison, None),
            (contract.METRIC_STOPPED, minute.stopped, "eastern"),
        ):
            for _ in range(count):
                self.workers.add(name, 1, region=region)
        if minute.budget_percent is not None:
            self.workers.add(contract.METRIC_BUDGET, minute.budget_percent, region="eastern")
        self.workers.flush()


@pytest.fixture(params=["dev", "prod"])
def environment(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def rules(environment: str) -> dict[str, AlarmRule]:
    resources = template_of(environment, "observability")["Resources"].values()
    made = [AlarmRule(r["Properties"]) for r in resources if r["Type"] == "AWS::CloudWatch::Alarm"]
    return {rule.name: rule for rule in made}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong, for how long, and what else is to be heard."""

    minute: dict[str, Any]
    minutes: int
    also: frozenset[str] = frozenset()


TROUBLES = {
    "dead-letters": Trouble({"dead": 1}, 10),
    "oldest-task": Trouble({"oldest_seconds": 24 * HOUR}, 20),
    "nothing-completes": Trouble({"done": 0, "flying": 0}, 70),
    "tiles-fail": Trouble({"failed": 3}, 40),
    "nodes-fail": Trouble({"bad_nodes": 1}, 20),
    "hung-work": Trouble({"done": 0, "waiting": 0}, 70),
    "workers-silent": Trouble({"done": 0, "flying": 0, "workers": 0}, 30),
    "workers-lost": Trouble({"lost": 1}, 20),
    "poison-messages": Trouble({"poison": 1}, 1),
    "run-stopped": Trouble({"stopped": 1}, 1),
    "run-budget": Trouble({"budget_percent": 81}, 30),
}


def listen(rules: dict[str, AlarmRule], night: Night) -> Iterator[set[str]]:
    """Which alarms sound, every five minutes."""
    second, end = int(BEGIN.timestamp()) + HOUR, int(night.now.timestamp())
    while second <= end:
        yield {name for name, rule in rules.items() if rule.sounds(night.recording, second)}
        second += 5 * MINUTE


@pytest.mark.parametrize("name", sorted(TROUBLES))
def test_each_alarm_sounds_once_in_its_trouble_and_is_over_after_it(
    rules: dict[str, AlarmRule], environment: str, name: str
) -> None:
    trouble, night = TROUBLES[name], Night(environment)
    night.pass_(GOOD, 90)
    night.pass_(replace(GOOD, **trouble.minute), trouble.minutes)
    night.pass_(GOOD, 120)
    heard = list(listen(rules, night))
    assert set.union(*heard) == {name} | trouble.also
    begun = sum(name in after and name not in before for before, after in pairwise(heard))
    assert (name in heard[0], begun, name in heard[-1]) == (False, 1, False)


def test_every_alarm_of_the_template_has_its_trouble(rules: dict[str, AlarmRule]) -> None:
    assert set(rules) == set(TROUBLES)


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param([(GOOD, 180)], id="a good night"),
        pytest.param([(IDLE, 180)], id="nothing to do"),
        pytest.param(
            [(IDLE, 70), (Minute(flying=0, workers=0, done=0), 14), (GOOD, 90), (IDLE, 70)],
            id="from nothing, by the first node, to nothing",
        ),
        pytest.param(
            [(GOOD, 70), (replace(GOOD, done=0, waiting=0), 55), (GOOD, 60)],
            id="a tile that takes long",
        ),
        pytest.param([(GOOD, 60), (replace(GOOD, lost=1), 2), (GOOD, 70)], id="two nodes lost"),
    ],
)
def test_what_is_no_trouble_is_not_heard(
    rules: dict[str, AlarmRule], environment: str, minutes: list[tuple[Minute, int]]
) -> None:
    night = Night(environment)
    for minute, count in minutes:
        night.pass_(minute, count)
    assert set.union(*listen(rules, night)) == set()


def test_an_attempt_is_stopped_before_it_counts_as_hung(rules: dict[str, AlarmRule]) -> None:
    hung = rules["hung-work"]
    assert hung.period * hung.properties["EvaluationPeriods"] >= contract.TIME_LIMIT_SECONDS
