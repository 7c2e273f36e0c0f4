"""A series of seasons: as one of calendar years, but for what its years are called."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import rasterio
import yaml
from click.testing import CliRunner

import cropmask
from cropmask.assess.samplefiles import load_sample
from cropmask.cli.main import cropmask as main
from cropmask.cli.series import fit, series
from cropmask.errors import Rejected
from cropmask.operate import fitseries
from cropmask.product import SERIES_BANDS
from cropmask.results.finder import find_item, make_place
from cropmask.results.seriesfile import find_series, put_region_series
from cropmask.stac.collection import make_collection
from cropmask.stac.item import ResultItem
from cropmask.task import Period, Task
from cropmask.tile.series import run_series, write_series
from tests.regions import NAME
from tests.stac_validation import assert_valid
from tests.years import (
    FEW_PIXELS,
    PERIOD,
    PRODUCT,
    TASK,
    TILES,
    YearlyMaps,
    draw_truth,
    make_years,
    put_model,
)

SEASONS = Period.parse("2019-07--P6Y")
SPAN = "2019/20-2024/25"
NOTE = "The year of a season is that in which it begins, in July."


def run(maps: YearlyMaps, *words: str) -> str:
    """What a command prints."""
    said = CliRunner(env=maps.places).invoke(main, words, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return said.stdout


@pytest.fixture(scope="module")
def seasonal(tmp_path_factory: pytest.TempPathFactory) -> YearlyMaps:
    """Maps of seasons that have the pixels of the other tests' calendar years, and their series."""
    made = make_years(tmp_path_factory.mktemp("seasons"), period=SEASONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitseries, "MOST_PIXELS", FEW_PIXELS)
        said = run(made, "series", "--region", NAME, "--years", SPAN)
    assert f"cropmask sample --region {NAME} --period {SEASONS} --points 600" in said
    assert f"tile {TILES[1]} has a map of 4 of the seasons {SEASONS}" in said
    return made


def open_item(maps: YearlyMaps, period: Period) -> ResultItem:
    item = find_item(maps.store, make_place(PRODUCT.series, Task(TILES[0], NAME, period)))
    assert item is not None
    return item


def read(maps: YearlyMaps, period: Period, band: str) -> rasterio.DatasetReader:
    name = PRODUCT.series.file_name(str(TILES[0]), str(period), f"_{band}.tif")
    place = make_place(PRODUCT.series, Task(TILES[0], NAME, period))
    return rasterio.open(maps.folder / place.key(name))


def test_pixels_are_those_of_the_years_in_which_the_seasons_begin(
    seasonal: YearlyMaps, yearly: YearlyMaps
) -> None:
    for band in SERIES_BANDS:
        with read(seasonal, SEASONS, band.name) as mine, read(yearly, PERIOD, band.name) as other:
            np.testing.assert_array_equal(mine.read(1), other.read(1))
            said, known = (each.tags()["TIFFTAG_IMAGEDESCRIPTION"] for each in (mine, other))
        assert known == band.description
        assert said == (f"{known} {NOTE}" if band.unit == "year" else known)


def test_its_documents_name_seasons(seasonal: YearlyMaps, yearly: YearlyMaps) -> None:
    item, calendar = open_item(seasonal, SEASONS), open_item(yearly, PERIOD)
    assert_valid(item.document)
    said = item.properties
    assert said["title"].startswith("Change of cropland July 2019 to June 2025, ")
    assert said["start_datetime"] == said["datetime"] == "2019-07-01T00:00:00Z"
    assert said["end_datetime"] == "2025-06-30T23:59:59.999999Z"
    assert said["cropmask:series"]["years"] == [str(each) for each in SEASONS.years]
    assert item.run_key != calendar.run_key
    assert calendar.title.startswith("Change of cropland 2019 to 2024, ")
    for band in ("first", "last", "changed"):
        assert item.assets[band]["description"].endswith(NOTE)
        assert NOTE not in calendar.assets[band]["description"]
    assert NOTE not in json.dumps(make_collection("A region", PRODUCT.series, (28, -12, 52, 18)))
    (document,) = (seasonal.folder / PRODUCT.series.name).rglob("*.odc-metadata.yaml")
    dataset = yaml.safe_load(document.read_text())
    assert dataset["label"] == f"{PRODUCT.series.name}_{TILES[0]}_{SEASONS}"
    assert dataset["properties"]["dtr:end_datetime"] == said["end_datetime"]
    assert {*dataset["measurements"]} == {band.name for band in SERIES_BANDS}


