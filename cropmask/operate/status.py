"""How far a run is: from names of attempts, and a few of their documents, to figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import Final

from cropmask.contract import TIME_LIMIT_SECONDS
from cropmask.errors import Reason
from cropmask.fleet.control import RunControl, RunState
from cropmask.fleet.gate import price_of
from cropmask.fleet.recordfiles import latest_states
from cropmask.fleet.records import PUT_ASIDE, AttemptKey, AttemptRecord, RunRecord, State
from cropmask.grid import Tile
from cropmask.site.price import Price, occupied_seconds

TILE_STATES: Final = (
    *("SUCCEEDED", "SKIPPED", "PROCESSING", "FAILED", "INVALID"),
    *("HELD", "CANCELED", "PENDING"),
)
"""Every state that is shown, in the order in which it is shown."""
_OVER: Final = ("SUCCEEDED", "SKIPPED", "INVALID", "CANCELED")
"""States after which nobody does anything."""
RECENT: Final = 64
"""Computed tiles that the throughput is taken from."""


@dataclass(frozen=True, slots=True, order=True)
class TileStatus:
    """Where one tile stands."""

    tile: Tile
    state: str
    """One of :data:`TILE_STATES`."""
    attempts: int = 0
    latest: AttemptKey | None = None
    """The attempt that counts."""

    @property
    def is_done(self) -> bool:
        """Whether its result is there."""
        return State(self.state).is_done


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Tiles whose attempt that counts failed for one reason."""

    state: State
    """FAILED or INVALID."""
    reason: str
    tiles: tuple[Tile, ...]
    """Sorted; more than one run has only if it failed often."""
    example: Tile
    error: str


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What all attempts of a run took so far."""

    cpu_seconds: float
    """Of occupied CPUs: wall time on each of them."""
    tile_seconds: float | None
    """Median wall time of a tile that was computed; None if none was."""
    sampled: int
    """Documents that these were taken from."""
    ended: int
    """Attempts that ended."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Everything that is known of a run at one moment."""

    record: RunRecord
    moment: datetime
    """UTC."""
    tiles: tuple[TileStatus, ...]
    """Sorted by tile; each tile of the run, and each that has an attempt, once."""
    failures: tuple[FailureGroup, ...]
    """Largest first."""
    spent: RunUsage
    retried: int
    """Attempts beyond the first of each tile."""
    per_hour: float | None
    """Tiles computed in an hour, lately; None before two are. Skipped ones take no time."""
    first: datetime | None
    """When the first attempt began."""
    last: datetime | None
    """When the latest attempt began."""
    control: RunControl = field(default_factory=RunControl)
    """What was last said about it."""

    @property
    def counts(self) -> dict[str, int]:
        """How many tiles are in each of :data:`TILE_STATES`; they sum to the number of tiles."""
        return count_states(self.tiles)

    @property
    def done(self) -> int:
        """Tiles whose result is there."""
        return sum(tile.is_done for tile in self.tiles)

    @property
    def remaining(self) -> int:
        """Tiles that somebody will still work on, or should."""
        return count_remaining(self.counts)

    @property
    def share(self) -> float:
        """Share of the tiles that is done, 0 to 1."""
        return self.done / len(self.tiles) if self.tiles else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Until nothing remains, at the throughput of late; None where that is not known.

        Some of what remains may be skipped, and the end then come sooner.
        """
        if self.remaining == 0:
            return 0.0
        return 3600 * self.remaining / self.per_hour if self.per_hour else None

    @property
    def ends(self) -> datetime | None:
        """When nothing may remain; None if that is not known, or far beyond any run."""
        seconds = self.seconds_left
        if not seconds or seconds > timedelta(days=365).total_seconds():
            return None
        return self.moment + timedelta(seconds=seconds)

    def dollars(self, price: Price) -> float:
        """Cost so far, at the price that the run was submitted with, else at another one."""
        return price_of(self.control, price).of(self.spent.cpu_seconds)

    def spent_share(self, price: Price) -> float | None:
        """Share of what the run may cost; None if it may cost anything."""
        limit = self.control.max_cost
        if limit is None:
            return None
        dollars = self.dollars(price)
        return dollars / limit if limit else float(dollars > 0)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing will happen before somebody says so: it waits or is over, all idle."""
        return not self.control.is_running and not self.counts["PROCESSING"]


