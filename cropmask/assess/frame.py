"""The pixels that a sample is drawn from: finished tiles of a run, read by strips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from cropmask.assess.change import CHANGE_NAMES, combine_classes, find_flicker, part_flicker
from cropmask.assess.design import Sample, SampleDesign, SampledTile, find_centers, make_strata
from cropmask.assess.districts import Districts
from cropmask.assess.draw import (
    CROP,
    FLICKER,
    STRIP_ROWS,
    YEARLY,
    Bytes,
    MapStrip,
    PixelCounts,
    Stratifier,
    StripHits,
    choose_pixels,
    count_strips,
    find_strips,
    locate,
)
from cropmask.contract import VERSION
from cropmask.core.series import UNCERTAIN
from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.grid import AFRICA_10, CRS, GridWindow, Tile
from cropmask.machine.stages import ShareDone
from cropmask.pixels.gdal import GdalRaster, open_reading_threads
from cropmask.pixels.resultrows import read_result_rows
from cropmask.product import CHANGE_CLASS, FLICKERS, NODATA, Product
from cropmask.remote.fetch import ReadOptions
from cropmask.remote.threads import map_threads
from cropmask.results.finder import Dataset, find_finished, find_item, key_beside, make_place
from cropmask.stac.facts import suffix_of
from cropmask.store.protocol import Store
from cropmask.task import Period, Task, choose_product

PLOT_SHIFTS: Final = {1: ((0, 0),), 3: tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))}
"""Rows and columns of the points of a plot from its middle."""
SINCE: Final = "since"
"""Stands for the sampled band of the earlier map, among the bands of a sample of change."""
FIRST: Final = "first "
"""Begins the names of bands of the map of a series' first year; those of its last have their
own."""
BETWEEN: Final = "between "
"""Begins the names of the same band of the years between, before the period."""
_ORDER: Final = 2**32
"""Number of the random stream that orders points, beyond those of strata."""


@dataclass(frozen=True, slots=True)
class FrameTile:
    """A finished tile of one region."""

    region: str
    tile: Tile
    run_key: str
    version: str
    resolution: int
    model: str
    """Recipe and digest of the model."""
    synthetic: bool
    hrefs: Mapping[str, str]
    """Address of each band by name."""
    bytes: Mapping[str, int]
    """Size of each band's file."""
    before: tuple[str, ...] = ()
    """The sampled band of regions that come first by name, for tiles that they share: what these
    map is theirs."""


@dataclass(frozen=True, slots=True)
class Frame:
    """All tiles that a sample is drawn from, sorted by region and tile."""

    products: tuple[Product, ...]
    period: Period
    tiles: tuple[FrameTile, ...]
    missing: tuple[str, ...]
    """Tiles of the regions that have no result."""
    options: ReadOptions
    since: Period | None = None
    """That of the earlier maps, where change is sampled."""

    @property
    def resolution(self) -> int:
        """Pixel size in meters."""
        return self.tiles[0].resolution

    def bytes_of(self, bands: Sequence[str]) -> int:
        """Size of the files of some bands."""
        return sum(each.bytes.get(name, 0) for each in self.tiles for name in bands)

    @property
    def earlier(self) -> tuple[str, ...]:
        """Names of the sampled band of the years before the last, in any tile."""
        names = {name for each in self.tiles for name in each.hrefs}
        return tuple(sorted(name for name in names if name == SINCE or name.startswith(BETWEEN)))


