"""What a worker does with the orders of runs that wait, are over or cost too much."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cropmask.contract import METRIC_BUDGET, METRIC_STOPPED, ExitCode
from cropmask.errors import Interrupted, Misconfigured, Reason, Rejected
from cropmask.fleet.attempt import HeldLease
from cropmask.fleet.control import (
    RunControl,
    RunState,
    cancel,
    change_control,
    control_folder,
    load_control,
    pause,
    resume,
    stop,
)
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import find_attempts, load_attempt, put_run
from cropmask.fleet.records import AttemptRecord, State
from cropmask.fleet.spending import RunLedger
from cropmask.fleet.worker import Rules
from cropmask.grid import Tile
from cropmask.store.protocol import Entry
from cropmask.task import Order
from cropmask.testing.store import MemoryStore
from tests.runs import PERIOD, PRODUCT, make_attempt, make_run
from tests.workers import RUN, Office, make_order, message_of

PLACE = (PRODUCT, PERIOD, RUN)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
DONE = Outcome(state=State.SUCCEEDED)
DENIED = Outcome(error=Rejected("403", reason=Reason.ACCESS_DENIED))


def office(*poisoned: int, seconds: float = 10) -> Office:
    """Tiles of these columns fail alike, all others are done."""

    def attempt(order: Order, _record: AttemptRecord, _held: HeldLease) -> Outcome:
        at.time.now += seconds
        at.done.append((order.run, str(order.task.tile)))  # type: ignore[attr-defined]
        return DENIED if order.task.tile.x in poisoned else DONE

    at = Office(attempt)
    at.done = []  # type: ignore[attr-defined]
    put_run(at.store, make_run([Tile(10, 20)], RUN))
    return at


def done(at: Office) -> list[tuple[str, str]]:
    return at.done  # type: ignore[attr-defined,no-any-return]


def states(at: Office, run: str = RUN) -> list[State]:
    return [key.state for key in find_attempts(at.store, PRODUCT, PERIOD, run)]


def test_orders_of_a_run_that_waits_are_held_and_others_are_done() -> None:
    at = office()
    change_control(at.store, *PLACE, pause(RUN, "the catalog moves"), NOW)
    other = replace(make_order(12), run="night-2")
    at.send(make_order(10), make_order(11), other)
    assert at.worker().run() is ExitCode.DONE
    assert done(at) == [("night-2", "x012y020")]
    assert at.queue.counts().waiting == at.queue.counts().dead == 0
    assert states(at) == [State.HELD] * 2
    (first, _) = find_attempts(at.store, *PLACE)
    record = load_attempt(at.store, first)
    assert (record.reason, record.error) == ("run paused", "the catalog moves")
    assert (record.seconds, record.receives) == (0.0, 1)
    assert record.held_order() == make_order(10)
    assert AttemptRecord.from_json(record.to_json()) == record


def test_orders_of_a_canceled_run_are_dropped_and_counted() -> None:
    at = office()
    change_control(at.store, *PLACE, cancel("wrong year"), NOW)
    at.send(make_order(10), make_order(11))
    assert at.worker().run() is ExitCode.DONE
    assert not done(at)
    assert at.queue.counts().waiting == at.queue.counts().dead == 0
    assert states(at) == [State.CANCELED] * 2


def test_orders_that_are_put_aside_are_no_tasks_of_a_worker_that_takes_few() -> None:
    at = office()
    at.rules = Rules(max_tasks=1)
    change_control(at.store, *PLACE, pause(RUN, "wait"), NOW)
    at.send(make_order(10), make_order(11), replace(make_order(12), run="night-2"))
    at.worker().run()
    assert done(at) == [("night-2", "x012y020")]
    assert states(at) == [State.HELD] * 2


def test_a_word_is_heard_within_fifteen_seconds_and_asked_for_no_more_often() -> None:
    class Counting(MemoryStore):
        listed = 0

        def list(self, prefix: str = "") -> list[Entry]:  # type: ignore[override]
            self.listed += prefix.endswith("/control/")
            return list(super().list(prefix))

    at = office(seconds=2)
    at.store = Counting()
    at.send(*(make_order(x) for x in range(10, 30)))
    worker = at.worker()
    worker.run()
    assert at.store.listed == 3, "twenty tiles of two seconds: at 0, 16 and 32"
    at.send(*(make_order(x) for x in range(30, 60)))
    change_control(at.store, *PLACE, pause(RUN, "wait"), NOW)
    worker.run()
    assert len(done(at)) <= 20 + 8
    assert states(at).count(State.HELD) >= 22


def test_a_run_resumed_while_its_order_is_put_aside_is_done_at_once() -> None:
    at = office()
    change_control(at.store, *PLACE, pause(RUN, "wait"), NOW)
    at.send(make_order(10))
    worker = at.worker()
    put_aside = worker._runner.journal.put_aside

    class Journal:
        def __getattr__(self, name: str) -> object:
            return getattr(journal, name)

        def put_aside(self, *words: object) -> AttemptRecord:
            record = put_aside(*words)  # type: ignore[arg-type]
            change_control(at.store, *PLACE, resume(RUN, {}), NOW)
            return record

    journal = worker._runner.journal
    worker._runner.journal = Journal()  # type: ignore[assignment]
    worker.run()
    assert done(at) == [(RUN, "x010y020")]
    assert states(at) == [State.SUCCEEDED], "nothing says that it is held"


def test_a_run_canceled_while_its_order_is_put_aside_drops_it() -> None:
    at = office()
    change_control(at.store, *PLACE, pause(RUN, "wait"), NOW)
    at.send(make_order(10))
    worker = at.worker()
    look = worker._runner.gate.look

    class Canceling:
        def look(self, order: Order, product: object, *, again: bool = False) -> RunControl | None:
            if again:
                change_control(at.store, *PLACE, cancel("no more"), NOW)
            return look(order, product, again=again)  # type: ignore[arg-type]

    worker._runner.gate = Canceling()  # type: ignore[assignment]
    worker.run()
    assert states(at) == [State.CANCELED]


@pytest.mark.parametrize("error", [Interrupted("503"), Misconfigured("403")])
def test_without_its_record_an_order_is_not_held(error: Exception) -> None:
    class Refusing(MemoryStore):
        def put(self, key: str, source: object, content_type: str) -> None:
            raise error

    at = office()
    at.store = Refusing()
    change_control(at.store, *PLACE, pause(RUN, "wait"), NOW)
    at.send(make_order(10))
    code = at.worker().run()
    counts = at.queue.counts()
    assert not done(at)
    assert counts.waiting + counts.dead == 1, "its message is there"
    assert code is (ExitCode.MISCONFIGURED if isinstance(error, Misconfigured) else ExitCode.DONE)


def test_a_word_that_cannot_be_read_parks_the_orders_of_its_run_alone() -> None:
    at = office()
    folder = control_folder(*PLACE)
    at.store.put(f"{folder}0001.json", b"nonsense", "application/json")
    at.send(make_order(10), replace(make_order(12), run="night-2"))
    assert at.worker().run() is ExitCode.DONE
    assert done(at) == [("night-2", "x012y020")]
    (letter,) = at.queue.dead_letters()
    assert letter.reason == "bad record"
    assert "control/0001.json" in str(letter.error)
    assert ("TilesInvalid", 1, "eastern") in at.metrics.values, "its message is no poison"


def test_a_store_that_does_not_answer_leaves_what_is_known() -> None:
    class Deaf(MemoryStore):
        is_deaf = False

        def list(self, prefix: str = "") -> list[Entry]:  # type: ignore[override]
            if self.is_deaf and "/control/" in prefix:
                raise Interrupted("503")
            return list(super().list(prefix))

    at = office(seconds=20)
    at.store = Deaf()
    at.send(make_order(10))
    worker = at.worker()
    worker.run()
    at.store.is_deaf = True
    at.send(make_order(11))
    worker.run()
    assert len(done(at)) == 2, "nobody said that it waits"
    at.send(replace(make_order(12), run="night-2"))
    worker.run()
    assert len(done(at)) == 2, "of a run that is new here nothing is known"
    assert at.queue.counts().dead == 1, "it was tried again five times"


def limit(at: Office, **limits: float | int) -> None:
    change_control(at.store, *PLACE, resume(RUN, {"cpu_hour_price": 3.6, **limits}), NOW)


def test_a_run_over_its_budget_is_stopped_by_the_first_worker_that_sees_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = office(seconds=20)  # a thread costs $0.001 a second, a tile 2 cents
    limit(at, max_cost=0.05)
    at.send(*(make_order(x) for x in range(10, 16)), replace(make_order(30), run="night-2"))
    with caplog.at_level(logging.ERROR):
        assert at.worker().run() is ExitCode.DONE
    assert sorted(states(at)) == [State.HELD] * 3 + [State.SUCCEEDED] * 3
    assert ("night-2", "x030y020") in done(at)
    control = load_control(at.store, *PLACE)
    assert (control.state, control.reason) == (RunState.STOPPED, "over budget")
    assert control.why == "it has cost $0.06 at $3.6 per CPU hour, and may cost $0.05"
    assert f"run {RUN} is stopped: it has cost $0.06" in caplog.text
    stops = [value for value in at.metrics.values if value[0] == METRIC_STOPPED]
    assert stops == [(METRIC_STOPPED, 1, "eastern")]
    assert at.worker().run() is ExitCode.DONE
    assert stops == [value for value in at.metrics.values if value[0] == METRIC_STOPPED]


def test_the_share_of_its_budget_is_told_while_a_run_goes_on() -> None:
    at = office(seconds=20)
    limit(at, max_cost=0.1)
    at.send(*(make_order(x) for x in range(10, 14)))
    at.worker().run()
    told = [value for name, value, region in at.metrics.values if name == METRIC_BUDGET]
    assert told == pytest.approx([0, 20, 40, 60])


def test_somebody_who_has_just_given_more_money_is_not_overridden() -> None:
    at = office(seconds=20)
    limit(at, max_cost=0.01)
    at.send(make_order(10), make_order(11))
    runner = at.runner()
    find = runner.gate._find_excess

    def late(*words: object) -> tuple[Reason, str] | None:
        over = find(*words)  # type: ignore[arg-type]
        if over is not None:
            limit(at, max_cost=10.0)
        return over

    class Late(type(runner.gate)):  # type: ignore[misc]
        _find_excess = staticmethod(late)

    runner.gate = Late(at.store, runner.journal.site, runner.journal.now, at.time)
    worker = at.worker()
    worker._runner = runner
    worker.run()
    assert len(done(at)) == 2
    control = load_control(at.store, *PLACE)
    assert (control.state, control.max_cost) == (RunState.RUNNING, 10.0)


def test_a_run_with_too_many_tiles_is_stopped_but_its_own_may_be_tried_again() -> None:
    at = office(seconds=20)
    limit(at, max_tiles=2)
    at.send(make_order(10), make_order(11), make_order(10, overwrite=True), make_order(12))
    at.worker().run()
    assert [tile for _, tile in done(at)] == ["x010y020", "x011y020", "x010y020"]
    control = load_control(at.store, *PLACE)
    assert control.reason == "too many tiles"
    assert control.why == "2 of its tiles were computed, and 2 may be"


def test_what_is_counted_is_read_once_and_what_runs_by_its_time() -> None:
    class Counting(MemoryStore):
        reads = 0

        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            self.reads += 1
            return super().get(key, span)

    store, record = Counting(), make_run([Tile(10, 20)])
    from tests.runs import START, put_records

    ended = [
        make_attempt(record, Tile(10, 20), State.FAILED, 0, 1, seconds=30.0, threads=2),
        make_attempt(record, Tile(10, 20), State.SUCCEEDED, 1, 2, seconds=60.0),
        make_attempt(record, Tile(11, 20), State.SKIPPED, 1, 3, seconds=1.0, threads=2),
        make_attempt(record, Tile(12, 20), State.HELD, 1, 4, seconds=0.0),
        make_attempt(record, Tile(13, 20), State.CANCELED, 1, 5, seconds=0.0),
    ]
    running = make_attempt(record, Tile(14, 20), State.PROCESSING, 2, 6)
    put_records(store, record, [*ended, running])
    ledger = RunLedger(store, *record.place, threads=4)
    spent = ledger.look(START + timedelta(minutes=3))
    assert spent.cpu_seconds == 60 + 240 + 2 + 4 * 60
    assert spent.tiles == {Tile(10, 20), Tile(14, 20)}
    assert store.reads == 3
    long = ledger.look(START + timedelta(days=3))
    assert long.cpu_seconds == 60 + 240 + 2 + 4 * 3600, "no attempt takes longer"
    assert store.reads == 3


def test_a_run_whose_tiles_fail_alike_is_stopped_and_the_worker_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = office(*range(10, 30))
    bad = [make_order(x) for x in range(10, 25)]
    good = [replace(make_order(x), run="night-2") for x in range(40, 55)]
    at.send(*(order for pair in zip(bad, good, strict=True) for order in pair))
    with caplog.at_level(logging.ERROR):
        assert at.worker().run() is ExitCode.DONE
    assert sum(run == "night-2" for run, _ in done(at)) == 15, "others are done meanwhile"
    control = load_control(at.store, *PLACE)
    assert (control.state, control.reason) == (RunState.STOPPED, "access denied")
    assert "'access denied' on 10 tiles in a row, from x010y020 to x019y020" in str(control.why)
    assert f"run {RUN} is stopped" in caplog.text
    assert sum(f"run {RUN} is stopped; " in line for line in caplog.text.splitlines()) == 1
    found = states(at)
    assert {state: found.count(state) for state in found} == {
        State.INVALID: 9,
        State.FAILED: 1,
        State.HELD: 6,
    }
    assert at.queue.counts().dead == 9
    assert (METRIC_STOPPED, 1, "eastern") in at.metrics.values


def test_a_second_run_that_fails_alike_is_hardly_to_blame() -> None:
    at = office(*range(10, 40))
    put_run(at.store, make_run([Tile(20, 20)], "night-2"))
    at.send(*(make_order(x) for x in range(10, 20)))
    at.send(*(replace(make_order(x), run="night-2") for x in range(20, 30)))
    assert at.worker().run() is ExitCode.MISCONFIGURED
    assert load_control(at.store, *PLACE).state is RunState.STOPPED
    assert load_control(at.store, PRODUCT, PERIOD, "night-2").is_running


def test_a_tile_that_is_done_shows_that_the_worker_is_right() -> None:
    at = office(*range(10, 40))
    put_run(at.store, make_run([Tile(20, 20)], "night-2"))
    at.send(*(make_order(x) for x in range(10, 20)))
    at.send(replace(make_order(90), run="night-3"))
    at.send(*(replace(make_order(x), run="night-2") for x in range(20, 30)))
    assert at.worker().run() is ExitCode.DONE
    assert not load_control(at.store, PRODUCT, PERIOD, "night-2").is_running


def test_messages_sent_by_hand_have_no_run_that_could_be_resumed() -> None:
    at = office(*range(10, 40))
    orders = [replace(make_order(x), run="adhoc") for x in range(10, 20)]
    at.queue.send([message_of(order) for order in orders])
    assert at.worker().run() is ExitCode.MISCONFIGURED
    assert load_control(at.store, PRODUCT, PERIOD, "adhoc") == RunControl()


def test_a_run_that_cannot_be_stopped_stops_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    class ReadOnly(MemoryStore):
        def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
            raise Misconfigured("403")

    at = office(*range(10, 40))
    at.store = ReadOnly()
    put_run(at.store, make_run([Tile(10, 20)], RUN))
    at.send(*(make_order(x) for x in range(10, 20)))
    assert at.worker().run() is ExitCode.MISCONFIGURED
    assert f"run {RUN} was not stopped: 403" in caplog.text


def test_a_run_that_waits_already_is_not_stopped_again() -> None:
    at = office(*range(10, 40))
    runner = at.runner()
    product = runner.journal.site.region("eastern").product
    change_control(at.store, *PLACE, pause(RUN, "wait"), NOW)
    assert runner.gate.stop(make_order(), product, Reason.NO_MODEL, "ten")
    assert load_control(at.store, *PLACE).state is RunState.PAUSED
    assert not at.metrics.values
    change_control(at.store, *PLACE, resume(RUN, {}), NOW)
    change_control(at.store, *PLACE, stop(Reason.NO_MODEL, "by another"), NOW)
    assert runner.gate.stop(make_order(), product, Reason.NO_MODEL, "ten")
    assert load_control(at.store, *PLACE).why == "by another"
