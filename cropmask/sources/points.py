"""Points and polygons that people have labeled: GeoJSON, GeoPackage, CSV.

A GeoPackage is a SQLite file whose geometries are WKB behind a short header, so the standard
library and shapely read it: no second GDAL beside that of rasterio is installed for it.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from cropmask.errors import Misconfigured, Reason, Rejected, find_closest
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits
from cropmask.sources.boundary import (
    BROKEN_VALUES,
    LONGEST_STEP,
    check_work,
    load_geojson,
    parse_crs,
    project_shapes,
)

MAX_POINTS: Final = 500_000
"""Most rows of a file."""
SUFFIXES: Final = (".geojson", ".json", ".gpkg", ".csv", ".txt", ".tsv")
"""Endings of the files that are understood."""

_DEGREES: Final = pyproj.CRS("OGC:CRS84")
_X: Final = ("lon", "longitude", "long", "x")
_Y: Final = ("lat", "latitude", "y")
_KINDS: Final = ("Point", "Polygon", "MultiPolygon")
_GPKG_HEADER: Final = 8
_GPKG_ENVELOPES: Final = (0, 32, 48, 48, 64)
"""Bytes of the envelope that a geometry of a GeoPackage begins with, by its kind."""
_MAX_STEPS: Final = 2_000
"""Times a hundred thousand instructions that a query of a GeoPackage may take."""


FindPlace = Callable[[Mapping[str, str]], tuple[float, float] | None]
"""Longitude and latitude of a row, by its values."""


@dataclass(frozen=True, slots=True, eq=False)
class PointTable:
    """Rows of a file, each with a place."""

    path: Path
    columns: tuple[str, ...]
    """Names of the values, as in the file."""
    rows: tuple[Mapping[str, str], ...]
    """Values as text, by column; empty where there is none."""
    geometries: NDArray[Any]
    """``(row,)``: points and polygons of shapely in meters of EPSG:6933."""
    lon_lat: NDArray[np.float64]
    """``(row, 2)``: degrees of the point, or of a point on the polygon."""


def load_points(
    path: Path,
    *,
    crs: str | None = None,
    layer: str | None = None,
    limits: ReadLimits = USUAL_LIMITS,
    find_place: FindPlace | None = None,
) -> PointTable:
    """Points and polygons of a GeoJSON, a GeoPackage, or a CSV with a header.

    A CSV has columns ``lon`` and ``lat`` (or ``x`` and ``y``), separated by commas, semicolons or
    tabs; ``find_place`` gives the degrees of a row of one without any coordinates, or None.
    ``crs`` is for files that do not say it right, default what it says, else degrees; ``layer`` for
    a GeoPackage of several.

    Raises Misconfigured if the file cannot be read; Rejected if it is of another kind, empty, or a
    row has no place in its coordinate system.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise _bad(path, f"its ending is none of {', '.join(SUFFIXES)}")
    try:
        return _load(path, kind, crs, layer, limits, find_place)
    except (OSError, sqlite3.Error) as error:
        problem = getattr(error, "strerror", None) or error
        raise Misconfigured(f"points file {path} cannot be read ({problem})") from None


def _load(
    path: Path,
    kind: str,
    crs: str | None,
    layer: str | None,
    limits: ReadLimits,
    find_place: FindPlace | None,
) -> PointTable:
    if path.exists() and not path.is_file():
        raise Misconfigured(f"points file {path} is not a file")
    if kind in (".geojson", ".json"):
        said, geometries, rows = _load_features(path, limits)
    elif kind == ".gpkg":
        said, geometries, rows = _load_layer(path, layer, limits)
    else:
        said, geometries, rows = _load_csv(path, limits, find_place)
    system = said if crs is None else parse_crs({"crs": crs}, f"--crs {crs}, for {path},")
    if not rows:
        raise _bad(path, "it is empty, it has no point and no polygon")
    if len(rows) > MAX_POINTS:
        raise _bad(path, f"it has more than {MAX_POINTS:,} rows: divide it")
    if system is None:
        raise _bad(path, "it does not say its coordinate system: give --crs, such as EPSG:4326")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    step = LONGEST_STEP[system.is_geographic]
    found = np.array(
        [_check_geometry(path, at, one, step, limits) for at, one in enumerate(geometries, 1)]
    )
    projected = _project(path, found, system)
    return PointTable(path, columns, tuple(rows), projected, _find_degrees(path, found, system))


def _bad(path: Path, problem: str) -> Rejected:
    return Rejected(f"points file {path}: {problem}", reason=Reason.BAD_SAMPLES)


_Loaded = tuple[pyproj.CRS | None, Sequence[shapely.Geometry | None], list[dict[str, str]]]
"""Coordinate system, geometries and values of a file."""


