"""A run of twelve tiles in two regions on made-up land, and what really grows there."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.grid import CRS, Tile, tile_polygon
from cropmask.region.region import load_region
from cropmask.site.site import Site, open_site
from cropmask.task import Period, Task
from cropmask.testing.world.demoworld import make_world, open_world
from cropmask.testing.world.spectra import draw_truth
from cropmask.tile.run import run_tile
from tests.demo_run import locked

TILES: Final = {
    "eastern": tuple(Tile(x, y) for x in (217, 218, 219) for y in (79, 80)),
    "western": tuple(Tile(x, y) for x in (180, 181, 182) for y in (88, 89)),
}
YEAR: Final = Period.parse("2019")
METERS: Final = 100
_GRAIN: Final = 8
"""Edge of the squares of equal pixels."""
_INSET: Final = 1.0
"""Meters that a boundary keeps off the edges of the next tiles."""


@dataclass(frozen=True)
class AssessedRun:
    """A finished run and the truth about it."""

    folder: Path

    @property
    def places(self) -> dict[str, Any]:
        """Options of commands that say where things are."""
        return {
            "catalog": str(self.folder / "world" / "catalog.json"),
            "models": str(self.folder / "models"),
            "output": str(self.folder / "results"),
        }

    @property
    def arguments(self) -> list[str]:
        """The same on a command line."""
        return [word for name, value in self.places.items() for word in (f"--{name}", value)]

    def site(self) -> Site:
        return open_site({}, {**self.places, "resolution": METERS, "threads": 1})

    def copied(self, folder: Path) -> AssessedRun:
        """The same in another folder, to be changed there."""
        shutil.copytree(self.folder, folder)
        return AssessedRun(folder)

    def district_file(self, folder: Path, *names: str) -> Path:
        """GeoJSON of a district for each tile of some regions, by default of both."""
        features = [
            {
                "type": "Feature",
                "properties": {"name": f"{name} {tile}"},
                "geometry": shapely.geometry.mapping(tile_polygon(tile)),
            }
            for name in names or TILES
            for tile in TILES[name]
        ]
        return write_geojson(folder / "districts.geojson", features)


def write_geojson(path: Path, features: list[dict[str, Any]]) -> Path:
    """A collection of features in meters of the grid."""
    crs = {"type": "name", "properties": {"name": CRS}}
    document = {"type": "FeatureCollection", "crs": crs, "features": features}
    path.write_text(json.dumps(document))
    return path


@cache
def truth_of(tile: Tile) -> NDArray[np.bool_]:
    """Where crop really grows ``(y, x)``; squares that are half and half are not crop."""
    rows = 960 // _GRAIN
    coarse = draw_truth(tile, METERS * _GRAIN, 0, rows) == 1
    return coarse.repeat(_GRAIN, 0).repeat(_GRAIN, 1)


def make_run(folder: Path) -> AssessedRun:
    """Make the land, and map its tiles."""
    every = [tile for tiles in TILES.values() for tile in tiles]
    world = folder / "world"
    make_world(world, tiles=every, resolution=METERS, grain=_GRAIN)
    for name, tiles in TILES.items():
        _write_region(name, tiles, folder / "models" / name, world)
    run = AssessedRun(folder)
    site = run.site()
    for name, tiles in TILES.items():
        for tile in tiles:
            run_tile(Task(tile, name, YEAR), site, recipe="boosted")
    return run


def _write_region(name: str, tiles: tuple[Tile, ...], folder: Path, world: Path) -> None:
    """The region as it is, but for its layers, and cut to some tiles."""
    shutil.copytree(load_region(name).boundary.parent, folder)
    layers = open_world(world).ancillary.model_dump(exclude_none=True)
    file = folder / "region.toml"
    named = "".join(f"{key} = {json.dumps(value)}\n" for key, value in layers.items())
    file.write_text(f"{file.read_text()}\n[ancillary]\n{named}")
    whole = shapely.buffer(
        shapely.union_all(list(map(tile_polygon, tiles))),
        -_INSET,
        cap_style="square",
        join_style="mitre",
    )
    geometry = shapely.geometry.mapping(whole)
    write_geojson(
        folder / "boundary.geojson", [{"type": "Feature", "properties": {}, "geometry": geometry}]
    )


def ensure_run(folder: Path) -> AssessedRun:
    """The run, made once for all processes of a test run."""
    marker = folder / "complete"
    with locked(folder.with_suffix(".lock")):
        if not marker.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make_run(folder)
            marker.touch()
    return AssessedRun(folder)
