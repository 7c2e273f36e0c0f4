"""Rows of bands of results, which are bytes on their tile's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from cropmask.errors import Reason, Rejected
from cropmask.pixels.gdal import GdalRaster
from cropmask.pixels.resample import Window
from cropmask.product import NODATA


def read_result_window(raster: GdalRaster, window: Window, edge: int) -> NDArray[np.uint8]:
    """Pixels ``(y, x)`` of a window inside a band; raises as :func:`read_result_rows`."""

    def read(opened: Any) -> NDArray[np.uint8]:  # noqa: ANN401 (rasterio is untyped)
        _check(opened, raster.href, edge)
        area = RasterWindow(window.column, window.row, window.columns, window.rows)
        pixels: NDArray[np.uint8] = opened.read(1, window=area)
        return pixels

    return raster.use(read)


def read_result_rows(raster: GdalRaster, row: int, rows: int, edge: int) -> NDArray[np.uint8]:
    """Rows ``(y, x)`` of a band over all columns, nodata beyond the tile.

    ``edge`` is the number of pixels that a tile has along an edge. Raises Rejected if the raster
    has another shape or type; Interrupted if it cannot be read.
    """

    def read(opened: Any) -> NDArray[np.uint8]:  # noqa: ANN401 (rasterio is untyped)
        _check(opened, raster.href, edge)
        out = np.full((rows, opened.width), NODATA, np.uint8)
        first, last = max(row, 0), min(row + rows, opened.height)
        if first < last:
            window = RasterWindow(0, first, opened.width, last - first)
            out[first - row : last - row] = opened.read(1, window=window)
        return out

    return raster.use(read)


def _check(opened: Any, href: str, edge: int) -> None:  # noqa: ANN401 (rasterio is untyped)
    if opened.shape != (edge, edge) or opened.dtypes[0] != "uint8":
        raise Rejected(
            f"{href} has {opened.height} x {opened.width} pixels of {opened.dtypes[0]}, its item "
            f"says {edge} x {edge} of uint8: map the tile again",
            reason=Reason.CHANGED,
        )
