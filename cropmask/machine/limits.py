"""What this process may use: CPUs and memory, as the container says, else the machine."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.errors import Interrupted, Misconfigured, Reason

_CGROUP: Final = Path("/sys/fs/cgroup")
_GROUPS: Final = Path("/proc/self/cgroup")
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_UNLIMITED: Final = 1 << 60
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGE: Final = 16 << 20


def parse_memory(text: str) -> int:
    """Bytes of a size such as ``4GB``, ``1.2GB``, ``2Gi`` or ``800M``.

    Raises Misconfigured if the text is no such size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", text.upper())
    size = float(match[1]) * _UNITS[match[2] or ""] if match else 0.0
    if not 1 <= size < _UNLIMITED:
        raise Misconfigured(f"'{text}' is not an amount of memory: write it like 4GB")
    return int(size)


def find_memory_limit(root: Path = _CGROUP, groups: Path = _GROUPS) -> int | None:
    """Memory limit of the container in bytes (cgroup v2, then v1); None without one.

    Where the groups of the machine are seen, the least of our own group's and of those around it.
    """
    own = _find_own_groups(groups)
    for kind, folder, name in (
        ("", root, "memory.max"),
        ("memory", root / "memory", "memory.limit_in_bytes"),
    ):
        group = Path(own.get(kind, ""))
        texts = [_read(folder / part / name) or "" for part in (group, *group.parents)]
        limits = [int(text) for text in texts if text.isdigit() and int(text) < _UNLIMITED]
        if limits:
            return min(limits)
    return None


def _find_own_groups(groups: Path) -> dict[str, str]:
    """Paths of our own control groups by controller: of memory in v1, and of "" for v2."""
    return dict(re.findall(r"^\d+:(memory|):/(.*)$", _read(groups) or "", re.MULTILINE))


def find_cpus(root: Path = _CGROUP) -> int:
    """CPUs that this process may use, at least 1 (cgroup v2, then v1, then its affinity)."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = _read(root / "cpu.max")
    words = (
        quota.split()
        if quota
        else [_read(root / f"cpu/cpu.cfs_{name}_us") or "max" for name in ("quota", "period")]
    )
    if len(words) == 2 and all(re.fullmatch(r"[1-9]\d*", word) for word in words):
        allowed = min(allowed, max(1, round(int(words[0]) / int(words[1]))))
    return allowed


def find_oom_kills(root: Path = _CGROUP, groups: Path = _GROUPS) -> int:
    """Processes of this container that the kernel has killed for want of memory (v2, then v1).

    Outside a container, or in one that sees the groups of its machine, those of our own group.
    """
    own = _find_own_groups(groups)
    for name in (
        Path(own.get("", ""), "memory.events"),
        Path("memory.events"),
        Path("memory", own.get("memory", ""), "memory.oom_control"),
        Path("memory", "memory.oom_control"),
    ):
        match = re.search(r"^oom_kill (\d+)$", _read(root / name) or "", re.MULTILINE)
        if match:
            return int(match[1])
    return 0


def find_peak_memory() -> int:
    """Largest resident size of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


def find_anonymous_memory() -> int:
    """Memory of this process that no file backs, bytes: what a container's limit counts."""
    status = _read(Path("/proc/self/status")) or ""
    match = re.search(r"^RssAnon:\s*(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else find_peak_memory()


def keep_heap_small() -> None:
    """Have glibc return large arrays to the system at once, and share few heaps among threads.

    By default it keeps freed arrays of up to 32 MB for later, in a heap per thread: half a
    gigabyte of nothing while a tile is read. Much smaller limits are dear: GDAL's threads take
    some megabytes for each block of an overview, and each time its pages would be made anew.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
        libc.mallopt(_M_ARENA_MAX, 2)


def release_heap() -> None:
    """Return what the heaps hold for later to the system: after a stage, before a larger one."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library where it has the calls of glibc."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def find_resident_memory() -> tuple[int, int]:
    """Resident size of this process in bytes: now, and the largest so far.

    The latter not from ``getrusage`` on Linux, where a child begins with the peak of the process
    that launched it. Where there is no ``/proc``, the largest size stands for both.
    """
    status = _read(Path("/proc/self/status")) or ""
    sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s*(\d+) kB", status, re.MULTILINE))
    if len(sizes) < 2:
        return (find_peak_memory(),) * 2
    now, peak = int(sizes["VmRSS"]) * 1024, int(sizes["VmHWM"]) * 1024
    return now, max(now, peak)


def open_workspace(shape: tuple[int, int], *, on_disk: bool) -> NDArray[np.int32]:
    """Memory for the largest array of a tile ``(y, x)``, from a nameless file if asked for.

    What is on disk does not count as memory that a container could run out of.

    Raises Interrupted if the disk of the temporary folder is full.
    """
    if not on_disk:
        return np.empty(shape, np.int32)
    size = 4 * shape[0] * shape[1]
    with tempfile.TemporaryFile(prefix="cropmask-") as file:
        try:
            file.truncate(size)
            # A hole that cannot be filled later would be a crash: claim the space now.
            if sys.platform == "linux":
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise Interrupted(
                f"no room for {size / 1e6:.0f} MB in {folder} ({error.strerror}): set TMPDIR to "
                "a larger disk, or give --memory more",
                reason=Reason.DISK,
            ) from None
        return np.memmap(file, np.int32, "r+", shape=shape)
