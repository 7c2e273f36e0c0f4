"""Takes tasks from a queue, one after the other, and loses none.

Whatever happens, a message ends in one of these ways: deleted because its item is there, or because
a record says that its run waits or was canceled; among the dead letters; or visible again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from cropmask.contract import (
    LEASE_SECONDS,
    MAX_RECEIVES,
    METRIC_ALIVE,
    METRIC_BUDGET,
    METRIC_FAILED,
    METRIC_INVALID,
    METRIC_LOST,
    METRIC_PEAK_MEMORY,
    METRIC_SECONDS,
    METRIC_SECONDS_APART,
    METRIC_SKIPPED,
    METRIC_STOPPED,
    METRIC_SUCCEEDED,
    POLL_SECONDS,
    ExitCode,
)
from cropmask.errors import CropmaskError, Interrupted, LeaseLost, Reason
from cropmask.fleet.attempt import HeldLease, NoLease
from cropmask.fleet.breaker import Breaker
from cropmask.fleet.control import RunControl, RunState
from cropmask.fleet.gate import Gate, place_of
from cropmask.fleet.outcome import Outcome, Step, Verdict, judge
from cropmask.fleet.recordfiles import Journal, describe
from cropmask.fleet.records import PUT_ASIDE, AttemptRecord, State
from cropmask.machine.heartbeat import Heartbeat, Repeated
from cropmask.machine.metrics import Metrics
from cropmask.machine.signals import Stop
from cropmask.product import Product
from cropmask.queue.lease import LeaseKeeper
from cropmask.queue.protocol import Counts, Lease, Message, Queue
from cropmask.task import Order, choose_product

NAP_SECONDS: Final = 0.25
"""Longest sleep, so that a signal is heard soon."""
QUEUE_PATIENCE_SECONDS: Final = 900.0
"""How long a queue may fail before the worker gives up."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Longest pause after failures in a row."""
_COUNTED: Final = {
    State.SUCCEEDED: METRIC_SUCCEEDED,
    State.SKIPPED: METRIC_SKIPPED,
    State.FAILED: METRIC_FAILED,
    State.INVALID: METRIC_INVALID,
}

log = logging.getLogger(__name__)


