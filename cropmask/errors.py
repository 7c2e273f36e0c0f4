"""The tree of errors: each tells one person one thing to do.

::

    CropmaskError
    ├── Rejected              the task is wrong: never retried                exit 3
    │   └── Misconfigured     configuration or credentials: stop everything   exit 13
    └── Interrupted           the world failed: a retry may help              exit 10
        ├── LeaseLost         another worker has the task now                exit 10
        ├── Drained           SIGTERM arrived; the work was returned          exit 4
        ├── TimedOut          the time limit of the attempt was exceeded      exit 11
        └── OutOfMemory       the memory limit of the attempt was exceeded    exit 12

The message is one line: what is wrong, then what to do about it.
"""

from __future__ import annotations

from typing import ClassVar, Final

from cropmask.contract import ExitCode

MAX_MESSAGE: Final = 800
"""Characters of a message; what is longer loses its middle."""


class CropmaskError(Exception):
    """Base of every error that a user may see; ``reason`` groups failures in reports."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(one_line(message))
        self.reason = reason or type(self).__name__.lower()


def one_line(message: str) -> str:
    """A message that fits a line and a terminal, whatever the documents that it quotes hold."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in " ".join(message.split()))
    if len(plain) <= MAX_MESSAGE:
        return plain
    half = MAX_MESSAGE // 2
    return f"{plain[:half]} ... {plain[-half:]}"


class Rejected(CropmaskError):
    """The task can never succeed as it is: recorded with its reason, not retried."""

    exit_code = ExitCode.REJECTED


class Misconfigured(Rejected):
    """The configuration or the credentials are wrong: no task of this job can succeed."""

    exit_code = ExitCode.MISCONFIGURED


class Interrupted(CropmaskError):
    """The world failed, not the task: another attempt may succeed."""

    exit_code = ExitCode.FAILED


class LeaseLost(Interrupted):
    """The lease of the message has ended: another worker may have the task now."""


class Drained(Interrupted):
    """SIGTERM arrived before the task was done."""

    exit_code = ExitCode.DRAINED


class TimedOut(Interrupted):
    """The attempt took longer than it may."""

    exit_code = ExitCode.TIMED_OUT


class OutOfMemory(Interrupted):
    """The attempt needed more memory than it may use."""

    exit_code = ExitCode.MEMORY
