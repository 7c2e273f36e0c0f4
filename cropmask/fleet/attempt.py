"""One attempt, watched: a child computes, and is stopped when it must be."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from cropmask.errors import CropmaskError, Drained, Interrupted, OutOfMemory, Reason, TimedOut
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.records import AttemptRecord
from cropmask.machine.child import ENDED, Child, ProcessUse
from cropmask.machine.heartbeat import Heartbeat
from cropmask.machine.limits import find_anonymous_memory, find_oom_kills
from cropmask.machine.scratch import open_folder
from cropmask.site.site import Site
from cropmask.task import Order

TARGET: Final = "cropmask.fleet.compute:compute"
"""What the child runs; it is loaded there only."""
CHILD_POLL_SECONDS: Final = 0.2
"""How often the limits of a child are looked at."""
PUBLISH_SECONDS: Final = 10.0
"""How long a child that is writing its item is waited for, whatever else happens."""
BASIS_SECONDS: Final = 600.0
"""How long a region file or boundary that was changed may go unnoticed."""
_NEAR: Final = 0.9
"""Share of the memory limit from which a kill is put down to it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChildWork:
    """What a child is to do; everything in it can be pickled."""

    order: Order
    site: Site
    folder: Path
    """For its temporary files; it exists, and is removed when the child is gone."""
    open_logging: Callable[[], None]
    """Called in the child first; pickled by its name."""
    basis: bytes | None = None
    """What an earlier child of the same region has opened."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """Said by the child: how far it is."""

    stage: str
    share: float


@dataclass(frozen=True, slots=True)
class BasisOpened:
    """Said by the child: what the tasks of its region share, for the next child."""

    basis: bytes
    """Pickled, so that we need not load what it is made of."""


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """Asked by the child before it writes the item; the answer is an error, or None for yes."""


class HeldLease(Protocol):
    """What an attempt must have to publish."""

    @property
    def lost(self) -> CropmaskError | None:
        """Why it may go on no more; None while it may."""
        ...

    def ask(self) -> float:
        """Have it confirmed; a mark for :meth:`renewed_since`."""
        ...

    def renewed_since(self, mark: float) -> bool:
        """Whether it was confirmed since."""
        ...


class NoLease:
    """Nothing to lose: of a task that comes from no queue."""

    lost: None = None

    def ask(self) -> float:
        """Confirmed at once."""
        return 0.0

    def renewed_since(self, mark: float) -> bool:  # noqa: ARG002
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """When an attempt is stopped from outside."""

    seconds: float
    stopping: Callable[[], str | None] = lambda: None
    """Why the whole worker is to stop, such as ``SIGTERM``."""


@dataclass(slots=True)
class BasisCache:
    """What children have opened, for those of the same region that come soon after."""

    clock: Callable[[], float] = time.monotonic
    _kept: tuple[object, float, bytes] | None = None

    def find(self, order: Order) -> bytes | None:
        """What was opened for the same region, unless it is old."""
        if self._kept is None:
            return None
        key, moment, basis = self._kept
        fresh = self.clock() - moment < BASIS_SECONDS
        return basis if fresh and key == self._key(order) else None

    def keep(self, order: Order, basis: bytes) -> None:
        """Keep it, in place of what was there."""
        self._kept = (self._key(order), self.clock(), basis)

    def _key(self, order: Order) -> object:
        return order.task.region, order.recipe, order.resolution, order.bands


@dataclass(frozen=True, slots=True)
class ChildAttempts:
    """Does each order in a child of its own, with a folder of its own."""

    site: Site
    scratch: Path
    heartbeat: Heartbeat
    limits: AttemptLimits
    open_logging: Callable[[Mapping[str, str]], None]
    """Given what every line of the child is to carry; pickled by its name."""
    opened: BasisCache = field(default_factory=BasisCache)

    def __call__(self, order: Order, record: AttemptRecord, held: HeldLease) -> Outcome:
        """Do an order.

        Raises Interrupted if there is no room for temporary files.
        """
        words = {"run": record.run, "tile": record.tile, "attempt": record.attempt}
        with open_folder(self.scratch) as folder:
            return run_attempt(
                ChildWork(
                    order,
                    self.site,
                    folder,
                    partial(self.open_logging, words),
                    self.opened.find(order),
                ),
                held,
                self.limits,
                progress=lambda now: self.heartbeat.progress(f"{record.tile} {now.stage}"),
                opened=lambda basis: self.opened.keep(order, basis),
            )


def run_attempt(
    work: ChildWork,
    held: HeldLease,
    limits: AttemptLimits,
    *,
    progress: Callable[[StageReport], None] = lambda _: None,
    opened: Callable[[bytes], None] = lambda _: None,
    target: str = TARGET,
) -> Outcome:
    """Have a child do the work; whatever becomes of it, it is gone afterwards.

    It is stopped when the lease is lost, and may write the item only after it was confirmed.
    """
    # The container's limit counts the worker's own memory and that of its child.
    own = find_anonymous_memory()
    memory = None if work.site.memory is None else max(1, work.site.memory - own)
    work = replace(work, site=replace(work.site, memory=memory))
    kills = find_oom_kills()  # counted before, so that an older kill is not taken for this one
    try:
        child = Child(target, work)
    except (OSError, EOFError) as error:
        return Outcome(
            error=Interrupted(f"no process could be started: {error}", reason=Reason.SYSTEM)
        )
    try:
        outcome = _Watch(child, held, limits, memory, progress, opened).until_it_ends()
        if outcome is None:
            code = child.end()
            outcome = Outcome(error=_explain(code, find_oom_kills() > kills, child.use(), memory))
        else:
            child.end()
    except CropmaskError as error:
        child.stop()
        outcome = Outcome(error=error)
    finally:
        child.kill()
    return _with_use(outcome, child.use())


class _Watch:
    """Looks after a child until it ends, or an error says why it must."""

    def __init__(
        self,
        child: Child,
        held: HeldLease,
        limits: AttemptLimits,
        memory: int | None,
        progress: Callable[[StageReport], None],
        opened: Callable[[bytes], None],
    ) -> None:
        self._child = child
        self._held = held
        self._limits = limits
        self._memory = memory
        self._progress = progress
        self._opened = opened
        self._began = time.monotonic()
        self._asked: float | None = None
        self._publishing: float | None = None
        """When the child was allowed to publish."""

    def until_it_ends(self) -> Outcome | None:
        """What the child says at its end; None if it ended without a word.

        Raises the CropmaskError that says why it must be stopped.
        """
        while True:
            said = self._child.receive(CHILD_POLL_SECONDS)
            if said is ENDED:
                return None
            if isinstance(said, Outcome):
                return said
            if isinstance(said, StageReport):
                self._progress(said)
            elif isinstance(said, BasisOpened):
                self._opened(said.basis)
            elif isinstance(said, PublishRequest):
                self._asked = self._held.ask()
            # Checked first: a child that is to be stopped must not be allowed to publish.
            self._check()
            self._answer()

    def _answer(self) -> None:
        if self._asked is not None and self._held.renewed_since(self._asked):
            self._child.answer(None)
            self._asked, self._publishing = None, time.monotonic()

    def _check(self) -> None:
        now = time.monotonic()
        # An item that is half written helps nobody: who may publish is given time to finish.
        if self._publishing is not None and now < self._publishing + PUBLISH_SECONDS:
            return
        if why := self._limits.stopping():
            raise Drained(f"stopped by {why}: the task was returned", reason=Reason.DRAINED)
        if self._held.lost is not None:
            raise self._held.lost
        if now > self._began + self._limits.seconds:
            raise TimedOut(
                f"it took longer than {self._limits.seconds:.0f} s: give it more CPUs, or set "
                "CROPMASK_TIME_LIMIT",
                reason=Reason.TIMED_OUT,
            )
        # The kernel would kill the child without a reason that an operator could read, and only
        # when the whole container is full.
        used = self._child.use().memory
        if self._memory is not None and used > self._memory:
            raise _too_much(used, self._memory)


def _too_much(used: int, limit: int) -> OutOfMemory:
    return OutOfMemory(
        f"{used / 1e9:.2f} GB of memory in use while a tile may use {limit / 1e9:.2f} GB: "
        "give --memory more, or fewer --threads",
        reason=Reason.OUT_OF_MEMORY,
    )


def _explain(code: int, oom_killed: bool, use: ProcessUse, limit: int | None) -> CropmaskError:
    """Why a child ended without a word."""
    if code != -signal.SIGKILL:
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return Interrupted(f"the process of the tile ended {how}", reason=Reason.CRASHED)
    if oom_killed or (limit is not None and use.memory >= _NEAR * limit):
        return OutOfMemory(
            f"the kernel killed the process of the tile at {use.peak_memory / 1e9:.2f} GB: give "
            "the container more memory, or fewer --threads",
            reason=Reason.OUT_OF_MEMORY,
        )
    return Interrupted("somebody killed the process of the tile", reason=Reason.KILLED)


def _with_use(outcome: Outcome, use: ProcessUse) -> Outcome:
    """The outcome, with what the system has counted where the child could not say it."""
    return replace(
        outcome,
        cpu_seconds=outcome.cpu_seconds or round(use.cpu_seconds, 3),
        peak_memory=max(outcome.peak_memory or 0, use.peak_memory) or None,
    )
