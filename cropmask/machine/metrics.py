"""Figures for dashboards and alarms: put to CloudWatch, or nowhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from cropmask.contract import METRIC_DIMENSIONS, METRIC_SECONDS_APART, METRICS
from cropmask.errors import CropmaskError
from cropmask.remote.aws import AwsClient, translate_aws_errors

_BATCH: Final = 500
"""Values of one request; CloudWatch takes 1000, and 1 MB."""
_MOST: Final = 10_000
"""Values that are kept while they cannot be put; the oldest go first."""

log = logging.getLogger(__name__)


class Metrics(Protocol):
    """Takes figures, from any thread; none of its methods ever raises because of the world."""

    def add(self, name: str, value: float, *, region: str | None) -> None:
        """Note a value of a metric of :data:`~cropmask.contract.METRICS`."""
        ...

    def flush_if_due(self) -> None:
        """Put what was noted, once in a while."""
        ...

    def flush(self) -> None:
        """Put what was noted."""
        ...


class NoMetrics:
    """Takes figures and drops them."""

    def add(self, name: str, value: float, *, region: str | None) -> None:
        """Drop a value."""

    def flush_if_due(self) -> None:
        """Nothing to put."""

    def flush(self) -> None:
        """Nothing to put."""


class CloudWatchMetrics:
    """Puts figures in batches, about once a minute; without an answer soon it gives up till later.

    ``environment`` is the value of the dimension ``Environment``; ``Region`` is the other one.
    """

    def __init__(
        self,
        namespace: str,
        environment: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._namespace = namespace
        self._environment = environment
        self._clock = clock
        self._now = now
        self._where = f"CloudWatch namespace {namespace}"
        self._last = clock()
        self._values: list[Mapping[str, Any]] = []
        self._noting = threading.Lock()
        self._putting = threading.Lock()
        # A worker must not wait for figures: neither long nor often.
        impatience = {"connect_timeout": 3, "read_timeout": 5}
        self._aws = AwsClient("cloudwatch", self._where, attempts=2, config=impatience)

    def add(self, name: str, value: float, *, region: str | None) -> None:
        """Keep a value until the next flush."""
        dimensions = dict(zip(METRIC_DIMENSIONS, (self._environment, region), strict=True))
        noted = {
            "MetricName": name,
            "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items() if v],
            "Timestamp": self._now(),
            "Value": float(value),
            "Unit": METRICS[name],
        }
        with self._noting:
            self._values.append(noted)

    def flush_if_due(self) -> None:
        """Put what was noted, if it is a minute since that was tried."""
        if self._clock() - self._last >= METRIC_SECONDS_APART:
            self.flush()

    def flush(self) -> None:
        """Put what was noted; what cannot be put is kept for the next time."""
        self._last = self._clock()
        with self._putting:
            try:
                while batch := self._first():
                    with translate_aws_errors(self._where):
                        aws = self._aws.open()
                        aws.put_metric_data(Namespace=self._namespace, MetricData=batch)
                    self._forget(len(batch))
            except CropmaskError as error:
                self._forget(max(0, len(self._values) - _MOST))
                log.warning("%d metrics were not put: %s", len(self._values), error)

    def _first(self) -> list[Mapping[str, Any]]:
        with self._noting:
            return self._values[:_BATCH]

    def _forget(self, count: int) -> None:
        with self._noting:
            del self._values[:count]


def open_metrics(namespace: str | None, environment: str) -> Metrics:
    """Metrics of a CloudWatch namespace; without one they are dropped."""
    return CloudWatchMetrics(namespace, environment) if namespace else NoMetrics()
