"""``cropmask-job`` as a user types it: results, one-line errors, documented exit codes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pystac
import pytest
import rasterio
from rio_cogeo import cog_validate

from cropmask.contract import ExitCode
from cropmask.grid import Tile, geobox
from cropmask.modelfile.importer import import_joblib
from cropmask.modelfile.model import write_model
from cropmask.region.region import load_region
from cropmask.testing.world.demoworld import ensure_world
from tests.shareddata import needs_shared, shared

TILE = ("--tile", "x10y20", "--region", "eastern")
QUICK = ("--resolution", "100")
QUICKEST = (*QUICK, "--model", "boosted")
"""Where any model will do: the forest takes three times as long."""
DATASET = "crop_mask_eastern/1-1-0/x010/y020/2019--P1Y"
LABEL = "crop_mask_eastern_x010y020_2019--P1Y"

Outcome = subprocess.CompletedProcess[str]


class Job:
    """Runs the program in an empty folder, as a process of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CROPMASK_")}
        self.environ = {**kept, "CROPMASK_CACHE": str(cache), "HOME": str(folder)}
        self.environ |= {"http_proxy": "", "https_proxy": "", "CROPMASK_CONFIG": os.devnull}

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from cropmask.cli.job import main; main()", *words],
            cwd=self.folder,
            env={**self.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Outcome:
        process = self.start(*words, env=env)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def files(self, folder: str = "output") -> list[str]:
        root = self.folder / folder
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@pytest.fixture
def job(tmp_path: Path, demo_cache: Path) -> Job:
    return Job(tmp_path, demo_cache)


def assert_one_line(outcome: Outcome, code: ExitCode, *words: str) -> None:
    """One clear line on stderr, the documented exit code, nothing on stdout."""
    assert outcome.returncode == code, outcome.stderr
    lines = [line for line in outcome.stderr.splitlines() if '"level": "info"' not in line]
    assert len(lines) == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word in lines[0]
    assert outcome.stdout == ""


def test_with_no_configuration_the_demo_world_is_mapped(job: Job) -> None:
    outcome = job(*TILE, *QUICK, "--log-format", "text")
    assert outcome.returncode == ExitCode.DONE, outcome.stderr
    assert "SYNTHETIC" in outcome.stdout
    assert f"{DATASET}/{LABEL}_thumbnail.png" in outcome.stdout
    suffixes = "_mask.tif _prob.tif _filtered.tif _visual.tif _thumbnail.png .odc-metadata.yaml"
    names = [f"{LABEL}{end}" for end in [*suffixes.split(), ".sha1", ".stac-item.json"]]
    collection = "crop_mask_eastern/collection.json"
    assert job.files() == sorted(["catalog.json", collection, *(f"{DATASET}/{n}" for n in names)])
    folder = job.folder / "output" / DATASET
    for band in ("mask", "prob", "filtered", "visual"):
        path = folder / f"{LABEL}_{band}.tif"
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (errors, warnings)
    with rasterio.open(folder / f"{LABEL}_prob.tif") as raster:
        box = geobox(Tile(10, 20), 100)
        assert (raster.crs.to_epsg(), raster.nodata) == (6933, 255)
        assert raster.transform == box.affine
        assert len(set(raster.read(1).ravel())) > 50
    item = pystac.Item.from_file(str(folder / f"{LABEL}.stac-item.json"))
    assert item.properties["cropmask:synthetic"] is True
    assert item.properties["title"].startswith("SYNTHETIC")
    assert 0 < item.properties["cropmask:statistics"]["crop_hectares"] < 921_600
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    program = "from cropmask.cli.main import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", program, *shlex.split(outcome.stdout.splitlines()[-1])[1:]],
        cwd=job.folder,
        env=job.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (ExitCode.DONE, "")
    assert f"{LABEL}.png" in shown.stdout
    assert (job.folder / f"{LABEL}.png").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count in other units")
