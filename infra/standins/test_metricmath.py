"""The stand-in for CloudWatch's metric math: by hand, and beside moto where moto has an answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from infra.standins.metricmath import Evaluator, Metric, Recording, Value, Window
from tests.clouds import serve_aws

WINDOW = Window(end=400, period=100, count=4)
A = {0: 1.0, 100: 2.0, 300: 4.0}
B = {0: 10.0, 200: 30.0, 300: 0.0}


def evaluate(expression: str, recording: Recording | None = None) -> Value:
    known: dict[str, Value] = {"a": A, "b": B, "none": {}, "many": [A, B]}
    return Evaluator(recording or Recording(), WINDOW, known).evaluate(expression)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 - 8 / 4", 5.0),
        ("(1 + 2) * 3", 9.0),
        ("8 / 4 / 2", 1.0),
        ("a + b", {0: 11.0, 300: 4.0}),
        ("a * 2", {0: 2.0, 100: 4.0, 300: 8.0}),
        ("a > 1", {0: 0.0, 100: 1.0, 300: 1.0}),
        ("a + 1 >= 3 AND b == 0", {0: 0.0, 300: 1.0}),
        ("a == 1 OR b == 0 AND a == 7", {0: 1.0, 300: 0.0}),
        ("IF(a > 1, b, 7)", {0: 7.0, 300: 0.0}),
        ("IF(none > 1, 1, 0)", {}),
        ("FILL(a, 9)", {0: 1.0, 100: 2.0, 200: 9.0, 300: 4.0}),
        ("FILL(none, 0)", dict.fromkeys(WINDOW.starts, 0.0)),
        ("IF(a > 0 AND FILL(none, 0) == 0, 1, 0)", {0: 1.0, 100: 1.0, 300: 1.0}),
        ("SUM(a)", 7.0),
        ("SUM(many)", {0: 11.0, 100: 2.0, 200: 30.0, 300: 4.0}),
        ("AVG(many)", {0: 5.5, 100: 2.0, 200: 30.0, 300: 2.0}),
        ("MAX(many)", {0: 10.0, 100: 2.0, 200: 30.0, 300: 4.0}),
        ("many * 2", [{0: 2.0, 100: 4.0, 300: 8.0}, {0: 20.0, 200: 60.0, 300: 0.0}]),
    ],
)
def test_metric_math(expression: str, value: Value) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression", ["a ?", "RATE(a)", "a b", "unknown", "FILL(a)", "SELECT nothing", "(a"]
)
def test_what_is_unknown_is_an_error(expression: str) -> None:
    with pytest.raises((ValueError, KeyError, IndexError)):
        evaluate(expression)


@pytest.fixture
def recording() -> Recording:
    made = Recording()
    for region, environment, value in (
        ("eastern", "dev", 1),
        ("sahel", "dev", 2),
        ("sahel", "prod", 4),
        (None, "dev", 8),
    ):
        dimensions = {"Environment": environment} | ({"Region": region} if region else {})
        metric = Metric("CropMask", "TilesFailed", frozenset(dimensions.items()))
        for second in (10, 20, 310, 400):  # the last is not in the window
            made.put(metric, second, value)
    return made


def test_a_query_sees_what_has_just_its_dimensions(recording: Recording) -> None:
    source = 'FROM SCHEMA("CropMask", Environment, Region)'
    query = f"SELECT SUM(TilesFailed) {source}"
    assert evaluate(query, recording) == {0: 14.0, 300: 7.0}
    dev = f"{query} WHERE Environment = 'dev'"
    assert evaluate(dev, recording) == {0: 6.0, 300: 3.0}
    assert evaluate(f"{dev} AND Region = 'sahel'", recording) == {0: 4.0, 300: 2.0}
    assert evaluate(dev.replace("SUM(", "MAX("), recording) == {0: 2.0, 300: 2.0}
    assert evaluate(dev.replace("Failed", "Lost"), recording) == {}
    with pytest.raises(ValueError, match="cannot be read"):
        evaluate(f"{query} WHERE Environment LIKE 'dev'", recording)


def test_a_search_gives_a_series_for_each_metric(recording: Recording) -> None:
    words = '{CropMask,Environment,Region} MetricName="TilesFailed" Environment="dev"'
    found = evaluate(f"SEARCH('{words}', 'Sum', 100)", recording)
    assert found == [{0: 2.0, 300: 1.0}, {0: 4.0, 300: 2.0}]
    summed = evaluate(f"SUM(SEARCH('{words}', 'Average', 100)) * 2", recording)
    assert summed == {0: 6.0, 300: 6.0}
    with pytest.raises(ValueError, match="by 60 s"):
        evaluate(f"SEARCH('{words}', 'Sum', 60)", recording)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve_aws() as url:
        yield url


@pytest.mark.parametrize("statistic", ["Sum", "Average", "Minimum", "Maximum", "SampleCount"])
def test_statistics_are_those_of_moto(endpoint: str, statistic: str) -> None:
    client: Any = boto3.client("cloudwatch", endpoint_url=endpoint)
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    name, dimensions = f"Of{statistic}", [{"Name": "QueueName", "Value": "tasks"}]
    data = [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Timestamp": begin + timedelta(seconds=second),
            "Value": float(value),
        }
        for second, value in ((0, 3), (299, 5), (300, 7), (1100, 1), (1199, 4))
    ]
    client.put_metric_data(Namespace="Ours", MetricData=data)
    recording = Recording()
    recording.put_metric_data(Namespace="Ours", MetricData=data)
    metric = {"Namespace": "Ours", "MetricName": name, "Dimensions": dimensions}
    stat = {"Metric": metric, "Period": 300, "Stat": statistic}
    answer = client.get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": stat}],
        StartTime=begin,
        EndTime=begin + timedelta(seconds=1200),
        ScanBy="TimestampAscending",
    )
    (found,) = answer["MetricDataResults"]
    seconds = [int(moment.timestamp()) for moment in found["Timestamps"]]
    moto = dict(zip(seconds, found["Values"], strict=True))
    window = Window(int(begin.timestamp()) + 1200, 300, 4)
    ours = Evaluator(recording, window).statistic(Metric.parse(metric), statistic)
    assert ours == moto
    assert len(ours) == 3
