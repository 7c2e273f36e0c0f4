"""Real worker processes on a made-up region, and what they left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cropmask.fleet.recordfiles import find_attempts, load_attempt
from cropmask.fleet.records import AttemptRecord
from cropmask.grid import Tile, tiles_within
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Message, Queue
from cropmask.region.region import load_region
from cropmask.sources.boundary import load_boundary
from cropmask.store.folder import FolderStore
from cropmask.task import Order, Period, Task

CROPMASK = Path(sys.executable).with_name("cropmask")
RUN = "drill-1"
PERIOD = "2019--P1Y"
SOON = 240.0
"""Seconds in which a worker has begun, however busy the machine is."""


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


@dataclass
class RegionWorld:
    """A region made by ``cropmask demo``."""

    folder: Path
    region: str
    tiles: tuple[Tile, ...]

    @classmethod
    def load(cls, folder: Path, region: str) -> RegionWorld:
        boundary = load_region(region, folder / "models").boundary
        return cls(folder, region, tiles_within(load_boundary(boundary)))

    @property
    def options(self) -> list[str]:
        """Options that every command needs to work on it."""
        return ["--catalog", str(self.folder / "catalog.json"), "--models", self.models]

    @property
    def models(self) -> str:
        return str(self.folder / "models")

    def orders(self, **more: Any) -> list[Order]:
        period = Period.parse("2019")
        tasks = (Task(tile, self.region, period) for tile in self.tiles)
        return [Order(task, RUN, **{"recipe": "boosted", "resolution": 100, **more})
                for task in tasks]  # fmt: skip


def make_region_world(folder: Path, number: int, region: str = "eastern") -> RegionWorld:
    """A region of so many tiles, by the command that users have."""
    command = [CROPMASK, "demo", "--region", region, "--limit", number, "--output", folder]
    subprocess.run([*map(str, command), "--scenes", "2"], check=True, capture_output=True)
    return RegionWorld.load(folder, region)


def send(queue: Queue, orders: Iterable[Order]) -> None:
    messages = [Message(order.body, order.attributes) for order in orders]
    assert queue.send(messages) == len(messages)


@dataclass
class WorkerProcess:
    """One ``cropmask worker``, in a group of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged, whole lines only."""
        text = self.log.read_text(encoding="utf-8")
        found = []
        for line in text.split("\n")[:-1]:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def begun(self) -> list[str]:
        """Tiles that it has begun."""
        return [line["tile"] for line in self.lines() if line["message"].endswith(" begins")]

    def wait(self, seconds: float) -> int:
        return self.process.wait(seconds)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the worker alone, not its children: that is what a kubelet or the kernel does."""
        self.process.send_signal(number)


@dataclass
class Crew:
    """Workers of a test; none outlives it."""

    world: RegionWorld
    output: Path
    logs: Path
    options: list[str] = field(default_factory=list)
    environ: Mapping[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    def start(self, *options: str, **more: Any) -> WorkerProcess:
        log = self.logs / f"worker-{len(self.workers)}.log"
        words = [str(CROPMASK), "worker", "--output", str(self.output), *self.world.options,
                 "--log-format", "json", "--threads", "1", *self.options, *options]  # fmt: skip
        temporary = self.logs / "tmp"
        temporary.mkdir(exist_ok=True)
        environ = {**os.environ, "TMPDIR": str(temporary), **self.environ}
        with log.open("wb") as file:
            process = subprocess.Popen(words, stderr=file, stdout=file, env=environ, **more)
        worker = WorkerProcess(process, log)
        self.workers.append(worker)
        return worker

    def end(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()

    def leftovers(self) -> list[str]:
        """Temporary files and half objects that are still there.

        Not records that were cut as they were written: no listing has them, and the store removes
        its parts after a day only, as it cannot know who still writes.
        """
        temporary = [str(path) for path in (self.logs / "tmp").rglob("*")]
        parts = self.output.rglob("*.cropmask-part")
        return temporary + [str(part) for part in parts if "_runs" not in part.parts]

    def records(self) -> list[AttemptRecord]:
        store = FolderStore(self.output)
        product = f"crop_mask_{self.world.region}"
        return [load_attempt(store, key) for key in find_attempts(store, product, PERIOD)]

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file of every dataset, by path."""
        root = self.output / f"crop_mask_{self.world.region}"
        return {
            str(path.relative_to(root)): sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.name.endswith(".cropmask-part")
        }

    def items(self) -> list[str]:
        """Tiles that have an item."""
        found = self.output.rglob("*.stac-item.json")
        return sorted(json.loads(path.read_text())["properties"]["odc:region_code"]
                      for path in found)  # fmt: skip


@contextlib.contextmanager
def open_crew(world: RegionWorld, folder: Path, *options: str, **environ: str) -> Iterator[Crew]:
    logs = folder / "logs"
    logs.mkdir(parents=True)
    crew = Crew(world, folder / "output", logs, list(options), environ)
    try:
        yield crew
    finally:
        crew.end()


def queue_of(crew: Crew) -> Queue:
    """The queue of its workers."""
    return open_queue(str(crew.output / "_queue"))
