"""A small run of three tiles in two regions, on made-up land at real places."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cropmask.catalog.build import build_results
from cropmask.core.cropmap import Statistics
from cropmask.grid import Tile
from cropmask.product import Product
from cropmask.region.region import load_region
from cropmask.results.finder import make_place
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.task import Period, Task
from cropmask.testing.world.demoworld import make_world, open_world
from cropmask.tile.run import run_tile
from tests.results import put_files

EASTERN = (Tile(221, 75), Tile(222, 75))
"""Neighbors on the coast; most of the second one is sea, outside the region."""
WESTERN = Tile(184, 86)
YEAR = Period.parse("2019")
RESOLUTION = 100
REGIONS = {"eastern": EASTERN, "western": (WESTERN,)}


@dataclass(frozen=True)
class Results:
    """What was run, and where the results are."""

    folder: Path
    models: Path
    """Region files that name the made-up layers."""
    world: Path
    """Catalog of the made-up GeoMADs."""

    def copied(self, folder: Path) -> Results:
        """The same results in another folder, to be changed there."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)

    def items(self) -> list[Path]:
        """Files of the items, sorted."""
        return sorted(self.folder.rglob("*.stac-item.json"))

    def run(
        self,
        region: str,
        tile: Tile,
        *,
        recipe: str = "forest",
        overwrite: bool = False,
        bands: str = "none",
    ) -> str:
        """Map one tile, and return the address of its item."""
        site = open_site(
            {},
            {
                "catalog": self.world,
                "output": self.folder,
                "models": self.models,
                "resolution": RESOLUTION,
                "threads": 1,
                "bands": bands,
            },
        )
        task = Task(tile, region, YEAR)
        return run_tile(task, site, recipe=recipe, overwrite=overwrite).item


def make_results(folder: Path) -> Results:
    """Make the land, and map its tiles."""
    tiles = [tile for tiles in REGIONS.values() for tile in tiles]
    world = make_world(folder / "world", tiles=tiles, resolution=RESOLUTION, grain=8)
    models = folder / "models"
    for name in REGIONS:
        _copy_region(name, models / name, folder / "world")
    results = Results(folder / "results", models, world)
    for name, found in REGIONS.items():
        for tile in found:
            results.run(name, tile)
    return results


def _copy_region(name: str, folder: Path, world: Path) -> None:
    """The region as it is, but for its layers."""
    shutil.copytree(load_region(name).boundary.parent, folder)
    layers = open_world(world).ancillary.model_dump(exclude_none=True)
    file = folder / "region.toml"
    named = "".join(f"{key} = {json.dumps(value)}\n" for key, value in layers.items())
    file.write_text(f"{file.read_text()}\n[ancillary]\n{named}")


STATISTICS = Statistics(
    mapped_hectares=460_800.0,
    crop_hectares=100_000.0,
    crop_filtered_hectares=92_160.0,
    mean_probability=100 / 3,
    missing_hectares=1.0,
    half_missing_hectares=0.0,
    outside_hectares=3.0,
    protected_hectares=4.0,
    water_hectares=5.0,
    steep_hectares=6.0,
    high_hectares=7.0,
)


def put_item(
    store: Store,
    tile: Tile = EASTERN[0],
    region: str = "eastern",
    *,
    version: str = "1.1.0",
    **more: Any,
) -> str:
    """Put a dataset with files of a few letters, and return the key of its item."""
    product = Product(region, version)
    put_files(store, [tile], product, **{"statistics": STATISTICS, **more})
    return make_place(product, Task(tile, region, YEAR)).item


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process of a test run at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure_results(folder: Path) -> Results:
    """Results with their catalog, made once for all processes of a test run."""
    marker = folder / "complete"
    with locked(folder.with_suffix(".lock")):
        if not marker.exists():
            shutil.rmtree(folder, ignore_errors=True)
            made = make_results(folder)
            build_results(FolderStore(made.folder), made.models)
            marker.touch()
    return Results(folder / "results", folder / "models", folder / "world" / "catalog.json")
