"""Seasons from July to June: their maps are those of a year with the same half-years."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from numpy.typing import NDArray
from pyproj import Transformer

import cropmask
from cropmask.assess.labelpoints import LabeledPoint
from cropmask.cli.main import cropmask as main
from cropmask.fleet.recordfiles import load_runs
from cropmask.grid import CRS
from cropmask.operate.checksamples import check_samples
from cropmask.operate.extract import extract
from cropmask.operate.plan import make_plan
from cropmask.operate.show import draw_result
from cropmask.region.attribution import UNSTATED
from cropmask.region.region import load_region
from cropmask.site.site import Site, open_site
from cropmask.sources.search import FEATURE_LAYERS
from cropmask.stac.facts import degrees_box
from cropmask.stac.item import parse_item
from cropmask.store.folder import FolderStore
from cropmask.task import Order, Period, Task
from cropmask.tile.run import run_tile
from cropmask.training.samples import load_samples
from tests.results import make_facts, put_facts
from tests.worlds import TILE, World, make_world

YEAR, SEASON = Period.year_of("2019"), Period.year_of("2020-07--P1Y")
RESOLUTION = 100
NOW = datetime(2022, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Seasons:
    """One piece of land in a season, and the same pixels said to be of a calendar year."""

    world: World

    def site(self, order: str, output: Path, halves: Mapping[str, str] | None = None) -> Site:
        """Site with a region that orders half-years so; ``halves`` are dated as others."""
        layers: dict[str, Any] = self.world.ancillary.model_dump(include={*FEATURE_LAYERS})
        if halves and halves["2020-07--P6M"] == "2019-01--P6M":
            rains = layers["rain_second_half"], layers["rain_first_half"]
            layers["rain_first_half"], layers["rain_second_half"] = rains
        model = load_region("eastern").model()
        output.mkdir(parents=True)
        write_boundary(output / "boundary.geojson", self.world)
        (output / "region.toml").write_text(
            'name = "plot"\ntitle = "A plot"\nversion = "1.0.0"\n'
            f'boundary = "boundary.geojson"\nhalf_years = "{order}"\n'
            f'models.forest = {{ file = "{model.file}", sha256 = "{model.sha256}" }}\n[ancillary]\n'
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in layers.items())
        )
        options = {
            "catalog": self.world.catalog if halves is None else self.date(halves),
            "output": output / "results",
            "region_files": str(output / "region.toml"),
            "resolution": RESOLUTION,
            "threads": 1,
        }
        return open_site({}, options)

    def date(self, halves: Mapping[str, str]) -> Path:
        """A catalog of the same items, dated as others."""
        features = []
        for path in self.world.items:
            feature = json.loads(path.read_text())
            start, end = Period.parse(halves[path.parent.name]).interval
            feature["properties"] |= {"start_datetime": start, "end_datetime": end}
            for asset in feature["assets"].values():
                asset["href"] = str(path.parent / asset["href"])
            features.append(feature)
        file = self.world.folder / f"items-{halves['2020-07--P6M']}.json"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return file


def write_boundary(file: Path, world: World) -> None:
    """A region of what the world has, but for its outermost pixels."""
    left, _, _, top = world.tile.bounds
    rows, columns = world.shape
    west, north = left + RESOLUTION * (world.column + 1), top - RESOLUTION * (world.row + 1)
    east, south = west + RESOLUTION * (columns - 2), north - RESOLUTION * (rows - 2)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    crs = {"type": "name", "properties": {"name": CRS}}
    file.write_text(json.dumps({"type": "Polygon", "coordinates": [ring], "crs": crs}))


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Seasons:
    folder = tmp_path_factory.mktemp("seasons")
    place = {"size": (48, 64), "offset": (100, 200), "resolution": RESOLUTION}
    return Seasons(make_world(folder, period=SEASON, **place))  # type: ignore[arg-type]


def map_world(site: Site, period: Period) -> tuple[list[NDArray[np.uint8]], dict[str, Any]]:
    """Bands of the tile, and its item."""
    result = run_tile(Task(TILE, "plot", period), site)
    item = json.loads(Path(result.item).read_text())
    bands = []
    for name in ("mask", "prob", "filtered"):
        with rasterio.open(Path(result.item).parent / item["assets"][name]["href"]) as raster:
            bands.append(raster.read(1))
    return bands, item


@pytest.mark.parametrize(
    ("order", "first", "second"),
    [
        ("calendar", "2021-01--P6M", "2020-07--P6M"),
        ("season", "2020-07--P6M", "2021-01--P6M"),
    ],
)
def test_a_season_is_mapped_from_its_halves_in_the_region_files_order(
    seasons: Seasons, tmp_path: Path, order: str, first: str, second: str
) -> None:
    found, item = map_world(seasons.site(order, tmp_path / "a"), SEASON)
    halves = {first: "2019-01--P6M", second: "2019-07--P6M"}
    expected, year = map_world(seasons.site("season", tmp_path / "b", halves), YEAR)
    assert (found[1] != 255).sum() > 1000
    for band, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(band, other)
    said = item["properties"]
    assert said["cropmask:half_years"] == {
        "order": order,
        "first": first,
        "second": second,
        "dated_layers": "2020--P1Y",
    }
    assert (said["start_datetime"][:10], said["end_datetime"][:10]) == ("2020-07-01", "2021-06-30")
    assert "cropmask:half_years" not in year["properties"]
    assert said["title"].startswith("Cropland July 2020 to June 2021, A plot")
    sources = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert ["2020-07--P6M" in sources[0], "2021-01--P6M" in sources[1]] == [True, True]


def test_the_orders_give_different_maps(seasons: Seasons, tmp_path: Path) -> None:
    calendar, season = (
        map_world(seasons.site(order, tmp_path / order), SEASON)[0][1]
        for order in ("calendar", "season")
    )
    assert (calendar != season).sum() > 500


def test_a_plan_of_a_season_finds_its_results(seasons: Seasons, tmp_path: Path) -> None:
    site = seasons.site("season", tmp_path / "a")
    before = make_plan("plot", SEASON, site, now=NOW)
    map_world(site, SEASON)
    after = make_plan("plot", SEASON, site, now=NOW)
    needs = [str(planned.need) for plan in (before, after) for planned in plan.tiles]
    assert needs == ["new", "unchanged"]
    turned = (tmp_path / "a" / "region.toml").read_text().replace('"season"', '"calendar"')
    (tmp_path / "a" / "region.toml").write_text(turned)
    turned_plan = make_plan("plot", SEASON, site, now=NOW)
    assert [str(tile.need) for tile in turned_plan.tiles] == ["changed"]
    store = FolderStore(tmp_path / "a" / "results")
    (key,) = [entry.key for entry in store.list("") if entry.key.endswith("stac-item.json")]
    assert key == (
        "crop_mask_plot/1-0-0/x215/y075/2020-07--P1Y/"
        "crop_mask_plot_x215y075_2020-07--P1Y.stac-item.json"
    )
    item = parse_item(key, store.get(key))
    assert item is not None
    assert item.period == "2020-07--P1Y"


def test_an_area_of_a_season_says_which_halves_by_region(seasons: Seasons, tmp_path: Path) -> None:
    site = seasons.site("season", tmp_path / "a")
    area = json.loads((tmp_path / "a" / "boundary.geojson").read_text())
    x, y = area["coordinates"][0][0]
    polygon = shapely.box(*degrees_box(x, y, x + 3_000, y + 2_000))
    result = cropmask.map_area(polygon, SEASON, region="plot", site=site, name="garden")
    item = json.loads(Path(result.item).read_text())
    assert item["properties"]["cropmask:half_years"]["plot"]["first"] == "2020-07--P6M"


def test_maps_of_a_season_owe_the_data_of_two_years(seasons: Seasons, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    attribution = replace(UNSTATED, sensed=(2020, 2021))
    put_facts(store, make_facts(TILE, period=SEASON, attribution=attribution), item_only=True)
    (key,) = [entry.key for entry in store.list("") if entry.key.endswith("stac-item.json")]
    item = parse_item(key, store.get(key))
    assert item is not None
    assert item.attribution.sensed == (2020, 2021)


def test_commands_of_a_run_take_a_season(
    seasons: Seasons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = seasons.site("season", tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    monkeypatch.setenv("CROPMASK_CATALOG", str(site.catalog))
    monkeypatch.setenv("CROPMASK_RESOLUTION", str(RESOLUTION))
    monkeypatch.setenv("CROPMASK_OUTPUT", "results")
    given = ("--region", "region.toml", "--period", "2020-07--P1Y")

    def run(*words: str) -> str:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        return result.output

    assert "crop_mask_plot 1.0.0, 2020-07--P1Y" in run("plan", *given)
    run("submit", *given)
    store = site.store()
    (record,) = load_runs(store, "crop_mask_plot", "2020-07--P1Y")
    (order,) = record.orders()
    assert Order.parse(order.body, order.attributes).task == Task(TILE, "plot", SEASON)
    map_world(site, SEASON)
    assert "crop_mask_plot 2020-07--P1Y, run " in run("status", *given)
    run("reconcile", *given)
    assert "2020-07--P1Y" in run("explain", str(TILE), *given)
    run("catalog", "build", "--results", "results")
    links = json.loads(store.get("crop_mask_plot/collection.json"))["links"]
    assert sum("/2020-07--P1Y/" in link["href"] for link in links) == 1


@pytest.mark.parametrize(("order", "half"), [("calendar", 1), ("season", 0)])
def test_samples_of_a_season_have_its_features_in_the_regions_order(
    seasons: Seasons, tmp_path: Path, order: str, half: int
) -> None:
    site = seasons.site(order, tmp_path / "a")
    region, world = site.region("plot"), seasons.world
    rows, columns = np.nonzero(
        (world.halves[0].reflectance[0] > 0) & (world.halves[1].reflectance[0] > 0)
    )
    left, _, _, top = world.tile.bounds
    to_degrees = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True)
    points = []
    for name, at, date in (("in", 500, "2021-03"), ("before", 900, "2020-03-01")):
        x = left + RESOLUTION * (world.column + columns[at] + 0.5)
        y = top - RESOLUTION * (world.row + rows[at] + 0.5)
        lon, lat = to_degrees.transform(x, y)
        points.append(LabeledPoint(name, len(points), shapely.Point(x, y), lon, lat, date))
    out = tmp_path / "samples.txt"
    extract(points, region, site.inputs(region), site, SEASON, out)
    samples = load_samples(out)
    stored = world.halves[half].reflectance[0][rows[[500, 900]], columns[[500, 900]]]
    np.testing.assert_allclose(samples.features[:, 0], stored / 10_000, rtol=1e-6)
    first = ("2020-07--P6M", "2021-01--P6M")[half]
    assert f'"first_half": "{first}"' in samples.remarks[0]
    assert check_samples(samples, {}).other_years == 1


def test_a_season_is_shown_with_its_own_half_years(seasons: Seasons, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    site = seasons.site("calendar", tmp_path / "a")
    item = run_tile(Task(TILE, "plot", SEASON), site).item
    drawn = draw_result(item, site)
    words = [text.get_text() for text in drawn.figure.texts]
    assert words[1:3] == [
        "Sentinel-2, July to December 2020",
        "Sentinel-2, January to June 2021",
    ]
