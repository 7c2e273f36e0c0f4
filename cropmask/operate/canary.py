"""The first tiles of a run, spread over the region: chosen, and judged before the rest is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Final

from cropmask.contract import MAX_RECEIVES
from cropmask.errors import Rejected
from cropmask.fleet.control import RunState, load_control
from cropmask.fleet.records import PercentBounds, RunRecord, State
from cropmask.grid import AFRICA_10, Tile
from cropmask.operate.findrun import load_run_status
from cropmask.operate.formats import format_count
from cropmask.operate.status import TileStatus
from cropmask.product import Product
from cropmask.remote.threads import map_threads
from cropmask.results.finder import find_item, find_products, make_place
from cropmask.stac.item import ResultItem
from cropmask.stac.statistics import crop_share
from cropmask.store.protocol import Store
from cropmask.task import Period, Task

_USUAL: Final[Mapping[str, PercentBounds]] = {"crop": (0.1, 90.0), "nodata": (0.0, 50.0)}
"""Bounds of all tiles together where none are stated and no tile has a result of last year."""
_MARGINS: Final = {"crop": 15.0, "nodata": 10.0}
"""How far the share of a tile may be from last year's, percentage points."""
_TILE_HECTARES: Final = AFRICA_10.size**2 / 1e4


def choose_spread(tiles: Iterable[Tile], number: int) -> tuple[Tile, ...]:
    """So many tiles, spread evenly over all: the same ones for the same tiles.

    All tiles are cut in two along the longer side, again and again, into as many parts of about
    equal size as tiles are wanted; of each part the tile nearest to its middle is taken.
    """
    every = sorted({*tiles})
    return tuple(_halve(every, min(number, len(every))))


def _halve(tiles: Sequence[Tile], number: int) -> list[Tile]:
    if number < 1:
        return []
    if number == 1:
        return [_find_middle(tiles)]
    columns, rows = {tile.x for tile in tiles}, {tile.y for tile in tiles}
    is_wide = max(columns) - min(columns) >= max(rows) - min(rows)
    along = sorted(tiles, key=lambda tile: (tile.x, tile.y) if is_wide else (tile.y, tile.x))
    few = number // 2
    cut = len(along) * few // number
    return _halve(along[:cut], few) + _halve(along[cut:], number - few)


def _find_middle(tiles: Sequence[Tile]) -> Tile:
    x = sum(tile.x for tile in tiles) / len(tiles)
    y = sum(tile.y for tile in tiles) / len(tiles)
    return min(tiles, key=lambda tile: ((tile.x - x) ** 2 + (tile.y - y) ** 2, tile))


@dataclass(frozen=True, slots=True)
class Shares:
    """What the map of some land says, hectares."""

    crop: float
    mapped: float
    land: float
    """Within the region."""

    @classmethod
    def of(cls, item: ResultItem) -> Shares:
        """Those of a tile's result."""
        mapped, outside = (
            float(item.statistics.get(name) or 0.0)
            for name in ("mapped_hectares", "outside_hectares")
        )
        crop = mapped * (crop_share(item) or 0.0) / 100
        return cls(crop, mapped, max(mapped, _TILE_HECTARES - outside))

    @property
    def percents(self) -> dict[str, float]:
        """Share of filtered cropland in what is mapped, and of what is not in the region's land."""
        crop = self.crop / self.mapped if self.mapped else 0.0
        nodata = 1 - self.mapped / self.land if self.land else 0.0
        return {"crop": 100 * crop, "nodata": 100 * nodata}

    def __add__(self, other: Shares) -> Shares:
        return Shares(self.crop + other.crop, self.mapped + other.mapped, self.land + other.land)


