"""STAC documents of the made-up world, as Digital Earth Africa publishes GeoMAD; pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final
from uuid import UUID, uuid5

from pyproj import Transformer

from cropmask.core.strips import REFLECTANCE
from cropmask.grid import AFRICA_10, CRS, EPSG, Tile
from cropmask.product import COG_TYPE, SYNTHETIC
from cropmask.task import Period
from cropmask.testing.world.rasters import ASSETS, BandFile

CATALOG_FILE: Final = "catalog.json"
COLLECTION_FILE: Final = "collection.json"
COLLECTION: Final = "gm_s2_semiannual"
LABEL: Final = "SYNTHETIC"
"""Every title starts with it."""

_NAMESPACE: Final = UUID("5e7c3f0a-6d0e-5c0b-9d5e-2f4f5b8c7a10")
_EXTENSIONS: Final = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v1.2.0", "file/v2.1.0")
]
_ABOUT: Final = (
    "Made-up GeoMAD for demonstrations and tests, not a map of any place. Its spectra are drawn "
    "from statistics of training samples by Digital Earth Africa (CC BY 4.0)."
)
_JSON: Final = "application/json"
_GEOJSON: Final = "application/geo+json"


def item_stem(tile: Tile, half: Period) -> str:
    """Start of the file names of one item: ``gm_s2_semiannual_x010y020_2019-01--P6M``."""
    return f"{COLLECTION}_{tile}_{half}"


def item_folder(tile: Tile, half: Period) -> str:
    """Folder of one item below the catalog: ``gm_s2_semiannual/x010/y020/2019-01--P6M``."""
    name = str(tile)
    return f"{COLLECTION}/{name[:4]}/{name[4:]}/{half}"


def item_name(tile: Tile, half: Period) -> str:
    """File name of one item."""
    return f"{item_stem(tile, half)}.stac-item.json"


def make_geomad_item(
    tile: Tile,
    half: Period,
    resolution: int,
    seed: int,
    files: Mapping[str, BandFile],
    media_type: str = COG_TYPE,
) -> dict[str, Any]:
    """STAC item of one tile and half-year; ``files`` by asset key."""
    west, south, east, north = _degrees(tile)
    left, _, _, top = tile.bounds
    start, end = half.interval
    stem = item_stem(tile, half)
    size = int(AFRICA_10.size) // resolution
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": str(uuid5(_NAMESPACE, f"{stem}/{resolution}m/{seed}")),
        "collection": COLLECTION,
        "geometry": {
            "type": "Polygon",
            "coordinates": [
                [[west, south], [east, south], [east, north], [west, north], [west, south]]
            ],
        },
        "bbox": [west, south, east, north],
        "properties": {
            "title": f"{LABEL} {stem}",
            "description": _ABOUT,
            "datetime": start,
            "start_datetime": start,
            "end_datetime": end,
            "gsd": resolution,
            "odc:product": COLLECTION,
            "odc:producer": SYNTHETIC,
            "odc:product_family": "geomedian",
            "odc:file_format": "GeoTIFF",
            "odc:region_code": str(tile),
            "odc:dataset_version": "1.0.0",
            "proj:code": CRS,
            "proj:epsg": EPSG,
            "proj:shape": [size, size],
            "proj:transform": [resolution, 0, left, 0, -resolution, top],
        },
        "links": [
            {"rel": "root", "href": "../../../../catalog.json", "type": _JSON},
            {"rel": "parent", "href": "../../../collection.json", "type": _JSON},
            {"rel": "collection", "href": "../../../collection.json", "type": _JSON},
        ],
        "assets": {
            key: _asset(name, files[key], media_type)
            for name, key in sorted(ASSETS.items(), key=itemgetter(1))
        },
    }


def _asset(name: str, file: BandFile, media_type: str) -> dict[str, Any]:
    reflectance = name in REFLECTANCE
    return {
        "href": f"./{file.name}",
        "type": media_type,
        "title": f"{LABEL} {name}",
        "roles": ["data"],
        "bands": [{"name": name}],
        "data_type": "uint16" if reflectance else "float32",
        "nodata": 0 if reflectance else "nan",
        "unit": "1",
        "file:size": file.size,
        "file:checksum": file.checksum,
    }


def make_geomad_collection(
    tiles: Sequence[Tile], periods: Sequence[Period], resolution: int
) -> dict[str, Any]:
    """STAC collection with links to the two items of every tile and period."""
    boxes = [_degrees(tile) for tile in tiles]
    bounds = [f(box[k] for box in boxes) for k, f in enumerate((min, min, max, max))]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": COLLECTION,
        "title": f"{LABEL} Sentinel-2 semiannual GeoMAD",
        "description": _ABOUT,
        "keywords": ["synthetic", "geomad"],
        "license": "CC-BY-4.0",
        "extent": {
            "spatial": {"bbox": [bounds]},
            "temporal": {"interval": [[periods[0].interval[0], periods[-1].interval[1]]]},
        },
        "summaries": {"gsd": [resolution]},
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": _JSON},
            {"rel": "parent", "href": "../catalog.json", "type": _JSON},
            *(
                {
                    "rel": "item",
                    "href": f"./{item_folder(tile, half).split('/', 1)[1]}/{item_name(tile, half)}",
                    "type": _GEOJSON,
                }
                for tile in tiles
                for period in periods
                for half in period.halves
            ),
        ],
    }


def make_geomad_catalog() -> dict[str, Any]:
    """STAC catalog at the root of the world."""
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "cropmask-demo",
        "title": f"{LABEL} demonstration world",
        "description": _ABOUT,
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": _JSON},
            {"rel": "child", "href": f"./{COLLECTION}/collection.json", "type": _JSON},
        ],
    }


def _degrees(tile: Tile) -> tuple[float, float, float, float]:
    """``(west, south, east, north)`` in degrees; a tile's edges follow meridians and parallels."""
    transformer = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    west, south, east, north = transformer.transform_bounds(*tile.bounds)
    return round(west, 9), round(south, 9), round(east, 9), round(north, 9)
