"""Fits how years of a region are smoothed, before any tile of the series is made.

As with colors, no tile does it by itself: its neighbors would be smoothed otherwise. The sample is
a few hundred windows of tiles that have enough years; a window is one place, since its pixels are
not independent of each other.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cropmask.core.series import mix_neighbors, uses_neighbors
from cropmask.core.seriesfit import FOLDS, fit_series
from cropmask.errors import Reason, Rejected
from cropmask.grid import Tile, geobox
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.operate.fitcolors import choose_tiles, choose_windows
from cropmask.operate.reconcile import expected_tiles
from cropmask.pixels.gdal import GdalRaster, open_reading_threads
from cropmask.pixels.resultrows import read_result_window
from cropmask.pixels.verify import expect_file, verify_files
from cropmask.product import CALIBRATED, LEAST_SERIES, NODATA, PROB, Product
from cropmask.region.region import Region
from cropmask.remote.threads import map_threads
from cropmask.results.finder import Dataset, find_finished, find_item, make_place
from cropmask.results.seriesfile import (
    RegionSeries,
    find_series,
    put_region_series,
    series_key,
)
from cropmask.site.site import Site
from cropmask.stac.item import ResultItem
from cropmask.store.protocol import Store
from cropmask.task import Period, Task
from cropmask.tile.series import blame_maps, check_resolution, make_band_source, write_series

WINDOWS: Final = 300
"""Windows that pixels are taken of, about."""
MOST_ACROSS: Final = 18
"""Windows of a tile along each edge, at most."""
MOST_PIXELS: Final = 60_000
"""Pixels of all windows, about; each is a sequence of years."""

Years = Mapping[Period, ResultItem]
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesFit:
    """What was fitted, or was there."""

    fitted: RegionSeries
    address: str
    is_new: bool
    """Whether the file was written now."""
    unmapped: tuple[Period, ...]
    """Years of which no tile has a map."""


def fit_region_series(
    region: Region,
    period: Period,
    site: Site,
    *,
    gain: float | None = None,
    loss: float | None = None,
    overwrite: bool = False,
    progress: Progress = tell_nobody,
) -> SeriesFit:
    """Fit how years of a region are smoothed, and write it beside the results.

    Equal maps give equal figures. What is there is kept, unless it is to be replaced: then every
    tile that was made with it counts as changed. ``gain`` and ``loss`` are rates a year in place of
    those that are fitted; evidence is fitted all the same.

    Raises Rejected if too few tiles have enough years, or a map is not as it must be; Misconfigured
    if the site cannot be used; Interrupted if something cannot be read or written now.
    """
    period.check_series()
    store, product = site.store(), region.product
    progress("search", 0.0)
    known = None if overwrite else find_series(store, product, period, site.resolution)
    if known is not None:
        fit = write_series(site, region, period, command="series fit")
        _refuse_other_rates(known, fit, gain=gain, loss=loss)
    mapped = _list_mapped(store, product, period)
    with_maps = {dataset.period for dataset in mapped}
    unmapped = tuple(year for year in period.years if str(year) not in with_maps)
    if known is not None:
        address = store.uri(series_key(product, period, site.resolution))
        return SeriesFit(known, address, is_new=False, unmapped=unmapped)
    store.check_writable()
    fitted = _fit(_find_maps(site, region, period, mapped), period, site, gain, loss, progress)
    address = put_region_series(store, product, period, site.resolution, fitted)
    return SeriesFit(fitted, address, is_new=True, unmapped=unmapped)


def _fit(
    maps: _Maps,
    period: Period,
    site: Site,
    gain: float | None,
    loss: float | None,
    progress: Progress,
) -> RegionSeries:
    """How years are smoothed, from pixels of some windows."""
    values, places, tiles, damaged = _take_samples(maps, period, site, progress)
    count = len(np.unique(places))
    if count < FOLDS:
        raise Rejected(
            f"{count} windows of {len(maps.tiles)} tiles of region {maps.region.name} have data, "
            f"and rates need {FOLDS}: map more of the region",
            reason=Reason.NO_RESULTS,
        )
    progress("fit", 0.0)
    found = fit_series(values, places)
    model = replace(
        found.model,
        gain=found.model.gain if gain is None else gain,
        loss=found.model.loss if loss is None else loss,
    )
    return RegionSeries(
        model,
        found.gain if gain is None else None,
        found.loss if loss is None else None,
        maps.band,
        tiles,
        count,
        values.shape[1],
        any(item.synthetic for years in maps.tiles.values() for item in years.values()),
        {str(tile): str(why.reason) for tile, why in {**maps.left_out, **damaged}.items()},
    )


def _refuse_other_rates(known: RegionSeries, fit: str, **asked: float | None) -> None:
    """Raise Rejected if rates are asked for that are not those that are there."""
    given = {name: rate for name, rate in asked.items() if rate is not None}
    words = "".join(f" --{name} {rate}" for name, rate in given.items())
    for name, rate in given.items():
        there = getattr(known.model, name)
        if rate != there:
            raise Rejected(
                f"a {name} of {there} is there already, not {rate}: replace it with "
                f"'{fit}{words} --overwrite'",
                reason=Reason.CHANGED,
            )


def _list_mapped(store: Store, product: Product, period: Period) -> tuple[Dataset, ...]:
    """Finished maps of the years, by one listing."""
    years = set(map(str, period.years))
    return tuple(each for each in find_finished(store, product) if each.period in years)


def _name_mapped(store: Store, product: Product) -> str:
    """Years or seasons that have maps, for somebody who has named others."""
    mapped = sorted({Period.parse(each.period) for each in find_finished(store, product)})
    return ", ".join(period.span for period in mapped) or "none"


@dataclass(frozen=True, slots=True)
class _Maps:
    """Maps of a region that a series can be made of."""

    region: Region
    tiles: Mapping[Tile, Years]
    """Of tiles that have enough years."""
    band: str
    """What evidence is read of: calibrated percentages if every map has them."""
    left_out: Mapping[Tile, Rejected]
    """Other tiles that have, whose items cannot be read."""


def _find_maps(site: Site, region: Region, period: Period, mapped: Sequence[Dataset]) -> _Maps:
    store, product = site.store(), region.product
    wanted = set(expected_tiles(site, region))
    by_tile: dict[Tile, list[Dataset]] = {}
    for dataset in mapped:
        if dataset.tile in wanted:
            by_tile.setdefault(dataset.tile, []).append(dataset)
    usable = {tile: found for tile, found in by_tile.items() if len(found) >= LEAST_SERIES}
    if not usable:
        most = max(map(len, by_tile.values()), default=0)
        raise Rejected(
            f"of {len(wanted)} tiles of region {region.name}, none has maps of {LEAST_SERIES} of "
            f"the {period.noun} {period} in {store.uri(product.folder)}, where there are "
            f"{_name_mapped(store, product)}; the most that one has is {most}: map more "
            f"{period.noun}",
            reason=Reason.TOO_FEW_YEARS,
        )

    def open_years(tile: Tile) -> Years:
        years = [Period.parse(dataset.period) for dataset in usable[tile]]
        items = {
            year: find_item(store, make_place(product, Task(tile, region.name, year)))
            for year in years
        }
        return {year: item for year, item in items.items() if item is not None}

    tiles, left_out = _try_each(open_years, sorted(usable), lambda _done, _every: None)
    items = [item for years in tiles.values() for item in years.values()]
    for item in items:
        check_resolution(item, site.resolution, store)
    is_calibrated = all(CALIBRATED.name in item.assets for item in items)
    return _Maps(region, tiles, CALIBRATED.name if is_calibrated else PROB.name, left_out)


def _try_each(
    action: Callable[[Tile], T], tiles: Sequence[Tile], tell: Callable[[int, int], None]
) -> tuple[dict[Tile, T], dict[Tile, Rejected]]:
    """What comes of tiles, a few at a time, and why nothing does of those with a damaged map.

    Raises Rejected if nothing comes of any.
    """

    def attempt(tile: Tile) -> T | Rejected:
        try:
            return action(tile)
        except Rejected as error:
            log.warning("no rates are learned from tile %s: %s", tile, error)
            return error

    every = dict(zip(tiles, map_threads(attempt, tiles, tell), strict=True))
    left_out = {tile: each for tile, each in every.items() if isinstance(each, Rejected)}
    found = {tile: each for tile, each in every.items() if not isinstance(each, Rejected)}
    if not found:
        raise next(iter(left_out.values()))
    return found, left_out


def _take_samples(
    maps: _Maps, period: Period, site: Site, progress: Progress
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, dict[Tile, Rejected]]:
    """``(year, pixel)`` of some pixels' evidence, their places, how many tiles, those left out."""
    chosen = choose_tiles(tuple(maps.tiles))
    across = min(max(3, math.ceil(math.sqrt(WINDOWS / len(chosen)))), MOST_ACROSS)
    reader = _Reader(maps, period, site, across, len(chosen))
    read, left_out = _try_each(
        reader.read, chosen, lambda done, every: progress("years", done / every)
    )
    values = np.concatenate([*read.values()], axis=1)  # (year, window, pixel)
    places = np.repeat(np.arange(values.shape[1]), values.shape[2])
    flat = values.reshape(len(values), -1)
    seen = (flat != NODATA).any(axis=0)
    return flat[:, seen], places[seen], len(read), left_out


