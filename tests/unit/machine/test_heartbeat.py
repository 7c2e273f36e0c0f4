"""The heartbeat, and the probe that reads it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cropmask.contract import HEARTBEAT_LATE_SECONDS
from cropmask.machine.heartbeat import Heartbeat
from cropmask.machine.liveness import load_pulse, main
from tests.workers import Time


def test_alive_and_progress_are_two_ages(tmp_path: Path) -> None:
    clock = Time()
    file = tmp_path / "beat"
    with Heartbeat(file, clock=clock) as pulse:
        clock.now += 50
        pulse.progress("x010y020 classify")
        clock.now += 7
        pulse.write()
    now = file.stat().st_mtime
    found = load_pulse(file, now + 3)
    assert (found.silent_seconds, found.idle_seconds) == pytest.approx((3, 10), abs=0.1)
    assert found.doing == "x010y020 classify"
    assert load_pulse(file, now - 1000).silent_seconds == 0  # a clock that was set back


def test_it_beats_while_nothing_moves(tmp_path: Path) -> None:
    file = tmp_path / "beat"
    with Heartbeat(file, seconds=0.05):
        first = file.stat().st_mtime_ns
        end = time.monotonic() + 20
        while file.stat().st_mtime_ns == first:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["beat"]


def test_a_place_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Heartbeat(tmp_path / "none" / "beat") as pulse:
        pulse.write()
    assert caplog.text.count("no heartbeat") == 1
    with Heartbeat(None) as quiet:
        quiet.progress("nothing")


def test_the_probe_says_both_and_ends_with_1_when_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "beat"
    with Heartbeat(file):
        pass
    assert main([str(file)]) == 0
    assert capsys.readouterr().out.startswith("alive 0 s ago, progress 0 s ago: starting")
    old = time.time() - HEARTBEAT_LATE_SECONDS - 5
    os.utime(file, (old, old))
    assert main([str(file)]) == 1
    assert main([str(tmp_path / "none")]) == 1
    for text in ("", "[]", "{}", '{"idle_seconds": null, "doing": "x"}'):
        file.write_text(text)
        assert main([str(file)]) == 1
    assert main([]) == main(["--help"]) == 2


def test_the_probe_needs_the_standard_library_only(tmp_path: Path) -> None:
    file = tmp_path / "beat"
    with Heartbeat(file):
        pass
    program = (
        "import runpy, sys; sys.argv[1:] = sys.argv[1:]\n"
        "try: runpy.run_module('cropmask.machine.liveness', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'numpy', 'boto3', 'pydantic', 'click'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))"
    )
    subprocess.run([sys.executable, "-c", program, str(file)], check=True, timeout=60)
