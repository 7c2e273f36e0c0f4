"""What all benchmarks share: child processes that are measured, the machine, tables, options."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from cropmask.machine.limits import find_cpus, find_resident_memory

Result = dict[str, Any]
"""What a benchmark found: JSON's types only."""

REPOSITORY: Final = Path(__file__).parents[1]
SHARED: Final = Path(
    os.environ.get("CROPMASK_SHARED_DATA") or REPOSITORY.parent / "shared" / "data"
)
"""Published data beside the repository, if it is there."""
SAMPLES: Final = SHARED / "training" / "eastern.txt"
"""Published samples of Eastern Africa."""

ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one whole process took, start and end included."""

    cpu: float
    """CPU seconds, user and system."""
    wall: float
    """Seconds from launch to exit."""
    peak: int
    """Largest resident size, bytes."""
    answer: Result
    """What the process found out itself."""


def run_module(name: str, request: Mapping[str, Any]) -> Usage:
    """Run ``python -m name`` in a process of its own and measure it.

    The module gets ``request`` as JSON in its argument and calls :func:`answer` at its end.
    Libraries of linear algebra get one thread, so that only the asked threads compute.

    Raises
    ------
    SystemExit
        If the process fails; it has said why.
    """
    with tempfile.TemporaryFile("w+") as out:
        launched = time.time()
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", name, json.dumps({**request, "launched": launched})],
            stdin=subprocess.DEVNULL,
            stdout=out,
            cwd=REPOSITORY,
            env=os.environ | ONE_THREAD,
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"python -m {name} ended with {process.returncode}")
        out.seek(0)
        found = json.loads(out.read().splitlines()[-1])
    return Usage(used.ru_utime + used.ru_stime, wall, found.pop("peak"), found)


def answer(found: Mapping[str, Any]) -> None:
    """Tell :func:`run_module` what this process found."""
    print(json.dumps({**found, "peak": find_resident_memory()[1]}))


class StageClock:
    """CPU seconds by stage: the time since the last call belongs to the stage of this one."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {"start": time.process_time()}
        self._last = time.process_time()

    def __call__(self, stage: str) -> None:
        """Close a part of a stage."""
        now = time.process_time()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last = now


def describe_machine() -> Result:
    """The machine and what decides about speed on it."""
    return {
        "cpu": _find_cpu(),
        "cpus": find_cpus(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    } | {name: version(name) for name in ("numpy", "numba", "scikit-learn", "rasterio")}


def _find_cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = {
        key: match[1].strip()
        for key in ("model name", "cpu family", "model")
        if (match := re.search(rf"^{key}\s*:(.*)$", text, re.MULTILINE))
    }
    name = fields.get("model name", platform.machine())
    flags = " AVX-512" if re.search(r"^flags.*\bavx512f\b", text, re.MULTILINE) else ""
    place = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
    return f"{name} ({place}{flags})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Table in markdown; the first column is text, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def threads_text(count: int) -> str:
    """Number of threads in words."""
    return "1 thread" if count == 1 else f"{count} threads"


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers of an option, such as ``1200,2400``."""
    return tuple(int(word) for word in text.split(","))


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """Parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=(doc or "").strip(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, for a first look")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write the results there")
    return parser


def put_results(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write results with the machine that they are from; nothing without a path."""
    if path is not None:
        document = {"machine": describe_machine(), **results}
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def show(name: str, measure: Callable[[], Result], report: Callable[[Result], str]) -> Result:
    """Measure, print the report under a heading, and return what was found."""
    began = time.perf_counter()
    found = measure()
    print(f"\n## {name}\n\n{report(found)}\n", flush=True)
    print(f"(took {time.perf_counter() - began:.0f} s)", file=sys.stderr, flush=True)
    return found
