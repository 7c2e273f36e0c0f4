"""Rasters of the made-up world: GeoMAD bands as COGs, layers beside it as GeoTIFFs.

Rows are drawn and written in blocks, so memory does not follow the size of a tile, and equal
worlds have equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import from_origin
from rasterio.windows import Window

from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.grid import AFRICA_10, CRS, Tile
from cropmask.machine.stages import ShareDone
from cropmask.testing.world.landscape import (
    Sites,
    elevation_row,
    log_rain,
    make_sites,
    protected_row,
    salt_of,
    water_row,
)
from cropmask.testing.world.noise import Floats, compiled
from cropmask.testing.world.spectra import draw_half, draw_use

ASSETS: Final = dict(
    zip(
        (*REFLECTANCE, *DEVIATION),
        ("B02", "B03", "B04", "B08", "B11", "B12", "B05", "B06", "B07", "BCMAD", "EMAD", "SMAD"),
        strict=True,
    )
)
"""Digital Earth Africa's asset key of each of our band names."""

LAYER_FILES: Final = {
    "rain_first_half": "rain_jan_jun.tif",
    "rain_second_half": "rain_jul_dec.tif",
    "slope": "slope_percent.tif",
    "protected_areas": "protected_areas.tif",
    "water": "water_frequency.tif",
    "steepness": "steepness_percent.tif",
    "elevation": "elevation.tif",
}
"""Files of the layers beside GeoMAD, by their names in a region file."""
RAIN_LAYERS: Final = ("rain_first_half", "rain_second_half")

BLOCK_ROWS: Final = 256
"""Rows of pixels drawn at a time."""
CACHE_MB: Final = 200
"""Block cache of GDAL while the world is written."""
_RAIN_DEGREES: Final = 0.05
_TERRAIN_M: Final = 30
"""Pixel size of the layers beside GeoMAD, unless GeoMAD itself is coarser."""


@dataclass(frozen=True, slots=True)
class BandFile:
    """One written COG."""

    name: str
    """File name."""
    size: int
    """Bytes."""
    checksum: str
    """SHA-256 as a multihash in hexadecimal digits."""


