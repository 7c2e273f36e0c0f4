"""The benchmarks at tiny sizes: that they run and mean what they say, never how fast."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from sklearn.ensemble import RandomForestClassifier

from benchmarks import __main__ as everything
from benchmarks import (
    change,
    coverage,
    expressions,
    files,
    forest,
    job,
    network,
    objects,
    operating,
    part,
    peers,
    reference,
    seams,
    segmentation,
    series,
    tile,
    years,
)
from benchmarks.measure import Result, Usage, put_results, run_module, table
from benchmarks.models import Models, draw_scene, fit_models, load_real_scene
from cropmask.core.features import features, observed
from cropmask.operate import fitseries
from tests.shareddata import SHARED, needs_shared

MODULES = {"scikit-learn-intelex": "daal4py"}
"""Packages whose module has another name."""


TINY: dict[str, dict[str, Any]] = {
    "change": {"draws": 60, "points": (240,), "seeds": 1, "edge": 96, "fallow": (0.0,)},
    "expressions": {"rows": 8, "rounds": 1, "edge": 64},
    "files": {"rounds": 1},
    "forest": {"width": 72, "rounds": 2, "seconds": 0, "real": Path("absent")},
    "operating": {"messages": (3, 5), "records": 7},
    "network": {"cases": (("boosted", 100, (0,)),), "resolution": 100, "moto_resolution": 100},
    "reference": {"edges": (48, 96)},
    "segmentation": {"edges": (64, 96)},
    "tile": {"edges": (64,), "threads": (1,), "recipes": ("boosted",)},
    "years": {"seeds": 1, "years": (6,), "edge": 128},
}


Program = Callable[[str, str], Any]
"""Runs a benchmark as the command line would, on models that are at hand; what it found."""


@pytest.fixture(scope="module")
def models() -> Models:
    return fit_models(None, trees=7)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, demo_cache: Path) -> None:
    monkeypatch.setenv("CROPMASK_CACHE", str(demo_cache))


def run_program(
    module: Any, words: list[str], models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run a program of the benchmarks as the command line would, on models that are at hand."""
    monkeypatch.setattr(module, "fit_models", lambda *_: models, raising=False)
    monkeypatch.setattr("sys.argv", ["benchmark", *words])
    module.main()


