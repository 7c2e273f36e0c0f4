"""What a run may take: from what earlier tiles took, else from a stated default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from cropmask.contract import RUNS
from cropmask.fleet.recordfiles import find_attempts, load_attempts
from cropmask.fleet.records import AttemptKey, AttemptRecord, State
from cropmask.operate.formats import format_count
from cropmask.operate.status import choose_sample
from cropmask.product import SERIES_FAMILY, Recipe, find_family
from cropmask.site.price import Price, occupied_seconds
from cropmask.store.protocol import Store

NEWEST: Final = 40
"""Records that are read of the newest tiles; as many more are spread over all."""
DEFAULT_THREADS: Final = 2
"""Threads of the default figures."""
DEFAULTS: Final[dict[tuple[str, int], tuple[float, float]]] = {
    ("forest", 10): (107, 1.88e9),
    ("forest", 20): (28, 0.88e9),
    ("forest", 60): (6, 0.49e9),
    ("forest", 100): (5, 0.42e9),
    ("boosted", 10): (29, 1.98e9),
    ("boosted", 20): (11, 0.86e9),
    ("boosted", 60): (3, 0.48e9),
    ("boosted", 100): (2, 0.41e9),
}
"""Seconds and bytes of a tile by recipe and resolution, as measured in docs/performance.md on two
threads, reading local files."""
_MEASURED: Final = "what was measured on 2 CPUs with local files (docs/performance.md)"
SERIES_DEFAULTS: Final[dict[int, tuple[float, float]]] = {
    10: (60, 0.9e9),
    20: (17, 0.6e9),
    60: (3, 0.4e9),
    100: (2, 0.4e9),
}
"""The same of a tile of a series of six years, rounded up: docs/performance.md has one of 10 m; the
others are assumed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What some tiles may take."""

    tiles: int
    seconds_per_tile: float
    """Wall time of one tile in one worker."""
    cpu_seconds_per_tile: float
    """Of occupied CPUs: wall time on each of them."""
    memory: int
    """Bytes of one worker, at most."""
    records: int
    """Attempts of earlier runs that this rests on; 0 for the default."""
    basis: str
    """The same in words."""

    @property
    def worker_seconds(self) -> float:
        """Time that one worker would need."""
        return self.tiles * self.seconds_per_tile

    @property
    def cpu_seconds(self) -> float:
        """Of occupied CPUs."""
        return self.tiles * self.cpu_seconds_per_tile

    def seconds_with(self, workers: int) -> float:
        """Time that so many workers would need: the last tile waits for nobody."""
        rounds = -(-self.tiles // workers)
        return rounds * self.seconds_per_tile

    def dollars(self, price: Price) -> float:
        """Cost of the occupied CPUs."""
        return price.of(self.cpu_seconds)

    def dollars_of(self, tiles: int, price: Price) -> float:
        """Cost of another number of such tiles."""
        return price.of(tiles * self.cpu_seconds_per_tile)


def estimate(store: Store, product: str, recipe: Recipe, resolution: int, tiles: int) -> Estimate:
    """What some tiles of a recipe and resolution (meters) may take.

    Records of the product count; without any, those of other regions; without any of these, the
    figures of :data:`DEFAULTS`.
    """
    family = find_family(product)
    others = (
        name
        for name in store.folders(f"{RUNS}/")
        if name != product and find_family(name) == family
    )
    for products, words in (((product,), product), (others, "other regions")):
        records = [
            record
            for record in _load_sample(store, products)
            if (record.recipe, record.resolution) == (recipe, resolution) and record.seconds
        ]
        if records:
            return _from_records(records, tiles, words)
    if family == SERIES_FAMILY:
        return _default(
            SERIES_DEFAULTS[resolution],
            tiles,
            "a rough assumption from a tile of 10 m (docs/performance.md)",
        )
    return _default(DEFAULTS[recipe, resolution], tiles, _MEASURED)


def _load_sample(store: Store, products: Iterable[str]) -> list[AttemptRecord]:
    keys: list[AttemptKey] = []
    for product in products:
        for period in store.folders(f"{RUNS}/{product}/"):
            found = find_attempts(store, product, period)
            keys += [key for key in found if key.state is State.SUCCEEDED]
    newest = sorted(keys, key=lambda key: key.started)[-NEWEST:]
    sample = {*newest, *choose_sample(keys, NEWEST)}
    return list(load_attempts(store, sorted(sample)).values())


def _from_records(records: list[AttemptRecord], tiles: int, words: str) -> Estimate:
    seconds = fmean(record.seconds or 0.0 for record in records)
    occupied = fmean(occupied_seconds(record.seconds, record.threads) for record in records)
    memory = max(record.peak_memory or 0 for record in records)
    basis = f"{format_count(len(records), 'earlier tile')} of {words}"
    return Estimate(tiles, seconds, occupied, memory, len(records), basis)


def _default(figures: tuple[float, float], tiles: int, source: str) -> Estimate:
    seconds, memory = figures
    words = f"{source}, as no earlier tile of this recipe and resolution is known"
    return Estimate(tiles, seconds, DEFAULT_THREADS * seconds, int(memory), 0, words)
