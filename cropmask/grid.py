"""The tiling ``africa_10``: names of tiles, their geoboxes, and which of them a polygon touches.

EPSG:6933 (equal area, meters), square tiles of 96 000 m, ``y`` grows north. Geometry packages
are loaded by the functions that need them: names alone cost nothing.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import TYPE_CHECKING, Any, Final

from cropmask.errors import Reason, Rejected

if TYPE_CHECKING:
    import numpy as np
    import shapely
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

CRS: Final = "EPSG:6933"
EPSG: Final = 6933
RESOLUTIONS: Final = (10, 20, 60, 100)
"""Pixel sizes in meters; each divides a tile evenly."""
MOSAIC_RESOLUTIONS: Final = (100, 200, 400, 800, 1600, 3200)
"""Pixel sizes of a quick look of a region, in meters; each divides a tile evenly."""
WEB_RESOLUTIONS: Final = tuple(sorted({*RESOLUTIONS, *MOSAIC_RESOLUTIONS}))
"""Pixel sizes of a web map, in meters."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """A regular grid of square tiles."""

    crs: str
    left: float
    """Left edge of column 0, meters."""
    bottom: float
    """Bottom edge of row 0, meters."""
    size: float
    """Edge of a tile, meters."""
    columns: int
    rows: int

    @property
    def top(self) -> float:
        """Top edge of the last row, meters."""
        return self.bottom + self.size * self.rows


AFRICA_10: Final = TileGrid(CRS, -17_376_000.0, -7_392_000.0, 96_000.0, 362, 154)
"""Digital Earth Africa's grid, extended so that indices of the whole CRS are positive."""

