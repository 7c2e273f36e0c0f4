"""Polygons with names that a map is divided by, such as districts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from cropmask.errors import Reason, Rejected
from cropmask.grid import GridWindow
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits
from cropmask.sources.points import find_column, load_points

NAME_COLUMNS: Final = ("name", "district", "shapename", "adm2_en", "adm1_en", "name_2", "name_1")
"""Columns that usually hold names of districts."""
MAX_NAME: Final = 200
MOST_SHARED: Final = 0.01
"""Share of the smaller of two districts that both may have: borders are drawn by hand."""
_RASTERIZING: Final = threading.Lock()
"""Meanwhile rasterio keeps a warning of its own off, in all threads: not two at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Districts:
    """Districts in the order of their names; polygons of one name are one district."""

    names: tuple[str, ...]
    polygons: NDArray[Any]
    """``(district,)`` of shapely, in meters of EPSG:6933."""
    joined: tuple[str, ...] = ()
    """Names that several polygons had."""

    @property
    def digest(self) -> str:
        """SHA-256 of names and polygons, 64 hexadecimal digits."""
        found = sha256()
        for name, polygon in zip(self.names, self.polygons, strict=True):
            found.update(name.encode() + b"\0" + shapely.normalize(polygon).wkb)
        return found.hexdigest()

    def number(self, window: GridWindow) -> NDArray[np.int32]:
        """Number of the district that has each pixel's center ``(y, x)``, -1 in none.

        Where districts overlap, the first by name has the pixel.
        """
        found = np.full((window.rows, window.columns), -1, np.int32)
        box = shapely.box(*window.geobox.boundingbox.bbox)
        near = np.flatnonzero(shapely.intersects(self.polygons, box))
        shapes = [(self.polygons[at], int(at)) for at in near[::-1]]
        if shapes and window.pixels:
            with _RASTERIZING:
                rasterize(shapes, out=found, transform=window.geobox.transform)
        return found

    def number_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number of the district of places in meters of EPSG:6933, ``(point,)``; -1 in none."""
        found = np.full(len(x), -1, np.int64)
        tree = shapely.STRtree(self.polygons)
        points, districts = tree.query(shapely.points(x, y), predicate="intersects")
        # The first by name is written last.
        order = np.argsort(-districts, kind="stable")
        found[points[order]] = districts[order]
        return found

    def name_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.str_]:
        """Name of the district of places in meters of EPSG:6933, empty in none."""
        return np.array([*self.names, ""])[self.number_at(x, y)]


def load_districts(
    path: Path,
    name: str | None = None,
    *,
    crs: str | None = None,
    layer: str | None = None,
    limits: ReadLimits = USUAL_LIMITS,
) -> Districts:
    """Districts of a GeoJSON or GeoPackage of polygons with a column of names, default a usual one.

    ``crs``, ``layer`` and ``limits`` are those of :func:`cropmask.sources.points.load_points`.
    Raises Rejected if there is no such column, a name is missing, a row is no polygon, or districts
    overlap; Misconfigured if the file cannot be read.
    """
    table = load_points(path, crs=crs, layer=layer, limits=limits)
    column = find_column(table, name, NAME_COLUMNS)
    if column is None:
        raise _bad(path, "it has no column of names: name one of its own with --name-column")
    parts: dict[str, list[Any]] = {}
    for number, (row, geometry) in enumerate(zip(table.rows, table.geometries, strict=True), 1):
        word = row.get(column, "")
        if not word or len(word) > MAX_NAME or not word.isprintable():
            raise _bad(path, f"row {number} has no name of one line in the column '{column}'")
        if geometry.geom_type == "Point":
            raise _bad(path, f"row {number} is a point: districts are polygons")
        parts.setdefault(word, []).append(geometry)
    names = tuple(sorted(parts))
    joined = tuple(name for name in names if len(parts[name]) > 1)
    found = Districts(names, _unite([parts[each] for each in names]), joined)
    _check_overlaps(found, path)
    return found


def _check_overlaps(districts: Districts, path: Path) -> None:
    """Rejected if districts share more than slivers: their land would be of one of them only."""
    polygons = districts.polygons
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(polygons[one], polygons[other]))
    smaller = np.minimum(shapely.area(polygons[one]), shapely.area(polygons[other]))
    if (shared > MOST_SHARED * smaller).any():
        at = int(np.argmax(shared / smaller))
        raise _bad(
            path,
            f"'{districts.names[one[at]]}' and '{districts.names[other[at]]}' overlap by "
            f"{shared[at] / 10_000:,.0f} ha: a pixel is of one district, so give polygons that "
            "only touch",
        )


def _unite(groups: Sequence[list[Any]]) -> NDArray[Any]:
    found = np.empty(len(groups), object)
    found[:] = [shapely.union_all(group) if len(group) > 1 else group[0] for group in groups]
    return found


def _bad(path: Path, problem: str) -> Rejected:
    return Rejected(f"districts {path}: {problem}", reason=Reason.BAD_BOUNDARY)
