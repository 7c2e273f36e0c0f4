"""Every command that lists something prints it as one JSON document, if it is asked to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from pyproj import Transformer

from cropmask.catalog.index import Indexed
from cropmask.cli.main import cropmask
from cropmask.core.series import SeriesModel
from cropmask.errors import CropmaskError
from cropmask.fleet.records import State
from cropmask.product import RECIPES, Product
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Message
from cropmask.region.region import load_region
from cropmask.results.seriesfile import RegionSeries, put_region_series
from cropmask.store.folder import FolderStore
from cropmask.task import Period
from tests.demo_run import EASTERN, Results
from tests.runs import make_attempt, make_run, put_records
from tests.unit.training.tables import make_region_folder, make_samples, put_samples

LISTS_NOTHING = {
    "worker": "does tasks; what it says is a log, as JSON lines with --log-format",
    "demo": "makes a world",
    "demo-labels": "writes labels",
    "mosaic": "draws a picture",
    "show": "draws a picture",
    "web": "writes a page",
    "train": "makes a model, and its card",
    "models import": "makes a model file, and its card",
    "report": "writes a page, and its JSON beside it",
    "catalog publish": "copies a catalog",
    "catalog serve": "serves",
    "browse": "serves",
    "man": "writes pages",
}
"""The only commands without ``--json``, and why."""


def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that are typed for it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(leaves(cropmask))
WITH_JSON = {
    name
    for name, command in COMMANDS.items()
    if any("--json" in parameter.opts for parameter in command.params)
}


def test_every_command_that_lists_has_json() -> None:
    """A new command has ``--json``, or says here why it lists nothing."""
    assert set(COMMANDS) - WITH_JSON == set(LISTS_NOTHING)


def words_of(results: Results, folder: Path) -> dict[str, list[str]]:
    """Words that make each command with ``--json`` list something of a made world."""
    tile, region = str(EASTERN[0]), ["--region", "eastern"]
    models = ["--models", str(results.models)]
    output, run = ["--output", str(results.folder)], "20260102t030000-00aa"
    places = [*output, "--catalog", str(results.world), *models]
    valley = make_region_folder(folder / "valley")
    samples = put_samples(folder / "samples.txt", make_samples(120))
    points = folder / "points.csv"
    to_degrees = Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(EASTERN[0].bounds[0] + 30_000, EASTERN[0].bounds[1] + 50_000)
    points.write_text(f"lon,lat,class\n{lon},{lat},crop\n{lon + 0.01},{lat},no\n")
    labels = folder / "labels.csv"
    rows = [f"{number:02d},{('crop', 'no')[number % 2]}" for number in range(1, 81)]
    labels.write_text("\n".join(["id,class", *rows]))
    labeled = ["--sample", str(folder / "s.geojson"), "--labels", str(labels), *places]
    ring = [[lon - 0.1, lat - 0.1], [lon + 0.1, lat - 0.1], [lon, lat + 0.1]]
    years = ["--period", "2019", "--resolution", "100"]
    valleys = folder / "districts.geojson"
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    feature = {"type": "Feature", "properties": {"name": "Valley"}, "geometry": geometry}
    valleys.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    extracted = ["--points", str(points), "--period", "2019", "--out", str(folder / "out.txt")]
    inputs = ["--catalog", str(results.world), *models, "--resolution", "100"]
    return {
        "tiles": [*region, "--tiles", tile],
        "models list": models,
        "models show": ["eastern"],
        "models verify": ["eastern"],
        "validate": ["--region", str(valley), "--samples", str(samples)],
        "samples extract": [*region, *extracted, *inputs],
        "samples check": [str(samples)],
        "series fit": [*region, "--years", "2019-2024", "--resolution", "100", *places],
        "colors fit": [*region, "--resolution", "100", *places],
        "sample": [
            *region,
            "--points",
            "80",
            "--partial",
            "--out",
            str(folder / "s.geojson"),
            *places,
        ],
        "assess": labeled,
        "area": [*labeled, "--districts", str(valleys), "--districts-only"],
        "plan": [*region, "--tiles", tile, "--resolution", "100", *places],
        "submit": [*region, "--tiles", tile, "--resolution", "100", "--all", "--dry-run", *places],
        "campaign": [*region, *years, "--tiles", tile, "--until", "plan", *places],
        "status": output,
        "redrive": ["--dry-run", *output],
        "run pause": [run, *output],
        "run resume": [run, *output],
        "run list": output,
        "run cancel": [run, *output],
        "explain": [tile, *region, "--period", "2019", *places],
        "logs": [tile, *region, "--period", "2019", *places],
        "reconcile": [*region, *places],
        "ls": output,
        "sync": [str(results.folder), str(folder / "copy"), *region, "--dry-run"],
        "rm": [*region, "--tiles", tile, "--yes", *places],
        "catalog build": ["--results", str(results.folder), *models],
        "catalog check": [str(results.folder), "--quick"],
        "index": [str(results.folder), "--dc"],
        "doctor": [*region, *places],
        "config": output,
    }


def put_flat_series(store: FolderStore, product: Product) -> None:
    """What would be fitted to six years, so that none is read."""
    even = np.full((1, 2, 101), 1 / 101)
    model = SeriesModel(even, np.array([[0.5, 0.5]]), 0.01, 0.02)
    fitted = RegionSeries(model, None, None, "prob", 1, 1, 1, synthetic=True)
    put_region_series(store, product, Period.parse("2019--P6Y"), 100, fitted)


@pytest.fixture
def made(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Results that may be changed, with a run, an attempt that failed, and a dead letter."""
    copied = results.copied(tmp_path / "results")
    run = make_run(EASTERN)
    attempt = make_attempt(run, EASTERN[0], State.FAILED, reason="timed out", error="too slow")
    put_records(FolderStore(copied.folder), run, [attempt])
    put_flat_series(FolderStore(copied.folder), load_region("eastern").product)
    queue = FolderQueue(copied.folder / "_queue")
    queue.send([Message(json.dumps({"tile": str(EASTERN[0])}), {})])
    lease = queue.lease(seconds=60)
    assert lease is not None
    queue.park(lease, "no task", "it names no region")
    indexed = Indexed(2, 1, 0, 0, (), ("a/b.json",), "nothing")
    monkeypatch.setattr("cropmask.catalog.index.index_results", lambda *_: indexed)
    return copied


