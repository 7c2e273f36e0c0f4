"""Why a tile is as it is: on the demo world, with results and records as workers leave them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from cropmask.cli.explain import explain as explain_command
from cropmask.cli.explain import logs
from cropmask.errors import Rejected
from cropmask.fleet.recordfiles import find_tile_attempts
from cropmask.fleet.records import AttemptRecord, State
from cropmask.grid import Tile
from cropmask.modelfile.model import read_model
from cropmask.operate.explain import Explanation, Presence, explain, find_task
from cropmask.region.region import load_region
from cropmask.results.finder import find_datasets
from cropmask.site.site import Site, open_site
from cropmask.sources.attribution import find_attribution
from cropmask.store.folder import FolderStore
from cropmask.task import Period, Task
from cropmask.testing.store import MemoryStore
from cropmask.tile.itemfacts import make_facts as make_job_facts
from cropmask.tile.job import prepare
from tests.results import make_facts, put_facts
from tests.runs import PERIOD, PRODUCT, make_attempt, make_run, put_records

TILE = Tile(10, 20)
TASK = Task(TILE, "eastern", Period.parse("2019"))
RUN = make_run([TILE])
STAGE = {
    "stage": "classify",
    "wall_seconds": 1.5,
    "cpu_seconds": 3.0,
    "bytes": 5_000_000,
    "peak_memory": 7_000_000,
    "of a later version": 1,
}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory, demo_cache: Path) -> Path:
    """A result of the demo tile, as the boosted model would give it at 100 m."""
    folder = tmp_path_factory.mktemp("results")
    job = prepare(TASK, make_site(folder, demo_cache), recipe="boosted")
    model = read_model(job.basis.model.file)
    figures, owed = make_facts(TILE).statistics, find_attribution(job.sources)
    facts = make_job_facts(job, model, figures, {}, owed)
    put_facts(FolderStore(folder), facts)
    return folder


def make_site(folder: Path, cache: Path) -> Site:
    return open_site({"CROPMASK_CACHE": str(cache)}, {"output": str(folder), "resolution": "100"})


def tell(folder: Path, cache: Path, **asked: object) -> Explanation:
    return explain(TASK, make_site(folder, cache), **asked)


def attempt(state: State, minutes: float = 0, number: int = 1, **more: object) -> AttemptRecord:
    words = {"recipe": "boosted", "resolution": 100, "threads": 2, "host": "cropmask-worker-one-7"}
    return make_attempt(RUN, TILE, state, minutes, number, **{**words, **more})


def test_the_same_would_be_made(mapped: Path, demo_cache: Path) -> None:
    found = tell(mapped, demo_cache, recipe="boosted")
    assert found.presence is Presence.OURS
    assert found.old_key == found.new_key
    assert "the same would be made now" in found.verdict


def test_what_is_asked_for_is_as_in_the_last_attempt(
    mapped: Path, demo_cache: Path, tmp_path: Path
) -> None:
    store = FolderStore(mapped)
    put_records(store, RUN, [attempt(State.SUCCEEDED)])
    site = replace(make_site(mapped, demo_cache), resolution=20)
    found = explain(TASK, site)
    assert (found.recipe, found.resolution) == ("boosted", 100)
    assert "skip it" in found.verdict
    for key in find_tile_attempts(store, PRODUCT, PERIOD, TILE):
        store.remove(key.key)


def test_a_changed_result_says_how(mapped: Path, demo_cache: Path) -> None:
    found = tell(mapped, demo_cache, recipe="forest")
    assert found.verdict.startswith("changed: the result that is there was made with another model")
    assert "--overwrite" in found.verdict
    assert found.old_key != found.new_key


def test_no_attempt(tmp_path: Path, demo_cache: Path) -> None:
    found = tell(tmp_path, demo_cache)
    assert found.presence is Presence.NOTHING
    assert "cropmask submit --region eastern --period 2019--P1Y" in found.verdict
    assert not list(tmp_path.iterdir())
    put_records(FolderStore(tmp_path), RUN)
    verdict = tell(tmp_path, demo_cache).verdict
    assert f"no attempt was made yet, run {RUN.run} has it: cropmask status --run" in verdict


def test_the_last_attempt_failed(tmp_path: Path, demo_cache: Path) -> None:
    failed = [
        attempt(State.FAILED, 1, 1, reason="connection", error="503"),
        attempt(State.FAILED, 2, 2, reason="timed out", error="too long"),
    ]
    put_records(FolderStore(tmp_path), RUN, failed)
    found = tell(tmp_path, demo_cache)
    assert "CROPMASK_TIME_LIMIT" in found.verdict
    assert "cropmask logs x010y020" in found.verdict
    assert [one.key.attempt for one in found.attempts] == ["00000001", "00000002"]


def test_a_tile_whose_run_waits_or_was_canceled(tmp_path: Path, demo_cache: Path) -> None:
    store = FolderStore(tmp_path)
    put_records(store, RUN, [attempt(State.HELD, 1, 1, error="the catalog moves")])
    assert tell(tmp_path, demo_cache).verdict == (
        "it is held, as its run waits (the catalog moves); to have that go on: "
        f"cropmask run resume {RUN.run} --output {tmp_path}"
    )
    put_records(store, RUN, [attempt(State.CANCELED, 2, 2, error="wrong year")])
    verdict = tell(tmp_path, demo_cache).verdict
    assert "its run was canceled (wrong year); to send it all the same: cropmask submit" in verdict


def test_an_attempt_that_has_not_ended(tmp_path: Path, demo_cache: Path) -> None:
    begun = attempt(State.PROCESSING)
    now = replace(begun, started=datetime.now(UTC).isoformat(), lease_seconds=300.0)
    put_records(FolderStore(tmp_path), RUN, [now])
    assert tell(tmp_path, demo_cache).verdict == "an attempt is running"


def test_an_attempt_whose_worker_died(tmp_path: Path, demo_cache: Path) -> None:
    put_records(FolderStore(tmp_path), RUN, [attempt(State.PROCESSING)])
    found = tell(tmp_path, demo_cache)
    assert found.verdict.startswith("the last attempt failed: a worker or its node died")
    assert found.attempts[-1].key.state is State.FAILED


def test_files_without_an_item(mapped: Path, demo_cache: Path, tmp_path: Path) -> None:
    (dataset,) = find_datasets(FolderStore(mapped), load_region("eastern").product)
    name = dataset.item_key.replace(".stac-item.json", "_mask.tif")
    FolderStore(tmp_path).put(name, b"", "image/tiff")
    found = tell(tmp_path, demo_cache)
    assert found.presence is Presence.PARTIAL
    assert "an interrupted attempt left files; no attempt was made" in found.verdict
    FolderStore(tmp_path).put(dataset.item_key, b"{}", "")
    assert tell(tmp_path, demo_cache).presence is Presence.FOREIGN


def test_there_can_be_no_result(tmp_path: Path, demo_cache: Path) -> None:
    task = replace(TASK, tile=Tile(11, 20))
    found = explain(task, make_site(tmp_path, demo_cache))
    assert found.verdict.startswith("there can be no result: tile x011y020 is outside")


def test_the_task_is_that_of_the_newest_run_with_the_tile(demo_cache: Path) -> None:
    store, site = MemoryStore(), make_site(Path("nowhere"), demo_cache)
    put_records(store, RUN)
    put_records(
        store, make_run([TILE], "newer", period="2020--P1Y", submitted="2027-01-01T00:00:00Z")
    )
    assert find_task(store, site, TILE, None, None).period == Period.parse("2020")
    assert find_task(store, site, TILE, "eastern", Period.parse("2019")) == TASK
    with pytest.raises(Rejected, match="name its --region and --period"):
        find_task(store, site, Tile(1, 1), None, None)


def test_attempts_of_all_runs_by_start() -> None:
    store = MemoryStore()
    other = make_run([TILE], "20200101t000000-0000")
    put_records(store, RUN, [attempt(State.FAILED, 5, 1), attempt(State.PROCESSING, 9, 3)])
    put_records(store, other, [make_attempt(other, TILE, State.FAILED, 7, 2)])
    put_records(store, RUN, [make_attempt(RUN, Tile(10, 21), State.FAILED, 7, 4)])
    store.put(attempt(State.FAILED, 9, 3).key.key, b"{}", "")
    found = find_tile_attempts(store, PRODUCT, PERIOD, TILE)
    assert [(key.attempt[-1], key.state) for key in found] == [
        ("1", "FAILED"),
        ("2", "FAILED"),
        ("3", "FAILED"),
    ]


def test_logs(tmp_path: Path) -> None:
    failed = attempt(
        State.FAILED, 3, reason="connection", error="503", exit_code=10, seconds=12.5,
        cpu_seconds=20.0, peak_memory=1_700_000_000, bytes_read=3_000_000, retries=4,
        stages=(STAGE,), versions={"cropmask": "0.1.0"},
    )  # fmt: skip
    store = FolderStore(tmp_path)
    put_records(store, RUN, [failed, attempt(State.SUCCEEDED, 9, 2, stages=({"nonsense": 1},))])
    words = ("x10y20", "--output", str(tmp_path))
    text = CliRunner().invoke(logs, words, catch_exceptions=False).output
    for part in ("2026-01-02 03:03:00 UTC  FAILED", "connection: 503", "12.5 s", "1.7 GB at most",
                 "3.0 MB", "classify", "cropmask 0.1.0",
                 "kubectl -n cropmask logs cropmask-worker-one-7",
                 "keeps no other log", "stages    cannot be read"):  # fmt: skip
        assert part in text, part
    found = json.loads(CliRunner().invoke(logs, (*words, "--json")).output)
    assert [one["state"] for one in found] == ["FAILED", "SUCCEEDED"]
    put_records(store, RUN, [attempt(State.SUCCEEDED, 12, 3, host="my-laptop")])
    at_home = CliRunner().invoke(logs, (*words, "--run", RUN.run)).output
    assert "kubectl -n cropmask logs cropmask-worker-one-7" in at_home, "a pod was among them"
    none = CliRunner().invoke(logs, (*words, "--run", "none")).output
    assert none == "no attempt of x010y020 in 2019--P1Y was written down\n"


def test_explain_on_the_command_line(mapped: Path, demo_cache: Path) -> None:
    words = ("x10y20", "--region", "eastern", "--period", "2019", "--output", str(mapped),
             "--model", "boosted", "--resolution", "100")  # fmt: skip
    environ = {"CROPMASK_CACHE": str(demo_cache)}
    text = CliRunner(env=environ).invoke(explain_command, words, catch_exceptions=False).output
    assert "x010y020 eastern 2019--P1Y: the result is there, and the same would be made" in text
    assert "now      run key" in text
    found = json.loads(CliRunner(env=environ).invoke(explain_command, (*words, "--json")).output)
    assert found["old_key"] == found["new_key"]
