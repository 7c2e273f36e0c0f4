"""The drill of a night that nobody watches: a run judged, limited, paused, stopped, brought back.

Run it with real workers on SQS and S3 (moto's server on loopback), as users would, with the
commands that they have::

    python -m tests.faults.nightdrill --tiles 60

A canary passes, the run reaches its budget and is given more, is paused and resumed; another run is
canceled; ten poisoned items of the first one open the circuit breaker; they are mended and their
dead letters sent back. At the end every tile of both runs is accounted for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

import boto3
import pytest

from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Counts
from tests.clouds import make_queue, serve_aws, use_made_up_credentials
from tests.workerprocess import CROPMASK, make_region_world

FIRST, SECOND = "night-1", "night-2"
DONE: Final = ("SUCCEEDED", "SKIPPED")
PLENTY: Final = "1000000"


class Hands(Protocol):
    """Does what an operator types, and lets a worker work."""

    def command(self, *words: str) -> str:
        """What a command printed, which must have succeeded."""
        ...

    def submit(self, *words: str, tiles: int) -> None:
        """Submit a run with a canary, while a worker does so many tiles."""
        ...

    def work(self, tiles: int | None = None) -> None:
        """A worker, until it finds nothing or has done so many tiles."""
        ...


@dataclass(frozen=True)
class NightDrill:
    """What is done to a region."""

    region: str
    tiles: int
    catalog: Path
    canary: int = 4
    poisoned: int = 12
    breaker: int = 10


@dataclass
class NightFigures:
    """What came of it, step by step."""

    tiles: int
    states: dict[str, Any] = field(default_factory=dict)
    """By step: tiles of the first run by state, and what was said about it."""
    second: dict[str, int] = field(default_factory=dict)
    """Tiles of the second run by state."""
    letters: int = 0
    """Dead letters when the breaker had opened."""
    queue: Counts | None = None
    """At the end."""

    def at(self, step: str, *states: str) -> int:
        """How many tiles of the first run were in some states after a step."""
        return sum(self.states[step]["counts"][state] for state in states)


def run_night(drill: NightDrill, hands: Hands, queue: str) -> NightFigures:
    """Everything, one step after the other."""
    figures = NightFigures(drill.tiles)

    def look(step: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(hands.command("status", "--run", FIRST, "--json"))
        figures.states[step] = {name: found[name] for name in ("counts", "control", "dollars")}
        return found

    region = ("--region", drill.region)
    limits = ("--max-tiles", str(drill.tiles), "--max-cost", PLENTY)
    words = (*region, "--run", FIRST, "--canary", str(drill.canary), *limits)
    hands.submit(*words, tiles=drill.canary)
    spent = look("canary")["dollars"]

    budget = spent * (1 + drill.tiles / 4 / drill.canary)
    hands.command("run", "resume", FIRST, "--max-cost", f"{budget:.9f}")
    hands.work()
    look("budget")
    hands.command("run", "resume", FIRST, "--max-cost", PLENTY)
    hands.work(look("resumed")["remaining"] - drill.poisoned)
    hands.command("run", "pause", FIRST, "--why", "the catalog moves")
    hands.work()
    held = [tile for tile, state in look("paused")["tiles"].items() if state == "HELD"]

    hands.command("submit", *region, "--run", SECOND, "--all", "--force", "--tiles", ",".join(held))
    hands.work(2)
    hands.command("run", "cancel", SECOND, "--why", "asked for twice")
    hands.work()
    left = json.loads(hands.command("status", "--run", FIRST, "--json"))["tiles"]
    held = [tile for tile in held if left[tile] == "HELD"]

    with poisoned(drill.catalog, held):
        hands.command("run", "resume", FIRST)
        hands.work()
        look("breaker")
        figures.letters = open_queue(queue).counts().dead
    hands.command("redrive")
    hands.work()
    look("redriven")
    found = json.loads(hands.command("status", "--run", SECOND, "--json"))
    figures.second = found["counts"]
    figures.queue = open_queue(queue).counts()
    return figures


@contextmanager
def poisoned(catalog: Path, tiles: Sequence[str]) -> Iterator[None]:
    """Take a band away from the items of some tiles, for a while."""
    saved = {}
    for path in catalog.parent.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        item = json.loads(text)
        if item.get("properties", {}).get("odc:region_code") in tiles:
            saved[path] = text
            item["assets"] = {k: v for k, v in item["assets"].items() if k not in ("B04", "red")}
            path.write_text(json.dumps(item), encoding="utf-8")
    assert len(saved) == 2 * len(tiles)
    yield
    for path, text in saved.items():
        path.write_text(text, encoding="utf-8")


def find_night_faults(figures: NightFigures, drill: NightDrill) -> list[str]:
    """What did not go as it must."""
    at, tiles = figures.at, figures.tiles
    control = {step: found["control"] for step, found in figures.states.items()}
    laws = {
        "the canary passed before the rest was done": at("canary", *DONE) == drill.canary,
        "the budget stopped it": control["budget"]["reason"] == "over budget",
        "it was stopped amid its tiles": drill.canary < at("budget", *DONE) < tiles,
        "what was left was held": at("budget", *DONE, "HELD") == tiles,
        "nothing was held once it went on": at("resumed", "HELD") == 0,
        "paused, what was left was held": at("paused", *DONE, "HELD") == tiles,
        "all but some were done": at("paused", "HELD") == drill.poisoned,
        "the breaker stopped it": control["breaker"]["reason"] == "missing band",
        "only what is poisoned was not done": at("breaker", "INVALID", "FAILED", "HELD")
        == drill.poisoned,
        "those before were parked": figures.letters == drill.breaker - 1,
        "the rest was held": at("breaker", "HELD") >= 1,
        "in the end every tile is done": at("redriven", *DONE) == tiles,
        "and it goes on": control["redriven"]["state"] == "running",
        "of the second run every tile is done or dropped": at_second(figures)
        + figures.second["CANCELED"]
        == drill.poisoned,
        "of the second run some were dropped": figures.second["CANCELED"] > 0,
        "nothing is waiting, nothing is dead": figures.queue == Counts(0, 0, 0, 0),
    }
    return [law for law, holds in laws.items() if not holds]


def at_second(figures: NightFigures) -> int:
    """Tiles that the second run has done."""
    return sum(figures.second[state] for state in DONE)


@dataclass
class Processes:
    """Real commands and real workers, in a made-up environment."""

    options: Sequence[str]
    """Where regions and inputs are."""
    how: Sequence[str]
    """What to make of them."""
    environ: dict[str, str]

    def command(self, *words: str) -> str:
        return self._run(self._line(*words))

    def submit(self, *words: str, tiles: int) -> None:
        line = self._line("submit", *words, "--canary-crop", "0,100")
        waiting = subprocess.Popen(line, env=self.environ, stdout=sys.stderr)
        self.work(tiles)
        assert waiting.wait(120) == 0

    def work(self, tiles: int | None = None) -> None:
        most = () if tiles is None else ("--max-tasks", str(tiles))
        self._run(self._line("worker", "--threads", "1", "--idle-exit", "4", *most))

    def _line(self, *words: str) -> list[str]:
        takes_places = words[0] in ("submit", "worker", "status")
        how = self.how if words[0] == "submit" else ()
        return [str(CROPMASK), *words, *how, *(self.options if takes_places else ())]

    def _run(self, line: list[str]) -> str:
        done = subprocess.run(line, env=self.environ, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout


@contextmanager
def open_cloud(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[str]:
    """Results on S3 and a queue on SQS, named by environment variables; the queue's URL."""
    with serve_aws() as endpoint:
        use_made_up_credentials(patch, folder)
        bucket = f"night-{uuid4().hex[:8]}"
        client: Any = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket=bucket)
        queue, _ = make_queue(endpoint)
        patch.setenv("CROPMASK_OUTPUT", f"s3://{bucket}/maps")
        patch.setenv("CROPMASK_S3_ENDPOINT", endpoint)
        patch.setenv("CROPMASK_QUEUE", queue)
        yield queue


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill and print its figures; 0 if it went as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=60)
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="cropmask-night-"))
    world = make_region_world(folder / "world", given.tiles)
    drill = NightDrill(world.region, given.tiles, world.folder / "catalog.json")
    with pytest.MonkeyPatch.context() as patch, open_cloud(patch, folder) as queue:
        how = ("--resolution", "100", "--model", "boosted")
        hands = Processes(world.options, how, dict(os.environ))
        figures = run_night(drill, hands, queue)
        hands.command("reconcile", "--region", world.region, "--verify", *world.options)
    print(json.dumps(asdict(figures), indent=1))  # noqa: T201
    faults = find_night_faults(figures, drill)
    print("\n".join(faults) or "every tile is accounted for")  # noqa: T201
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