def test_what_is_asked_for_json_prints_one_document(made: Results, tmp_path: Path) -> None:
    words = words_of(made, tmp_path)
    assert set(words) == WITH_JSON, "each command with --json is tried here"
    found: dict[str, Any] = {}
    for name, given in words.items():
        result = CliRunner().invoke(cropmask, [*name.split(), *given, "--json"])
        assert isinstance(result.exception, CropmaskError | SystemExit | None), (name, result)
        found[name] = json.loads(result.stdout)  # fails where anything else is printed
        assert found[name], f"{name} lists nothing"
    accuracy = found["models list"][0]["validation"]["random"]["balanced_accuracy"]["mean"]
    assert 0.5 < accuracy < 1
    assert [one["ok"] for one in found["models verify"]] == [True] * len(RECIPES)
    assert [one["tile"] for one in found["rm"]] == [str(EASTERN[0])]
    assert found["catalog build"]["collections"]["crop_mask_eastern"] == 1
    assert found["samples extract"]["rows"] == 2
    assert found["samples check"]["rows"] == 120
    assert found["catalog check"]["problems"] == []
    assert found["index"]["missing"] == ["a/b.json"]
    assert {one["state"] for one in found["doctor"]} <= {"ok", "warning"}
    assert 0.5 < found["validate"]["forest"]["random"]["balanced_accuracy"]["mean"] <= 1
