"""Years of a made-up region whose land changes: mapped, smoothed, sampled, and the area of change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from numpy.typing import NDArray
from rasterio.windows import from_bounds

from cropmask.cli.main import cropmask
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import Tile
from cropmask.operate import fitseries
from cropmask.region import load_region
from cropmask.site.site import open_site
from cropmask.sources.boundary import load_boundary
from cropmask.store.folder import FolderStore
from cropmask.task import Period, Task
from cropmask.testing.world.parcels import GAIN, LOSS
from cropmask.testing.world.regionfiles import find_truth
from cropmask.testing.world.regionworld import RegionWorld, make_region_world
from cropmask.tile.run import run_tile

TILES = (Tile(215, 75), Tile(215, 76))
YEARS = Period.parse("2019--P5Y")
GRAIN = 8


@dataclass(frozen=True)
class MappedYears:
    """A made-up region of some years, and its maps."""

    world: RegionWorld
    folder: Path

    @property
    def land(self) -> Path:
        return self.world.catalog.parent

    def run(self, *words: str) -> Any:
        """The JSON that a command prints."""
        where = {
            "CROPMASK_CATALOG": str(self.world.catalog),
            "CROPMASK_MODELS": str(self.world.models),
            "CROPMASK_OUTPUT": str(self.folder),
            "CROPMASK_RESOLUTION": "100",
        }
        said = CliRunner(env=where).invoke(cropmask, words, catch_exceptions=False)
        assert said.exit_code == 0, said.output
        return json.loads(said.stdout) if "--json" in words else said.stdout

    def use(self, year: Period, tile: Tile) -> NDArray[np.uint8]:
        """What the land is really used for."""
        with rasterio.open(find_truth(self.land, year)) as raster:
            return raster.read(1, window=from_bounds(*tile.bounds, raster.transform))

    def mask(self, year: Period, tile: Tile) -> NDArray[np.uint8]:
        (path,) = self.folder.rglob(f"*_{tile}_{year}_mask.tif")
        with rasterio.open(path) as raster:
            return raster.read(1)


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> MappedYears:
    folder = tmp_path_factory.mktemp("years")
    region = load_region("eastern")
    world = make_region_world(
        folder / "world",
        region,
        load_boundary(region.boundary),
        tiles=TILES,
        period=YEARS,
        scenes=2,
        grain=GRAIN,
    )
    given = {"catalog": world.catalog, "models": world.models, "output": folder / "results"}
    site = open_site({}, {**given, "resolution": 100, "threads": 1})
    for year in YEARS.years:
        for tile in TILES:
            run_tile(Task(tile, "eastern", year), site, recipe="boosted")
    return MappedYears(world, folder / "results")


def test_fields_change_at_their_rates_and_look_like_themselves(years: MappedYears) -> None:
    use = np.array([[years.use(year, tile) for tile in TILES] for year in YEARS.years])
    assert set(np.unique(use)) == {0, 1}
    before, after = use[:-1], use[1:]
    assert (1 - after[before == 1]).mean() == pytest.approx(LOSS, abs=0.006)
    assert after[before == 0].mean() == pytest.approx(GAIN, abs=0.006)  # less what is wild
    masks = np.array([[years.mask(year, tile) for tile in TILES] for year in YEARS.years])
    seen = (masks != 255).all(axis=0)
    right = [(mask == true)[seen].mean() for mask, true in zip(masks, use, strict=True)]
    assert min(right) > 0.65
    changed = (masks[0] != masks[-1])[seen].mean()
    assert changed > 1.3 * (use[0] != use[-1])[seen].mean(), "maps flicker as real ones do"


def test_from_maps_to_an_area_of_change_that_holds_the_truth(
    years: MappedYears, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitseries, "MOST_PIXELS", 8000)
    region = ("--region", "eastern")
    made = years.run("series", *region, "--years", "2019-2023", "--json")
    assert [one["state"] for one in made["tiles"]] == ["SUCCEEDED"] * len(TILES)
    before = {
        entry.key: FolderStore(years.folder).get(entry.key)
        for entry in FolderStore(years.folder).list("crop_series_")
    }
    again = years.run("series", *region, "--years", "2019-2023", "--json")
    assert [one["state"] for one in again["tiles"]] == ["SKIPPED"] * len(TILES)
    sample, labels = tmp_path / "change.geojson", tmp_path / "labels.csv"
    given = ("--period", "2019--P5Y", "--points", "500", "--allocation", "equal")
    years.run("sample", *region, *given, "--out", str(sample))
    years.run("demo-labels", "--sample", str(sample), "--world", str(years.land), "--out", str(labels))
    found = years.run("area", "--change", "--sample", str(sample), "--labels", str(labels), "--json")
    first, last = YEARS.years[0], YEARS.years[-1]
    seen = [(years.mask(first, t) != 255) & (years.mask(last, t) != 255) for t in TILES]
    was, is_now = ([years.use(year, tile) for tile in TILES] for year in (first, last))
    for name, old, new in (("gain", 0, 1), ("loss", 1, 0)):
        truth = sum(
            int(((a == old) & (b == new) & known).sum())
            for a, b, known in zip(was, is_now, seen, strict=True)
        )
        estimate = found["change"][name]
        assert estimate["low"] < truth < estimate["high"], (name, truth, found)
    text = years.run("web", *region, "--results", str(years.folder), "--output", str(tmp_path / "map"))
    assert "2019, 2020, 2021, 2022, 2023" in text
    assert before == {key: FolderStore(years.folder).get(key) for key in before}


def test_truth_of_another_year_or_place_is_refused(years: MappedYears) -> None:
    with pytest.raises(Misconfigured, match="cropmask demo --years"):
        find_truth(years.land, Period.parse("2030"))
    with pytest.raises(Misconfigured, match="cropmask demo --years"):
        find_truth(years.folder, YEARS.years[0])
