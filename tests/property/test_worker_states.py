"""Whatever happens in whatever order: no message is lost, no item is written without a lease."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

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
from cropmask.fleet.attempt import AttemptLimits, HeldLease, PublishRequest, StageReport, _Watch
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import find_attempts
from cropmask.fleet.records import AttemptRecord, State
from cropmask.fleet.worker import Rules
from cropmask.machine.child import ENDED, ProcessUse
from cropmask.task import Order
from tests.workers import RUN, Office, Time, make_order

LEASE = 300.0
ERRORS: dict[str, Callable[[], CropmaskError]] = {
    "rejected": lambda: Rejected("no", reason="no"),
    "misconfigured": lambda: Misconfigured("no"),
    "interrupted": lambda: Interrupted("503"),
    "timed out": lambda: TimedOut("slow"),
    "memory": lambda: OutOfMemory("big"),
    "drained": lambda: Drained("SIGTERM"),
}
EVENTS = ("done", "late", "fault", "killed", *ERRORS)


class Killed(BaseException):
    """SIGKILL: nothing of the worker runs any more."""


@dataclass
class World:
    """Scripted attempts; the items that they wrote, and whether they had a lease."""

    script: list[str]
    time: Time
    items: dict[str, int] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)

    def __call__(self, order: Order, record: AttemptRecord, held: HeldLease) -> Outcome:
        event = self.script.pop() if self.script else "done"
        self.time.now += 20
        if event == "late":  # as if the machine had slept: the lease ends meanwhile
            self.time.now += LEASE
        elif event == "killed":
            raise Killed
        elif event == "fault":
            raise ZeroDivisionError
        elif event in ERRORS:
            if event == "rejected":
                self.wrong.add(record.tile)
            return Outcome(error=ERRORS[event]())
        if held.lost is not None:
            return Outcome(error=held.lost)
        if record.tile in self.items:
            return Outcome(state=State.SKIPPED)
        self.items[record.tile] = self.items.get(record.tile, 0) + 1
        return Outcome(state=State.SUCCEEDED)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 6),
    st.lists(st.sampled_from(EVENTS), max_size=25),
    st.lists(st.integers(0, 5), max_size=4),
)
def test_every_message_ends_done_parked_or_visible(
    number: int, script: list[str], twice: list[int]
) -> None:
    time = Time()
    kills = script.count("killed")
    world = World(script, time)
    at = Office(world, time=time, rules=Rules(lease_seconds=LEASE))
    orders = [make_order(10 + n) for n in range(number)]
    at.send(*orders, *(orders[n % number] for n in twice))  # some are delivered doubly
    sent = number + len(twice)
    while True:
        before = len(world.script)
        try:
            code = at.worker().run()
        except Killed:
            code = None
        counts = at.queue.counts()
        gone = sent - counts.waiting - counts.dead
        assert gone >= 0
        if code == 0:
            break
        assert len(world.script) < before  # somebody died or left for a reason
    # The world has healed, so everything was decided.
    assert counts.waiting == 0
    dead = list(at.queue.dead_letters())
    for letter in dead:
        tile = str(Order.parse(letter.message.body, {}).task.tile)
        assert letter.reason == "receives used up" or tile in world.wrong
    tiles = {str(order.task.tile) for order in orders}
    buried = {str(Order.parse(letter.message.body, {}).task.tile) for letter in dead}
    assert set(world.items) | buried == tiles
    assert all(count == 1 for count in world.items.values())
    # No attempt is left open but those of workers that were killed.
    states = [key.state for key in find_attempts(at.store, "crop_mask_eastern", "2019--P1Y", RUN)]
    assert states.count(State.PROCESSING) <= kills
    assert states.count(State.SUCCEEDED) == len(world.items)


@dataclass
class ScriptedLease:
    """A lease that is renewed, or lost, at a step."""

    lost_at: int | None
    renewed_at: int
    step: int = 0
    asked_at: int | None = None

    @property
    def lost(self) -> CropmaskError | None:
        gone = self.lost_at is not None and self.step >= self.lost_at
        return LeaseLost("gone") if gone else None

    def ask(self) -> float:
        self.asked_at = self.step
        return 0.0

    def renewed_since(self, mark: float) -> bool:
        return self.asked_at is not None and self.step >= self.renewed_at and self.lost is None


@dataclass
class ScriptedChild:
    """A child that says what it is told to, and writes its item when it may."""

    says: list[Any]
    held: ScriptedLease
    items: int = 0
    waiting: bool = False

    def receive(self, timeout: float) -> Any:
        self.held.step += 1
        if self.waiting:
            return None if self.held.step < 40 else ENDED
        said = self.says.pop(0) if self.says else ENDED
        self.waiting = isinstance(said, PublishRequest)
        return said

    def answer(self, value: Any) -> None:
        assert value is None
        assert self.held.lost is None
        assert self.held.asked_at is not None
        assert self.held.step >= self.held.renewed_at
        self.items += 1
        self.waiting = False
        self.says = [Outcome(state=State.SUCCEEDED)]

    def use(self) -> ProcessUse:
        return ProcessUse()


@given(
    st.lists(st.sampled_from(["progress", "silent"]), max_size=8),
    st.booleans(),
    st.none() | st.integers(0, 15),
    st.integers(0, 15),
    st.none() | st.integers(0, 15),
)
def test_no_item_without_a_lease_confirmed_after_the_question(
    before: list[str], asks: bool, lost_at: int | None, renewed_at: int, stop_at: int | None
) -> None:
    held = ScriptedLease(lost_at, renewed_at)
    words = {"progress": StageReport("classify", 0.5), "silent": None}
    child = ScriptedChild([words[w] for w in before] + ([PublishRequest()] if asks else []), held)

    def stopping() -> str | None:
        return "SIGTERM" if stop_at is not None and held.step >= stop_at else None

    watch = _Watch(child, held, AttemptLimits(1000, stopping), None, lambda _: None, lambda _: None)  # type: ignore[arg-type]
    try:
        outcome = watch.until_it_ends()
    except (LeaseLost, Drained):
        outcome = None
    if outcome is not None:
        assert outcome.state is State.SUCCEEDED
    assert child.items == (outcome is not None)
    assert child.items <= asks


@given(st.datetimes(datetime(1970, 1, 2), timezones=st.just(UTC)))
def test_the_wall_clock_may_jump_as_it_likes(moment: datetime) -> None:
    """Records are dated by it, nothing else is."""
    time = Time()
    moments = iter([moment, datetime(2001, 1, 1, tzinfo=UTC)] * 5)
    at = Office(World([], time), time=time)
    at.send(make_order())
    runner = at.runner()
    object.__setattr__(runner.journal, "now", lambda: next(moments))
    worker = at.worker()
    worker._runner = runner
    assert worker.run() == 0
    assert at.queue.counts().waiting == 0