def find_frame(
    store: Store,
    regions: Mapping[str, tuple[Product, Sequence[Tile]]],
    period: Period,
    bands: Sequence[str],
    options: ReadOptions,
    since: Period | None = None,
    between: Sequence[Period] = (),
    *,
    first: Callable[[], str] = lambda: "map the region first",
) -> Frame:
    """Finished tiles of regions, each with the product of its maps and the tiles that it has.

    With ``since``, those that are finished in that period as well, for a sample of change; with
    ``between``, each has the maps of these years as far as there are any. Of a series, each has
    those of its first and its last year likewise. ``first`` says what to do if nothing is
    finished.

    Raises Rejected if nothing is finished, a tile has not these bands, pixel sizes differ, or tiles
    of a region are maps of different models.
    """
    periods = (period,) if since is None else (since, period)
    opened: list[list[FrameTile]] = [[] for _ in periods]
    missing: list[str] = []
    for name, (product, expected) in sorted(regions.items()):
        of_period = choose_product(product, period)
        every = [_find_finished(store, of_period, each, expected) for each in periods]
        there = set.intersection(*({dataset.tile for dataset in some} for some in every))
        missing += sorted(str(tile) for tile in set(expected) - there)
        for tiles, some in zip(opened, every, strict=True):
            datasets = [dataset for dataset in some if dataset.tile in there]
            tiles += map_threads(partial(_open_tile, store, name, bands), datasets)
    found = opened[-1]
    if not found:
        places = ", ".join(
            store.uri(choose_product(product, period).folder) for product, _ in regions.values()
        )
        raise Rejected(
            f"no tile of {' and of '.join(map(str, periods))} is finished in {places}: {first()}",
            reason=Reason.NO_RESULTS,
        )
    sizes = sorted({each.resolution for tiles in opened for each in tiles})
    if len(sizes) > 1:
        raise Rejected(
            f"tiles have pixels of {' and '.join(map(str, sizes))} m: map all of them at one size",
            reason=Reason.CHANGED,
        )
    for tiles in opened:
        _check_models(tiles)
    if since is not None:
        earlier, last = opened
        more = _find_between(store, regions, between, bands[0])
        found = [
            _join_years(a, more.get((a.region, a.tile), {}), b, bands[0])
            for a, b in zip(earlier, last, strict=True)
        ]
    if period.is_series:
        found = _add_ends(store, regions, period, found)
    products = tuple(choose_product(product, period) for _, (product, _) in sorted(regions.items()))
    return Frame(products, period, _divide(found, bands[0]), tuple(missing), options, since)


def _find_finished(
    store: Store, product: Product, period: Period, expected: Sequence[Tile]
) -> list[Dataset]:
    wanted = set(expected)
    return [each for each in find_finished(store, product, str(period)) if each.tile in wanted]


def _add_ends(
    store: Store,
    regions: Mapping[str, tuple[Product, Sequence[Tile]]],
    period: Period,
    found: Sequence[FrameTile],
) -> list[FrameTile]:
    """Tiles of a series with bands of the maps of its first and last year, as far as there are any.

    A map with other pixels than the series is as good as none.
    """
    tiles = {(each.region, each.tile): each for each in found}
    for year, begin in ((period.years[0], FIRST), (period.years[-1], "")):
        for name, (product, _) in regions.items():
            mine = [each.tile for each in found if each.region == name]
            datasets = _find_finished(store, product, year, mine)
            for of_year in map_threads(partial(_open_tile, store, name, YEARLY), datasets):
                at = (name, of_year.tile)
                if of_year.resolution == tiles[at].resolution:
                    tiles[at] = _add_bands(tiles[at], of_year, begin)
    return list(tiles.values())


def _add_bands(tile: FrameTile, of_year: FrameTile, begin: str) -> FrameTile:
    """A tile with the bands of a map of its years, whose names begin so."""
    hrefs = {f"{begin}{name}": href for name, href in of_year.hrefs.items()}
    sizes = {f"{begin}{name}": size for name, size in of_year.bytes.items()}
    return replace(tile, hrefs={**tile.hrefs, **hrefs}, bytes={**tile.bytes, **sizes})


def _find_between(
    store: Store,
    regions: Mapping[str, tuple[Product, Sequence[Tile]]],
    periods: Sequence[Period],
    band: str,
) -> dict[tuple[str, Tile], dict[str, FrameTile]]:
    """Tiles of the years between, by region and tile, then by the name of their band."""
    found: dict[tuple[str, Tile], dict[str, FrameTile]] = {}
    for period in periods:
        for name, (product, expected) in regions.items():
            datasets = _find_finished(store, product, period, expected)
            tiles = map_threads(partial(_open_tile, store, name, (band,)), datasets)
            _check_models(tiles)
            for each in tiles:
                found.setdefault((name, each.tile), {})[f"{BETWEEN}{period}"] = each
    if periods and not found:
        raise Rejected(
            f"no tile is finished in a year between ({', '.join(map(str, periods))}), which tell "
            "what flickers: map one, or leave flicker out of the strata",
            reason=Reason.NO_RESULTS,
        )
    return found