def test_the_profile_says_the_peak_that_others_measure(job: Job) -> None:
    """As ``/usr/bin/time`` would: a small process of its own waits for the job."""
    measure = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=2)\n"
        "print(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    program = ("-c", "from cropmask.cli.job import main; main()", *TILE, *QUICKEST, "--profile")
    ran = subprocess.run(
        [sys.executable, "-c", measure, *program],
        cwd=job.folder,
        env=job.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (line for line in ran.stderr.splitlines() if line.startswith("all "))
    assert int(line.split()[-1]) == pytest.approx(int(ran.stdout) / 1e6, rel=0.02)


def test_a_finished_tile_is_skipped_and_nothing_is_touched(job: Job) -> None:
    assert job(*TILE, *QUICKEST).returncode == 0
    before = {name: (job.folder / "output" / name).stat().st_mtime_ns for name in job.files()}
    again = job(*TILE, *QUICKEST)
    assert (again.returncode, json.loads(again.stdout)["state"]) == (0, "SKIPPED")
    after = {name: (job.folder / "output" / name).stat().st_mtime_ns for name in job.files()}
    assert after == before


def test_another_result_is_refused_until_it_may_be_replaced(job: Job) -> None:
    assert job(*TILE, *QUICK).returncode == 0
    boosted = (*TILE, *QUICK, "--model", "boosted")
    assert_one_line(job(*boosted), ExitCode.REJECTED, "another model", "--overwrite")
    replaced = job(*boosted, "--overwrite")
    assert json.loads(replaced.stdout)["state"] == "SUCCEEDED"
    item = json.loads((job.folder / "output" / DATASET / f"{LABEL}.stac-item.json").read_text())
    assert item["properties"]["cropmask:model"]["recipe"] == "boosted"


@needs_shared("joblib")
@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("central_ml_model_20220225", "central"),
        ("indian_ocean_ml_model_20220309", "indian_ocean"),
    ],
)
def test_the_agencys_own_models_map_a_tile(job: Job, name: str, region: str) -> None:
    """Imported from the files that made the published maps, and used without any region file."""
    fitted = import_joblib(shared(f"joblib/{name}.joblib"))
    sha256 = write_model(
        job.folder / "own.cropmodel", fitted.forest, fitted.manifest, fitted.probes
    )
    words = ("--tile", "x10y20", "--region", region, *QUICK, "--model", "own.cropmodel")
    outcome = job(*words)
    assert outcome.returncode == ExitCode.DONE, outcome.stderr
    (path,) = (job.folder / "output").rglob("*.stac-item.json")
    item = json.loads(path.read_text())
    assert item["properties"]["cropmask:model"] == {"recipe": "forest", "sha256": sha256}
    assert 0 < item["properties"]["cropmask:statistics"]["crop_hectares"] < 921_600
    # No link to a model that is in no catalog: what it is derived from are the two GeoMADs.
    assert [link["rel"] for link in item["links"]].count("derived_from") == 2
    assert json.loads(job(*words).stdout)["state"] == "SKIPPED"
    other = (*words[:-1], "forest")
    assert_one_line(job(*other), ExitCode.REJECTED, "another model", sha256[:12])


@pytest.mark.parametrize(
    ("model", "code", "word"),
    [
        ("nonsense", ExitCode.USAGE, "neither forest nor boosted nor robust nor a model file"),
        ("none.cropmodel", ExitCode.MISCONFIGURED, "cannot be read"),
        ("old.joblib", ExitCode.REJECTED, "cropmask models import"),
    ],
)
def test_a_model_that_is_none(job: Job, model: str, code: ExitCode, word: str) -> None:
    (job.folder / "old.joblib").write_bytes(b"\x80\x04N.")
    assert_one_line(job(*TILE, *QUICK, "--model", model), code, word)
    assert job.files() == []


def test_json_lines_say_which_run(job: Job) -> None:
    outcome = job(*TILE, *QUICKEST, "--log-format", "json")
    lines = [json.loads(line) for line in outcome.stderr.splitlines()]
    assert len({line["run"] for line in lines}) == 1
    assert {line["stage"] for line in lines} >= {"classify", "segment", "mask", "write"}
    assert json.loads(outcome.stdout)["event"] == "tile"


