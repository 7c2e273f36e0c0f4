"""Polygons from GeoJSON files: boundaries of regions, areas of interest.

Official boundaries come in EPSG:6933 with the ``crs`` member that GeoJSON had before
RFC 7946; files of today are in longitude and latitude. Both are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence, Sized
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from shapely.geometry import shape

from cropmask.errors import Misconfigured, Reason, Rejected, blame_configuration
from cropmask.grid import AFRICA_10, CRS, Tile, tile_at
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits, parse_json

_LONGITUDE_LATITUDE: Final = "OGC:CRS84"
LONGEST_STEP: Final = {True: 0.1, False: 10_000.0}
"""Longest edge before projecting: degrees if geographic, else meters; keeps edges within 2 m."""
_CRS_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,:/()_-]{0,200}")
_USUAL_OVERLAPS: Final = 10
"""Pairs of an edge with others where many polygons lie side by side: touching is lying over."""
_EDGES_AT_ONCE: Final = 64
"""Edges that are looked up together: few, as each may lie over all others."""
BROKEN_VALUES: Final = (
    *(ValueError, TypeError, KeyError),
    *(AttributeError, IndexError, ArithmeticError),
)
"""What shapely and we ourselves raise for values that are no geometry."""


def load_boundary(path: Path, limits: ReadLimits = USUAL_LIMITS) -> shapely.Geometry:
    """Union of all polygons of a GeoJSON file, as one valid shape in EPSG:6933.

    Raises Misconfigured if the file cannot be read, is no GeoJSON, has no polygon, names an unknown
    coordinate system, has coordinates outside of it, or exceeds a limit.
    """
    with blame_configuration():  # whoever names the file
        return _parse(load_geojson(path, limits), path, limits)


def load_outline(path: Path, limits: ReadLimits = USUAL_LIMITS) -> list[Any]:
    """What a boundary's file says, as it stands there: its coordinate system, and its polygons.

    Projected coordinates differ between processors in their last bits, some nanometers; this does
    not, so whoever wants to know whether a boundary has changed looks here.

    Raises Misconfigured if the file cannot be read or is no GeoJSON.
    """
    with blame_configuration():
        document = load_geojson(path, limits)
        polygons = [[found["type"], found["coordinates"]] for found in _polygons(document)]
        return [document.get("crs"), *polygons]


def load_area(area: object, limits: ReadLimits = USUAL_LIMITS) -> shapely.Geometry:
    """Polygons that somebody names in one of several ways, as one valid shape in EPSG:6933.

    ``area`` is a GeoJSON file, a GeoJSON object, a geometry in degrees of shapely or of anything
    else that has ``__geo_interface__``, or a box ``(west, south, east, north)`` in degrees.

    Raises Rejected if it is nothing of these, no GeoJSON of polygons (see :func:`load_boundary`),
    or an empty box.
    """
    try:
        return _load_area(area, limits)
    except Misconfigured as error:
        # A boundary is configuration, an area is what is asked for.
        raise Rejected(str(error), reason=Reason.BAD_VALUE) from None


def _load_area(area: object, limits: ReadLimits) -> shapely.Geometry:
    if isinstance(area, str | Path):
        return load_boundary(Path(area), limits)
    if isinstance(area, Sequence | np.ndarray):
        return project_box(*_check_box([*area]))
    document = getattr(area, "__geo_interface__", area)
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        raise Rejected(
            f"{type(area).__name__} is no area: give a GeoJSON file or object, a geometry in "
            "degrees, or a box (west, south, east, north)",
            reason=Reason.BAD_VALUE,
        )
    return _parse(document, "the area", limits)


def _check_box(box: Sequence[object]) -> tuple[float, float, float, float]:
    """West, south, east and north, if these are what they must be."""
    try:
        west, south, east, north = (float(str(value)) for value in box)
        is_right = -180 <= west < east <= 180 and -90 <= south < north <= 90
    except ValueError:
        is_right = False
    if not is_right:
        raise Rejected(
            f"{tuple(box)} is no box: give (west, south, east, north) in degrees",
            reason=Reason.BAD_VALUE,
        )
    return west, south, east, north


def _parse(document: dict[str, Any], path: Path | str, limits: ReadLimits) -> shapely.Geometry:
    crs = parse_crs(document, path)
    try:
        found = list(_polygons(document))
        rings = [ring for polygon in found for ring in _rings(polygon)]
        limits.check("boundary_rings", len(rings), str(path))
        limits.check("boundary_vertices", sum(map(len, rings)), str(path))
        with np.errstate(all="ignore"):  # wild coordinates are refused below
            shapes = list(map(shape, found))
            _check_degrees(shapes, crs, path)
            check_work(shapes, LONGEST_STEP[crs.is_geographic], limits, path)
            polygons = shapely.force_2d(shapely.union_all(list(map(_valid, shapes))))
    except (*BROKEN_VALUES, shapely.errors.ShapelyError) as error:
        raise Misconfigured(f"{path} has a polygon that cannot be read: {error}") from None
    if not polygons.area > 0:
        raise Misconfigured(f"{path} has no polygon: give a GeoJSON file of polygons")
    return _project(polygons, crs, limits, path)


def load_country(name: str, outlines: Path) -> shapely.Geometry:
    """Outline of a country in EPSG:6933, by its name in capitals or not.

    Raises Rejected if it is not among the outlines; what is like it is named.
    """
    known: dict[str, Any] = {
        feature["properties"]["country"]: feature["geometry"]
        for feature in load_geojson(outlines, USUAL_LIMITS)["features"]
    }
    folded = {found.casefold(): found for found in known}
    country = folded.get(" ".join(name.split()).casefold())
    if country is None:
        near = get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
        guess = f": did you mean {' or '.join(folded[like] for like in near)}?" if near else ""
        raise Rejected(
            f"there is no outline of a country '{name}'{guess or '; give --aoi or --bbox'}",
            reason=Reason.BAD_VALUE,
        )
    return _project(shape(known[country]), pyproj.CRS(_LONGITUDE_LATITUDE), USUAL_LIMITS, outlines)


def tile_of(longitude: float, latitude: float) -> Tile:
    """Tile of a place in degrees; Rejected if it lies off the grid."""
    return tile_at(*project_box(longitude, latitude, longitude, latitude).bounds[:2])


def project_box(west: float, south: float, east: float, north: float) -> shapely.Polygon:
    """Box in EPSG:6933 of a box in degrees: there, meridians and parallels are straight."""
    to_meters = pyproj.Transformer.from_crs(_LONGITUDE_LATITUDE, CRS, always_xy=True)
    (left, right), (bottom, top) = to_meters.transform([west, east], [south, north])
    return shapely.box(left, bottom, right, top)


def load_geojson(path: Path, limits: ReadLimits) -> dict[str, Any]:
    """A GeoJSON object of any kind; Misconfigured if the file cannot be read or holds none."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise Misconfigured(f"{path} is not a file: a pipe or device cannot be read")
        with path.open("rb") as file:
            content = file.read(limits.boundary_bytes + 1)
        limits.check("boundary_bytes", len(content), str(path))
        text = content.decode("utf-8-sig")
        document = parse_json(text, limits, str(path), parse_constant=_refuse)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Misconfigured(f"{path} is not valid JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        raise Misconfigured(f"{path} is not GeoJSON: it must be an object with a 'type'")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def parse_crs(document: dict[str, Any], path: Path | str) -> pyproj.CRS:
    """Coordinate system of a ``crs`` member, by name, URN or EPSG code; default degrees.

    Raises Misconfigured if it is unknown.
    """
    member = document.get("crs")
    if member is None:
        return pyproj.CRS(_LONGITUDE_LATITUDE)
    properties = member.get("properties") if isinstance(member, dict) else None
    name = member
    if isinstance(properties, dict):
        name = properties.get("name", properties.get("code"))
    try:
        # A name or a code: other texts make PROJ open files that they name.
        known = isinstance(name, int) or _CRS_NAME.fullmatch(name)
        crs = pyproj.CRS.from_user_input(name) if known else None
    except (pyproj.exceptions.CRSError, *BROKEN_VALUES):
        crs = None
    if crs is None or not (crs.is_geographic or crs.is_projected):
        raise Misconfigured(
            f"{path} names the unknown coordinate system {json.dumps(name)}: "
            "write it like EPSG:6933, or use longitude and latitude"
        )
    return crs


def _polygons(document: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 (any JSON value)
    """Every polygon geometry of a GeoJSON object, however deep."""
    if document is None:
        return  # a feature without a geometry
    kind = document["type"]
    if kind in ("Polygon", "MultiPolygon"):
        yield document
    elif kind == "Feature":
        yield from _polygons(document["geometry"])
    elif kind in ("FeatureCollection", "GeometryCollection"):
        for member in document["features" if kind == "FeatureCollection" else "geometries"]:
            yield from _polygons(member)


def _rings(polygon: dict[str, Any]) -> Iterable[Sized]:
    """Coordinates of the rings of a polygon, before anything is made of them."""
    parts = polygon["coordinates"] or ()
    return parts if polygon["type"] == "Polygon" else [ring for part in parts for ring in part]


def check_work(
    shapes: list[shapely.Geometry], step: float | None, limits: ReadLimits, path: Path | str
) -> None:
    """Raise OverLimit for polygons that would keep the geometry library busy for minutes.

    These are many vertices, where an edge counts for each ``step`` that it is long; and few that
    cross each other over and over, as its work grows with the crossings.
    """
    rings = shapely.get_rings(shapely.get_parts(shapes))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    inside = ring[1:] == ring[:-1]
    start, end = points[:-1][inside], points[1:][inside]
    if step is not None:
        pieces = np.ceil(np.hypot(*(end - start).T) / step)
        count = np.nansum(np.maximum(pieces, 1))
        limits.check("boundary_vertices", count, f"{path} with its long edges")
    boxes = shapely.box(*np.minimum(start, end).T, *np.maximum(start, end).T)
    tree = shapely.STRtree(boxes)
    overlaps = 0
    for first in range(0, len(boxes), _EDGES_AT_ONCE):
        some = boxes[first : first + _EDGES_AT_ONCE]
        overlaps += max(0, tree.query(some).shape[1] // 2 - _USUAL_OVERLAPS * len(some))
        limits.check("boundary_overlaps", overlaps, str(path))


def _valid(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def _check_degrees(shapes: list[shapely.Geometry], crs: pyproj.CRS, path: Path | str) -> None:
    west, south, east, north = shapely.total_bounds(shapes) if shapes else (0, 0, 0, 0)
    if crs.is_geographic and (west < -180 or south < -90 or east > 180 or north > 90):
        raise Misconfigured(
            f"{path} has coordinates outside of longitude and latitude "
            f"({west:.6g}, {south:.6g} to {east:.6g}, {north:.6g}): "
            "if they are meters, name their coordinate system in a 'crs' member"
        )


def project_shapes(shapes: Any, crs: pyproj.CRS) -> Any:  # noqa: ANN401 (one or an array)
    """Geometries in EPSG:6933, their long edges kept true; as they are if they are in it."""
    if crs.equals(CRS, ignore_axis_order=True):
        return shapes
    transformer = pyproj.Transformer.from_crs(crs, CRS, always_xy=True)
    dense = shapely.segmentize(shapes, LONGEST_STEP[crs.is_geographic])
    return shapely.transform(
        dense, lambda points: np.column_stack(transformer.transform(*points.T))
    )


def _project(
    polygons: shapely.Geometry, crs: pyproj.CRS, limits: ReadLimits, path: Path | str
) -> shapely.Geometry:
    polygons = project_shapes(polygons, crs)
    edge = max(abs(AFRICA_10.left), abs(AFRICA_10.bottom))
    if not all(abs(value) <= edge for value in polygons.bounds):
        raise Misconfigured(
            f"{path} has coordinates that {CRS} cannot hold: check its coordinate system"
        )
    check_work([polygons], None, limits, path)
    return _valid(polygons)
