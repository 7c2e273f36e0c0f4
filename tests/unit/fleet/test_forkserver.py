"""The process that children are forked from may die while it loads: it is started anew, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cropmask.contract import ExitCode

CROPMASK = Path(sys.executable).with_name("cropmask")
DYING = """
import os, pathlib, signal, sys
tries = pathlib.Path(os.environ["TRIES"])
if "multiprocessing.forkserver" in "".join(sys.orig_argv):
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) <= int(os.environ["DEATHS"]):
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Run by every Python process at its start: what a kill for want of memory looks like."""
AWAIT = (
    "from cropmask.machine.child import *; start_forkserver([]); wait_for_forkserver(); "
    "print('there')"
)


def run(folder: Path, deaths: int, *command: str | Path) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(DYING)
    environ = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "TRIES": str(folder / "tries"),
        "DEATHS": str(deaths),
    }
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(("deaths", "tries"), [(0, "x"), (1, "xx")])
def test_one_that_died_is_started_anew(tmp_path: Path, deaths: int, tries: str) -> None:
    result = run(tmp_path, deaths, sys.executable, "-c", AWAIT)
    assert result.stdout == "there\n", result.stderr
    assert (tmp_path / "tries").read_text() == tries


def test_a_worker_whose_forkserver_always_dies_says_so_in_a_line(tmp_path: Path) -> None:
    result = run(tmp_path, 99, CROPMASK, "worker", "--log-format", "text", "--output", "out")
    assert result.returncode == ExitCode.FAILED
    assert "died while it loaded" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
