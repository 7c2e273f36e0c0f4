"""What a run has taken so far, counted while it goes on: each document is read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cropmask.contract import TIME_LIMIT_SECONDS
from cropmask.fleet.recordfiles import find_attempts, latest_states, load_attempts
from cropmask.fleet.records import PUT_ASIDE, AttemptKey, State
from cropmask.grid import Tile
from cropmask.site.price import occupied_seconds
from cropmask.store.protocol import Store

_NOT_COMPUTED: Final = (*PUT_ASIDE, State.SKIPPED)


@dataclass(frozen=True, slots=True)
class RunSpending:
    """What all attempts of a run took up to a moment."""

    cpu_seconds: float
    """Of occupied CPUs: wall time on each of them."""
    tiles: frozenset[Tile]
    """That somebody computed, or computes; what was skipped is not among them."""


@dataclass(slots=True)
class RunLedger:
    """Adds up the attempts of a run; what has ended is not looked at again."""

    store: Store
    product: str
    period: str
    run: str
    threads: int
    """CPUs of attempts that do not say theirs."""
    _ended: dict[str, float] = field(default_factory=dict)
    """CPU seconds of attempts that ended."""

    def look(self, now: datetime) -> RunSpending:
        """Everything up to a moment (UTC).

        Attempts that are running count by the time since they began, which of one whose worker has
        died is known only when somebody finds out, so for no longer than an attempt may take.

        Raises Misconfigured or Interrupted if the store refuses or fails.
        """
        keys = latest_states(find_attempts(self.store, self.product, self.period, self.run))
        ended = {key.attempt: key for key in keys if key.state is not State.PROCESSING}
        self._read([key for attempt, key in ended.items() if attempt not in self._ended])
        running = (
            min(max((now - key.started).total_seconds(), 0.0), float(TIME_LIMIT_SECONDS))
            for key in keys
            if key.state is State.PROCESSING
        )
        total = sum(self._ended.values()) + sum(
            occupied_seconds(seconds, self.threads) for seconds in running
        )
        tiles = frozenset(key.tile for key in keys if key.state not in _NOT_COMPUTED)
        return RunSpending(total, tiles)

    def _read(self, keys: list[AttemptKey]) -> None:
        self._ended |= {key.attempt: 0.0 for key in keys if key.state in PUT_ASIDE}
        paid = [key for key in keys if key.state not in PUT_ASIDE]
        for key, record in load_attempts(self.store, paid).items():
            seconds = occupied_seconds(record.seconds, record.threads or self.threads)
            self._ended[key.attempt] = seconds
