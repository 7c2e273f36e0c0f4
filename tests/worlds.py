"""Small true GeoMAD worlds for tests: items, COGs and ancillary rasters, and what is in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.io import MemoryFile

from cropmask.core.strips import DEVIATION, REFLECTANCE, Half
from cropmask.grid import CRS, Tile, geobox
from cropmask.region.region import Ancillary
from cropmask.task import Period

ASSET_KEYS: Mapping[str, str] = {
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "red_edge_1": "B05",
    "red_edge_2": "B06",
    "red_edge_3": "B07",
    "nir": "B08",
    "swir_1": "B11",
    "swir_2": "B12",
    "sdev": "SMAD",
    "edev": "EMAD",
    "bcdev": "BCMAD",
}
BANDS = (*REFLECTANCE, *DEVIATION)
TILE = Tile(215, 75)
YEAR = Period.parse("2019")


@dataclass(frozen=True)
class World:
    """A made world and the truth about it."""

    folder: Path
    catalog: Path
    """catalog.json at the root; ``collection`` is one below, ``folder`` holds the items too."""
    collection: Path
    tile: Tile
    period: Period
    row: int
    """First row of the window in the tile, at the world's resolution."""
    column: int
    resolution: int
    halves: tuple[Half, Half]
    """What was written, ``(band, y, x)`` of the window."""
    items: tuple[Path, ...]
    ancillary: Ancillary
    """All seven layers, as paths below ``folder/ancillary``."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        return self.halves[0].reflectance.shape[1:]  # type: ignore[return-value]

    def copied(self, folder: Path) -> World:
        """The same world in another folder, to be damaged there."""
        shutil.copytree(self.folder, folder)

        def moved(path: Path | str) -> Path:
            return folder / Path(path).relative_to(self.folder)

        layers = {name: str(moved(path)) for name, path in self.ancillary.model_dump().items()}
        return replace(
            self,
            folder=folder,
            catalog=moved(self.catalog),
            collection=moved(self.collection),
            items=tuple(map(moved, self.items)),
            ancillary=Ancillary.model_validate(layers),
        )

    def band_file(self, half: int, band: str) -> Path:
        """COG of one band; ``half`` is 0 or 1."""
        return next(self.items[half].parent.glob(f"*_{ASSET_KEYS[band]}.tif"))

    def edit_item(self, half: int, **properties: Any) -> None:
        """Change properties of an item in place; None removes one."""
        document = json.loads(self.items[half].read_text())
        for key, value in properties.items():
            name = key.replace("__", ":")
            document["properties"].pop(name, None)
            if value is not None:
                document["properties"][name] = value
        self.items[half].write_text(json.dumps(document))

    def edit_assets(self, half: int, **hrefs: str | None) -> None:
        """Change or (None) remove assets of an item in place."""
        document = json.loads(self.items[half].read_text())
        for key, href in hrefs.items():
            if href is None:
                del document["assets"][key]
            else:
                document["assets"][key]["href"] = href
        self.items[half].write_text(json.dumps(document))


def make_world(
    folder: Path,
    tile: Tile = TILE,
    period: Period = YEAR,
    *,
    size: tuple[int, int] = (96, 128),
    offset: tuple[int, int] = (1000, 2000),
    resolution: int = 10,
    seed: int = 0,
    common_names: bool = False,
    crs: str = CRS,
    shift: float = 0.0,
    holes: float = 0.1,
    block: int = 128,
    smooth: bool = False,
    write_dtypes: bool = True,
    pixels: tuple[Half, Half] | None = None,
) -> World:
    """Write two GeoMAD items, their COGs, a collection, a catalog and seven ancillary rasters.

    Parameters
    ----------
    folder
        Where to.
    tile, period
        Tile and calendar year.
    size, offset
        Rows and columns of the written window, and its first row and column in the tile.
    resolution
        Pixel size of the COGs, meters.
    seed
        Of the random pixels.
    common_names
        Whether assets are keyed ``blue`` instead of ``B02``.
    crs
        CRS written into rasters and items.
    shift
        Offset of the rasters' grid from the tile's, in pixels.
    holes
        Share of pixels that are nodata in each half, independently.
    block
        Block size of the COGs.
    smooth
        Whether pixels vary slowly, as for comparing resampled values.
    write_dtypes
        Whether assets say data type and nodata.
    pixels
        What to write ``(band, y, x)``, instead of random ones.
    """
    rng = np.random.default_rng(seed)
    halves = pixels or tuple(_make_half(rng, size, holes, smooth=smooth) for _ in range(2))
    left, _, _, top = tile.bounds
    x = left + (offset[1] + shift) * resolution
    y = top - (offset[0] + shift) * resolution
    grid = Affine(resolution, 0, x, 0, -resolution, y)
    root = folder / "gm_s2_semiannual"
    items = []
    for half, written in zip(period.halves, halves, strict=True):
        place = root / str(tile)[:4] / str(tile)[4:] / str(half)
        place.mkdir(parents=True)
        label = f"gm_s2_semiannual_{tile}_{half}"
        for band, values in zip(BANDS, (*written.reflectance, *written.deviation), strict=True):
            nodata = 0 if values.dtype == np.uint16 else float("nan")
            path = place / f"{label}_{ASSET_KEYS[band]}.tif"
            write_cog(path, values, grid, crs=crs, nodata=nodata, block=block)
        item = place / f"{label}.stac-item.json"
        document = _make_item(label, tile, half, grid, size, crs, common_names, write_dtypes)
        item.write_text(json.dumps(document))
        items.append(item)
    collection = root / "collection.json"
    collection.write_text(json.dumps(_make_collection(items, root)))
    catalog = folder / "catalog.json"
    catalog.write_text(json.dumps(_make_catalog()))
    ancillary = _write_ancillary(folder / "ancillary", tile, rng)
    return World(
        folder,
        catalog,
        collection,
        tile,
        period,
        offset[0],
        offset[1],
        resolution,
        (halves[0], halves[1]),
        tuple(items),
        ancillary,
    )


def write_cog(
    path: Path,
    values: NDArray[Any],
    transform: Affine,
    *,
    crs: str = CRS,
    nodata: float | None = None,
    block: int = 128,
    scaling: tuple[float, float] | None = None,
) -> None:
    """Write a one-band COG ``(y, x)`` with overviews; ``scaling`` is a scale and an offset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = values.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype=values.dtype,
            count=1,
            width=columns,
            height=rows,
            crs=crs,
            transform=transform,
            nodata=nodata,
        ) as plain:
            plain.write(values, 1)
            if scaling is not None:
                plain.scales, plain.offsets = ([number] for number in scaling)
        options = {"BLOCKSIZE": block, "COMPRESS": "DEFLATE", "RESAMPLING": "AVERAGE"}
        rasterio.shutil.copy(memory.name, path, driver="COG", **options)