def _join_years(
    since: FrameTile, between: Mapping[str, FrameTile], until: FrameTile, band: str
) -> FrameTile:
    """A tile of several years, with the band of the earlier ones beside those of the last."""
    earlier = {SINCE: since, **between}
    every = [*earlier.values(), until]
    if len({each.resolution for each in every}) > 1:
        raise Rejected(
            f"the maps of tile {until.tile} of {until.region} have pixels of several sizes: map "
            "all years at one size",
            reason=Reason.CHANGED,
        )
    return replace(
        until,
        run_key=" ".join(each.run_key for each in every),
        synthetic=any(each.synthetic for each in every),
        hrefs={**until.hrefs, **{name: each.hrefs[band] for name, each in earlier.items()}},
        bytes={**until.bytes, **{name: each.bytes[band] for name, each in earlier.items()}},
    )


def _check_models(tiles: Sequence[FrameTile]) -> None:
    """Rejected if a region is not the map of one model: no figure would be that of a map."""
    first: dict[str, FrameTile] = {}
    for each in tiles:
        known = first.setdefault(each.region, each)
        if each.model != known.model:
            raise Rejected(
                f"tiles of {each.region} are of different models ({known.tile} of "
                f"'{known.model}', {each.tile} of '{each.model}'): map all of them with one",
                reason=Reason.CHANGED,
            )


def _open_tile(store: Store, region: str, bands: Sequence[str], dataset: Dataset) -> FrameTile:
    task = Task(dataset.tile, region, Period.parse(dataset.period))
    item = find_item(store, make_place(dataset.product, task))
    if item is None:
        raise Interrupted(f"{store.uri(dataset.item_key)} was removed just now: try again later")
    if item.resolution < 1 or int(AFRICA_10.size) % item.resolution:
        raise Rejected(
            f"{store.uri(dataset.item_key)} says that a pixel has {item.resolution} m, which "
            "divide no tile: map the tile again",
            reason=Reason.BAD_ITEM,
        )
    names = {name: key_beside(dataset.item_key, suffix_of(name)) for name in bands}
    lacking = [name for name, key in names.items() if key.rpartition("/")[2] not in dataset.entries]
    if lacking:
        raise Rejected(
            f"tile {dataset.tile} of {dataset.product.name} has no band '{lacking[0]}': map it "
            f"with --bands +{lacking[0]}, or leave it out of the strata",
            reason=Reason.NO_RESULTS,
        )
    return FrameTile(
        region,
        dataset.tile,
        item.run_key,
        item.version,
        item.resolution,
        f"{item.model.get('recipe')} {str(item.model.get('sha256'))[:8]}",
        item.synthetic,
        {name: store.uri(key) for name, key in names.items()},
        {name: dataset.entries[key.rpartition("/")[2]].size for name, key in names.items()},
    )


def _divide(found: Sequence[FrameTile], band: str) -> tuple[FrameTile, ...]:
    """Tiles in their order; each knows the regions that come before it in the same tile."""
    taken: dict[Tile, tuple[str, ...]] = {}
    divided = []
    for each in sorted(found, key=lambda one: (one.region, one.tile)):
        divided.append(replace(each, before=taken.get(each.tile, ())))
        taken[each.tile] = (*taken.get(each.tile, ()), each.hrefs[band])
    return tuple(divided)


