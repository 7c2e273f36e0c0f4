"""The dashboard over what was recorded for its picture: every widget finds its metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cropmask import contract
from infra.standins.dashboards import (
    Recorded,
    evaluate_log_widget,
    evaluate_widget,
    find_sounded,
    widgets_of,
)

RECORDED = Path(__file__).parents[2] / "docs" / "figures" / "dashboard.json"
NOT_HERE = {"spot instances taken", "runs stopped", "failed, tried again"}


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded.load(RECORDED)


@pytest.fixture(scope="module")
def widgets() -> list[dict[str, Any]]:
    return widgets_of("dev")


def test_every_line_has_values_but_those_of_what_did_not_happen(
    recorded: Recorded, widgets: list[dict[str, Any]]
) -> None:
    graphs = [widget["properties"] for widget in widgets if widget["type"] == "metric"]
    lines = [line for given in graphs for line in evaluate_widget(given, recorded)]
    assert {line.label for line in lines if not line.series} == NOT_HERE


def test_figures_agree(recorded: Recorded, widgets: list[dict[str, Any]]) -> None:
    by_title = {widget["properties"]["title"]: widget["properties"] for widget in widgets}
    tiles = evaluate_widget(by_title["Tiles in five minutes"], recorded)
    done = next(sum(line.series.values()) for line in tiles if line.label == "done")
    (log,) = [properties for properties in by_title.values() if "query" in properties]
    rows = {row["run"]: row for row in evaluate_log_widget(log, recorded)}
    # What a worker had not put when it was killed is in its log, not in the metrics.
    assert 0.5 * rows["eastern-2019"]["done"] < done <= rows["eastern-2019"]["done"] == 80
    (seconds,) = evaluate_widget(by_title["Estimated cost of computing, USD an hour"], recorded)
    assert 0 < sum(seconds.series.values()) <= rows["eastern-2019"]["usd"]
    sounded = find_sounded("dev", recorded)
    assert sounded["dead-letters"]
    assert sounded["poison-messages"]
    assert {"hung-work", "nodes-fail", "nothing-completes"}.isdisjoint(
        name for name, on in sounded.items() if on
    )


def test_metrics_of_workers_in_the_recording_are_those_of_the_contract(recorded: Recorded) -> None:
    names = {m.name for m in recorded.recording.values if m.namespace == contract.METRICS_NAMESPACE}
    assert names <= set(contract.METRICS)
    assert contract.METRIC_LOST in names
