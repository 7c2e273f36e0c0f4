"""Tasks that wait for a worker: one Protocol for SQS and for a folder on one machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from cropmask.errors import LeaseLost, Reason, one_line

__all__ = ["Counts", "DeadLetter", "Lease", "Message", "Queue", "QueueOptions"]

MAX_ATTRIBUTES: Final = 8
"""Attributes of a message."""
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: text, and words about it."""

    body: str
    attributes: dict[str, str] = field(default_factory=dict)
    """At most eight: there must be room for why a message died. No name or value is empty."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that one worker has for a while; nobody else sees it until the lease ends."""

    message: Message
    message_id: str
    receipt: str
    """Opaque; proves the lease to the queue."""
    receives: int
    """How often the message has been received, this time included; at least 1."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody will try again unless it is sent back."""

    message: Message
    """As it was sent, without what the queue noted about its death."""
    message_id: str
    receipt: str
    reason: str
    """Groups dead letters in reports; ``receives used up`` if the queue itself moved it."""
    error: str | None
    """One line, if a worker parked it."""
    died: datetime
    """UTC; when it was parked. Of one that SQS itself moved, when it was sent."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages there are; SQS's own numbers lag behind by up to a minute."""

    visible: int
    in_flight: int
    delayed: int
    dead: int
    """Among the dead letters."""

    @property
    def waiting(self) -> int:
        """Messages that somebody will still work on."""
        return self.visible + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How to reach SQS; a folder needs none of it."""

    endpoint_url: str | None = None
    """Address of a stand-in for SQS."""
    dead_letters: str | None = None
    """Address of the dead letters, if not as the queue's redrive policy says."""
    attempts: int = 6
    """Tries of one request before the error is reported; waits grow between them."""


class Queue(Protocol):
    """Messages, at least once each, in no order.

    All methods raise :class:`~cropmask.errors.Misconfigured` where the queue refuses
    (permission, credentials, no such queue) and :class:`~cropmask.errors.Interrupted` where it
    fails (connection, server error, disk full).
    """

    address: str
    lag_seconds: float
    """How far :meth:`counts` may be behind; with 0, asking for a message costs next to nothing."""

    def send(self, messages: Sequence[Message]) -> int:
        """Send messages in batches; how many were accepted, counted from the first.

        Entries that the queue reports as failed are sent again a few times. It stops at the
        first message that is not accepted; those after it in the same batch may have been, and
        are sent twice if the caller sends the rest again, which is harmless.
        """
        ...

    def lease(self, *, seconds: float, wait_seconds: float = 0) -> Lease | None:
        """Take one message for a while; None if none came within the wait.

        A message that has been received too often goes to the dead letters instead.
        """
        ...

    def renew(self, lease: Lease, seconds: float) -> None:
        """Keep a message for so long from now.

        Raises
        ------
        LeaseLost
            If the lease has ended.
        """
        ...

    def done(self, lease: Lease) -> None:
        """Delete a message; one that is gone already is no error."""
        ...

    def release(self, lease: Lease, delay_seconds: float = 0) -> None:
        """Let others see a message again, after a delay; a lease that has ended is no error."""
        ...

    def park(self, lease: Lease, reason: str, error: str) -> None:
        """Move a message to the dead letters, with the reason.

        Raises
        ------
        LeaseLost
            If the lease has ended; the message stays where it is.
        """
        ...

    def counts(self) -> Counts:
        """How many messages there are."""
        ...

    def dead_letters(self) -> Generator[DeadLetter, None, None]:
        """Every dead letter once; others may not see them until the iterator is used up or closed.

        They stay where they are, unless :meth:`redrive` or :meth:`discard` is called for them.
        """
        ...

    def redrive(self, letter: DeadLetter) -> None:
        """Send a dead letter back as it was; it is deleted only once that was accepted.

        One that is gone by now is no error.
        """
        ...

    def discard(self, letter: DeadLetter) -> None:
        """Delete a dead letter for good."""
        ...

    def check(self) -> None:
        """Receive without keeping anything, to see whether the queue can be used.

        Raises
        ------
        Misconfigured
            If it cannot.
        """
        ...


def note(text: str) -> str:
    """A reason or an error as a queue keeps it: one line, never empty."""
    return one_line(text) or Reason.UNKNOWN


def lease_ended(lease: Lease) -> LeaseLost:
    """Error that every queue raises for a lease that has ended."""
    return LeaseLost(
        f"the lease of message {lease.message_id} has ended: another worker may have it"
    )


def poll(
    take: Callable[[], Lease | None],
    wait_seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Lease | None:
    """First lease that ``take`` gets; None if it gets none within the wait."""
    until = clock() + wait_seconds
    while True:
        lease = take()
        left = until - clock()
        if lease is not None or left <= 0:
            return lease
        sleep(min(_POLL_SECONDS, left))
