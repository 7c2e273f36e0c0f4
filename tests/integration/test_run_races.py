"""Runs paused, resumed and canceled while workers put orders aside, killed at every step.

On the queue in a folder, and on SQS (moto's server on loopback).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from time import time as clock
from typing import Any, Final

import pytest

from cropmask.contract import ExitCode
from cropmask.fleet.control import load_control
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import find_attempts, load_run
from cropmask.fleet.records import RunRecord, State
from cropmask.fleet.worker import Rules
from cropmask.grid import Tile
from cropmask.operate.runcontrol import cancel_run, pause_run, resume_run
from cropmask.operate.submit import send
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Lease, Queue, QueueOptions
from cropmask.queue.sqs import SqsQueue
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.task import Order
from tests.clouds import make_queue, serve_aws, use_made_up_credentials
from tests.runs import make_run
from tests.workers import Office, Time, make_site

TILES: Final = tuple(Tile(x, 20) for x in (10, 11))
STEPS: Final = {
    "store": ("put", "put_if_absent", "remove", "list", "get"),
    "queue": ("done", "send", "lease", "release", "park"),
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve_aws() as url:
        yield url


class Killed(BaseException):
    """SIGKILL: nothing of the process runs any more."""


@dataclass
class Steps:
    """Calls of what touches the world, and what happens before one of them."""

    at: int = 0
    """Before which call; 0 for none."""
    happens: Callable[[], None] = lambda: None
    taken: int = 0
    is_dead: bool = False

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.at:
            self.happens()
        if self.is_dead:
            raise Killed

    def die(self) -> None:
        self.is_dead = True

    @classmethod
    def killed(cls, at: int) -> Steps:
        steps = cls(at)
        steps.happens = steps.die
        return steps


class Watched:
    """A store or queue whose calls are counted, before they are done."""

    def __init__(self, inner: object, names: tuple[str, ...], steps: Steps) -> None:
        self._inner, self._names, self._steps = inner, names, steps
        self.address = getattr(inner, "address", "")
        self.lag_seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        def call(*words: Any, **options: Any) -> Any:
            self._steps.step()
            return found(*words, **options)

        return call


@dataclass
class World:
    """A place of results, a queue, and a run of two tiles that were sent."""

    store: Store
    queue: Queue
    time: Time
    expire: Callable[[], None]
    """Has leases of workers that died end."""
    record: RunRecord
    done: list[str] = field(default_factory=list)

    def worker(self, steps: Steps | None = None) -> ExitCode:
        """A worker, until the queue is empty."""
        at = Office(self._attempt, time=self.time, rules=Rules())
        steps = steps or Steps()
        at.store = Watched(self.store, STEPS["store"], steps)  # type: ignore[assignment]
        at.queue = Watched(self.queue, STEPS["queue"], steps)  # type: ignore[assignment]
        return at.worker().run()

    def _attempt(self, order: Order, *_: object) -> Outcome:
        self.done.append(str(order.task.tile))
        return Outcome(state=State.SUCCEEDED)

    def pause(self) -> None:
        pause_run(self.store, self.record, "wait", self.moment())

    def cancel(self, steps: Steps | None = None) -> None:
        cancel_run(self._watched(steps), self.record, "no more", self.moment())

    def resume(self, steps: Steps | None = None) -> int:
        queue: Any = Watched(self.queue, STEPS["queue"], steps or Steps())
        words = (self.record, make_site(), self.moment(), {})
        return resume_run(self._watched(steps), queue, *words).tiles

    def _watched(self, steps: Steps | None) -> Any:
        return Watched(self.store, STEPS["store"], steps or Steps())

    def moment(self) -> datetime:
        self.time.now += 1
        return self.time.moment()

    def states(self) -> dict[State, int]:
        return dict(Counter(key.state for key in find_attempts(self.store, *self.record.place)))

    def settle(self) -> None:
        """Whatever became of it: the leases end, the run is resumed, and workers do the rest."""
        self.expire()
        self.worker()
        self.resume()
        self.worker()

    def check(self, most: int) -> None:
        """Every tile was done, none more often than a message can be there twice."""
        assert set(self.done) == set(map(str, TILES))
        assert max(Counter(self.done).values()) <= most
        counts = self.queue.counts()
        assert (counts.waiting, counts.dead) == (0, 0)
        assert State.HELD not in self.states()
        assert load_control(self.store, *self.record.place).is_running


def make_folder_world(folder: Path, run: str) -> World:
    time, late = Time(), [0.0]
    queue = FolderQueue(folder / "queue", clock=lambda: clock() + late[0])

    def expire() -> None:
        late[0] += 1000

    return begin(FolderStore(folder / "results"), queue, time, expire, run)


class RememberingQueue(SqsQueue):
    """Knows which messages it has given out."""

    leases: list[Lease]

    def lease(self, *, seconds: float, wait_seconds: float = 0) -> Lease | None:
        found = super().lease(seconds=seconds, wait_seconds=wait_seconds)
        self.leases.extend([found] if found else [])
        return found

    def expire(self) -> None:
        for found in self.leases:  # what has been deleted meanwhile is no longer there
            self.release(found)


def make_sqs_queue(endpoint: str) -> RememberingQueue:
    address, dead = make_queue(endpoint)
    queue = RememberingQueue(address, QueueOptions(endpoint_url=endpoint, dead_letters=dead))
    queue.lag_seconds = 0.0
    return queue


def make_sqs_world(folder: Path, queue: RememberingQueue, run: str) -> World:
    queue.leases = []
    return begin(FolderStore(folder / "results"), queue, Time(), queue.expire, run)


def begin(store: Store, queue: Queue, time: Time, expire: Callable[[], None], run: str) -> World:
    record = make_run(TILES, run, sent=0)
    send(record, store, queue)
    return World(store, queue, time, expire, load_run(store, *record.place))


@dataclass
class Worlds:
    """A new world for every step that is looked at."""

    make: Callable[[int], World]
    apart: int
    """Of how many steps one is looked at."""

    def at(self, step: int) -> World:
        return self.make(step)

    def steps(self) -> Iterator[int]:
        return count(1, self.apart)


@pytest.fixture(params=["folder", "sqs"])
def worlds(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Worlds:
    """Every step on folders; some where each takes long."""
    use_made_up_credentials(monkeypatch, tmp_path)
    if request.param == "folder":
        return Worlds(lambda n: make_folder_world(tmp_path / str(n), f"run-{n}"), 1)
    queue = make_sqs_queue(endpoint)
    return Worlds(lambda n: make_sqs_world(tmp_path / str(n), queue, f"run-{n}"), 3)


def kill_everywhere(
    worlds: Worlds, before: Callable[[World], None], act: Callable[[World, Steps], object]
) -> Iterator[World]:
    """Worlds in which an act was killed before its first step, its second one, and so on."""
    for at in worlds.steps():
        world = worlds.at(at)
        before(world)
        try:
            act(world, Steps.killed(at))
        except Killed:
            yield world
        else:
            assert at > 4
            return


def interrupt_everywhere(
    worlds: Worlds,
    before: Callable[[World], None],
    act: Callable[[World, Steps], object],
    other: Callable[[World], object],
) -> Iterator[World]:
    """Worlds in which another act came before the first step of an act, then its second one."""
    for at in worlds.steps():
        world = worlds.at(at)
        before(world)
        steps = Steps(at, partial(other, world))
        act(world, steps)
        if steps.taken < at:
            assert at > 4
            return
        yield world


def pause_and_hold(world: World) -> None:
    world.pause()
    world.worker()
    assert world.states() == {State.HELD: 2}


def test_a_worker_that_dies_while_it_holds_loses_no_order(worlds: Worlds) -> None:
    for world in kill_everywhere(worlds, World.pause, World.worker):
        world.settle()
        world.check(most=2)


def test_a_run_resumed_before_the_lease_of_a_dead_worker_ends(worlds: Worlds) -> None:
    for world in kill_everywhere(worlds, World.pause, World.worker):
        world.resume()
        world.expire()
        world.worker()
        world.check(most=2)


def test_who_dies_while_he_resumes_a_run_does_it_again(worlds: Worlds) -> None:
    for world in kill_everywhere(worlds, pause_and_hold, World.resume):
        world.resume()
        world.worker()
        world.check(most=2)


def test_a_run_resumed_while_a_worker_holds_its_orders_is_done(worlds: Worlds) -> None:
    for world in interrupt_everywhere(worlds, World.pause, World.worker, World.resume):
        world.worker()
        world.check(most=2)


def test_orders_held_while_their_run_is_resumed_are_done(worlds: Worlds) -> None:
    for world in interrupt_everywhere(worlds, World.pause, World.resume, World.worker):
        world.worker()
        world.check(most=2)


def test_a_run_paused_while_it_is_resumed_waits_whole(worlds: Worlds) -> None:
    for world in interrupt_everywhere(worlds, pause_and_hold, World.resume, World.pause):
        world.worker()
        world.settle()
        world.check(most=1)


def check_canceled(world: World) -> None:
    world.expire()
    world.worker()
    assert set(world.states()) <= {State.CANCELED, State.SUCCEEDED}
    keys = find_attempts(world.store, *world.record.place)
    assert {key.tile for key in keys} == set(TILES)
    counts = world.queue.counts()
    assert (counts.waiting, counts.dead) == (0, 0)


def test_a_run_canceled_while_a_worker_holds_its_orders_keeps_none(worlds: Worlds) -> None:
    for world in interrupt_everywhere(worlds, World.pause, World.worker, World.cancel):
        check_canceled(world)
        assert not world.done


def test_who_dies_while_he_cancels_a_run_does_it_again(worlds: Worlds) -> None:
    for world in kill_everywhere(worlds, pause_and_hold, World.cancel):
        world.cancel()
        check_canceled(world)
        assert not world.done
