"""Laws of queues under any sequence of steps: hypothesis looks for one that breaks them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from cropmask.errors import LeaseLost, Reason
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import DeadLetter, Lease, Message, Queue
from cropmask.testing.queue import MemoryQueue

MAX_RECEIVES = 3
LEASE = 10.0
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)


class QueueMachine(RuleBasedStateMachine):
    """One queue, and a plain record of what must be true of it."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.queue = self.open()
        self.sent: dict[str, Message] = {}
        """Messages that are neither done nor discarded, by body; bodies differ."""
        self.number = 0
        self.ends: dict[str, float] = {}
        """End of the lease that each message is under, by its body."""
        self.receipts: dict[str, str] = {}
        self.dead: dict[str, tuple[str, str | None]] = {}

    def open(self) -> Queue:
        raise NotImplementedError

    def holds(self, lease: Lease) -> bool:
        body = lease.message.body
        return self.receipts.get(body) == lease.receipt and self.ends[body] > self.now

    @rule(attributes=st.dictionaries(TEXT, TEXT, max_size=3), count=st.integers(1, 3))
    def send(self, attributes: dict[str, str], count: int) -> None:
        messages = []
        for _ in range(count):
            self.number += 1
            messages.append(Message(f"body {self.number}", attributes))
        assert self.queue.send(messages) == count
        self.sent |= {message.body: message for message in messages}

    @rule(target=leases)
    def lease(self):
        lease = self.queue.lease(seconds=LEASE)
        if lease is None:
            # Whatever is left is held, delayed or dead.
            assert self.queue.counts().visible == 0
            return multiple()
        body = lease.message.body
        assert lease.message == self.sent[body], "as it was sent"
        assert body not in self.dead, "the dead are not given out"
        assert self.ends.get(body, 0) <= self.now, "nobody else holds it"
        assert 1 <= lease.receives <= MAX_RECEIVES
        self.ends[body], self.receipts[body] = self.now + LEASE, lease.receipt
        return lease

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        held = self.holds(lease)
        try:
            self.queue.renew(lease, LEASE)
        except LeaseLost:
            assert not held
        else:
            assert held, "a lease that has ended is not renewed"
            self.ends[lease.message.body] = self.now + LEASE

    @rule(lease=consumes(leases))
    def done(self, lease: Lease) -> None:
        held = self.holds(lease)
        self.queue.done(lease)
        if held or self.gone(lease.message.body):
            for known in (self.sent, self.ends, self.receipts):
                known.pop(lease.message.body, None)

    def gone(self, body: str) -> bool:
        """Whether a message may have been deleted after its lease had ended: nobody had it."""
        return body in self.sent and body not in self.everything()

    @rule(lease=leases, delay=st.sampled_from([0.0, 5.0]))
    def release(self, lease: Lease, delay: float) -> None:
        held = self.holds(lease)
        self.queue.release(lease, delay)
        if held:
            self.ends[lease.message.body] = self.now + delay
            self.receipts[lease.message.body] = ""

    @rule(lease=leases, reason=TEXT)
    def park(self, lease: Lease, reason: str) -> None:
        held = self.holds(lease)
        try:
            self.queue.park(lease, reason, "error")
        except LeaseLost:
            assert not held
        else:
            assert held
            self.dead[lease.message.body] = (reason, "error")
            self.receipts[lease.message.body] = ""

    @rule(which=st.integers(0, 5))
    def redrive(self, which: int) -> None:
        letters = self.letters()
        for letter in letters[which : which + 1]:
            self.queue.redrive(letter)
            self.dead.pop(letter.message.body, None)
            self.ends.pop(letter.message.body, None)
            self.receipts.pop(letter.message.body, None)

    @rule(which=st.integers(0, 9))
    def discard(self, which: int) -> None:
        for letter in self.letters()[which : which + 1]:
            self.queue.discard(letter)
            for known in (self.dead, self.ends, self.receipts, self.sent):
                known.pop(letter.message.body, None)

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def letters(self) -> list[DeadLetter]:
        letters = sorted(self.queue.dead_letters(), key=lambda one: one.message.body)
        for letter in letters:
            body = letter.message.body
            assert letter.message == self.sent[body], "dead as it was sent"
            if letter.reason == Reason.RECEIVES_USED_UP and letter.error is None:
                self.dead[body] = (Reason.RECEIVES_USED_UP, None)
            assert (letter.reason.strip(), letter.error) == (
                " ".join(self.dead[body][0].split()) or "unknown",
                self.dead[body][1],
            )
        return letters

    def everything(self) -> set[str]:
        raise NotImplementedError

    @invariant()
    def nothing_is_lost_and_nothing_is_there_twice(self) -> None:
        counts = self.queue.counts()
        assert counts.waiting + counts.dead == len(self.sent)
        held = sum(
            bool(self.receipts.get(body)) and end > self.now and body not in self.dead
            for body, end in self.ends.items()
        )
        assert counts.in_flight == held
        assert counts.dead == len(self.letters()) == len(self.dead)


class MemoryMachine(QueueMachine):
    def open(self) -> Queue:
        return MemoryQueue(max_receives=MAX_RECEIVES, clock=lambda: self.now)

    def everything(self) -> set[str]:
        assert isinstance(self.queue, MemoryQueue)
        waiting = {w.message.body for w in self.queue._waiting.values()}
        return waiting | {letter.message.body for letter in self.queue.dead_letters()}


class FolderMachine(QueueMachine):
    def open(self) -> Queue:
        self.root = Path(tempfile.mkdtemp(prefix="cropmask-test-"))
        return FolderQueue(self.root, max_receives=MAX_RECEIVES, clock=lambda: self.now)

    def everything(self) -> set[str]:
        texts = [
            p.read_text() for p in self.root.rglob("*") if p.is_file() and "notes" not in str(p)
        ]
        return {body for body in self.sent if any(f'"{body}"' in text for text in texts)}

    def teardown(self) -> None:
        shutil.rmtree(self.root)


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestFolder = FolderMachine.TestCase
TestFolder.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
