"""The same cause on many tiles in a row stops a worker; everything else does not."""

from __future__ import annotations

import logging
import re

import pytest

from cropmask.contract import BREAKER_TILES, MAX_RECEIVES, ExitCode
from cropmask.errors import CropmaskError, Drained, Interrupted, Misconfigured, Reason, Rejected
from cropmask.fleet.breaker import Breaker
from cropmask.fleet.outcome import Outcome, Step, Verdict, judge
from cropmask.fleet.recordfiles import find_attempts, load_attempt
from cropmask.fleet.records import State
from cropmask.operate.redrive import LetterFilter, parse_where, settle_letters
from tests.conftest import REPOSITORY
from tests.workers import RUN, Office, make_order

DONE = Outcome(state=State.SUCCEEDED)
DENIED = Outcome(error=Rejected("no access to it", reason=Reason.ACCESS_DENIED))
SHARED = [reason for reason in Reason if reason.is_shared]
OWN = [reason for reason in Reason if not reason.is_shared]


def look(breaker: Breaker, tile: str | None, outcome: Outcome, receives: int = 1) -> Verdict:
    verdict = judge(outcome, receives, draw=lambda _least, most: most)
    return breaker.look(tile, outcome, verdict, receives)


def codes(breaker: Breaker, *outcomes: tuple[str | None, Outcome]) -> list[ExitCode | None]:
    return [look(breaker, tile, outcome).exit_code for tile, outcome in outcomes]


def failed(reason: Reason, kind: type[CropmaskError] = Rejected) -> Outcome:
    return Outcome(error=kind("so", reason=reason))


STOP = ExitCode.MISCONFIGURED


def test_it_opens_at_the_last_of_so_many_tiles() -> None:
    assert codes(Breaker(3), ("a", DENIED), ("b", DENIED), ("c", DENIED)) == [None, None, STOP]
    assert codes(Breaker(1), ("a", DENIED)) == [STOP]
    many = [(f"{number}", DENIED) for number in range(BREAKER_TILES)]
    assert codes(Breaker(), *many) == [None] * (BREAKER_TILES - 1) + [STOP]
    assert set(codes(Breaker(0), *many * 10)) == {None}


def test_the_task_at_hand_goes_back_and_its_last_receive_keeps_its_reason() -> None:
    breaker = Breaker(2)
    assert look(breaker, "a", DENIED).step is Step.PARK
    verdict = look(breaker, "b", DENIED)
    assert (verdict.state, verdict.step, verdict.delay_seconds) == (State.FAILED, Step.RELEASE, 0)
    assert "the same on 2 tiles in a row" in verdict.note
    breaker = Breaker(2)
    look(breaker, "a", DENIED)
    last = look(breaker, "b", DENIED, receives=MAX_RECEIVES)
    assert (last.state, last.step, last.exit_code) == (State.INVALID, Step.PARK, STOP)


def test_the_line_says_what_happened_and_what_to_do() -> None:
    breaker = Breaker(2)
    assert breaker.opened is None
    codes(breaker, ("x010y020", DENIED), ("x011y020", DENIED))
    line = str(breaker.opened)
    assert line.startswith("'access denied' on 2 tiles in a row, from x010y020 to x011y020:")
    assert "cropmask redrive --where 'reason=access denied'" in line
    assert "\n" not in line
    breaker = Breaker(2)
    codes(breaker, *((tile, failed(Reason.CRASHED, Interrupted)) for tile in ("a", "x011y020")))
    assert "cropmask logs x011y020" in str(breaker.opened)
    assert "redrive" not in str(breaker.opened), "nothing was parked"


@pytest.mark.parametrize(
    "between",
    [("c", DONE), ("c", Outcome(state=State.SKIPPED)), ("c", failed(Reason.WRONG_CRS))],
    ids=["done", "skipped", "another reason"],
)
def test_what_ends_the_row(between: tuple[str, Outcome]) -> None:
    found = codes(Breaker(3), ("a", DENIED), ("b", DENIED), between, ("d", DENIED), ("e", DENIED))
    assert set(found) == {None}


@pytest.mark.parametrize("between", [("a", DENIED), ("c", failed(Reason.MISSING_GEOMAD)),
                                     (None, failed(Reason.BAD_MESSAGE))])  # fmt: skip
