"""Limits of the container, as cgroup v2 and v1 write them."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cropmask.errors import Interrupted, Misconfigured, OutOfMemory
from cropmask.machine.limits import (
    find_anonymous_memory,
    find_cpus,
    find_memory_limit,
    find_peak_memory,
    open_workspace,
    parse_memory,
)
from cropmask.machine.stages import Stages, format_uses
from cropmask.tile.memory import guard_memory


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4GB", 4e9), ("1.2 gb", 1.2e9), ("2Gi", 2**31), ("800M", 8e8), ("512MiB", 2**29), ("7", 7)],
)
def test_amounts_of_memory(text: str, expected: float) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "0", "4 bananas", "4TB", "nan", "9" * 400, "0.0001"]
)
def test_no_amounts_of_memory(text: str) -> None:
    with pytest.raises(Misconfigured, match="4GB"):
        parse_memory(text)


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text + "\n")


@pytest.mark.parametrize(
    ("line", "folder", "name"),
    [("0::/a/b", "", "memory.max"), ("4:memory:/a/b", "memory/", "memory.limit_in_bytes")],
)
def test_memory_limits_of_our_own_group_and_of_those_around_it(
    tmp_path: Path, line: str, folder: str, name: str
) -> None:
    groups = tmp_path / "groups"
    groups.write_text(f"1:cpu:/c\n{line}\n")
    assert find_memory_limit(tmp_path, groups) is None
    put(tmp_path, f"{folder}a/b/{name}", "500")
    assert find_memory_limit(tmp_path, groups) == 500
    put(tmp_path, f"{folder}a/{name}", "400")
    assert find_memory_limit(tmp_path, groups) == 400
    put(tmp_path, f"{folder}a/{name}", str(2**63 - 4096))
    put(tmp_path, f"{folder}{name}", "600")
    assert find_memory_limit(tmp_path, groups) == 500


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


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_workspace_is_plain_memory(on_disk: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    work = open_workspace((300, 500), on_disk=on_disk)
    work[:] = np.arange(500)
    assert work.flags.c_contiguous
    assert work.reshape(-1).view(np.int16).size == 2 * work.size
    assert int(work.sum()) == 300 * 499 * 250
    assert list(tmp_path.iterdir()) == []  # the file has no name


def test_a_workspace_on_disk_is_no_anonymous_memory() -> None:
    before = find_anonymous_memory()
    work = open_workspace((4000, 5000), on_disk=True)
    work[:] = 1
    assert find_anonymous_memory() - before < 10_000_000


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(Interrupted, match="TMPDIR"):
        open_workspace((10, 10), on_disk=True)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its page faults")
def test_buffers_of_some_megabytes_are_not_made_anew_each_time() -> None:
    """What GDAL's threads do for each block of an overview; in a process of its own."""
    program = """
import resource, threading
import numpy as np
from cropmask.machine.limits import keep_heap_small
keep_heap_small()
def work():
    for _ in range(50):
        np.empty(8_000_000, np.uint8)[::4096] = 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    pages = 2 * 50 * 8_000_000 / 4096
    assert int(ran.stdout) < pages / 10


def test_stages_are_metered_one_by_one() -> None:
    told: list[tuple[str, float]] = []
    stages = Stages(lambda name, share: told.append((name, share)))
    # Pages of its own: the heap of a long-lived process may have that much resident already.
    with stages.stage("big") as tell, mmap.mmap(-1, 40_000_000) as block:
        block.write(b"\1" * len(block))
        tell(0.5)
    stages.add_bytes("big", 40_000_000)
    with stages.stage("small"):
        pass
    stages.tell("small", 1.0)
    uses = stages.finish()
    assert stages.finish() == uses
    assert told == [("big", 0), ("big", 0.5), ("big", 1), ("small", 0), ("small", 1), ("small", 1)]
    assert [use.stage for use in uses] == ["start", "big", "small"]
    assert uses[1].bytes == 40_000_000
    assert uses[2].bytes is None
    assert uses[0].peak_memory > 0
    if sys.platform == "linux":
        assert uses[1].peak_memory - uses[2].peak_memory > 20_000_000
    lines = format_uses(uses).splitlines()
    assert len(lines) == 5
    assert lines[2].split()[0] == "big"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems say no peak of a stage")
def test_the_largest_peak_is_what_others_measure() -> None:
    """A process between us and the measured one: a child begins with its launcher's peak."""
    measured = """
import mmap, sys
from cropmask.machine.stages import Stages
stages = Stages()
for name, size in (("small", 2), ("large", 250), ("again", 20)):
    with stages.stage(name), mmap.mmap(-1, size << 20) as block:
        block.write(bytes([1]) * (1 << 20) * size)
print(*(use.peak_memory for use in stages.finish()))
"""
    outside = """
import resource, subprocess, sys
print(subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, text=True).stdout)
print(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    ran = subprocess.run(
        [sys.executable, "-c", outside, measured], capture_output=True, text=True, check=True
    )
    *uses, peak = map(int, ran.stdout.split())
    start, small, large, again = uses
    assert max(uses) == large == pytest.approx(peak, rel=0.03)
    assert start <= small
    assert again < large - (200 << 20)


def test_a_stage_that_fails_is_not_told_to_be_done() -> None:
    told: list[tuple[str, float]] = []
    stages = Stages(lambda name, share: told.append((name, share)))
    with pytest.raises(ValueError, match="no"), stages.stage("read"):
        raise ValueError("no")
    assert told == [("read", 0.0)]


def test_the_guard_ends_a_run_that_grew_over_its_limit_but_not_one_that_is_done() -> None:
    grown: list[str] = []

    def check() -> None:
        if grown:
            raise OutOfMemory("too much")

    stages = Stages(check=check)
    with pytest.raises(OutOfMemory), stages.stage("classify") as tell:  # noqa: PT012
        grown.append("much")
        tell(0.5)
    grown.clear()
    with stages.stage("write"):
        grown.append("much")  # what is published is done, whatever memory it took
    with pytest.raises(OutOfMemory, match=r"limit is 0\.00 GB"):
        guard_memory(1)
    guard_memory(None)
