"""``cropmask run``, the limits of ``submit``, and what ``status`` and ``redrive`` say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cropmask.cli.main import cropmask
from cropmask.errors import CropmaskError, Reason, Rejected
from cropmask.fleet.control import RunState, change_control, load_control, stop
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import Journal, find_attempts
from cropmask.fleet.records import RunRecord, State
from cropmask.fleet.worker import Clock, OrderRunner, Rules, Worker
from cropmask.grid import Tile
from cropmask.machine.heartbeat import Heartbeat
from cropmask.machine.signals import Stop
from cropmask.operate.runcontrol import list_runs
from cropmask.operate.submit import put_task_file, send
from cropmask.queue.folder import FolderQueue
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from cropmask.testing.metrics import MemoryMetrics
from tests.regions import block, make_region
from tests.runs import make_attempt, make_run, put_records

TILES = tuple(Tile(x, 20) for x in range(10, 16))
NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROPMASK_OUTPUT", str(tmp_path / "output"))
    return tmp_path / "output"


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cropmask, words)


def said(*words: str) -> str:
    result = invoke(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*words: str) -> CropmaskError:
    error = invoke(*words).exception
    assert isinstance(error, CropmaskError), error
    return error


def sent(folder: Path, run: str = "night-1", **more: Any) -> RunRecord:
    record = make_run(TILES, run, sent=0, **more)
    return send(record, FolderStore(folder), FolderQueue(folder / "_queue"))


def work(
    folder: Path,
    outcome: Callable[[str], Outcome] = lambda _: Outcome(State.SUCCEEDED),
    queue: FolderQueue | None = None,
) -> None:
    """A worker, until the queue is empty."""
    journal = Journal(FolderStore(folder), open_site())
    runner = OrderRunner(
        lambda order, *_: outcome(str(order.task.tile)), journal, MemoryMetrics(), Clock()
    )
    queue = queue or FolderQueue(folder / "_queue")
    Worker(queue, runner, Rules(idle_exit=0), Heartbeat(None), Stop()).run()


def states(folder: Path, record: RunRecord) -> list[State]:
    return [key.state for key in find_attempts(FolderStore(folder), *record.place)]


def test_a_run_is_paused_listed_and_resumed(folder: Path) -> None:
    record = sent(folder)
    paused = said("run", "pause", "night-1", "--why", "the catalog moves")
    assert "Run night-1 is paused; to have it go on: cropmask run resume night-1" in paused
    assert "was paused already" in said("run", "pause", "night-1")
    work(folder)
    assert states(folder, record) == [State.HELD] * 6
    status = said("status")
    assert "HELD             6  its run waits; resuming it sends it again" in status
    assert "ends    paused: the catalog moves" in status
    assert "> is paused since 20" in status
    assert "the catalog moves; to have it go on: cropmask run resume night-1" in status
    listed = said("run", "list").splitlines()
    assert listed[1].split()[:8] == [
        "night-1",
        "crop_mask_eastern",
        "2019--P1Y",
        "paused",
        "0",
        "6",
        "6",
        "0",
    ]
    assert "paused: the catalog moves" in said("status", "--watch"), (
        "nobody waits for a run that waits"
    )
    assert "goes on; 6 held tiles sent again" in said("run", "resume", "night-1")
    assert "was going on already; 0 held tiles" in said("run", "resume", "night-1")
    work(folder)
    assert states(folder, record) == [State.SUCCEEDED] * 6


def test_held_orders_go_back_to_the_folder_that_they_came_from(folder: Path) -> None:
    store, queue = FolderStore(folder), FolderQueue(folder.parent / "elsewhere")
    record = send(make_run(TILES, "night-1", sent=0), store, queue)
    said("run", "pause", "night-1")
    work(folder, queue=queue)
    assert states(folder, record) == [State.HELD] * 6
    assert f"6 held tiles sent again to {queue.address}" in said("run", "resume", "night-1")
    assert queue.counts().visible == len(TILES)
    assert not (folder / "_queue").exists()


def test_a_run_of_a_task_file_goes_on_without_a_queue(folder: Path, tmp_path: Path) -> None:
    store = FolderStore(folder)
    record = make_run(TILES, "night-1", sent=0, catalog=str(tmp_path / "catalog.json"))
    address = put_task_file(record, store)
    said("run", "pause", "night-1")
    held = [
        make_attempt(record, tile, State.HELD, number=number) for number, tile in enumerate(TILES)
    ]
    put_records(store, record, held)
    text = said("run", "resume", "night-1")
    assert "Run night-1 goes on; 6 held tiles free again, but in no queue" in text
    line = f"each pod with: cropmask worker --tasks {address} --catalog {tmp_path}/catalog.json\n"
    assert line in text
    assert load_control(store, *record.place).is_running
    assert states(folder, record) == []
    assert not (folder / "_queue").exists()


def test_a_run_is_canceled_for_good(folder: Path) -> None:
    record = sent(folder)
    said("run", "pause", "night-1")
    work(folder)
    assert "Run night-1 is canceled; 6 held tiles dropped" in said("run", "cancel", "night-1")
    assert "was canceled already" in said("run", "cancel", "night-1")
    assert states(folder, record) == [State.CANCELED] * 6
    document = json.loads(said("status", "--json"))
    assert document["counts"]["CANCELED"] == 6
    assert (document["remaining"], document["control"]["state"]) == (0, "canceled")
    for words in (("run", "resume", "night-1"), ("run", "pause", "night-1")):
        assert "was canceled, which is for good" in str(refused(*words))
    with pytest.raises(Rejected, match="was canceled, which is for good"):
        send(record, FolderStore(folder), FolderQueue(folder / "_queue"))


def test_tiles_of_a_canceled_run_that_were_never_sent_are_canceled_too(folder: Path) -> None:
    record = make_run(TILES, "night-1", sent=2)
    put_records(FolderStore(folder), record)
    said("run", "cancel", "night-1")
    counts = json.loads(said("status", "--json"))["counts"]
    assert (counts["PENDING"], counts["CANCELED"]) == (2, 4)


def test_a_name_that_several_runs_have_must_be_said_more_precisely(folder: Path) -> None:
    sent(folder)
    sent(folder, product="crop_mask_western", region="western")
    assert "say which with --region and --period" in str(refused("run", "pause", "night-1"))
    said("run", "pause", "night-1", "--region", "western")
    store = FolderStore(folder)
    assert load_control(store, "crop_mask_eastern", "2019--P1Y", "night-1").is_running
    assert not load_control(store, "crop_mask_western", "2019--P1Y", "night-1").is_running
    found = json.loads(said("run", "list", "--json"))
    assert {one["product"]: one["state"] for one in found} == {
        "crop_mask_eastern": "running",
        "crop_mask_western": "paused",
    }
    assert "there is no run 'night-9'" in str(refused("run", "cancel", "night-9"))


def test_a_run_over_its_budget_needs_more_to_go_on(folder: Path) -> None:
    record = sent(folder)
    store = FolderStore(folder)
    said("run", "resume", "night-1", "--max-cost", "0.5")
    attempts = [
        make_attempt(record, tile, State.SUCCEEDED, 1, n, seconds=3600.0, threads=4)
        for n, tile in enumerate(TILES[:3])
    ]
    put_records(store, record, attempts)
    work(folder)
    control = load_control(store, *record.place)
    assert (control.state, control.reason) == (RunState.STOPPED, "over budget")
    status = said("status")
    assert "cost    $0.60 so far: 120% of $0.50, 12.0 CPU hours" in status
    assert "(as it was submitted)" in status
    assert "go on with twice as much: cropmask run resume night-1 --max-cost 1" in status
    document = json.loads(said("status", "--json"))
    assert document["spent_share"] == pytest.approx(1.2)
    assert document["control"]["max_cost"] == 0.5
    error = refused("run", "resume", "night-1")
    assert error.reason is Reason.OVER_BUDGET
    assert str(error) == (
        "run night-1 cannot go on: it has cost $0.60 at $0.05 per CPU hour, and may cost $0.50; "
        "give more, such as: cropmask run resume night-1 --max-cost 1.2"
    )
    assert "is paused; to have it go on" in said("run", "pause", "night-1")
    assert load_control(store, *record.place).state is RunState.PAUSED  # 'redrive' leaves it alone
    assert "it may cost $1.20" in said("run", "resume", "night-1", "--max-cost", "1.2")
    work(folder)
    assert sorted(states(folder, record)).count(State.SUCCEEDED) >= 6


def test_a_run_of_which_nothing_is_left_is_done(folder: Path) -> None:
    record = sent(folder)

    def listed() -> tuple[str, int]:
        (document,) = json.loads(said("run", "list", "--json"))
        return said("run", "list").splitlines()[1].split()[3], document["remaining"]

    assert listed() == ("running", 6)
    ends = [State.SUCCEEDED, State.SKIPPED, State.INVALID, State.SUCCEEDED, State.SUCCEEDED]
    last = len(ends)
    attempts = [make_attempt(record, TILES[n], state, 1, n) for n, state in enumerate(ends)]
    failed = make_attempt(record, TILES[last], State.FAILED, 1, last)
    put_records(FolderStore(folder), record, [*attempts, failed])
    assert listed() == ("running", 1), "it will be tried again"
    again = make_attempt(record, TILES[last], State.SUCCEEDED, 2, last + 1)
    put_records(FolderStore(folder), record, [again])
    assert listed() == ("done", 0)
    said("run", "pause", "night-1")
    assert listed() == ("paused", 0), "what somebody said goes before"


def test_a_small_budget_is_said_in_figures(folder: Path) -> None:
    record = sent(folder)
    said("run", "resume", "night-1", "--max-cost", "0.004")
    attempt = make_attempt(record, TILES[0], State.SUCCEEDED, 1, 1, seconds=1573.2, threads=4)
    put_records(FolderStore(folder), record, [attempt])
    assert "cost    $0.087 so far: 2,185% of $0.004, " in said("status")
    assert said("run", "list").splitlines()[1].endswith("$0.004")


def test_redrive_brings_a_run_back_that_was_stopped_for_its_tiles(folder: Path) -> None:
    record = sent(folder)
    store = FolderStore(folder)
    bad = Outcome(error=Rejected("403", reason=Reason.ACCESS_DENIED))
    work(folder, lambda tile: bad if tile < "x013" else Outcome(State.SUCCEEDED))
    change_control(store, *record.place, stop(Reason.ACCESS_DENIED, "on three"), NOW)
    assert "run night-1 goes on, 0 held tiles sent as well" in said("redrive")
    work(folder)
    assert json.loads(said("status", "--json"))["counts"]["SUCCEEDED"] == 6


def test_redrive_leaves_a_run_that_somebody_paused(folder: Path) -> None:
    sent(folder)
    work(folder, lambda _: Outcome(error=Rejected("no", reason=Reason.NO_MODEL)))
    said("run", "pause", "night-1", "--why", "wait")
    output = said("redrive")
    assert "6 dead letters sent back" in output
    assert "run night-1 is paused since" in output
    assert "wait; to have it go on: cropmask run resume night-1" in output


def test_a_run_that_needs_more_than_it_may_is_not_sent(folder: Path, tmp_path: Path) -> None:
    world = make_region(tmp_path / "world", block(2, 2), without=())
    where = ("submit", "--region", str(world.region), "--catalog", str(world.catalog))
    error = refused(*where, "--max-tiles", "3")
    assert error.reason is Reason.TOO_MANY_TILES
    assert str(error).startswith("the run has 4 tiles, and --max-tiles allows 3: name fewer with")
    error = refused(*where, "--max-cost", "0.01")
    assert error.reason is Reason.OVER_BUDGET
    assert str(error).startswith("4 tiles may cost $0.012 at $0.05 per CPU hour (default of 2026-")
    assert "and --max-cost allows $0.01" in str(error)
    assert not list(FolderStore(folder).list("_runs/"))
    assert FolderQueue(folder / "_queue").counts().waiting == 0
    limits = ("--max-tiles", "4", "--max-cost", "3", "--run", "night-1")
    said(*where, *limits)
    said(*where, *limits)  # as it is sent again where it was stopped
    ((_, record),) = [(one, one.record) for one in list_runs(FolderStore(folder))]
    control = load_control(FolderStore(folder), *record.place)
    assert (control.max_cost, control.max_tiles, control.cpu_hour_price) == (3.0, 4, 0.05)
    assert control.number == 1
    other = refused(*where, "--run", "night-1", "--max-cost", "4")
    assert str(other) == (
        "run night-1 is under way with other limits: 'cropmask run resume' changes them"
    )
