"""What tests of workers share: a clock that they move, orders, a runner whose work is scripted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cropmask.fleet.attempt import HeldLease
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import Journal
from cropmask.fleet.records import AttemptRecord
from cropmask.fleet.worker import Clock, OrderRunner, Rules, Worker
from cropmask.grid import Tile
from cropmask.machine.heartbeat import Heartbeat
from cropmask.machine.signals import Stop
from cropmask.queue.protocol import Message
from cropmask.site.site import Site, open_site
from cropmask.store.protocol import Store
from cropmask.task import Order, Period, Task
from cropmask.testing.metrics import MemoryMetrics
from cropmask.testing.queue import MemoryQueue
from cropmask.testing.store import MemoryStore

RUN = "night-1"
START = datetime(2026, 7, 1, tzinfo=UTC)


@dataclass
class Time:
    """Seconds that pass only when somebody waits, or a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def moment(self) -> datetime:
        return START + timedelta(seconds=self.now)


def make_order(x: int = 10, y: int = 20, *, region: str = "eastern", **more: object) -> Order:
    task = Task(Tile(x, y), region, Period.parse("2019"))
    return Order(task, run=RUN, **more)  # type: ignore[arg-type]


def message_of(order: Order) -> Message:
    return Message(order.body, order.attributes)


def make_site(folder: Path = Path("output"), **options: object) -> Site:
    return open_site({}, {"output": str(folder), "threads": 1, **options})


Attempt = Callable[[Order, AttemptRecord, HeldLease], Outcome]


@dataclass
class Office:
    """A worker whose surroundings are all in memory."""

    attempt: Attempt
    time: Time = field(default_factory=Time)
    rules: Rules = field(default_factory=Rules)
    store: Store = field(default_factory=MemoryStore)
    stop: Stop = field(default_factory=Stop)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    queue: MemoryQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = MemoryQueue(clock=self.time, sleep=self.time.sleep)

    def send(self, *orders: Order) -> None:
        self.queue.send([message_of(order) for order in orders])

    def runner(self) -> OrderRunner:
        journal = Journal(self.store, make_site(), now=self.time.moment)
        clock = Clock(self.time, self.time.sleep)
        return OrderRunner(self.attempt, journal, self.metrics, clock, draw=lambda _, most: most)

    def worker(self) -> Worker:
        return Worker(self.queue, self.runner(), self.rules, Heartbeat(None), self.stop)
