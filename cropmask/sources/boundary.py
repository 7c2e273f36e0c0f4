"""Polygons from GeoJSON files: boundaries of regions, areas of interest.

Official boundaries come in EPSG:6933 with the ``crs`` member that GeoJSON had before
RFC 7946; files of today are in longitude and latitude. Both are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from shapely.geometry import shape

from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import AFRICA_10, CRS

_LONGITUDE_LATITUDE: Final = "OGC:CRS84"
_LONGEST_STEP: Final = {True: 0.1, False: 10_000.0}
"""Longest edge before projecting: degrees if geographic, else meters; keeps edges within 2 m."""
_BROKEN: Final = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)


def load_boundary(path: Path) -> shapely.Geometry:
    """Union of all polygons of a GeoJSON file, as one valid shape in EPSG:6933.

    Raises Misconfigured if the file cannot be read, is no GeoJSON, has no polygon, names an unknown
    coordinate system, or has coordinates outside of it.
    """
    document = _read(path)
    crs = _parse_crs(document, path)
    try:
        with np.errstate(all="ignore"):  # wild coordinates are refused below
            parts = [_valid(shape(geometry)) for geometry in _polygons(document)]
            polygons = shapely.force_2d(shapely.union_all(parts))
    except (*_BROKEN, shapely.errors.ShapelyError) as error:
        raise Misconfigured(f"{path} has a polygon that cannot be read: {error}") from None
    if not polygons.area > 0:
        raise Misconfigured(f"{path} has no polygon: give a GeoJSON file of polygons")
    return _project(polygons, crs, path)


def load_country(name: str, outlines: Path) -> shapely.Geometry:
    """Outline of a country in EPSG:6933, by its name in capitals or not.

    Raises Rejected if it is not among the outlines; what is like it is named.
    """
    known: dict[str, Any] = {
        feature["properties"]["country"]: feature["geometry"]
        for feature in _read(outlines)["features"]
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
    return _project(shape(known[country]), pyproj.CRS(_LONGITUDE_LATITUDE), outlines)


def project_box(west: float, south: float, east: float, north: float) -> shapely.Polygon:
    """Box in EPSG:6933 of a box in degrees: there, meridians and parallels are straight."""
    to_meters = pyproj.Transformer.from_crs(_LONGITUDE_LATITUDE, CRS, always_xy=True)
    (left, right), (bottom, top) = to_meters.transform([west, east], [south, north])
    return shapely.box(left, bottom, right, top)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise Misconfigured(f"{path} is not a file: a pipe or device cannot be a boundary")
        document = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"{path} is not valid JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        raise Misconfigured(f"{path} is not GeoJSON: it must be an object with a 'type'")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _parse_crs(document: dict[str, Any], path: Path) -> pyproj.CRS:
    """Coordinate system of a ``crs`` member: by name, URN or EPSG code."""
    member = document.get("crs")
    if member is None:
        return pyproj.CRS(_LONGITUDE_LATITUDE)
    properties = member.get("properties") if isinstance(member, dict) else None
    name = member
    if isinstance(properties, dict):
        name = properties.get("name", properties.get("code"))
    try:
        crs = pyproj.CRS.from_user_input(name)
    except (pyproj.exceptions.CRSError, *_BROKEN):
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


def _valid(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def _project(polygons: shapely.Geometry, crs: pyproj.CRS, path: Path) -> shapely.Geometry:
    if crs.is_geographic:
        west, south, east, north = polygons.bounds
        if west < -180 or south < -90 or east > 180 or north > 90:
            raise Misconfigured(
                f"{path} has coordinates outside of longitude and latitude "
                f"({west:.6g}, {south:.6g} to {east:.6g}, {north:.6g}): "
                "if they are meters, name their coordinate system in a 'crs' member"
            )
    if not crs.equals(CRS, ignore_axis_order=True):
        transformer = pyproj.Transformer.from_crs(crs, CRS, always_xy=True)
        dense = shapely.segmentize(polygons, _LONGEST_STEP[crs.is_geographic])
        polygons = shapely.transform(
            dense, lambda points: np.column_stack(transformer.transform(*points.T))
        )
    edge = max(abs(AFRICA_10.left), abs(AFRICA_10.bottom))
    if not all(abs(value) <= edge for value in polygons.bounds):
        raise Misconfigured(
            f"{path} has coordinates that {CRS} cannot hold: check its coordinate system"
        )
    return _valid(polygons)
