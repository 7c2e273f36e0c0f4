"""Waiting for tiles: until they are done, or nobody will do them, or nobody works."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cropmask.fleet.records import RunRecord
from cropmask.operate.advice import SILENCE
from cropmask.operate.canary import CanaryState, CanaryVerdict, look_at_canary
from cropmask.operate.findrun import utc_now
from cropmask.product import Product
from cropmask.queue.protocol import Queue
from cropmask.store.protocol import Store

_EVERY_SECONDS: Final = 10.0
_EVERY_SECONDS_HERE: Final = 0.5
"""Between two looks at the records of a run, and where asking costs next to nothing."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """What time it is (UTC), and how to let some pass."""

    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class Silence:
    """Notices that nothing changes."""

    after: timedelta = SILENCE
    _seen: object = None
    _since: datetime | None = None
    _is_told: bool = False

    def hears(self, sign: object, now: datetime) -> bool:
        """Whether a sign of life has been the same for too long; True once until it changes."""
        if self._since is None or sign != self._seen:
            self._seen, self._since, self._is_told = sign, now, False
        is_long = not self._is_told and now - self._since >= self.after
        self._is_told = self._is_told or is_long
        return is_long


@dataclass(slots=True)
class Emptiness:
    """Notices that a queue has been empty for as long as its numbers may lag."""

    queue: Queue
    calendar: Calendar = field(default_factory=Calendar)
    _since: datetime | None = None

    def look(self) -> bool:
        """Whether it is empty, waiting and in flight."""
        if self.queue.counts().waiting:
            self._since = None
            return False
        now = self.calendar.now()
        self._since = self._since or now
        return (now - self._since).total_seconds() >= self.queue.lag_seconds


def pause_between_looks(queue: Queue) -> float:
    """Seconds between two looks at the records of a run that a queue has tasks of."""
    return _EVERY_SECONDS if queue.lag_seconds else _EVERY_SECONDS_HERE


def wait_for_canary(
    store: Store,
    queue: Queue,
    product: Product,
    record: RunRecord,
    tell: Callable[[CanaryVerdict], None] = lambda _verdict: None,
    calendar: Calendar | None = None,
) -> CanaryVerdict:
    """Wait until the first tiles of a run can be judged; ``tell`` hears how they stand.

    ``product`` is that of the run's region in its version.
    """
    calendar = calendar or Calendar()
    emptiness = Emptiness(queue, calendar)
    while True:
        is_given_up = emptiness.look()  # before the records: what ends meanwhile is in them
        verdict = look_at_canary(store, product, record, calendar.now(), is_given_up=is_given_up)
        tell(verdict)
        if verdict.state is not CanaryState.WAITING:
            return verdict
        calendar.sleep(pause_between_looks(queue))
