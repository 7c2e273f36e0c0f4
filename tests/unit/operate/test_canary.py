from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.contract import MAX_RECEIVES
from cropmask.core.cropmap import Statistics
from cropmask.errors import Rejected
from cropmask.fleet.control import change_control, pause, resume, stop
from cropmask.fleet.records import Canary, RunRecord, State
from cropmask.grid import Tile, tiles_within
from cropmask.operate.canary import (
    CanaryState,
    CanaryVerdict,
    Shares,
    choose_spread,
    judge_canary,
    look_at_canary,
)
from cropmask.operate.status import TileStatus
from cropmask.operate.waiting import Calendar, Emptiness, Silence, wait_for_canary
from cropmask.product import Product
from cropmask.queue.protocol import Message
from cropmask.region.region import load_region
from cropmask.sources.boundary import load_boundary
from cropmask.store.protocol import Store
from cropmask.task import Period
from cropmask.testing.queue import MemoryQueue
from cropmask.testing.store import MemoryStore
from tests.results import EASTERN, put_files
from tests.runs import make_attempt, make_run, put_records

TILES = tuple(Tile(200 + i, 70) for i in range(4))
LAND = 921_600.0
"""Hectares of a tile."""
NOW = datetime(2026, 1, 2, 4, tzinfo=UTC)


def shares(crop: float, nodata: float = 2.0) -> Shares:
    """Those of a whole tile with so many percent."""
    mapped = LAND * (1 - nodata / 100)
    return Shares(mapped * crop / 100, mapped, LAND)


def run_of(number: int = 2, **words: Any) -> RunRecord:
    return make_run(TILES, sent=number, canary=Canary(number, **words))


def judge(
    record: RunRecord,
    states: dict[Tile, State] | None = None,
    now: dict[Tile, Shares] | None = None,
    before: dict[Tile, Shares] | None = None,
    **more: Any,
) -> CanaryVerdict:
    known = dict.fromkeys(TILES[:2], State.SUCCEEDED) if states is None else states
    tiles = [TileStatus(tile, state, 1) for tile, state in known.items()]
    found = dict.fromkeys(TILES[:2], shares(20)) if now is None else now
    return judge_canary(record, tiles, found, before or {}, **more)


tiles = st.builds(Tile, st.integers(0, 361), st.integers(0, 153))


@given(st.sets(tiles, min_size=1, max_size=60), st.integers(1, 70), st.randoms())
def test_tiles_of_a_canary_are_the_same_in_any_order(
    every: set[Tile], number: int, chance: Any
) -> None:
    mixed = list(every)
    chance.shuffle(mixed)
    chosen = choose_spread(mixed, number)
    assert chosen == choose_spread(sorted(every), number)
    assert len(set(chosen)) == len(chosen) == min(number, len(every))
    assert every.issuperset(chosen)


@pytest.mark.parametrize("region", ["eastern", "western", "indian_ocean"])
def test_they_are_spread_over_the_region(region: str) -> None:
    """No tile is farther from the next of them than twice what equal shares of land would be."""
    every = tiles_within(load_boundary(load_region(region).boundary))
    chosen = choose_spread(every, 10)
    fair = (len(every) / len(chosen)) ** 0.5
    farthest = max(min(max(abs(a.x - b.x), abs(a.y - b.y)) for b in chosen) for a in every)
    middle = sorted(min(max(abs(a.x - b.x), abs(a.y - b.y)) for b in chosen) for a in every)
    assert middle[len(every) // 2] <= fair
    assert farthest <= 4 * fair


def test_none_of_nothing() -> None:
    assert choose_spread([], 3) == ()


def test_a_canary_passes_whose_tiles_are_as_the_year_before() -> None:
    before = {TILES[0]: shares(25, 8), TILES[1]: shares(20, 2)}
    verdict = judge(run_of(), before=before)
    assert verdict.state is CanaryState.PASSED
    assert verdict.problems == ()
    assert verdict.rules == (
        "no tile fails",
        "crop of each tile within 15 points of its result of 2018",
        "nodata of each tile within 10 points of its result of 2018",
    )


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (shares(36), "x200y070: 20.0 % crop, 36.0 % the year before"),
        (shares(4), "x200y070: 20.0 % crop, 4.0 % the year before"),
        (shares(20, 13), "x200y070: 2.0 % nodata, 13.0 % the year before"),
    ],
)
def test_one_tile_that_is_far_from_the_year_before_fails_it(before: Shares, said: str) -> None:
    verdict = judge(run_of(), before={TILES[0]: before, TILES[1]: shares(20)})
    assert verdict.state is CanaryState.FAILED
    assert verdict.problems == (said,)


