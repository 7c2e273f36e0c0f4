"""What each stage of a run takes: wall time, CPU, bytes and peak memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from cropmask.machine.limits import find_resident_peak, reset_peak_memory


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
    """Largest resident size while it ran, bytes."""


class Meter:
    """Takes the time of stages that follow each other; one instance a run."""

    def __init__(self) -> None:
        self._uses: list[StageUse] = []
        self._stage = "start"
        self._bytes: int | None = None
        # Loading the program is a stage too, and only the process itself knows its CPU.
        self._wall, self._cpu = time.perf_counter(), 0.0

    def enter(self, stage: str) -> None:
        """End the current stage and begin another; the same one again goes on."""
        if stage == self._stage:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        self._uses.append(
            StageUse(
                self._stage,
                round(wall - self._wall, 3),
                round(cpu - self._cpu, 3),
                self._bytes,
                find_resident_peak(),
            )
        )
        reset_peak_memory()
        self._stage, self._bytes = stage, None
        self._wall, self._cpu = wall, cpu

    def add_bytes(self, number: int) -> None:
        """Count bytes that the current stage read or wrote."""
        self._bytes = (self._bytes or 0) + number

    def finish(self) -> tuple[StageUse, ...]:
        """End the last stage; what all of them took."""
        self.enter("")
        return tuple(self._uses)


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
