"""Runs found in a store, and how much of it is read."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks import operating
from cropmask.errors import Misconfigured, Rejected
from cropmask.fleet.recordfiles import load_attempts, load_runs
from cropmask.fleet.records import State, run_key_of
from cropmask.grid import Tile
from cropmask.operate.runs import (
    MAX_FAILURES,
    MAX_SAMPLED,
    RunQuery,
    check_worker_catalog,
    find_run,
    load_run_status,
)
from cropmask.queue.protocol import Counts
from cropmask.remote.threads import THREADS
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from cropmask.testing.store import MemoryStore
from tests.runs import START, make_attempt, make_run, put_records

TILES = tuple(Tile(100 + i % 100, 20 + i // 100) for i in range(4000))


class Counting(MemoryStore):
    """A store that counts its reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.listings = 0

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)

    def list(self, prefix: str = ""):
        self.listings += 1
        return super().list(prefix)


def test_four_thousand_tiles_are_one_listing_and_few_reads() -> None:
    store = Counting()
    record = make_run(TILES)
    states = (State.SUCCEEDED, State.SKIPPED, State.FAILED, State.INVALID)
    attempts = [
        make_attempt(record, tile, states[i % 4], i / 60, i, seconds=30.0, threads=2, reason="r")
        for i, tile in enumerate(TILES[:3000])
    ]
    put_records(store, record, attempts)
    store.reads = store.listings = 0
    standing = load_run_status(store, record, START + timedelta(hours=1))
    assert store.listings == 1
    assert store.reads <= MAX_FAILURES + 4 * MAX_SAMPLED
    assert standing.counts == {
        "SUCCEEDED": 750,
        "SKIPPED": 750,
        "PROCESSING": 0,
        "STALE": 0,
        "FAILED": 750,
        "INVALID": 750,
        "PENDING": 1000,
    }
    assert {group.reason for group in standing.failures} == {"r", "not looked at"}
    assert standing.spent.cpu_seconds == pytest.approx(3000 * 60)


def test_the_newest_run_is_found_whatever_its_name() -> None:
    store = MemoryStore()
    tiles = TILES[:2]
    old = make_run(tiles, "zebra", submitted="2026-01-01T00:00:00Z")
    new = make_run(tiles, "antelope", submitted="2026-02-01T00:00:00Z")
    other = make_run(tiles, "other", product="crop_mask_sahel", submitted="2026-01-15T00:00:00Z")
    for record in (old, new, other):
        put_records(store, record)
    store.put("_runs/crop_mask_eastern/2019--P1Y/broken/run.json", b"{", "application/json")
    assert find_run(store, RunQuery()) == (new, (other, old))
    assert find_run(store, RunQuery(run="zebra"))[0] == old
    assert find_run(store, RunQuery("crop_mask_sahel"))[0] == other


def test_without_runs_it_says_what_to_do() -> None:
    with pytest.raises(Rejected, match="cropmask submit") as caught:
        find_run(MemoryStore(), RunQuery("crop_mask_eastern", "2019--P1Y"))
    assert caught.value.reason == "unknown run"


def test_a_run_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    store = MemoryStore()
    put_records(store, make_run(TILES[:1], "this-one"))
    with pytest.raises(Rejected, match="the newest are: this-one"):
        find_run(store, RunQuery(run="that-one"))


def test_nobody_works_when_the_queue_has_nothing_in_flight() -> None:
    store = MemoryStore()
    tiles = TILES[:3]
    record = make_run(tiles)
    put_records(store, record, [make_attempt(record, tiles[0], State.PROCESSING, 0)])
    now = START + timedelta(minutes=10)
    idle, busy = Counts(1, 0, 0, 0), Counts(1, 1, 0, 0)
    assert load_run_status(store, record, now, queue=idle).counts["STALE"] == 1
    assert load_run_status(store, record, now, queue=busy).counts["PROCESSING"] == 1
    assert load_run_status(store, record, now).counts["PROCESSING"] == 1
    direct = make_run(tiles, sent=0)
    assert load_run_status(store, direct, now, queue=idle).counts["PROCESSING"] == 1
    assert load_run_status(store, record, now, time_limit=60).counts["STALE"] == 1


def test_a_worker_without_a_catalog_leaves_tiles_of_one_alone(tmp_path: Path) -> None:
    site = open_site({}, {"output": str(tmp_path)})
    check_worker_catalog(site)
    store = FolderStore(tmp_path)
    put_records(store, make_run(TILES, catalog="/c/catalog.json"))
    with pytest.raises(Misconfigured, match=r"with the catalog /c/catalog\.json"):
        check_worker_catalog(site)
    check_worker_catalog(open_site({}, {"output": str(tmp_path), "catalog": "/c/catalog.json"}))
    put_records(store, make_run(TILES, "20270101t000000-0000", submitted="2027-01-01T00:00:00Z"))
    check_worker_catalog(site)


class Remote(MemoryStore):
    """A store that one waits for; knows how many waited at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = self.most = 0
        self.lock = threading.Lock()

    def get(self, key: str) -> bytes:
        with self.lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        time.sleep(0.02)
        with self.lock:
            self.waiting -= 1
        return super().get(key)


def test_documents_that_are_far_away_are_read_a_few_at_a_time() -> None:
    store = Remote()
    run = make_run(TILES[:60])
    attempts = [make_attempt(run, tile, State.SUCCEEDED, 0, n) for n, tile in enumerate(TILES[:60])]
    put_records(store, run, attempts)
    keys = [attempt.key for attempt in attempts]
    for gone in (0, 40):
        store.remove(keys[gone].key)
    loaded = load_attempts(store, keys)
    assert list(loaded) == [key for n, key in enumerate(keys) if n not in (0, 40)]
    assert all(record.key == key for key, record in loaded.items())
    assert 1 < store.most <= THREADS


def test_loading_records_costs_little_more_than_parsing_them(tmp_path: Path) -> None:
    """CPU time against a baseline of the same moment; loaded each by a thread it was over six."""
    found = [operating.measure_records(1000, tmp_path / str(turn)) for turn in range(3)]
    ratios = [one["load"]["cpu_ms"] / one["baseline"]["cpu_ms"] for one in found]
    assert min(ratios) < 4.5


@pytest.mark.parametrize("damaged", ["[]", "{", '{"tiles": "all", "seconds": "long"}', "more"])
def test_damaged_records_are_left_out_with_a_warning(
    damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    good, bad = make_run([Tile(10, 20)], "good-1"), make_run([Tile(10, 20)], "bad-1")
    put_records(store, good, [ended := make_attempt(good, Tile(10, 20), State.SUCCEEDED, 0, 1)])
    wrong = {"resolution": "x", "seconds": "long"}
    for key, document in (
        (run_key_of(bad.product, bad.period, bad.run), bad.to_json()),
        (ended.key.key, ended.to_json()),
    ):
        text = json.dumps(json.loads(document) | wrong) if damaged == "more" else damaged
        store.put(key, text.encode(), "")
    put_records(store, good)
    assert load_runs(store) == (good,)
    assert "bad-1/run.json is left out" in caplog.text
    assert load_attempts(store, [ended.key]) == {}
    assert f"{ended.key.key} is left out" in caplog.text
