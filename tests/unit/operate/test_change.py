"""Change between two years from a sample: holds the truth that the difference of maps misses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from numpy.typing import NDArray

from cropmask.assess.change import ChangeEstimate, combine_classes, estimate_change
from cropmask.assess.design import Sample, encode_sample
from cropmask.assess.draw import Stratifier
from cropmask.assess.samplefiles import encode_geopackage, load_sample
from cropmask.cli.main import cropmask
from cropmask.core.cropmap import CropMap
from cropmask.core.series import GAIN, LOSS
from cropmask.errors import Rejected
from cropmask.grid import CRS, Tile, tile_polygon
from cropmask.operate.assessment import AssessRequest, open_assessment
from cropmask.operate.sample import SampleRequest, make_sample, open_frame
from cropmask.operate.webfigures import parse_change
from cropmask.product import Product
from cropmask.results.finder import make_place
from cropmask.results.publish import put_dataset
from cropmask.site.site import Site, open_site
from cropmask.stac.collection import make_collection
from cropmask.task import Period, RunKey, Task
from tests.results import make_facts

TILES = (Tile(215, 75), Tile(216, 75))
SINCE, BETWEEN, UNTIL = (Period.year_of(year) for year in ("2019", "2021", "2024"))
PLAIN = Product("plain", "1.0.0")
EDGE = 960
COLUMNS = ("class_2019", "class_2024")


@dataclass(frozen=True)
class Land:
    """Maps of two years, and what is true of them."""

    folder: Path
    truth: dict[Tile, NDArray[np.uint8]]
    """Class of change ``(y, x)``."""
    maps: dict[Tile, NDArray[np.uint8]]
    """The same by the two maps."""
    years: dict[Tile, list[NDArray[np.uint8]]]
    """Maps of all years that there are, the first to the last."""

    def site(self) -> Site:
        """Where the maps are."""
        return open_site({}, self.options)

    @property
    def options(self) -> dict[str, Any]:
        """Options of the site."""
        places = {name: str(self.folder / name) for name in ("catalog", "models", "output")}
        return {**places, "resolution": 100, "threads": 1}

    @property
    def words(self) -> list[str]:
        """The same on a command line."""
        names = ("catalog", "models", "output")
        return [word for name in names for word in (f"--{name}", str(self.options[name]))]

    def hectares(self, change: int, arrays: dict[Tile, NDArray[np.uint8]]) -> float:
        """Area of a class; a pixel of 100 m is a hectare."""
        return float(sum((each == change).sum() for each in arrays.values()))

    def label(self, sample: Sample) -> list[tuple[str, str, str]]:
        """Id and true classes of both years of each point."""
        rows = []
        for at, name in enumerate(sample.id.tolist()):
            tile = Tile.parse(str(sample.tile[at]))
            change = int(self.truth[tile][sample.row[at], sample.column[at]])
            rows.append((name, *(("non-crop", "crop")[crop] for crop in years_of(change))))
        return rows

    def draw(self, seed: int, points: int = 240, *, flicker: bool = False) -> Sample:
        """A sample of change."""
        request = SampleRequest(
            Stratifier("filtered", since=True, flicker=flicker),
            points=points,
            allocation="equal",
            seed=seed,
            since=SINCE,
        )
        return make_sample(open_frame(self.site(), ["plain"], UNTIL, request), request)

    def write(self, folder: Path, sample: Sample) -> AssessRequest:
        """Files of a sample with its labels."""
        (folder / "sample.geojson").write_text(encode_sample(sample))
        lines = [",".join(row) for row in [("id", *COLUMNS), *self.label(sample)]]
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")
        return AssessRequest(folder / "sample.geojson", (folder / "labels.csv",), change=True)


def years_of(change: int) -> tuple[bool, bool]:
    """Whether a place of a class of change is crop in the first and in the last year."""
    return change in (1, LOSS), change in (1, GAIN)


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Land:
    """Land of which 2 % change; maps err in patches of 4 x 4 pixels, 10 % each year."""
    folder = tmp_path_factory.mktemp("change")
    rng = np.random.default_rng(4)
    truth, maps, years = {}, {}, {}
    for tile in TILES:
        first = (rng.random((60, 60)) < 0.3).repeat(16, 0).repeat(16, 1)
        turned = (rng.random((60, 60)) < 0.02).repeat(16, 0).repeat(16, 1)
        true = [first, first ^ turned]
        wrong = [(rng.random((240, 240)) < 0.1).repeat(4, 0).repeat(4, 1) for _ in true]
        mapped = [(a ^ b).astype(np.uint8) for a, b in zip(true, wrong, strict=True)]
        mapped[0][:40], mapped[1][:, :20] = 255, 255
        for period, pixels in zip((SINCE, UNTIL), mapped, strict=True):
            put_map(folder, tile, period, pixels)
        years[tile] = mapped
        if tile == TILES[0]:  # the other one has no map of the year between
            middle = (
                np.random.default_rng(5)
                .choice([0, 1, 255], (240, 240))
                .astype(np.uint8)
                .repeat(4, 0)
                .repeat(4, 1)
            )
            put_map(folder, tile, BETWEEN, middle)
            years[tile] = [mapped[0], middle, mapped[1]]
        maps[tile] = combine_classes(*mapped)
        truth[tile] = np.where(maps[tile] == 255, 255, combine_classes(*np.uint8(true)))
    (folder / "catalog").mkdir()
    write_region(folder / "models" / "plain", TILES)
    return Land(folder, truth, maps, years)


def put_map(folder: Path, tile: Tile, period: Period, mask: NDArray[np.uint8]) -> None:
    prob = np.where(mask == 255, 255, 100 * mask).astype(np.uint8)
    store = open_site({}, {"output": folder / "output", "catalog": folder}).store()
    facts = make_facts(tile, PLAIN, period=period, run_key=RunKey(str(period.start.year) * 16))
    box = (28.0, -12.0, 52.0, 18.0)
    place = make_place(PLAIN, Task(tile, "plain", period))
    put_dataset(
        store, place, facts, CropMap(mask, prob, mask), make_collection("Plain", PLAIN, box)
    )


def write_region(folder: Path, tiles: Sequence[Tile]) -> None:
    folder.mkdir(parents=True)
    inside = shapely.buffer(shapely.union_all([*map(tile_polygon, tiles)]), -1, join_style="mitre")
    crs = {"type": "name", "properties": {"name": CRS}}
    document = {**shapely.geometry.mapping(inside), "crs": crs}
    (folder / "boundary.geojson").write_text(json.dumps(document))
    (folder / "region.toml").write_text(
        'name = "plain"\ntitle = "Plain"\nversion = "1.0.0"\nboundary = "boundary.geojson"\n'
    )


def run(*words: str) -> Any:
    return CliRunner().invoke(cropmask, [str(word) for word in words])


def test_strata_are_the_difference_of_the_maps_counted_exactly(land: Land) -> None:
    sample = land.draw(1)
    design = sample.design
    assert (design.since, design.period, design.factors) == ("2019--P1Y", "2024--P1Y", ("change",))
    names = ("stable other", "stable crop", "gain", "loss")
    assert {each.name: each.hectares for each in design.strata} == {
        name: land.hectares(change, land.maps) for change, name in enumerate(names)
    }
    tiles = [Tile.parse(name) for name in sample.tile.tolist()]
    places = zip(tiles, sample.row, sample.column, strict=True)
    assert sample.change is not None
    assert sample.change.tolist() == [land.maps[tile][row, column] for tile, row, column in places]
    keys = {tile.run_key for tile in design.tiles}
    assert keys == {f"{'2019' * 16} {'2024' * 16}"}


def test_what_the_years_between_contradict_is_a_stratum_of_its_own(
    land: Land, tmp_path: Path
) -> None:
    sample = land.draw(5, 320, flicker=True)
    assert sample.design.factors == ("change", "flicker")
    counted: Counter[str] = Counter()
    for tile in TILES:
        stacked = np.stack(land.years[tile], -1).reshape(-1, len(land.years[tile]))
        for years, pixels in zip(*np.unique(stacked, axis=0, return_counts=True), strict=True):
            counted[name_years(tuple(years.tolist()))] += int(pixels)
    counted.pop("")
    assert {each.name: each.hectares for each in sample.design.strata} == counted
    assert {tile.run_key.count(" ") for tile in sample.design.tiles} == {1, 2}
    found = open_assessment(land.site(), land.write(tmp_path, sample))
    change = estimate_change(found.estimate_area())
    gain = change.area.hectares.at(GAIN)
    assert gain.low <= land.hectares(GAIN, land.truth) <= gain.high
    assert change.area.mapped_hectares[GAIN] == land.hectares(GAIN, land.maps)


def name_years(years: tuple[int, ...]) -> str:
    """Stratum of a pixel by its classes in all years; empty if it is not sampled."""
    if 255 in (years[0], years[-1]):
        return ""
    seen = [crop for crop in years if crop != 255]
    changes = sum(a != b for a, b in pairwise(seen))
    names = {(0, 0): "stable other", (1, 1): "stable crop", (0, 1): "gain", (1, 0): "loss"}
    steady = "steady" if changes == (years[0] != years[-1]) else "flicker"
    return f"{names[years[0], years[-1]]}, {steady}"


def test_a_sample_of_change_is_read_back_from_both_kinds_of_files(
    land: Land, tmp_path: Path
) -> None:
    sample = land.draw(2)
    (tmp_path / "a.geojson").write_text(encode_sample(sample))
    (tmp_path / "a.gpkg").write_bytes(encode_geopackage(sample))
    for path in (tmp_path / "a.geojson", tmp_path / "a.gpkg"):
        again = load_sample(path)
        assert again.design == sample.design
        np.testing.assert_array_equal(again.mapped, sample.change)
    import sqlite3

    with sqlite3.connect(tmp_path / "a.gpkg") as base:
        columns = [row[1] for row in base.execute("PRAGMA table_info(points)")]
    assert [name for name in columns if name.startswith("class")] == [*COLUMNS]


def test_intervals_hold_the_true_change_where_the_maps_are_far_off(
    land: Land, tmp_path: Path
) -> None:
    truth = {change: land.hectares(change, land.truth) for change in (GAIN, LOSS)}
    held = []
    for seed in range(12):
        found = estimate(land, tmp_path, seed)
        for change, hectares in truth.items():
            area = found.area.hectares.at(change)
            held.append(area.low <= hectares <= area.high)
            mapped = land.hectares(change, land.maps)
            assert mapped == found.area.mapped_hectares[change]
            times, least, most = found.find_bias(change, mapped)
            assert least < times < most
        net = truth[GAIN] - truth[LOSS]
        held.append(found.net.low <= net <= found.net.high)
    assert sum(held) >= 31, held  # 34 of 36 are expected at 95 %
    assert land.hectares(GAIN, land.maps) > 4 * truth[GAIN]


def estimate(land: Land, folder: Path, seed: int) -> ChangeEstimate:
    request = land.write(folder, land.draw(seed))
    return estimate_change(open_assessment(land.site(), request).estimate_area())


def test_commands_from_two_maps_to_a_change_that_can_be_published(
    land: Land, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("--region", "plain", "--since", "2019", "--period", "2024", "--points", "400")
    drawn = run("sample", *asked, "--allocation", "equal", "--out", "change.geojson", *land.words)
    assert drawn.exit_code == 0, drawn.output
    assert "in 4 strata of change (filtered), crop_mask_plain 2019 to 2024" in drawn.output
    assert "in the columns class_2019 and class_2024" in drawn.output
    assert "cropmask area --change --sample change.geojson --labels LABELS.csv" in drawn.output
    land.write(tmp_path, load_sample(Path("change.geojson")))
    given = ("--sample", "change.geojson", "--labels", "labels.csv", *land.words)
    said = run("area", "--change", *given)
    assert said.exit_code == 0, said.output
    assert "Cropland from 2019 to 2024, 95 % intervals" in said.output
    assert "BIASED, not for publication: the difference of the two maps" in said.output
    text = run("area", "--change", *given, "--json").stdout
    document = json.loads(text)
    (tmp_path / "change.json").write_text(text)
    for_the_web = parse_change(tmp_path / "change.json", "plain")
    assert (for_the_web.since, for_the_web.year) == ("2019", "2024")
    times = document["map_difference_times_biased"]["gain"]
    hectares = document["area"]["hectares"]
    mapped = document["area"]["pixel_count_hectares_biased"][GAIN]
    assert times["estimate"] == pytest.approx(mapped / hectares["estimate"][GAIN])
    assert hectares["low"][GAIN] <= land.hectares(GAIN, land.truth) <= hectares["high"][GAIN]
    assert document["since"] == "2019--P1Y"


def test_labels_of_one_year_leave_a_point_without_a_class(land: Land, tmp_path: Path) -> None:
    request = land.write(tmp_path, land.draw(3))
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    first, second = lines[1].split(","), lines[2].split(",")
    lines[1], lines[2] = f"{first[0]},unsure,{first[2]}", f"{second[0]},{second[1]},unsure"
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    labels = open_assessment(land.site(), request).labels
    assert labels.missing == 2
    assert "without class  1 in the first year, 1 in the last" in "\n".join(labels.describe())


def test_other_names_of_the_columns(land: Land, tmp_path: Path) -> None:
    request = land.write(tmp_path, land.draw(3))
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(text.replace("class_2019,class_2024", "before,now"))
    with pytest.raises(Rejected, match="class_2019"):
        open_assessment(land.site(), request)
    columns = replace(request.columns, label="now", since="before")
    found = open_assessment(land.site(), replace(request, columns=columns))
    assert found.labels.missing == 0


def test_what_is_no_sample_of_change_or_no_other_figure_is_refused(
    land: Land, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    land.write(tmp_path, land.draw(3))
    given = ("--sample", "sample.geojson", "--labels", "labels.csv", *land.words)
    for command in (("area",), ("assess",), ("report", "--region", "plain")):
        refused = run(*command, *given)
        assert refused.exit_code != 0
        assert "'cropmask area --change' takes it" in refused.output + str(refused.exception)
    one = ("sample", "--region", "plain", "--period", "2024", "--points", "100", *land.words)
    assert run(*one, "--out", "one.geojson").exit_code == 0
    refused = run("area", "--change", "--sample", "one.geojson", *given[2:])
    assert "draw one with 'cropmask sample --since'" in refused.output + str(refused.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "2024"), "--since 2024--P1Y must be over before --period 2024--P1Y begins"),
        (("--since", "2019", "--edge-meters", "200"), "--edge-meters is of one map"),
        (("--since", "2023", "--flicker"), "no year lies between --since 2023--P1Y and --period"),
        (("--flicker",), "--flicker is of --since"),
        (("--since", "2018"), "no tile of 2018--P1Y and of 2024--P1Y is finished"),
    ],
)
def test_years_that_cannot_be_sampled(
    land: Land, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    asked = (
        "--region",
        "plain",
        "--period",
        "2024",
        "--points",
        "100",
        "--out",
        tmp_path / "a.gpkg",
    )
    refused = run("sample", *asked, *words, *land.words)
    assert refused.exit_code != 0
    assert said in refused.output + str(refused.exception)