_NAMES = re.compile(r"\s*(?:[xX](\d{1,3})[yY](\d{1,3})|(\d{1,3})\s*,\s*(\d{1,3}))\s*", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile of :data:`AFRICA_10`; prints as ``x215y075``."""

    x: int
    """Column, grows east."""
    y: int
    """Row, grows north."""

    @classmethod
    def parse(cls, text: str) -> Tile:
        """Tile of a name: ``x10y20``, ``x010y020`` or ``10,20``.

        Raises
        ------
        Rejected
            If the text is no such name, or lies off the grid.
        """
        match = _NAMES.fullmatch(text)
        if match is None:
            raise Rejected(
                f"'{text}' is not a tile name: write it like x215y075 or 215,75",
                reason=Reason.BAD_TILE,
            )
        x, y = (int(group) for group in match.groups() if group is not None)
        if x >= AFRICA_10.columns or y >= AFRICA_10.rows:
            raise Rejected(
                f"tile x{x:03d}y{y:03d} is off the grid: columns are 0 to "
                f"{AFRICA_10.columns - 1}, rows 0 to {AFRICA_10.rows - 1}",
                reason=Reason.BAD_TILE,
            )
        return cls(x, y)

    def __str__(self) -> str:
        return f"x{self.x:03d}y{self.y:03d}"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(left, bottom, right, top)`` in meters of EPSG:6933."""
        left = AFRICA_10.left + AFRICA_10.size * self.x
        bottom = AFRICA_10.bottom + AFRICA_10.size * self.y
        return left, bottom, left + AFRICA_10.size, bottom + AFRICA_10.size


def geobox(tile: Tile, resolution: int = 10) -> GeoBox:
    """Pixel grid of a tile, north up.

    Parameters
    ----------
    tile
        The tile.
    resolution
        Pixel size in meters: one of :data:`RESOLUTIONS`.

    Raises
    ------
    Rejected
        If the pixel size does not divide a tile as published.
    """
    if resolution not in RESOLUTIONS:
        known = ", ".join(map(str, RESOLUTIONS))
        raise Rejected(
            f"resolution {resolution} m is not offered: choose one of {known}",
            reason=Reason.BAD_MESSAGE,
        )
    from odc.geo.geobox import GeoBox

    return GeoBox.from_bbox(tile.bounds, CRS, resolution=resolution, tight=True)


@dataclass(frozen=True, slots=True)
class GridWindow:
    """Rows and columns of pixels of :data:`AFRICA_10`, counted from its north-western corner."""

    row: int
    column: int
    rows: int
    columns: int
    resolution: int
    """Pixel size in meters."""

    @classmethod
    def of_tile(cls, tile: Tile, resolution: int) -> GridWindow:
        """All pixels of a tile."""
        edge = int(AFRICA_10.size) // resolution
        return cls((AFRICA_10.rows - 1 - tile.y) * edge, tile.x * edge, edge, edge, resolution)

    @classmethod
    def around(cls, bounds: tuple[float, float, float, float], resolution: int) -> GridWindow:
        """Pixels whose centers are within ``(left, bottom, right, top)`` in meters of EPSG:6933.

        Empty if there are none.
        """
        left, bottom, right, top = bounds
        north = AFRICA_10.top
        row, rows = _span_of_centers((north - top) / resolution, (north - bottom) / resolution)
        column, columns = _span_of_centers(
            (left - AFRICA_10.left) / resolution, (right - AFRICA_10.left) / resolution
        )
        return cls(row, column, rows, columns, resolution)

    @classmethod
    def of_box(cls, box: GeoBox) -> GridWindow | None:
        """Pixels of any geobox; None if it is on another grid, or reaches off this one."""
        (a, b, left, d, e, top), size = tuple(box.transform)[:6], round(box.transform.a)
        if box.crs != CRS or b or d or size not in RESOLUTIONS:
            return None
        column, row = (left - AFRICA_10.left) / size, (AFRICA_10.top - top) / size
        rows, columns = box.shape
        found = cls(round(row), round(column), rows, columns, size)
        # Both corners, so that a pixel size that is nearly one of ours counts where it is small.
        drift = abs(a / size - 1) * columns, abs(-e / size - 1) * rows
        apart = max(abs(column - found.column), abs(row - found.row), *drift)
        per_tile = int(AFRICA_10.size) // size
        whole = cls(0, 0, AFRICA_10.rows * per_tile, AFRICA_10.columns * per_tile, size)
        return found if apart < _ALIGNED and found.within(whole) == found else None

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.rows * self.columns

    @property
    def geobox(self) -> GeoBox:
        """Pixel grid of the window, north up."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        left = AFRICA_10.left + self.column * self.resolution
        top = AFRICA_10.top - self.row * self.resolution
        transform = Affine(self.resolution, 0, left, 0, -self.resolution, top)
        return GeoBox((self.rows, self.columns), transform, CRS)

    def inside(self, polygons: shapely.Geometry) -> NDArray[np.bool_]:
        """Whether the center of each pixel ``(y, x)`` is inside polygons in EPSG:6933."""
        import numpy as np
        from rasterio.features import rasterize

        found = np.zeros((self.rows, self.columns), np.uint8)
        if self.pixels:
            rasterize([polygons], out=found, transform=self.geobox.transform)
        return found.view(np.bool_)

    def grown(self, pixels: int) -> GridWindow:
        """The window with a margin on all sides."""
        return replace(
            self,
            row=self.row - pixels,
            column=self.column - pixels,
            rows=self.rows + 2 * pixels,
            columns=self.columns + 2 * pixels,
        )

    def within(self, other: GridWindow) -> GridWindow:
        """The part that lies in another window of the same resolution; empty if there is none."""
        row, column = max(self.row, other.row), max(self.column, other.column)
        bottom = min(self.row + self.rows, other.row + other.rows)
        right = min(self.column + self.columns, other.column + other.columns)
        size = max(bottom - row, 0), max(right - column, 0)
        return GridWindow(row, column, *size, self.resolution)

    def part(self, row: int, column: int, rows: int, columns: int) -> GridWindow:
        """Some of its rows and columns."""
        return replace(
            self, row=self.row + row, column=self.column + column, rows=rows, columns=columns
        )

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Tiles that have pixels of the window, sorted."""
        edge = int(AFRICA_10.size) // self.resolution
        north, south = self.row // edge, (self.row + self.rows - 1) // edge
        west, east = self.column // edge, (self.column + self.columns - 1) // edge
        return tuple(
            Tile(x, AFRICA_10.rows - 1 - row)
            for x in range(west, east + 1)
            for row in range(south, north - 1, -1)
        )

    def joined(self, other: GridWindow) -> GridWindow:
        """The smallest window that holds both, of the same resolution."""
        row, column = min(self.row, other.row), min(self.column, other.column)
        bottom = max(self.row + self.rows, other.row + other.rows)
        right = max(self.column + self.columns, other.column + other.columns)
        return GridWindow(row, column, bottom - row, right - column, self.resolution)

    def seen_from(self, other: GridWindow) -> tuple[slice, slice]:
        """Its rows and columns in an array of the pixels of a window that holds it."""
        row, column = self.row - other.row, self.column - other.column
        return slice(row, row + self.rows), slice(column, column + self.columns)


def _span_of_centers(low: float, high: float) -> tuple[int, int]:
    """First of the pixels whose centers are from ``low`` to ``high``, and their number."""
    first, last = ceil(low - 0.5 - _ON_AN_EDGE), floor(high - 0.5 + _ON_AN_EDGE)
    return first, max(last - first + 1, 0)


_ON_AN_EDGE: Final = 1e-6
"""Pixels that a projection may move an edge by: one that was a center's stays so."""
_ALIGNED: Final = 0.01
"""Pixels that a grid may lie beside the product's and count as on it."""
_PREPARED: Final = threading.Lock()
"""GEOS builds the index of a prepared geometry on first use: not in two threads at once."""


def tile_polygon(tile: Tile) -> shapely.Polygon:
    """Box of a tile in EPSG:6933."""
    import shapely

    return shapely.box(*tile.bounds)


def intersects(boundary: shapely.Geometry, tile: Tile) -> bool:
    """Whether polygons in EPSG:6933 reach the pixels of a tile; see :func:`tiles_within`."""
    return bool(_reaches(boundary, *tile.bounds)[()])


def tile_at(x: float, y: float) -> Tile:
    """Tile of a place in meters of EPSG:6933; one on an edge belongs to the east and the north.

    Raises Rejected if the place lies off the grid.
    """
    column = (x - AFRICA_10.left) // AFRICA_10.size
    row = (y - AFRICA_10.bottom) // AFRICA_10.size
    if not (0 <= column < AFRICA_10.columns and 0 <= row < AFRICA_10.rows):
        raise Rejected(f"{x:.0f}, {y:.0f} m is off the grid", reason=Reason.BAD_TILE)
    return Tile(int(column), int(row))


def tiles_within(boundary: shapely.Geometry) -> tuple[Tile, ...]:
    """All tiles whose pixels are reached by polygons in EPSG:6933.

    A tile is reached where its pixels are: half a pixel of 10 m within its edges. So what only
    touches a tile, or overlaps it by less than any pixel, as a footprint that was rounded in
    degrees does with its neighbors, does not count.

    Parameters
    ----------
    boundary
        Polygons; what lies off the grid is left out.

    Returns
    -------
    tuple of Tile
        Sorted by column, then row; empty for an empty boundary.
    """
    import numpy as np

    if boundary.is_empty:
        return ()
    left, bottom, right, top = boundary.bounds
    columns = _indices(left, right, AFRICA_10.left, AFRICA_10.columns)
    rows = _indices(bottom, top, AFRICA_10.bottom, AFRICA_10.rows)
    x, y = (indices.ravel() for indices in np.meshgrid(columns, rows, indexing="ij"))
    west = AFRICA_10.left + AFRICA_10.size * x
    south = AFRICA_10.bottom + AFRICA_10.size * y
    reached = _reaches(boundary, west, south, west + AFRICA_10.size, south + AFRICA_10.size)
    return tuple(Tile(int(i), int(j)) for i, j in zip(x[reached], y[reached], strict=True))


def _indices(low: float, high: float, origin: float, count: int) -> NDArray[np.int64]:
    """Indices along one axis of the tiles from ``low`` to ``high``, those of the grid only."""
    import numpy as np

    first = max(0, int(np.floor((low - origin) / AFRICA_10.size)))
    last = min(count - 1, int(np.floor((high - origin) / AFRICA_10.size)))
    return np.arange(first, last + 1)


def _reaches(
    boundary: shapely.Geometry,
    west: float | NDArray[np.floating[Any]],
    south: float | NDArray[np.floating[Any]],
    east: float | NDArray[np.floating[Any]],
    north: float | NDArray[np.floating[Any]],
) -> NDArray[np.bool_]:
    """Whether polygons reach the pixel centers of one box, or of each of many."""
    import numpy as np
    import shapely

    rim = RESOLUTIONS[0] / 2
    centers = shapely.box(west + rim, south + rim, east - rim, north - rim)
    with _PREPARED:
        shapely.prepare(boundary)
        return np.asarray(shapely.intersects(boundary, centers), dtype=bool)
