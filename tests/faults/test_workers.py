"""Real worker processes that are stopped, killed and lied to: no tile gets lost."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from cropmask.contract import GRACE_SECONDS, ExitCode
from cropmask.fleet.records import State
from tests.workerprocess import SOON, Crew, queue_of, send, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]


def slow_orders(crew: Crew) -> list[object]:
    """Orders that take a while: made for a coarse look, they are done at full resolution."""
    return list(crew.world.orders(resolution=20, recipe="forest"))


def test_sigterm_in_the_middle_of_a_tile(crew: Crew, tmp_path: Path) -> None:
    queue = queue_of(crew)
    send(queue, slow_orders(crew)[:1])  # type: ignore[arg-type]
    worker = crew.start()
    until(lambda: bool(worker.begun()), SOON, "a tile begins")
    time.sleep(1.0)
    assert queue.counts().in_flight == 1
    began = time.monotonic()
    worker.kill(signal.SIGTERM)
    assert worker.wait(GRACE_SECONDS) == ExitCode.DRAINED
    assert time.monotonic() - began < GRACE_SECONDS
    counts = queue.counts()
    assert (counts.visible, counts.in_flight, counts.dead) == (1, 0, 0)
    assert crew.items() == []
    assert crew.leftovers() == []
    (record,) = crew.records()
    assert (record.state, record.reason, record.exit_code) == (State.FAILED, "drained", 4)


def test_sigkill_of_a_worker_and_its_tile_is_done_by_another(crew: Crew) -> None:
    queue = queue_of(crew)
    send(queue, crew.world.orders())
    first = crew.start("--lease", "5")
    until(lambda: bool(first.begun()), SOON, "a tile begins")
    first.kill()
    first.wait(30)
    second = crew.start("--lease", "5")
    assert second.wait(SOON) == ExitCode.DONE
    assert crew.items() == sorted(map(str, crew.world.tiles))
    assert queue.counts().waiting == queue.counts().dead == 0
    until(lambda: crew.leftovers() == [], 30, "nothing is left of the first")
    done = [r for r in crew.records() if r.state.is_done]
    assert len(done) == len(crew.world.tiles)
    assert max(r.receives for r in done) == 2
    # No record says for ever that the first still works on it.
    cut = [r for r in crew.records() if not r.state.is_done]
    assert [(r.state, r.reason) for r in cut] == [(State.FAILED, "worker lost")]


def test_a_tile_that_takes_too_long_is_stopped_and_others_are_done(crew: Crew) -> None:
    queue = queue_of(crew)
    send(queue, slow_orders(crew)[:1])  # type: ignore[arg-type]
    worker = crew.start("--time-limit", "1", "--max-tasks", "1")
    assert worker.wait(SOON) == ExitCode.DONE
    (record,) = crew.records()
    assert (record.state, record.reason, record.exit_code) == (State.FAILED, "timed out", 11)
    assert crew.items() == crew.leftovers() == []
    assert queue.counts().waiting == 1


def test_a_lease_that_is_lost_writes_no_item(crew: Crew) -> None:
    """Somebody takes the message away while the tile is computed."""
    queue = queue_of(crew)
    send(queue, slow_orders(crew)[:1])  # type: ignore[arg-type]
    worker = crew.start("--lease", "6", "--max-tasks", "1")
    until(lambda: bool(worker.begun()), SOON, "a tile begins")
    for path in (crew.output / "_queue" / "leased").iterdir():
        path.rename(crew.output / "taken")
    assert worker.wait(SOON) == ExitCode.DONE
    (record,) = crew.records()
    assert (record.state, record.reason) == (State.FAILED, "lease lost")
    assert crew.items() == crew.leftovers() == []


def test_an_indexed_pod_does_its_task_and_ends_with_its_code(crew: Crew, tmp_path: Path) -> None:
    from cropmask.fleet.taskfile import encode_orders

    tasks = tmp_path / "tasks.jsonl"
    good, wrong = crew.world.orders()[0], crew.world.orders(recipe="forest")[1]
    outside = type(wrong)(type(wrong.task)(type(wrong.task.tile)(10, 20), *_rest(wrong)), "x-1")
    tasks.write_bytes(encode_orders([good, outside]))
    crew.environ = {"JOB_COMPLETION_INDEX": "0", "CROPMASK_TASKS": str(tasks)}
    first = crew.start()
    crew.environ = {"AWS_BATCH_JOB_ARRAY_INDEX": "1", "CROPMASK_TASKS": str(tasks)}
    second = crew.start()
    crew.environ = {"JOB_COMPLETION_INDEX": "2", "CROPMASK_TASKS": str(tasks)}
    third = crew.start()
    codes = [worker.wait(SOON) for worker in (first, second, third)]
    assert codes == [ExitCode.DONE, ExitCode.REJECTED, ExitCode.MISCONFIGURED]
    assert crew.items() == [str(good.task.tile)]


def _rest(order: object) -> tuple[object, object]:
    task = order.task  # type: ignore[attr-defined]
    return task.region, task.period
