"""Signals that ask a worker to stop: heard at once, obeyed when nothing gets lost by it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn


@dataclass(slots=True)
class Stop:
    """Whether somebody wants us to stop; set by a signal, so nothing but a name."""

    why: str | None = None

    def __call__(self) -> str | None:
        """The signal's name, or None."""
        return self.why


def listen(stop: Stop) -> None:
    """Let SIGTERM and the first Ctrl-C be noted, and a second Ctrl-C end the program at once."""

    # A handler runs between any two steps of the main thread, which may hold a lock: it sets a
    # name and neither logs nor raises.
    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(number, _leave)
        stop.why = signal.Signals(number).name

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
