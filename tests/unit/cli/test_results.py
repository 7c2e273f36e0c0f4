"""``cropmask ls``, ``sync`` and ``rm`` as an operator types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cropmask.catalog.build import build_results
from cropmask.catalog.check import Depth, verify_catalog
from cropmask.catalog.schemas import Schemas
from cropmask.cli.catalog import build
from cropmask.cli.results import ls, rm, sync
from cropmask.contract import ExitCode
from cropmask.errors import Interrupted
from cropmask.grid import Tile
from cropmask.product import Product
from cropmask.remote.fetch import ReadOptions
from cropmask.store.folder import FolderStore
from cropmask.task import RunKey
from tests.demo_run import EASTERN, Results
from tests.results import put_files

TILES = tuple(Tile(210 + i, 75) for i in range(3))
REGION = ("--region", "eastern")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put_files(FolderStore(tmp_path / "a"), TILES)
    return tmp_path / "a"


def run(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, words)


def number_of_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def test_ls(folder: Path) -> None:
    place = ("--output", str(folder))
    result = run(ls, *REGION, *place)
    assert result.exit_code == 0, result.output
    assert "x210y075 2019--P1Y done" in result.stdout
    assert "3 datasets" in result.stderr
    found = json.loads(run(ls, *REGION, *place, "--tiles", "x211y75", "--json").stdout)
    assert [(one["tile"], one["finished"], len(one["files"])) for one in found] == [
        ("x211y075", True, 8)
    ]
    assert run(ls, *REGION, *place, "--period", "2020").stdout == ""


def test_ls_without_a_region_lists_every_product(folder: Path) -> None:
    store = FolderStore(folder)
    western = Product("western", "1.2.0")
    folder_of_tile = western.dataset_folder("x184y086", "2021--P1Y")
    name = western.file_name("x184y086", "2021--P1Y", "_mask.tif")
    store.put(f"{folder_of_tile}/{name}", b"x", "image/tiff")
    store.put("notes/readme.txt", b"x", "text/plain")
    lines = run(ls, "--output", str(folder)).stdout.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("crop_mask_western/1-2-0 x184y086 2021--P1Y unfinished")
    found = json.loads(run(ls, "--output", str(folder), "--json").stdout)
    assert {(one["product"], one["version"]) for one in found} == {
        ("crop_mask_eastern", "1.1.0"),
        ("crop_mask_western", "1.2.0"),
    }


def test_sync_there_and_again(folder: Path, tmp_path: Path) -> None:
    words = (str(folder), str(tmp_path / "b"), *REGION)
    planned = run(sync, *words, "--dry-run")
    assert "x210y075 2019--P1Y would copy 8 files" in planned.stdout
    assert not (tmp_path / "b").exists()
    assert "3 copied" in run(sync, *words).stdout
    assert number_of_files(tmp_path / "b") == number_of_files(folder)
    assert "3 same; 0 B written" in run(sync, *words).stdout


def test_sync_that_leaves_something_out_fails(folder: Path, tmp_path: Path) -> None:
    put_files(FolderStore(tmp_path / "b"), TILES[:1], run_key=RunKey("b" * 64))
    result = run(sync, str(folder), str(tmp_path / "b"), *REGION)
    assert result.exit_code == ExitCode.FAILED
    assert "x210y075 2019--P1Y other: use --overwrite to replace it" in result.stdout


def test_sync_onto_itself_is_refused(folder: Path) -> None:
    assert run(sync, str(folder), f"{folder}/", *REGION).exit_code == ExitCode.USAGE


def test_rm_needs_to_be_told_what_and_to_be_sure(folder: Path) -> None:
    place = (*REGION, "--output", str(folder))
    assert run(rm, *place).exit_code == ExitCode.USAGE
    assert run(rm, *place, "--all", "--tiles", "x210y075").exit_code == ExitCode.USAGE
    assert run(rm, *place, "--all").exit_code == ExitCode.USAGE
    assert "would delete 3 datasets, 24 files" in run(rm, *place, "--all", "--dry-run").stdout
    assert number_of_files(folder) == 24
    assert "deleted 1 dataset, 8 files" in run(rm, *place, "--tiles", "x210y75", "--yes").stdout
    assert number_of_files(folder) == 16
    assert "nothing is there" in run(rm, *place, "--tiles", "x210y75", "--yes").stdout


def problems_of(folder: Path) -> list[str]:
    """What checking a catalog finds."""
    root = str(folder / "catalog.json")
    checked = verify_catalog(root, ReadOptions(), Schemas(None, fetch=False), Depth(contents=False))
    return [str(problem) for problem in checked.problems]


def test_what_is_deleted_leaves_the_catalog_too(results: Results, tmp_path: Path) -> None:
    copied = results.copied(tmp_path / "copy")
    place = ("--output", str(copied.folder), "--models", str(copied.models))
    children = {f"./crop_mask_{name}/collection.json" for name in ("eastern", "models", "western")}
    assert set(children_of(copied.folder)) == children
    done = run(rm, *REGION, *place, "--tiles", str(EASTERN[0]), "--yes")
    assert "its catalog no longer links what was deleted" in done.stderr
    assert problems_of(copied.folder) == []
    collection = json.loads((copied.folder / "crop_mask_eastern/collection.json").read_text())
    assert collection["cropmask:statistics"]["2019--P1Y"]["tiles"] == 1
    assert (copied.folder / "crop_mask_eastern/items.parquet").exists()
    # Without its last item a product is no card without a picture, but nothing.
    run(rm, *REGION, *place, "--all", "--yes")
    assert problems_of(copied.folder) == []
    assert set(children_of(copied.folder)) == children - {"./crop_mask_eastern/collection.json"}


def children_of(folder: Path) -> list[str]:
    links = json.loads((folder / "catalog.json").read_text())["links"]
    return [link["href"] for link in links if link["rel"] == "child"]


def test_a_place_without_a_catalog_gets_none_by_deleting(folder: Path) -> None:
    done = run(rm, *REGION, "--output", str(folder), "--tiles", "x210y75", "--yes")
    assert done.stderr == ""
    assert not (folder / "catalog.json").exists()


def test_a_catalog_that_cannot_be_mended_is_named_with_its_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_results(FolderStore(folder), parquet=False)

    def fail(*_: object, **__: object) -> None:
        raise Interrupted("the disk is full")

    monkeypatch.setattr("cropmask.catalog.build.build_results", fail)
    done = run(rm, *REGION, "--output", str(folder), "--tiles", "x210y75", "--yes")
    assert done.exit_code == 0
    line = f"run 'cropmask catalog build --results {folder}'"
    assert f"still links what was deleted (the disk is full): {line}" in done.stderr


@pytest.mark.parametrize(("command", "option"), [(ls, "--output"), (build, "--results")])
def test_a_folder_that_may_be_mistyped_is_told(
    tmp_path: Path, command: click.Command, option: str
) -> None:
    place = tmp_path / "nosuch"
    for address in (str(place), f"file://{place}"):
        done = run(command, option, address, "--json")
        assert done.exit_code == ExitCode.DONE
        assert done.stderr.splitlines()[0] == f"warning: {place} is not there"
        json.loads(done.stdout)
        place.mkdir(exist_ok=True)
        assert "is not there" not in run(command, option, address).stderr
        shutil.rmtree(place)