class Attempter(Protocol):
    """Does the work of an order."""

    def __call__(self, order: Order, record: AttemptRecord, held: HeldLease) -> Outcome:
        """Never raises because of the order or the world."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """When a worker takes tasks, and how long it keeps them."""

    lease_seconds: float = LEASE_SECONDS
    poll_seconds: float = POLL_SECONDS
    max_tasks: int | None = None
    """Tasks after which it leaves."""
    max_seconds: float | None = None
    """Time after which it takes no more."""
    idle_exit: float | None = None
    """Seconds without a task after which it leaves, whatever is in flight elsewhere."""
    stay_seconds: float = 0.0
    """Seconds for which it stays although nothing is waiting or in flight."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time that only grows, and how to wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class OrderRunner:
    """Does one order at a time and writes down what became of it."""

    attempt: Attempter
    journal: Journal
    metrics: Metrics
    clock: Clock = field(default_factory=Clock)
    draw: Callable[[float, float], float] = random.uniform
    max_receives: int = MAX_RECEIVES
    breaker: Breaker = field(default_factory=Breaker)
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        """Ask where the journal writes."""
        journal = self.journal
        self.gate = Gate(
            journal.store,
            journal.site,
            journal.now,
            self.clock.now,
            self._count_stopped,
            self._count_spent,
        )

    def run(
        self, lease: Lease, held: HeldLease, follow: Callable[[Verdict, Outcome], None]
    ) -> Verdict:
        """Have a message's order done; ``follow`` does with the message what the verdict says."""
        began = self.clock.now()
        record: AttemptRecord | None = None
        order: Order | None = None
        product: Product | None = None
        signs: Repeated | None = None
        aside: Verdict | None = None
        try:
            order = Order.parse(lease.message.body, lease.message.attributes)
            product = choose_product(
                self.journal.site.region(order.task.region).product, order.task.period
            )
            aside = self._put_aside(order, product, lease)
            if aside is None:
                record = self.journal.begin(
                    order, product, lease.receives, lease.message_id, on_lost=self._count_lost
                )
                seconds = self.journal.lease_seconds / 2
                signs = Repeated(partial(self.journal.renew, record), seconds)
                with signs:
                    outcome = self._attempt(order, record, held)
        except CropmaskError as error:
            outcome = Outcome(error=error)
        if aside is not None:
            follow(aside, Outcome(aside.state))
            return aside
        verdict = judge(outcome, lease.receives, max_receives=self.max_receives, draw=self.draw)
        verdict = self._look_at_row(order, product, outcome, verdict, lease.receives)
        # A message that is released must be visible to others as soon as possible: a worker that
        # is being stopped has seconds. In all other cases the record is written first: a kill
        # before the message is deleted then costs a skip, and the record tells what happened.
        early = verdict.step is Step.RELEASE
        try:
            if early:
                follow(verdict, outcome)
        finally:
            if signs is not None:
                signs.wait()  # else it could write that the attempt is running after its end
            if record is None:
                region = None if order is None or product is None else order.task.region
                self._note_unbegun(lease, region, outcome, verdict)
            else:
                self._write_down(record, outcome, verdict, self.clock.now() - began)
        if not early:
            follow(verdict, outcome)
        return verdict

    def _put_aside(self, order: Order, product: Product, lease: Lease) -> Verdict | None:
        """What follows for an order whose run waits or was canceled; None if it is to be done.

        Who resumes a run says so first, then looks which orders are held. So either he finds our
        record, or we find his word once the record is there: no order is lost, whoever dies.
        """
        control = self.gate.look(order, product)
        while control is not None:
            record = self.journal.put_aside(
                order, product, lease.receives, lease.message_id, control
            )
            if record.state is State.HELD:
                now = self.gate.look(order, product, again=True)
                if now is None or now.state is RunState.CANCELED:
                    self.journal.take_up(record)
                    control = now
                    continue
            words = (record.tile, record.state.lower(), control.why or control.state)
            log.info("%s is %s: %s", *words, extra=_log_fields(record))
            return Verdict(record.state, Step.DELETE)
        return None

    def _look_at_row(
        self,
        order: Order | None,
        product: Product | None,
        outcome: Outcome,
        verdict: Verdict,
        receives: int,
    ) -> Verdict:
        """What follows if this tile failed like many before it: its run, or the worker, stops."""
        if order is None or product is None:  # no region of ours, so no run that could be stopped
            tile = None if order is None else str(order.task.tile)
            return self.breaker.look(tile, outcome, verdict, receives)
        return self.breaker.look(
            str(order.task.tile),
            outcome,
            verdict,
            receives,
            run="/".join(place_of(order, product)),
            stop=partial(self.gate.stop, order, product),
        )

    def _count_spent(self, order: Order, share: float) -> None:
        self.metrics.add(METRIC_BUDGET, 100 * share, region=order.task.region)

    def _count_stopped(self, order: Order, _control: RunControl) -> None:
        self.metrics.add(METRIC_STOPPED, 1, region=order.task.region)

    def _count_lost(self, attempt: AttemptRecord) -> None:
        self.metrics.add(METRIC_LOST, 1, region=attempt.region)

    def _attempt(self, order: Order, record: AttemptRecord, held: HeldLease) -> Outcome:
        log.info("%s begins", order.task.tile, extra=_log_fields(record))
        try:
            return self.attempt(order, record, held)
        except CropmaskError:
            raise
        except Exception as error:
            log.exception("a fault of the program, please report it", extra=_log_fields(record))
            what = f"{type(error).__name__}: {error}"
            return Outcome(
                error=Interrupted(f"a fault of the program: {what}", reason=Reason.FAULT)
            )

    def _note_unbegun(
        self, lease: Lease, region: str | None, outcome: Outcome, verdict: Verdict
    ) -> None:
        """Log and count a message of which no attempt has begun; ``region`` if it has one."""
        log.error("message %s: %s", lease.message_id, describe(outcome, verdict))
        self.metrics.add(_COUNTED[verdict.state], 1, region=region)

    def _write_down(
        self, record: AttemptRecord, outcome: Outcome, verdict: Verdict, seconds: float
    ) -> None:
        text = describe(outcome, verdict)
        ended = self.journal.end(record, outcome, verdict, seconds)
        figures = {
            "state": str(ended.state),
            "seconds": ended.seconds,
            "receives": ended.receives,
            "reason": ended.reason,
            "exit_code": ended.exit_code,
        }
        said = f": {text}" if text else ""
        log.log(
            logging.INFO if verdict.state.is_done else logging.ERROR,
            "%s %s in %.1f s%s",
            *(record.tile, verdict.state.lower(), seconds, said),
            extra=_log_fields(record) | {"extra_fields": figures},
        )
        self.metrics.add(_COUNTED[verdict.state], 1, region=record.region)
        if verdict.state is State.SUCCEEDED:
            self.metrics.add(METRIC_SECONDS, seconds, region=record.region)
            self.metrics.add(METRIC_PEAK_MEMORY, outcome.peak_memory or 0, region=record.region)


