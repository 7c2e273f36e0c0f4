"""States of tiles, throughput, end and cost: figures from names and few documents."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.fleet.records import AttemptRecord, State
from cropmask.grid import Tile
from cropmask.operate.status import (
    TILE_STATES,
    RunStatus,
    choose_failures,
    choose_sample,
    is_given_up,
    make_run_status,
    tile_statuses,
)
from cropmask.site.price import Price
from tests.runs import START, make_attempt, make_run

TILES = tuple(Tile(200 + i % 10, 70 + i // 10) for i in range(40))
HOUR = timedelta(hours=1)


def standing_of(
    attempts: list[AttemptRecord], now_minutes: float = 60, tiles: tuple[Tile, ...] = TILES
) -> RunStatus:
    """Everything loaded."""
    now = START + timedelta(minutes=now_minutes)
    keys = [attempt.key for attempt in attempts]
    settled = tile_statuses(keys, tiles)
    return make_run_status(make_run(tiles), settled, keys, {a.key: a for a in attempts}, now)


def attempt(tile: int, state: State, minutes: float = 0, number: int = 1, **more) -> AttemptRecord:
    return make_attempt(make_run(TILES), TILES[tile], state, minutes, number, **more)


attempts_strategy = st.lists(
    st.builds(
        attempt,
        st.integers(0, len(TILES) - 1),
        st.sampled_from([state for state in State if state is not State.PENDING]),
        st.floats(0, 300),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(attempts_strategy, st.floats(0, 400))
def test_each_tile_is_in_one_state(attempts: list[AttemptRecord], now: float) -> None:
    standing = standing_of(attempts, now)
    assert sum(standing.counts.values()) == len(TILES)
    assert [found.tile for found in standing.tiles] == sorted(TILES)
    over = standing.counts["INVALID"] + standing.counts["CANCELED"]
    assert standing.done + standing.remaining + over == len(TILES)
    assert 0 <= standing.share <= 1
    failed = standing.counts["FAILED"] + standing.counts["INVALID"]
    assert sum(len(group.tiles) for group in standing.failures) == failed
    assert standing.spent.cpu_seconds >= 0
    assert standing.per_hour is None or standing.per_hour > 0


@given(attempts_strategy, st.randoms())
def test_the_order_of_the_listing_does_not_matter(attempts, random) -> None:
    keys = [found.key for found in attempts]
    settled = tile_statuses(keys, TILES)
    random.shuffle(keys)
    again = tile_statuses(keys, TILES)
    assert [(t.tile, t.state, t.attempts) for t in settled] == [
        (t.tile, t.state, t.attempts) for t in again
    ]


def test_the_latest_attempt_counts() -> None:
    standing = standing_of(
        [
            attempt(0, State.FAILED, 1, 1),
            attempt(0, State.FAILED, 5, 2),
            attempt(0, State.SUCCEEDED, 9, 3),
            attempt(1, State.FAILED, 1, 4),
            attempt(1, State.PROCESSING, 55, 5),
        ]
    )
    shown = {found.tile: found.state for found in standing.tiles}
    assert shown[TILES[0]] == "SUCCEEDED"
    assert shown[TILES[1]] == "PROCESSING"
    assert standing.retried == 3


def test_a_tile_that_was_done_stays_done() -> None:
    standing = standing_of(
        [attempt(0, State.SUCCEEDED, 1, 1), attempt(0, State.PROCESSING, 2, 2)], 3000
    )
    assert standing.counts["SUCCEEDED"] == 1
    assert standing.counts["PROCESSING"] == 0


def test_both_names_of_an_attempt_that_just_ended() -> None:
    standing = standing_of(
        [attempt(0, State.PROCESSING, 1, 1), attempt(0, State.FAILED, 1, 1, reason="x")]
    )
    assert standing.counts["FAILED"] == 1
    assert standing.retried == 0


def test_of_two_ends_of_an_attempt_that_of_its_worker_counts() -> None:
    """Another took it for lost, and it was not."""
    standing = standing_of(
        [attempt(0, State.SUCCEEDED, 1, 1), attempt(0, State.FAILED, 1, 1, reason="worker lost")]
    )
    assert (standing.counts["SUCCEEDED"], standing.retried) == (1, 0)


def test_throughput_and_end() -> None:
    standing = standing_of(
        [attempt(i, State.SUCCEEDED, 2 * i, i, seconds=100.0) for i in range(10)], 20
    )
    assert standing.per_hour == pytest.approx(30)
    assert standing.remaining == 30
    assert standing.seconds_left == pytest.approx(3600)
    assert standing.ends == standing.moment + HOUR


def test_skipped_tiles_are_no_speed() -> None:
    """Half of the run was there already, and was skipped within seconds."""
    computed = [attempt(i, State.SUCCEEDED, 2 * i, i, seconds=100.0) for i in range(10)]
    skipped = [attempt(10 + i, State.SKIPPED, 19 + i / 60, 50 + i, seconds=1.0) for i in range(20)]
    standing = standing_of([*computed, *skipped], 20)
    assert standing.per_hour == pytest.approx(30)
    assert (standing.done, standing.remaining) == (30, 10)
    assert standing.seconds_left == pytest.approx(1200)
    assert standing_of(skipped, 20).per_hour is None
    # A tile whose message came twice was computed all the same.
    twice = attempt(0, State.SKIPPED, 19, 99, seconds=1.0)
    assert standing_of([*computed, twice], 20).per_hour == pytest.approx(30)


def test_throughput_falls_while_nothing_ends() -> None:
    attempts = [attempt(i, State.SUCCEEDED, 2 * i, i, seconds=100.0) for i in range(10)]
    early, late = standing_of(attempts, 20), standing_of(attempts, 200)
    assert late.per_hour < early.per_hour / 5


def test_nothing_is_known_before_two_tiles_have_finished() -> None:
    standing = standing_of([attempt(0, State.SUCCEEDED, 1, seconds=5.0)])
    assert standing.per_hour is None
    assert standing.seconds_left is None
    assert standing.ends is None


def test_a_run_that_is_over_has_no_end_to_come() -> None:
    tiles = TILES[:3]
    standing = standing_of(
        [attempt(i, State.SUCCEEDED, i, i) for i in range(2)] + [attempt(2, State.INVALID, 2, 9)],
        9000,
        tiles,
    )
    assert standing.remaining == 0
    assert standing.seconds_left == 0
    assert standing.ends is None
    assert standing.per_hour == pytest.approx(60)


def test_cost_is_time_on_each_thread() -> None:
    ended = [
        attempt(0, State.SUCCEEDED, 0, 1, seconds=3600.0, threads=2),
        attempt(1, State.FAILED, 0, 2, seconds=1800.0, threads=4),
    ]
    standing = standing_of(ended, tiles=TILES[:2])
    assert standing.dollars(Price(0.5, is_default=False)) == pytest.approx(2.0)
    running = standing_of([attempt(0, State.PROCESSING, 30)], 60)
    assert running.spent.cpu_seconds == pytest.approx(2 * 1800)


def test_an_attempt_whose_worker_died_costs_what_is_known_of_it() -> None:
    seen = (START + timedelta(minutes=2)).isoformat()
    died = attempt(0, State.PROCESSING, 0, 1, renewed=seen, lease_seconds=300.0, threads=2)
    again = attempt(0, State.SUCCEEDED, 6, 2, seconds=60.0, threads=2)
    ended = died.end_if_lost(START + timedelta(minutes=8))
    assert ended is not None
    late, later = (standing_of([ended, again], minutes) for minutes in (10, 50))
    assert late.spent.cpu_seconds == later.spent.cpu_seconds == pytest.approx(240 + 120)


def test_what_was_not_loaded_costs_like_what_was() -> None:
    attempts = [attempt(i, State.SUCCEEDED, i, i, seconds=60.0, threads=2) for i in range(40)]
    keys = [found.key for found in attempts]
    now = START + HOUR
    settled = tile_statuses(keys, TILES)
    few = dict.fromkeys(choose_sample(keys, 5), attempts[0])
    standing = make_run_status(make_run(TILES), settled, keys, few, now)
    assert len(few) == 5
    assert standing.spent.cpu_seconds == pytest.approx(40 * 120)
    assert (standing.spent.sampled, standing.spent.ended) == (5, 40)


def test_failures_are_grouped_by_reason_with_an_example() -> None:
    standing = standing_of(
        [
            *(
                attempt(i, State.INVALID, i, i, reason="missing geomad", error="no item")
                for i in range(3)
            ),
            attempt(5, State.FAILED, 1, 8, reason="connection", error="503"),
            attempt(6, State.FAILED, 1, 9),
        ]
    )
    first = standing.failures[0]
    assert (first.reason, first.state, first.tiles) == ("missing geomad", "INVALID", TILES[:3])
    assert first.error == "no item"
    assert {group.reason for group in standing.failures} == {
        "missing geomad",
        "connection",
        "unknown",
    }


@given(attempts_strategy, st.integers(1, 10))
def test_what_is_read_is_bounded(attempts: list[AttemptRecord], number: int) -> None:
    keys = list(dict.fromkeys(found.key for found in attempts))
    sample = choose_sample(keys, number)
    assert len(sample) == len(set(sample)) <= number * len(TILE_STATES)
    assert set(sample) <= set(keys)
    settled = tile_statuses(keys, TILES)
    assert len(choose_failures(settled, number)) <= number


@pytest.mark.parametrize(
    ("states", "waiting", "expected"),
    [
        ([State.FAILED, State.SUCCEEDED], 0, True),
        ([State.FAILED, State.SUCCEEDED], 1, False),
        ([State.FAILED, State.SUCCEEDED], None, False),
        ([State.FAILED, State.PROCESSING], 0, False),
        ([State.FAILED], 0, False),
        ([State.SUCCEEDED, State.INVALID], 0, False),
    ],
)
def test_given_up_is_what_only_failed_and_waits_for_nobody(states, waiting, expected) -> None:
    attempts = [attempt(i, state, 1, i) for i, state in enumerate(states)]
    standing = standing_of(attempts, tiles=TILES[:2], now_minutes=2)
    assert is_given_up(standing, waiting) is expected
