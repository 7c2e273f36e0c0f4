"""One raster each, opened for reading rows of a tile: on its grid, or resampled to it.

Every method that reads runs in a thread of :func:`cropmask.pixels.gdal.open_reading_threads`.
A read that fails raises; it never becomes nodata.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any, Final, Protocol

import numpy as np
import rasterio.warp
from affine import TransformNotInvertibleError
from numpy.typing import NDArray
from odc.geo.converters import rio_geobox
from odc.geo.crs import norm_crs_or_error
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.geo.roi import roi_is_empty
from pyproj.exceptions import CRSError
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterWindow

from cropmask.core.scaling import (
    UNSCALED,
    Declared,
    Kept,
    Scaling,
    find_nonsense,
    is_as_kept,
    rescale,
)
from cropmask.errors import Reason, Rejected
from cropmask.grid import CRS
from cropmask.pixels.gdal import GdalRaster, Part
from cropmask.pixels.resample import Window
from cropmask.remote.fetch import ReadOptions
from cropmask.remote.ranges import RemoteFile, RemoteFiles
from cropmask.sources.bands import BandSource

_MAX_CHUNK_ROWS: Final = 512
"""Most rows decoded at once; the usual height of a COG's blocks."""
_MIN_CHUNK_ROWS: Final = 64
_BLOCK_PIXELS: Final = 2**20
"""Pixels resampled at once: the same cut for every strip height, so the same bytes."""
_ALIGNED: Final = 0.05
"""Pixels that a grid may lie beside another and count as aligned: odc-stac's."""
_MARGIN: Final = 16
"""Pixels around a window that the warper may read as well."""
_NUMBERS: Final = frozenset(
    "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64".split()
)
"""Types of pixels that can be calculated with."""

log = logging.getLogger(__name__)