def test_dry_run_writes_nothing(job: Job) -> None:
    outcome = job(*TILE, *QUICK, "--dry-run")
    assert outcome.returncode == 0
    assert "would compute" in outcome.stdout
    assert f"{DATASET}/{LABEL}.stac-item.json" in outcome.stdout
    assert job.files() == []


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("--tile", "300,300", "--region", "eastern"), 2, ("x300y300", "grid")),
        (("--tile", "nowhere", "--region", "eastern"), 2, ("nowhere", "x215y075")),
        (("--tile", "x215y075", "--region", "eastern"), 3, ("x215y075", "demo world")),
        (("--tile", "x10y20", "--region", "atlantis"), 3, ("atlantis", "eastern")),
        ((*TILE, "--period", "2018--P1Y"), 3, ("2018",)),
        ((*TILE, "--period", "2019-03--P6M"), 2, ("2019-03--P6M", "calendar year")),
        ((*TILE, "--catalog", "no/such/catalog.json", "--region", "eastern"), 3, ("outside",)),
        (("--tile", "x215y075", "--region", "eastern", "--catalog", "no/such"), 13, ("no/such",)),
        ((*TILE, "--env", "prod"), 13, ("--output",)),
        ((*TILE, "--memory", "lots"), 13, ("lots", "4GB")),
        ((*TILE, "--memory", "100MB"), 13, ("too little",)),
        ((*TILE, "--output", "ftp://here"), 13, ("ftp://here",)),
        ((*TILE, "--output", "/proc/here"), 13, ("/proc/here",)),
    ],
)
def test_bad_input_is_one_line(
    job: Job, words: tuple[str, ...], code: int, expected: tuple[str, ...]
) -> None:
    assert_one_line(job(*words, *QUICK), ExitCode(code), *expected)
    assert job.files() == []


def test_a_wrong_command_line_is_exit_2(job: Job) -> None:
    outcome = job("--tile", "x10y20")
    assert outcome.returncode == ExitCode.USAGE
    assert "--region" in outcome.stderr
    assert "cropmask tiles --tiles x010y020" in outcome.stderr
    for words in (
        ("--name", "mine"),
        (*TILE, "--bbox", "1,2,3,4"),
        ("--aoi", "a.geojson", "--bbox", "1,2,3,4"),
    ):
        assert_one_line(job(*words), ExitCode.USAGE, "give what to map")
    assert_one_line(job(*TILE, "--name", "mine"), ExitCode.USAGE, "--name is for an area")
    assert job(*TILE, "--resolution", "30").returncode == ExitCode.USAGE


def test_an_area_in_little_memory_has_the_same_bytes(job: Job) -> None:
    area = ("--bbox", "-169.7,-47.8,-169.6,-47.75", "--name", "fields", "--region", "eastern")
    for folder, words in (("a", ()), ("b", ("--memory", "700MB", "--threads", "1"))):
        outcome = job(*area, *QUICK, "--output", folder, *words)
        assert outcome.returncode == ExitCode.DONE, outcome.stderr
    assert json.loads(outcome.stdout)["event"] == "area"
    names = job.files("a")
    assert names == job.files("b")
    assert {name.partition("/2019--P1Y/crop_mask_fields_2019--P1Y")[2] for name in names} == {
        *("_mask.tif", "_prob.tif", "_filtered.tif", "_visual.tif", "_thumbnail.png"),
        *(".sha1", ".stac-item.json"),
    }
    for name in names:
        assert (job.folder / "a" / name).read_bytes() == (job.folder / "b" / name).read_bytes()


def test_help_shows_examples_and_exit_codes(job: Job) -> None:
    text = job("--help").stdout
    for word in ("Examples", "cropmask-job --tile x10y20 --region eastern", "Exit codes"):
        assert word in text


def test_a_read_only_output_is_refused_before_the_work(job: Job) -> None:
    (job.folder / "taken").write_text("a file, not a folder")
    outcome = job(*TILE, *QUICK, "--output", "taken/results")
    assert_one_line(outcome, ExitCode.MISCONFIGURED, "taken/results")
    assert "classify" not in outcome.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = 'x", "TOML"),
        ("name = 'mine'", "'title'"),
        ("name='mine'\ntitle='t'\nversion='1.0.0'\nboundary='none.geojson'", "none.geojson"),
    ],
)
def test_a_broken_region_file(job: Job, text: str, expected: str) -> None:
    (job.folder / "region.toml").write_text(text)
    outcome = job("--tile", "x10y20", "--region", "region.toml", *QUICK)
    assert_one_line(outcome, ExitCode.MISCONFIGURED, "region.toml", expected)
    assert job.files() == []


def test_sigterm_leaves_no_result(job: Job) -> None:
    assert job(*TILE, "--resolution", "100", "--dry-run").returncode == 0  # the world is there
    process = job.start(*TILE, *QUICK, "--log-format", "json")
    assert process.stderr is not None
    for line in process.stderr:
        if '"load"' in line:  # the tile itself takes a second only
            break
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.DRAINED, err
    assert time.monotonic() - began < 30
    assert not any(name.endswith(".stac-item.json") for name in job.files())


