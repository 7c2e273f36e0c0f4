"""Which tiles a region has: boxes of the grid against polygons."""

from __future__ import annotations

import threading
from typing import Final, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.grid import AFRICA_10, Tile

Boxes: TypeAlias = shapely.Polygon | NDArray[np.object_]
"""One box, or an array of them."""
_PREPARED: Final = threading.Lock()
"""GEOS builds the index of a prepared geometry on first use: not in two threads at once."""


def tile_polygon(tile: Tile) -> shapely.Polygon:
    """Box of a tile in EPSG:6933."""
    return shapely.box(*tile.bounds)


def intersects(boundary: shapely.Geometry, tile: Tile) -> bool:
    """Whether a tile shares an area with polygons in EPSG:6933; a common edge is none."""
    return bool(_shares_area(boundary, tile_polygon(tile)))


def tiles_within(boundary: shapely.Geometry) -> tuple[Tile, ...]:
    """All tiles that share an area with polygons in EPSG:6933.

    Parameters
    ----------
    boundary
        Polygons; what lies off the grid is left out.

    Returns
    -------
    tuple of Tile
        Sorted by column, then row; empty for an empty boundary.
    """
    if boundary.is_empty:
        return ()
    left, bottom, right, top = boundary.bounds
    columns = _indices(left, right, AFRICA_10.left, AFRICA_10.columns)
    rows = _indices(bottom, top, AFRICA_10.bottom, AFRICA_10.rows)
    x, y = (indices.ravel() for indices in np.meshgrid(columns, rows, indexing="ij"))
    west = AFRICA_10.left + AFRICA_10.size * x
    south = AFRICA_10.bottom + AFRICA_10.size * y
    boxes = shapely.box(west, south, west + AFRICA_10.size, south + AFRICA_10.size)
    shared = _shares_area(boundary, boxes)
    return tuple(Tile(int(i), int(j)) for i, j in zip(x[shared], y[shared], strict=True))


def _indices(low: float, high: float, origin: float, count: int) -> NDArray[np.int64]:
    """Indices along one axis of the tiles from ``low`` to ``high``, those of the grid only."""
    first = max(0, int(np.floor((low - origin) / AFRICA_10.size)))
    last = min(count - 1, int(np.floor((high - origin) / AFRICA_10.size)))
    return np.arange(first, last + 1)


def _shares_area(boundary: shapely.Geometry, boxes: Boxes) -> NDArray[np.bool_]:
    with _PREPARED:
        shapely.prepare(boundary)
        shared = shapely.intersects(boundary, boxes) & ~shapely.touches(boundary, boxes)
    return np.asarray(shared, dtype=bool)
