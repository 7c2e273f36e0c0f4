"""A campaign with real workers of its own: killed once, stopped once, and done all the same."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cropmask.contract import ExitCode
from tests.workerprocess import CROPMASK, RegionWorld, make_region_world, until

RUN = "night"


def start(world: RegionWorld, output: Path) -> subprocess.Popen[str]:
    words = ["--region", world.region, "--period", "2019", "--model", "boosted", "--run", RUN]
    words += ["--resolution", "100", "--canary", "2", "--workers-here", "1", "--json"]
    command = [str(CROPMASK), "campaign", *words, "--output", str(output), *world.options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def sent(output: Path) -> int:
    """Tasks that are known to be in the queue; -1 before there is a run."""
    for file in output.glob(f"_runs/*/*/{RUN}/run.json"):
        found: dict[str, Any] = json.loads(file.read_text())
        return int(found["sent"])
    return -1


def interrupt(
    world: RegionWorld, output: Path, number: int, reached: Callable[[], bool]
) -> tuple[int, str]:
    """Begin or go on, and send a signal as soon as something is so; exit code and stderr."""
    process = start(world, output)
    until(lambda: reached() or process.poll() is not None, 60, "what was waited for")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.faults
@pytest.mark.timeout(240)
def test_a_campaign_that_is_killed_and_stopped_is_done_in_the_end(tmp_path: Path) -> None:
    world, output = make_region_world(tmp_path / "world", 4), tmp_path / "output"
    code, _ = interrupt(world, output, signal.SIGKILL, lambda: sent(output) == 2)
    assert code == -signal.SIGKILL
    code, said = interrupt(world, output, signal.SIGTERM, lambda: sent(output) == 4)
    assert code == ExitCode.DRAINED, said
    process = start(world, output)
    document, said = process.communicate(timeout=120)
    assert process.returncode == ExitCode.DONE, said
    found = json.loads(document)
    assert found["done"]
    details = {one["step"]: one["detail"] for one in found["steps"]}
    assert details["canary"] == "2 tiles passed"
    assert details["reconcile"] == "4 of 4 results are there"
    assert len(list(output.rglob("*.stac-item.json"))) == 4