class Worker:
    """The loop: takes a message, has its order done, and does with it what the verdict says."""

    def __init__(
        self, queue: Queue, runner: OrderRunner, rules: Rules, heartbeat: Heartbeat, stop: Stop
    ) -> None:
        self._queue = queue
        self._runner = runner
        self._rules = rules
        self._heartbeat = heartbeat
        self._stop = stop
        self._clock = runner.clock
        self._began = self._clock.now()
        self._taken = 0
        self._idle_since: float | None = None
        self._has_told_of_others = False
        self._empty_since: float | None = None
        self._broken_since: float | None = None
        self._failed_in_a_row = 0

    def run(self) -> ExitCode:
        """Work until there is nothing to do, or a reason to stop.

        Raises Misconfigured if the queue refuses; Interrupted if it has failed for long.
        """
        metrics = self._runner.metrics
        metrics.add(METRIC_ALIVE, 1, region=None)
        try:
            # A tile may take long: whether its worker lives is told meanwhile.
            with Repeated(self._give_sign, METRIC_SECONDS_APART, name="signs of life"):
                while True:
                    code = self._find_end()
                    if code is None:
                        code = self._take_one()
                    if code is not None:
                        return code
        finally:
            metrics.flush()

    def _give_sign(self) -> None:
        self._runner.metrics.add(METRIC_ALIVE, 1, region=None)
        self._runner.metrics.flush()

    def _find_end(self) -> ExitCode | None:
        """The exit code if the worker is to take no more tasks."""
        if self._stop():
            log.info("%s: stopping, every task is returned", self._stop())
            return ExitCode.DRAINED
        if self._rules.max_tasks is not None and self._taken >= self._rules.max_tasks:
            log.info("%d tasks taken: leaving", self._taken)
            return ExitCode.DONE
        if self._seconds_left() <= 0:
            log.info("time is up: leaving")
            return ExitCode.DONE
        return None

    def _seconds_left(self) -> float:
        if self._rules.max_seconds is None:
            return float("inf")
        return self._rules.max_seconds - (self._clock.now() - self._began)

    def _take_one(self) -> ExitCode | None:
        """Take one task and do it, or find out that there is none."""
        try:
            lease = self._queue.lease(seconds=self._rules.lease_seconds)
            if lease is None:  # counts are asked for only where a receive found nothing
                if self._is_over():
                    return ExitCode.DONE
                lease = self._queue.lease(
                    seconds=self._rules.lease_seconds, wait_seconds=self._longest_wait()
                )
        except Interrupted as error:
            self._wait_for_queue(error)
            return None
        self._broken_since = None
        if lease is None:
            self._heartbeat.progress("waiting for a task")
            return None
        self._idle_since = self._empty_since = None
        self._has_told_of_others = False
        return self._do(lease)

    def _longest_wait(self) -> float:
        """How long to wait for a message: where asking costs nothing, not longer than a nap."""
        most = self._rules.poll_seconds if self._queue.lag_seconds else NAP_SECONDS
        idle = self._rules.idle_exit
        if idle is not None and self._idle_since is not None:
            most = min(most, idle - (self._clock.now() - self._idle_since))
        return max(0.0, min(most, self._seconds_left()))

    def _is_over(self) -> bool:
        """Whether there has been nothing to do for long enough to leave."""
        now = self._clock.now()
        if self._idle_since is None:
            self._idle_since = now
        idle_exit = self._rules.idle_exit
        if idle_exit is not None and now - self._idle_since >= idle_exit:
            log.info("no task for %.0f s: leaving", now - self._idle_since)
            return True
        counts = self._queue.counts()
        if counts.waiting:
            self._empty_since = None
            self._tell_of_others(counts, now - self._idle_since)
            return False
        if self._empty_since is None:
            self._empty_since = now
        if now - self._empty_since < max(self._queue.lag_seconds, self._rules.stay_seconds):
            return False
        log.info("nothing is waiting or in flight: leaving")
        return True

    def _tell_of_others(self, counts: Counts, idle_seconds: float) -> None:
        """Say once why the worker stays although it can take nothing."""
        # Numbers that lag may still count its own last task; idle_exit ends the wait by itself.
        is_sure = idle_seconds >= self._queue.lag_seconds and self._rules.idle_exit is None
        if self._has_told_of_others or counts.visible or not counts.in_flight or not is_sure:
            return
        self._has_told_of_others = True
        log.info(
            "%d task%s in flight with other workers: waiting until that is done, or up to %.0f s "
            "should its worker have died",
            *(counts.in_flight, "" if counts.in_flight == 1 else "s", self._rules.lease_seconds),
        )

    def _wait_for_queue(self, error: Interrupted) -> None:
        """Wait before a queue that fails is asked again; give up after a quarter of an hour."""
        now = self._clock.now()
        if self._broken_since is None:
            self._broken_since = now
        broken = now - self._broken_since
        if broken > QUEUE_PATIENCE_SECONDS:
            raise error
        log.warning("the queue fails, asking again: %s", error)
        self._pause(min(LONGEST_PAUSE_SECONDS, 1.0 + broken / 2))

    def _pause(self, seconds: float) -> None:
        until = self._clock.now() + seconds
        while not self._stop() and (left := until - self._clock.now()) > 0:
            self._heartbeat.progress("pausing")
            self._clock.sleep(min(NAP_SECONDS, left))

    def _do(self, lease: Lease) -> ExitCode | None:
        self._taken += 1
        if self._stop():  # it came while we were asked to stop
            self._follow(lease, Verdict(State.FAILED, Step.RELEASE), Outcome())
            return ExitCode.DRAINED
        with LeaseKeeper(
            self._queue, lease, self._rules.lease_seconds, clock=self._clock.now
        ) as keeper:

            def follow(verdict: Verdict, outcome: Outcome) -> None:
                keeper.leave()
                self._follow(lease, verdict, outcome)

            verdict = self._runner.run(lease, keeper, follow)
        self._heartbeat.progress("between tasks")
        self._runner.metrics.flush_if_due()
        if opened := self._runner.breaker.take_opened():
            log.error("%s", opened)
        if verdict.state in PUT_ASIDE:  # no task was done
            self._taken -= 1
        if verdict.exit_code is not None:
            return verdict.exit_code
        self._pause_after(verdict)
        return None

    def _follow(self, lease: Lease, verdict: Verdict, outcome: Outcome) -> None:
        """Do with the message what follows; where the queue fails, it comes back with its lease.

        Raises Misconfigured if the queue refuses: every task would be done again and again.
        """
        try:
            if verdict.step is Step.DELETE:
                self._queue.done(lease)
            elif verdict.step is Step.RELEASE:
                self._queue.release(lease, verdict.delay_seconds)
            elif verdict.step is Step.PARK and outcome.error is not None:
                self._queue.park(lease, outcome.error.reason, str(outcome.error))
        except LeaseLost as error:
            log.warning("message %s: %s", lease.message_id, error)
        except Interrupted as error:
            log.warning("message %s comes back when its lease ends: %s", lease.message_id, error)

    def _pause_after(self, verdict: Verdict) -> None:
        """After failures in a row it may be us: leave the tasks to workers that do better."""
        failed = verdict.state is State.FAILED and verdict.step is Step.RELEASE
        self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
        if self._failed_in_a_row > 2:
            pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** (self._failed_in_a_row - 3))
            log.warning("%d failures in a row: waiting %.0f s", self._failed_in_a_row, pause)
            self._pause(pause)


def run_alone(order: Order, runner: OrderRunner, name: str) -> ExitCode:
    """Do one order that comes from no queue, once."""
    lease = Lease(Message(order.body, order.attributes), name, "", 1)
    codes: list[ExitCode] = []
    runner.run(lease, NoLease(), lambda _, outcome: codes.append(outcome.exit_code))
    runner.metrics.flush()
    return codes[0]


def _log_fields(record: AttemptRecord) -> dict[str, Any]:
    """What every log line of an attempt carries."""
    return {"run": record.run, "tile": record.tile, "attempt": record.attempt}
