"""Files of a made-up region: scenes, and VRT files through which tiles borrow them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final

import rasterio
import shapely

from cropmask.grid import AFRICA_10, CRS, Tile
from cropmask.machine.stages import ShareDone
from cropmask.region import REGION_FILE, Region
from cropmask.task import Period
from cropmask.testing.world.geomadstac import (
    COLLECTION,
    LABEL,
    item_folder,
    item_name,
    item_stem,
    make_geomad_catalog,
    make_geomad_collection,
    make_geomad_item,
)
from cropmask.testing.world.rasters import (
    ASSETS,
    ELEVATION_FILE,
    PROTECTED_FILE,
    RAIN_FILES,
    SLOPE_FILE,
    STEEPNESS_FILE,
    WATER_FILE,
    BandFile,
    box_of,
    write_half,
    write_layers,
    write_rain,
)
from cropmask.testing.world.vrt import Grid, Piece, encode_vrt

CATALOG: Final = "catalog.json"
MODELS: Final = "models"
VRT_TYPE: Final = "application/x-gdal-vrt"

_SCENES_FOLDER: Final = "scenes"
_LAYERS_FOLDER: Final = "ancillary"
_FIRST_SCENE: Final = Tile(10, 20)
_SCENES_SHARE: Final = 0.8
_ABOUT: Final = {"title": f"{LABEL}: not a map of any place"}
_TERRAIN: Final = {
    "slope": SLOPE_FILE,
    "protected_areas": PROTECTED_FILE,
    "water": WATER_FILE,
    "steepness": STEEPNESS_FILE,
    "elevation": ELEVATION_FILE,
}
_RAIN: Final = dict(zip(("rain_first_half", "rain_second_half"), RAIN_FILES, strict=True))


class WorldWriter:
    """Files of one world below a folder."""

    def __init__(
        self,
        folder: Path,
        region: Region,
        tiles: tuple[Tile, ...],
        resolution: int,
        period: Period,
        scenes: int,
        seed: int,
    ) -> None:
        self._folder = folder
        self._region = region
        self._tiles = tiles
        self._resolution = resolution
        self._period = period
        self._seed = seed
        x, y = _FIRST_SCENE.x, _FIRST_SCENE.y
        self._scenes = tuple(Tile(x + k, y) for k in range(scenes))
        self._bands: dict[tuple[Tile, Period], dict[str, BandFile]] = {}

    def write(self, tell: ShareDone) -> None:
        """Write scenes, items, catalog and layers."""
        self._write_scenes(tell)
        for done, tile in enumerate(self._tiles):
            for half in self._period.halves:
                self._write_item(tile, half)
            tell(_SCENES_SHARE + (1 - _SCENES_SHARE) * done / len(self._tiles))
        collection = make_geomad_collection(self._tiles, self._period, self._resolution)
        _write_json(self._folder / COLLECTION / "collection.json", collection)
        _write_json(self._folder / CATALOG, make_geomad_catalog())
        self._write_layers()
        tell(1.0)

    def _write_scenes(self, tell: ShareDone) -> None:
        folder = self._folder / _SCENES_FOLDER
        halves = [(tile, k) for tile in self._scenes for k in (0, 1)]
        for done, (tile, number) in enumerate(halves):
            half = self._period.halves[number]
            stem = item_stem(tile, half)
            self._bands[tile, half] = write_half(
                folder, stem, tile, self._resolution, number, seed=self._seed
            )
            tell(_SCENES_SHARE * (done + 1) / len(halves))
        write_layers(folder, self._scenes, self._resolution, seed=self._seed)
        for name in RAIN_FILES:
            (folder / name).unlink()

    def _scene_of(self, tile: Tile) -> Tile:
        count = len(self._scenes)
        # Neighbors differ, and equal scenes do not stand in a straight diagonal.
        return self._scenes[(tile.x + (2 if count > 2 else 1) * tile.y) % count]

    def _write_item(self, tile: Tile, half: Period) -> None:
        place = self._folder / item_folder(tile, half)
        place.mkdir(parents=True)
        scene = self._bands[self._scene_of(tile), half]
        files = {}
        for name, key in ASSETS.items():
            source = scene[key]
            text = self._borrow(tile, source, is_float=name in ("bcdev", "edev", "sdev"))
            path = place / f"{item_stem(tile, half)}_{key}.vrt"
            path.write_bytes(text)
            digest = hashlib.sha256(text).hexdigest()
            files[key] = BandFile(path.name, len(text), f"1220{digest}")
        item = make_geomad_item(tile, half, self._resolution, self._seed, files, VRT_TYPE)
        _write_json(place / item_name(tile, half), item)

    def _borrow(self, tile: Tile, source: BandFile, *, is_float: bool) -> bytes:
        size = int(AFRICA_10.size) // self._resolution
        left, _, _, top = tile.bounds
        return encode_vrt(
            Grid(CRS, left, top, self._resolution, size, size),
            "Float32" if is_float else "UInt16",
            "nan" if is_float else "0",
            [Piece(f"../../../../{_SCENES_FOLDER}/{source.name}", 0, 0, size, size, 0, 0)],
            {**_ABOUT, "source_checksum": source.checksum},
        )

    def _write_layers(self) -> None:
        """Terrain of each tile is that of its scene; rain is drawn over the whole region."""
        folder = self._folder / _LAYERS_FOLDER
        folder.mkdir()
        write_rain(folder, self._tiles, self._seed)
        left, top, columns, rows = box_of(self._tiles)
        for file in _TERRAIN.values():
            with rasterio.open(self._folder / _SCENES_FOLDER / file) as source:
                size, spacing = source.height, source.transform.a
                kind, nodata = source.dtypes[0], source.nodata
            pieces = [
                Piece(
                    f"../{_SCENES_FOLDER}/{file}",
                    (self._scene_of(tile).x - _FIRST_SCENE.x) * size,
                    0,
                    size,
                    size,
                    round((tile.bounds[0] - left) / spacing),
                    round((top - tile.bounds[3]) / spacing),
                )
                for tile in self._tiles
            ]
            text = encode_vrt(
                Grid(CRS, left, top, spacing, columns * size, rows * size),
                {"float32": "Float32", "int16": "Int16", "uint8": "Byte"}[kind],
                None if nodata is None else str(nodata),
                pieces,
                _ABOUT,
            )
            (folder / file).with_suffix(".vrt").write_bytes(text)

    def write_models(self, boundary: shapely.Geometry) -> None:
        """Write the region with its models as they are, so that their digests hold."""
        folder = self._folder / MODELS / self._region.name
        folder.mkdir(parents=True)
        for ref in self._region.models.values():
            shutil.copyfile(ref.file, folder / ref.file.name)
        _write_json(folder / "boundary.geojson", _encode_boundary(boundary))
        (folder / REGION_FILE).write_text(_encode_region(self._region), encoding="utf-8")


def _encode_boundary(boundary: shapely.Geometry) -> dict[str, Any]:
    """GeoJSON in meters: rounded degrees would reach the next tile."""
    return {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::6933"}},
        "features": [
            {
                "type": "Feature",
                "properties": {},
                "geometry": json.loads(shapely.to_geojson(boundary)),
            }
        ],
    }


def _encode_region(region: Region) -> str:
    """TOML of the region with layers of its own; text of JSON is text of TOML."""
    tables: dict[str, dict[str, Any]] = {
        "": {
            "name": region.name,
            "title": f"{region.title} (made up)",
            "version": region.version,
            "boundary": "boundary.geojson",
        },
        "limits": region.limits.model_dump(),
        "ancillary": {
            **{name: f"../../{_LAYERS_FOLDER}/{file}" for name, file in _RAIN.items()},
            **{
                name: f"../../{_LAYERS_FOLDER}/{Path(file).with_suffix('.vrt')}"
                for name, file in _TERRAIN.items()
            },
        },
        **{
            f"models.{recipe}": {"file": ref.file.name, "sha256": ref.sha256}
            for recipe, ref in region.models.items()
        },
    }
    lines = ["# A made-up region: everything computed with it is synthetic."]
    for table, values in tables.items():
        lines += ["", f"[{table}]"] if table else []
        lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
