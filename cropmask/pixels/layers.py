"""All inputs of one tile as strips of raw pixels: the world behind :class:`Layers`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from cropmask.core.strips import DEVIATION, REFLECTANCE, Exclusion, Half, Strip
from cropmask.errors import Reason, Rejected
from cropmask.pixels.gdal import open_reading_threads
from cropmask.pixels.rasters import BandRows, Raster, RowSource, open_rows
from cropmask.pixels.resample import Window
from cropmask.pixels.sampled import SampledLayer, SmoothLayer
from cropmask.pixels.verify import expect_file
from cropmask.region.region import Limits
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import Absent, ReadOptions
from cropmask.remote.ranges import RemoteFile, RemoteFiles
from cropmask.sources.bands import BandSource, GeoMad
from cropmask.sources.search import FEATURE_LAYERS, MASK_LAYERS, Sources

_MASK_ROWS: Final = 128
"""Rows of the masks computed at once."""
_HALVES: Final = ("first", "second")

T = TypeVar("T")
log = logging.getLogger(__name__)


def open_layers(
    sources: Sources,
    box: GeoBox,
    *,
    boundary: shapely.Geometry,
    limits: Limits,
    window: Window | None = None,
    masks: bool = True,
    covered: bool = True,
    options: ReadOptions | None = None,
    files: RemoteFiles | None = None,
) -> TileLayers:
    """Open every raster of a tile; nothing but rain is read yet. Leaving it closes every raster.

    ``box`` is the tile's grid. With a ``window``, which lies within it, the layers have only this
    part of the tile, and each pixel the same values as in the whole. Without ``masks``, nothing is
    opened that only masks. Unless it must be ``covered``, it may lie outside the region, and GeoMAD
    may have any part of it.

    Remote files are those of ``files``, where they may be open already; default files of its own.
    From here on they are fetched ahead of their reading, until leaving it.

    Raises Rejected if the tile lies outside the region, GeoMAD covers too little of it, has a wrong
    CRS or type, does not exist or may not be read; Misconfigured if this is so of a layer that the
    configuration names; Interrupted if a raster cannot be read.
    """
    options = options or sources.options
    window = window or Window(0, 0, *box.shape)
    layers = TileLayers(sources, box, window, boundary, limits, options, files or RemoteFiles())
    try:
        layers._open(masks=masks, covered=covered)
    except BaseException:
        layers.close()
        raise
    return layers


def make_strip(row: int, rows: int, width: int) -> Strip:
    """Rows whose pixels are still to be read."""

    def make_half() -> Half:
        reflectance = np.empty((len(REFLECTANCE), rows, width), np.uint16)
        return Half(reflectance, np.empty((len(DEVIATION), rows, width), np.float32))

    rain, slope = np.empty((2, rows, width), np.float32), np.empty((rows, width), np.float32)
    return Strip(row, make_half(), make_half(), rain, slope)


def arrays_of(strip: Strip) -> Iterator[NDArray[Any]]:
    """All arrays of a strip, ``(..., y, x)``."""
    for half in (strip.first, strip.second):
        yield half.reflectance
        yield half.deviation
    yield strip.rain
    yield strip.slope


def read_ahead(
    height: int, rows: int, submit: Callable[[int, int], Future[Strip]]
) -> Iterator[Strip]:
    """Strips of at most ``rows`` rows, the next one always begun while the caller has another."""
    if rows < 1:
        raise ValueError(f"a strip has at least one row, not {rows}")
    pending: Future[Strip] | None = submit(0, min(rows, height))
    try:
        for row in range(rows, height + rows, rows):
            assert pending is not None
            strip = pending.result()
            pending = submit(row, min(rows, height - row)) if row < height else None
            yield strip
            del strip
    finally:
        if pending is not None:
            pending.cancel()


def _geomads(sources: Sources) -> tuple[GeoMad, GeoMad]:
    return sources.first, sources.second


class TileLayers:
    """Inputs of one tile, or a window of it, on its pixel grid; made by :func:`open_layers`.

    Implements :class:`cropmask.core.strips.Layers`. Strips are made one ahead in the
    background while the caller computes. One caller at a time.
    """

    def __init__(
        self,
        sources: Sources,
        box: GeoBox,
        window: Window,
        boundary: shapely.Geometry,
        limits: Limits,
        options: ReadOptions,
        files: RemoteFiles,
    ) -> None:
        self._sources = sources
        self._tile = box
        self._window = window
        self._box = box[
            window.row : window.row + window.rows, window.column : window.column + window.columns
        ]
        self._boundary = boundary
        self._limits = limits
        self._options = options
        self._files = files
        self._threads = open_reading_threads(options)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="strip")
        self._rasters: list[Raster] = []
        self._bands: dict[tuple[str, str], BandRows] = {}
        self._rain: list[SmoothLayer] = []
        self._sampled: dict[str, SampledLayer] = {}
        self._not_applied: dict[str, str] = {}
        self.pixel_bytes = 0
        """Bytes of the strips made so far."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        return self._window.rows, self._window.columns

    @property
    def pixel_area_m2(self) -> float:
        """Area of a pixel in square meters."""
        return float(abs(self._box.resolution.x * self._box.resolution.y))

    @property
    def not_applied(self) -> Mapping[str, str]:
        """Masks that could not be applied, and why: layer name to reason."""
        return MappingProxyType(self._not_applied)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and close every file; more than once does no harm."""
        self._files.end()
        # First what the strip under way still waits for, so that the strip is not read to its end.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._ahead.shutdown(wait=True, cancel_futures=True)
        self._threads.shutdown(wait=True, cancel_futures=True)
        for raster in self._rasters:
            raster.close()
        self._files.close()

    def check(self) -> None:
        """Wait for remote files that are compared with what their items declare.

        Raises Rejected if one is another file; Interrupted if one came damaged.
        """
        self._run(RemoteFile.check, self._files.opened)

    def strips(self, rows: int) -> Iterator[Strip]:
        """Strips from north to south of at most ``rows`` rows, each row exactly once.

        Raises Interrupted if a raster cannot be read: truncated, corrupt, or its server failing.
        """
        with self.reading():
            yield from read_ahead(self.shape[0], rows, self._submit)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within it, :meth:`fill` is called with rows from north to south."""
        self._files.release(-1)
        try:
            yield
        finally:
            for source in self._bands.values():
                source.release()

    def fill(self, strip: Strip) -> Future[Strip]:
        """Begin to read rows of the window into the arrays of a strip: parts of others, too.

        The result raises Interrupted as :meth:`strips` does.
        """
        return self._ahead.submit(self._fill, strip)

    def excluded(self) -> NDArray[np.uint8]:
        """:class:`Exclusion` of every pixel ``(y, x)``; 0 where the pixel is mapped.

        Raises Interrupted if a layer that exists cannot be read.
        """
        causes = self._outside()
        tests = self._mask_tests()
        height = self.shape[0]

        def mark(row: int) -> None:
            part = causes[row : row + _MASK_ROWS]
            for cause, layer, test in tests:
                values, known = layer.values(row, part.shape[0])
                part[(part == Exclusion.NONE) & known & test(values)] = cause

        self._run(mark, range(0, height, _MASK_ROWS))
        return causes

    def _submit(self, row: int, rows: int) -> Future[Strip]:
        return self._ahead.submit(lambda: self._fill(make_strip(row, rows, self.shape[1])))

    def _run(self, action: Callable[[Any], T], values: Iterable[Any]) -> list[T]:
        """Results of an action in the reading threads, in order; the first error is raised."""
        futures = [self._threads.submit(action, value) for value in values]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _fill(self, strip: Strip) -> Strip:
        halves = strip.first, strip.second
        targets = {
            (half, name): out
            for half, arrays in zip(_HALVES, halves, strict=True)
            for names, stack in (
                (REFLECTANCE, arrays.reflectance),
                (DEVIATION, arrays.deviation),
            )
            for name, out in zip(names, stack, strict=True)
        }
        readers: list[tuple[RowSource, NDArray[Any]]] = [
            *((self._bands[key], out) for key, out in targets.items()),
            *zip(self._rain, strip.rain, strict=True),
            (self._sampled["slope"], strip.slope),
        ]
        self._run(lambda reader: reader[0].read_rows(strip.row, reader[1]), readers)
        self._files.release(strip.row + strip.shape[0])
        self.pixel_bytes += sum(array.nbytes for array in arrays_of(strip))
        return strip

    def _open(self, *, masks: bool, covered: bool) -> None:
        bands = {
            (half, name): band
            for half, geomad in zip(_HALVES, _geomads(self._sources), strict=True)
            for name, band in geomad.bands.items()
        }
        opened = self._run(self._open_band, bands.values())
        rasters = dict(zip(bands, opened, strict=True))
        for key, band in bands.items():
            self._bands[key] = open_rows(rasters[key], band, self._tile, self._window)
        if covered:
            self._check_coverage(rasters)
        self._run(lambda key: self._plan(self._bands[key], rasters[key], bands[key]), bands)
        self._open_features()
        if masks:
            self._open_masks()
        for name, layer in self._sampled.items():
            layer.plan(in_strips=name == "slope")

    def _plan(self, rows: BandRows, raster: Raster, band: BandSource) -> None:
        """Begin to fetch a band, and to compare its file as it comes."""
        rows.plan()
        if raster.remote is not None and rows.is_whole:
            expect_file(raster.remote, band, self._options, is_whole=True)

    def _open_band(self, band: BandSource) -> Raster:
        if is_remote(band.href):
            file = self._files.open(band.href, self._options)
            expect_file(file, band, self._options, is_whole=file.is_complete)
        return self._open_raster(band.href)

    def _open_raster(self, href: str) -> Raster:
        raster = Raster(href, self._options, self._files)
        self._rasters.append(raster)
        return raster

    def _check_coverage(self, rasters: Mapping[tuple[str, str], Raster]) -> None:
        part = shapely.box(*self._box.boundingbox.bbox)
        wanted = shapely.intersection(self._boundary, part)
        if shapely.area(wanted) == 0:
            raise Rejected(
                f"tile {self._sources.tile} lies outside the region: choose one of its tiles",
                reason=Reason.OUTSIDE_REGION,
            )
        for half, geomad in zip(_HALVES, _geomads(self._sources), strict=True):
            footprints = [
                shapely.box(*raster.geobox.boundingbox.bbox)
                for (of, _), raster in rasters.items()
                if of == half
            ]
            covered = shapely.intersection_all([wanted, *footprints])
            percent = 100 * shapely.area(covered) / shapely.area(wanted)
            if percent < self._limits.min_coverage_percent - 1e-6:
                raise Rejected(
                    f"GeoMAD {geomad.item_id} covers {percent:.1f} percent of tile "
                    f"{self._sources.tile} inside the region, less than "
                    f"{self._limits.min_coverage_percent:g}: lower min_coverage_percent to map it",
                    reason=Reason.PARTIAL_COVERAGE,
                )

    def _open_features(self) -> None:
        def open_feature(name: str) -> SmoothLayer | SampledLayer:
            layer = self._sources.ancillary[name]
            if layer.href is None:
                raise layer.missing(name, str(layer.reason))
            with layer.blame():
                try:
                    raster = self._open_raster(layer.href)
                except Absent:
                    raise layer.missing(name, layer.href) from None
                kind = SampledLayer if name == "slope" else SmoothLayer
                return kind(raster, self._tile, self._window, layer.declared)

        *self._rain, slope = self._run(open_feature, FEATURE_LAYERS)  # type: ignore[assignment]
        assert isinstance(slope, SampledLayer)
        self._sampled["slope"] = slope
        tile = self._sources.tile
        for name, rain in zip(FEATURE_LAYERS, self._rain, strict=False):
            if rain.is_unknown:
                log.warning("layer '%s' has no value over tile %s: it counts as 0", name, tile)
        if not slope.overlaps:
            log.warning("layer 'slope' does not cover tile %s: it counts as 0", tile)

    def _open_masks(self) -> None:
        def open_mask(name: str) -> SampledLayer | str:
            layer = self._sources.ancillary[name]
            if layer.href is None:
                return layer.reason or "absent"
            with layer.blame():
                try:
                    raster = self._open_raster(layer.href)
                except Absent:
                    return f"{layer.href} does not exist"
                sampled = SampledLayer(raster, self._tile, self._window, layer.declared)
            return sampled if sampled.overlaps else f"{layer.href} does not cover the tile"

        for name, opened in zip(MASK_LAYERS, self._run(open_mask, MASK_LAYERS), strict=True):
            if isinstance(opened, str):
                self._not_applied[name] = opened
                log.info("mask '%s' is not applied: %s", name, opened)
            else:
                self._sampled[name] = opened

    def _outside(self) -> NDArray[np.uint8]:
        """Causes with only the boundary applied: pixels whose center is outside are OUTSIDE."""
        causes = np.full(self.shape, Exclusion.OUTSIDE, np.uint8)
        tile = shapely.box(*self._box.boundingbox.bbox)
        inside = shapely.intersection(self._boundary, tile)
        parts = [part for part in shapely.get_parts(inside) if shapely.area(part) > 0]
        if parts:
            rasterize(
                [(part, int(Exclusion.NONE)) for part in parts],
                out=causes,
                transform=self._box.transform,
            )
        return causes

    def _mask_tests(
        self,
    ) -> list[tuple[Exclusion, SampledLayer, Callable[[NDArray[Any]], NDArray[np.bool_]]]]:
        """Masks that apply, in their order: cause, layer and test of its values."""
        limits = self._limits
        tests: list[tuple[str, Exclusion, Callable[[NDArray[Any]], NDArray[np.bool_]]]] = [
            ("protected_areas", Exclusion.PROTECTED, lambda values: values != 0),
            ("water", Exclusion.WATER, lambda values: values > limits.water_frequency),
            ("steepness", Exclusion.STEEP, lambda values: values > limits.slope_percent),
            ("elevation", Exclusion.HIGH, lambda values: values > limits.elevation_m),
        ]
        return [
            (cause, self._sampled[name], test)
            for name, cause, test in tests
            if name in self._sampled
        ]