@pytest.fixture
def program(models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    for module in (change, expressions, forest, network, operating, years):
        monkeypatch.setattr(module, "QUICK", TINY[module.__name__.rpartition(".")[2]])
    monkeypatch.chdir(tmp_path)

    def run(name: str, words: str) -> Any:
        output = tmp_path / "out.json"
        module = import_module(f"benchmarks.{name}")
        run_program(module, [*words.split(), "--output", str(output)], models, monkeypatch)
        document = json.loads(output.read_text())
        assert document.keys() == {"machine", name}
        return document[name]

    return run


def test_the_forest_is_compared_before_it_is_timed(program: Program) -> None:
    found = program("forest", "--quick")
    text = forest.report(found)
    for model in found["recipes"].values():
        assert list(model["scenes"]) == ["made-up", "made-up, shuffled"]
        for scene in model["scenes"].values():
            assert 0 < scene["pixels"] <= 8 * 8 * 72
            assert scene["flips"] == 0
            assert scene["worst"] == pytest.approx(0, abs=1e-6)
            speeds = scene["speeds"]
            assert speeds[forest.BASELINE]["ratio"] == [1, 1, 1], "of the same model"
            for speed in speeds.values():
                median, low, high = speed["mpx_s"]
                assert 0 < low <= median <= high
            assert all(f"| {name} |" in text for name in speeds)
    assert "pixels of the demo world" in text
    assert "No real pixels: absent is not there." in text


def test_a_peer_that_is_not_there_is_a_line(
    models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_fitted: object, _folder: Path) -> Any:
        raise ValueError("too old")

    there = {
        "mine": ("numpy", lambda fitted, _: lambda x: 1 - fitted.estimator.predict_proba(x)[:, 1])
    }
    absent = {"none": ("no-such-package", fail), "broken": ("numpy", fail)}
    monkeypatch.setattr(peers, "PEERS", there | absent)
    found = forest.measure(models, width=72, rounds=1, seconds=0, real=tmp_path / "absent")
    text = forest.report(found)
    assert text.count("Not measured: none, no-such-package is not installed.") == 2
    assert text.count("Not measured: broken, it fails: ValueError: too old.") == 2
    for model in found["recipes"].values():
        speeds = model["scenes"]["made-up"]["speeds"]
        assert (
            speeds[f"mine {np.__version__}"]["flips"] > 0.9 * model["scenes"]["made-up"]["pixels"]
        )


@pytest.mark.parametrize("recipe", ["forest", "boosted"])
@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peer_is_given_the_same_model(
    name: str, recipe: Any, models: Models, tmp_path: Path
) -> None:
    package, open_peer = peers.PEERS[name]
    if find_spec(MODULES.get(package, package)) is None:
        pytest.skip(f"{package} is not installed: make bench installs it")
    fitted = models.by_recipe[recipe]
    x = np.ascontiguousarray(features(draw_scene(8, 72, places=2)).reshape(33, -1).T)
    theirs = fitted.estimator.predict_proba(x)[:, 1]
    ours = open_peer(fitted, tmp_path)(x)
    assert ours.shape == theirs.shape
    if name == "oneDAL":  # its thresholds are rounded: pixels take other leaves, labels mostly stay
        assert np.mean((ours > 0.5) != (theirs > 0.5)) < 0.02
    else:
        assert np.abs(ours - theirs).max() < 1e-5


@needs_shared("hesbaye")
def test_the_real_scene_is_made_of_real_pixels() -> None:
    strip = load_real_scene(SHARED / "hesbaye")
    assert strip is not None
    assert strip.shape == (8, 9 * 142)
    band = next((SHARED / "hesbaye").rglob("*2021-01--P6M_B02.tif"))
    with rasterio.open(band) as raster:
        pixels = raster.read(1)
    assert (strip.first.reflectance[0, :, :142] == pixels[:8]).all()
    assert (strip.first.reflectance[0, :, -142:] == pixels[64:72]).all()
    assert (np.isfinite(strip.slope) == observed(strip.first)).all()
    assert load_real_scene(Path("absent")) is None


def test_a_forest_that_differs_is_not_timed(models: Models) -> None:
    strip = draw_scene(8, 72, places=2)
    x = np.ascontiguousarray(features(strip).reshape(33, -1).T)
    labels = np.arange(len(x)) % 2
    wrong = replace(models.by_recipe["forest"], estimator=RandomForestClassifier(2).fit(x, labels))
    with pytest.raises(AssertionError, match="differ"):
        forest.check_exact(wrong, strip, forest.rank_blocks(wrong, strip), x)


def test_segmentation_has_a_line_for_each_size(program: Program) -> None:
    """Each in a process of its own, whose peak is that of the segmentation alone."""
    found = program("segmentation", "--edges 64,96")
    assert [run["edge"] for run in found["runs"]] == [64, 96]
    assert all(run["segments"] > 0 and run["peak"] >= run["peak_after"] for run in found["runs"])
    assert segmentation.report(found).count("\n| ") == 2 + len(found["runs"])


def test_results_are_kept_with_the_machine(tmp_path: Path) -> None:
    put_results(tmp_path / "out.json", {"segmentation": {"runs": [1]}})
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["segmentation"] == {"runs": [1]}
    assert document["machine"]["cpus"] >= 1


def test_a_process_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="ended with 1"):
        run_module("benchmarks.part", {})


