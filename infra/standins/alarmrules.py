"""Alarms of a template, and when they sound.

An alarm sounds where its last periods break the threshold; the end of the last one is now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.standins.metricmath import Evaluator, Metric, Recording, Series, Window, as_series


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """An alarm of a template."""

    properties: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name without that of the environment."""
        return str(self.properties["AlarmName"]).split("-", 2)[2]

    @property
    def period(self) -> int:
        """Seconds of one period."""
        if "Period" in self.properties:
            return int(self.properties["Period"])
        periods = {
            found["Period"] if "Period" in found else found["MetricStat"]["Period"]
            for found in self.properties["Metrics"]
            if "Period" in found or "MetricStat" in found
        }
        (period,) = periods
        return int(period)

    def series(self, recording: Recording, window: Window) -> Series:
        """What it compares with its threshold."""
        given = self.properties
        evaluator = Evaluator(recording, window)
        if "MetricName" in given:
            return evaluator.statistic(Metric.parse(given), given["Statistic"])
        evaluator.known = {
            found["Id"]: evaluator.statistic(
                Metric.parse(found["MetricStat"]["Metric"]), found["MetricStat"]["Stat"]
            )
            for found in given["Metrics"]
            if "MetricStat" in found
        }
        (expression,) = [m["Expression"] for m in given["Metrics"] if m.get("ReturnData", True)]
        return as_series(evaluator.evaluate(expression))

    def sounds(self, recording: Recording, second: int) -> bool:
        """Whether it is in alarm at a moment."""
        given = self.properties
        count = int(given["EvaluationPeriods"])
        if given["ComparisonOperator"] != "GreaterThanThreshold":
            raise ValueError(f"unknown comparison {given['ComparisonOperator']}")
        if given["TreatMissingData"] != "notBreaching":
            raise ValueError(f"unknown treatment {given['TreatMissingData']}")
        window = Window(second, self.period, count)
        series = self.series(recording, window)
        broken = sum(series.get(at, -math.inf) > given["Threshold"] for at in window.starts)
        return broken >= int(given.get("DatapointsToAlarm", count))