class _Reader:
    """Reads windows of all years of tiles; many tiles at the same time."""

    def __init__(self, maps: _Maps, period: Period, site: Site, across: int, tiles: int) -> None:
        self._maps = maps
        self._years = period.years
        self._site = site
        self._store = site.store()
        self._across = across
        self._tiles = tiles

    def read(self, tile: Tile) -> NDArray[np.uint8]:
        """``(year, window, pixel)``: percentages of some pixels, as smoothing has them."""
        box = geobox(tile, self._site.resolution)
        windows = choose_windows(box, self._across)
        every = self._tiles * len(windows) * windows[0].pixels
        step = max(math.ceil(math.sqrt(every / MOST_PIXELS)), 1)
        edge = windows[0].rows
        picked = np.arange(min(step // 2, edge - 1), edge, step)
        out = np.full((len(self._years), len(windows), len(picked) ** 2), NODATA, np.uint8)
        options = self._site.read_results.at(self._site.output)
        none = np.empty((0, edge), np.uint8)

        def load(number: int) -> None:
            item = self._maps.tiles[tile].get(self._years[number])
            if item is None:
                return
            source = make_band_source(self._store, item, self._maps.band)
            verify_files([source], options, is_whole=False)
            with GdalRaster(source.href, options) as raster:
                if raster.remote is not None:
                    expect_file(raster.remote, source, options, is_whole=False)
                for window, values in zip(windows, out[number], strict=True):
                    pixels = read_result_window(raster, window, box.shape[0])
                    if uses_neighbors(self._site.resolution):
                        pixels = mix_neighbors(pixels, none, none)
                    values[:] = pixels[np.ix_(picked, picked)].ravel()
                if raster.remote is not None:
                    raster.remote.check()

        items = [*self._maps.tiles[tile].values()]
        with (
            blame_maps(self._site, self._maps.region, items),
            open_reading_threads(options) as threads,
        ):
            for _ in threads.map(load, range(len(self._years))):
                pass
        return out