@pytest.fixture
def own(job: Job, demo_cache: Path) -> tuple[str, ...]:
    """Arguments for a catalog and a region of one's own: a copy of the demo world as real data."""
    world = ensure_world(demo_cache, 100)
    folder = job.folder / "world"
    shutil.copytree(world.catalog.parent, folder)
    eastern = load_region("eastern").model("boosted")
    layers = {
        name: str(href).replace(str(world.catalog.parent), "world")
        for name, href in world.ancillary
        if name != "protected_areas"
    }
    lines = [f'{name} = "{href}"' for name, href in layers.items()]
    boundary = folder / world.boundary.name
    (job.folder / "region.toml").write_text(
        f"""
name = "island"
title = "An island"
version = "2.0.1"
boundary = "{boundary}"
[models.boosted]
file = "{eastern.file}"
sha256 = "{eastern.sha256}"
[ancillary]
"""
        + "\n".join(lines)
    )
    return (
        *("--tile", "x10y20", "--region", "region.toml", "--model", "boosted"),
        *("--catalog", "world/catalog.json", *QUICK),
    )


def test_a_catalog_and_a_region_of_ones_own(job: Job, own: tuple[str, ...]) -> None:
    outcome = job(*own)
    assert outcome.returncode == 0, outcome.stderr
    name = "crop_mask_island/2-0-1/x010/y020/2019--P1Y/crop_mask_island_x010y020_2019--P1Y"
    item = json.loads((job.folder / "output" / f"{name}.stac-item.json").read_text())
    assert item["properties"]["cropmask:synthetic"] is True
    assert set(item["properties"]["cropmask:masks_not_applied"]) == {"protected_areas"}


def items_of(job: Job) -> list[Path]:
    return sorted((job.folder / "world" / "gm_s2_semiannual").rglob("*2019-0*.json"))


def test_a_missing_half_year(job: Job, own: tuple[str, ...]) -> None:
    items_of(job)[1].unlink()
    for name in ("catalog.json", "gm_s2_semiannual/collection.json"):
        path = job.folder / "world" / name
        if path.exists():
            path.unlink()
    words = [word if word != "world/catalog.json" else "world" for word in own]
    assert_one_line(job(*words), ExitCode.REJECTED, "2019-07--P6M", "x010y020")
    assert job.files() == []


def test_a_truncated_cog(job: Job, own: tuple[str, ...]) -> None:
    cog = sorted((job.folder / "world").rglob("*_B08.tif"))[0]
    cog.write_bytes(cog.read_bytes()[: cog.stat().st_size * 2 // 3])
    assert_one_line(job(*own), ExitCode.FAILED, cog.name)
    assert not any(name.endswith(".stac-item.json") for name in job.files())


def test_a_damaged_model(job: Job, own: tuple[str, ...]) -> None:
    path = job.folder / "region.toml"
    model = Path(load_region("eastern").model("boosted").file)
    damaged = bytearray(model.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (job.folder / "damaged.cropmodel").write_bytes(damaged)
    path.write_text(path.read_text().replace(str(model), "damaged.cropmodel"))
    assert_one_line(job(*own), ExitCode.REJECTED, "damaged.cropmodel", "digest")
    assert job.files() == []


def test_the_log_format_may_come_from_the_environment(job: Job) -> None:
    wrong = ("--tile", "300,300", "--region", "eastern")
    text = job(*wrong, env={"CROPMASK_LOG_FORMAT": "text"})
    assert text.stderr.startswith("error: ")
    option_goes_first = job(*wrong, "--log-format", "json", env={"CROPMASK_LOG_FORMAT": "text"})
    assert json.loads(option_goes_first.stderr)["exit_code"] == ExitCode.USAGE
    unknown = job(*wrong, env={"CROPMASK_LOG_FORMAT": "xml"})
    assert unknown.returncode == ExitCode.USAGE
    assert "'xml' is not one of" in unknown.stderr


def test_settings_may_come_from_a_file_beside_the_data(job: Job) -> None:
    file = job.folder / "cropmask.toml"
    file.write_text("output = 'maps'\nresolution = 100\nlog_format = 'text'\n")
    outcome = job(*TILE, "--dry-run", env={"CROPMASK_CONFIG": ""})
    assert outcome.returncode == ExitCode.DONE, outcome.stderr
    assert "resolution 100 m" in outcome.stdout
    assert f"output     {job.folder}/maps/{DATASET}/" in outcome.stdout
    file.write_text("log_format = 'text'\nresolution = 30\n")
    refused = job(*TILE, "--dry-run", env={"CROPMASK_CONFIG": ""})
    assert refused.returncode == ExitCode.MISCONFIGURED
    assert refused.stderr.startswith(f"error: {file}, line 2: resolution 30 m is not offered")
