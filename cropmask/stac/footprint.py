"""Where a tile has data, as an area in degrees for items, and the grid of its thumbnail."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from cropmask.core.cropmap import ValidArea
from cropmask.grid import EPSG
from cropmask.stac.facts import Bounds, Document

MAX_CORNERS: Final = 100
"""Most corners of a footprint."""
HOLE_SHARE: Final = 0.01
"""Share of the window from which a hole is kept."""
MAX_BOXES: Final = 1000
"""Most rows of blocks that are joined: more are too scattered to be told apart."""
THUMBNAIL_PIXELS: Final = 512
"""Longest edge of a thumbnail."""
_DIGITS: Final = 9
_GRID: Final = 1e-9
"""Coordinates are rounded to 1e-9 degrees, 0.1 mm."""


def describe_area(bounds: Bounds) -> Document:
    """Geometry and bbox of an item that fills a box in degrees."""
    west, south, east, north = bounds
    ring = [[west, north], [west, south], [east, south], [east, north], [west, north]]
    return {
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
    }


def describe_footprint(valid: ValidArea | None, box: GeoBox) -> Document:
    """Geometry and bbox of the pixels that are not nodata, or of the whole grid if all are.

    The polygon holds every such pixel, has few corners, and lies within the smallest box around
    them. It is worked out in degrees, where edges of pixels are straight and so are its own.
    """
    if valid is None:
        return describe_area(_bounds(*_to_degrees(box, *(np.array([0, n]) for n in box.shape))))
    edges = (
        np.append(np.arange(part.start, part.stop, valid.edge), part.stop)
        for part in (valid.rows, valid.columns)
    )
    longitudes, latitudes = _to_degrees(box, *edges)
    bounds = _bounds(longitudes, latitudes)
    if not shapely.box(*bounds).area > 0:  # off the world
        return describe_footprint(None, box)
    found = _simplify(valid.blocks, longitudes, latitudes)
    if found is None:
        return describe_area(bounds)
    return {"geometry": _encode(found), "bbox": _round(found.bounds)}


def describe_polygons(polygons: shapely.Geometry) -> tuple[Document, Bounds]:
    """Geometry and bbox in degrees of polygons in EPSG:6933."""
    to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
    found = shapely.transform(
        polygons, lambda points: np.column_stack(to_degrees.transform(*points.T))
    )
    # Points of whole digits, as far as that leaves a valid shape: a sliver may vanish by it.
    rounded = shapely.set_precision(found, _GRID)
    found = found if rounded.is_empty else rounded
    west, south, east, north = _round(found.bounds)
    return _encode(found), (west, south, east, north)


def thumbnail_box(valid: ValidArea | None, box: GeoBox) -> GeoBox:
    """Pixel grid of the thumbnail: what is there, in at most 512 pixels an edge.

    A small area is enlarged by a whole number, so that something can be seen.
    """
    window = box if valid is None else box[valid.rows, valid.columns]
    longest = max(window.shape)
    if longest <= THUMBNAIL_PIXELS:
        times = THUMBNAIL_PIXELS // longest
        return window.zoom_to((window.shape[0] * times, window.shape[1] * times))
    factor = -(-longest // THUMBNAIL_PIXELS)
    return window.zoom_to((-(-window.shape[0] // factor), -(-window.shape[1] // factor)))


def _to_degrees(
    box: GeoBox, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[list[float], list[float]]:
    """Longitudes of edges of columns and latitudes of edges of rows, cut at the antimeridian."""
    to_meters = Transformer.from_crs(4326, EPSG, always_xy=True)
    reach_x, reach_y = to_meters.transform(180, 90)
    x = (box.transform.c + box.transform.a * columns).clip(-reach_x, reach_x)
    y = (box.transform.f + box.transform.e * rows).clip(-reach_y, reach_y)
    # A rectangle of EPSG:6933 is one in degrees: each axis for itself says it all.
    to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
    longitudes, _ = to_degrees.transform(x, np.zeros_like(x))
    _, latitudes = to_degrees.transform(np.zeros_like(y), y)
    return _round(longitudes), _round(latitudes)


def _bounds(longitudes: list[float], latitudes: list[float]) -> Bounds:
    return longitudes[0], latitudes[-1], longitudes[-1], latitudes[0]


def _simplify(
    blocks: NDArray[np.bool_], longitudes: list[float], latitudes: list[float]
) -> shapely.Geometry | None:
    """An area of few corners that holds all blocks, in degrees; None if it is their whole window.

    Where that takes too many corners, four blocks become one.
    """
    window = shapely.box(*_bounds(longitudes, latitudes))
    while not blocks.all():
        tolerance = max(abs(after - before) for before, after in pairwise(longitudes))
        boxes = _boxes(blocks, longitudes, latitudes)
        if len(boxes) <= MAX_BOXES:
            # What is cut off by the second step was added by the first, but for rare shapes.
            needed = shapely.union_all(boxes)
            grown = shapely.buffer(needed, tolerance, join_style="mitre")
            found = shapely.intersection(shapely.simplify(grown, tolerance), window)
            found = _without_small_holes(found, HOLE_SHARE * window.area)
            found = shapely.set_precision(found, _GRID)
            is_small = 0 < shapely.get_num_coordinates(found) <= MAX_CORNERS
            if is_small and shapely.covers(found, shapely.buffer(needed, -2 * _GRID)):
                return found
        starts = [np.arange(0, edge, 2) for edge in blocks.shape]
        for axis, each in enumerate(starts):
            blocks = np.logical_or.reduceat(blocks, each, axis=axis)
        latitudes = [latitudes[i] for i in starts[0]] + latitudes[-1:]
        longitudes = [longitudes[i] for i in starts[1]] + longitudes[-1:]
    return None


def _without_small_holes(area: shapely.Geometry, least: float) -> shapely.Geometry:
    """Polygons with only those holes that are larger than ``least``."""
    parts = [part for part in shapely.get_parts(area) if part.geom_type == "Polygon"]
    return shapely.union_all(
        [
            shapely.Polygon(
                part.exterior, [r for r in part.interiors if shapely.Polygon(r).area > least]
            )
            for part in parts
        ]
    )


def _boxes(
    blocks: NDArray[np.bool_], longitudes: list[float], latitudes: list[float]
) -> NDArray[np.object_]:
    """The blocks as polygons in degrees; neighbors in a row are one."""
    edges = np.diff(np.pad(blocks, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, west), (_, east) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    x, y = np.array(longitudes), np.array(latitudes)
    found: NDArray[np.object_] = shapely.box(x[west], y[rows + 1], x[east], y[rows])
    return found


def _encode(area: shapely.Geometry) -> Document:
    """GeoJSON, exteriors counterclockwise as RFC 7946 asks, always from the same corner."""
    ordered = shapely.orient_polygons(shapely.normalize(area))
    parts = [
        [[_round(point) for point in ring.coords] for ring in (part.exterior, *part.interiors)]
        for part in shapely.get_parts(ordered)
    ]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _round(values: Iterable[float]) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]
