"""A control group with a memory limit, inside the one that the tests run in."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def open_memory_group(limit: int) -> Iterator[Path]:
    """File that a process writes 0 to, to enter the group; the test skips where none can be made.

    Every process in it must be gone at the end.
    """
    try:
        folder, limits = _place()
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error}): real kills need one")
    try:
        try:
            for name, value in limits.items():
                if (folder / name).exists() or name in ("memory.max", "memory.limit_in_bytes"):
                    (folder / name).write_text(str(value or limit))
        except OSError as error:
            pytest.skip(f"no memory limit can be set here ({error}): real kills need one")
        yield folder / "cgroup.procs"
    finally:
        _remove(folder)


def _place() -> tuple[Path, dict[str, int | str]]:
    """Folder to make, and what to write: limits of memory without swap; 0 stands for the limit."""
    groups = Path("/proc/self/cgroup").read_text(encoding="ascii")
    own = dict(re.findall(r"^\d+:(memory|):/(.*)$", groups, re.MULTILINE))
    name = f"cropmask-test-{os.getpid()}"
    if "memory" in own:
        limits: dict[str, int | str] = {
            "memory.limit_in_bytes": 0,
            "memory.memsw.limit_in_bytes": 0,
        }
        return _ROOT / "memory" / own["memory"] / name, limits
    return _ROOT / own.get("", "") / name, {"memory.swap.max": "0", "memory.max": 0}


def _remove(folder: Path) -> None:
    for _ in range(100):  # processes that were killed leave it a moment later
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return