def write_half(
    folder: Path,
    stem: str,
    tile: Tile,
    resolution: int,
    half: int,
    *,
    seed: int = 0,
    year: int = 0,
    grain: int = 1,
    progress: ShareDone = lambda _: None,
) -> dict[str, BandFile]:
    """Write the twelve COGs of one tile and half-year (0 or 1), by asset key.

    File names are ``stem`` and ``_B02.tif`` and so on. Above a ``grain`` of 1, the edge of the
    squares of equal pixels that are drawn, there are no overviews.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = {key: folder / f".{stem}_{key}.plain.tif" for key in ASSETS.values()}
    try:
        _write_plain(list(plain.values()), tile, resolution, half, (seed, year), grain, progress)
        files = {}
        for number, (key, source) in enumerate(plain.items()):
            target = folder / f"{stem}_{key}.tif"
            rasterio.shutil.copy(
                source,
                target,
                driver="COG",
                COMPRESS="DEFLATE",
                LEVEL="1",
                PREDICTOR="YES",
                BLOCKSIZE="512",
                # Overviews of coarse squares hold nothing new and take half the time.
                OVERVIEWS="AUTO" if grain == 1 else "NONE",
                OVERVIEW_RESAMPLING="AVERAGE",
                BIGTIFF="IF_SAFER",
            )
            source.unlink()
            files[key] = _facts(target)
            progress(0.3 + 0.7 * (number + 1) / len(plain))
        return files
    finally:
        for source in plain.values():
            source.unlink(missing_ok=True)


def _write_plain(
    paths: Sequence[Path],
    tile: Tile,
    resolution: int,
    half: int,
    land: tuple[int, int],
    grain: int,
    progress: ShareDone,
) -> None:
    """Draw rows of a half-year of a land (seed, year) into twelve plain files, to become COGs."""
    size = int(AFRICA_10.size) // resolution
    left, _, _, top = tile.bounds
    grid = _geotiff(left, top, resolution, size, size)
    with ExitStack() as stack:
        bands = [
            stack.enter_context(
                rasterio.open(path, "w", dtype="uint16", nodata=0, **grid)
                if number < len(REFLECTANCE)
                else rasterio.open(path, "w", dtype="float32", nodata=np.nan, **grid)
            )
            for number, path in enumerate(paths)
        ]
        for row in range(0, size // grain, BLOCK_ROWS):
            drawn = draw_half(tile, resolution * grain, half, row, BLOCK_ROWS, *land)
            for band, values in zip(bands, (*drawn.reflectance, *drawn.deviation), strict=True):
                block = values.repeat(grain, 0).repeat(grain, 1) if grain > 1 else values
                band.write(block, 1, window=Window(0, row * grain, size, block.shape[0]))
            progress(0.3 * min(1.0, (row + BLOCK_ROWS) * grain / size))


def write_use(
    path: Path, tile: Tile, resolution: int, *, seed: int = 0, year: int = 0, grain: int = 1
) -> None:
    """Write what fields are used for in a year: 1 cropland, 0 not."""
    size = int(AFRICA_10.size) // resolution
    left, _, _, top = tile.bounds
    kind = {"dtype": "uint8", "compress": "DEFLATE", "tiled": True}
    with rasterio.open(path, "w", **(_geotiff(left, top, resolution, size, size) | kind)) as raster:
        for row in range(0, size // grain, BLOCK_ROWS):
            use = draw_use(tile, resolution * grain, row, BLOCK_ROWS, seed, year)
            block = use.repeat(grain, 0).repeat(grain, 1)
            raster.write(block, 1, window=Window(0, row * grain, size, block.shape[0]))


def _geotiff(left: float, top: float, step: float, width: int, height: int) -> dict[str, Any]:
    """Options of a new GeoTIFF of one band."""
    grid = {"crs": CRS, "transform": from_origin(left, top, step, step)}
    return {"driver": "GTiff", "width": width, "height": height, "count": 1} | grid


def _facts(path: Path) -> BandFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BandFile(path.name, path.stat().st_size, f"1220{digest}")


def write_layers(
    folder: Path,
    tiles: Sequence[Tile],
    resolution: int,
    *,
    seed: int = 0,
    grain: int = 1,
    progress: ShareDone = lambda _: None,
) -> None:
    """Write rain, slope, steepness, elevation, water and protected areas over all tiles.

    One raster a layer covers the box of the tiles; blocks without a tile are not stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_rain(folder, tiles, seed)
    spacing = max(_TERRAIN_M, resolution) * grain
    size = int(AFRICA_10.size) // spacing
    left, top, columns, rows = box_of(tiles)
    # Blocks that divide a tile, so that each is written once, by one tile.
    block = next((edge for edge in (320, 240) if size % edge == 0), 256)
    grid = _geotiff(left, top, spacing, columns * size, rows * size) | {
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "sparse_ok": True,
        "compress": "DEFLATE",
        "zlevel": 6,
        "predictor": 2,
        "bigtiff": "IF_SAFER",
    }
    floats = {"dtype": "float32", "nodata": np.nan, "predictor": 3}
    kinds: dict[str, dict[str, Any]] = {
        "slope": floats,
        "steepness": floats,
        "elevation": {"dtype": "int16", "nodata": -32768},
        "water": floats,
        "protected_areas": {"dtype": "uint8"},
    }
    with ExitStack() as stack:
        rasters = {
            name: stack.enter_context(
                rasterio.open(folder / LAYER_FILES[name], "w", **(grid | kind))
            )
            for name, kind in kinds.items()
        }
        for number, tile in enumerate(tiles):
            x0 = round((tile.bounds[0] - left) / spacing)
            y0 = round((top - tile.bounds[3]) / spacing)
            for row, layers in _tile_layers(tile, spacing, seed, block):
                for name, values in layers.items():
                    window = Window(x0, y0 + row, size, values.shape[0])
                    rasters[name].write(values, 1, window=window)
            progress((number + 1) / len(tiles))


def box_of(tiles: Sequence[Tile]) -> tuple[float, float, int, int]:
    """``(left, top, columns, rows)`` of the tiles' box: meters and numbers of tiles."""
    xs, ys = [tile.x for tile in tiles], [tile.y for tile in tiles]
    corner = Tile(min(xs), max(ys)).bounds
    return corner[0], corner[3], max(xs) - min(xs) + 1, max(ys) - min(ys) + 1


