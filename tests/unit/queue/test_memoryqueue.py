"""The queue in memory keeps the laws, and time in it can be moved."""

from __future__ import annotations

import pytest

from cropmask.errors import Misconfigured
from cropmask.queue.protocol import Message, Queue
from cropmask.testing.queue import MemoryQueue
from tests.queues import QueueLaws, taken


class TestMemory(QueueLaws):
    @pytest.fixture
    def queue(self) -> Queue:
        return MemoryQueue()


def test_time_can_be_moved():
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    queue = MemoryQueue(clock=lambda: now[0], sleep=sleep)
    queue.send([Message("a")])
    lease = taken(queue, 300)
    assert queue.lease(seconds=300, wait_seconds=20) is None
    assert now[0] == pytest.approx(20)
    sleep(281)
    assert taken(queue).message_id == lease.message_id


def test_made_to_refuse():
    queue = MemoryQueue(usable=False)
    for touch in (
        queue.check,
        queue.counts,
        lambda: queue.lease(seconds=1),
        lambda: queue.send([Message("a")]),
        lambda: list(queue.dead_letters()),
    ):
        with pytest.raises(Misconfigured):
            touch()
