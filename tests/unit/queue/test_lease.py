"""A lease that is kept, lost, and asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from cropmask.errors import Interrupted, LeaseLost
from cropmask.queue.lease import LeaseKeeper
from cropmask.queue.protocol import Lease, Message
from cropmask.testing.queue import MemoryQueue
from tests.workers import Time


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


class Counting(MemoryQueue):
    """Counts renewals; fails as often as told."""

    renewals = 0
    failures = 0

    def renew(self, lease: Lease, seconds: float) -> None:
        self.renewals += 1
        if self.failures:
            self.failures -= 1
            raise Interrupted("503")
        super().renew(lease, seconds)


def leased(queue: MemoryQueue, seconds: float) -> Lease:
    queue.send([Message("a")])
    lease = queue.lease(seconds=seconds)
    assert lease is not None
    return lease


def test_a_lease_outlives_its_length_while_somebody_computes() -> None:
    queue = Counting()
    with LeaseKeeper(queue, leased(queue, 1), 1) as keeper:
        end = time.monotonic() + 2.5
        while time.monotonic() < end:  # as busy as a computation
            assert keeper.lost is None
            assert queue.lease(seconds=1) is None
        assert queue.renewals >= 3
    renewals = queue.renewals
    assert not any(thread.name == "lease" for thread in threading.enumerate())
    assert queue.renewals == renewals


def test_a_lease_that_another_has_taken_is_lost() -> None:
    queue = Counting()
    lease = leased(queue, 30)
    queue.release(lease)
    assert queue.lease(seconds=30) is not None
    with LeaseKeeper(queue, lease, 30) as keeper:
        mark = keeper.ask()
        until(lambda: keeper.lost is not None)
        assert not keeper.renewed_since(mark)


def test_asking_renews_at_once() -> None:
    queue = Counting()
    with LeaseKeeper(queue, leased(queue, 1000), 1000) as keeper:
        mark = keeper.ask()
        until(lambda: keeper.renewed_since(mark))
        assert queue.renewals == 1


def test_a_renewal_that_fails_is_tried_again_until_the_lease_ends() -> None:
    queue = Counting()
    queue.failures = 2
    with LeaseKeeper(queue, leased(queue, 3), 3) as keeper:
        mark = keeper.ask()
        until(lambda: keeper.renewed_since(mark))
        assert queue.renewals == 3
        queue.failures = 10**6
        until(lambda: keeper.lost is not None)
    assert isinstance(keeper.lost, LeaseLost)


def test_the_end_counts_from_before_the_request_and_by_our_own_clock() -> None:
    clock = Time()

    class Slow(MemoryQueue):
        def renew(self, lease: Lease, seconds: float) -> None:
            super().renew(lease, seconds)
            clock.now += 100

    queue = Slow()
    with LeaseKeeper(queue, leased(queue, 300), 300, clock=clock) as keeper:
        clock.now += 1
        mark = keeper.ask()
        until(lambda: keeper.renewed_since(mark))
        clock.now += 199
        assert keeper.lost is None
        clock.now += 1
        assert keeper.lost is not None


def test_a_fault_of_a_queue_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Counting):
        def renew(self, lease: Lease, seconds: float) -> None:
            if not self.renewals:
                self.renewals += 1
                raise ZeroDivisionError
            super().renew(lease, seconds)

    queue = Faulty()
    with LeaseKeeper(queue, leased(queue, 2), 2) as keeper:
        mark = keeper.ask()
        until(lambda: keeper.renewed_since(mark))
    assert "ZeroDivisionError" in caplog.text
