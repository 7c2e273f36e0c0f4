"""``cropmask status`` as an operator types it, on the records of made-up runs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cropmask.cli.status import status
from cropmask.errors import Misconfigured, Rejected
from cropmask.fleet.records import State
from cropmask.grid import Tile
from cropmask.store.folder import FolderStore
from tests.runs import make_attempt, make_run, put_records

TILES = tuple(Tile(215 + i, 75) for i in range(5))


def run(folder: Path, *words: str) -> Result:
    words = ("--output", str(folder), "--env", "dev", *words)
    return CliRunner().invoke(status, words, catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record = make_run(TILES, sent=0, unchanged=2)
    states = [State.SUCCEEDED, State.SKIPPED, State.SUCCEEDED, State.INVALID]
    attempts = [
        make_attempt(record, tile, state, i, i, seconds=36.0, threads=2, reason="missing geomad",
                     error="no GeoMAD item")
        for i, (tile, state) in enumerate(zip(TILES, states, strict=False))
    ]  # fmt: skip
    put_records(FolderStore(tmp_path), record, attempts)
    return tmp_path


def test_text(folder: Path) -> None:
    text = run(folder).output
    assert "3 of 5 tiles done (60%)" in text
    assert "INVALID          1" in text
    assert "1 tile: missing geomad; such as x218y075: no GeoMAD item" in text
    assert f"cropmask redrive --where 'reason=missing geomad' --output {folder}" in text
    assert "under $0.01 so far: 5 CPU minutes (from 4 of 4 attempts) at $0.05 per CPU hour" in text


def test_json(folder: Path) -> None:
    found = json.loads(run(folder, "--json", "--region", "eastern", "--period", "2019").output)
    assert found["counts"]["SUCCEEDED"] == 2
    assert sum(found["counts"].values()) == len(found["tiles"]) == 5
    assert found["tiles"]["x219y075"] == "PENDING"
    assert found["dollars"] == pytest.approx(4 * 72 / 3600 * 0.05)


def test_the_page_shows_the_whole_region(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "progress.html"
    run(folder, "--html", str(page))
    text = page.read_text()
    assert text.count("data-tile=") == 5
    assert text.count("is not in this run") > 300
    assert "shore" in text


def test_the_page_replaces_no_file_of_others(folder: Path, tmp_path: Path) -> None:
    page, other = tmp_path / "progress.html", tmp_path / "thesis.html"
    page.touch()  # as mktemp does
    for _ in range(2):
        run(folder, "--html", str(page))
    other.write_text("what 'cropmask status' printed")
    with pytest.raises(Misconfigured, match="is no file of this kind that cropmask has written"):
        run(folder, "--html", str(other))
    assert other.read_text() == "what 'cropmask status' printed"


def test_commands_name_the_places_of_the_run(tmp_path: Path) -> None:
    record = make_run(TILES, sent=0, environment="local", catalog="/c/catalog.json", models="/m")
    put_records(FolderStore(tmp_path), record)
    text = CliRunner().invoke(status, ("--output", str(tmp_path)), catch_exceptions=False).output
    place = f"--catalog /c/catalog.json --output {tmp_path} --models /m"
    assert f"--resume {record.run} {place}" in text
    other = ("--output", str(tmp_path), "--catalog", "elsewhere")
    assert "/elsewhere --output" in CliRunner().invoke(status, other).output


def test_watching_ends_when_nothing_remains(folder: Path) -> None:
    store = FolderStore(folder)
    put_records(
        store, make_run(TILES[:4], "20270101t000000-0000", submitted="2027-01-01T00:00:00Z", sent=0)
    )
    record = make_run(TILES[:4], "20270101t000000-0000")
    for i, tile in enumerate(TILES[:4]):
        put_records(store, record, [make_attempt(record, tile, State.SUCCEEDED, i, 50 + i)])
    text = run(folder, "--watch", "--every", "0.2").output
    assert text.count("4 of 4 tiles done (100%)") == 1
    assert "cropmask reconcile --region eastern --period 2019--P1Y" in text


def test_watching_ends_when_nobody_tries_what_remains(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cropmask.cli.status.QUEUE_LAG", timedelta(seconds=0.1))
    store = FolderStore(folder)
    record = make_run(TILES[:2], "20270101t000000-0000", submitted="2027-01-01T00:00:00Z", sent=2)
    put_records(store, record, [make_attempt(record, TILES[0], State.SUCCEEDED, 0, 50)])
    put_records(store, record, [make_attempt(record, TILES[1], State.FAILED, 1, 51)])
    text = run(folder, "--watch", "--every", "0.2").output
    assert text.count("1 of 2 tiles done (50%)") == 2
    assert "cropmask submit" in text


def test_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no run of crop_mask_eastern was submitted"):
        run(tmp_path, "--region", "eastern")
