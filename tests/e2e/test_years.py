"""Years of a made-up region whose land changes: maps, a series, a sample, an area of change."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from numpy.typing import NDArray
from rasterio.windows import from_bounds

from cropmask.assess.change import CHANGE_NAMES, combine_classes
from cropmask.assess.samplefiles import load_sample
from cropmask.cli.main import cropmask
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import Tile
from cropmask.operate import fitseries
from cropmask.operate.truelabels import label_sample
from cropmask.region.region import load_region
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

    def count_change(self) -> dict[str, int]:
        """Hectares of each class of change where some year has data."""
        counts = dict.fromkeys(CHANGE_NAMES, 0)
        first, *_, last = YEARS.years
        for tile in TILES:
            seen = np.any([self.mask(year, tile) != 255 for year in YEARS.years], axis=0)
            classes = combine_classes(self.use(first, tile), self.use(last, tile))[seen]
            for number, name in enumerate(CHANGE_NAMES):
                counts[name] += int((classes == number).sum())
        return counts

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
        scenes=1,
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
    sample, labels = str(tmp_path / "change.geojson"), str(tmp_path / "labels.csv")
    years.run("sample", *region, "--period", "2019--P5Y", "--points", "600", "--out", sample)
    years.run("demo-labels", "--sample", sample, "--world", str(years.land), "--out", labels)
    found = years.run("area", "--change", "--sample", sample, "--labels", labels, "--json")
    area, truth = found["area"]["hectares"], years.count_change()
    assert found["area"]["classes"] == list(truth)
    for number, (name, hectares) in enumerate(truth.items()):
        assert area["low"][number] < hectares < area["high"][number], name
    page = str(tmp_path / "map")
    text = years.run("web", *region, "--results", str(years.folder), "--output", page)
    assert "2019, 2020, 2021, 2022, 2023" in text
    assert before == {key: FolderStore(years.folder).get(key) for key in before}


def test_points_of_another_land_are_not_labeled(years: MappedYears, tmp_path: Path) -> None:
    sample = tmp_path / "change.geojson"
    given = ("--region", "eastern", "--period", "2019", "--points", "80")
    years.run("sample", *given, "--out", str(sample))
    found = load_sample(sample)
    (line, *_) = label_sample(found, years.land).splitlines()
    assert line == "id,lon,lat,class"
    with pytest.raises(Rejected, match="lies outside of the made-up region"):
        label_sample(replace(found, x=found.x + 1e6), years.land)


def test_truth_of_another_year_or_place_is_refused(years: MappedYears) -> None:
    with pytest.raises(Misconfigured, match="cropmask demo --years"):
        find_truth(years.land, Period.parse("2030"))
    with pytest.raises(Misconfigured, match="cropmask demo --years"):
        find_truth(years.folder, YEARS.years[0])
