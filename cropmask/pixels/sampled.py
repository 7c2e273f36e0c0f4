"""Ancillary rasters of grids of their own, sampled at the pixel centers of a tile.

Reads run in a thread of :func:`cropmask.pixels.gdal.open_reading_threads`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from cropmask.core.scaling import LAYER, UNDECLARED, Declared, rescale
from cropmask.errors import Misconfigured
from cropmask.grid import GridWindow, geobox
from cropmask.pixels.gdal import Part, open_reading_threads
from cropmask.pixels.rasters import Raster, agree
from cropmask.pixels.resample import (
    Projector,
    Window,
    bilinear_window,
    fill_with_mean,
    nearest_window,
    sample_bilinear,
    sample_nearest,
)
from cropmask.remote.fetch import Absent, ReadOptions
from cropmask.remote.ranges import ALWAYS
from cropmask.sources.search import LayerSource, missing_layer

T = TypeVar("T")
_SMOOTH_ROWS: Final = 32
"""Rows interpolated at once: keeps the temporary arrays in the processor's cache."""
_PLANNED_ROWS: Final = 64
_WINDOW_PIXELS: Final = 2**23
"""Most source cells of an ancillary layer held at once."""


class SampledLayer:
    """An ancillary raster, nearest cell at every pixel center of a window of a tile."""

    def __init__(self, raster: Raster, box: GeoBox, window: Window, by_item: Declared) -> None:
        self._raster = raster
        self._declared = agree(raster, by_item, LAYER)
        self._projector = Projector(raster.geobox, box, window)
        self._rows, self._columns = window.rows, window.columns

    @property
    def overlaps(self) -> bool:
        """Whether the raster covers any part of the window."""
        return self._whole.pixels > 0

    @property
    def _whole(self) -> Window:
        at = self._projector.outline()
        return nearest_window(at).clipped(*self._raster.geobox.shape)

    def plan(self, *, in_strips: bool) -> None:
        """Have what will be read fetched ahead, if it is remote: in strips, or after them all."""
        if in_strips and self._projector.is_cheap:
            parts = [
                Part(row, row + rows - 1, nearest_window(at).clipped(*self._raster.geobox.shape))
                for row in range(0, self._rows, _PLANNED_ROWS)
                for rows in (min(_PLANNED_ROWS, self._rows - row),)
                for at in (self._projector.positions(row, rows),)
            ]
        else:
            parts = [Part(0 if in_strips else self._rows, ALWAYS, self._whole)]
        self._raster.plan(parts)

    def values(self, row: int, rows: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values ``(y, x)`` of the window's rows from ``row`` on, and where they are known.

        They have the raster's type, or float32 where it has a scale and offset.
        """
        at = self._projector.positions(row, rows)
        window = nearest_window(at).clipped(*self._raster.geobox.shape)
        if window.pixels > _WINDOW_PIXELS and rows > 1:
            half = rows // 2
            parts = (self.values(row, half), self.values(row + half, rows - half))
            return tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))  # type: ignore[return-value]
        if window.pixels == 0:
            shape = (rows, self._columns)
            return np.zeros(shape, self._raster.dtype), np.zeros(shape, np.bool_)
        cells = self._raster.read(window)
        known = _is_known(cells, self._declared.nodata)
        scaling, values = self._declared.scaling, sample_nearest(cells, window, at, 0)
        return (
            rescale(values, scaling, LAYER) if scaling else values,
            np.asarray(sample_nearest(known, window, at, 0), np.bool_),
        )

    def read_rows(self, row: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` ``(y, x)`` with the window's rows from ``row`` on, NaN where unknown."""
        values, known = self.values(row, out.shape[0])
        out[:] = values
        out[~known] = np.nan


def _is_known(cells: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    known = np.ones(cells.shape, np.bool_) if nodata is None else cells != nodata
    if cells.dtype.kind == "f":
        known &= ~np.isnan(cells)
    return known


class SmoothLayer:
    """A coarse raster, bilinear at every pixel center, its gaps filled once for the tile.

    The cells that any pixel of the tile touches are read once; unknown ones, and those over
    the raster's edge, take the mean of the known: of the whole tile, also for a window of it.
    """

    def __init__(self, raster: Raster, box: GeoBox, window: Window, by_item: Declared) -> None:
        declared = agree(raster, by_item, LAYER)
        self._projector = Projector(raster.geobox, box, window)
        self._window = bilinear_window(Projector(raster.geobox, box).outline())
        raster.plan([Part(-1, ALWAYS, self._window.clipped(*raster.geobox.shape))])
        self._cells = fill_with_mean(_load_cells(raster, self._window, declared))
        raster.close()

    @property
    def is_unknown(self) -> bool:
        """Whether no cell over the tile has a value."""
        return bool(np.isnan(self._cells).all())

    def read_rows(self, row: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` ``(y, x)`` with the window's rows from ``row`` on.

        NaN only if no cell over the tile has a value.
        """
        for start in range(0, out.shape[0], _SMOOTH_ROWS):
            part = out[start : start + _SMOOTH_ROWS]
            at = self._projector.positions(row + start, part.shape[0])
            part[:] = sample_bilinear(self._cells, self._window, at)


def _load_cells(raster: Raster, window: Window, declared: Declared) -> NDArray[np.float64]:
    """Cells ``(y, x)`` of a window that may reach over the raster's edges; NaN if unknown."""
    raster.check_held(window)
    cells = np.full((window.rows, window.columns), np.nan)
    inside = window.clipped(*raster.geobox.shape)
    if inside.pixels:
        top, left = inside.row - window.row, inside.column - window.column
        read = raster.read(inside)
        known = _is_known(read, declared.nodata)
        if declared.scaling:
            read = rescale(read, declared.scaling, LAYER)
        cells[top : top + inside.rows, left : left + inside.columns] = np.where(known, read, np.nan)
    return cells


def check_layer(name: str, href: str, box: GeoBox, options: ReadOptions) -> None:
    """Raise Misconfigured if a layer of features is not there, or has no value over a grid."""

    def is_unknown(raster: Raster) -> bool:
        whole = Window(0, 0, *box.shape)
        if name == "slope":
            return not SampledLayer(raster, box, whole, UNDECLARED).overlaps
        return SmoothLayer(raster, box, whole, UNDECLARED).is_unknown

    if _use_layer(name, href, options, is_unknown):
        raise missing_layer(name, f"{href} does not cover the bands", Misconfigured)


def load_layer(
    name: str, href: str, box: GeoBox, window: Window, options: ReadOptions
) -> NDArray[np.float32]:
    """Values ``(y, x)`` of a layer of features in a window of a grid, NaN where unknown.

    On the product's grid they are those that a tile's run has; on another one, gaps of rain are
    filled with the mean over the whole of it.

    Raises Misconfigured if there is no such layer; Interrupted if it cannot be read.
    """
    out = np.empty((window.rows, window.columns), np.float32)

    def read(grid: GeoBox, part: Window, into: NDArray[np.float32]) -> None:
        def fill(raster: Raster) -> None:
            kind = SampledLayer if name == "slope" else SmoothLayer
            kind(raster, grid, part, UNDECLARED).read_rows(0, into)

        _use_layer(name, href, options, fill)

    here = GridWindow.of_box(box)
    if here is None:
        read(box, window, out)
        return out
    here = here.part(window.row, window.column, window.rows, window.columns)
    for tile in here.tiles:
        whole = GridWindow.of_tile(tile, here.resolution)
        common = here.within(whole)
        part = Window.of(common, whole)
        read(geobox(tile, here.resolution), part, out[common.seen_from(here)])
    return out


def _use_layer(name: str, href: str, options: ReadOptions, action: Callable[[Raster], T]) -> T:
    layer = LayerSource(href)

    def use() -> T:
        try:
            with closing(Raster(href, options)) as raster:
                return action(raster)
        except Absent:
            raise layer.missing(name, href) from None

    with layer.blame(), open_reading_threads(options) as threads:
        return threads.submit(use).result()