def _load_features(path: Path, limits: ReadLimits) -> _Loaded:
    document = load_geojson(path, limits)
    crs = parse_crs(document, path)
    features = document.get("features")
    if document["type"] == "Feature":
        features = [document]
    if not isinstance(features, list):
        raise _bad(path, "it is no FeatureCollection of GeoJSON")
    geometries, rows = [], []
    for number, feature in enumerate(features, 1):
        try:
            geometries.append(shape(feature["geometry"]) if feature["geometry"] else None)
            values = dict(feature.get("properties") or {})
        except (*BROKEN_VALUES, shapely.errors.ShapelyError) as error:
            raise _bad(path, f"feature {number} cannot be read: {error}") from None
        if isinstance(feature.get("id"), str | int):
            values.setdefault("id", feature["id"])
        rows.append({str(name): _text(value) for name, value in values.items()})
    return crs, geometries, rows


def _text(value: object) -> str:
    """A value of any type as text: whole numbers without a point, nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, bytes):
        return ""
    return str(value).strip()


def _load_layer(path: Path, layer: str | None, limits: ReadLimits) -> _Loaded:
    with path.open("rb") as file:  # says what is wrong with it in better words than SQLite
        limits.check("file_bytes", file.seek(0, 2), str(path))
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
        steps = iter(range(_MAX_STEPS))
        base.set_progress_handler(lambda: int(next(steps, None) is None), 100_000)
        base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(limits.document_bytes, 2**30))
        base.execute("PRAGMA trusted_schema=OFF")
        try:
            found = base.execute(
                "SELECT table_name, column_name, srs_id FROM gpkg_geometry_columns ORDER BY 1"
            ).fetchall()
        except sqlite3.DatabaseError as error:
            raise _bad(path, f"it is no GeoPackage of points or polygons ({error})") from None
        names = [str(name) for name, _, _ in found]
        if layer is None and len(names) > 1:
            raise _bad(path, f"it has several layers: give --layer, one of {_some(names)}")
        wanted = layer or (names[0] if names else "")
        if wanted not in names:
            raise _bad(path, f"it has no layer '{wanted}', but {_some(names) or 'none'}")
        table, column, srs = found[names.index(wanted)]
        crs = _find_crs(base, path, srs)
        cursor = base.execute(f"SELECT * FROM {_name(table)} LIMIT {MAX_POINTS + 1}")  # noqa: S608
        columns = [entry[0] for entry in cursor.description]
        at = columns.index(column)
        geometries, rows = [], []
        for number, values in enumerate(cursor, 1):
            geometries.append(_parse_geometry(path, number, values[at]))
            rows.append({name: _text(v) for name, v in zip(columns, values, strict=True)})
            del rows[-1][column]
    return crs, geometries, rows


def _name(table: str) -> str:
    return '"' + str(table).replace('"', '""') + '"'


def _find_crs(base: sqlite3.Connection, path: Path, srs: int) -> pyproj.CRS | None:
    """Coordinate system of a layer; None for the two numbers that say it is not known."""
    if srs in (-1, 0):
        return None
    said = base.execute(
        "SELECT organization, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = ?",
        (srs,),
    ).fetchone()
    name = f"{said[0]}:{said[1]}".upper() if said else f"EPSG:{srs}"
    return parse_crs({"crs": name}, path)


def _parse_geometry(path: Path, number: int, blob: object) -> shapely.Geometry | None:
    """Geometry of the binary form that GeoPackage 1.2 describes: a header, then WKB."""
    if blob is None:
        return None
    try:
        if not isinstance(blob, bytes) or blob[:2] != b"GP":
            raise ValueError("it has no header")
        flags = blob[3]
        start = _GPKG_HEADER + _GPKG_ENVELOPES[flags >> 1 & 7]
        return shapely.from_wkb(blob[start:])
    except (*BROKEN_VALUES, shapely.errors.ShapelyError) as error:
        raise _bad(path, f"the geometry of row {number} cannot be read: {error}") from None


def _load_csv(path: Path, limits: ReadLimits, find_place: FindPlace | None) -> _Loaded:
    with path.open("rb") as file:
        content = file.read(limits.boundary_bytes + 1)
    limits.check("boundary_bytes", len(content), str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _bad(path, "it is not text in UTF-8") from None
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise _bad(path, f"it is no CSV: {error}") from None
    lines = [line for line in lines if any(map(str.strip, line))]
    if len(lines) < 2:
        raise _bad(path, "it is empty: it needs a header and a row for each point")
    columns = [name.strip() for name in lines[0]]
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise _bad(path, f"it has several columns '{doubled[0]}'")
    rows = []
    for number, line in enumerate(lines[1:], 1):
        if len(line) != len(columns):
            raise _bad(path, f"row {number} has {len(line)} values instead of {len(columns)}")
        rows.append(dict(zip(columns, map(str.strip, line), strict=True)))
    is_comma = separator != ","  # then one in a number is its point
    return _DEGREES, _find_places(path, columns, rows, find_place, is_comma=is_comma), rows


def _find_places(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    find_place: FindPlace | None,
    *,
    is_comma: bool,
) -> list[shapely.Geometry | None]:
    """Points of two columns of numbers, or the polygon that Collect Earth Online writes beside."""
    known = {name.lower(): name for name in columns}
    pair = [next((known[name] for name in names if name in known), None) for names in (_X, _Y)]
    outline = known.get("sample_geom", "")
    # A form that was printed with the columns and not filled in says as little as one without.
    of_places = [name for name in (*pair, outline) if name]
    has_none = not any(row[name] for row in rows for name in of_places)
    if (None in pair or has_none) and find_place is not None:
        found = [find_place(row) for row in rows]
        if None in found:
            raise _bad(
                path,
                f"row {found.index(None) + 1} has no coordinates, and no id whose place is known: "
                "correct its id, or fill in the columns 'lon' and 'lat'",
            )
        return [shapely.Point(place) for place in found]
    if None in pair:
        raise _bad(path, f"it has no columns 'lon' and 'lat'; it has {_some(columns)}")
    places: list[shapely.Geometry | None] = []
    for number, row in enumerate(rows, 1):
        try:
            if "POLYGON" in row.get(outline, "").upper():
                places.append(shapely.from_wkt(row[outline]))
            else:
                words = (row[str(name)] for name in pair)
                x, y = (float(word.replace(",", ".") if is_comma else word) for word in words)
                places.append(shapely.Point(x, y))
        except (ValueError, shapely.errors.ShapelyError):
            said = ", ".join(row[str(name)] or "nothing" for name in pair)
            raise _bad(
                path, f"row {number} has no place: {said}; fill in '{pair[0]}' and '{pair[1]}'"
            ) from None
    return places


def _some(names: Iterable[str]) -> str:
    return ", ".join(f"'{name[:60]}'" for name in list(names)[:12])


def _check_geometry(
    path: Path, number: int, found: shapely.Geometry | None, step: float, limits: ReadLimits
) -> shapely.Geometry:
    """A point or a valid polygon, in two dimensions; ``step`` is the longest edge to project."""
    if found is None or found.is_empty:
        raise _bad(path, f"row {number} has no geometry")
    found = shapely.force_2d(found)
    if found.geom_type == "MultiPoint" and len(found.geoms) == 1:
        found = found.geoms[0]
    if found.geom_type not in _KINDS:
        raise _bad(path, f"row {number} is a {found.geom_type}: give points or polygons")
    if not np.isfinite(shapely.get_coordinates(found)).all():
        raise _bad(path, f"row {number} has a coordinate that is no number")
    if found.geom_type != "Point":
        check_work([found], step, limits, f"row {number} of {path}")
        found = shapely.make_valid(found, method="structure", keep_collapsed=False)
        if not found.area > 0:
            raise _bad(path, f"row {number} is a polygon without area")
    return found


def _project(path: Path, found: NDArray[Any], crs: pyproj.CRS) -> NDArray[Any]:
    """Geometries in EPSG:6933; Rejected for one that lies outside its coordinate system."""
    if crs.is_geographic:
        bounds = np.abs(shapely.bounds(found))
        outside = (bounds > (180, 90, 180, 90)).any(axis=1)
        _refuse_outside(path, found, outside, "outside of longitude and latitude")
    found = project_shapes(found, crs)
    with np.errstate(invalid="ignore"):
        bounds = np.abs(shapely.bounds(found))
        outside = ~(bounds <= (17_367_531, 7_314_541) * 2).all(axis=1)
    _refuse_outside(path, found, outside, f"outside of {crs.name}")
    return found


def _refuse_outside(
    path: Path, found: NDArray[Any], outside: NDArray[np.bool_], where: str
) -> None:
    if outside.any():
        row = int(np.argmax(outside))
        x, y = shapely.get_coordinates(found[row])[0]
        raise _bad(
            path,
            f"row {row + 1} lies at {x:.9g}, {y:.9g}, {where}: if these are meters, or longitude "
            "and latitude are exchanged, correct it or name the coordinate system with --crs",
        )


def _find_degrees(path: Path, found: NDArray[Any], crs: pyproj.CRS) -> NDArray[np.float64]:
    """Longitude and latitude ``(row, 2)`` of points, and of a point on each polygon."""
    inner: NDArray[np.float64] = shapely.get_coordinates(shapely.point_on_surface(found))
    if len(inner) != len(found):
        raise _bad(path, "a polygon has no point inside")
    if crs.equals(_DEGREES, ignore_axis_order=True) or crs.to_epsg() == 4326:
        return inner
    to_degrees = pyproj.Transformer.from_crs(crs, _DEGREES, always_xy=True)
    return np.column_stack(to_degrees.transform(*inner.T))


def find_column(table: PointTable, name: str | None, usual: Sequence[str]) -> str | None:
    """Column of a table: the one that is named, else the only one that is usually called so.

    Raises Rejected if there is no such column, or there are several usual ones.
    """
    if name is not None:
        if name not in table.columns:
            close = find_closest(name, table.columns)
            near = f": did you mean '{close}'?" if close else f", but {_some(table.columns)}"
            raise _bad(table.path, f"it has no column '{name}'{near}")
        return name
    found = [column for column in table.columns if column.lower() in usual]
    if len(found) > 1:
        raise _bad(table.path, f"several columns may be meant: name one of {_some(found)}")
    return found[0] if found else None