_NO_LAND: Final = Shares(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CanaryTile:
    """What is known of one tile."""

    tile: Tile
    state: str
    shares: Shares | None = None
    """None before it is done."""
    before: Shares | None = None
    """Those of its result of the year before; None if there is none."""
    problem: str | None = None
    """Why the canary fails by it; None if it does not."""


class CanaryState(StrEnum):
    """Where a canary stands."""

    WAITING = "waiting"
    """Tiles are not done yet."""
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """What was found of the first tiles of a run."""

    run: str
    tiles: tuple[CanaryTile, ...]
    rules: tuple[str, ...]
    """One line for each rule: what is asked for."""
    problems: tuple[str, ...]
    """One line for each that is not met."""

    @property
    def state(self) -> CanaryState:
        """Failed by any problem; passed if every tile is done and there is none."""
        if self.problems:
            return CanaryState.FAILED
        is_done = all(tile.shares is not None for tile in self.tiles)
        return CanaryState.PASSED if is_done else CanaryState.WAITING

    @property
    def done(self) -> int:
        """Tiles whose result is there."""
        return sum(tile.shares is not None for tile in self.tiles)


def judge_canary(
    record: RunRecord,
    tiles: Iterable[TileStatus],
    now: Mapping[Tile, Shares],
    before: Mapping[Tile, Shares],
    *,
    is_given_up: bool = False,
) -> CanaryVerdict:
    """Judge the first tiles of a run that has a canary.

    ``now`` and ``before`` are what the results of the tiles say, and those of the year before, as
    far as they are there; ``is_given_up`` that nobody has a task of it any more.
    """
    first = find_first(record)
    bounds = _find_bounds(record, is_compared=any(tile in before for tile in first))
    states = {found.tile: found for found in tiles}
    judged = []
    for tile in first:
        found = states.get(tile, TileStatus(tile, State.PENDING))
        shares = now.get(tile) if found.is_done else None
        known = CanaryTile(tile, found.state, shares, before.get(tile))
        problem = _find_failure(found, shares, is_given_up=is_given_up)
        judged.append(replace(known, problem=problem or _compare(known, bounds)))
    problems = [f"{tile.tile}: {tile.problem}" for tile in judged if tile.problem]
    if all(tile.shares for tile in judged):
        problems += _judge_together(judged, bounds)
    rules = ("no tile fails", *_describe_bounds(record, bounds))
    return CanaryVerdict(record.run, tuple(judged), rules, tuple(problems))


def find_first(record: RunRecord) -> tuple[Tile, ...]:
    """Tiles of the canary of a run; none if it has no canary."""
    number = record.canary.tiles if record.canary else 0
    return tuple(map(Tile.parse, record.tiles[:number]))


def _find_failure(found: TileStatus, shares: Shares | None, *, is_given_up: bool) -> str | None:
    if found.state == State.INVALID:
        return "its task was rejected"
    if found.state == State.CANCELED:
        return "its run was canceled"
    if found.state == State.FAILED and (is_given_up or found.attempts >= MAX_RECEIVES):
        return f"it failed {format_count(found.attempts, 'time')}"
    if found.state == State.PENDING and is_given_up:
        return "its task is no longer in the queue"
    return "its result is not there" if found.is_done and shares is None else None


def _find_bounds(record: RunRecord, *, is_compared: bool) -> dict[str, PercentBounds]:
    """What is asked of all tiles together: what is stated, or else usual without last year's."""
    assert record.canary is not None
    stated = {"crop": record.canary.crop, "nodata": record.canary.nodata}
    known = {name: bounds for name, bounds in stated.items() if bounds is not None}
    return known if is_compared else {**_USUAL, **known}


def _compare(tile: CanaryTile, bounds: Mapping[str, PercentBounds]) -> str | None:
    """What is too far from last year, of what has no bounds; None if nothing is."""
    if tile.shares is None or tile.before is None:
        return None
    shares, before = tile.shares.percents, tile.before.percents
    words = [
        f"{shares[name]:.1f} % {name}, {before[name]:.1f} % the year before"
        for name, margin in _MARGINS.items()
        if name not in bounds and abs(shares[name] - before[name]) > margin
    ]
    return "; ".join(words) or None


def _judge_together(
    tiles: Iterable[CanaryTile], bounds: Mapping[str, PercentBounds]
) -> Iterator[str]:
    shares = sum((tile.shares for tile in tiles if tile.shares), _NO_LAND).percents
    for name, (low, high) in bounds.items():
        if not low <= shares[name] <= high:
            yield f"all tiles together: {shares[name]:.1f} % {name}, not {low:g} to {high:g} %"


def _describe_bounds(record: RunRecord, bounds: Mapping[str, PercentBounds]) -> Iterator[str]:
    year = Period.parse(record.period).before.words
    for name, margin in _MARGINS.items():
        if name in bounds:
            low, high = bounds[name]
            yield f"{name} of all tiles together from {low:g} to {high:g} %"
        else:
            yield f"{name} of each tile within {margin:g} points of its result of {year}"


def look_at_canary(
    store: Store, product: Product, record: RunRecord, now: datetime, *, is_given_up: bool = False
) -> CanaryVerdict:
    """Judge the first tiles of a run by its records and by the results beside them.

    ``product`` is that of the run's region in its version; the rest as of :func:`judge_canary`.
    """
    first, period = find_first(record), Period.parse(record.period)
    status = load_run_status(store, record, now)
    verdict = judge_canary(
        record,
        status.tiles,
        _find_shares(store, [product], period, first),
        _find_shares(store, _list_versions(store, product), period.before, first),
        is_given_up=is_given_up,
    )
    end = find_stop(store, record)
    return verdict if end is None else replace(verdict, problems=(*verdict.problems, end))


def find_stop(store: Store, record: RunRecord) -> str | None:
    """Why the tiles of a run are not done any more, in a line; None if they are, or it waits."""
    control = load_control(store, *record.place)
    if control.state not in (RunState.CANCELED, RunState.STOPPED):
        return None
    return f"run {record.run} was {control.state}: {control.why or control.reason}"


def _list_versions(store: Store, product: Product) -> list[Product]:
    """A product in its version, then in others, the newest first."""
    others = [found for found in find_products(store, product.family) if found.name == product.name]
    return [product, *(found for found in reversed(others) if found != product)]


def _find_shares(
    store: Store, products: Sequence[Product], period: Period, tiles: Sequence[Tile]
) -> dict[Tile, Shares]:
    """What the results of tiles say: of each, that of the first product that has one."""
    find = partial(_find_tile_shares, store, products, period)
    found = zip(tiles, map_threads(find, tiles), strict=True)
    return {tile: shares for tile, shares in found if shares is not None}


def _find_tile_shares(
    store: Store, products: Sequence[Product], period: Period, tile: Tile
) -> Shares | None:
    for product in products:
        try:
            item = find_item(store, make_place(product, Task(tile, product.region, period)))
        except Rejected:  # what is there is no result of ours
            continue
        if item is not None:
            return Shares.of(item)
    return None
