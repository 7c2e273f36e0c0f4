"""``cropmask reconcile`` as an operator types it: words, commands, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cropmask.cli.reconcile import reconcile
from cropmask.contract import ExitCode
from cropmask.grid import Tile, tiles_within
from cropmask.region.region import load_region
from cropmask.sources.boundary import load_boundary
from cropmask.store.folder import FolderStore
from tests.results import put_files


@pytest.fixture(scope="module")
def tiles() -> tuple[Tile, ...]:
    return tiles_within(load_boundary(load_region("indian_ocean").boundary))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiles: tuple[Tile, ...]) -> Path:
    folder = tmp_path_factory.mktemp("results")
    put_files(FolderStore(folder), tiles, load_region("indian_ocean").product)
    return folder


def run(folder: Path, *words: str) -> Result:
    words = ("--region", "indian_ocean", "--output", str(folder), "--env", "dev", *words)
    return CliRunner().invoke(reconcile, words)


def test_all_is_well(folder: Path, tiles: tuple[Tile, ...]) -> None:
    result = run(folder, "--verify")
    assert result.exit_code == ExitCode.DONE, result.output
    assert f"{len(tiles)} tiles" in result.output
    assert "sizes and checksums compared" in result.output


def test_each_finding_has_its_command(folder: Path, tiles: tuple[Tile, ...]) -> None:
    store = FolderStore(folder)
    product = load_region("indian_ocean").product
    first, second, third = map(str, tiles[:3])
    gone = [
        entry.key
        for entry in store.list()
        if first in entry.key
        or f"{second}_2019--P1Y.stac-item" in entry.key
        or f"{third}_2019--P1Y_mask" in entry.key
    ]
    for key in gone:
        store.remove(key)
    put_files(store, [Tile(1, 1)], product)
    result = run(folder)
    assert result.exit_code == ExitCode.PLAN_HAS_CHANGES
    where = "--region indian_ocean --period 2019--P1Y"
    place = f"--output {folder}"
    for words in (
        f"partial: cropmask submit {where}",
        f"missing: cropmask submit {where}",
        f"orphan: cropmask rm {where} --tiles x001y001 --env dev {place}",
        f"mismatch: cropmask rm {where} --tiles {third} --env dev {place} && cropmask submit",
    ):
        assert words in result.output
    found = json.loads(run(folder, "--json").stdout)
    assert {name: n for name, n in found["counts"].items() if name != "ok"} == {
        "partial": 1,
        "missing": 1,
        "orphan": 1,
        "mismatch": 1,
    }
    assert len(found["tiles"]) == len(tiles) + 1
    assert not found["ok"]
    put_files(store, tiles[:3], product)
