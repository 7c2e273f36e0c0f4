"""``cropmask sample``: files, refusals, and the size that a target needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import shapely
from click.testing import CliRunner, Result
from pyproj import Transformer

from cropmask.assess.samplefiles import load_sample
from cropmask.cli.area import report
from cropmask.cli.assess import assess
from cropmask.cli.sample import sample
from cropmask.errors import CropmaskError, Misconfigured, Rejected
from tests.demo_run import EASTERN, Results


def run(results: Results, folder: Path, *words: str, region: str = "eastern") -> Result:
    places = {
        "CROPMASK_CATALOG": str(results.world),
        "CROPMASK_MODELS": str(results.models),
        "CROPMASK_OUTPUT": str(results.folder),
    }
    given = ["--region", region, "--out", str(folder / "sample.geojson"), *words]
    return CliRunner(env=places).invoke(sample, given)


def error_of(result: Result) -> CropmaskError:
    assert isinstance(result.exception, CropmaskError), result.output
    return result.exception


def test_a_sample_and_its_imports(results: Results, tmp_path: Path) -> None:
    words = ("--points", "80", "--partial", "--allocation", "equal", "--ceo", f"{tmp_path}/c.csv")
    found = run(results, tmp_path, *words)
    assert found.exit_code == 0, found.output
    assert "80 points in 2 strata of filtered, crop_mask_eastern 2019" in found.output
    assert "SYNTHETIC" in found.output
    drawn = load_sample(tmp_path / "sample.geojson")
    assert [stratum.sampled for stratum in drawn.design.strata] == [40, 40]
    assert len(drawn.design.missing_tiles) == 386
    assert len((tmp_path / "c-points.csv").read_text().splitlines()) == 81
    before = (tmp_path / "sample.geojson").read_bytes()
    again = run(results, tmp_path, *words, "--json")
    assert (tmp_path / "sample.geojson").read_bytes() == before
    assert json.loads(again.stdout)["points"] == 80
    other = run(results, tmp_path, *words, "--seed", "1")
    said = str(error_of(other))
    assert said == (
        f"{tmp_path}/sample.geojson is there, with another sample: name another file with --out, "
        "or replace it with --overwrite"
    )
    plots = (tmp_path / "c.csv").read_bytes()
    moved = run(results, tmp_path, *words, "--seed", "1", "--out", f"{tmp_path}/other.gpkg")
    assert f"{tmp_path}/c.csv is there" in str(error_of(moved))
    assert not (tmp_path / "other.gpkg").exists()
    assert (tmp_path / "sample.geojson").read_bytes() == before
    assert (tmp_path / "c.csv").read_bytes() == plots
    other = run(results, tmp_path, *words, "--seed", "1", "--overwrite")
    assert other.exit_code == 0
    assert (tmp_path / "sample.geojson").read_bytes() != before
    package = (*words[:5], "--out", f"{tmp_path}/again.gpkg")
    assert [run(results, tmp_path, *package).exit_code for _ in range(2)] == [0, 0]


def test_points_for_a_target(results: Results, tmp_path: Path) -> None:
    words = ("--standard-error", "0.012", "--allocation", "neyman", "--partial")
    found = run(results, tmp_path, *words, "--prob-strata", "50", "--edge-meters", "200")
    assert found.exit_code == 0, found.output
    line = next(line for line in found.output.splitlines() if "standard error" in line)
    assert 1.15 < float(line.split(": ")[1].split()[0]) <= 1.2
    factors = load_sample(tmp_path / "sample.geojson").design.factors
    assert factors == ("class", "prob", "edge")


def test_districts_are_strata(results: Results, tmp_path: Path) -> None:
    left, bottom, right, top = EASTERN[0].bounds
    middle = (left + right) / 2
    to_degrees = Transformer.from_crs("EPSG:6933", "OGC:CRS84", always_xy=True)
    features = []
    for name, a, b in (("West", left, middle), ("East", middle, right)):
        (x, z), (y, w) = to_degrees.transform([a, b], [bottom, top])
        geometry = json.loads(shapely.to_geojson(shapely.box(x, y, z, w)))
        features.append({"type": "Feature", "geometry": geometry, "properties": {"name": name}})
    file = tmp_path / "districts.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    words = ("--points", "200", "--partial", "--districts", str(file))
    found = run(results, tmp_path, *words)
    assert found.exit_code == 0, found.output
    drawn = load_sample(tmp_path / "sample.geojson")
    parts = [stratum.name.partition(", ")[2] for stratum in drawn.design.strata]
    assert set(parts) == {"West", "East", "elsewhere"}
    for at in range(len(drawn)):
        name = drawn.design.strata[drawn.stratum[at]].name.partition(", ")[2]
        assert drawn.district[at] == ("" if name == "elsewhere" else name)


@pytest.mark.parametrize(("near", "refused"), [(True, False), (False, True)])
def test_districts_without_a_pixel_are_named(
    results: Results, tmp_path: Path, caplog: pytest.LogCaptureFixture, near: bool, refused: bool
) -> None:
    to_degrees = Transformer.from_crs("EPSG:6933", "OGC:CRS84", always_xy=True)
    left, bottom, right, top = EASTERN[0].bounds
    (x, z), (y, w) = to_degrees.transform([left, right], [bottom, top])
    boxes = {
        "Far, away": shapely.box(10, 50, 11, 51),
        **({"Near": shapely.box(x, y, z, w)} if near else {}),
    }
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(box)),
            "properties": {"name": name},
        }
        for name, box in boxes.items()
    ]
    file = tmp_path / "districts.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = run(results, tmp_path, "--points", "200", "--partial", "--districts", str(file))
    if refused:
        assert "none of 1 districts has a pixel of the map (Far, away)" in str(error_of(found))
        assert not (tmp_path / "sample.geojson").exists()
    else:
        assert found.exit_code == 0, found.output
        assert "1 of 2 districts have no pixel of the map and no points: Far, away" in caplog.text


def test_more_points_than_a_sample_may_have_are_refused_before_reading(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cropmask.operate.sample.count_frame", lambda *_: pytest.fail("it reads"))
    found = run(results, tmp_path, "--points", "6000", "--plots", "3", "--partial")
    assert "54,000 points are more than a sample may have, 50,000" in str(error_of(found))


def test_a_dry_run_tells_what_it_costs(results: Results, tmp_path: Path) -> None:
    found = run(results, tmp_path, "--points", "80", "--partial", "--dry-run", "--json")
    cost = json.loads(found.stdout)
    assert cost["tiles"] == 2
    assert cost["bytes"] > 10_000
    assert cost["memory"] < 2e8
    assert not (tmp_path / "sample.geojson").exists()


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (("--points", "80"), Rejected, "386 of 388 tiles have no result"),
        (("--points", "10", "--partial"), Rejected, "too few for 2 strata"),
        (("--points", "80", "--partial", "--unlike"), Rejected, "no band 'dissimilarity'"),
        (
            ("--points", "80", "--partial", "--period", "2020"),
            Rejected,
            "there are maps of 2019--P1Y; map this year first: 'cropmask submit --region ",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(
    results: Results, tmp_path: Path, words: tuple[str, ...], kind: type, says: str
) -> None:
    error = error_of(run(results, tmp_path, *words))
    assert isinstance(error, kind)
    assert says in str(error)
    assert "\n" not in str(error)
    assert not (tmp_path / "sample.geojson").exists()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--points", "80", "--standard-error", "0.01"),
        ("--points", "80", "--prob-strata", "50,20"),
        ("--points", "80", "--expect", "1.5,0"),
        ("--points", "80", "--name-column", "name"),
        ("--points", "80", "--ceo", "plots.txt"),
        ("--points", "80", "--partial", "--edge-meters", "50"),
        ("--points", "1000000"),
        ("--points", "80", "--out", "no/such/folder/sample.geojson"),
    ],
)
def test_misuse_ends_with_two(results: Results, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(results, tmp_path, *words).exit_code == 2


def test_a_file_of_others_is_kept(results: Results, tmp_path: Path) -> None:
    (tmp_path / "sample.geojson").write_text("mine")
    error = error_of(run(results, tmp_path, "--points", "80", "--partial"))
    assert isinstance(error, Misconfigured)
    assert (tmp_path / "sample.geojson").read_text() == "mine"


def test_a_report_names_its_folder_before_it_reads_anything(tmp_path: Path) -> None:
    page = tmp_path / "no-folder" / "page.html"
    words = ("--region", "eastern", "--sample", "none.geojson", "--labels", "none.csv")
    found = CliRunner().invoke(report, [*words, "--out", str(page)])
    assert found.exit_code == 2, found.output
    assert f"the folder of '{page}' is not there: make it" in found.output


def test_maps_whose_items_are_missing_are_told_from_those_that_are_not_there(
    results: Results, tmp_path: Path
) -> None:
    copied = results.copied(tmp_path / "copied")
    for item in copied.items():
        item.unlink()
    line = f"'cropmask submit --region {copied.models}/eastern/region.toml --period 2019--P1Y'"
    said = str(error_of(run(copied, tmp_path, "--points", "80")))
    assert "files of x221y075, x222y075 are there, but the items" in said
    assert line in said
    labels = tmp_path / "labels.csv"
    labels.write_text("id,lon,lat,class\n1,39.0,1.0,crop\n")
    places = {"CROPMASK_OUTPUT": str(copied.folder), "CROPMASK_MODELS": str(copied.models)}
    words = ("--labels", str(labels), "--region", "eastern")
    assert "but the items" in str(error_of(CliRunner(env=places).invoke(assess, words)))
    shutil.rmtree(copied.folder)
    said = str(error_of(run(copied, tmp_path, "--points", "80")))
    assert (
        f"is finished in {copied.folder}/crop_mask_eastern/1-1-0: map the region first: {line}"
        in said
    )
