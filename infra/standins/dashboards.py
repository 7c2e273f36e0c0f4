"""The dashboard of a template as CloudWatch gets it, and what it shows of recorded metrics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cropmask.contract import METRIC_SECONDS
from infra.standins.alarmrules import AlarmRule
from infra.standins.logqueries import Row, query_logs
from infra.standins.metricmath import Evaluator, Metric, Recording, Series, Window, as_series
from infra.standins.templates import template_of

_SLOWER: Final = 60
"""How much the clock of a recording is slowed, so that its tiles take minutes, not seconds."""
_DURATIONS: Final = (METRIC_SECONDS, "ApproximateAgeOfOldestMessage")


def widgets_of(environment: str) -> list[dict[str, Any]]:
    """Widgets of an environment's dashboard; what CloudFormation fills in is left out."""
    resources = template_of(environment, "observability")["Resources"].values()
    (made,) = [r["Properties"] for r in resources if r["Type"] == "AWS::CloudWatch::Dashboard"]
    parts = made["DashboardBody"]["Fn::Join"][1]
    body = "".join(part if isinstance(part, str) else "" for part in parts)
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded, slowed."""

    recording: Recording
    lines: list[dict[str, Any]]
    end: int
    """Second after the last value, a whole hour."""

    @classmethod
    def load(cls, file: Path) -> Recorded:
        """Of a file that ``docs/record_dashboard.py`` wrote."""
        document = json.loads(file.read_text())
        recording, last = Recording(), 0.0
        for found in document["metrics"]:
            dimensions = frozenset(found["dimensions"].items())
            metric = Metric(found["namespace"], found["name"], dimensions)
            times = _SLOWER if metric.name in _DURATIONS else 1
            for second, value in found["values"]:
                recording.put(metric, second * _SLOWER, value * times)
                last = max(last, second * _SLOWER)
        lines = [
            {"log_processed": {**line, "seconds": line["seconds"] * _SLOWER}}
            for line in document["lines"]
        ]
        return cls(recording, lines, int(-(-last // 3600) * 3600))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a graph."""

    label: str
    series: Series
    period: int
    is_right: bool = False


def evaluate_widget(properties: dict[str, Any], recorded: Recorded) -> list[Line]:
    """Lines of a graph."""
    lines, before = [], []
    for given in properties["metrics"]:
        words, options = [w for w in given if isinstance(w, str)], given[-1]
        words = [before[number] if word == "." else word for number, word in enumerate(words)]
        before = words or before
        period = options.get("period", 300)
        window = Window(recorded.end, period, recorded.end // period)
        evaluator = Evaluator(recorded.recording, window)
        if "expression" in options:
            series = as_series(evaluator.evaluate(options["expression"]))
        else:
            dimensions = frozenset(zip(words[2::2], words[3::2], strict=True))
            metric = Metric(words[0], words[1], dimensions)
            series = evaluator.statistic(metric, options.get("stat", "Average"))
        lines.append(Line(options["label"], series, period, options.get("yAxis") == "right"))
    return lines


def evaluate_log_widget(properties: dict[str, Any], recorded: Recorded) -> list[Row]:
    """Rows of a table."""
    query = properties["query"]
    return query_logs(query, {query.split("'")[1]: recorded.lines})


def find_sounded(environment: str, recorded: Recorded) -> dict[str, bool]:
    """Whether each alarm sounded at any time, by its name."""
    resources = template_of(environment, "observability")["Resources"].values()
    rules = [AlarmRule(r["Properties"]) for r in resources if r["Type"] == "AWS::CloudWatch::Alarm"]
    moments = range(3600, recorded.end + 1, 300)  # nothing is known of before
    return {r.name: any(r.sounds(recorded.recording, at) for at in moments) for r in rules}
