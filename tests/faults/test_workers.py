"""Real worker processes that are stopped, killed, starved and lied to: no tile gets lost."""

from __future__ import annotations

import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cropmask.contract import GRACE_SECONDS, ExitCode
from cropmask.fleet.records import State
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Queue
from tests.faults.memorygroup import open_memory_group
from tests.workerprocess import Crew, RegionWorld, make_region_world, open_crew, send, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]
SOON = 240.0
"""Seconds in which a worker has begun, however busy the machine is."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> RegionWorld:
    return make_region_world(tmp_path_factory.mktemp("region") / "world", 4)


@pytest.fixture
def crew(world: RegionWorld, tmp_path: Path) -> Iterator[Crew]:
    with open_crew(world, tmp_path) as opened:
        yield opened


def queue_of(crew: Crew) -> Queue:
    return open_queue(str(crew.output / "_queue"))


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


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_out_of_memory_in_the_child_does_not_end_the_worker(crew: Crew) -> None:
    """The limit is on address space: children inherit it, and the tile does not fit."""

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1_200 << 20, 1_200 << 20))

    queue = queue_of(crew)
    big = crew.world.orders(resolution=10)[:1]
    send(queue, big)
    send(queue, crew.world.orders()[1:2])
    worker = crew.start("--max-tasks", "2", preexec_fn=starve)
    assert worker.wait(SOON) == ExitCode.DONE
    records = {r.tile: r for r in crew.records()}
    failed, done = (records[str(tile)] for tile in crew.world.tiles[:2])
    # Some libraries leave by themselves when they get no memory for a thread.
    assert failed.state is State.FAILED
    assert failed.exit_code in (ExitCode.MEMORY, ExitCode.FAILED)
    assert failed.reason in ("out of memory", "crashed"), failed.error
    assert done.state is State.SUCCEEDED
    assert queue.counts().waiting == 1
    assert crew.leftovers() == []


def test_the_kernel_kills_a_tile_that_is_too_big_and_the_worker_goes_on(crew: Crew) -> None:
    """A real limit of a control group; our own guard is told of more memory than there is."""
    queue = queue_of(crew)
    send(queue, crew.world.orders(resolution=10)[:1])
    send(queue, crew.world.orders()[1:2])
    with open_memory_group(700 << 20) as members:
        options = ("--max-tasks", "2", "--memory", "16GB")
        worker = crew.start(*options, preexec_fn=lambda: members.write_text("0"))
        assert worker.wait(SOON) == ExitCode.DONE
    records = {r.tile: r for r in crew.records()}
    failed, done = (records[str(tile)] for tile in crew.world.tiles[:2])
    assert (failed.state, failed.reason) == (State.FAILED, "out of memory")
    assert failed.exit_code == ExitCode.MEMORY
    assert "the kernel killed" in str(failed.error)
    assert done.state is State.SUCCEEDED
    assert crew.items() == [done.tile]
    assert queue.counts().waiting == 1
    assert crew.leftovers() == []


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