@pytest.mark.usefixtures("cache")
def test_a_tile_is_measured_by_size_and_threads(program: Program) -> None:
    """Each in a process of its own, as everything that is measured."""
    found = program("tile", "--edges 64 --threads 1,2 --models boosted --resolution 100")
    one, two = found["runs"]
    assert (one["threads"], two["threads"]) == (1, 2)
    assert one["mapped_hectares"] == two["mapped_hectares"] > 0
    assert one["bytes"] == two["bytes"] > 0
    for run in found["runs"]:
        assert 0 < sum(run["stages"].values()) <= run["cpu"]
        assert 0 < run["first_strip"] < run["wall"]
        assert run["peak"] > 50e6
    text = tile.report(found)
    assert "published, as reserved" in text
    assert "64 px x 22500.00" in text


def run_here(name: str, request: dict[str, Any]) -> Usage:
    """The same work without the seconds that a process takes to begin."""
    if name == "benchmarks.segmentation":
        found = segmentation.run(request["edge"], request["noise"])
    else:
        found = import_module(name).run({**request, "launched": time.time()})
    return Usage(cpu=2.0, wall=1.0, peak=10**9, answer=found)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, cache: None) -> None:
    """Measured work runs in the process of the tests, which keeps its CPUs and its heap."""
    for module in (expressions, network, reference, seams, segmentation, tile):
        monkeypatch.setattr(module, "run_module", run_here)
    for module in (part, job):
        for name in ("keep_cpus", "keep_heap_small"):
            monkeypatch.setattr(module, name, lambda *_: None)


@pytest.mark.usefixtures("in_this_process")
def test_the_published_way_gives_the_same_mask(program: Program) -> None:
    found = program("reference", "--edges 48,96 --resolution 100")
    assert [run["equal"]["mask"] for run in found["runs"]] == [1.0, 1.0]
    assert found["runs"][1]["published"]["segments"] > 1
    text = reference.report(found)
    assert "EXTRAPOLATED" in text
    assert "100.0000 percent" in text
    whole = {"recipe": "forest", "threads": 1, "mpx": 92.16, "cpu": 1.0, "peak": 1e9}
    boosted = {**whole, "recipe": "boosted"}
    text = reference.compare_whole(found, {"runs": [whole, boosted]})
    assert "| forest, 1 thread |" in text
    assert "boosted" not in text, "the published way is a forest"
    assert "No whole tile" in reference.compare_whole(found, {"runs": []})


@pytest.mark.usefixtures("in_this_process")
def test_a_job_over_a_network_needs_no_more_than_it_must(program: Program) -> None:
    found = program("network", "--quick")
    places = {(run["place"], run["requests"] > 0) for run in found["runs"]}
    assert places == {("local", False), ("http, 0 ms", True), ("s3, 0 ms", True), ("moto", True)}
    for run in found["runs"]:
        if run["requests"]:
            assert run["band_bytes"] <= 1.02 * run["needed"]
            assert run["band_requests"] <= 3
    text = network.report(found)
    assert text.count("\n| boosted, 100 m, ") == 5
    assert "| boosted, 100 m, local |" in text


@pytest.mark.usefixtures("cache")
def test_what_a_coarse_job_needs_is_an_overview() -> None:
    inputs = network.ensure_inputs(100)
    whole, part = (network.find_needed(inputs, resolution) for resolution in (100, 400))
    assert whole.keys() == part.keys()
    assert len(whole) == 24
    assert all(0 < part[name] < whole[name] for name in whole)


def test_extrapolation_is_a_straight_line() -> None:
    runs = [
        {"mpx": 1.0, "published": {"cpu": 12.0, "peak": 700e6}},
        {"mpx": 3.0, "published": {"cpu": 32.0, "peak": 900e6}},
    ]
    line = reference._extrapolate(runs, "published")
    assert line["cpu"] == pytest.approx(2 + 10 * 92.16)
    assert line["peak"] == pytest.approx(600e6 + 100e6 * 92.16)


def test_the_price_is_that_of_the_machines_that_jobs_fill() -> None:
    price = tile.Price()
    assert price.jobs(12, 120.0) == 4
    assert price.per_tile(**tile.ORIGINAL) == pytest.approx(0.20)
    assert price.jobs(2, 2.5) == 32
    assert price.jobs(1, 16.0) == 32
    assert price.per_tile(2, 2.5, 3600) == pytest.approx(1.20 / 32)


