"""Kills for want of memory, as cgroup v2 and v1 count them, and what a killed child means."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cropmask.contract import ExitCode
from cropmask.errors import Interrupted, OutOfMemory
from cropmask.fleet.attempt import _explain
from cropmask.machine.child import ProcessUse
from cropmask.machine.limits import find_oom_kills

V2 = "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"


def test_kills_are_counted_by_either_version(tmp_path: Path) -> None:
    assert find_oom_kills(tmp_path, tmp_path) == 0
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.oom_control").write_text(V1)
    assert find_oom_kills(tmp_path, tmp_path) == 5
    (tmp_path / "memory.events").write_text(V2)
    assert find_oom_kills(tmp_path, tmp_path) == 2


def test_kills_of_our_own_group_count_where_it_is_seen(tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    groups.write_text("4:memory:/pods/one\n1:cpu:/\n0::/\n")
    (tmp_path / "memory" / "pods" / "one").mkdir(parents=True)
    (tmp_path / "memory" / "memory.oom_control").write_text(V1)
    assert find_oom_kills(tmp_path, groups) == 5
    own = tmp_path / "memory" / "pods" / "one" / "memory.oom_control"
    own.write_text("oom_kill 1\n")
    assert find_oom_kills(tmp_path, groups) == 1
    groups.write_text("0::/slice/two\n")
    (tmp_path / "slice" / "two").mkdir(parents=True)
    (tmp_path / "memory.events").write_text(V2)
    (tmp_path / "slice" / "two" / "memory.events").write_text("oom_kill 9\n")
    assert find_oom_kills(tmp_path, groups) == 9


@pytest.mark.parametrize(
    ("oom_killed", "memory", "limit", "kind", "code"),
    [
        (True, 10, None, OutOfMemory, ExitCode.MEMORY),
        (False, 95, 100, OutOfMemory, ExitCode.MEMORY),
        (False, 10, 100, Interrupted, ExitCode.FAILED),
        (False, 95, None, Interrupted, ExitCode.FAILED),
    ],
)
def test_a_kill_is_put_down_to_memory_if_there_was_none_left(
    oom_killed: bool, memory: int, limit: int | None, kind: type, code: ExitCode
) -> None:
    error = _explain(-signal.SIGKILL, oom_killed, ProcessUse(1.0, memory, memory), limit)
    assert type(error) is kind
    assert error.exit_code is code
