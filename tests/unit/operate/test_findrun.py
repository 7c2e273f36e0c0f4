"""Runs found in a store, and how much of it is read."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import operating
from cropmask.errors import Misconfigured, Rejected
from cropmask.fleet.recordfiles import (
    find_attempts,
    find_tile_attempts,
    load_attempts,
    load_runs,
    put_attempt,
)
from cropmask.fleet.records import AttemptRecord, State, run_key_of
from cropmask.grid import Tile
from cropmask.operate.findrun import (
    MAX_FAILURES,
    MAX_SAMPLED,
    RunQuery,
    check_worker_catalog,
    find_run,
    load_run_status,
)
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
    assert store.listings == 2, "of all records, and of what was said about the run"
    assert store.reads <= MAX_FAILURES + 4 * MAX_SAMPLED
    assert standing.counts == {
        "SUCCEEDED": 750,
        "SKIPPED": 750,
        "PROCESSING": 0,
        "FAILED": 750,
        "INVALID": 750,
        "HELD": 0,
        "CANCELED": 0,
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


def minutes(number: float) -> datetime:
    return START + timedelta(minutes=number)


def begun(*more: tuple[float | None, float | None]) -> list[AttemptRecord]:
    """Attempts of the first tiles, from START on: last sign in minutes, length of the lease."""
    record = make_run(TILES[:3])
    return [
        make_attempt(
            record, tile, State.PROCESSING, 0, n, host="pod-7", threads=2, lease_seconds=lease,
            renewed=None if seen is None else minutes(seen).isoformat(),
        )
        for n, (tile, (seen, lease)) in enumerate(zip(TILES, more, strict=False))
    ]  # fmt: skip


def test_an_attempt_whose_worker_died_is_a_failure_once_its_lease_cannot_be_alive() -> None:
    store, record = MemoryStore(), make_run(TILES[:3])
    put_records(store, record, begun((None, 300), (9, 300), (9, 7200)))
    alive = load_run_status(store, record, minutes(4))
    assert alive.counts["PROCESSING"] == 3
    (found,) = load_run_status(store, record, minutes(12)).failures
    assert (found.state, found.reason, found.tiles) == (State.FAILED, "worker lost", TILES[:1])
    assert "pod-7 gave no sign of life after 2026-01-02 03:00:00 UTC" in found.error
    assert load_run_status(store, record, minutes(20)).counts["FAILED"] == 2
    # It stays written: no document says that they are running.
    keys = list(find_attempts(store, record.product, record.period, record.run))
    assert sorted(key.state for key in keys) == ["FAILED", "FAILED", "PROCESSING"]
    ends = [store_record for store_record in load_attempts(store, keys).values()
            if store_record.state is State.FAILED]  # fmt: skip
    assert sorted(end.seconds or 0 for end in ends) == [0, 540]
    assert load_run_status(store, record, minutes(60 * 24)).counts["FAILED"] == 3


def test_a_document_without_a_lease_is_patient() -> None:
    store, record = MemoryStore(), make_run(TILES[:3])
    put_records(store, record, begun((None, None)))
    assert load_run_status(store, record, minutes(60)).counts["PROCESSING"] == 1
    assert load_run_status(store, record, minutes(66)).counts["FAILED"] == 1


def test_whoever_may_only_read_sees_the_same() -> None:
    class ReadOnly(MemoryStore):
        def put(self, key: str, source: object, content_type: str) -> None:
            raise Misconfigured("access is denied")

    writable, record = MemoryStore(), make_run(TILES[:3])
    put_records(writable, record, begun((None, 300)))
    store = ReadOnly()
    store.__dict__.update(writable.__dict__)
    (found,) = load_run_status(store, record, minutes(12)).failures
    assert found.reason == "worker lost"
    assert [key.state for key in find_attempts(store, record.product, record.period)] == [
        State.PROCESSING
    ]


def test_a_beginning_that_a_killed_worker_left_beside_its_end_goes_away() -> None:
    store, record = MemoryStore(), make_run(TILES[:3])
    (beginning,) = begun((None, 300))
    put_records(store, record, [replace(beginning, state=State.SUCCEEDED), beginning])
    assert load_run_status(store, record, minutes(1)).counts["SUCCEEDED"] == 1
    keys = list(find_attempts(store, record.product, record.period))
    assert [key.state for key in keys] == [State.SUCCEEDED]


def test_an_attempt_that_was_taken_for_lost_and_was_not_is_what_its_worker_says() -> None:
    store, record = MemoryStore(), make_run(TILES[:3])
    (slow,) = begun((None, 300))
    put_records(store, record, [slow])
    assert load_run_status(store, record, minutes(12)).counts["FAILED"] == 1
    put_attempt(store, replace(slow, state=State.SUCCEEDED))
    assert load_run_status(store, record, minutes(13)).counts["SUCCEEDED"] == 1
    found = find_tile_attempts(store, record.product, record.period, TILES[0])
    assert [key.state for key in found] == [State.SUCCEEDED]


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
