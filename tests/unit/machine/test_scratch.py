"""Temporary folders outlive nobody."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cropmask.errors import Interrupted
from cropmask.machine import scratch
from cropmask.machine.scratch import open_folder, open_scratch

HOLD = """
import sys, time
from pathlib import Path
from cropmask.machine.scratch import open_folder, open_scratch
with open_scratch(Path(sys.argv[1])) as scratch, open_folder(scratch) as folder:
    (folder / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_everything_is_removed(tmp_path: Path) -> None:
    with open_scratch(tmp_path) as scratch:
        with open_folder(scratch) as one, open_folder(scratch) as two:
            assert one != two
            (one / "deep").mkdir()
            (one / "deep" / "file").write_text("x")
        assert not one.exists()
        assert not two.exists()
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_what_lives_is_not(tmp_path: Path) -> None:
    (tmp_path / "cropmask-other").mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        living = names(tmp_path)
        assert len(living) == 2
        with open_scratch(tmp_path) as scratch:
            assert names(tmp_path) == sorted([*living, scratch.name])
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == living
    with open_scratch(tmp_path) as scratch:
        assert names(tmp_path) == sorted(["cropmask-other", scratch.name])


def test_no_room_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="no temporary folder"), open_scratch(tmp_path / "none"):
        pass
    with (
        pytest.raises(Interrupted, match="no temporary folder"),
        open_folder(tmp_path / "none"),
    ):
        pass


def test_a_folder_that_is_taken_for_abandoned_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers start at the same moment: one looks while the other has not locked yet."""
    real, calls = fcntl.flock, []

    def flock(lock: int, operation: int) -> None:
        calls.append(operation)
        if len(calls) == 1:
            scratch._remove_abandoned(tmp_path)
        real(lock, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with open_scratch(tmp_path) as folder:
        assert folder.is_dir()
        scratch._remove_abandoned(tmp_path)
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())


def test_what_an_orphan_writes_meanwhile_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "cropmask-worker-dead"
    (left / "attempt-1").mkdir(parents=True)
    (left / ".lock").touch()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with open_scratch(tmp_path):
            pass
    assert (left / ".lock").exists()
    with open_scratch(tmp_path):
        assert not left.exists()
