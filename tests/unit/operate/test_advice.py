"""What an operator is told to do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cropmask.fleet.records import AttemptRecord, State
from cropmask.grid import Tile
from cropmask.operate.advice import advise_failure, advise_run
from cropmask.operate.status import RunStatus, make_run_status, tile_statuses
from cropmask.queue.protocol import Counts
from cropmask.site.commands import CommandWriter
from tests.runs import START, make_attempt, make_run

TILES = (Tile(215, 75), Tile(216, 75))
RUN = make_run(TILES)
EMPTY, DEAD = Counts(0, 0, 0, 0), Counts(0, 0, 0, 2)


def standing_of(*attempts: AttemptRecord, minutes: float = 60) -> RunStatus:
    keys = [attempt.key for attempt in attempts]
    now = START + timedelta(minutes=minutes)
    tiles = tile_statuses(keys, TILES)
    return make_run_status(RUN, tiles, keys, {a.key: a for a in attempts}, now)


def attempt(number: int, state: State, minutes: float) -> AttemptRecord:
    return make_attempt(RUN, TILES[number], state, minutes, number)


def test_nothing_to_say_while_all_goes_well() -> None:
    going = standing_of(attempt(0, State.PROCESSING, 55))
    assert advise_run(going, Counts(1, 1, 0, 0)) == ()


def test_no_worker_has_begun() -> None:
    (line,) = advise_run(standing_of(), Counts(2, 0, 0, 0))
    assert "cropmask worker" in line


@pytest.mark.parametrize(("sent", "waiting"), [(0, 0), (1, 1), (1, 0)])
def test_a_submission_that_was_stopped_goes_on(sent: int, waiting: int) -> None:
    record = make_run(TILES, sent=sent)
    tiles = tile_statuses([], TILES)
    standing = make_run_status(record, tiles, [], {}, START)
    (line,) = advise_run(standing, Counts(waiting, 0, 0, 0), CommandWriter((("output", "there"),)))
    where = f"--region eastern --period 2019--P1Y --resume {record.run} --output there"
    assert f"{sent} of 2 tasks were sent: 'cropmask submit {where}' sends the rest" in line
    assert ("--direct" in line) == (sent == 0)


def test_nobody_works_any_more() -> None:
    (line,) = advise_run(standing_of(attempt(0, State.SUCCEEDED, 1)), None)
    assert "no tile is being worked on" in line


def test_messages_that_are_gone_are_sent_again() -> None:
    (line,) = advise_run(standing_of(attempt(0, State.SUCCEEDED, 58)), EMPTY)
    assert "1 tile not done" in line
    where = "cropmask submit --region eastern --period 2019--P1Y"
    assert f"{where} --model forest --resolution 100 --tiles x216y075" in line


def test_dead_letters_are_sent_back_not_submitted_anew() -> None:
    lines = advise_run(standing_of(attempt(0, State.FAILED, 58)), DEAD)
    assert ["redrive" in line for line in lines] == [True]
    assert "2 dead letters" in lines[0]


def test_the_end() -> None:
    done = standing_of(attempt(0, State.SUCCEEDED, 1), attempt(1, State.SKIPPED, 2))
    (line,) = advise_run(done, EMPTY)
    assert "cropmask reconcile --region eastern --period 2019--P1Y" in line
    invalid = standing_of(attempt(0, State.SUCCEEDED, 1), attempt(1, State.INVALID, 2))
    assert advise_run(invalid, EMPTY) == ()


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (State.INVALID, "missing geomad", "cropmask redrive --where 'reason=missing geomad'"),
        (State.FAILED, "connection", "up to 5 times, then by: cropmask redrive"),
        (State.FAILED, "timed out", "'cropmask logs x215y075'"),
        (State.INVALID, "something new", "see what the error says"),
    ],
)
def test_each_failure_has_its_advice(state: State, reason: str, words: str) -> None:
    assert words in advise_failure(state, reason, TILES[0])
