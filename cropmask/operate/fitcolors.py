"""Fits the colors that tiles of a region and year share, before any tile is mapped.

No tile does it by itself: of many at the same time, the first would decide, or each would have
others. The sample is a few windows of some tiles at the pixel size of the maps, since coarser
overviews would mix fields, and make colors of fewer values than the maps have.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from cropmask.core.sharedcolors import find_ndvi, fit_colors
from cropmask.errors import Reason, Rejected
from cropmask.grid import Tile, geobox, tiles_within
from cropmask.machine.stages import Progress, Stages, tell_nobody
from cropmask.pixels.gdal import open_reading_threads
from cropmask.pixels.rasters import Raster, open_rows
from cropmask.pixels.resample import Window
from cropmask.region.region import Region
from cropmask.remote.limits import EndlessSearch
from cropmask.remote.threads import map_threads
from cropmask.results.colorfile import FittedColors, colors_key, find_colors, put_colors
from cropmask.site.site import Site
from cropmask.sources.bands import GEOMAD, BandSource, GeoMad
from cropmask.sources.catalogs import Catalog, open_catalog
from cropmask.sources.gather import gather
from cropmask.sources.search import find_geomads
from cropmask.task import Period
from cropmask.tile.job import open_boundary

MOST_TILES: Final = 100
"""Tiles that pixels are taken of; of more, so many at even distances."""
ACROSS: Final = 3
"""Windows of a tile along each edge."""
WINDOW_PIXELS: Final = 128
"""Edge of a window, within one block of the usual COG."""

Halves = tuple[GeoMad, GeoMad]
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ColorFit:
    """What was fitted, or was there."""

    fitted: FittedColors
    address: str
    is_new: bool
    """Whether the file was written now."""


def fit_region_colors(
    region: Region,
    period: Period,
    site: Site,
    *,
    overwrite: bool = False,
    progress: Progress = tell_nobody,
) -> ColorFit:
    """Fit the colors of a region in a year and write them beside the results.

    Equal inputs give equal colors. What is there is kept, unless it is to be replaced: then every
    seamless tile that was made with it counts as changed.

    Raises Rejected if no tile has GeoMAD, or a raster is not as it must be; Misconfigured if the
    site cannot be used; Interrupted if something cannot be read or written now.
    """
    store, product = site.store(), region.product
    known = None if overwrite else find_colors(store, product, period, site.resolution)
    if known is not None:
        address = store.uri(colors_key(product, period, site.resolution))
        return ColorFit(known, address, is_new=False)
    store.check_writable()
    inputs, boundary = open_boundary(region, site, Stages(progress))
    tiles = tiles_within(boundary)
    progress("search", 0.0)
    catalog = gather(open_catalog(inputs.catalog, site.read), {(GEOMAD, period)}, tiles)
    reader = _Reader(catalog, period, site, region)
    samples, left_out = _take_samples(reader, tiles, progress)
    try:
        colors = fit_colors(samples.values())
    except ValueError:
        raise Rejected(
            f"of {len(tiles)} tiles of region {region.name}, {len(samples)} have GeoMAD for "
            f"{period} in {inputs.catalog}, and none of these a pixel in {ACROSS**2} windows: "
            "choose another period or catalog",
            reason=Reason.MISSING_GEOMAD,
        ) from None
    fitted = FittedColors(
        colors,
        tuple(map(str, samples)),
        {str(tile): str(why) for tile, why in left_out.items()},
        sum(sample.shape[1] for sample in samples.values()),
        inputs.synthetic,
    )
    address = put_colors(store, product, period, site.resolution, fitted)
    return ColorFit(fitted, address, is_new=True)


def choose_tiles(tiles: Sequence[Tile], most: int = MOST_TILES) -> tuple[Tile, ...]:
    """At most so many tiles, at even distances in their order."""
    if len(tiles) <= most:
        return tuple(tiles)
    return tuple(tiles[index * len(tiles) // most] for index in range(most))


def choose_windows(box: GeoBox, across: int = ACROSS) -> tuple[Window, ...]:
    """Windows of a tile that pixels are taken of, so many along each edge."""
    size = min(WINDOW_PIXELS, *(edge // across for edge in box.shape))
    rows, columns = (
        [(2 * number + 1) * edge // (2 * across) - size // 2 for number in range(across)]
        for edge in box.shape
    )
    return tuple(Window(row, column, size, size) for row in rows for column in columns)


def _take_samples(
    reader: _Reader, tiles: Sequence[Tile], progress: Progress
) -> tuple[dict[Tile, NDArray[np.int16]], dict[Tile, Reason]]:
    """Pixels of some tiles that have GeoMAD, and the tiles that have none to use."""
    usable: dict[Tile, Halves] = {}
    samples: dict[Tile, NDArray[np.int16]] = {}
    left_out: dict[Tile, Reason] = {}
    halves = map_threads(reader.find, tiles, lambda _done, _every: None)
    for tile, each in zip(tiles, halves, strict=True):
        _sort(tile, each, usable, left_out)
    chosen = choose_tiles(tuple(usable))
    read = map_threads(
        lambda tile: reader.read(tile, usable[tile]),
        chosen,
        lambda done, every: progress("colors", done / every),
    )
    for tile, sample in zip(chosen, read, strict=True):
        _sort(tile, sample, samples, left_out)
    return samples, left_out


def _sort(
    tile: Tile, found: T | Reason, there: dict[Tile, T], left_out: dict[Tile, Reason]
) -> None:
    """Put what was found of a tile where it belongs."""
    if isinstance(found, Reason):
        left_out[tile] = found
    else:
        there[tile] = found


class _Reader:
    """Reads NDVI of windows of tiles; many tiles at the same time."""

    def __init__(self, catalog: Catalog, period: Period, site: Site, region: Region) -> None:
        self._catalog = catalog
        self._period = period
        self._site = site
        self._order = region.half_years
        self._need_both = region.limits.require_both_halves

    def find(self, tile: Tile) -> Halves | Reason:
        """GeoMAD of a tile, or the reason if it has none to use."""
        return self._try(
            tile,
            lambda: find_geomads(
                self._catalog, tile, self._period, self._order, strict=self._site.read.strict
            ),
        )

    def read(self, tile: Tile, halves: Halves) -> NDArray[np.int16] | Reason:
        """NDVI x 10 000 ``(half, pixel)`` of some pixels; the reason if they cannot be used."""
        return self._try(tile, lambda: self._read(tile, halves))

    @staticmethod
    def _try(tile: Tile, action: Callable[[], T]) -> T | Reason:
        try:
            return action()
        except EndlessSearch:
            raise
        except Rejected as error:
            log.info("no pixels of tile %s: %s", tile, error)
            return error.reason

    def _read(self, tile: Tile, halves: Halves) -> NDArray[np.int16]:
        options = self._site.read.at(self._catalog.address)
        box = geobox(tile, self._site.resolution)
        windows = choose_windows(box)
        bands = [half.bands[name] for name in ("red", "nir") for half in halves]

        def load(band: BandSource) -> NDArray[np.uint16]:
            with closing(Raster(band.href, options)) as raster:
                out = np.empty((len(windows), windows[0].rows, windows[0].columns), np.uint16)
                for window, pixels in zip(windows, out, strict=True):
                    open_rows(raster, band, box, window).read_rows(0, pixels)
            return out

        with open_reading_threads(options) as threads:
            loaded = np.array(list(threads.map(load, bands)))
        # Windows one below the other are like any image: pixel by pixel.
        red, nir = loaded.reshape(2, 2, -1, windows[0].columns)
        return find_ndvi(red, nir, need_both=self._need_both).reshape(2, -1)
