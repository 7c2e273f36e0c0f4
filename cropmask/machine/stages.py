"""Stages of a run: which one is under way, how far it is, and what each of them took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from cropmask.machine.limits import find_resident_memory, release_heap

Progress = Callable[[str, float], None]
"""Told the name of a stage and the share of it that is done, 0 to 1."""
ShareDone = Callable[[float], None]
"""Told the share of one thing that is done, 0 to 1."""
CountDone = Callable[[int, int], None]
"""Told how many of how many are done."""


def tell_nobody(_stage: str, _share: float) -> None:
    """A :data:`Progress` that nobody looks at."""


@dataclass(frozen=True, slots=True)
class StageUse:
    """What one stage took."""

    stage: str
    wall_seconds: float
    cpu_seconds: float
    """Of all threads of the process, those that work for another stage included."""
    bytes: int | None
    """Bytes of pixels read, or of files written, where the stage does either."""
    peak_memory: int
    """Largest resident size while it ran, bytes.

    Exact of a stage that took more than all before it, so the largest of a run is what the system
    says of the whole process; of others the largest that was seen whenever something was told.
    """


class Stages:
    """Stages that follow each other, told to whoever watches and measured; one instance a run.

    ``check`` is called whenever something is told; an exception from it ends the run, such as that
    of a memory guard.
    """

    def __init__(
        self, progress: Progress = tell_nobody, check: Callable[[], None] = lambda: None
    ) -> None:
        self._progress = progress
        self._check = check
        self._uses: list[StageUse] = []
        self._bytes: dict[str, int] = {}
        # Loading the program is a stage too, and only the process itself knows its CPU.
        self._stage = "start"
        self._wall, self._cpu = time.perf_counter(), 0.0
        self._seen = self._peak = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[ShareDone]:
        """A stage as a ``with`` block, which gives a function to tell the share that is done.

        Time until the next stage begins counts to it as well.
        """
        self.tell(name, 0.0)
        yield partial(self.tell, name)
        self._progress(name, 1.0)  # what is done is done, whatever memory it took

    def tell(self, name: str, share: float) -> None:
        """Say how far a stage is; another name than before ends the stage before it."""
        self._enter(name)
        self._look_at_memory()
        self._progress(name, share)
        if share == 0.0:
            release_heap()  # what the stage before has freed is not held for later
        self._check()

    def add_bytes(self, name: str, number: int) -> None:
        """Count bytes that a stage read or wrote; it may have ended."""
        self._bytes[name] = self._bytes.get(name, 0) + number

    def finish(self) -> tuple[StageUse, ...]:
        """End the last stage; what all of them took, in their order."""
        self._enter("")
        return tuple(replace(use, bytes=self._bytes.get(use.stage)) for use in self._uses)

    def _enter(self, name: str) -> None:
        """End the stage that is under way, unless it is this one."""
        if name == self._stage:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        peak = self._look_at_memory()
        self._uses.append(
            StageUse(
                self._stage,
                round(wall - self._wall, 3),
                round(cpu - self._cpu, 3),
                None,
                peak if peak > self._peak else self._seen,
            )
        )
        self._stage, self._wall, self._cpu = name, wall, cpu
        self._seen, self._peak = 0, peak

    def _look_at_memory(self) -> int:
        """Note what is resident now; the largest that the process ever had.

        The system's own mark is never reset: others read it, such as ``/usr/bin/time``.
        """
        now, peak = find_resident_memory()
        self._seen = max(self._seen, now)
        return peak


def format_uses(uses: Iterable[StageUse]) -> str:
    """Table of stages for people, one line each and their sum."""
    uses = list(uses)
    lines = [f"{'stage':<12}{'wall s':>9}{'CPU s':>9}{'MB':>9}{'peak MB':>9}"]
    for use in uses:
        size = "" if use.bytes is None else f"{use.bytes / 1e6:.0f}"
        lines.append(
            f"{use.stage:<12}{use.wall_seconds:>9.2f}{use.cpu_seconds:>9.2f}{size:>9}"
            f"{use.peak_memory / 1e6:>9.0f}"
        )
    wall, cpu = (sum(getattr(u, f"{n}_seconds") for u in uses) for n in ("wall", "cpu"))
    peak = max((use.peak_memory for use in uses), default=0)
    lines.append(f"{'all':<12}{wall:>9.2f}{cpu:>9.2f}{'':>9}{peak / 1e6:>9.0f}")
    return "\n".join(lines)