def test_plain_objects_are_those_of_the_published_steps() -> None:
    colors = np.zeros((2, 12, 12), np.uint8)
    colors[:, :, 6:] = 200
    colors[:, 3, 2] = 40  # a single pixel joins whatever is around it
    colors[:, 8:10, 8:10] = 180  # four pixels join the nearest larger segment
    valid = np.ones((12, 12), bool)
    valid[0] = False
    clusters = np.where(valid, np.unique(colors[0], return_inverse=True)[1], -1)
    labels = objects.clump(clusters.astype(np.int32), valid)
    assert np.unique(labels).size == 5
    objects.attach_singles(labels, colors)
    assert labels[3, 2] == labels[3, 3]
    final = objects.eliminate(labels, colors, 10, 100.0)
    assert (final[0] == 0).all()
    assert np.unique(final[1:, :6]).size == np.unique(final[1:, 6:]).size == 1
    assert final[5, 0] != final[5, 11]
    far = objects.eliminate(labels, colors, 10, 1.0)
    assert np.unique(far[1:, 6:]).size == 2
    crop = np.zeros((12, 12), bool)
    crop[1:, 6:10] = True
    assert (objects.majority(final, crop)[1:] == (np.arange(12) >= 6)).all()


def test_plain_segmentation_covers_what_is_valid() -> None:
    ndvi = segmentation.make_scene(128).astype(np.float32)
    valid = ndvi[0] != -32768
    valid[:5] = False
    labels = objects.segment(objects.stretch(ndvi, valid), valid)
    assert ((labels > 0) == valid).all()
    sizes = np.bincount(labels[valid])
    assert (sizes[sizes > 0] >= 2).all()


def test_tables_are_markdown() -> None:
    assert table(("a", "b"), [("x", 1)]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_every_model_file_is_measured() -> None:
    found = files.measure(rounds=1)
    assert len(found["files"]) >= 8
    for file in found["files"]:
        assert file["bytes"] <= 2e6
    assert files.report(found).count("\n| ") == 1 + len(found["files"])


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expressions", "--quick --resolution 100 --samples absent"),
        ("files", "--rounds 1"),
        ("operating", "--quick"),
        ("seams", "--resolution 100 --recipes boosted"),
    ],
)
def test_other_benchmarks_are_programs_too(name: str, words: str, program: Program) -> None:
    assert program(name, words)


