"""Where a tile's pixels lie in another raster, and values there: exact, strip by strip.

Positions are pixel edges of the source: ``x = 0`` is its left edge and ``0.5`` the center
of its first column. No approximation of the transformation (GDAL's warper allows itself an
eighth of a pixel), so a strip's values do not depend on how a tile is cut into strips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import norm_crs_or_error
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from cropmask.grid import GridWindow

_CYLINDRICAL: Final = frozenset({3395, 3857, 4326, 6933})
"""WGS84 and its normal cylindrical projections: ``x`` depends on longitude only, ``y`` on
latitude only."""
_ON_A_BORDER: Final = 1e-6
"""A center this close below a border of two source cells counts as in the second, whatever
the last digits of the projection say; in cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Positions of some rows of a tile in a source; ``x`` and ``y`` broadcast to ``(y, x)``."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """Rows and columns of a source; may reach over its edges."""

    row: int
    column: int
    rows: int
    columns: int

    @classmethod
    def of(cls, part: GridWindow, whole: GridWindow) -> Window:
        """A window of the grid as rows and columns of one that holds it."""
        return cls(part.row - whole.row, part.column - whole.column, part.rows, part.columns)

    def clipped(self, rows: int, columns: int) -> Window:
        """The part inside a source of this shape; empty if there is none."""
        top, left = max(self.row, 0), max(self.column, 0)
        bottom = min(self.row + self.rows, rows)
        right = min(self.column + self.columns, columns)
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))

    @property
    def pixels(self) -> int:
        """Number of cells."""
        return self.rows * self.columns


class Projector:
    """Positions of a tile's pixel centers in a source of any CRS.

    Those of a window of the tile are the same numbers as those of the whole.
    """

    def __init__(self, source: GeoBox, target: GeoBox, window: Window | None = None) -> None:
        self._source = source
        self._target = target
        self._window = window or Window(0, 0, *target.shape)
        source_crs, target_crs = norm_crs_or_error(source.crs), norm_crs_or_error(target.crs)
        self._codes = {source_crs.epsg, target_crs.epsg}
        self._to_source = (
            None
            if source_crs == target_crs
            else Transformer.from_crs(target_crs.proj, source_crs.proj, always_xy=True)
        )
        self._axes = self._project_axes() if self._is_separable() else None

    @property
    def is_cheap(self) -> bool:
        """Whether positions are known of each column and row, whatever the other is."""
        return self._axes is not None

    def positions(self, row: int, rows: int) -> Positions:
        """Positions of ``rows`` rows of the window from its row ``row`` on."""
        top, (left, right) = self._window.row + row, self._ends
        if self._axes is not None:
            x, y = self._axes
            return Positions(x[np.newaxis, left:right], y[top : top + rows, np.newaxis])
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, top + rows) + 0.5)
        return self._project(x, y)

    def outline(self) -> Positions:
        """Positions that bound all positions of the window: its axes, or its outline."""
        rows, top, (left, right) = self._window.rows, self._window.row, self._ends
        if self._axes is not None:
            return self.positions(0, rows)
        along, down = np.arange(left, right) + 0.5, np.arange(top, top + rows) + 0.5
        x = np.concatenate([along, along, np.full(rows, along[0]), np.full(rows, along[-1])])
        y = np.concatenate(
            [np.full(len(along), down[0]), np.full(len(along), down[-1]), down, down]
        )
        at = self._project(x, y)
        return Positions(at.x[np.newaxis], at.y[np.newaxis])

    @property
    def _ends(self) -> tuple[int, int]:
        return self._window.column, self._window.column + self._window.columns

    def _is_separable(self) -> bool:
        """Whether columns depend on columns only and rows on rows only."""
        upright = all(
            box.transform.b == 0 and box.transform.d == 0 for box in (self._source, self._target)
        )
        return upright and (self._to_source is None or self._codes <= _CYLINDRICAL)

    def _project_axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, columns = self._target.shape
        x = np.arange(columns, dtype=np.float64) + 0.5
        y = np.arange(rows, dtype=np.float64) + 0.5
        across = self._project(x, np.full(columns, rows / 2))
        down = self._project(np.full(rows, columns / 2), y)
        return across.x, down.y

    def _project(self, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> Positions:
        x, y = _apply(self._target.transform, columns, rows)
        if self._to_source is not None:
            x, y = self._to_source.transform(x, y)
        return Positions(*_apply(~self._source.transform, x, y))


def nearest_window(at: Positions) -> Window:
    """Smallest window that holds the cells that positions lie in."""
    return _span(np.floor(at.x + _ON_A_BORDER), np.floor(at.y + _ON_A_BORDER), 0)


def bilinear_window(at: Positions) -> Window:
    """Smallest window that holds the two by two cells around every position."""
    return _span(np.floor(at.x - 0.5), np.floor(at.y - 0.5), 1)


def sample_nearest(
    cells: NDArray[np.generic], window: Window, at: Positions, fill: float
) -> NDArray[np.generic]:
    """Value of the cell that each position lies in."""
    column, inside_x = _inside(np.floor(at.x + _ON_A_BORDER) - window.column, window.columns)
    row, inside_y = _inside(np.floor(at.y + _ON_A_BORDER) - window.row, window.rows)
    if column.shape[0] == 1 and row.shape[1] == 1:
        # Rows first, then columns: each a copy along one axis.
        values = cells[row[:, 0]][:, column[0]]
    else:
        values = cells[row, column]
    if not (inside_x.all() and inside_y.all()):
        values[~(inside_x & inside_y)] = fill
    return values


def sample_bilinear(
    cells: NDArray[np.float64], window: Window, at: Positions
) -> NDArray[np.float32]:
    """Value interpolated between the centers of the two by two cells around each position."""
    x = np.clip(at.x - 0.5 - window.column, 0, window.columns - 1)
    y = np.clip(at.y - 0.5 - window.row, 0, window.rows - 1)
    # The last cell has no right neighbor: it is the right neighbor, with all the weight.
    column = np.minimum(np.floor(x).astype(np.intp), window.columns - 2)
    row = np.minimum(np.floor(y).astype(np.intp), window.rows - 2)
    right, down = x - column, y - row
    if column.shape[0] == 1 and row.shape[1] == 1:
        lines = cells[:, column[0]] * (1 - right) + cells[:, column[0] + 1] * right
        values = lines[row[:, 0]] * (1 - down) + lines[row[:, 0] + 1] * down
    else:
        upper = cells[row, column] * (1 - right) + cells[row, column + 1] * right
        lower = cells[row + 1, column] * (1 - right) + cells[row + 1, column + 1] * right
        values = upper * (1 - down) + lower * down
    return np.asarray(values, np.float32)


def fill_with_mean(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cells with NaN replaced by the mean of the others; unchanged if all are NaN."""
    known = np.isfinite(cells)
    if known.all() or not known.any():
        return cells
    return np.where(known, cells, cells[known].mean())


def _span(columns: NDArray[np.float64], rows: NDArray[np.float64], more: int) -> Window:
    finite_x, finite_y = columns[np.isfinite(columns)], rows[np.isfinite(rows)]
    if finite_x.size == 0 or finite_y.size == 0:
        return Window(0, 0, 0, 0)
    left, top = int(finite_x.min()), int(finite_y.min())
    return Window(
        top, left, int(finite_y.max()) - top + 1 + more, int(finite_x.max()) - left + 1 + more
    )


def _apply(
    transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * x + b * y + c, d * x + e * y + f


def _inside(index: NDArray[np.float64], size: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Indices cut to the window, and which of them needed no cut."""
    inside = (index >= 0) & (index < size)
    return np.where(inside, index, 0).astype(np.intp), inside
