"""A small night: every tile is accounted for, whatever was said about its runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from cropmask.cli.main import cropmask
from cropmask.contract import METRIC_STOPPED, ExitCode
from cropmask.errors import CropmaskError
from cropmask.fleet.breaker import Breaker
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import Journal
from cropmask.fleet.records import State
from cropmask.fleet.worker import Clock, OrderRunner, Rules, Worker
from cropmask.machine.heartbeat import Heartbeat
from cropmask.machine.signals import Stop
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Queue
from cropmask.site.site import open_site
from cropmask.store.doors import open_store
from cropmask.task import Order, Task
from cropmask.testing.metrics import MemoryMetrics
from cropmask.tile.job import prepare
from tests.faults.nightdrill import NightDrill, find_night_faults, open_cloud, run_night
from tests.regions import RegionWorld, block, make_region, put_result
from tests.turns import work_while_waiting
from tests.workers import Time

TILE_SECONDS = 60


@dataclass
class Here:
    """Commands and workers of this process; a tile is an item without pixels, after a minute."""

    world: RegionWorld
    breaker: int
    patch: pytest.MonkeyPatch
    time: Time = field(default_factory=Time)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    journal: Journal = field(init=False)
    queue: Queue = field(init=False)

    def __post_init__(self) -> None:
        site = open_site(options={"catalog": str(self.world.catalog), "threads": 1})
        self.journal, self.queue = Journal(site.store(), site), site.queue()
        self.queue.lag_seconds = 0.0

    def command(self, *words: str) -> str:
        takes_places = words[0] in ("submit", "status")
        places = ("--catalog", str(self.world.catalog)) if takes_places else ()
        result = CliRunner().invoke(cropmask, [*words, *places])
        assert result.exit_code == 0, (words, result.output, result.exception)
        return result.stdout

    def submit(self, *words: str, tiles: int) -> None:
        work_while_waiting(self.patch, partial(self.work, tiles))
        bounds = ("--canary-crop", "0,100", "--canary-nodata", "0,100")  # there are no pixels
        self.command("submit", *words, *bounds)

    def work(self, tiles: int | None = None) -> None:
        clock, breaker = Clock(self.time, self.time.sleep), Breaker(self.breaker)
        runner = OrderRunner(self._attempt, self.journal, self.metrics, clock, breaker=breaker)
        worker = Worker(self.queue, runner, Rules(max_tasks=tiles), Heartbeat(None), Stop())
        assert worker.run() is ExitCode.DONE

    def _attempt(self, order: Order, *_: object) -> Outcome:
        self.time.now += TILE_SECONDS
        task = Task(order.task.tile, str(self.world.region), order.task.period)
        try:
            job = prepare(task, self.journal.site)
        except CropmaskError as error:
            return Outcome(error=error)
        if self.journal.store.exists(job.place.item):
            return Outcome(State.SKIPPED)
        put_result(self.journal.store, job)
        return Outcome(State.SUCCEEDED)


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_a_small_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_region(tmp_path / "world", block(4, 2))
    drill = NightDrill(str(world.region), 8, world.catalog, canary=2, poisoned=3, breaker=2)
    with open_cloud(monkeypatch, tmp_path) as queue:
        monkeypatch.setenv("CROPMASK_REGION_FILES", str(world.region))
        for open_one in (open_store, open_queue):  # clients of AWS take long to make
            monkeypatch.setattr(f"cropmask.site.site.{open_one.__name__}", cache(open_one))
        hands = Here(world, drill.breaker, monkeypatch)
        figures = run_night(drill, hands, queue)
    assert not find_night_faults(figures, drill), figures
    stopped = [value for name, value, _ in hands.metrics.values if name == METRIC_STOPPED]
    assert stopped == [1, 1], "by its budget and by its tiles, once each"