def tile_statuses(keys: Iterable[AttemptKey], wanted: Iterable[Tile]) -> tuple[TileStatus, ...]:
    """State of every tile of a run, from the names of its attempts, in any order.

    The latest attempt of a tile counts; but a tile that was done once is done, whatever became of
    a message that was delivered twice. An attempt that ended while it was listed has two names.
    """
    by_tile: dict[Tile, list[AttemptKey]] = {tile: [] for tile in wanted}
    for key in latest_states(keys):
        by_tile.setdefault(key.tile, []).append(key)
    return tuple(_tile_status(tile, sorted(attempts)) for tile, attempts in sorted(by_tile.items()))


def _tile_status(tile: Tile, attempts: Sequence[AttemptKey]) -> TileStatus:
    if not attempts:
        return TileStatus(tile, State.PENDING)
    latest = next((key for key in reversed(attempts) if key.state.is_done), attempts[-1])
    tries = sum(key.state not in PUT_ASIDE for key in attempts)
    return TileStatus(tile, latest.state, tries, latest)


def count_states(tiles: Iterable[TileStatus]) -> dict[str, int]:
    """How many tiles are in each of :data:`TILE_STATES`."""
    found = Counter(tile.state for tile in tiles)
    return {shown: found[shown] for shown in TILE_STATES}


def count_remaining(counts: Mapping[str, int]) -> int:
    """How many tiles somebody will still work on, or should, of those in each state."""
    return sum(number for state, number in counts.items() if state not in _OVER)


def mark_unsent(
    record: RunRecord, control: RunControl, tiles: tuple[TileStatus, ...]
) -> tuple[TileStatus, ...]:
    """Tiles of a run; of one that was canceled, those that were never sent are canceled too."""
    if control.state is not RunState.CANCELED:
        return tiles
    unsent = {*record.tiles[record.sent :]}
    return tuple(
        replace(found, state=State.CANCELED)
        if found.state == State.PENDING and str(found.tile) in unsent
        else found
        for found in tiles
    )


def is_given_up(status: RunStatus, waiting: int | None) -> bool:
    """Whether all that remains has failed and nobody will try it again.

    ``waiting`` is how many messages somebody will still work on; None if that is not known.
    """
    return waiting == 0 and 0 < status.remaining == status.counts["FAILED"]


def choose_sample(keys: Iterable[AttemptKey], number: int) -> tuple[AttemptKey, ...]:
    """At most ``number`` ended attempts of each state, spread evenly over the run."""
    by_state: dict[State, list[AttemptKey]] = {}
    for key in sorted(keys, key=lambda key: (key.started, key.attempt)):
        by_state.setdefault(key.state, []).append(key)
    for state in (State.PROCESSING, *PUT_ASIDE):
        by_state.pop(state, None)
    chosen: list[AttemptKey] = []
    for found in by_state.values():
        few = min(len(found), number)
        chosen += [found[round(i * (len(found) - 1) / max(few - 1, 1))] for i in range(few)]
    return tuple(chosen)


def choose_failures(tiles: Iterable[TileStatus], number: int) -> tuple[AttemptKey, ...]:
    """At most ``number`` of the attempts that count and failed, the latest first."""
    failed = [
        tile.latest
        for tile in tiles
        if tile.latest is not None and tile.state in (State.FAILED, State.INVALID)
    ]
    return tuple(sorted(failed, key=lambda key: key.started, reverse=True)[:number])


