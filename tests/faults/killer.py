"""A program that starts ``cropmask-job`` again and again, and kills it at a chosen write.

It loads the program once; every job is a process of its own, forked from it, that runs the real
``main``. Writes are counted by hooks around the standard library and botocore: the product knows
nothing of them. Each line of standard input is one job; the answer is one line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

STEPS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir")


class Counter:
    """Counts steps that change the store, and dies before the chosen one, or in its middle."""

    def __init__(self, kill_before: int | None, half: bool, log: Path) -> None:
        self.left = kill_before
        self.half = half
        self.log = log.open("a", buffering=1)

    def step(self, what: str) -> None:
        self.log.write(f"{what}\n")
        if self.left is not None:
            self.left -= 1
            if self.left == 0 and not self.half:
                self.die()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def watch_folder(counter: Counter, root: str) -> None:
    """Count what happens below a folder, and the syncs of what was written."""
    import shutil

    def hook(event: str, arguments: Any) -> None:
        if event not in STEPS or not str(arguments[0]).startswith(root):
            return
        if event == "open" and not (isinstance(arguments[1], str) and arguments[1][0] in "wxa"):
            return
        counter.step(f"{event} {Path(str(arguments[0])).name}")

    fsync, copy = os.fsync, shutil.copyfileobj

    def counted_fsync(descriptor: int) -> None:
        counter.step("fsync")
        fsync(descriptor)

    def half_copied(source: Any, target: Any, length: int = 0) -> None:
        counter.step("copy")
        if counter.half and counter.left == 0:
            content = source.read()
            target.write(content[: len(content) // 2])
            target.flush()
            counter.die()
        copy(source, target, length)

    sys.addaudithook(hook)
    os.fsync = counted_fsync
    shutil.copyfileobj = half_copied


def watch_requests(counter: Counter) -> None:
    """Count requests that write, before they are sent and after they were answered."""
    from botocore.httpsession import URLLib3Session

    send = URLLib3Session.send

    def counted(self: Any, request: Any) -> Any:
        writes = request.method in ("PUT", "POST", "DELETE")
        if writes:
            counter.step(f"before {request.method} {request.url.rpartition('/')[2]}")
        answer = send(self, request)
        if writes:
            counter.step(f"after {request.method} {request.url.rpartition('/')[2]}")
        return answer

    URLLib3Session.send = counted


def run(order: dict[str, Any]) -> int:
    """Run one job in a child; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        with Path(order["output"]).open("wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        counter = Counter(order.get("kill"), bool(order.get("half")), Path(order["log"]))
        if order["words"][-1].startswith("s3://"):
            watch_requests(counter)
        else:
            watch_folder(counter, order["words"][-1])
        sys.argv = ["cropmask-job", *order["words"]]
        from cropmask.cli.job import main

        try:
            main()
        except SystemExit as end:
            os._exit(int(end.code or 0))
        os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def serve() -> None:
    """Load everything, then run jobs as they are asked for."""
    import cropmask.cli.job
    import cropmask.fleet.preload  # noqa: F401

    for line in sys.stdin:
        sys.stdout.write(f"{run(json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
