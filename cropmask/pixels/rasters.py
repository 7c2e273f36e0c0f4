"""One raster each, opened for reading rows of a tile: on its grid, or resampled to it.

Every method that reads runs in a thread of :func:`cropmask.pixels.gdal.open_reading_threads`.
A read that fails raises; it never becomes nodata.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.converters import rio_geobox
from odc.geo.crs import norm_crs_or_error
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow
from shapely.geometry import mapping

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
from cropmask.grid import CRS, EPSG
from cropmask.pixels.gdal import read_with_retries
from cropmask.pixels.resample import Window
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import ReadOptions, check_local
from cropmask.sources.bands import BandSource

if TYPE_CHECKING:
    import pystac

_MAX_CHUNK_ROWS: Final = 512
"""Most rows decoded at once; the usual height of a COG's blocks."""
_MIN_CHUNK_ROWS: Final = 64
_BLOCK_PIXELS: Final = 2**20
"""Pixels resampled at once: the same cut for every strip height, so the same bytes."""
_NUMBERS: Final = frozenset(
    "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64".split()
)
"""Types of pixels that can be calculated with."""

log = logging.getLogger(__name__)


class Raster:
    """A raster that stays open, and is opened again when reading from it fails."""

    def __init__(self, href: str, options: ReadOptions) -> None:
        self.href = href
        self._options = options
        self._lock = threading.Lock()
        self._dataset: Any = None
        read_with_retries(self._open, href, options)
        dataset: Any = self._dataset
        box = rio_geobox(dataset)
        if dataset.crs is None or not isinstance(box, GeoBox):
            raise Rejected(
                f"{href} has no CRS or no plain grid: georeference it", reason=Reason.WRONG_CRS
            )
        self.geobox = box
        self.bands = int(dataset.count)
        self.dtype = str(dataset.dtypes[0])
        self.declared = Declared(
            dataset.nodata, Scaling(float(dataset.scales[0]), float(dataset.offsets[0]))
        )
        self.block_rows = int(dataset.block_shapes[0][0])

    def read(self, window: Window, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Cells ``(y, x)`` of a window inside the raster, of its own type."""
        area = RasterWindow(window.column, window.row, window.columns, window.rows)

        def read() -> NDArray[Any]:
            self._open()
            try:
                values: NDArray[Any] = self._dataset.read(1, window=area, out=out)
            except Exception:
                self._close()
                raise
            return values

        with self._lock:
            return read_with_retries(read, self.href, self._options)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()

    def _open(self) -> None:
        if self._dataset is None:
            if not is_remote(self.href):
                check_local(self.href, self._options)
            self._dataset = rasterio.open(self.href, sharing=False)

    def _close(self) -> None:
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None


class RowSource(Protocol):
    """Rows of a tile's grid."""

    def read_rows(self, row: int, out: NDArray[Any]) -> None:
        """Fill ``out`` ``(y, x)`` with the tile's rows from ``row`` on."""
        ...


class BandRows(RowSource, Protocol):
    """One GeoMAD band on a tile's grid."""

    def release(self) -> None:
        """Give back memory that reading holds; reading takes it anew."""
        ...


def open_rows(raster: Raster, band: BandSource, box: GeoBox, options: ReadOptions) -> BandRows:
    """Rows of a GeoMAD band, read the cheap way where its grid is the tile's own.

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
    offset = _offset(raster.geobox, box)
    if offset is not None:
        return GridRows(raster, band, box, offset)
    return ResampledRows(raster, band, box, options)


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
        self, raster: Raster, band: BandSource, box: GeoBox, offset: tuple[int, int]
    ) -> None:
        self._raster = raster
        self._kept = band.kept
        self._agreed = agree(raster, band.declared, band.kept)
        self._row, self._column = offset
        rows, columns = raster.geobox.shape
        # In rows and columns of the raster, what lies in the tile.
        self._inside = Window(-self._row, -self._column, *box.shape).clipped(rows, columns)
        wanted = min(max(raster.block_rows, _MIN_CHUNK_ROWS), _MAX_CHUNK_ROWS)
        self._chunk_rows = wanted
        # One buffer for the life of the tile: freeing and taking it anew tears the heap.
        self._buffer: NDArray[Any] | None = None
        self._held = -1

    def read_rows(self, row: int, out: NDArray[Any]) -> None:
        """Fill ``out`` ``(y, x)`` with the tile's rows from ``row`` on; each block decoded once."""
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
    """A band on another grid than the tile's: bilinear by odc-stac, from overviews.

    GDAL's weights depend a little on the window that is warped, so the tile is cut into
    fixed blocks of rows, and strips are cut from these.
    """

    def __init__(self, raster: Raster, band: BandSource, box: GeoBox, options: ReadOptions) -> None:
        self._raster = raster
        self._box = box
        self._options = options
        self._kept = band.kept
        self._agreed = agree(raster, band.declared, band.kept)
        # The warper keeps nodata as it is stored: it fails to write 0 for another.
        self._nodata = band.kept.fill if self._agreed.nodata is None else self._agreed.nodata
        self._item = _make_item(raster)
        self._config = {"*": {"assets": {"*": {"data_type": band.dtype, "nodata": self._nodata}}}}
        self._block_rows = max(_BLOCK_PIXELS // box.shape.x, 1)
        self._block: tuple[int, NDArray[Any]] | None = None
        raster.close()

    def read_rows(self, row: int, out: NDArray[Any]) -> None:
        """Fill ``out`` ``(y, x)`` with the tile's rows from ``row`` on."""
        size = self._block_rows
        for start in range(row - row % size, row + out.shape[0], size):
            values = self._load(start)
            top, bottom = max(start, row), min(start + values.shape[0], row + out.shape[0])
            out[top - row : bottom - row] = values[top - start : bottom - start]

    def release(self) -> None:
        """Give back the memory of resampled rows; reading takes it anew."""
        self._block = None

    def _load(self, start: int) -> NDArray[Any]:
        if self._block is None or self._block[0] != start:
            self._block = None
            block = self._box[start : start + self._block_rows, :]
            values = read_with_retries(lambda: self._warp(block), self._raster.href, self._options)
            keep(values, self._agreed, self._kept)
            self._block = (start, values)
        return self._block[1]

    def _warp(self, block: GeoBox) -> NDArray[Any]:
        import odc.stac  # xarray and dask take seconds to load: only where grids differ

        loaded = odc.stac.load(
            [self._item],
            bands=["band"],
            geobox=block,
            resampling="bilinear",
            dtype=self._kept.dtype,
            nodata=self._nodata,
            stac_cfg=self._config,
            fail_on_error=True,
            driver=_make_driver(self._nodata),
        )
        values: NDArray[Any] = loaded["band"].values[0]
        return values


def _make_driver(nodata: float) -> Any:  # noqa: ANN401 (a class of odc-loader, which is untyped)
    """What reads rasters for odc-stac, told the nodata of those whose file does not say it."""
    from odc.loader import RioDriver, RioReader

    class Reader(RioReader):
        def read(self, cfg: Any, *where: Any, **how: Any) -> Any:  # noqa: ANN401
            return super().read(cfg.patch(src_nodata_override=nodata), *where, **how)

    class Driver(RioDriver):
        def open(self, src: Any, ctx: Any) -> Reader:  # noqa: ANN401
            return Reader(src, ctx)

    return Driver()


def _make_item(raster: Raster) -> pystac.Item:
    """The band as an item of its own that says all that odc-stac wants to know."""
    import pystac  # takes most of a second to load: only where grids differ

    box = raster.geobox
    item = pystac.Item(
        id="band",
        geometry=mapping(box.geographic_extent.geom),
        bbox=list(box.geographic_extent.boundingbox),
        datetime=datetime(2000, 1, 1, tzinfo=UTC),
        properties={
            "proj:code": CRS,
            "proj:epsg": EPSG,
            "proj:shape": list(box.shape),
            "proj:transform": list(box.transform)[:6],
        },
        stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        # Without a collection odc-stac ignores its configuration.
        collection="geomad",
    )
    item.add_asset("band", pystac.Asset(raster.href, media_type="image/tiff", roles=["data"]))
    return item
