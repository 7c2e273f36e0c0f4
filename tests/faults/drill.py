"""The drill: a region, two workers, one of them killed at random every so often.

Run it as users would, with the commands that they have::

    python -m tests.faults.drill --tiles 390 --folder /tmp/drill

It makes the region, submits it, drains it, counts what is there, and does all of it again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cropmask.fleet.records import AttemptRecord
from cropmask.queue.doors import open_queue
from tests.workerprocess import CROPMASK, Crew, RegionWorld, WorkerProcess, open_crew

REGION = "eastern"


@dataclass(frozen=True)
class Drill:
    """What is done to the workers."""

    workers: int = 2
    kill_seconds: float = 20.0
    lease_seconds: float = 30.0
    recipe: str = "forest"
    seed: int = 0
    most_seconds: float = 3600.0


@dataclass(frozen=True)
class Figures:
    """What came of it."""

    tiles: int
    items: int
    valid: bool
    """Whether ``cropmask reconcile --verify`` found every tile in order."""
    dead_letters: int
    waiting: int
    leftovers: int
    kills: int
    seconds: float
    attempts: dict[str, int]
    seconds_per_tile: float
    cpu_seconds_per_tile: float
    repeat_seconds: float
    repeat_attempts: dict[str, int]
    seconds_per_skip: float
    cpu_seconds_per_skip: float


def run_drill(world: RegionWorld, folder: Path, drill: Drill) -> Figures:
    """Submit, drain under fire, count; then submit and drain again in peace."""
    with open_crew(world, folder, "--lease", str(drill.lease_seconds)) as crew:
        queue = open_queue(str(crew.output / "_queue"))
        _submit(crew, drill, "drill-1")
        began = time.monotonic()
        kills = _drain(crew, drill)
        seconds = time.monotonic() - began
        counts = queue.counts()
        first = [r for r in crew.records() if r.run == "drill-1"]
        valid = _command(crew, "reconcile", "--region", REGION, "--verify", check=False) == 0
        _submit(crew, drill, "drill-2", "--all")
        began = time.monotonic()
        for _ in range(drill.workers):
            crew.start()
        _wait(crew.workers[-drill.workers :], drill.most_seconds)
        repeat = time.monotonic() - began
        second = [r for r in crew.records() if r.run == "drill-2"]
        return Figures(
            tiles=len(world.tiles),
            items=len(crew.items()),
            valid=valid,
            dead_letters=queue.counts().dead,
            waiting=counts.waiting + queue.counts().waiting,
            leftovers=len(crew.leftovers()),
            kills=kills,
            seconds=round(seconds, 1),
            attempts=dict(Counter(str(r.state) for r in first)),
            seconds_per_tile=_mean(first, "SUCCEEDED", "seconds"),
            cpu_seconds_per_tile=_mean(first, "SUCCEEDED", "cpu_seconds"),
            repeat_seconds=round(repeat, 1),
            repeat_attempts=dict(Counter(str(r.state) for r in second)),
            seconds_per_skip=_mean(second, "SKIPPED", "seconds"),
            cpu_seconds_per_skip=_mean(second, "SKIPPED", "cpu_seconds"),
        )


def _mean(records: Sequence[AttemptRecord], state: str, name: str) -> float:
    values = [getattr(record, name) for record in records if record.state == state]
    return round(sum(values) / len(values), 3) if values else 0.0


def _command(crew: Crew, name: str, *words: str, check: bool = True) -> int:
    command = [str(CROPMASK), name, *words, "--output", str(crew.output), *crew.world.options]
    return subprocess.run(command, check=check, stdout=sys.stderr).returncode


def _submit(crew: Crew, drill: Drill, run: str, *words: str) -> None:
    what = ("--region", REGION, "--resolution", "100", "--model", drill.recipe)
    _command(crew, "submit", *what, "--run", run, *words)


def _drain(crew: Crew, drill: Drill) -> int:
    """Keep so many workers running, and kill one now and then, until one finds nothing left."""
    chance = random.Random(drill.seed)
    killed: Counter[str] = Counter()
    end = time.monotonic() + drill.most_seconds
    for _ in range(drill.workers):
        crew.start()
    next_kill = time.monotonic() + drill.kill_seconds
    while True:
        running = [worker for worker in crew.workers if worker.process.poll() is None]
        over = [w for w in crew.workers if w.process.returncode not in (None, -signal.SIGKILL)]
        if over:
            break
        if time.monotonic() > end:
            raise TimeoutError("the queue was not drained in time")
        if time.monotonic() >= next_kill and (likely := _find_victims(running, killed)):
            tile = chance.choice(sorted(likely))
            likely[tile].kill()
            likely[tile].process.wait()
            killed[tile] += 1
            crew.start()
            next_kill = time.monotonic() + drill.kill_seconds
        time.sleep(0.1)
    _wait(running, max(1.0, end - time.monotonic()))
    codes = {w.process.returncode for w in crew.workers} - {-signal.SIGKILL}
    if codes != {0}:
        raise RuntimeError(f"workers ended with {codes}")
    return killed.total()


def _find_victims(
    running: Sequence[WorkerProcess], killed: Counter[str]
) -> dict[str, WorkerProcess]:
    """Workers that may be killed, by the tile each has: not its first, nor one killed twice.

    On a busy machine a tile may take longer than the time between kills: none would be done. A tile
    that is killed comes back as the oldest, and the next kill meets it again; after five it is
    among the dead letters, as it should be.
    """
    begun = [(worker, worker.begun()) for worker in running]
    return {tiles[-1]: worker for worker, tiles in begun
            if len(tiles) > 1 and killed[tiles[-1]] < 2}  # fmt: skip


def _wait(workers: Sequence[WorkerProcess], seconds: float) -> None:
    for worker in workers:
        worker.wait(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill and print its figures; 0 if it went as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, help="only the first so many tiles")
    parser.add_argument("--boundary", help="boundary in place of the region's")
    parser.add_argument("--folder", type=Path, help="where to work; default a temporary folder")
    parser.add_argument("--model", default=Drill.recipe, choices=["forest", "boosted"])
    parser.add_argument("--workers", type=int, default=Drill.workers)
    parser.add_argument("--kill-seconds", type=float, default=Drill.kill_seconds)
    parser.add_argument("--seed", type=int, default=Drill.seed)
    given = parser.parse_args(arguments)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="cropmask-drill-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = [f"--{name}={value}" for name, value in
             (("limit", given.tiles), ("boundary", given.boundary)) if value]  # fmt: skip
    command = [str(CROPMASK), "demo", "--region", REGION, "--output", str(folder / "world"), *words]
    subprocess.run(command, check=True)
    world = RegionWorld.load(folder / "world", REGION)
    drill = Drill(given.workers, given.kill_seconds, recipe=given.model, seed=given.seed)
    figures = run_drill(world, folder / "run", drill)
    print(json.dumps(asdict(figures), indent=1))  # noqa: T201
    return int(bool(find_faults(figures)))


def find_faults(figures: Figures) -> list[str]:
    """What did not go as it must."""
    laws = {
        "every tile has its item": figures.items == figures.tiles,
        "reconcile finds all in order": figures.valid,
        "no dead letter": figures.dead_letters == 0,
        "nothing is waiting": figures.waiting == 0,
        "nothing is left of those that were killed": figures.leftovers == 0,
        "a run repeated skips all": figures.repeat_attempts == {"SKIPPED": figures.tiles},
    }
    return [law for law, holds in laws.items() if not holds]


if __name__ == "__main__":
    sys.exit(main())