def _tile_layers(
    tile: Tile, spacing: int, seed: int, rows: int
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """First row and layers of each block of rows of a tile; slope needs a pixel around it."""
    sites = make_sites(tile, seed)
    left, _, _, top = tile.bounds
    size = int(AFRICA_10.size) // spacing
    for row in range(0, size, rows):
        height = min(rows, size - row)
        x, y = left + spacing / 2, top - (row + 0.5) * spacing
        ground = np.empty((height + 2, size + 2))
        water, reserve = np.empty((height, size)), np.empty((height, size))
        _fill_ground(ground, x - spacing, y + spacing, float(spacing), sites)
        _fill_flat(water, reserve, x, y, float(spacing), sites)
        east = (ground[1:-1, 2:] - ground[1:-1, :-2]) / (2 * spacing)
        north = (ground[2:, 1:-1] - ground[:-2, 1:-1]) / (2 * spacing)
        slope = np.round(100 * np.hypot(east, north), 1).astype(np.float32)
        layers: dict[str, NDArray[Any]] = {
            "slope": slope,
            "steepness": slope,
            "elevation": np.rint(ground[1:-1, 1:-1]).astype(np.int16),
            "water": np.round(water, 2).astype(np.float32),
            "protected_areas": reserve.astype(np.uint8),
        }
        yield row, layers


@compiled
def _fill_ground(out: Floats, x: float, y: float, step: float, sites: Sites) -> None:
    for r in range(out.shape[0]):
        elevation_row(out[r], x, step, y - r * step, sites)


@compiled
def _fill_flat(
    water: Floats, reserve: Floats, x: float, y: float, step: float, sites: Sites
) -> None:
    for r in range(water.shape[0]):
        water_row(water[r], x, step, y - r * step, sites)
        protected_row(reserve[r], x, step, y - r * step, sites)


@compiled
def _fill_rain(out: Floats, half: int, xs: Floats, ys: Floats, salt: int) -> None:
    for r in range(len(ys)):
        for c in range(len(xs)):
            out[r, c] = np.exp(log_rain(half, xs[c], ys[r], salt))


def write_rain(folder: Path, tiles: Sequence[Tile], seed: int) -> None:
    """Write rain over all tiles on a grid of degrees.

    Cells in a lake are NaN, as the sea is in the real layers.
    """
    left, top, columns, rows = box_of(tiles)
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    right, bottom = left + columns * AFRICA_10.size, top - rows * AFRICA_10.size
    west, north = (value / _RAIN_DEGREES for value in to_degrees.transform(left, top))
    east, south = (value / _RAIN_DEGREES for value in to_degrees.transform(right, bottom))
    first_column, first_row = int(np.floor(west)) - 2, int(np.ceil(north)) + 2
    width, height = int(np.ceil(east)) + 2 - first_column, first_row - int(np.floor(south)) + 2
    # Columns of degrees are columns of meters, and rows rows, in this projection.
    to_meters = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    longitude = (first_column + 0.5 + np.arange(width)) * _RAIN_DEGREES
    latitude = (first_row - 0.5 - np.arange(height)) * _RAIN_DEGREES
    xs = np.asarray(to_meters.transform(longitude, np.zeros(width))[0])
    ys = np.asarray(to_meters.transform(np.zeros(height), latitude)[1])
    lake = np.zeros((height, width), dtype=bool)
    for tile in tiles:
        _mark_lake(lake, xs, ys, tile, seed)
    for half, name in enumerate(RAIN_LAYERS):
        rain = np.empty((height, width))
        _fill_rain(rain, half, xs, ys, salt_of(seed))
        rain[lake] = np.nan
        west, north = first_column * _RAIN_DEGREES, first_row * _RAIN_DEGREES
        grid = _geotiff(west, north, _RAIN_DEGREES, width, height) | {"crs": "EPSG:4326"}
        kind = {"dtype": "float32", "nodata": np.nan, "compress": "DEFLATE"}
        with rasterio.open(folder / LAYER_FILES[name], "w", **(grid | kind)) as raster:
            raster.write(np.round(rain, 1).astype(np.float32), 1)


def _mark_lake(lake: NDArray[np.bool_], xs: Floats, ys: Floats, tile: Tile, seed: int) -> None:
    left, bottom, right, top = tile.bounds
    columns = np.flatnonzero((xs >= left) & (xs < right))
    sites, step = make_sites(tile, seed), float(xs[1] - xs[0])
    for row in np.flatnonzero((ys >= bottom) & (ys < top)):
        water = np.empty(len(columns))
        water_row(water, float(xs[columns[0]]), step, float(ys[row]), sites)
        lake[row, columns] = water > 0.2