def _make_half(
    rng: np.random.Generator, size: tuple[int, int], holes: float, *, smooth: bool
) -> Half:
    reflectance = rng.integers(1, 8000, (len(REFLECTANCE), *size)).astype(np.uint16)
    deviation = rng.uniform(0.001, 0.4, (len(DEVIATION), *size)).astype(np.float32)
    if smooth:
        y, x = np.mgrid[: size[0], : size[1]]
        wave = 1 + 0.5 * np.sin(x / 17) * np.cos(y / 23)
        reflectance = np.stack([(1000 + 300 * i) * wave for i in range(9)]).astype(np.uint16)
        deviation = np.stack([(0.1 + 0.05 * i) * wave for i in range(3)]).astype(np.float32)
    hole = rng.random(size) < holes
    reflectance[:, hole] = 0
    deviation[:, hole] = np.nan
    return Half(reflectance, deviation)


def _degrees(grid: Affine, size: tuple[int, int]) -> list[float]:
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    west, north = to_degrees.transform(grid.c, grid.f)
    east, south = to_degrees.transform(grid.c + grid.a * size[1], grid.f + grid.e * size[0])
    return [west, south, east, north]


def _make_item(
    label: str,
    tile: Tile,
    half: Period,
    grid: Affine,
    size: tuple[int, int],
    crs: str,
    common_names: bool,
    write_dtypes: bool,
) -> dict[str, Any]:
    west, south, east, north = _degrees(grid, size)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    assets = {}
    for band in BANDS:
        key = ASSET_KEYS[band]
        asset: dict[str, Any] = {
            "href": f"./{label}_{key}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
        }
        if write_dtypes:
            kind = ("uint16", 0) if band in REFLECTANCE else ("float32", "nan")
            asset["raster:bands"] = [{"data_type": kind[0], "nodata": kind[1]}]
        assets[band if common_names else key] = asset
    start, end = half.interval
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
        "id": label,
        "collection": "gm_s2_semiannual",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {
            "datetime": start,
            "start_datetime": start,
            "end_datetime": end,
            "created": "2021-06-15T05:00:00Z",
            "odc:product": "gm_s2_semiannual",
            "odc:region_code": str(tile),
            "proj:epsg": int(crs.removeprefix("EPSG:")),
            "proj:shape": list(size),
            "proj:transform": list(grid)[:6],
        },
        "links": [],
        "assets": assets,
    }


