"""What became of an attempt, and what follows for its message: values in, values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cropmask.contract import BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, MAX_RECEIVES, ExitCode
from cropmask.errors import CropmaskError, Drained, LeaseLost, Misconfigured, Reason, Rejected
from cropmask.fleet.records import State


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: with an item, or with an error."""

    state: State = State.FAILED
    """SUCCEEDED, SKIPPED, or FAILED if there is an error."""
    error: CropmaskError | None = None
    item: str | None = None
    """Address of the item."""
    run_key: str | None = None
    bytes_read: int | None = None
    retries: int | None = None
    """Requests that were tried again."""
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    """Bytes."""
    stages: tuple[Mapping[str, Any], ...] = ()
    """:class:`~cropmask.machine.stages.StageUse` of every stage that began, as mappings."""

    @property
    def exit_code(self) -> ExitCode:
        """What a process that ran just this attempt says when it ends."""
        return ExitCode.DONE if self.error is None else self.error.exit_code


class Step(Enum):
    """What is done with the message."""

    DELETE = "delete"
    PARK = "park"
    RELEASE = "release"
    LEAVE = "leave"
    """Nothing: another worker may have it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an outcome."""

    state: State
    step: Step
    delay_seconds: float = 0.0
    """After which others see a released message."""
    note: str = ""
    """What is said beside the error."""
    exit_code: ExitCode | None = None
    """The worker ends with it; None to go on."""


def judge(
    outcome: Outcome,
    receives: int,
    *,
    max_receives: int = MAX_RECEIVES,
    draw: Callable[[float, float], float],
) -> Verdict:
    """What follows for a message from the outcome of its attempt and its number of receives."""
    error = outcome.error
    if error is None:
        return Verdict(outcome.state, Step.DELETE)
    if isinstance(error, LeaseLost):
        return Verdict(State.FAILED, Step.LEAVE)
    if isinstance(error, Rejected):
        return Verdict(State.INVALID, Step.PARK)
    # Of a wrong configuration nobody can tell whether the task is right: others find out later. How
    # much memory is needed says the task, by its resolution: another one may do with less.
    is_ours = isinstance(error, Misconfigured) and error.reason != Reason.TOO_LITTLE_MEMORY
    stop = error.exit_code if is_ours or isinstance(error, Drained) else None
    if receives >= max_receives:
        note = f"this was try {receives} of {max_receives}, so it goes to the dead letters"
        return Verdict(State.FAILED, Step.RELEASE, note=note, exit_code=stop)
    delay = 0.0 if isinstance(error, Drained) else backoff_seconds(receives, draw)
    return Verdict(State.FAILED, Step.RELEASE, delay, exit_code=stop)


def backoff_seconds(receives: int, draw: Callable[[float, float], float]) -> float:
    """Wait before the next try: drawn from 0 to a longest wait that doubles with every receive."""
    doublings = min(max(receives, 1) - 1, 16)
    return draw(0.0, min(float(LONGEST_BACKOFF_SECONDS), float(BACKOFF_SECONDS << doublings)))