def make_run_status(
    record: RunRecord,
    tiles: tuple[TileStatus, ...],
    keys: Sequence[AttemptKey],
    loaded: Mapping[AttemptKey, AttemptRecord],
    now: datetime,
    control: RunControl | None = None,
) -> RunStatus:
    """Figures of a run: of its tiles, of all names of attempts, and of documents of some.

    The documents are those of failed attempts and a sample of the others; ``control`` is what was
    last said about the run, if anything.
    """
    spent = _sum_usage(keys, loaded, now)
    starts = [key.started for key in keys if key.state not in PUT_ASIDE]
    is_over = all(s.state in _OVER for s in tiles)
    return RunStatus(
        record=record,
        moment=now,
        tiles=tiles,
        failures=_group(tiles, loaded),
        spent=spent,
        retried=sum(max(tile.attempts - 1, 0) for tile in tiles),
        per_hour=_throughput(keys, spent.tile_seconds or 0.0, None if is_over else now),
        first=min(starts, default=None),
        last=max(starts, default=None),
        control=control or RunControl(),
    )


def _group(
    tiles: Iterable[TileStatus], loaded: Mapping[AttemptKey, AttemptRecord]
) -> tuple[FailureGroup, ...]:
    groups: dict[tuple[State, str], list[tuple[AttemptKey, str]]] = {}
    for tile in tiles:
        key = tile.latest
        if key is None or tile.state not in (State.FAILED, State.INVALID):
            continue
        found = loaded.get(key)
        reason = (found and found.reason) or (Reason.UNKNOWN if found else "not looked at")
        error = (found and found.error) or ""
        groups.setdefault((key.state, reason), []).append((key, error))
    return tuple(
        sorted(
            (_group_of(state, reason, found) for (state, reason), found in groups.items()),
            key=lambda group: (-len(group.tiles), group.reason, group.state),
        )
    )


def _group_of(state: State, reason: str, found: Sequence[tuple[AttemptKey, str]]) -> FailureGroup:
    latest, error = max(found, key=lambda pair: (bool(pair[1]), pair[0].started))
    return FailureGroup(state, reason, tuple(sorted(k.tile for k, _ in found)), latest.tile, error)


def _sum_usage(
    keys: Sequence[AttemptKey],
    loaded: Mapping[AttemptKey, AttemptRecord],
    now: datetime,
) -> RunUsage:
    """What was loaded stands for the attempts of the same state that were not."""
    total, sampled, computed = 0.0, 0, []
    threads = [record.threads for record in loaded.values() if record.threads]
    usual = round(median(threads)) if threads else None
    keys = [key for key in keys if key.state not in PUT_ASIDE]
    ended = [key for key in keys if key.state is not State.PROCESSING]
    for state, number in Counter(key.state for key in ended).items():
        known = [record for key, record in loaded.items() if key.state is state]
        sampled += len(known)
        if known:
            mean = fmean(occupied_seconds(r.seconds, r.threads or usual) for r in known)
            total += number * mean
        if state is State.SUCCEEDED:
            computed = [record.seconds for record in known if record.seconds is not None]
    tile_seconds = median(computed) if computed else None
    finished = {key.attempt for key in ended}
    for key in keys:
        if key.attempt not in finished:
            seconds = min((now - key.started).total_seconds(), float(TIME_LIMIT_SECONDS))
            total += occupied_seconds(max(seconds, 0.0), usual)
    return RunUsage(total, tile_seconds, sampled, len(ended))


def _throughput(
    keys: Iterable[AttemptKey], tile_seconds: float, now: datetime | None
) -> float | None:
    """Tiles computed an hour, from when the latest ones began: as far apart as their ends.

    While the run goes on, ``now`` counts too, so that the figure falls while nothing ends. What
    was skipped took no time, and says nothing of what is left.
    """
    latest: dict[Tile, datetime] = {}
    for key in keys:
        if key.state is State.SUCCEEDED:
            latest[key.tile] = max(key.started, latest.get(key.tile, key.started))
    begun = sorted(latest.values())[-RECENT:]
    if len(begun) < 2:
        return None
    # A worker that is not late began the tile that it finished last two tiles' time ago, at most.
    end = begun[-1] if now is None else max(begun[-1], now - timedelta(seconds=2 * tile_seconds))
    seconds = (end - begun[0]).total_seconds()
    return 3600 * (len(begun) - 1) / seconds if seconds > 0 else None
