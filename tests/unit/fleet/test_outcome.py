"""What follows from an outcome."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.contract import BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, ExitCode
from cropmask.errors import (
    CropmaskError,
    Drained,
    Interrupted,
    LeaseLost,
    Misconfigured,
    OutOfMemory,
    Rejected,
    TimedOut,
)
from cropmask.fleet.outcome import Outcome, Step, backoff_seconds, judge
from cropmask.fleet.records import State

ERRORS = (Rejected, Misconfigured, Interrupted, LeaseLost, Drained, TimedOut, OutOfMemory)


def longest(_least: float, most: float) -> float:
    return most


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.SKIPPED])
def test_a_result_ends_the_message(state: State) -> None:
    verdict = judge(Outcome(state=state), 5, draw=longest)
    assert (verdict.state, verdict.step, verdict.exit_code) == (state, Step.DELETE, None)


@pytest.mark.parametrize(
    ("kind", "state", "step", "delay", "exit_code"),
    [
        (Rejected, State.INVALID, Step.PARK, 0, None),
        (Misconfigured, State.FAILED, Step.RELEASE, 30, ExitCode.MISCONFIGURED),
        (Drained, State.FAILED, Step.RELEASE, 0, ExitCode.DRAINED),
        (LeaseLost, State.FAILED, Step.LEAVE, 0, None),
        (Interrupted, State.FAILED, Step.RELEASE, 30, None),
        (TimedOut, State.FAILED, Step.RELEASE, 30, None),
        (OutOfMemory, State.FAILED, Step.RELEASE, 30, None),
    ],
)
def test_each_error_has_its_consequence(
    kind: type[CropmaskError], state: State, step: Step, delay: float, exit_code: ExitCode | None
) -> None:
    verdict = judge(Outcome(error=kind("so")), 2, draw=longest)
    assert (verdict.state, verdict.step) == (state, step)
    assert (verdict.delay_seconds, verdict.exit_code) == (delay, exit_code)
    assert not verdict.note


def test_the_last_try_says_so_and_lets_the_queue_bury_it_at_once() -> None:
    verdict = judge(Outcome(error=Interrupted("so")), 5, draw=longest)
    assert (verdict.step, verdict.delay_seconds) == (Step.RELEASE, 0)
    assert "try 5 of 5" in verdict.note


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_double_up_to_a_longest_and_are_drawn_from_zero(receives: int, share: float) -> None:
    most = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** min(receives - 1, 40))
    drawn = backoff_seconds(receives, lambda least, high: least + share * (high - least))
    assert drawn == pytest.approx(share * most)


@given(
    st.sampled_from(ERRORS),
    st.text(max_size=30),
    st.text(min_size=1, max_size=10),
    st.integers(1, 9),
)
def test_an_outcome_survives_the_way_out_of_the_child(
    kind: type[CropmaskError], text: str, reason: str, receives: int
) -> None:
    outcome = Outcome(error=kind(text, reason=reason), stages=({"stage": "load"},))
    copy = pickle.loads(pickle.dumps(outcome))
    assert type(copy.error) is kind
    assert (str(copy.error), copy.error.reason) == (str(outcome.error), reason)
    assert copy.exit_code == kind.exit_code
    before, after = (judge(o, receives, draw=longest) for o in (outcome, copy))
    assert before == after