def test_commands_and_python_take_its_period(seasonal: YearlyMaps, tmp_path: Path) -> None:
    maps = seasonal.copied(tmp_path / "results")
    where = ("--region", str(maps.region.region), "--period", str(SEASONS))
    planned = json.loads(run(maps, "plan", *where, "--json"))
    assert (planned["counts"]["unchanged"], planned["counts"]["invalid"]) == (1, 1)
    assert "the result is there" in run(maps, "explain", str(TILES[0]), *where)
    (listed,) = json.loads(run(maps, "ls", *where, "--json"))
    assert listed["period"] == str(SEASONS)
    drawn = tmp_path / "changed.tif"
    run(maps, "mosaic", *where, "--band", "changed", "--out", str(drawn))
    assert drawn.is_file()
    run(maps, "show", str(TILES[0]), *where, "--out", str(tmp_path / "show.png"))
    loaded = cropmask.load(maps.folder, period=str(SEASONS), bands=["changed"])
    assert {0, 2020, 2024} <= {*np.unique(loaded["changed"])}
    assert loaded.attrs["end_datetime"].startswith("2025-06-30")
    run(maps, "catalog", "build", "--results", str(maps.folder))
    collection = json.loads((maps.folder / PRODUCT.series.name / "collection.json").read_text())
    assert_valid(collection)
    (interval,) = collection["extent"]["temporal"]["interval"]
    assert [each[:10] for each in interval] == ["2019-07-01", "2025-06-30"]
    assert [*collection["cropmask:statistics"]] == [str(SEASONS)]
    run(maps, "rm", *where, "--tiles", str(TILES[0]), "--yes")
    assert find_item(maps.store, make_place(PRODUCT.series, Task(TILES[0], NAME, SEASONS))) is None


def test_from_maps_to_an_area_of_change(tmp_path: Path) -> None:
    maps = make_years(tmp_path / "made", whole=True, period=SEASONS)
    put_model(maps, SEASONS)
    file, labels = tmp_path / "sample.geojson", tmp_path / "labels.csv"
    region = ("--region", str(maps.region.region))
    run(maps, "series", *region, "--years", SPAN)
    words = ("--period", str(SEASONS), "--points", "400", "--out", str(file))
    said = run(maps, "sample", *region, *words)
    assert f"the series crop_series_{NAME} July 2019 to June 2025" in said
    assert "in the columns class_2019-07 and class_2024-07" in said
    sample = load_sample(file)
    use = {str(tile): draw_truth(seed=seed) for seed, tile in enumerate(TILES)}
    rows = [("id", *sample.design.label_columns)]
    for name, *place in zip(sample.id, sample.tile, sample.row, sample.column, strict=True):
        tile, row, column = place
        ends = (use[str(tile)][year, row, column] for year in (0, -1))
        rows.append((str(name), *("crop" if crop else "other" for crop in ends)))
    labels.write_text("\n".join(map(",".join, rows)) + "\n")
    given = ("area", "--change", *region, "--sample", str(file), "--labels", str(labels))
    text = run(maps, *given)
    assert "400 of 400 points have a class" in text
    assert "Cropland from 2019/20 to 2024/25, 95 % intervals" in text
    assert "the difference of the two maps" in text
    found = json.loads(run(maps, *given, "--json"))
    assert (found["since"], found["period"]) == ("2019-07--P1Y", str(SEASONS))


@pytest.mark.parametrize("text", ["2019--P6Y", "2012--P15Y", "2019-07--P5Y", "1999-07--P10Y"])
@pytest.mark.parametrize(("command", "parser"), [("series", series), ("series fit", fit)])
def test_a_command_that_is_printed_asks_for_the_same_period(
    yearly: YearlyMaps, command: str, parser: click.Command, text: str
) -> None:
    site, period = yearly.site(), Period.parse(text)
    line = write_series(site, site.region(NAME), period, command=command)
    words = shlex.split(line.removeprefix(f"cropmask {command} "))
    assert parser.make_context(command, words).params["years"] == period


def test_maps_of_calendar_years_are_none_of_seasons(yearly: YearlyMaps, tmp_path: Path) -> None:
    copied = yearly.copied(tmp_path / "results")
    fitted = find_series(copied.store, PRODUCT, PERIOD, 100)
    assert fitted is not None
    put_region_series(copied.store, PRODUCT, SEASONS, 100, fitted)
    with pytest.raises(Rejected, match=f"has a map of 0 of the seasons {SEASONS}, and a series"):
        run_series(Task(TASK.tile, NAME, SEASONS), copied.site())
    assert not list(copied.folder.rglob(f"*{SEASONS}*.tif"))


def test_seasons_that_nobody_mapped_are_told(
    seasonal: YearlyMaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitseries, "MOST_PIXELS", FEW_PIXELS)
    maps = seasonal.copied(tmp_path / "results")
    words = ("series", "fit", "--region", NAME, "--years", "2018/19-2024/25")
    said = CliRunner(env=maps.places).invoke(main, words, catch_exceptions=False)
    assert (
        "no tile has a map of 2018/19, so they tell nothing: are these the seasons" in said.stderr
    )
