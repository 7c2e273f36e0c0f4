"""A worker's turns on a region without pixels, taken where a command under test would sleep."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from cropmask.fleet.recordfiles import load_run, put_attempt
from cropmask.fleet.records import State
from cropmask.grid import Tile
from cropmask.operate.waiting import Calendar
from cropmask.queue.folder import FolderQueue
from cropmask.site.site import Site, open_site
from cropmask.task import Task
from cropmask.tile.job import prepare
from tests.regions import NAME, YEAR, RegionWorld, put_result
from tests.runs import make_attempt

PRODUCT = f"crop_mask_{NAME}"
PERIOD = str(YEAR)


@dataclass
class Turns:
    """One tile a turn, in the folder ``out``: its item is there afterwards, but for pixels."""

    world: RegionWorld
    state: State = State.SUCCEEDED
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    number: int = 0

    @property
    def site(self) -> Site:
        return open_site({}, {"catalog": str(self.world.catalog), "output": "out"})

    @property
    def queue(self) -> FolderQueue:
        return FolderQueue(Path("out/_queue"))

    @property
    def calendar(self) -> Calendar:
        """Time passes only by waiting, and a tile is done meanwhile."""
        return Calendar(lambda: self.moment, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        self.take()

    def finish(self, tile: Tile) -> None:
        put_result(self.site.store(), prepare(Task(tile, str(self.world.region), YEAR), self.site))

    def take(self) -> None:
        """Do one task, if one waits."""
        lease = self.queue.lease(seconds=60)
        if lease is None:
            return
        self.number += 1
        tile = Tile.parse(json.loads(lease.message.body)["tile"])
        record = load_run(self.site.store(), PRODUCT, PERIOD, lease.message.attributes["run"])
        if self.state is State.SUCCEEDED:
            self.finish(tile)
            self.queue.done(lease)
        else:
            self.queue.park(lease, "missing band", "no band")
        attempt = make_attempt(record, tile, self.state, number=self.number)
        put_attempt(self.site.store(), replace(attempt, reason="missing band"))

    def tiles_waiting(self) -> list[str]:
        """Tiles of all messages, which are taken."""
        found = []
        while (lease := self.queue.lease(seconds=60)) is not None:
            found.append(json.loads(lease.message.body)["tile"])
        return sorted(found)


def work_while_waiting(monkeypatch: pytest.MonkeyPatch, turn: Callable[[], None]) -> None:
    """Have something done where a command would sleep."""

    def sleep(_seconds: float) -> None:
        turn()

    monkeypatch.setattr("cropmask.operate.waiting.Calendar", partial(Calendar, sleep=sleep))
