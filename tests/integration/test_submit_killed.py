"""``cropmask submit`` killed for real between two batches, then given again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cropmask.queue.folder import FolderQueue
from tests.regions import NAME, block, make_region

# Slow enough to be killed while it sends: a batch of five every 20 ms.
SLOWLY = """
import time
import cropmask.operate.submit
from cropmask.cli.main import main
from cropmask.queue.folder import FolderQueue

cropmask.operate.submit.BATCH = 5
send = FolderQueue.send

def send_slowly(self, messages):
    time.sleep(0.02)
    return send(self, messages)

FolderQueue.send = send_slowly
main()
"""
DEADLINE = 120


@pytest.mark.slow
def test_sigkill_between_batches_and_the_same_command_again(tmp_path: Path) -> None:
    tiles = block(12, 12)
    world = make_region(tmp_path / "world", tiles)
    command = [
        *(sys.executable, "-c", SLOWLY, "submit", "--run", "killed", "--region", str(world.region)),
        *("--catalog", str(world.catalog), "--output", str(tmp_path / "out")),
    ]
    document = tmp_path / "out/_runs" / f"crop_mask_{NAME}" / "2019--P1Y/killed/run.json"

    def sent() -> int:
        return json.loads(document.read_text())["sent"] if document.exists() else 0

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    end = time.monotonic() + DEADLINE
    while sent() < 10:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    known = sent()
    assert 10 <= known < len(tiles)

    again = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert "144 tiles" in again.stdout
    assert sent() == len(tiles)
    queue = FolderQueue(tmp_path / "out/_queue")
    received = []
    while (lease := queue.lease(seconds=600)) is not None:
        received.append(json.loads(lease.message.body)["tile"])
    assert set(received) == {str(tile) for tile in tiles}
    assert len(received) <= len(tiles) + 5, "only the batch under way may come twice"