def _make_collection(items: list[Path], root: Path) -> dict[str, Any]:
    links = [
        {"rel": "item", "href": f"./{path.relative_to(root)}", "type": "application/geo+json"}
        for path in items
    ]
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "gm_s2_semiannual",
        "description": "A made world",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2017-01-01T00:00:00Z", None]]},
        },
        "links": links,
    }


def _make_catalog() -> dict[str, Any]:
    child = {"rel": "child", "href": "./gm_s2_semiannual/collection.json"}
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "world",
        "description": "A made world",
        "links": [child],
    }


def _write_ancillary(folder: Path, tile: Tile, rng: np.random.Generator) -> Ancillary:
    """Coarse rasters over the whole tile: rain at 0.05 degrees, the others at 600 m."""
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    left, bottom, right, top = tile.bounds
    west, south = to_degrees.transform(left, bottom)
    east, north = to_degrees.transform(right, top)
    paths = {}
    step = 0.05
    corner = (np.floor(west / step) * step - 2 * step, np.ceil(north / step) * step + 2 * step)
    shape = (int((north - south) / step) + 6, int((east - west) / step) + 6)
    for name in ("rain_first_half", "rain_second_half"):
        values = rng.uniform(100, 900, shape).astype(np.float32)
        values[rng.random(shape) < 0.05] = np.nan
        paths[name] = folder / f"{name}.tif"
        grid = Affine(step, 0, corner[0], 0, -step, corner[1])
        write_cog(paths[name], values, grid, crs="EPSG:4326", nodata=float("nan"))
    cells = geobox(tile, 60).shape.x // 10
    grid = Affine(600, 0, left, 0, -600, top)
    draws: dict[str, tuple[NDArray[Any], float | None]] = {
        "slope": (rng.uniform(0, 90, (cells, cells)).astype(np.float32), -9999.0),
        "protected_areas": (rng.choice([0, 7, 255], (cells, cells)).astype(np.uint8), 255),
        "water": (rng.uniform(0, 0.4, (cells, cells)).astype(np.float32), float("nan")),
        "steepness": (rng.uniform(0, 90, (cells, cells)).astype(np.float32), -9999.0),
        "elevation": (rng.integers(0, 6000, (cells, cells)).astype(np.int16), -32768),
    }
    for name, (values, nodata) in draws.items():
        if name != "protected_areas":
            values[rng.random(values.shape) < 0.05] = nodata
        paths[name] = folder / f"{name}.tif"
        write_cog(paths[name], values, grid, nodata=nodata)
    return Ancillary.model_validate({name: str(path) for name, path in paths.items()})


def declare_checksums(world: World, *, sizes: bool = False) -> None:
    """Have the items of a world say the checksums of their files, and their sizes if wanted."""
    for path in world.items:
        item = json.loads(path.read_text())
        for asset in item["assets"].values():
            content = (path.parent / asset["href"]).read_bytes()
            asset["file:checksum"] = "1220" + sha256(content).hexdigest()
            if sizes:
                asset["file:size"] = len(content)
        path.write_text(json.dumps(item))
