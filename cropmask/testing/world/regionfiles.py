"""Files of a made-up region (regionworld.py): scenes, and VRT files that lend them to tiles."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import rasterio
import shapely

from cropmask.errors import Misconfigured, write_command
from cropmask.grid import AFRICA_10, CRS, Tile
from cropmask.machine.stages import ShareDone
from cropmask.region.region import REGION_FILE, Region
from cropmask.task import Period
from cropmask.testing.world.folders import write_json
from cropmask.testing.world.geomadstac import (
    CATALOG_FILE,
    COLLECTION,
    COLLECTION_FILE,
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
    LAYER_FILES,
    RAIN_LAYERS,
    BandFile,
    box_of,
    write_half,
    write_layers,
    write_rain,
    write_use,
)

MODELS_FOLDER: Final = "models"
TRUTH_FOLDER: Final = "truth"
_UNKNOWN: Final = 255
"""Where there is no tile."""
_VRT_TYPE: Final = "application/x-gdal-vrt"

_SCENES_FOLDER: Final = "scenes"
_LAYERS_FOLDER: Final = "ancillary"
_FIRST_SCENE: Final = Tile(10, 20)
_VRT_BLOCK: Final = "512"
_SCENES_SHARE: Final = 0.8
_ABOUT: Final = {"title": f"{LABEL}: not a map of any place"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A window of another raster's only band, at its own pixel size."""

    file: str
    """Path from the VRT file."""
    column: int
    row: int
    columns: int
    rows: int
    to_column: int
    to_row: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Pixels of a north-up raster."""

    crs: str
    left: float
    top: float
    step: float
    columns: int
    rows: int


def encode_vrt(
    grid: Grid,
    data_type: str,
    nodata: str | None,
    pieces: Sequence[Piece],
    metadata: Mapping[str, str],
) -> bytes:
    """XML of a VRT of one band: a raster that borrows pixels of others and puts them elsewhere.

    ``data_type`` is GDAL's name, such as ``UInt16``; ``nodata`` is what pixels without a piece are.
    """
    root = ET.Element("VRTDataset", rasterXSize=str(grid.columns), rasterYSize=str(grid.rows))
    ET.SubElement(root, "SRS").text = grid.crs
    transform = (grid.left, grid.step, 0, grid.top, 0, -grid.step)
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, transform)))
    about = ET.SubElement(root, "Metadata")
    for key, value in metadata.items():
        ET.SubElement(about, "MDI", key=key).text = value
    band = ET.SubElement(
        root,
        "VRTRasterBand",
        dataType=data_type,
        band="1",
        blockXSize=_VRT_BLOCK,
        blockYSize=_VRT_BLOCK,
    )
    if nodata is not None:
        ET.SubElement(band, "NoDataValue").text = nodata
    for piece in pieces:
        source = ET.SubElement(band, "SimpleSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = piece.file
        ET.SubElement(source, "SourceBand").text = "1"
        size = {"xSize": str(piece.columns), "ySize": str(piece.rows)}
        at = {"xOff": str(piece.column), "yOff": str(piece.row)}
        ET.SubElement(source, "SrcRect", {**at, **size})
        to = {"xOff": str(piece.to_column), "yOff": str(piece.to_row)}
        ET.SubElement(source, "DstRect", {**to, **size})
    ET.indent(root, " ")
    return ET.tostring(root) + b"\n"


@dataclass(frozen=True, slots=True)
class RegionWriter:
    """Files of one world below a folder."""

    folder: Path
    region: Region
    tiles: tuple[Tile, ...]
    resolution: int
    periods: tuple[Period, ...]
    """Years one after the other."""
    scenes: int
    seed: int
    grain: int
    """Edge of the squares of equal pixels that are drawn."""
    bands: dict[tuple[Tile, Period], dict[str, BandFile]] = field(default_factory=dict)
    """Files of the scenes, once they are written."""

    def _scene(self, number: int) -> Tile:
        return Tile(_FIRST_SCENE.x + number, _FIRST_SCENE.y)

    def write(self, tell: ShareDone) -> None:
        """Write scenes, items, catalog and layers."""
        self._write_scenes(tell)
        for done, tile in enumerate(self.tiles):
            for period in self.periods:
                for half in period.halves:
                    self._write_item(tile, half)
            tell(_SCENES_SHARE + (1 - _SCENES_SHARE) * done / len(self.tiles))
        collection = make_geomad_collection(self.tiles, self.periods, self.resolution)
        write_json(self.folder / COLLECTION / COLLECTION_FILE, collection)
        write_json(self.folder / CATALOG_FILE, make_geomad_catalog())
        self._write_layers()
        if len(self.periods) > 1:
            self._write_truth()
        tell(1.0)

    def _write_scenes(self, tell: ShareDone) -> None:
        folder = self.folder / _SCENES_FOLDER
        scenes = tuple(map(self._scene, range(self.scenes)))
        years = tuple(enumerate(self.periods))
        halves = [(tile, year, k) for tile in scenes for year in years for k in (0, 1)]
        for done, (tile, (year, period), number) in enumerate(halves):
            half = period.order_halves("calendar")[number]
            stem = item_stem(tile, half)
            self.bands[tile, half] = write_half(
                folder,
                stem,
                tile,
                self.resolution,
                number,
                seed=self.seed,
                year=year,
                grain=self.grain,
            )
            tell(_SCENES_SHARE * (done + 1) / len(halves))
        if len(years) > 1:
            for (year, period), tile in product(years, scenes):
                path = folder / f"{_name_use(period)}_{tile}.tif"
                write_use(path, tile, self.resolution, seed=self.seed, year=year, grain=self.grain)
        write_layers(folder, scenes, self.resolution, seed=self.seed, grain=self.grain)
        for name in RAIN_LAYERS:
            (folder / LAYER_FILES[name]).unlink()

    def _number_of(self, tile: Tile) -> int:
        # Neighbors differ, and equal scenes do not stand in a straight diagonal.
        return (tile.x + (2 if self.scenes > 2 else 1) * tile.y) % self.scenes

    def _scene_of(self, tile: Tile) -> Tile:
        return self._scene(self._number_of(tile))

    def _write_item(self, tile: Tile, half: Period) -> None:
        place = self.folder / item_folder(tile, half)
        place.mkdir(parents=True)
        scene = self.bands[self._scene_of(tile), half]
        files = {}
        for name, key in ASSETS.items():
            source = scene[key]
            text = self._borrow(tile, source, is_float=name in ("bcdev", "edev", "sdev"))
            path = place / f"{item_stem(tile, half)}_{key}.vrt"
            path.write_bytes(text)
            digest = hashlib.sha256(text).hexdigest()
            files[key] = BandFile(path.name, len(text), f"1220{digest}")
        item = make_geomad_item(tile, half, self.resolution, self.seed, files, _VRT_TYPE)
        write_json(place / item_name(tile, half), item)

    def _borrow(self, tile: Tile, source: BandFile, *, is_float: bool) -> bytes:
        size = int(AFRICA_10.size) // self.resolution
        left, _, _, top = tile.bounds
        return encode_vrt(
            Grid(CRS, left, top, self.resolution, size, size),
            "Float32" if is_float else "UInt16",
            "nan" if is_float else "0",
            [Piece(f"../../../../{_SCENES_FOLDER}/{source.name}", 0, 0, size, size, 0, 0)],
            {**_ABOUT, "source_checksum": source.checksum},
        )

    def _write_layers(self) -> None:
        """Terrain of each tile is that of its scene; rain is drawn over the whole region."""
        folder = self.folder / _LAYERS_FOLDER
        folder.mkdir()
        write_rain(folder, self.tiles, self.seed)
        left, top, columns, rows = box_of(self.tiles)
        for file in _terrain().values():
            with rasterio.open(self.folder / _SCENES_FOLDER / file) as source:
                size, spacing = source.height, source.transform.a
                kind, nodata = source.dtypes[0], source.nodata
            pieces = [
                replace(self._place(tile, file, size), column=self._number_of(tile) * size)
                for tile in self.tiles
            ]
            text = encode_vrt(
                Grid(CRS, left, top, spacing, columns * size, rows * size),
                {"float32": "Float32", "int16": "Int16", "uint8": "Byte"}[kind],
                None if nodata is None else str(nodata),
                pieces,
                _ABOUT,
            )
            (folder / file).with_suffix(".vrt").write_bytes(text)

    def _write_truth(self) -> None:
        """What fields are really used for, a raster a year over all tiles."""
        folder = self.folder / TRUTH_FOLDER
        folder.mkdir()
        left, top, columns, rows = box_of(self.tiles)
        size = int(AFRICA_10.size) // self.resolution
        grid = Grid(CRS, left, top, self.resolution, columns * size, rows * size)
        for period in self.periods:
            name = _name_use(period)
            pieces = [
                self._place(tile, f"{name}_{self._scene_of(tile)}.tif", size) for tile in self.tiles
            ]
            text = encode_vrt(grid, "Byte", str(_UNKNOWN), pieces, _ABOUT)
            (folder / f"{name}.vrt").write_bytes(text)

    def _place(self, tile: Tile, file: str, size: int) -> Piece:
        """A file of a scene, put where a tile is among all."""
        left, top, _, _ = box_of(self.tiles)
        column = round((tile.bounds[0] - left) / AFRICA_10.size) * size
        row = round((top - tile.bounds[3]) / AFRICA_10.size) * size
        return Piece(f"../{_SCENES_FOLDER}/{file}", 0, 0, size, size, column, row)

    def write_models(self, boundary: shapely.Geometry) -> None:
        """Write the region with its models as they are, so that their digests hold."""
        folder = self.folder / MODELS_FOLDER / self.region.name
        folder.mkdir(parents=True)
        for ref in self.region.models.values():
            shutil.copyfile(ref.file, folder / ref.file.name)
        write_json(folder / "boundary.geojson", _encode_boundary(boundary))
        (folder / REGION_FILE).write_text(_encode_region(self.region), encoding="utf-8")


def find_truth(folder: Path, year: Period) -> Path:
    """File of what fields of a world of several years are used for: 1 cropland, 0 not.

    Raises Misconfigured if the world has none of that year.
    """
    path = folder / TRUTH_FOLDER / f"{_name_use(year)}.vrt"
    if not path.is_file():
        example = Period.parse("2019-07--P6Y" if year.is_seasonal else "2019--P6Y")
        raise Misconfigured(
            f"{path} is not there: make a world of these {example.noun} with "
            f"'{write_command('demo', '--years', example.span)}'"
        )
    return path


def _name_use(period: Period) -> str:
    return f"cropland_{period.short}"


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
            **{name: f"../../{_LAYERS_FOLDER}/{LAYER_FILES[name]}" for name in RAIN_LAYERS},
            **{
                name: f"../../{_LAYERS_FOLDER}/{Path(file).with_suffix('.vrt')}"
                for name, file in _terrain().items()
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


def _terrain() -> dict[str, str]:
    """Files of the layers that are borrowed; rain is drawn anew, over the whole region."""
    return {name: file for name, file in LAYER_FILES.items() if name not in RAIN_LAYERS}
