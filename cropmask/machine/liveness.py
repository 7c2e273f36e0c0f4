"""Whether a worker is alive, for a liveness probe: ``python -m cropmask.machine.liveness FILE``.

Standard library only, so that a probe costs a few hundredths of a second.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cropmask.contract import HEARTBEAT_LATE_SECONDS


@dataclass(frozen=True, slots=True)
class Pulse:
    """Two ages of a heartbeat file, seconds."""

    silent_seconds: float
    """Since the worker's process last wrote."""
    idle_seconds: float
    """Since anything last moved: a stage, a tile, an empty poll."""
    doing: str


def load_pulse(path: Path, now: float | None = None) -> Pulse:
    """Ages of a heartbeat file.

    Raises OSError if the file cannot be read; ValueError if it is no heartbeat.
    """
    moment = time.time() if now is None else now
    silent = max(0.0, moment - path.stat().st_mtime)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Pulse(silent, silent + float(content["idle_seconds"]), str(content["doing"]))
    except (KeyError, TypeError):
        raise ValueError(f"{path} is no heartbeat") from None


def main(arguments: list[str]) -> int:
    """Print both ages; 1 if the file is older than a live worker lets it become, or absent."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m cropmask.machine.liveness FILE\n")
        return 2
    try:
        pulse = load_pulse(Path(arguments[0]))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"no heartbeat: {error}\n")
        return 1
    sys.stdout.write(
        f"alive {pulse.silent_seconds:.0f} s ago, "
        f"progress {pulse.idle_seconds:.0f} s ago: {pulse.doing}\n"
    )
    return int(pulse.silent_seconds > HEARTBEAT_LATE_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
