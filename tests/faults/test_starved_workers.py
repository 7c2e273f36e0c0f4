"""Real worker processes that get too little memory: no tile gets lost, and they go on."""

from __future__ import annotations

import resource
import sys

import pytest

from cropmask.contract import ExitCode
from cropmask.fleet.records import State
from tests.faults.memorygroup import open_memory_group
from tests.workerprocess import SOON, Crew, queue_of, send

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]


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
