"""The cost of runs on the dashboard, from the lines that workers write."""

from __future__ import annotations

import logging

import pytest

from cropmask import contract
from cropmask.cli.console import JsonFormatter
from cropmask.errors import Interrupted, Rejected
from cropmask.fleet.attempt import HeldLease
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import find_attempts, load_attempt
from cropmask.fleet.records import AttemptRecord, State
from cropmask.site.price import Price
from cropmask.task import Order
from infra.settings import load_settings
from infra.standins.dashboards import widgets_of
from infra.standins.logqueries import as_pod_line, query_logs
from tests.workers import Office, make_order

GROUP = "'/aws/containerinsights/cropmask-dev/application'"


def test_commands_of_a_query() -> None:
    events = [
        {"a": {"kind": kind, "size": size}}
        for kind, size in (("big", 5), ("small", 1), ("big", 7), (None, 3))
    ]
    query = "SOURCE 'g' | filter ispresent(a.kind) and ispresent(a.size)"
    assert len(query_logs(query, {"g": events, "other": events})) == 3
    query += "\n| stats sum(a.size) * 3 / 2 as sizes, count(*) as all by a.kind as kind"
    rows = query_logs(f"{query} | sort sizes desc", {"g": events})
    assert rows == [
        {"kind": "big", "sizes": 18.0, "all": 2.0},
        {"kind": "small", "sizes": 1.5, "all": 1.0},
    ]
    assert query_logs(f"{query} | limit 1", {"g": events}) == rows[:1]
    for wrong in ("dedup a", "filter a.size > 3", "stats avg(a.size) as x by a.kind as kind"):
        with pytest.raises(ValueError, match=r"unknown|no ispresent"):
            query_logs(f"SOURCE 'g' | {wrong}", {"g": events})


class Lines(logging.Handler):
    """Lines as a pod writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter({}))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def test_runs_cost_what_their_records_say() -> None:
    """Every attempt counts, the failed ones too; lines that are no attempt's end do not."""
    seconds = iter((100, 40, 30, 20, 7))
    outcomes = iter(
        (
            Outcome(state=State.SUCCEEDED),
            Outcome(error=Interrupted("503")),
            Outcome(error=Rejected("no GeoMAD")),
            Outcome(state=State.SUCCEEDED),
            Outcome(state=State.SKIPPED),
        )
    )

    def work(_order: Order, _record: AttemptRecord, _held: HeldLease) -> Outcome:
        at.time.now += next(seconds)
        return next(outcomes)

    at, heard = Office(work), Lines()
    log = logging.getLogger("cropmask")
    before = log.level
    log.addHandler(heard)
    log.setLevel(logging.INFO)
    try:
        at.send(make_order(10), make_order(11), make_order(12))
        at.worker().run()
    finally:
        log.removeHandler(heard)
        log.setLevel(before)
    heard.lines.append("no JSON")
    (widget,) = [w for w in widgets_of("dev") if w["type"] == "log"]
    groups = {GROUP.strip("'"): [as_pod_line(line) for line in heard.lines]}
    (row,) = query_logs(widget["properties"]["query"], groups)
    keys = find_attempts(at.store, "crop_mask_eastern", "2019--P1Y")
    records = [load_attempt(at.store, key) for key in keys]
    assert len(heard.lines) > 2 * len(records) >= 8
    spent = sum(record.seconds or 0 for record in records) * contract.WORKER_CPUS
    dollars = load_settings("dev").workers.cpu_hour_price.dollars
    assert row["usd"] == pytest.approx(Price(dollars).of(spent))
    assert (row["run"], row["attempts"]) == ("night-1", len(records))
    assert (row["done"], row["failed"]) == (2, 1)
