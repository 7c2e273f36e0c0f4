"""From a run of twelve tiles to numbers: sample, labels, accuracy, area, report, and refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from numpy.typing import NDArray

from cropmask.assess import count_labels, estimate_area
from cropmask.assess.design import Sample
from cropmask.assess.draw import choose_pixels
from cropmask.assess.samplefiles import load_sample
from cropmask.cli.area import area, report
from cropmask.cli.assess import assess
from cropmask.cli.sample import sample
from cropmask.errors import CropmaskError, Reason
from cropmask.grid import Tile, tile_polygon
from tests.assessed import METERS, TILES, AssessedRun, truth_of, write_geojson
from tests.worlds import write_cog

Classes = NDArray[np.uint8]
HECTARES = METERS**2 / 10_000


def run(command: click.Command, run_of: AssessedRun, *words: str | Path) -> str:
    """What a command says that succeeds."""
    found = CliRunner().invoke(command, [*map(str, words), *run_of.arguments])
    assert found.exit_code == 0, found.output + repr(found.exception)
    return found.stdout


def refuse(command: click.Command, run_of: AssessedRun, *words: str | Path) -> CropmaskError:
    """What a command says that refuses: one line, and nothing is written."""
    found = CliRunner().invoke(command, [*map(str, words), *run_of.arguments])
    assert isinstance(found.exception, CropmaskError), found.output
    assert "\n" not in str(found.exception)
    return found.exception


def draw(run_of: AssessedRun, out: Path, *words: str) -> Sample:
    regions = [word for name in TILES for word in ("--region", name)]
    run(sample, run_of, *regions, "--points", "400", "--allocation", "equal", "--out", out, *words)
    return load_sample(out)


def is_crop(drawn: Sample) -> NDArray[np.bool_]:
    """The truth at the points of a sample."""
    places = zip(drawn.tile.tolist(), drawn.row.tolist(), drawn.column.tolist(), strict=True)
    return np.array([truth_of(Tile.parse(tile))[row, column] for tile, row, column in places])


def write_labels(path: Path, drawn: Sample, classes: NDArray[np.bool_] | None = None) -> Path:
    """Labels of all points, as somebody who knows the truth writes them."""
    words = np.where(is_crop(drawn) if classes is None else classes, "crop", "non-crop")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "class"))
        writer.writerows(zip(drawn.id.tolist(), words.tolist(), strict=True))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("assessed")


@pytest.fixture(scope="module")
def drawn(assessed: AssessedRun, folder: Path) -> Sample:
    return draw(assessed, folder / "sample.geojson")


@pytest.fixture(scope="module")
def given(drawn: Sample, folder: Path) -> tuple[str, ...]:
    """Options of a sample and its labels."""
    labels = write_labels(folder / "labels.csv", drawn)
    return "--sample", str(folder / "sample.geojson"), "--labels", str(labels)


@cache
def read_map(run_of: AssessedRun, region: str, tile: Tile) -> Classes:
    name = str(tile)
    product = run_of.folder / "results" / f"crop_mask_{region}"
    with rasterio.open(next(product.rglob(f"*_{name}_*_filtered.tif"))) as file:
        return np.asarray(file.read(1))


def true_hectares(run_of: AssessedRun, *regions: str, tiles: tuple[Tile, ...] = ()) -> float:
    """Crop that grows where the map has data."""
    return HECTARES * sum(
        int((truth_of(tile) & (read_map(run_of, region, tile) != 255)).sum())
        for region in regions
        for tile in tiles or TILES[region]
    )


@pytest.mark.slow
def test_from_a_sample_to_a_report(
    assessed: AssessedRun, drawn: Sample, given: tuple[str, ...], tmp_path: Path
) -> None:
    truth = {name: true_hectares(assessed, name) for name in TILES}
    said = json.loads(run(area, assessed, *given, "--json"))
    found = {name: said["area"]["hectares"][name][1] for name in ("low", "estimate", "high")}
    assert found["low"] < sum(truth.values()) < found["high"]
    assert said["area"]["mapped_hectares"] == sum(each.hectares for each in drawn.design.strata)
    counted = sum(
        int((read_map(assessed, region, tile) == 1).sum())
        for region in TILES
        for tile in TILES[region]
    )
    assert said["area"]["pixel_count_hectares_biased"][1] == counted * HECTARES
    assert not found["low"] < counted * HECTARES < found["high"]
    assert set(said["land_hectares"]) >= {"mapped", "water", "protected", "missing"}
    every = sum(said["land_hectares"].values())
    assert every == pytest.approx(12 * 960 * 960 * HECTARES, abs=12 * 4 * 960)

    accuracy = json.loads(
        run(assess, assessed, *given, "--by", "region", "--against", "mask", "--json")
    )
    right = np.mean([
        np.mean((read_map(assessed, r, t) == truth_of(t))[read_map(assessed, r, t) != 255])
        for r in TILES
        for t in TILES[r]
    ])  # fmt: skip
    assert accuracy["overall"]["low"] < right < accuracy["overall"]["high"]
    assert accuracy["parts"]["names"] == ["eastern", "western"]
    assert np.sum(accuracy["counts"]) == len(drawn) == accuracy["labeled"]
    assert accuracy["comparison"]["first"]["estimate"] == accuracy["overall"]["estimate"]

    districts = assessed.district_file(tmp_path, "eastern")
    out = tmp_path / "rapport.html"
    asked = ("--region", "eastern", "--districts", districts, "--language", "fr", "--out", out)
    assert "SYNTHETIC" in run(report, assessed, *given, *asked)
    document = json.loads(out.with_suffix(".json").read_text())
    page = out.read_text()
    assert document["hectares"]["low"] < truth["eastern"] < document["hectares"]["high"]
    assert 'lang="fr"' in page
    assert "Les terres cultivées couvrent" in page
    assert {each["name"] for each in document["districts"]} == {
        f"eastern {t}" for t in TILES["eastern"]
    }
    for each in document["districts"]:
        tile = Tile.parse(each["name"].split()[1])
        classes = read_map(assessed, "eastern", tile)
        assert each["pixel_hectares"] == int((classes == 1).sum()) * HECTARES
        assert each["mapped_hectares"] == int((classes != 255).sum()) * HECTARES
        assert each["unmapped_hectares"] == pytest.approx(int((classes == 255).sum()) * HECTARES)
    keys = document["origin"]["run_keys"]
    assert keys == {
        str(each.tile): each.run_key for each in drawn.design.tiles if each.region == "eastern"
    }
    before = page
    run(report, assessed, *given, *asked)
    assert out.read_text() == before


@pytest.mark.slow
def test_the_truth_lies_in_the_interval_as_often_as_it_should(
    assessed: AssessedRun, drawn: Sample
) -> None:
    """Samples drawn again and again of the finished run, with the truth as labels."""
    strata = drawn.design.strata
    mapped, truth = _pixels_of_strata(assessed, drawn)
    pixels = np.array([each.pixels for each in strata])
    points = np.array([each.sampled for each in strata])
    assert [len(each) for each in truth] == pixels.tolist()
    chosen = choose_pixels(pixels, points, drawn.design.seed)
    # The command draws the same pixels.
    for number, each in enumerate(chosen):
        assert truth[number][each].sum() == is_crop(drawn)[drawn.stratum == number].sum()
    whole = sum(int(each.sum()) for each in truth)
    draws, held = 400, 0
    names = np.repeat([each.name for each in strata], points)
    classes = np.repeat(mapped, points)
    for seed in range(1, draws + 1):
        chosen = choose_pixels(pixels, points, seed)
        reference = np.concatenate([truth[n][each] for n, each in enumerate(chosen)])
        sizes = {each.name: each.pixels for each in strata}
        table = count_labels(classes, reference.astype(int), strata=names, pixels=sizes)
        crop = estimate_area(table, 1.0).hectares.at(1)
        held += int(crop.low <= whole <= crop.high)
    # Two standard errors of so many draws around 95 %, and what the default is wider.
    assert 0.928 <= held / draws <= 0.985


def _pixels_of_strata(
    run_of: AssessedRun, drawn: Sample
) -> tuple[list[int], list[NDArray[np.bool_]]]:
    """Class of the map of each stratum, and the truth of its pixels in the order of tiles."""
    mapped, truth = [], []
    for each in drawn.design.strata:
        parts = [
            truth_of(tile)[read_map(run_of, each.region, tile) == each.map_class]
            for tile in sorted(TILES[each.region])
        ]
        mapped.append(each.map_class)
        truth.append(np.concatenate(parts))
    return mapped, truth


def refusals(run_of: AssessedRun, drawn: Sample, tmp_path: Path) -> Iterator[Any]:
    """Words of a command, what it must say, and what it must advise."""
    sample_file = tmp_path / "sample.geojson"
    labels = write_labels(tmp_path / "all.csv", drawn)
    own = ("--sample", sample_file, "--labels", labels)
    points = tmp_path / "points.csv"
    points.write_text("lon,lat,class\n36.5,-1.2,crop\n36.6,-1.2,non-crop\n")
    yield ("--labels", points), "how these points were drawn is not known", "'cropmask sample'"
    yield (*own[2:], "--sample", points), "how these points were drawn is not known", "sample"
    part = tmp_path / "eastern.geojson"
    run(sample, run_of, "--region", "eastern", "--points", "60", "--out", part)
    alone_labels = write_labels(tmp_path / "eastern.csv", load_sample(part))
    only = ("--sample", part, "--labels", alone_labels, "--region", "western")
    yield only, "does not cover region western", "--region western"
    trained = tmp_path / "trained.csv"
    at = drawn.lon[3] + 1e-4, drawn.lat[3]
    trained.write_text(f"lon,lat,class\n{at[0]},{at[1]},crop\n36,-1,non-crop\n")
    yield (*own, "--training", trained), "places that the model was trained on", "another --seed"
    few = tmp_path / "few.csv"
    rows = labels.read_text().splitlines()
    kept = {drawn.id[at] for at in np.flatnonzero(drawn.stratum != 1)[:300]}
    alone = drawn.id[np.flatnonzero(drawn.stratum == 1)[0]]
    few.write_text(
        "\n".join([rows[0], *(r for r in rows[1:] if r.split(",")[0] in {*kept, alone})])
    )
    yield (*own[:2], "--labels", few), "fewer than two labeled points", "label more points"
    square = shapely.box(*Tile(230, 90).bounds)
    far = write_geojson(
        tmp_path / "far.geojson",
        [
            {
                "type": "Feature",
                "properties": {"name": "Far"},
                "geometry": shapely.geometry.mapping(square),
            }
        ],
    )
    yield (*own, "--districts", far), "does not cover 1 of 1 districts", "leave them out"


def test_what_would_be_a_wrong_number_is_refused(
    assessed: AssessedRun, drawn: Sample, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "sample.geojson").write_bytes((folder / "sample.geojson").read_bytes())
    for words, said, advice in refusals(assessed, drawn, tmp_path):
        error = refuse(area, assessed, *words)
        assert said in str(error), words
        assert advice in str(error), words
        if "--districts" not in words and "--region" not in words and "--sample" in words:
            out = tmp_path / "page.html"
            refuse(report, assessed, "--region", "eastern", *words, "--out", out)
            assert not out.exists()
            assert not out.with_suffix(".json").exists()


def test_strata_of_another_map_are_refused(
    assessed: AssessedRun, given: tuple[str, ...], tmp_path: Path
) -> None:
    other = assessed.copied(tmp_path / "other")
    item = next((other.folder / "results").rglob("*x217y079*.stac-item.json"))
    text = item.read_text()
    key = json.loads(text)["properties"]["cropmask:run_key"]
    item.write_text(text.replace(key, "f" * 64))
    error = refuse(area, other, *given)
    assert "another map" in str(error)
    assert "x217y079 of eastern" in str(error)
    assert error.reason == Reason.CHANGED
    item.unlink()
    assert "is not in the results" in str(refuse(area, other, *given))
    partial = tmp_path / "partial.geojson"
    part = draw(other, partial, "--partial")
    labels = write_labels(tmp_path / "partial.csv", part)
    own = ("--sample", partial, "--labels", labels)
    error = refuse(area, other, *own)
    assert "1 tiles of it have no result: x217y079 of eastern" in str(error)
    assert "no point could be drawn in" in str(refuse(area, assessed, *own))
    # Districts that were mapped have numbers of their own.
    shapes = [
        {
            "type": "Feature",
            "properties": {"name": str(tile)},
            "geometry": shapely.geometry.mapping(tile_polygon(tile)),
        }
        for tile in TILES["western"]
    ]
    districts = write_geojson(tmp_path / "some.geojson", shapes)
    words = (*own, "--region", "western", "--districts", districts, "--districts-only")
    said = run(area, other, *words)
    assert "Cropland:" not in said
    assert "post-stratified" in said


def test_plots_of_two_labelers_who_are_not_always_sure(
    assessed: AssessedRun, tmp_path: Path
) -> None:
    """Nine points a plot, strata of probability; districts that lean on the whole."""
    points, labels, out = (tmp_path / name for name in ("s.geojson", "l.csv", "page.html"))
    words = ("--points", "120", "--plots", "3", "--prob-strata", "30,70", "--minimum", "4")
    run(sample, assessed, "--region", "eastern", *words, "--out", points)
    drawn = load_sample(points)
    truth = is_crop(drawn)
    with labels.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "class", "labeler"))
        for at, (name, crop) in enumerate(zip(drawn.id.tolist(), truth.tolist(), strict=True)):
            word = "crop" if crop else "non-crop"
            rows.writerow((name, "unsure" if at % 29 == 0 else word, "one"))
            if at % 3 == 0:
                rows.writerow((name, "crop" if at % 30 == 0 else word, "two"))
    districts = assessed.district_file(tmp_path, "eastern")
    given = ("--region", "eastern", "--sample", points, "--labels", labels)
    run(report, assessed, *given, "--districts", districts, "--min-points", "5", "--out", out)
    said = json.loads(out.with_suffix(".json").read_text())
    assert said["has_plots"]
    assert said["hectares"]["low"] < true_hectares(assessed, "eastern") < said["hectares"]["high"]
    facts = said["labels"]
    assert facts["labelers"] == 2
    assert facts["labeled"] + sum(facts["left_out"].values()) == facts["drawn"] == len(drawn)
    assert set(facts["left_out"]) == {"unsure", "labelers are divided"}
    assert 80 < facts["percent_agreed"] < 100
    assert "regression" in {each["estimator"] for each in said["districts"]}
    assert sum(each["labeled"] for each in said["strata"]) == 120
    page = out.read_text()
    assert "the plots are what was drawn at random" in page
    assert "Labelers agree in 9" in page


def test_other_results_are_compared_at_the_same_points(
    assessed: AssessedRun, drawn: Sample, given: tuple[str, ...], tmp_path: Path
) -> None:
    own = assessed.places["output"]
    same = json.loads(run(assess, assessed, *given, "--against", own, "--json"))["comparison"]
    assert (same["only_first"], same["only_second"], same["p_value"]) == (0, 0, 1)
    assert same["difference"]["estimate"] == 0
    other = assessed.copied(tmp_path / "other")
    for file in (other.folder / "results").rglob("*_filtered.tif"):
        with rasterio.open(file) as raster:
            pixels, transform = raster.read(1), raster.transform
        turned_pixels = np.where(pixels == 255, 255, 1 - pixels).astype(np.uint8)
        write_cog(file, turned_pixels, transform, nodata=255)
    words = ("--against", other.places["output"], "--json")
    turned = json.loads(run(assess, assessed, *given, *words))
    right = drawn.filtered == is_crop(drawn)
    assert turned["comparison"]["only_first"] == right.sum()
    assert turned["comparison"]["only_second"] == (~right).sum()
    overall = turned["overall"]["estimate"]
    assert turned["comparison"]["second"]["estimate"] == pytest.approx(1 - overall)
    districts = assessed.district_file(tmp_path)
    training = tmp_path / "training.csv"
    training.write_text("lon,lat,class\n0,0,crop\n")
    words = ("--by", "district", "--districts", districts, "--training", training, "--json")
    said = json.loads(run(assess, assessed, *given, *words))
    parts = said["parts"]
    assert len(parts["names"]) == 13
    assert parts["names"][-1] == "no district"
    assert np.sum(parts["counts"]) == len(drawn)
    low, middle, high = (parts["overall"][name][:12] for name in ("low", "estimate", "high"))
    assert all(a < b < c for a, b, c in zip(low, middle, high, strict=True))


def test_labels_that_say_all_or_nothing(
    assessed: AssessedRun, drawn: Sample, folder: Path, tmp_path: Path
) -> None:
    own = ("--sample", folder / "sample.geojson")
    every = write_labels(tmp_path / "every.csv", drawn, np.ones(len(drawn), bool))
    said = json.loads(run(area, assessed, *own, "--labels", every, "--json"))
    shares = said["area"]["shares"]
    assert shares["estimate"][1] == pytest.approx(1)
    assert 0.9 < shares["low"][1] < 1
    assert shares["estimate"][0] == 0
    empty = tmp_path / "empty.csv"
    empty.write_text("id,class\n")
    assert "empty" in str(refuse(area, assessed, *own, "--labels", empty))
    absent = refuse(area, assessed, *own, "--labels", tmp_path / "no.csv")
    assert "cannot be read" in str(absent)
    twice = tmp_path / "twice.csv"
    rows = every.read_text().splitlines()
    twice.write_text("\n".join([*rows, rows[1].replace(",crop", ",non-crop")]))
    assert "is there several times" in str(refuse(area, assessed, *own, "--labels", twice))


def test_points_of_no_sample_are_assessed_and_carry_no_area(
    assessed: AssessedRun, drawn: Sample, tmp_path: Path
) -> None:
    here = drawn.take(drawn.region == "eastern")
    points = tmp_path / "points.csv"
    rows = zip(here.lon, here.lat, is_crop(here), strict=True)
    lines = [f"{lon:.9f},{lat:.9f},{'crop' if crop else 'no'}" for lon, lat, crop in rows]
    points.write_text("\n".join(["lon,lat,class", *lines, "0,0,crop"]))
    words = ("--labels", points, "--region", "eastern", "--json")
    said = json.loads(run(assess, assessed, *words))
    right = here.filtered == is_crop(here)
    assert said["overall"]["estimate"] == pytest.approx(right.mean())
    assert said["area_shares"] is None
    assert len(said["not_on_map"]) == 1
    assert "no area follows" in run(assess, assessed, *words[:-1])
