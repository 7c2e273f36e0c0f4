"""Laws that every queue keeps; each implementation's tests inherit them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from cropmask.contract import MAX_RECEIVES
from cropmask.errors import LeaseLost, Reason
from cropmask.queue.protocol import Counts, Lease, Message, Queue

FULL = {f"name-{number}": f"värde {number} / {{}}" for number in range(8)}
ODD = Message('{"tile": "x1", "ünï": "\\u0000"}\n\t ', FULL)


def taken(queue: Queue, seconds: float = 30) -> Lease:
    lease = queue.lease(seconds=seconds)
    assert lease is not None
    return lease


class QueueLaws:
    """The laws; a subclass gives ``queue`` (empty) and ``tick`` (lets seconds pass)."""

    def tick(self, seconds: float) -> None:
        time.sleep(seconds)

    def test_messages_come_as_they_were_sent(self, queue: Queue) -> None:
        sent = [ODD, Message("plain"), *(Message(str(n), {"n": str(n)}) for n in range(23))]
        assert queue.send(sent) == 25
        leases = [taken(queue) for _ in sent]
        assert queue.lease(seconds=30) is None
        got = [lease.message for lease in leases]
        assert sorted(got, key=lambda m: m.body) == sorted(sent, key=lambda m: m.body)
        assert {lease.receives for lease in leases} == {1}
        assert len({lease.receipt for lease in leases}) == 25
        assert len({lease.message_id for lease in leases}) == 25

    def test_nothing_sent_nothing_there(self, queue: Queue) -> None:
        assert queue.send([]) == 0
        assert queue.lease(seconds=30) is None
        assert queue.counts() == Counts(0, 0, 0, 0)
        assert list(queue.dead_letters()) == []

    def test_done_is_gone(self, queue: Queue) -> None:
        queue.send([Message("a")])
        lease = taken(queue)
        assert queue.counts() == Counts(0, 1, 0, 0)
        queue.done(lease)
        assert queue.counts() == Counts(0, 0, 0, 0)
        queue.done(lease)
        with pytest.raises(LeaseLost):
            queue.renew(lease, 30)

    def test_a_lease_that_ends_lets_others_see_the_message(self, queue: Queue) -> None:
        queue.send([Message("a")])
        first = taken(queue, 1)
        assert queue.lease(seconds=30) is None
        self.tick(1.1)
        second = taken(queue)
        assert (second.message, second.receives) == (Message("a"), 2)
        assert second.message_id == first.message_id
        for touch in (lambda: queue.renew(first, 30), lambda: queue.park(first, "r", "e")):
            with pytest.raises(LeaseLost, match="another worker"):
                touch()
        queue.release(first)
        assert queue.counts() == Counts(0, 1, 0, 0)
        queue.renew(second, 30)
        queue.done(second)
        assert queue.counts() == Counts(0, 0, 0, 0)

    def test_a_lease_that_has_ended_cannot_be_renewed_though_nobody_took_it(
        self, queue: Queue
    ) -> None:
        queue.send([Message("a")])
        lease = taken(queue, 1)
        self.tick(1.1)
        with pytest.raises(LeaseLost):
            queue.renew(lease, 30)
        assert taken(queue).receives == 2

    def test_renewing_keeps_the_message(self, queue: Queue) -> None:
        queue.send([Message("a")])
        lease = taken(queue, 1)
        for _ in range(2):
            self.tick(0.6)
            queue.renew(lease, 1)
        assert queue.lease(seconds=30) is None
        self.tick(1.1)
        assert taken(queue).receives == 2

    def test_renewing_can_shorten(self, queue: Queue) -> None:
        queue.send([Message("a")])
        queue.renew(taken(queue, 600), 1)
        self.tick(1.1)
        assert taken(queue).receives == 2

    def test_release_at_once_and_after_a_delay(self, queue: Queue) -> None:
        queue.send([Message("a", {"k": "v"})])
        queue.release(taken(queue))
        again = taken(queue)
        assert again.receives == 2
        queue.release(again, 1)
        assert queue.lease(seconds=30) is None
        assert queue.counts().waiting == 1
        self.tick(1.1)
        third = taken(queue)
        assert (third.receives, third.message) == (3, Message("a", {"k": "v"}))
        queue.release(third)
        queue.release(third)
        with pytest.raises(LeaseLost):
            queue.renew(third, 30)

    def test_received_too_often_is_dead(self, queue: Queue) -> None:
        queue.send([ODD])
        for receives in range(1, MAX_RECEIVES + 1):
            lease = taken(queue)
            assert lease.receives == receives
            queue.release(lease)
        assert queue.lease(seconds=30) is None
        assert queue.counts() == Counts(0, 0, 0, 1)
        (letter,) = queue.dead_letters()
        assert (letter.message, letter.reason, letter.error) == (ODD, Reason.RECEIVES_USED_UP, None)

    def test_parked_is_dead_with_its_reason(self, queue: Queue) -> None:
        queue.send([ODD])
        queue.park(taken(queue), "bad message", "the tile\nis no täil: \x07 correct it")
        assert queue.lease(seconds=30) is None
        assert queue.counts() == Counts(0, 0, 0, 1)
        (letter,) = queue.dead_letters()
        assert (letter.message, letter.reason) == (ODD, "bad message")
        assert letter.error == "the tile is no täil: ? correct it"
        assert abs(letter.died - datetime.now(UTC)) < timedelta(minutes=5)

    def test_parking_says_something_even_if_told_nothing(self, queue: Queue) -> None:
        queue.send([Message("a")])
        queue.park(taken(queue), "", "")
        (letter,) = queue.dead_letters()
        assert letter.reason == letter.error == "unknown"

    def test_looking_at_dead_letters_leaves_them(self, queue: Queue) -> None:
        queue.send([Message(str(number)) for number in range(13)])
        for _ in range(13):
            queue.park(taken(queue), "r", "e")
        for _ in range(2):
            letters = list(queue.dead_letters())
            assert sorted(int(letter.message.body) for letter in letters) == list(range(13))
        next(queue.dead_letters())
        assert len(list(queue.dead_letters())) == 13
        assert queue.counts() == Counts(0, 0, 0, 13)

    def test_redriven_is_as_it_was_sent(self, queue: Queue) -> None:
        queue.send([ODD, Message("kept")])
        for _ in range(2):
            queue.park(taken(queue), "r", "e")
        for letter in queue.dead_letters():
            if letter.message == ODD:
                queue.redrive(letter)
        lease = taken(queue)
        assert (lease.message, lease.receives) == (ODD, 1)
        assert queue.counts() == Counts(0, 1, 0, 1)
        queue.park(lease, "again", "e")
        assert sorted(letter.reason for letter in queue.dead_letters()) == ["again", "r"]

    def test_discarded_is_gone(self, queue: Queue) -> None:
        queue.send([Message("a")])
        queue.park(taken(queue), "r", "e")
        (letter,) = queue.dead_letters()
        queue.discard(letter)
        queue.discard(letter)
        assert queue.counts() == Counts(0, 0, 0, 0)

    def test_check_takes_nothing(self, queue: Queue) -> None:
        queue.check()
        queue.send([Message("a")])
        queue.check()
        assert queue.counts() == Counts(1, 0, 0, 0)
        assert taken(queue).message == Message("a")

    def test_waiting_for_a_message(self, queue: Queue) -> None:
        started = time.monotonic()
        assert queue.lease(seconds=30, wait_seconds=1) is None
        assert time.monotonic() - started < 20
        queue.send([Message("a")])
        assert queue.lease(seconds=30, wait_seconds=20) is not None
        assert time.monotonic() - started < 20
