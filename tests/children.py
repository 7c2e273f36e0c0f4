"""What children of tests do instead of computing a tile."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

from cropmask.errors import Rejected
from cropmask.fleet.attempt import ChildWork, PublishRequest, StageReport
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.records import State
from cropmask.machine.child import Parent

DONE = Outcome(state=State.SUCCEEDED, item="item", run_key="ab")


def succeed(parent: Parent, work: ChildWork) -> None:
    parent.tell(StageReport("classify", 0.5))
    parent.tell(DONE)


def reject(parent: Parent, work: ChildWork) -> None:
    parent.tell(Outcome(error=Rejected("no GeoMAD", reason="missing geomad")))


def publish(parent: Parent, work: ChildWork) -> None:
    """Write the item where the test looks for it, once that is allowed."""
    refusal = parent.ask(PublishRequest())
    if refusal is None:
        Path(work.order.task.region).write_text("item")
        parent.tell(DONE)


def hang(parent: Parent, work: ChildWork) -> None:
    """Work for ever, deaf to SIGTERM, with a file half written."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (work.folder / "half").write_bytes(b"x" * 1000)
    parent.tell(StageReport("classify", 0.1))
    while True:
        time.sleep(0.05)


def clean_up(parent: Parent, work: ChildWork) -> None:
    """Work for ever, and tidy up when stopped."""
    mark = Path(work.order.task.region)
    try:
        mark.write_text("begun")
        parent.tell(StageReport("classify", 0.1))
        while True:
            time.sleep(0.05)
    finally:
        mark.write_text("tidy")


def crash(parent: Parent, work: ChildWork) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(parent: Parent, work: ChildWork) -> None:
    os._exit(7)


def be_killed(parent: Parent, work: ChildWork) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def grow(parent: Parent, work: ChildWork) -> None:
    """Take memory in steps, up to what no test should let it."""
    kept = []
    while len(kept) < 128:
        kept.append(bytearray(b"x") * (8 << 20))
        time.sleep(0.02)
    parent.tell(DONE)


def report(parent: Parent, work: ChildWork) -> None:
    """Tell what the child is like."""
    adjust = Path("/proc/self/oom_score_adj").read_text().strip()
    burn = time.process_time() + 0.3
    while time.process_time() < burn:
        pass
    parent.tell(Outcome(state=State.SUCCEEDED, item=adjust, run_key=str(os.getppid())))
