"""Change from a sample of a series: holds the truth, with what maps say of it beside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from cropmask.assess.change import CHANGE_NAMES, SERIES_NAMES, combine_classes
from cropmask.assess.design import Sample, encode_sample, parse_sample
from cropmask.assess.draw import Stratifier
from cropmask.assess.samplefiles import load_sample
from cropmask.cli.main import cropmask
from cropmask.core.series import GAIN, LOSS
from cropmask.grid import Tile
from cropmask.operate.assessment import AssessRequest, open_assessment
from cropmask.operate.mapseries import map_series
from cropmask.operate.sample import SampleRequest, make_sample, open_frame
from cropmask.operate.webfigures import parse_change
from cropmask.results.finder import make_place
from cropmask.task import Task
from tests.regions import NAME
from tests.years import (
    PERIOD,
    PRODUCT,
    TILES,
    YearlyMaps,
    draw_truth,
    draw_whole,
    make_years,
    put_model,
)

COLUMNS = ("class_2019", "class_2024")
Pixels = dict[Tile, NDArray[np.uint8]]


@dataclass(frozen=True)
class Land:
    """Maps of years, their series, and what is true."""

    maps: YearlyMaps

    def read(self, band: str) -> Pixels:
        """Pixels of a band of the series."""
        return {tile: self._read(tile, band) for tile in TILES}

    def _read(self, tile: Tile, band: str) -> NDArray[np.uint8]:
        place = make_place(PRODUCT.series, Task(tile, NAME, PERIOD))
        name = PRODUCT.series.file_name(str(tile), str(PERIOD), f"_{band}.tif")
        with rasterio.open(self.maps.folder / place.key(name)) as file:
            return np.asarray(file.read(1))

    @cached_property
    def strata(self) -> Pixels:
        """Class, and 5 where what is stable flickers."""
        kinds, flickers = self.read("class"), self.read("flickers")
        return {
            tile: np.where((kinds[tile] < 2) & (flickers[tile] > 0), 5, kinds[tile])
            for tile in TILES
        }

    @cached_property
    def truth(self) -> Pixels:
        """Class of change from the first year to the last, where the series has data."""
        found = {}
        for seed, tile in enumerate(TILES):
            use = draw_truth(seed=seed).astype(np.uint8)
            changed = combine_classes(use[0], use[-1])
            found[tile] = np.where(self.strata[tile] == 255, 255, changed).astype(np.uint8)
        return found

    def difference(self, tiles: Sequence[Tile] = TILES) -> Pixels:
        """Class of change by the first and the last map."""
        every = draw_whole()
        ends = {tile: every[tile][[0, -1]] for tile in tiles}
        return {
            tile: combine_classes(*np.where(prob == 255, 255, prob > 50))
            for tile, prob in ends.items()
        }

    def draw(self, seed: int, points: int = 360) -> Sample:
        request = SampleRequest(
            Stratifier("mask", series=True), points=points, allocation="equal", seed=seed
        )
        return make_sample(open_frame(self.maps.site(), [NAME], PERIOD, request), request)

    def write(self, folder: Path, sample: Sample) -> AssessRequest:
        """Files of a sample and of its labels: by year, and in words of change."""
        (folder / "sample.geojson").write_text(encode_sample(sample))
        places = zip(map(Tile.parse, sample.tile.tolist()), sample.row, sample.column, strict=True)
        changes = [int(self.truth[tile][row, column]) for tile, row, column in places]
        rows = [("id", *COLUMNS, "change")]
        for name, change in zip(sample.id.tolist(), changes, strict=True):
            years = (change in (1, LOSS), change in (1, GAIN))
            words = [("non-crop", "crop")[crop] for crop in years]
            rows.append((name, *words, CHANGE_NAMES[change]))
        (folder / "labels.csv").write_text("\n".join(map(",".join, rows)) + "\n")
        return AssessRequest(folder / "sample.geojson", (folder / "labels.csv",), change=True)


def hectares(pixels: Pixels, change: int) -> int:
    """Area of a class; a pixel of 100 m is a hectare."""
    return sum(int((each == change).sum()) for each in pixels.values())


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Land:
    maps = make_years(tmp_path_factory.mktemp("years"), whole=True)
    put_model(maps)
    map_series(NAME, PERIOD, maps.site())
    return Land(maps)


@pytest.fixture
def copied(land: Land, tmp_path: Path) -> Land:
    shutil.copytree(land.maps.folder, tmp_path / "results")
    return Land(replace(land.maps, folder=tmp_path / "results"))


def forget(land: Land, year: int, tiles: Sequence[Tile]) -> None:
    """Remove maps of a year."""
    for tile in tiles:
        place = make_place(PRODUCT, Task(tile, NAME, PERIOD.years[year]))
        shutil.rmtree(land.maps.folder / place.folder)


def run(land: Land, *words: object) -> Result:
    return CliRunner(env=land.maps.places).invoke(cropmask, [str(word) for word in words])


def said_by(result: Result) -> str:
    """All words, whether the command ended by itself or with an exception."""
    return " ".join(f"{result.output} {result.exception or ''}".split())


def test_strata_are_the_classes_of_the_series_and_what_flickers(land: Land) -> None:
    sample = land.draw(1)
    design = sample.design
    assert (design.since, design.period, design.factors) == (None, str(PERIOD), ("change",))
    assert design.products == (f"crop_series_{NAME}",)
    assert {each.name: each.hectares for each in design.strata} == {
        name: hectares(land.strata, number) for number, name in enumerate(SERIES_NAMES)
    }
    assert design.unseen_hectares == hectares(land.strata, 255)
    places = list(
        zip(map(Tile.parse, sample.tile.tolist()), sample.row, sample.column, strict=True)
    )
    assert sample.mapped.tolist() == [
        land.strata[tile][row, column] for tile, row, column in places
    ]
    last = {tile: prob[-1] > 50 for tile, prob in draw_whole().items()}
    assert sample.mask.tolist() == [last[tile][row, column] for tile, row, column in places]
    items = land.maps.folder.rglob("*P6Y.stac-item.json")
    keys = [json.loads(path.read_text())["properties"]["cropmask:run_key"] for path in items]
    assert sorted(each.run_key for each in design.tiles) == sorted(keys)


def test_intervals_hold_the_true_change_where_flags_and_maps_are_far_off(
    land: Land, tmp_path: Path
) -> None:
    truth = {change: hectares(land.truth, change) for change in (GAIN, LOSS)}
    held = []
    for seed in range(4):
        request = land.write(tmp_path, land.draw(seed))
        found = open_assessment(land.maps.site(), request).estimate_change()
        for change, true in truth.items():
            area = found.area.hectares.at(change)
            held.append(area.low <= true <= area.high)
        held.append(found.net.low <= truth[GAIN] - truth[LOSS] <= found.net.high)
    assert sum(held) >= 10, held  # 11.4 of 12 are expected at 95 %
    for change, true in truth.items():
        assert hectares(land.strata, change) < true < hectares(land.difference(), change)


def test_commands_from_a_series_to_a_change_that_can_be_published(
    land: Land, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("sample", "--region", NAME, "--period", PERIOD, "--points", "600", "--band", "mask")
    cost = json.loads(run(land, *asked, "--dry-run", "--json").stdout)
    assert cost["tiles"] == len(TILES)
    drawn = run(land, *asked)
    assert drawn.exit_code == 0, drawn.output
    assert f"600 points in 6 strata of the series crop_series_{NAME} 2019 to 2024" in drawn.output
    assert "cropmask area --change --sample sample.geojson --labels LABELS.csv" in drawn.output
    assert "in the columns class_2019 and class_2024" in drawn.output
    sample = load_sample(Path("sample.geojson"))
    land.write(tmp_path, sample)
    given = ("area", "--change", "--sample", "sample.geojson", "--labels", "labels.csv")
    said = run(land, *given)
    assert said.exit_code == 0, said.output
    assert "Cropland from 2019 to 2024, 95 % intervals" in said.output
    assert "BIASED, not for publication: the flags of the series" in said.output
    assert "BIASED, not for publication: the difference of the two maps" in said.output
    text = run(land, *given, "--json").stdout
    document = json.loads(text)
    assert "pixel_count_hectares_biased" not in document["area"]
    found = document["area"]["hectares"]
    (tmp_path / "change.json").write_text(text)
    for_the_web = parse_change(tmp_path / "change.json", NAME)
    assert (for_the_web.since, for_the_web.year) == ("2019", "2024")
    assert for_the_web.areas[0]["estimate"] == found["estimate"][GAIN]
    counts = {"series_flags": land.strata, "map_difference": land.difference()}
    for name, pixels in counts.items():
        for change, word in ((GAIN, "gain"), (LOSS, "loss")):
            counted = hectares(pixels, change)
            assert document[f"{name}_hectares_biased"][word] == counted
            times = document[f"{name}_times_biased"][word]["estimate"]
            assert times == pytest.approx(counted / found["estimate"][change])
            assert found["low"][change] <= hectares(land.truth, change) <= found["high"][change]
    in_words = json.loads(run(land, *given, "--label-change", "change", "--json").stdout)
    assert in_words["area"] == document["area"]


def test_maps_of_a_year_that_are_gone_are_not_compared(
    copied: Land, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forget(copied, -1, TILES[:1])
    sample = copied.draw(3)
    assert (sample.mask[sample.tile == str(TILES[0])] == 255).all()
    copied.write(tmp_path, sample)
    given = ("area", "--change", "--sample", "sample.geojson", "--labels", "labels.csv")
    rest = copied.difference(TILES[1:])
    both = sum(int((each != 255).sum()) for each in rest.values())
    said = said_by(run(copied, *given))
    assert f"difference of the two maps, of {both:,} ha that both have, compared by share" in said
    document = json.loads(run(copied, *given, "--json").stdout)
    counted = hectares(rest, LOSS)
    assert document["map_difference_hectares_biased"]["loss"] == counted
    share = document["area"]["shares"]["estimate"][LOSS]
    times = document["map_difference_times_biased"]["loss"]["estimate"]
    assert times == pytest.approx(counted / both / share)
    forget(copied, 0, TILES[1:])
    said = said_by(run(copied, *given))
    assert "not compared with the difference of maps: no tile has those of 2019 and 2024" in said
    assert "the flags of the series" in said


def test_another_series_or_figure_is_refused(
    copied: Land, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copied.write(tmp_path, copied.draw(3))
    given = ("--sample", "sample.geojson", "--labels", "labels.csv")
    for command in (("area",), ("assess",), ("report", "--region", NAME)):
        assert "from 2019--P1Y to 2024--P1Y: 'cropmask area --change' takes it" in said_by(
            run(copied, *command, *given)
        )
    file = tmp_path / "labels.csv"
    file.write_text(file.read_text().replace("stable other\n", "forest\n"))
    wrong = said_by(run(copied, "area", "--change", *given, "--label-change", "change"))
    assert "answers are no words of change: 'forest': write stable other, stable crop" in wrong
    mixed = run(copied, "area", "--change", *given, "--label-change", "change", "--label", "a")
    assert mixed.exit_code == 2
    assert "--label is of a column a year" in said_by(mixed)
    item = next(copied.maps.folder.rglob("*P6Y.stac-item.json"))
    document = json.loads(item.read_text())
    document["properties"]["cropmask:run_key"] = "f" * 64
    item.write_text(json.dumps(document))
    refused = said_by(run(copied, "area", "--change", *given))
    assert "the strata are of another map: 1 of 2 tiles" in refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--period", "2019--P6Y", "--since", "2019"), "--since is of two maps"),
        (("--period", "2019--P6Y", "--flicker"), "a series has that stratum without it"),
        (("--period", "2019--P6Y", "--prob-strata", "50"), "--prob-strata is of one year's map"),
        (("--period", "2019--P6Y", "--edge-meters", "200"), "--edge-meters is of one year's map"),
        (("--period", "2019--P6Y", "--unlike"), "--unlike is of one year's map"),
        (("--period", "2019--P3Y"), "3 years are too few for a series"),
        (("--period", "2018--P6Y"), "no tile of 2018--P6Y is finished"),
    ],
)
def test_what_no_series_can_be_sampled_by(
    land: Land, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "a.geojson"
    refused = run(land, "sample", "--region", NAME, "--points", "100", "--out", out, *words)
    assert refused.exit_code != 0
    assert said in said_by(refused)
    assert not out.exists()


def test_a_changed_design_is_refused(land: Land) -> None:
    text = encode_sample(land.draw(3, 200))
    refused = {
        "a series has its first year by itself": {"since": "2019--P1Y"},
        "3 years are too few": {"period": "2019--P3Y"},
        "none of those that were sampled": {"period": "2024--P1Y", "since": "2019--P1Y"},
    }
    for said, changes in refused.items():
        document = json.loads(text)
        document["design"] |= changes
        with pytest.raises(ValueError, match=said):
            parse_sample(document)
