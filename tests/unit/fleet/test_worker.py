"""The loop of a worker, with scripted work and a clock that the test moves."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from cropmask.contract import METRIC_ALIVE, METRIC_LOST, ExitCode
from cropmask.errors import (
    CropmaskError,
    Drained,
    Interrupted,
    Misconfigured,
    OutOfMemory,
    Rejected,
)
from cropmask.fleet.attempt import HeldLease
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import close_lost, find_attempts, load_attempt
from cropmask.fleet.records import AttemptRecord, State
from cropmask.fleet.worker import Clock, Rules, Worker, run_alone
from cropmask.machine.heartbeat import Heartbeat
from cropmask.queue.protocol import Lease, Message
from cropmask.task import Order
from cropmask.testing.metrics import MemoryMetrics
from cropmask.testing.queue import MemoryQueue
from cropmask.testing.store import MemoryStore
from tests.workerprocess import until
from tests.workers import RUN, START, Office, Time, make_order, message_of

DONE = Outcome(state=State.SUCCEEDED, item="memory://item", run_key="ab", peak_memory=7)
PRODUCT, PERIOD = "crop_mask_eastern", "2019--P1Y"


class Script:
    """Outcomes, one an attempt; the last one is repeated."""

    def __init__(self, *outcomes: Outcome | CropmaskError | Exception, time: Time | None = None):
        self.outcomes = list(outcomes)
        self.orders: list[Order] = []
        self.began: list[float] = []
        self.time = time or Time()

    def __call__(self, order: Order, record: AttemptRecord, held: HeldLease) -> Outcome:
        self.orders.append(order)
        self.began.append(self.time.now)
        self.time.now += 10
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, CropmaskError):
            return Outcome(error=outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def office(*outcomes: Outcome | Exception, **rules: object) -> Office:
    script = Script(*outcomes)
    return Office(script, time=script.time, rules=Rules(**rules))  # type: ignore[arg-type]


def records(at: Office) -> list[AttemptRecord]:
    return [load_attempt(at.store, key) for key in find_attempts(at.store, PRODUCT, PERIOD, RUN)]


def test_every_task_is_done_and_the_worker_leaves() -> None:
    at = office(DONE)
    at.send(make_order(10), make_order(11), make_order(12))
    assert at.worker().run() is ExitCode.DONE
    assert at.queue.counts().waiting == at.queue.counts().dead == 0
    assert [r.state for r in records(at)] == [State.SUCCEEDED] * 3
    assert {r.tile for r in records(at)} == {"x010y020", "x011y020", "x012y020"}


def test_a_record_tells_everything() -> None:
    stages = ({"stage": "load", "wall_seconds": 1.0},)
    done = Outcome(State.SUCCEEDED, None, "memory://i", "ab", 5, 2, 3.5, 9, stages)
    at = office(done)
    at.send(make_order(resolution=100, recipe="boosted"))
    at.worker().run()
    (record,) = records(at)
    assert (record.seconds, record.exit_code, record.receives) == (10.0, 0, 1)
    assert (record.resolution, record.recipe, record.threads) == (100, "boosted", 1)
    assert (record.item, record.run_key, record.bytes_read) == ("memory://i", "ab", 5)
    assert (record.retries, record.cpu_seconds, record.peak_memory) == (2, 3.5, 9)
    assert record.stages == stages
    assert record.host
    assert record.versions is not None
    assert set(record.versions) >= {"cropmask", "python", "numpy", "rasterio"}
    assert record.reason is record.error is None


def test_metrics_are_counted() -> None:
    at = office(DONE, Outcome(state=State.SKIPPED), Rejected("no"), OutOfMemory("big"), DONE)
    at.send(*(make_order(x) for x in (10, 11, 12, 13)))
    at.worker().run()
    names = [name for name, _, region in at.metrics.values if region == "eastern"]
    assert names.count("TilesSucceeded") == 2
    assert names.count("TileSeconds") == names.count("TilePeakMemory") == 2
    assert [names.count(f"Tiles{s}") for s in ("Skipped", "Invalid", "Failed")] == [1, 1, 1]


def test_a_worker_says_that_it_lives_while_a_tile_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cropmask.fleet.worker.METRIC_SECONDS_APART", 0.01)
    at = office(DONE)
    at.send(make_order())

    def wait(_order: Order, _record: AttemptRecord, _held: HeldLease) -> Outcome:
        until(lambda: at.metrics.values.count((METRIC_ALIVE, 1, None)) > 2, 20, "three signs")
        return DONE

    at.attempt = wait
    assert at.worker().run() is ExitCode.DONE


@pytest.mark.parametrize("noticed", [False, True])
def test_an_attempt_whose_worker_died_is_counted_whoever_noticed_it_first(noticed: bool) -> None:
    at = office(DONE)
    at.send(make_order())
    taken = at.queue.lease(seconds=300)
    assert taken is not None
    journal = at.runner().journal
    product = journal.site.region("eastern").product
    journal.begin(make_order(), product, taken.receives, taken.message_id)
    at.time.now += 301
    if noticed:  # as 'cropmask status' does
        close_lost(at.store, list(find_attempts(at.store, PRODUCT, PERIOD, RUN)), at.time.moment())
    assert at.worker().run() is ExitCode.DONE
    assert at.metrics.values.count((METRIC_LOST, 1, "eastern")) == 1
    assert [r.state for r in records(at)] == [State.FAILED, State.SUCCEEDED]


def test_a_failure_that_was_written_down_is_not_counted_as_a_dead_worker() -> None:
    at = office(Interrupted("503"), DONE)
    at.send(make_order())
    assert at.worker().run() is ExitCode.DONE
    assert METRIC_LOST not in {name for name, _, _ in at.metrics.values}


def test_a_failure_is_tried_again_after_a_growing_wait() -> None:
    at = office(Interrupted("503", reason="SlowDown"), Interrupted("503"), DONE)
    at.send(make_order())
    assert at.worker().run() is ExitCode.DONE
    began = at.attempt.began  # type: ignore[attr-defined]
    waits = [round(b - a - 10) for a, b in pairwise(began)]
    assert waits == pytest.approx([15, 30], abs=1)
    assert [r.state for r in records(at)] == [State.FAILED, State.FAILED, State.SUCCEEDED]
    assert records(at)[0].reason == "SlowDown"
    assert [r.receives for r in records(at)] == [1, 2, 3]


def test_a_wrong_task_goes_to_the_dead_letters_at_once_with_its_reason() -> None:
    at = office(Rejected("no GeoMAD", reason="missing geomad"))
    at.send(make_order())
    assert at.worker().run() is ExitCode.DONE
    (letter,) = at.queue.dead_letters()
    assert (letter.reason, letter.error) == ("missing geomad", "no GeoMAD")
    assert [(r.state, r.reason, r.exit_code) for r in records(at)] == [
        (State.INVALID, "missing geomad", 3)
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message("nonsense"), "bad message"),
        (Message("{}"), "bad message"),
        (Message(make_order().body, {"recipe": "oak"}), "bad message"),
        (message_of(make_order(region="atlantis")), "unknown region"),
    ],
)
def test_a_message_that_is_no_order_is_parked_without_an_attempt(
    message: Message, reason: str
) -> None:
    at = office(DONE)
    at.queue.send([message])
    assert at.worker().run() is ExitCode.DONE
    (letter,) = at.queue.dead_letters()
    assert letter.reason == reason
    assert letter.message == message
    assert not at.attempt.orders  # type: ignore[attr-defined]


def test_a_task_that_always_fails_ends_among_the_dead_letters() -> None:
    at = office(OutOfMemory("too big", reason="out of memory"))
    at.send(make_order())
    assert at.worker().run() is ExitCode.DONE
    assert at.queue.counts().dead == 1
    found = records(at)
    assert [r.state for r in found] == [State.FAILED] * 5
    assert "try 5 of 5" in str(found[-1].error)
    assert "try" not in str(found[0].error)


@pytest.mark.parametrize(
    ("region", "reason"),
    [("a\0.toml", "bad region"), ("\ud800.toml", "bad region"), ("nowhere", "unknown region")],
)
def test_a_message_that_names_no_region_does_not_end_the_worker(region: str, reason: str) -> None:
    at = office(DONE)
    at.queue.send([message_of(make_order(region=region)), message_of(make_order(11))])
    assert at.worker().run() is ExitCode.DONE
    assert [letter.reason for letter in at.queue.dead_letters()] == [reason]
    assert [r.tile for r in records(at)] == ["x011y020"]


def test_a_fault_of_ours_is_a_failure_not_an_end(caplog: pytest.LogCaptureFixture) -> None:
    at = office(ZeroDivisionError("oh"), DONE)
    at.send(make_order())
    assert at.worker().run() is ExitCode.DONE
    assert [r.reason for r in records(at)] == ["fault", None]


def test_a_wrong_configuration_stops_the_worker_and_returns_the_task() -> None:
    at = office(Misconfigured("no access"))
    at.send(make_order(10), make_order(11))
    assert at.worker().run() is ExitCode.MISCONFIGURED
    assert at.queue.counts().waiting == 2
    assert at.queue.counts().dead == 0


def test_drained_is_visible_again_at_once_and_exits_4() -> None:
    at = office(Drained("SIGTERM"))
    at.send(make_order())
    assert at.worker().run() is ExitCode.DRAINED
    assert at.queue.counts().visible == 1


def test_asked_to_stop_it_takes_nothing() -> None:
    at = office(DONE)
    at.send(make_order())
    at.stop.why = "SIGTERM"
    assert at.worker().run() is ExitCode.DRAINED
    assert at.queue.counts().visible == 1


def test_a_task_that_arrives_while_it_is_asked_to_stop_is_returned() -> None:
    at = office(DONE)
    at.send(make_order())

    class Late(MemoryQueue):
        def lease(self, *, seconds: float, wait_seconds: float = 0) -> Lease | None:
            at.stop.why = "SIGTERM"
            return at.queue.lease(seconds=seconds, wait_seconds=wait_seconds)

        def release(self, lease: Lease, delay_seconds: float = 0) -> None:
            at.queue.release(lease, delay_seconds)

    worker = at.worker()
    worker._queue = Late()
    assert worker.run() is ExitCode.DRAINED
    assert at.queue.counts().visible == 1
    assert not records(at)


def test_tasks_and_minutes_are_limited() -> None:
    at = office(DONE, max_tasks=2)
    at.send(*(make_order(x) for x in range(10, 15)))
    assert at.worker().run() is ExitCode.DONE
    assert at.queue.counts().visible == 3
    at.rules = Rules(max_seconds=15)
    assert at.worker().run() is ExitCode.DONE  # ten seconds each: two begin before the end
    assert at.queue.counts().visible == 1


def test_it_stays_while_others_have_tasks_and_takes_over_what_they_leave() -> None:
    at = office(DONE)
    at.send(make_order())
    assert at.queue.lease(seconds=200) is not None  # by a worker that dies
    before = at.time.now
    assert at.worker().run() is ExitCode.DONE
    assert at.time.now - before >= 200
    assert [r.receives for r in records(at)] == [2]


@pytest.mark.parametrize("lag", [0, 60])
def test_it_says_once_that_it_waits_for_others(lag: float, monkeypatch: pytest.MonkeyPatch) -> None:
    at = office(DONE, lease_seconds=200)
    at.queue.lag_seconds = lag
    at.send(make_order(), make_order(11))
    assert at.queue.lease(seconds=200) is not None  # by a worker that dies
    began = at.time.now
    said: list[tuple[float, str]] = []

    def info(words: str, *values: object, **_: object) -> None:
        said.append((at.time.now - began, words % values))

    monkeypatch.setattr("cropmask.fleet.worker.log.info", info)
    assert at.worker().run() is ExitCode.DONE
    [(seconds, line)] = [each for each in said if "in flight with" in each[1]]
    assert 10 + lag <= seconds <= 30 + lag, "once its own task is done, and the numbers are true"
    assert line.startswith("1 task in flight with other workers: waiting until that is done, or")
    assert "up to 200 s" in line


def test_idle_exit_does_not_wait_for_others() -> None:
    at = office(DONE, idle_exit=30)
    at.send(make_order())
    at.queue.lease(seconds=10_000)
    before = at.time.now
    assert at.worker().run() is ExitCode.DONE
    assert 30 <= at.time.now - before <= 35


def test_it_stays_for_what_may_be_sent_after_the_last_task() -> None:
    at = office(DONE, stay_seconds=300)
    at.send(make_order())
    sent = False
    wait = at.time.sleep

    def sleep(seconds: float) -> None:
        nonlocal sent
        wait(seconds)
        if not sent and at.time.now >= 1200:
            sent = True
            at.send(make_order(11))

    worker = at.worker()
    worker._clock = Clock(at.time, sleep)
    at.queue._sleep = sleep
    assert worker.run() is ExitCode.DONE
    assert [r.tile for r in records(at)] == ["x010y020", "x011y020"]
    assert 1500 <= at.time.now <= 1530


def test_numbers_that_lag_must_stay_zero_for_as_long_as_they_lag() -> None:
    at = office(DONE)
    at.queue.lag_seconds = 60
    before = at.time.now
    assert at.worker().run() is ExitCode.DONE
    assert 60 <= at.time.now - before <= 100


class Failing(MemoryStore):
    def put(self, key: str, source: object, content_type: str) -> None:
        raise Interrupted("the disk is full")


def test_a_store_that_takes_no_records_costs_no_task(caplog: pytest.LogCaptureFixture) -> None:
    at = office(DONE)
    at.store = Failing()
    at.send(make_order(10), make_order(11))
    with caplog.at_level(logging.WARNING):
        assert at.worker().run() is ExitCode.DONE
    assert at.queue.counts().waiting == at.queue.counts().dead == 0
    assert "record of this attempt was not written" in caplog.text


class Flaky(MemoryQueue):
    """Fails so many times at each thing."""

    def __init__(self, time: Time, times: int) -> None:
        super().__init__(clock=time, sleep=time.sleep)
        self.left = {"lease": times, "counts": times, "done": times}

    def fail(self, name: str) -> None:
        if self.left[name]:
            self.left[name] -= 1
            raise Interrupted("500")

    def lease(self, *, seconds: float, wait_seconds: float = 0) -> Lease | None:
        self.fail("lease")
        return super().lease(seconds=seconds, wait_seconds=wait_seconds)

    def counts(self) -> object:  # type: ignore[override]
        self.fail("counts")
        return super().counts()

    def done(self, lease: Lease) -> None:
        self.fail("done")
        super().done(lease)


def test_a_queue_that_fails_for_a_while_costs_no_task() -> None:
    at = office(DONE, Outcome(state=State.SKIPPED))
    at.queue = Flaky(at.time, 3)
    at.send(make_order())
    assert at.worker().run() is ExitCode.DONE
    # Done, but the queue did not hear it until the fourth time.
    assert [r.state for r in records(at)] == [State.SUCCEEDED] + [State.SKIPPED] * 3
    assert at.queue.counts().waiting == at.queue.counts().dead == 0


def test_a_queue_that_fails_for_long_is_given_up() -> None:
    at = office(DONE)
    at.queue = Flaky(at.time, 10**9)
    before = at.time.now
    with pytest.raises(Interrupted, match="500"):
        at.worker().run()
    assert 900 < at.time.now - before < 1100


def test_a_queue_that_refuses_stops_the_worker() -> None:
    at = office(DONE)
    at.queue = MemoryQueue(usable=False)
    with pytest.raises(Misconfigured):
        at.worker().run()


def test_metrics_are_put_also_where_the_queue_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    at, put = office(DONE), []
    monkeypatch.setattr(MemoryMetrics, "flush", lambda metrics: put.append(metrics))
    at.queue = MemoryQueue(usable=False)
    with pytest.raises(Misconfigured):
        at.worker().run()
    assert put == [at.metrics]


def test_a_sick_worker_leaves_the_tasks_to_others() -> None:
    at = office(Interrupted("no disk"), max_tasks=12)
    at.send(*(make_order(x) for x in range(10, 40)))
    before = at.time.now
    at.worker().run()
    assert at.time.now - before > 12 * 10 + 100


def test_one_order_alone_ends_with_its_own_code() -> None:
    for outcome, code in (
        (DONE, ExitCode.DONE),
        (Outcome(error=Rejected("no")), ExitCode.REJECTED),
        (Outcome(error=OutOfMemory("big")), ExitCode.MEMORY),
        (Outcome(error=Drained("term")), ExitCode.DRAINED),
        (Outcome(error=Misconfigured("no")), ExitCode.MISCONFIGURED),
    ):
        at = office(outcome)
        assert run_alone(make_order(), at.runner(), "tasks 0") is code
        assert len(records(at)) == 1
    assert run_alone(make_order(region="atlantis"), at.runner(), "tasks 0") is ExitCode.REJECTED


def test_a_message_that_comes_again_ends_the_record_of_the_worker_that_died() -> None:
    class Killed(BaseException):
        """SIGKILL: nothing of the worker runs any more."""

    at = office(DONE)

    def die(_order: Order, _record: AttemptRecord, _held: HeldLease) -> Outcome:
        raise Killed

    at.attempt, then = die, at.attempt
    at.send(make_order(10), make_order(11))
    for _ in range(2):
        with pytest.raises(Killed):
            at.worker().run()
    assert [r.state for r in records(at)] == [State.PROCESSING] * 2
    at.attempt = then
    assert at.worker().run() is ExitCode.DONE
    found = sorted((r.tile, r.receives, str(r.state), r.reason) for r in records(at))
    assert found == [
        ("x010y020", 1, "FAILED", "worker lost"),
        ("x010y020", 2, "SUCCEEDED", None),
        ("x011y020", 1, "FAILED", "worker lost"),
        ("x011y020", 2, "SUCCEEDED", None),
    ]


def test_a_tile_that_was_sent_twice_is_not_taken_for_lost_where_it_still_runs() -> None:
    at = office(Interrupted("503"), DONE)
    at.send(make_order())
    runner = at.runner()
    product = runner.journal.site.region("eastern").product
    other = runner.journal.begin(make_order(), product, 1, "another message")
    assert at.worker().run() is ExitCode.DONE
    states = {r.attempt: r.state for r in records(at)}
    assert states.pop(other.attempt) is State.PROCESSING
    assert sorted(states.values()) == [State.FAILED, State.SUCCEEDED]


def test_while_an_attempt_runs_its_record_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    at = office(DONE)
    at.send(make_order())
    seen: list[str | None] = []

    def wait(_order: Order, _record: AttemptRecord, _held: HeldLease) -> Outcome:
        until(lambda: seen.append(records(at)[0].renewed) or len(set(seen)) > 2, 20, "two signs")
        return DONE

    at.attempt = wait
    runner = at.runner()
    ticks = iter(range(10**6))
    journal = replace(
        runner.journal, lease_seconds=0.02, now=lambda: START + timedelta(seconds=next(ticks))
    )
    runner.journal = journal
    worker = Worker(at.queue, runner, at.rules, Heartbeat(None), at.stop)
    assert worker.run() is ExitCode.DONE
    (record,) = records(at)
    assert (record.state, record.lease_seconds) == (State.SUCCEEDED, 0.02)
    assert seen[0] is None or seen[0] > record.started
    time.sleep(0.1)
    assert len(records(at)) == 1, "after the end nothing says that it is running"