def test_stated_bounds_are_of_all_tiles_together_and_replace_the_year_before() -> None:
    record = run_of(crop=(25.0, 35.0))
    now = {TILES[0]: shares(0), TILES[1]: shares(60)}
    assert judge(record, now=now, before={TILES[0]: shares(90)}).state is CanaryState.PASSED
    verdict = judge(record, now={**now, TILES[1]: shares(40)}, before={TILES[0]: shares(90)})
    assert verdict.problems == ("all tiles together: 20.0 % crop, not 25 to 35 %",)
    verdict = judge(record, now=now, before={TILES[0]: shares(0, 30)})
    assert verdict.problems == ("x200y070: 2.0 % nodata, 30.0 % the year before",)


@pytest.mark.parametrize(
    ("crop", "nodata", "said"),
    [
        (0, 2, ("all tiles together: 0.0 % crop, not 0.1 to 90 %",)),
        (95, 2, ("all tiles together: 95.0 % crop, not 0.1 to 90 %",)),
        (20, 60, ("all tiles together: 60.0 % nodata, not 0 to 50 %",)),
        (20, 40, ()),
    ],
)
def test_without_a_year_before_a_map_must_be_possible(
    crop: float, nodata: float, said: tuple[str, ...]
) -> None:
    verdict = judge(run_of(), now=dict.fromkeys(TILES[:2], shares(crop, nodata)))
    assert verdict.problems == said
    assert "crop of all tiles together from 0.1 to 90 %" in verdict.rules


def test_it_waits_for_every_tile_and_for_no_other() -> None:
    states = {TILES[0]: State.SUCCEEDED, TILES[1]: State.FAILED, TILES[2]: State.INVALID}
    verdict = judge(run_of(), states)
    assert (verdict.state, verdict.done) == (CanaryState.WAITING, 1)
    assert judge(run_of(), {}).state is CanaryState.WAITING


def test_a_tile_that_fails_for_good_fails_it_at_once() -> None:
    verdict = judge(run_of(), {TILES[0]: State.INVALID})
    assert verdict.state is CanaryState.FAILED
    assert verdict.problems == ("x200y070: its task was rejected",)
    often = TileStatus(TILES[0], State.FAILED, MAX_RECEIVES)
    said = judge_canary(run_of(), [often], {}, {}).problems
    assert said == ("x200y070: it failed 5 times",)
    said = judge(run_of(), {TILES[0]: State.FAILED}, is_given_up=True).problems
    assert said == ("x200y070: it failed 1 time", "x201y070: its task is no longer in the queue")
    running = dict.fromkeys(TILES[:2], State.PROCESSING)
    assert judge(run_of(), running, is_given_up=True).state is CanaryState.WAITING


def test_a_done_tile_without_its_result_fails_it() -> None:
    verdict = judge(run_of(), now={TILES[0]: shares(20)})
    assert verdict.problems == ("x201y070: its result is not there",)


def put_result(store: Store, tile: Tile, crop: float, product: Product, year: str) -> None:
    mapped = LAND / 2
    half_outside = Statistics(
        mapped, 0.0, mapped * crop / 100, 50.0, 0.0, 0.0, LAND / 2, 0.0, 0.0, 0.0, 0.0
    )
    put_files(store, [tile], product, statistics=half_outside, period=Period.parse(year))


def test_shares_are_read_from_the_results_of_both_years() -> None:
    """What is outside of the region is no land without a result; an older version will do."""
    store, record = MemoryStore(), run_of()
    done = [make_attempt(record, tile, State.SUCCEEDED) for tile in TILES[:2]]
    put_records(store, record, done)
    for tile in TILES[:2]:
        put_result(store, tile, 30, EASTERN, "2019")
    put_result(store, TILES[0], 50, Product("eastern", "1.0.0"), "2018")
    verdict = look_at_canary(store, EASTERN, record, NOW)
    assert verdict.problems == ("x200y070: 30.0 % crop, 50.0 % the year before",)
    first, second = verdict.tiles
    assert first.shares is not None
    assert first.shares.percents == pytest.approx({"crop": 30, "nodata": 0})
    assert second.before is None
    put_result(store, TILES[0], 40, EASTERN, "2018")
    assert look_at_canary(store, EASTERN, record, NOW).state is CanaryState.PASSED


