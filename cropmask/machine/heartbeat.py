"""A file that says that a worker is alive, and since when it has made no progress."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from cropmask.contract import HEARTBEAT_SECONDS

log = logging.getLogger(__name__)


class Repeated:
    """Calls something again and again, from a thread of its own, as long as a block runs.

    Leaving the block waits for nothing; :meth:`wait` does, for a call that is under way.
    """

    def __init__(
        self, action: Callable[[], None], seconds: float, *, name: str = "repeated"
    ) -> None:
        self._action = action
        self._seconds = seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()

    def wait(self) -> None:
        """Wait until no call is under way; after the block there will be none."""
        self._thread.join()

    def _repeat(self) -> None:
        while not self._end.wait(self._seconds):
            self._action()


class Heartbeat:
    """Rewrites a file from a thread of its own; :mod:`cropmask.machine.liveness` reads it.

    The age of the file is how long the process has been silent. In it stands how long nothing had
    moved when it was written, by a clock that nobody sets.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        seconds: float = HEARTBEAT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._clock = clock
        self._moved = (clock(), "starting")
        self._told = False
        self._beats = Repeated(self.write, seconds, name="heartbeat")

    def __enter__(self) -> Self:
        self.write()
        self._beats.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._beats.__exit__()
        self._beats.wait()

    def progress(self, doing: str) -> None:
        """Note that something has moved, and what."""
        self._moved = (self._clock(), doing)

    def write(self) -> None:
        """Write the file now; a disk that refuses is told once and no reason to stop working."""
        if self._path is None:
            return
        since, doing = self._moved
        content = {"pid": os.getpid(), "doing": doing, "idle_seconds": self._clock() - since}
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            # Renamed when it is whole: a probe may read at any moment.
            part.write_text(json.dumps(content), encoding="utf-8")
            part.replace(self._path)
        except OSError as error:
            if not self._told:
                log.warning("no heartbeat: %s cannot be written: %s", self._path, error.strerror)
            self._told = True