class Raster:
    """A raster that stays open, and each of its overviews that is read."""

    def __init__(self, href: str, options: ReadOptions, files: RemoteFiles | None = None) -> None:
        self.href = href
        self._options = options
        self._files = files
        self._whole = GdalRaster(href, options, files)
        self._overviews: dict[int, GdalRaster] = {}
        try:
            self._whole.use(self._describe)
        except BaseException:
            self.close()
            raise

    @property
    def remote(self) -> RemoteFile | None:
        """Its file, if it is remote."""
        return self._whole.remote

    def read(self, window: Window, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Cells ``(y, x)`` of a window inside the raster, of its own type."""
        area = RasterWindow(window.column, window.row, window.columns, window.rows)
        if out is None:
            self.check_held(window)

        def read(dataset: Any) -> NDArray[Any]:  # noqa: ANN401 (rasterio is untyped)
            values: NDArray[Any] = dataset.read(1, window=area, out=out)
            return values

        return self._whole.use(read)

    def reduce(self, window: Window, shape: tuple[int, int], how: str) -> NDArray[Any]:
        """Cells ``(y, x)`` of a window in fewer pixels, of the overview that is just fine enough.

        ``how`` is the name of a kind of resampling. Raises Rejected if the window exceeds a limit.
        """
        self._options.limits.check("raster_pixels", window.pixels, self.href)
        area = RasterWindow(window.column, window.row, window.columns, window.rows)

        def read(dataset: Any) -> NDArray[Any]:  # noqa: ANN401 (rasterio is untyped)
            values: NDArray[Any] = dataset.read(
                1, window=area, out_shape=shape, resampling=Resampling[how]
            )
            return values

        return self._whole.use(read)

    def check_held(self, window: Window) -> None:
        """Raise Rejected if a window is too large to be in memory at once."""
        self._options.limits.check("held_pixels", window.pixels, f"a window of {self.href}")

    def plan(self, parts: Iterable[Part], level: int | None = None) -> None:
        """Fetch windows of a remote raster, or of an overview of it, ahead of reading.

        Raises Rejected if they exceed a limit.
        """
        parts = tuple(parts)
        pixels = sum(part.window.pixels for part in parts)
        self._options.limits.check("raster_pixels", pixels, self.href)
        self._at(level).want(parts)

    def warp(self, box: GeoBox, nodata: float) -> NDArray[Any]:
        """Pixels ``(y, x)`` on another grid of the same CRS, bilinear from overviews, as odc-stac.

        Where pixels only have to be pasted, or taken from an overview, is decided as there, by the
        same function, so that every byte is odc-stac's; but files stay open.
        """
        out = np.full(box.shape, nodata, self.dtype)
        found = compute_reproject_roi(self.geobox, box, ttol=_ALIGNED)
        if roi_is_empty(found.roi_dst) or roi_is_empty(found.roi_src):
            return out
        into: Any = found.roi_dst
        if found.paste_ok and found.read_shrink == 1:
            (top, bottom), (left, right) = map(_ends, found.roi_src)
            out[into] = self.read(Window(top, left, bottom - top, right - left))
            return out

        def reproject(dataset: Any) -> None:  # noqa: ANN401
            part = box[into]
            values = np.empty(part.shape, self.dtype)
            rasterio.warp.reproject(
                rasterio.band(dataset, 1),
                values,
                src_nodata=nodata,
                dst_crs=str(part.crs),
                dst_transform=part.transform,
                dst_nodata=nodata,
                resampling=Resampling.bilinear,
            )
            out[into] = values

        self._at(self.level_for(found.read_shrink)).use(reproject)
        return out

    def level_for(self, shrink: float) -> int | None:
        """Coarsest overview that is fine enough to be shrunk; None if the raster itself is."""
        fine = [level for level, factor in enumerate(self.overviews) if factor <= shrink]
        return fine[-1] if shrink > 1 and fine else None

    def close(self) -> None:
        """Let go of the file."""
        for raster in (self._whole, *self._overviews.values()):
            raster.close()

    def _at(self, level: int | None) -> GdalRaster:
        if level is None:
            return self._whole
        if level not in self._overviews:
            self._overviews[level] = GdalRaster(self.href, self._options, self._files, level)
        return self._overviews[level]

    def _describe(self, dataset: Any) -> None:  # noqa: ANN401
        try:
            if not all(map(math.isfinite, dataset.transform)):
                raise ValueError("its transform is not finite")
            box = rio_geobox(dataset)
            ~dataset.transform  # noqa: B018 (raises where pixels have no size)
        except (ValueError, TypeError, CRSError, TransformNotInvertibleError) as error:
            raise Rejected(
                f"{self.href} has a CRS or grid that cannot be used ({error}): georeference it",
                reason=Reason.WRONG_CRS,
            ) from None
        if dataset.crs is None or not isinstance(box, GeoBox):
            raise Rejected(
                f"{self.href} has no CRS or no plain grid: georeference it", reason=Reason.WRONG_CRS
            )
        self.geobox = box
        self.bands = int(dataset.count)
        self.dtype = str(dataset.dtypes[0])
        self.declared = Declared(
            dataset.nodata, Scaling(float(dataset.scales[0]), float(dataset.offsets[0]))
        )
        self.block_rows = int(dataset.block_shapes[0][0])
        self.overviews = tuple(int(factor) for factor in dataset.overviews(1))


def _ends(part: Any) -> tuple[int, int]:  # noqa: ANN401 (a slice as odc-geo makes it)
    return int(part.start), int(part.stop)


class RowSource(Protocol):
    """Rows of a tile's grid."""

    def read_rows(self, row: int, out: NDArray[Any]) -> None:
        """Fill ``out`` ``(y, x)`` with the tile's rows from ``row`` on."""
        ...


class BandRows(RowSource, Protocol):
    """One GeoMAD band on a tile's grid."""

    is_whole: bool
    """Whether it reads its raster as it is stored, all of it that the tile holds."""

    def plan(self) -> None:
        """Have what will be read fetched ahead, if it is remote."""
        ...

    def release(self) -> None:
        """Give back memory that reading holds; reading takes it anew."""
        ...


def open_rows(
    raster: Raster, band: BandSource, box: GeoBox, window: Window | None = None
) -> BandRows:
    """Rows of a GeoMAD band, read the cheap way where its grid is the tile's own.

    ``box`` is the tile's grid, and ``window`` the part of it that is read; default all.

    Raises Rejected if the raster is in another CRS, of another type than the band must have,
    rotated, or holds several bands.
    """
    if raster.geobox.crs != box.crs:
        found = norm_crs_or_error(raster.geobox.crs)
        name = f"EPSG:{found.epsg}" if found.epsg else found.proj.name
        raise Rejected(
            f"{raster.href} is in {name}: GeoMAD must be in {CRS}", reason=Reason.WRONG_CRS
        )
    if raster.dtype != band.dtype:
        raise Rejected(
            f"{raster.href} holds {raster.dtype}, where GeoMAD has {band.dtype}",
            reason=Reason.WRONG_RASTER,
        )
    if raster.bands != 1:
        raise Rejected(
            f"{raster.href} holds {raster.bands} bands, where GeoMAD has one file for each",
            reason=Reason.WRONG_RASTER,
        )
    if raster.geobox.transform.b or raster.geobox.transform.d:
        raise Rejected(
            f"{raster.href} is rotated: GeoMAD must be north-up in {CRS}", reason=Reason.WRONG_CRS
        )
    window = window or Window(0, 0, *box.shape)
    offset = _offset(raster.geobox, box)
    if offset is not None:
        return GridRows(raster, band, box, window, offset)
    return ResampledRows(raster, band, box, window)


def _offset(source: GeoBox, box: GeoBox) -> tuple[int, int] | None:
    """Row and column of the source's corner in the tile; None if the grids differ."""
    a, b, c, d, e, f = tuple(~box.transform @ source.transform)[:6]
    # 1e-6 pixels of scale are a hundredth of a pixel over a whole tile.
    same_size = abs(a - 1) < 1e-6 and abs(e - 1) < 1e-6 and b == 0 and d == 0
    row, column = round(f), round(c)
    aligned = abs(f - row) < 1e-2 and abs(c - column) < 1e-2
    return (row, column) if same_size and aligned else None


def agree(raster: Raster, by_item: Declared, kept: Kept) -> Declared:
    """What stored numbers mean, said by the file or by its item; unscaled where they are as kept.

    Raises Rejected if they do not agree on scale and offset, or say what cannot be meant. Where
    they do not agree on nodata, the file's counts, as for every reader of rasters.
    """
    by_file, href = raster.declared, raster.href
    if raster.dtype not in _NUMBERS:
        raise Rejected(f"{href} holds {raster.dtype}, not numbers", reason=Reason.WRONG_RASTER)
    problem = find_nonsense(by_file.scaling, kept)
    if problem is not None:
        raise Rejected(
            f"{href} cannot have {by_file.scaling}, as the file says: {problem}; correct it",
            reason=Reason.WRONG_RASTER,
        )
    if by_file.scaling and by_item.scaling and not by_file.scaling.equals(by_item.scaling):
        raise Rejected(
            f"{href} has {by_file.scaling}, its item says {by_item.scaling}: correct one of them",
            reason=Reason.WRONG_RASTER,
        )
    scaling = by_file.scaling or by_item.scaling
    mine, other = (_holdable(said.nodata, raster.dtype) for said in (by_file, by_item))
    if None not in (mine, other) and not np.array_equal(mine, other, equal_nan=True):
        log.warning("%s has nodata %g, its item says %g: the file's counts", href, mine, other)
    nodata = other if mine is None else mine
    return Declared(
        None if nodata is None else float(nodata),
        UNSCALED if is_as_kept(scaling, kept) else scaling,
    )


def _holdable(nodata: float | None, dtype: str) -> Any:  # noqa: ANN401 (any numpy scalar)
    """A nodata value in the type of the pixels; None if no pixel can have it."""
    if nodata is None:
        return None
    with np.errstate(all="ignore"):
        held = np.asarray(nodata).astype(dtype)
    is_exact = np.dtype(dtype).kind == "f" or float(held) == nodata
    return held[()] if is_exact else None


def keep(rows: NDArray[Any], agreed: Declared, kept: Kept) -> None:
    """Turn stored numbers ``(y, x)`` into kept ones in place, without a second array of all."""
    nodata = agreed.nodata
    if nodata is not None and nodata != kept.fill and not np.isnan(nodata):
        rows[rows == nodata] = kept.fill
    if agreed.scaling:
        for row in rows:
            row[:] = rescale(row, agreed.scaling, kept)


class GridRows:
    """A band whose pixels are the tile's: blocks are read as they are stored."""

    def __init__(
        self,
        raster: Raster,
        band: BandSource,
        box: GeoBox,
        window: Window,
        offset: tuple[int, int],
    ) -> None:
        self._raster = raster
        self._kept = band.kept
        self._agreed = agree(raster, band.declared, band.kept)
        self.is_whole = (window.rows, window.columns) == box.shape
        self._row, self._column = offset[0] - window.row, offset[1] - window.column
        rows, columns = raster.geobox.shape
        # In rows and columns of the raster, what lies in the window.
        asked = Window(-self._row, -self._column, window.rows, window.columns)
        self._inside = asked.clipped(rows, columns)
        wanted = min(max(raster.block_rows, _MIN_CHUNK_ROWS), _MAX_CHUNK_ROWS)
        self._chunk_rows = wanted
        # One buffer for the life of the tile: freeing and taking it anew tears the heap.
        self._buffer: NDArray[Any] | None = None
        self._held = -1

    def read_rows(self, row: int, out: NDArray[Any]) -> None:
        """Fill ``out`` ``(y, x)`` with the window's rows from ``row`` on.

        Each block is decoded once.
        """
        inside = self._inside
        first = max(row - self._row, inside.row)
        last = min(row - self._row + out.shape[0], inside.row + inside.rows)
        covered = inside.pixels > 0 and first < last
        if not covered or last - first < out.shape[0] or inside.columns < out.shape[1]:
            out[:] = self._kept.fill
        if not covered:
            return
        left = inside.column + self._column
        for start in range(first - first % self._chunk_rows, last, self._chunk_rows):
            top, bottom = max(start, first), min(start + self._chunk_rows, last)
            to = top + self._row - row
            target = out[to : to + bottom - top, left : left + inside.columns]
            self._read_part(start, top, target)
        keep(out, self._agreed, self._kept)

    def plan(self) -> None:
        """Have what will be read fetched ahead, if it is remote."""
        inside, size = self._inside, self._chunk_rows
        tops = range(inside.row - inside.row % size, inside.row + inside.rows, size)
        self._raster.plan(
            Part(row + self._row, row + self._row, Window(row, inside.column, rows, inside.columns))
            for top in tops
            for row in (max(top, inside.row),)
            for rows in (min(top + size, inside.row + inside.rows) - row,)
        )

    def release(self) -> None:
        """Give back the memory of decoded rows; reading takes it anew."""
        self._buffer, self._held = None, -1

    def _read_part(self, start: int, top: int, target: NDArray[Any]) -> None:
        """Rows of the raster from ``top`` on, all within the chunk at ``start``."""
        inside = self._inside
        chunk_top = max(start, inside.row)
        chunk_rows = min(start + self._chunk_rows, inside.row + inside.rows) - chunk_top
        if target.shape[0] == chunk_rows:
            area = Window(chunk_top, inside.column, chunk_rows, inside.columns)
            self._raster.read(area, out=target)
            return
        if self._held != start:
            self._held = -1
            if self._buffer is None:
                shape = (min(self._chunk_rows, inside.rows), inside.columns)
                self._buffer = np.empty(shape, self._raster.dtype)
            area = Window(chunk_top, inside.column, chunk_rows, inside.columns)
            self._raster.read(area, out=self._buffer[:chunk_rows])
            self._held = start
        assert self._buffer is not None
        target[:] = self._buffer[top - chunk_top : top - chunk_top + target.shape[0]]


class ResampledRows:
    """A band on another grid than the tile's: bilinear, from overviews.

    GDAL's weights depend a little on the window that is warped, so the tile is cut into
    fixed blocks of rows, and strips are cut from these: those of a window of it as well.
    """

    is_whole = False

    def __init__(self, raster: Raster, band: BandSource, box: GeoBox, window: Window) -> None:
        self._raster = raster
        self._box = box
        self._window = window
        self._kept = band.kept
        self._agreed = agree(raster, band.declared, band.kept)
        # The warper keeps nodata as it is stored: it fails to write 0 for another.
        self._nodata = band.kept.fill if self._agreed.nodata is None else self._agreed.nodata
        self._block_rows = max(_BLOCK_PIXELS // box.shape.x, 1)
        self._block: tuple[int, NDArray[Any]] | None = None

    def read_rows(self, row: int, out: NDArray[Any]) -> None:
        """Fill ``out`` ``(y, x)`` with the window's rows from ``row`` on."""
        size, row = self._block_rows, row + self._window.row
        for start in range(row - row % size, row + out.shape[0], size):
            values = self._load(start)
            top, bottom = max(start, row), min(start + values.shape[0], row + out.shape[0])
            out[top - row : bottom - row] = values[top - start : bottom - start]

    def plan(self) -> None:
        """Have what will be read fetched ahead, if it is remote."""
        parts: dict[int | None, list[Part]] = {}
        first, size = self._window.row, self._block_rows
        for start in range(first - first % size, first + self._window.rows, size):
            found = compute_reproject_roi(self._raster.geobox, self._block_at(start), ttol=_ALIGNED)
            level = self._raster.level_for(found.read_shrink)
            factor = 1 if level is None else self._raster.overviews[level]
            rows, columns = self._raster.geobox.shape
            (top, bottom), (left, right) = (
                (start // factor - _MARGIN, -(-stop // factor) + _MARGIN)
                for start, stop in map(_ends, found.roi_src)
            )
            window = Window(top, left, bottom - top, right - left)
            inside = window.clipped(-(-rows // factor), -(-columns // factor))
            when = max(start - first, 0)
            parts.setdefault(level, []).append(Part(when, when, inside))
        for level, of_level in parts.items():
            self._raster.plan(of_level, level)

    def release(self) -> None:
        """Give back the memory of resampled rows; reading takes it anew."""
        self._block = None

    def _block_at(self, start: int) -> GeoBox:
        return self._box[start : start + self._block_rows, :]

    def _load(self, start: int) -> NDArray[Any]:
        if self._block is None or self._block[0] != start:
            self._block = None
            values = self._raster.warp(self._block_at(start), self._nodata)
            left = self._window.column
            values = values[:, left : left + self._window.columns]
            keep(values, self._agreed, self._kept)
            self._block = (start, values)
        return self._block[1]