class FrameReader:
    """Reads strips of the tiles of a frame."""

    def __init__(
        self, frame: Frame, stratifier: Stratifier, districts: Districts | None = None
    ) -> None:
        self._frame = frame
        self._stratifier = stratifier
        self._districts = districts

    def count(self, tile: FrameTile) -> PixelCounts:
        """Pixels of each stratum of a tile, ``(strip, 1 + stratum)``; nodata first."""
        return count_strips(self.strips(tile), self._stratifier)

    def strips(self, tile: FrameTile, only: Sequence[int] | None = None) -> Iterator[MapStrip]:
        """Strips of a tile from north to south; ``only`` some of them by number."""
        window = GridWindow.of_tile(tile.tile, tile.resolution)
        halo = self._stratifier.buffer
        names = self._stratifier.bands
        earlier = [SINCE] if self._stratifier.since else []
        if self._stratifier.flicker:
            earlier += sorted(name for name in tile.hrefs if name.startswith(BETWEEN))
        classes = names[0]
        with _Open(tile, (*names, *earlier), self._frame.options) as rasters:
            numbers = range(-(-window.rows // STRIP_ROWS)) if only is None else only
            for number in numbers:
                row = number * STRIP_ROWS
                rows = min(STRIP_ROWS, window.rows - row)
                bands = {
                    name: rasters.read(name, row - halo, rows + 2 * halo) for name in names[1:]
                }
                bands[classes] = rasters.read_classes(classes, row - halo, rows + 2 * halo)
                rasters.leave_out(bands[classes], row - halo)
                if earlier:
                    years = [rasters.read_classes(name, row, rows) for name in earlier]
                    years.append(bands[classes])
                    bands[classes] = combine_classes(years[0], years[-1])
                    bands[FLICKER] = find_flicker(years).astype(np.uint8)
                elif self._stratifier.series:
                    bands[classes] = part_flicker(bands[classes], bands[FLICKERS.name])
                part = window.part(row, 0, rows, window.columns)
                districts = None if self._districts is None else self._districts.number(part)
                yield MapStrip(bands, row, rows, halo, districts)

    def find(self, tile: FrameTile, hits: Sequence[StripHits]) -> list[NDArray[np.int64]]:
        """Row and column in the tile ``(point, 2)`` of the chosen pixels of some strips."""
        strips = self.strips(tile, [each.strip for each in hits])
        return [
            locate(self._stratifier.code(strip), each) + np.array([strip.row, 0])
            for strip, each in zip(strips, hits, strict=True)
        ]


class _Open:
    """Bands of a tile, open."""

    def __init__(self, tile: FrameTile, names: Sequence[str], options: ReadOptions) -> None:
        self._rasters = {name: GdalRaster(tile.hrefs[name], options) for name in names}
        self._before = [GdalRaster(href, options) for href in tile.before]
        self._edge = GridWindow.of_tile(tile.tile, tile.resolution).rows

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: object) -> None:
        for raster in (*self._rasters.values(), *self._before):
            raster.close()

    def read(self, name: str, row: int, rows: int) -> Bytes:
        """Rows of a band over all columns, nodata beyond the tile."""
        return read_result_rows(self._rasters[name], row, rows, self._edge)

    def read_classes(self, name: str, row: int, rows: int) -> Bytes:
        """Rows of a band of classes; Rejected if it has a value that is none."""
        pixels = self.read(name, row, rows)
        last = UNCERTAIN if name == CHANGE_CLASS.name else CROP
        strange = (pixels > last) & (pixels != NODATA)
        if strange.any():
            raise Rejected(
                f"{self._rasters[name].href} has the value {pixels[strange][0]}, which is no class "
                "of a map: map the tile again",
                reason=Reason.BAD_VALUE,
            )
        return pixels

    def leave_out(self, pixels: Bytes, row: int) -> None:
        """Set to nodata what a region that comes before has mapped."""
        for raster in self._before:
            pixels[read_result_rows(raster, row, len(pixels), self._edge) != NODATA] = NODATA

    def read_places(
        self, name: str, row: NDArray[np.int64], column: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Values of a band at rows and columns ``(point,)``."""

        def read(opened: Any) -> NDArray[np.int64]:  # noqa: ANN401 (rasterio is untyped)
            order = np.lexsort((column, row))  # a block is decoded once
            out = np.empty(len(row), np.int64)
            for at in order.tolist():
                window = Window(int(column[at]), int(row[at]), 1, 1)
                out[at] = opened.read(1, window=window)[0, 0]
            return out

        return self._rasters[name].use(read)


def count_difference(
    frame: Frame,
    regions: Collection[str],
    band: str,
    progress: ShareDone = lambda _share: None,
) -> NDArray[np.int64] | None:
    """Pixels by class of change of the maps of a series' first and last year ``(class,)``.

    Of some regions, and of pixels that the series and both maps have; None if no tile has both
    maps. Raises Interrupted and Rejected as reading does.
    """
    names = (f"{FIRST}{band}", band)
    tiles = [each for each in frame.tiles if each.region in regions and {*names} <= {*each.hrefs}]

    def count(tile: FrameTile) -> NDArray[np.int64]:
        edge = GridWindow.of_tile(tile.tile, tile.resolution).rows
        total = np.zeros(NODATA + 1, np.int64)
        with _Open(tile, (CHANGE_CLASS.name, *names), frame.options) as rasters:
            for row in range(0, edge, STRIP_ROWS):
                rows = min(STRIP_ROWS, edge - row)
                change = combine_classes(*(rasters.read_classes(n, row, rows) for n in names))
                change[rasters.read(CHANGE_CLASS.name, row, rows) == NODATA] = NODATA
                rasters.leave_out(change, row)
                total += np.bincount(change.reshape(-1), minlength=len(total))
        return total[: len(CHANGE_NAMES)]

    if not tiles:
        return None
    found = np.zeros(len(CHANGE_NAMES), np.int64)
    with open_reading_threads(frame.options) as pool:
        for done, each in enumerate(pool.map(count, tiles), 1):
            found += each
            progress(done / len(tiles))
    return found


def read_at(
    frame: Frame, x: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[str]
) -> NDArray[np.int64]:
    """Classes of the map at places in meters of EPSG:6933, ``(band, point)``; 255 where none is.

    Of several regions that map a place, the first by name counts. Raises Interrupted and Rejected
    as reading does.
    """
    found = np.full((len(names), len(x)), NODATA, np.int64)
    edge = AFRICA_10.size
    column, row = (x - AFRICA_10.left) / edge, (y - AFRICA_10.bottom) / edge
    at = np.column_stack([np.floor(column), np.floor(row)]).astype(np.int64)

    def read(tile: FrameTile) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        here = (at == (tile.tile.x, tile.tile.y)).all(1)
        left, _, _, top = tile.tile.bounds
        rows = ((top - y[here]) // tile.resolution).astype(np.int64)
        columns = ((x[here] - left) // tile.resolution).astype(np.int64)
        # A place on its southern edge, which is the tile's own, has no pixel below it.
        rows = np.minimum(rows, int(edge) // tile.resolution - 1)
        with _Open(tile, names, frame.options) as rasters:
            return here, np.array([rasters.read_places(name, rows, columns) for name in names])

    asked = [tile for tile in frame.tiles if (at == (tile.tile.x, tile.tile.y)).all(1).any()]
    with open_reading_threads(frame.options) as pool:
        for here, values in pool.map(read, asked):
            known = found[:, here]
            found[:, here] = np.where(known == NODATA, values, known)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class FrameCounts:
    """How large strata are."""

    names: tuple[tuple[str, str, int], ...]
    """Name, region and class of the strata that have pixels."""
    pixels: NDArray[np.int64]
    """Of these strata, ``(stratum,)``."""
    codes: NDArray[np.int64]
    """Number of these strata in the code of pixels of their region, ``(stratum,)``."""
    by_strip: tuple[PixelCounts, ...]
    """Pixels of these strata by strip, ``(strip, stratum)``, of every tile."""
    unseen: int
    """Pixels of nodata."""


def count_frame(
    frame: Frame,
    stratifier: Stratifier,
    districts: Districts | None = None,
    progress: ShareDone = lambda _share: None,
) -> FrameCounts:
    """Count every stratum, exactly: all pixels of the bands that strata are made of are read.

    Raises Interrupted and Rejected as reading does.
    """
    stratifier.check()
    reader = FrameReader(frame, stratifier, districts)
    counts: list[PixelCounts] = []
    with open_reading_threads(frame.options) as pool:
        for found in pool.map(reader.count, frame.tiles):
            counts.append(found)
            progress(len(counts) / len(frame.tiles))
    return _sum_up(frame, stratifier, counts)


def _sum_up(frame: Frame, stratifier: Stratifier, counts: Sequence[PixelCounts]) -> FrameCounts:
    """Strata of every region that have pixels."""
    regions = sorted({each.region for each in frame.tiles})
    names = stratifier.names
    totals = np.zeros((len(regions), 1 + len(names)), np.int64)
    for each, found in zip(frame.tiles, counts, strict=True):
        totals[regions.index(each.region)] += found.sum(axis=0, dtype=np.int64)
    places = [
        (number, at)
        for number in range(len(regions))
        for at in range(len(names))
        if totals[number, 1 + at]
    ]
    if not places:
        raise Rejected(
            f"all pixels of {len(frame.tiles)} tiles are nodata: there is nothing to sample",
            reason=Reason.NO_RESULTS,
        )
    owners, codes = np.array(places).T
    by_strip = tuple(
        found[:, 1 + codes] * (owners == regions.index(each.region))
        for each, found in zip(frame.tiles, counts, strict=True)
    )
    titles = [f"{region}, " if len(regions) > 1 else "" for region in regions]
    return FrameCounts(
        tuple((f"{titles[n]}{names[at][0]}", regions[n], names[at][1]) for n, at in places),
        totals[owners, 1 + codes],
        codes,
        by_strip,
        int(totals[:, 0].sum()),
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """How points are drawn."""

    points: NDArray[np.int64]
    """Points, or plots, of each stratum ``(stratum,)``."""
    allocation: str
    seed: int
    plot_pixels: int = 1


def draw_sample(
    frame: Frame,
    stratifier: Stratifier,
    counts: FrameCounts,
    choice: Choice,
    districts: Districts | None = None,
    progress: ShareDone = lambda _share: None,
) -> Sample:
    """Draw points at random of each stratum; equal choices of equal maps are equal samples.

    Raises Interrupted and Rejected as reading does.
    """
    chosen = choose_pixels(counts.pixels, choice.points, choice.seed)
    hits = find_strips(counts.by_strip, chosen)
    by_tile: dict[int, list[StripHits]] = {}
    for each in hits:
        by_tile.setdefault(each.tile, []).append(each)
    reader = FrameReader(frame, stratifier, districts)

    def visit(number: int) -> _Points:
        tile = frame.tiles[number]
        asked = [replace(each, stratum=counts.codes[each.stratum]) for each in by_tile[number]]
        places = np.concatenate(reader.find(tile, asked))
        strata = np.concatenate([each.stratum for each in by_tile[number]])
        order = np.lexsort((places[:, 1], places[:, 0]))  # whatever strips they were found in
        return _read_points(
            tile, places[order], strata[order], choice.plot_pixels, frame.options, stratifier
        )

    found = []
    with open_reading_threads(frame.options) as pool:
        for points in pool.map(visit, sorted(by_tile)):
            found.append(points)
            progress(len(found) / len(by_tile))
    design = _make_design(frame, stratifier, counts, choice, districts)
    return _join(design, frame, sorted(by_tile), found, districts)


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Points of one tile, each array ``(point,)``."""

    plot: NDArray[np.int64]
    """Number of the plot within the tile."""
    shift: NDArray[np.int64]
    """Number of the point within its plot."""
    stratum: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    mask: NDArray[np.int64]
    filtered: NDArray[np.int64]
    change: NDArray[np.int64]
    """Class of change; that of the map where no change is sampled."""


def _read_points(
    tile: FrameTile,
    places: NDArray[np.int64],
    strata: NDArray[np.int64],
    plot_pixels: int,
    options: ReadOptions,
    stratifier: Stratifier,
) -> _Points:
    """Points of plots with the map's values; those off the tile or of nodata are no points."""
    edge = GridWindow.of_tile(tile.tile, tile.resolution).rows
    shifts = np.array(PLOT_SHIFTS[plot_pixels])
    plots, numbers = np.divmod(np.arange(len(places) * len(shifts)), len(shifts))
    row, column = (places[plots] + shifts[numbers]).T
    inside = (row >= 0) & (row < edge) & (column >= 0) & (column < edge)
    plots, numbers, row, column = (each[inside] for each in (plots, numbers, row, column))
    more = (SINCE,) if stratifier.since else stratifier.bands if stratifier.series else ()
    names = [name for name in (*YEARLY, *more) if name in tile.hrefs]
    values = {name: np.full(len(row), NODATA, np.int64) for name in YEARLY}
    with _Open(tile, names, options) as rasters:
        values |= {name: rasters.read_places(name, row, column) for name in names}
    mask, filtered = (values[name] for name in YEARLY)
    change: NDArray[np.integer] = mask
    if stratifier.since:
        change = combine_classes(values[SINCE], values[stratifier.band])
    elif stratifier.series:
        change = part_flicker(*(values[name].astype(np.uint8) for name in stratifier.bands))
    seen = change != NODATA
    arrays = (plots, numbers, strata[plots], row, column, mask, filtered, change)
    return _Points(*(each[seen].astype(np.int64) for each in arrays))


def _make_design(
    frame: Frame,
    stratifier: Stratifier,
    counts: FrameCounts,
    choice: Choice,
    districts: Districts | None,
) -> SampleDesign:
    regions = {each.region for each in frame.tiles}
    size = frame.resolution
    return SampleDesign(
        products=tuple(product.name for product in frame.products),
        version=", ".join(sorted({each.version for each in frame.tiles})),
        period=str(frame.period),
        since=None if frame.since is None else str(frame.since),
        band=stratifier.band,
        resolution=size,
        factors=(("region",) if len(regions) > 1 else ()) + stratifier.factors,
        prob_edges=stratifier.edges,
        edge_pixels=stratifier.buffer,
        allocation=choice.allocation,
        seed=choice.seed,
        plot_pixels=3 if choice.plot_pixels == 3 else 1,
        strata=make_strata(counts.names, counts.pixels, choice.points, size),
        tiles=tuple(
            SampledTile(region=each.region, tile=str(each.tile), run_key=each.run_key)
            for each in frame.tiles
        ),
        unseen_hectares=counts.unseen * size**2 / 10_000,
        missing_tiles=frame.missing,
        districts=None if districts is None or not stratifier.districts else districts.digest,
        synthetic=any(each.synthetic for each in frame.tiles),
        software=VERSION,
    )


def _join(
    design: SampleDesign,
    frame: Frame,
    numbers: Sequence[int],
    found: Sequence[_Points],
    districts: Districts | None,
) -> Sample:
    """Points of all tiles in a random order, so that neither order nor name tells a stratum."""
    tiles = [frame.tiles[number] for number in numbers]
    plots = [int(points.plot.max(initial=-1)) + 1 for points in found]
    firsts = np.cumsum([0, *plots[:-1]])
    plot = np.concatenate(
        [points.plot + first for points, first in zip(found, firsts, strict=True)]
    )
    names = np.random.default_rng([design.seed, _ORDER]).permutation(sum(plots)) + 1
    order = np.lexsort((np.concatenate([each.shift for each in found]), names[plot]))
    parts: dict[str, NDArray[Any]] = {
        name: np.concatenate([getattr(points, name) for points in found])[order]
        for name in ("shift", "stratum", "row", "column", "mask", "filtered", "change")
    }
    if not design.is_change:
        del parts["change"]
    at = np.repeat(np.arange(len(found)), [len(points.row) for points in found])[order]
    width = len(str(sum(plots)))
    plot_ids = np.array([f"{number:0{width}d}" for number in names[plot][order]])
    shift = parts.pop("shift")
    ids = plot_ids
    if design.plot_pixels > 1:
        ids = np.array([f"{p}-{s + 1}" for p, s in zip(plot_ids, shift, strict=True)])
    places = [tiles[number].tile for number in at]
    x, y = find_centers(places, parts["row"], parts["column"], design.resolution)
    lon, lat = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True).transform(x, y)
    return Sample(
        design,
        id=ids,
        plot=plot_ids,
        region=np.array([tiles[number].region for number in at]),
        tile=np.array([str(tiles[number].tile) for number in at]),
        lon=np.asarray(lon),
        lat=np.asarray(lat),
        x=x,
        y=y,
        district=(np.full(len(x), "", "U1") if districts is None else districts.name_at(x, y)),
        **parts,
    )
