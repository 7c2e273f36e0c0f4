"""Limits of the container, as cgroup v2 and v1 write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cropmask.errors import Misconfigured
from cropmask.io.machine import (
    find_anonymous_memory,
    find_cpus,
    find_memory_limit,
    find_peak_memory,
    parse_memory,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4GB", 4e9), ("1.2 gb", 1.2e9), ("2Gi", 2**31), ("800M", 8e8), ("512MiB", 2**29), ("7", 7)],
)
def test_amounts_of_memory(text: str, expected: float) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "4 bananas", "4TB", "nan"])
def test_no_amounts_of_memory(text: str) -> None:
    with pytest.raises(Misconfigured, match="4GB"):
        parse_memory(text)


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text + "\n")


def test_memory_limits(tmp_path: Path) -> None:
    assert find_memory_limit(tmp_path) is None
    put(tmp_path, "memory/memory.limit_in_bytes", "9223372036854771712")  # v1's "no limit"
    assert find_memory_limit(tmp_path) is None
    put(tmp_path, "memory/memory.limit_in_bytes", "3000000000")
    assert find_memory_limit(tmp_path) == 3_000_000_000
    put(tmp_path, "memory.max", "2000000000")
    assert find_memory_limit(tmp_path) == 2_000_000_000
    put(tmp_path, "memory.max", "max")
    assert find_memory_limit(tmp_path) == 3_000_000_000


def test_cpu_limits(tmp_path: Path) -> None:
    free = len(os.sched_getaffinity(0))
    assert find_cpus(tmp_path) == free
    put(tmp_path, "cpu/cpu.cfs_quota_us", "-1")
    put(tmp_path, "cpu/cpu.cfs_period_us", "100000")
    assert find_cpus(tmp_path) == free
    put(tmp_path, "cpu/cpu.cfs_quota_us", "100000")
    assert find_cpus(tmp_path) == 1
    put(tmp_path, "cpu.max", "max 100000")
    assert find_cpus(tmp_path) == free
    put(tmp_path, "cpu.max", "20000 100000")
    assert find_cpus(tmp_path) == 1


def test_memory_of_this_process() -> None:
    before = find_anonymous_memory()
    block = bytearray(b"x" * 50_000_000)
    assert find_anonymous_memory() - before > 40_000_000
    assert find_peak_memory() >= len(block)
