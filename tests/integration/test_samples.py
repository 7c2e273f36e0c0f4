"""From labeled places to a model, by the commands of the documentation alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from pyproj import Transformer

from cropmask.cli.main import cropmask
from cropmask.contract import ExitCode
from cropmask.core.engine import predict
from cropmask.errors import CropmaskError, Rejected
from cropmask.grid import tile_at
from cropmask.modelfile.model import load_forest
from cropmask.region.region import load_region
from cropmask.sources.boundary import load_boundary
from cropmask.training.samples import load_samples
from tests.conftest import REPOSITORY
from tests.demo_run import EASTERN, RESOLUTION, Results
from tests.servers import Fault, serve_files
from tests.shareddata import shared
from tests.unit.training.tables import make_region_folder, make_samples, put_samples
from tests.worlds import TILE, make_world

PAGE = (REPOSITORY / "docs" / "own-points.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```\n((?:cropmask [^\n]+\n)+)```$", PAGE, re.MULTILINE)
LINES = [line for block in COMMANDS for line in block.splitlines()]
TO_DEGREES = Transformer.from_crs("EPSG:6933", "OGC:CRS84", always_xy=True)


def run(*words: object) -> Result:
    return CliRunner().invoke(cropmask, [str(word) for word in words])


def output(*words: object) -> str:
    result = run(*words)
    assert result.exception is None, f"{result.output}\n{result.exception}"
    return result.output


def refused(*words: object) -> str:
    """The one line that a command ends with."""
    result = run(*words)
    assert isinstance(result.exception, CropmaskError), result.output
    return str(result.exception)


def make_places(results: Results, number: int, seed: int = 0) -> list[dict[str, object]]:
    """Features of GeoJSON within the first tile: crop where the land is green late in the year."""
    random = np.random.default_rng(seed)
    left, bottom, right, top = EASTERN[0].bounds
    folder = results.world.parent / "gm_s2_semiannual"
    bands = [next(folder.rglob(f"*{EASTERN[0]}*2019-07*_{name}.tif")) for name in ("B04", "B08")]
    features: list[dict[str, object]] = []
    xy = random.uniform((left, bottom), (right, top), (3 * number, 2))
    with rasterio.open(bands[0]) as red_file, rasterio.open(bands[1]) as nir_file:
        red, nir = (
            np.array([value[0] for value in file.sample(xy)], float)
            for file in (red_file, nir_file)
        )
    seen = (red > 0) & (nir > 0)
    ndvi = np.where(seen, (nir - red) / np.maximum(nir + red, 1), np.nan)
    middle = np.nanmedian(ndvi)
    for at in np.flatnonzero(seen)[:number]:
        lon, lat = TO_DEGREES.transform(*xy[at])
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
                "properties": {
                    "id": f"p{at}",
                    "class": "crop" if ndvi[at] > middle else "non-crop",
                    "date": f"2019-0{1 + at % 9}-15",
                },
            }
        )
    return features


def put_places(path: Path, features: list[dict[str, object]]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def folder(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands of the page are typed: a region without a model, points, a catalog."""
    shutil.copytree(results.models / "eastern", tmp_path / "my-region")
    region = tmp_path / "my-region" / "region.toml"
    text = re.sub(r"\[models\.\w+\]\n(?:[^\[\n]+\n)+", "", region.read_text())
    text = text.replace('name = "eastern"', 'name = "valley"', 1)
    training = "training = { trees = 20, folds = 3, cluster_km = 20 }"
    region.write_text(re.sub(r"^training = .*$", training, text, flags=re.MULTILINE))
    for path in tmp_path.rglob("*.cropmodel"):
        path.unlink()
    assert load_region(str(region)).models == {}
    put_places(tmp_path / "fields.geojson", make_places(results, 240))
    reference = make_places(results, 30, seed=9)
    lines = [
        ",".join(map(str, feature["geometry"]["coordinates"]))  # type: ignore[index]
        for feature in reference
    ]
    (tmp_path / "reference.csv").write_text("\n".join(["lon,lat", *lines]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROPMASK_CATALOG", str(results.world))
    monkeypatch.setenv("CROPMASK_RESOLUTION", str(RESOLUTION))
    return tmp_path


def test_the_walk_of_the_page(folder: Path) -> None:
    """Points to a model that a tile is mapped with, by the commands as they are printed."""
    assert [line.split()[1] for line in LINES] == [
        "samples",
        "samples",
        "train",
        "validate",
        "doctor",
    ]
    said = {}
    for line in LINES:
        words = shlex.split(line)[1:]
        result = run(*words)
        said[" ".join(words[:2])] = result.output
        assert result.exit_code == 0, f"{line}: {result.output}\n{result.exception}"
    assert "240 of 240 places" in said["samples extract"]
    assert "valley" not in said["samples check"]  # it is none of the package's regions
    assert "eastern: " in said["samples check"]
    assert "0 samples have a date in another year" in said["samples check"]
    assert "places of 20 km held out, the published distance" in said["validate --region"]
    assert "ok    model forest" in said["doctor --region"]
    table = load_samples(folder / "samples.txt")
    words = ("models", "show", "my-region/region.toml", "--json")
    (shown,) = json.loads(output(*words))
    assert shown["validation"]["random"]["balanced_accuracy"]["mean"] > 0.9
    assert table.sha256 in (folder / "my-region" / "card.json").read_text()
    places = table.origins.coordinates
    assert places is not None
    assert {tile_at(*place) for place in places} == {EASTERN[0]}
    boundary = load_boundary(load_region("my-region/region.toml").boundary)
    assert boundary.area > 0


def test_a_model_says_of_samples_what_its_map_says(folder: Path, results: Results) -> None:
    """Features of places, given to the forest, are the map at these places: one arithmetic."""
    output(*shlex.split(LINES[0])[1:])
    table = load_samples(folder / "samples.txt")
    places = table.origins.coordinates
    assert places is not None
    model = load_region("eastern", results.models).model("forest")
    crop = predict(load_forest(model.file, model.sha256), table.features)
    (file,) = results.folder.rglob(f"crop_mask_eastern_{EASTERN[0]}_*_prob.tif")
    with rasterio.open(file) as opened:
        prob = np.array([value[0] for value in opened.sample(places)])
    mapped = prob != 255
    assert mapped.sum() > 100
    np.testing.assert_array_equal(prob[mapped] > 50, crop[mapped] > 0.5)
    assert np.abs(100 * crop[mapped] - prob[mapped]).max() <= 1
    assert (np.abs(100 * crop[mapped] - prob[mapped]) <= 0.5 + 1e-9).mean() > 0.9


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_leaves_between_strips(
    results: Results, tmp_path: Path, number: signal.Signals
) -> None:
    """Hundreds of slow strips are left to read; nothing is written, and it said how far it was."""
    points = put_places(tmp_path / "p.geojson", make_places(results, 200))
    script = (
        "import signal, time, cropmask.operate.extract as e, cropmask.cli.console as c\n"
        # What a shell starts in the background ignores it, and so do all below, these tests too.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "original = e.compute_features\n"
        "def slow(*words):\n"
        "    time.sleep(0.2)\n"
        "    return original(*words)\n"
        "e.compute_features, e._STRIP_PIXELS, c._LINE_SECONDS = slow, 1, 0\n"
        "from cropmask.cli.main import main\n"
        "main()\n"
    )
    words = ["samples", "extract", "--points", str(points), "--region", "eastern"]
    words += ["--period", "2019", "--out", str(tmp_path / "s.txt"), "--threads", "1"]
    words += ["--catalog", str(results.world), "--models", str(results.models)]
    words += ["--resolution", str(RESOLUTION)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    begun = time.monotonic()
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert re.search(r"s  reading tiles: \d+ %", first), first
    assert process.returncode == ExitCode.DRAINED
    assert rest.splitlines()[-1] == "error: stopped by a signal"
    assert time.monotonic() - begun < 15  # one strip, on a busy machine; hundreds take minutes
    assert not (tmp_path / "s.txt").exists()


def test_a_killed_run_goes_on(results: Results, tmp_path: Path) -> None:
    """SIGKILL as soon as the first tile is done: the next run has the bytes of a whole one."""
    left, bottom, right, top = EASTERN[0].bounds
    random = np.random.default_rng(4)
    xy = random.uniform((left, bottom), (right + 96_000, top), (200, 2))
    lines = [
        f"{lon},{lat},{at % 2}"
        for at, (lon, lat) in enumerate(np.column_stack(TO_DEGREES.transform(*xy.T)))
    ]
    points = tmp_path / "p.csv"
    points.write_text("\n".join(["lon,lat,class", *lines]) + "\n")
    words = [
        "samples",
        "extract",
        "--points",
        str(points),
        "--region",
        "eastern",
        "--period",
        "2019",
    ]
    words += ["--catalog", str(results.world), "--models", str(results.models)]
    words += ["--resolution", str(RESOLUTION), "--threads", "1"]
    output(*words, "--out", tmp_path / "whole.txt")
    out = tmp_path / "s.txt"
    script = (
        "import time, cropmask.operate.extract as e\n"
        "original = e.find_sources\n"
        "def slow(catalog, tile, *rest, **more):\n"
        f"    time.sleep(0 if tile.x == {EASTERN[0].x} else 60)\n"
        "    return original(catalog, tile, *rest, **more)\n"
        "e.find_sources = slow\n"
        "from cropmask.cli.main import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, *words, "--out", str(out)]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE)
    part = tmp_path / "s.txt.parts" / f"{EASTERN[0]}.json"
    until = time.monotonic() + 50
    while not part.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    assert "1 tiles were done before" in output(*words, "--out", out)
    assert out.read_bytes() == (tmp_path / "whole.txt").read_bytes()
    assert not part.parent.exists()


def test_what_it_says_to_type_works_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = output(*shlex.split(LINES[0])[1:])
    (line,) = re.findall(r"^check it: (.*)$", text, re.MULTILINE)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "240 samples: " in output(*shlex.split(line)[1:])


def test_places_of_the_published_distance_need_the_region_to_say_how_far(folder: Path) -> None:
    output(*shlex.split(LINES[0])[1:])
    words = ("validate", "--region", "my-region/region.toml", "--samples", "samples.txt")
    assert "places of 20 km held out, the published distance" in output(*words)
    region = folder / "my-region" / "region.toml"
    region.write_text(region.read_text().replace(", cluster_km = 20", ""))
    result = run(*words)
    assert result.exception is None
    assert "the published distance" not in result.output
    assert "random rows held out" in result.output


def test_json_says_everything(folder: Path) -> None:
    words = shlex.split(LINES[0])[1:]
    found = json.loads(run(*words, "--json").stdout)
    assert found["rows"] == 240
    assert found["labels"]["rows"] == 240
    assert found["tiles"] == 1
    again = json.loads(run(*words, "--json").stdout)
    assert (again["rows"], again["tiles_resumed"], again["windows"]) == (240, 1, 0)
    table = load_samples(folder / "samples.txt")
    assert found["crop_rows"] == table.crop_rows
    checked = json.loads(run("samples", "check", "samples.txt", "--json").stdout)
    assert checked["crop"] == table.crop_rows
    assert checked["leak"] is None


def test_labelers_are_told_of(folder: Path, results: Results) -> None:
    features = make_places(results, 30)
    for labeler in ("ann", "bob"):
        rows = ["plotid,sampleid,lon,lat,email,flagged,Crop or not?"]
        for at, feature in enumerate(features):
            lon, lat = feature["geometry"]["coordinates"]  # type: ignore[index]
            answer = feature["properties"]["class"]  # type: ignore[index]
            if labeler == "bob" and at < 6:
                answer = "unsure" if at < 2 else answer
            if at == 29:
                answer = "unsure"
            rows.append(f"{at},1,{lon},{lat},{labeler},false,{answer}")
        (folder / f"{labeler}.csv").write_text("\n".join(rows) + "\n")
    words = [word for word in shlex.split(LINES[0])[1:] if word != "fields.geojson"]
    words.remove("--points")
    result = run(*words, "--points", "ann.csv", "--points", "bob.csv")
    assert result.exception is None, result.output
    assert "2 labelers of 30 places: 93.3 percent of their answers agree, Cohen's kappa 0." in (
        result.output
    )
    assert "2 places are left out, because their labelers are divided" in result.output
    assert "1 places are left out, because their label is neither crop nor other: 'unsure' 1" in (
        result.output
    )
    assert "27 of 27 places" in result.output


def test_what_is_wrong_gets_one_line(folder: Path) -> None:
    words = ["--region", "my-region/region.toml", "--period", "2019", "--out", "s.txt"]
    (folder / "empty.csv").write_text("lon,lat,class\n")
    (folder / "away.csv").write_text("lon,lat,class\n-30,-30,crop\n-30,-31,no\n")
    (folder / "far.csv").write_text("lon,lat,class\n400,-30,crop\n")
    assert "it is empty" in refused("samples", "extract", "--points", "empty.csv", *words)
    assert "none of 2 places has features" in refused(
        "samples", "extract", "--points", "away.csv", *words
    )
    assert "outside of longitude and latitude" in refused(
        "samples", "extract", "--points", "far.csv", *words
    )
    given = ("samples", "extract", "--points", "fields.geojson", *words)
    assert "no column 'clas': did you mean 'class'" in refused(*given, "--label", "clas")
    assert "cannot be both crop and not" in refused(
        *given, "--crop-values", "a", "--other-values", "a"
    )
    assert "no catalog" in refused(*given, "--catalog", "nowhere")
    assert "its labels are 'crop', 'non-crop'" in refused(
        *given, "--crop-values", "maize", "--other-values", "forest"
    ).replace("'non-crop', 'crop'", "'crop', 'non-crop'")
    assert list(folder.glob("s.txt*")) == []


def test_samples_that_repeat_contradict_and_leak(folder: Path) -> None:
    fields = json.loads((folder / "fields.geojson").read_text())
    first = fields["features"][0]
    other = {"crop": "non-crop", "non-crop": "crop"}[first["properties"]["class"]]
    twin = {**first, "properties": {**first["properties"], "id": "twin", "class": other}}
    lon, lat = first["geometry"]["coordinates"]
    late = json.loads(json.dumps(fields["features"][1]))
    late["properties"] |= {"id": "late", "date": "2015-03-01"}
    late["geometry"]["coordinates"][0] += 0.0000001
    nowhere = {**first, "properties": {"id": "sea", "class": "crop"}}
    nowhere["geometry"] = {"type": "Point", "coordinates": [-30, -30]}
    put_places(folder / "fields.geojson", [*fields["features"], twin, late, nowhere])
    output(*shlex.split(LINES[0])[1:])
    (folder / "reference.csv").write_text(f"lon,lat\n{lon},{lat + 0.004}\n20,10\n")
    text = output(*shlex.split(LINES[1])[1:])
    name = first["properties"]["id"]
    assert f"warn  1 times crop and other have the same features: {name}, twin" in text
    assert f"warn  1 times crop and other have the same place: {name}, twin" in text
    assert "warn  2 samples repeat the features of another" in text
    assert "warn  1 places were left out, no GeoMAD: sea" in text
    assert "warn  1 samples have a date in another year" in text
    assert re.search(
        r"warn  \d+ samples are nearer than 1000 m to one of 2 validation points", text
    )
    assert f"{name} (442 m from point 1)" in text
    assert "warn" not in output(
        "samples", "check", put_samples(folder / "made.txt", make_samples(60))
    )


def test_published_samples_are_checked_with_their_coordinates() -> None:
    samples, places = shared("training/eastern.txt"), shared("coordinates/eastern.txt")
    validation = shared("validation/eastern.csv")
    words = ("samples", "check", samples, "--validation", validation)
    assert "does not say where its samples are from: give --coordinates" in refused(*words)
    found = json.loads(output(*words, "--coordinates", places, "--json"))
    assert found["rows"] == 4444
    features, same = found["same_features"], found["same_place"]
    table = load_samples(samples)
    unique = {row.tobytes() for row in table.features}
    assert features["rows"] == 4444 - len(unique)
    assert same["rows"] >= 0
    assert found["regions"]["eastern"]["crop"] > 1000
    assert found["leak"]["points"] == 300


def test_a_table_of_ones_own_needs_no_origin(tmp_path: Path) -> None:
    made = put_samples(tmp_path / "made.txt", make_samples(60))
    assert "do not say where they are from" in output("samples", "check", made)
    broken = tmp_path / "broken.txt"
    broken.write_text("Class\n")
    with pytest.raises(Rejected, match="missing column"):
        load_samples(broken)


def test_over_a_network_only_windows_are_read(tmp_path: Path) -> None:
    """A few points near each other: some blocks of each file, and the same bytes as of files."""
    world = make_world(tmp_path / "w", size=(700, 700), holes=0)
    left, _, _, top = TILE.bounds
    lines = [
        ",".join(map(str, (*TO_DEGREES.transform(left + 20_505 + 10 * at, top - 11_505), at % 2)))
        for at in range(8)
    ]
    points = tmp_path / "p.csv"
    points.write_text("\n".join(["lon,lat,class", *lines]) + "\n")
    region = make_region_folder(tmp_path / "valley")
    with serve_files(world.folder) as server:
        for place, out in ((str(world.folder), "local.txt"), (server.url, "remote.txt")):
            layers = [
                f'{name} = "{place}/{Path(path).relative_to(world.folder)}"'
                for name, path in world.ancillary.model_dump().items()
            ]
            own = region.with_name(f"{out[:-4]}.toml")
            own.write_text("\n".join([region.read_text(), "[ancillary]", *layers]))
            words = ["--points", points, "--region", own, "--period", "2019"]
            words += ["--catalog", f"{place}/catalog.json", "--out", tmp_path / out]
            text = output("samples", "extract", *words)
            assert "8 of 8 places" in text
            assert "read 1 windows, 0.0 million pixels" in text
        asked = {path for _, path in server.requests}
        sent = sum(
            size for path, _, size in server.sent if "gm_s2" in path and path.endswith("tif")
        )
        server.faults.append(Fault("_B02.tif", status=403))
        words = [word if word != tmp_path / "remote.txt" else tmp_path / "c.txt" for word in words]
        assert "403" in refused("samples", "extract", *words)
    rows = [
        [line for line in (tmp_path / name).read_text().splitlines() if not line.startswith("#")]
        for name in ("local.txt", "remote.txt")
    ]
    assert rows[0] == rows[1]
    total = sum(path.stat().st_size for path in world.folder.rglob("gm_s2*/**/*.tif"))
    assert 0 < sent < 0.2 * total
    masks = ("water", "protected_areas", "steepness", "elevation")
    assert not [path for path in asked if any(name in path for name in masks)]
    assert not (tmp_path / "c.txt").exists()