@pytest.mark.usefixtures("in_this_process")
def test_benchmarks_run_in_one_program(
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(everything.SIZES, True, TINY)
    output = tmp_path / "out.json"
    # Each has been a program of its own above: here some stand for all.
    names = ("files", "reference", "tile", "operating")
    words = ["--quick", "--resolution", "100", "--output", str(output), "--only", ",".join(names)]
    run_program(everything, words, models, monkeypatch)
    assert json.loads(output.read_text()).keys() == {"machine", *names}
    printed = capsys.readouterr().out
    assert printed.count("\n## ") == len(names) + 1
    assert "## Whole tile against the published way" in printed


def test_coverage_is_measured_of_every_design(tmp_path: Path) -> None:
    found = coverage.measure(draws=40, points=(50,), shares=(0.02, 0.3))
    assert len(found["runs"]) == 2 * 3
    for run in found["runs"]:
        for method in ("mover", "wilson", "normal"):
            for mean, least, most in run["coverage"][method].values():
                assert 0 <= least <= mean <= most <= 1
    rare = found["runs"][1]
    assert rare["allocation"] == "equal"
    assert rare["coverage"]["mover"]["area"][0] > 0.9 > rare["coverage"]["normal"]["area"][0]
    assert min(rare["pixel_count_bias"]) < -0.1, "a count of pixels is wrong however many there are"
    text = coverage.report(found)
    assert text.count("\n| 0.02, 50, ") == 3
    assert text.count(f"| {coverage.PLOTS}, ") == 2
    put_results(tmp_path / "out.json", {"coverage": found})
    assert json.loads((tmp_path / "out.json").read_text())["coverage"] == found


def test_made_up_maps_have_the_accuracies_that_were_asked_for() -> None:
    figures = coverage.make_truth(0.1, 0.8, 0.9).figures
    assert figures["area"] == pytest.approx(0.1, abs=1e-6)
    assert figures["producer's"] == pytest.approx(0.8, abs=1e-6)
    assert figures["user's"] == pytest.approx(0.9, abs=1e-5)
    assert figures["F1"] == pytest.approx(2 * 0.8 * 0.9 / 1.7, abs=1e-5)


def test_coverage_is_a_program_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(coverage, "QUICK", {"draws": 20, "points": (50,), "shares": (0.1,)})
    output = tmp_path / "out.json"
    monkeypatch.setattr("sys.argv", ["coverage", "--quick", "--output", str(output)])
    coverage.main()
    assert json.loads(output.read_text()).keys() == {"machine", "coverage"}


def test_intervals_of_change_hold_the_truth_that_counts_of_pixels_miss(program: Program) -> None:
    found = program("change", "--quick")
    lands = ("two maps, patches", "two maps", "series")
    assert [run["land"] for run in found["runs"]] == [land for land in lands for _ in range(3)]
    for run in found["runs"]:
        for methods in run["figures"].values():
            assert methods["mover"]["coverage"] > 0.8, run
            for held in methods.values():
                assert held["coverage"] + held["above"] + held["below"] == pytest.approx(1)
    assert found["bias"]["series"]["gain"] < 1 < found["bias"]["two maps"]["gain"]
    assert change.report(found).count("\n| two maps, patches, 240 | ") == 1


def test_years_smoothed_find_changes_better_than_two_masks(program: Program) -> None:
    found = program("years", "--quick")
    assert [(run["years"], run["fallow"] > 0) for run in found["runs"]] == [(6, False), (6, True)]
    ways = [seed["ways"] for seed in found["runs"][0]["seeds"]]
    for name in ("precision", "F1"):
        means = {way: np.mean([seed[way][name] for seed in ways]) for way in years.WAYS}
        assert means["series"] > means["naive"]
    text = years.report(found)
    assert text.count("\n| 6, ") == 9
    assert "| 6, fallow, truth |" in text
    assert years.summarize([0.2, 0.4]) == pytest.approx((0.3, 0.104, 0.496))


def test_made_up_years_change_at_the_rates_of_their_world() -> None:
    world = years.World(gain=0.1, loss=0.2, fallow=0.5)
    made = years.draw_years(1, world, 6, edge=128)
    before, after = made.use[:-1], made.use[1:]
    assert after[~before].mean() == pytest.approx(0.1, abs=0.05)
    assert (~after)[before].mean() == pytest.approx(0.2, abs=0.08)
    assert made.prob[made.use].mean() > made.prob[~made.use].mean() + 10
    assert years.compare(np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 1], bool)) == {
        "precision": 0.5,
        "recall": 1 / 3,
        "F1": 0.4,
        "share": 0.5,
    }


def test_a_tile_of_years_is_made_as_the_command_makes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here without a process of its own, and of few pixels."""

    def run(name: str, request: Result) -> Usage:
        assert name == series.__name__
        return Usage(1.0, 2.0, 10**9, series.run(request))

    monkeypatch.setattr(years, "run_module", run)
    monkeypatch.setattr(years, "TILE_EDGE", 96)
    monkeypatch.setattr(fitseries, "MOST_PIXELS", 8000)
    monkeypatch.setattr("sys.argv", ["years", "--tile", "100"])
    years.main()
    said = capsys.readouterr().out
    assert "| one tile | 1.0 | 2.0 | 1.00 |" in said
    assert re.search(r"of 0\.92 Mpx, CPU s: start \S+, search \S+, load \S+, smooth", said)