class Days:
    """A calendar whose time passes only by waiting; ``work`` is done meanwhile."""

    def __init__(self, work: Any = lambda: None) -> None:
        self.moment = NOW
        self.work = work

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        self.work()

    @property
    def calendar(self) -> Calendar:
        return Calendar(lambda: self.moment, self.sleep)


def test_a_canary_is_waited_for() -> None:
    store, record, queue = MemoryStore(), run_of(), MemoryQueue()
    queue.send([Message("{}"), Message("{}")])
    put_records(store, record)
    left = list(TILES[:2])

    def work() -> None:
        tile = left.pop(0)
        lease = queue.lease(seconds=60)
        assert lease is not None
        put_result(store, tile, 30, EASTERN, "2019")
        put_records(store, record, [make_attempt(record, tile, State.SUCCEEDED)])
        queue.done(lease)

    told: list[int] = []
    verdict = wait_for_canary(
        *(store, queue, EASTERN, record, lambda v: told.append(v.done)), Days(work).calendar
    )
    assert verdict.state is CanaryState.PASSED
    assert told == [0, 1, 2]


def test_a_run_that_was_stopped_fails_its_canary_and_a_paused_one_is_waited_for() -> None:
    store, record = MemoryStore(), run_of()
    put_records(store, record)
    where = (store, record.product, record.period, record.run)
    change_control(*where, pause(record.run, "lunch"), NOW)
    assert look_at_canary(store, EASTERN, record, NOW).state is CanaryState.WAITING
    change_control(*where, resume(record.run, {}), NOW)
    change_control(*where, stop("over budget", "it has cost 3 dollars"), NOW)
    verdict = look_at_canary(store, EASTERN, record, NOW)
    assert verdict.problems == (f"run {record.run} was stopped: it has cost 3 dollars",)


def test_a_canary_whose_tasks_are_gone_is_not_waited_for() -> None:
    store, record, queue = MemoryStore(), run_of(), MemoryQueue()
    put_records(store, record, [make_attempt(record, TILES[0], State.FAILED)])
    verdict = wait_for_canary(store, queue, EASTERN, record, calendar=Days().calendar)
    assert verdict.problems == (
        "x200y070: it failed 1 time",
        "x201y070: its task is no longer in the queue",
    )


def test_an_empty_queue_is_believed_once_its_numbers_cannot_lag() -> None:
    days, queue = Days(), MemoryQueue()
    queue.lag_seconds = 60.0
    emptiness = Emptiness(queue, days.calendar)
    assert not emptiness.look()
    days.sleep(59)
    assert not emptiness.look()
    queue.send([Message("{}")])
    days.sleep(30)
    assert not emptiness.look()
    lease = queue.lease(seconds=60)
    assert lease is not None
    queue.done(lease)
    assert not emptiness.look()
    days.sleep(60)
    assert emptiness.look()


def test_silence_is_told_once_until_something_changes() -> None:
    silence = Silence(timedelta(minutes=10))

    def hears(sign: object, minutes: float) -> bool:
        return silence.hears(sign, NOW + timedelta(minutes=minutes))

    heard = [hears(*sign) for sign in (("a", 0), ("a", 9), ("a", 10), ("a", 20), ("b", 21))]
    assert heard == [False, False, True, False, False]
    assert hears("b", 31)


def test_a_run_with_a_canary_comes_back_from_its_document() -> None:
    record = run_of(crop=(1.0, 60.0))
    assert RunRecord.from_json(record.to_json()) == record
    assert record.awaits_canary
    assert not replace(record, sent=3).awaits_canary
    document = json.loads(record.to_json())
    for canary in ({"tiles": 0}, {"tiles": "2"}, {"tiles": 2, "crop": [1.0]}, [2], {"x": 1}):
        with pytest.raises(Rejected, match="the document is no run"):
            RunRecord.from_json(json.dumps({**document, "canary": canary}))
