"""Maps as tiles for web pages: the values of a band, cut from a mosaic into one PMTiles archive.

A tile is a gray PNG of values as they are, so that a page colors it and tells what a pixel is.
Both grids are cylindrical: a row of a tile is a row of the mosaic, a column a column, so nearest
pixels are found by two lookups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from cropmask.errors import not_installed
from cropmask.grid import CRS
from cropmask.remote.localfiles import translate_os_errors
from cropmask.results.cog import encode_gray

TILE_PIXELS: Final = 512
"""Edge of a web tile."""
_WORLD_METERS: Final = 40_075_016.685578488
"""Edge of the square world of web maps."""
_ROW_METERS: Final = 1.1547
"""Meters of the grid, from north to south, in one of web maps: at the equator, where it is most."""
_LEEWAY: Final = 0.2
"""Zoom levels by which pixels of web maps may be coarser, at the equator."""


def require_pmtiles() -> None:
    """Raise Misconfigured where archives cannot be written."""
    if find_spec("pmtiles") is None:
        raise not_installed("pmtiles")


def deepest_zoom(meters: int) -> int:
    """Zoom at which pixels of a map have their own pixels on the screen."""
    return max(0, math.ceil(math.log2(_ROW_METERS * _pixel_meters(0) / meters) - _LEEWAY))


def _pixel_meters(zoom: int) -> float:
    return _WORLD_METERS / TILE_PIXELS / 2.0**zoom


def write_tiles(mosaic: Path, path: Path, name: str, *, only_deepest: bool = False) -> int:
    """Cut a mosaic into a PMTiles archive; the number of its tiles. Equal pixels give equal bytes.

    The mosaic is a COG of one band of bytes, or of two bytes, on the grid's projection, with
    overviews. ``name`` is what it shows, for the metadata; with ``only_deepest``, where values are
    only asked for and not drawn, smaller scales are left out. Raises Misconfigured if the package
    pmtiles is not installed, or the file cannot be written.
    """
    require_pmtiles()
    from pmtiles.tile import Compression, TileType
    from pmtiles.writer import Writer

    with rasterio.open(mosaic) as raster:
        west, south, east, north = raster.bounds
        meters, overviews = raster.res[0], raster.overviews(1)
        empty = np.full((TILE_PIXELS,) * 2, raster.nodata, raster.dtypes[0])
    last = deepest_zoom(round(meters))
    first = last if only_deepest else 0
    to_grid = Transformer.from_crs(4326, CRS, always_xy=True)
    bounds = _degrees((west, south, east, north))
    count = 0
    with translate_os_errors(path, "written"), path.open("wb") as file:
        writer: Any = Writer(file)  # type: ignore[no-untyped-call]
        for zoom in range(first, last + 1):
            wanted = _pixel_meters(zoom) / meters
            fitting = [at for at, factor in enumerate(overviews) if factor <= 1.2 * wanted]
            level = {"overview_level": fitting[-1]} if fitting else {}
            for tile_id, values in _cut(mosaic, level, zoom, bounds, to_grid):
                writer.write_tile(tile_id, encode_gray(values))
                count += 1
        if not count:  # all nodata: an archive has at least one tile
            writer.write_tile(0, encode_gray(empty))
        edges = [round(1e7 * degrees) for degrees in bounds]
        names = ("min_lon_e7", "min_lat_e7", "max_lon_e7", "max_lat_e7")
        middle = {
            "center_zoom": first,
            "center_lon_e7": (edges[0] + edges[2]) // 2,
            "center_lat_e7": (edges[1] + edges[3]) // 2,
        }
        header = {
            "tile_type": TileType.PNG,
            "tile_compression": Compression.NONE,
            **dict(zip(names, edges, strict=True)),
            **middle,
        }
        writer.finalize(header, {"name": name})
    return count


def _cut(
    mosaic: Path,
    level: Mapping[str, int],
    zoom: int,
    bounds: tuple[float, ...],
    to_grid: Transformer,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Tiles of a zoom that are not all nodata, in the order of an archive."""
    from pmtiles.tile import zxy_to_tileid

    first, last = _tile_of(bounds[0], bounds[3], zoom), _tile_of(bounds[2], bounds[1], zoom)
    ids = sorted(
        (zxy_to_tileid(zoom, x, y), x, y)
        for x in range(first[0], last[0] + 1)
        for y in range(first[1], last[1] + 1)
    )
    with rasterio.open(mosaic, **level) as raster:
        for tile_id, x, y in ids:
            values = _read_tile(raster, zoom, x, y, to_grid)
            if values is not None:
                yield tile_id, values


def _read_tile(
    raster: Any,  # noqa: ANN401 (rasterio is untyped)
    zoom: int,
    x: int,
    y: int,
    to_grid: Transformer,
) -> NDArray[Any] | None:
    """Values of a tile ``(y, x)``; None if all of it is nodata."""
    centers = (np.arange(TILE_PIXELS) + 0.5) / TILE_PIXELS
    turns = 2.0**zoom
    longitudes = (x + centers) / turns * 360 - 180
    latitudes = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (y + centers) / turns))))
    easts, norths = to_grid.transform(longitudes, latitudes)
    left, _, _, top = raster.bounds
    columns = np.floor((easts - left) / raster.res[0]).astype(int)
    rows = np.floor((top - norths) / raster.res[1]).astype(int)
    inside = [
        (at >= 0) & (at < size) for at, size in zip((rows, columns), raster.shape, strict=True)
    ]
    if not (inside[0].any() and inside[1].any()):
        return None
    rows, columns = rows[inside[0]], columns[inside[1]]
    window = Window(columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    pixels = raster.read(1, window=window)
    found = pixels[np.ix_(rows - rows[0], columns - columns[0])]
    if (found == raster.nodata).all():
        return None
    values = np.full((TILE_PIXELS, TILE_PIXELS), raster.nodata, found.dtype)
    values[np.ix_(*inside)] = found
    return values


def _tile_of(longitude: float, latitude: float, zoom: int) -> tuple[int, int]:
    """Column and row of the tile that holds a place."""
    turns = 2**zoom
    across = (longitude + 180) / 360
    down = (1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2
    column, row = (min(max(int(share * turns), 0), turns - 1) for share in (across, down))
    return column, row


def _degrees(bounds: tuple[float, float, float, float]) -> tuple[float, ...]:
    """West, south, east and north in degrees, of meters of the grid."""
    to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
    west, south = to_degrees.transform(bounds[0], bounds[1])
    east, north = to_degrees.transform(bounds[2], bounds[3])
    return west, south, east, north