def test_what_neither_counts_nor_ends_it(between: tuple[str | None, Outcome]) -> None:
    row = [("a", DENIED), between, ("b", DENIED), between]
    assert set(codes(Breaker(3), *row)) == {None}, "the same tile again is no other tile"
    assert codes(Breaker(3), *row, ("d", DENIED))[-1] is STOP


@pytest.mark.parametrize("reason", OWN)
def test_what_a_tile_has_by_itself_never_opens_it(reason: Reason) -> None:
    for kind in (Rejected, Interrupted):
        row = [(f"{number}", failed(reason, kind)) for number in range(50)]
        assert set(codes(Breaker(3), *row)) == {None}


@pytest.mark.parametrize("reason", SHARED)
def test_what_tiles_share_opens_it(reason: Reason) -> None:
    for kind in (Rejected, Interrupted):
        row = [(f"{number}", failed(reason, kind)) for number in range(3)]
        assert codes(Breaker(3), *row)[-1] is STOP
    assert reason.advice, "the line says what to do"


def test_a_worker_that_stops_anyway_stops_as_it_would() -> None:
    drained = Outcome(error=Drained("SIGTERM", reason=Reason.CRASHED))
    assert look(Breaker(1), "a", drained).exit_code is ExitCode.DRAINED


def test_a_word_of_another_version_is_no_fault() -> None:
    assert look(Breaker(1), "a", Outcome(error=Rejected("so", reason="new"))).exit_code is None  # type: ignore[arg-type]


def test_a_worker_stops_with_one_line_and_what_it_parked_can_be_sent_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = Office(lambda _order, _record, _held: DENIED)
    at.send(*(make_order(x) for x in range(10, 40)))
    with caplog.at_level(logging.ERROR):
        assert at.worker().run() is ExitCode.MISCONFIGURED
    lines = [record.message for record in caplog.records if "in a row" in record.message]
    assert [line for line in lines if line.startswith("'access denied'")] == lines[-1:]
    counts = at.queue.counts()
    assert (counts.dead, counts.visible) == (BREAKER_TILES - 1, 30 - BREAKER_TILES + 1)
    assert {letter.reason for letter in at.queue.dead_letters()} == {"access denied"}
    keys = find_attempts(at.store, "crop_mask_eastern", "2019--P1Y", RUN)
    found = [load_attempt(at.store, key) for key in keys]
    assert [record.state for record in found].count(State.INVALID) == BREAKER_TILES - 1
    assert [record.state for record in found].count(State.FAILED) == 1
    # Mended: everything is sent back and done, by whoever comes next.
    wanted = LetterFilter(parse_where(["reason=access denied"]))
    assert (
        len(list(settle_letters(at.queue, wanted, at.queue.redrive, at.time.moment())))
        == BREAKER_TILES - 1
    )
    at.attempt = lambda _order, _record, _held: DONE
    assert at.worker().run() is ExitCode.DONE
    assert at.queue.counts().waiting == at.queue.counts().dead == 0


def test_a_region_without_inputs_stops_no_worker() -> None:
    at = Office(lambda _order, _record, _held: failed(Reason.MISSING_GEOMAD))
    at.send(*(make_order(x) for x in range(10, 60)))
    assert at.worker().run() is ExitCode.DONE
    assert at.queue.counts().dead == 50


def test_too_little_memory_for_one_task_is_left_to_other_workers() -> None:
    """How much is needed says the message, by its resolution: it ends no worker by itself."""
    small = Outcome(error=Misconfigured("too little", reason=Reason.TOO_LITTLE_MEMORY))
    assert look(Breaker(), "a", small).exit_code is None
    row = [(f"{number}", small) for number in range(BREAKER_TILES)]
    assert codes(Breaker(), *row)[-1] is STOP


def test_the_docs_name_the_reasons_that_count() -> None:
    table = (REPOSITORY / "docs" / "reference" / "reasons.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \|.*\| yes \|$", table, re.MULTILINE)) == set(SHARED)
    text = (REPOSITORY / "docs" / "workers.md").read_text()
    passage = text.partition("## The circuit breaker")[2].partition("##")[0]
    assert f"{BREAKER_TILES} different tiles of a run in a row" in passage
