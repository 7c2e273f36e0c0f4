"""Tasks in memory, for tests and dry runs; see :mod:`cropmask.queue.protocol`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from cropmask.contract import MAX_RECEIVES
from cropmask.errors import LeaseLost, Misconfigured, Reason
from cropmask.queue.protocol import Counts, DeadLetter, Lease, Message, lease_ended, note, poll


@dataclass(slots=True)
class _Waiting:
    message: Message
    receives: int = 0
    hidden_until: float = 0.0
    receipt: str | None = None
    """Of the lease that it is under; None if it is visible or delayed."""


class MemoryQueue:
    """A queue with the laws of the others and nothing behind it.

    Parameters
    ----------
    max_receives
        Receives of a message before it goes to the dead letters.
    clock
        Seconds; a test may move it.
    sleep
        How to wait for a message.
    usable
        Whether every method works, or refuses as a queue does for which permission is missing.
    lag_seconds
        What users are told about the counts, which are exact all the same.

    Examples
    --------
    >>> from cropmask.queue.protocol import Message
    >>> queue = MemoryQueue()
    >>> queue.send([Message("a task")])
    1
    >>> lease = queue.lease(seconds=60)
    >>> queue.done(lease)
    >>> queue.counts().waiting
    0
    """

    def __init__(
        self,
        *,
        max_receives: int = MAX_RECEIVES,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        usable: bool = True,
        lag_seconds: float = 0.0,
    ) -> None:
        self.address = "memory://"
        self.lag_seconds = lag_seconds
        self._max_receives = max_receives
        self._clock = clock
        self._sleep = sleep
        self._usable = usable
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._dead: dict[str, DeadLetter] = {}

    def send(self, messages: Sequence[Message]) -> int:
        """Keep the messages; all are accepted."""
        self.check()
        with self._lock:
            for message in messages:
                self._waiting[uuid4().hex] = _Waiting(message)
        return len(messages)

    def lease(self, *, seconds: float, wait_seconds: float = 0) -> Lease | None:
        """Take the oldest visible message."""
        self.check()
        return poll(lambda: self._take(seconds), wait_seconds, self._clock, self._sleep)

    def _take(self, seconds: float) -> Lease | None:
        with self._lock:
            now = self._clock()
            visible = [(key, w) for key, w in self._waiting.items() if w.hidden_until <= now]
            for key, waiting in visible:
                if waiting.receives >= self._max_receives:
                    self._bury(key, Reason.RECEIVES_USED_UP, None)
                    continue
                waiting.receives += 1
                waiting.hidden_until = now + seconds
                waiting.receipt = uuid4().hex
                return Lease(waiting.message, key, waiting.receipt, waiting.receives)
        return None

    def renew(self, lease: Lease, seconds: float) -> None:
        """Move the end of a lease."""
        self.check()
        with self._lock:
            self._held(lease).hidden_until = self._clock() + seconds

    def done(self, lease: Lease) -> None:
        """Forget a message."""
        self.check()
        with self._lock:
            waiting = self._waiting.get(lease.message_id)
            if waiting is not None and waiting.receipt == lease.receipt:
                del self._waiting[lease.message_id]

    def release(self, lease: Lease, delay_seconds: float = 0) -> None:
        """End a lease."""
        self.check()
        with self._lock:
            try:
                waiting = self._held(lease)
            except LeaseLost:
                return
            waiting.hidden_until = self._clock() + delay_seconds
            waiting.receipt = None

    def park(self, lease: Lease, reason: str, error: str) -> None:
        """Move a message to the dead letters."""
        self.check()
        with self._lock:
            self._held(lease)
            self._bury(lease.message_id, note(reason), note(error))

    def counts(self) -> Counts:
        """Exact numbers."""
        self.check()
        with self._lock:
            now = self._clock()
            hidden = [w for w in self._waiting.values() if w.hidden_until > now]
            in_flight = sum(w.receipt is not None for w in hidden)
            visible = len(self._waiting) - len(hidden)
            return Counts(visible, in_flight, len(hidden) - in_flight, len(self._dead))

    def dead_letters(self) -> Generator[DeadLetter, None, None]:
        """Dead letters, oldest first."""
        self.check()
        with self._lock:
            letters = list(self._dead.values())
        yield from letters

    def redrive(self, letter: DeadLetter) -> None:
        """Send a dead letter back."""
        self.check()
        with self._lock:
            if self._dead.pop(letter.receipt, None) is not None:
                self._waiting[letter.message_id] = _Waiting(letter.message)

    def discard(self, letter: DeadLetter) -> None:
        """Forget a dead letter."""
        self.check()
        with self._lock:
            self._dead.pop(letter.receipt, None)

    def check(self) -> None:
        """Refuse if made to be unusable."""
        if not self._usable:
            raise Misconfigured("memory:// cannot be used: access is denied")

    def _held(self, lease: Lease) -> _Waiting:
        waiting = self._waiting.get(lease.message_id)
        ended = waiting is None or waiting.hidden_until <= self._clock()
        if waiting is None or ended or waiting.receipt != lease.receipt:
            raise lease_ended(lease)
        return waiting

    def _bury(self, key: str, reason: str, error: str | None) -> None:
        message = self._waiting.pop(key).message
        receipt = uuid4().hex
        died = datetime.fromtimestamp(self._clock(), UTC)
        self._dead[receipt] = DeadLetter(message, key, receipt, reason, error, died)
