"""``cropmask plan`` and ``cropmask submit`` as an operator types them, on one machine."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner, Result

from cropmask.cli.console import STOPPED
from cropmask.cli.main import cropmask
from cropmask.cli.plan import plan
from cropmask.cli.status import status
from cropmask.cli.submit import submit
from cropmask.contract import ExitCode
from cropmask.errors import Drained, Misconfigured, Rejected
from cropmask.fleet.recordfiles import find_runs, load_run, load_runs, put_run
from cropmask.fleet.records import Canary, State
from cropmask.fleet.taskfile import load_order
from cropmask.kube.workermanifests import job_name
from cropmask.operate.planfile import Need, Plan
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Message
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from cropmask.testing.cluster import MemoryCluster
from tests.regions import RegionWorld, block, make_region
from tests.turns import PRODUCT, Turns, work_while_waiting

TILES = block(2, 2)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegionWorld:
    monkeypatch.chdir(tmp_path)
    return make_region(tmp_path / "world", TILES, without=TILES[3:])


def words_of(world: RegionWorld) -> list[str]:
    return ["--region", str(world.region), "--catalog", str(world.catalog), "--output", "out"]


def run(command: Any, *words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False, standalone_mode=False)


def finish(world: RegionWorld, index: int) -> None:
    Turns(world).finish(TILES[index])


def bodies(queue: FolderQueue) -> list[str]:
    found = []
    while (lease := queue.lease(seconds=60)) is not None:
        found.append(json.loads(lease.message.body)["tile"])
    return sorted(found)


def test_plan_says_what_is_and_what_it_would_take(world: RegionWorld) -> None:
    finish(world, 0)
    text = run(plan, *words_of(world), "--workers", "2").output
    assert "2  new" in text
    assert "1  unchanged" in text
    assert "1  no input" in text
    assert "no GeoMAD for January to June 2019" in text
    assert "2 tiles to compute: 4 min of one worker, about 107 s with 2; 1.9 GB" in text
    assert "measured on 2 CPUs with local files" in text
    assert "$0.01 at $0.05 per CPU hour" in text


def test_plan_says_why_a_tile_changed(world: RegionWorld) -> None:
    finish(world, 0)
    world.edit("slope_percent = 50.0", "slope_percent = 40.0")
    text = run(plan, *words_of(world)).output
    assert f"changed configuration: other limits: {TILES[0]}" in text


def test_check_ends_with_20_while_there_is_something_to_do(world: RegionWorld) -> None:
    assert CliRunner().invoke(plan, [*words_of(world), "--check"]).exit_code == 20
    for index in range(3):
        finish(world, index)
    done = CliRunner().invoke(plan, [*words_of(world), "--check"])
    assert (done.exit_code, "Nothing to compute." in done.output) == (0, True)
    assert ExitCode.PLAN_HAS_CHANGES == 20


def test_json_is_the_plan(world: RegionWorld) -> None:
    output = run(plan, *words_of(world), "--json", "--out", "plan.json").output
    assert Plan.from_json(output) == Plan.from_json(Path("plan.json").read_bytes())


@pytest.mark.parametrize("form", ["names", "file", "aoi"])
def test_some_tiles(world: RegionWorld, form: str) -> None:
    Path("tiles.txt").write_text(f"{TILES[0]}\n{TILES[1]}\n")
    left, bottom, right, top = TILES[0].bounds
    ring = [[left, bottom], [right, bottom], [right, top + 50], [left, top + 50], [left, bottom]]
    crs = {"type": "name", "properties": {"name": "EPSG:6933"}}
    area = {"type": "Polygon", "coordinates": [ring], "crs": crs}
    Path("aoi.geojson").write_text(json.dumps(area))
    chosen = {
        "names": ("--tiles", f"{TILES[0]},{TILES[1]}"),
        "file": ("--tiles", "tiles.txt"),
        "aoi": ("--aoi", "aoi.geojson"),
    }[form]
    made = Plan.from_json(run(plan, *words_of(world), *chosen, "--json").output)
    assert [planned.tile for planned in made.tiles] == list(TILES[:2])


def test_an_area_that_reaches_beyond_the_region_asks_for_no_more(world: RegionWorld) -> None:
    left, bottom, _, _ = TILES[0].bounds
    ring = [[left - 1e6, bottom - 1e6], [left + 1e6, bottom - 1e6], [left, bottom + 1e6]]
    crs = {"type": "name", "properties": {"name": "EPSG:6933"}}
    area = {"type": "Polygon", "coordinates": [[*ring, ring[0]]], "crs": crs}
    Path("aoi.geojson").write_text(json.dumps(area))
    made = Plan.from_json(run(plan, *words_of(world), "--aoi", "aoi.geojson", "--json").output)
    assert {planned.tile for planned in made.tiles} <= set(TILES)
    assert made.tiles


@pytest.mark.parametrize("words", [("--tiles", " "), ("--tiles", "nonsense")])
def test_no_tiles_are_a_mistake(world: RegionWorld, words: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="write it like x215y075"):
        run(plan, *words_of(world), *words)


def test_a_plan_is_sent_and_is_then_a_run(world: RegionWorld) -> None:
    finish(world, 0)
    said = run(plan, *words_of(world), "--out", "plan.json").output
    here = Path("plan.json").absolute()
    assert said.splitlines()[-1] == f"Next: cropmask submit {here}", "a plan names its places"
    text = run(submit, "plan.json", "--run", "first").output
    assert "Run first: 2 tiles of" in text
    assert "not sent: 1 unchanged (--all sends them, to be skipped)" in text
    assert "not sent: 1 without GeoMAD" in text
    places = f"--catalog {world.catalog.absolute()} --output {Path('out').absolute()}"
    file = world.region.absolute()
    assert f"Next: cropmask worker --region-file {file} {places}" in text
    status_said = run(status, "--run", "first", "--output", "out").output
    assert f"cropmask worker --region-file {file}" in status_said
    worker_site = open_site({"CROPMASK_REGION_FILES": str(file)})
    assert worker_site.region("testland").product.name == PRODUCT
    assert f"cropmask status --run first --watch {places}" in text
    record = load_run(FolderStore(Path("out")), PRODUCT, "2019--P1Y", "first")
    assert record.places == {"env": "local", "catalog": str(world.catalog.absolute())}
    assert bodies(FolderQueue(Path("out/_queue"))) == [str(TILES[1]), str(TILES[2])]
    assert find_runs(FolderStore(Path("out")), PRODUCT, "2019--P1Y") == ("first",)


def test_a_plan_is_not_sent_twice_without_a_word(world: RegionWorld) -> None:
    run(plan, *words_of(world), "--out", "plan.json")
    run(submit, "plan.json", "--run", "first")
    with pytest.raises(Rejected, match=r"plan\.json is out of date: run first was submitted since"):
        run(submit, "plan.json")
    with pytest.raises(
        Rejected, match="with 3 tiles; plan again, or send it as it is with --force"
    ):
        run(submit, "plan.json", "--dry-run")
    assert "3 tiles" in run(submit, "plan.json", "--run", "first").output, "it goes on"
    assert "3 tiles" in run(submit, "plan.json", "--run", "second", "--force").output


def test_a_plan_is_out_of_date_when_results_have_come(world: RegionWorld) -> None:
    run(plan, *words_of(world), "--out", "plan.json")
    finish(world, 0)
    with pytest.raises(Rejected, match="results of 1 tile came or went since"):
        run(submit, "plan.json")
    run(plan, *words_of(world), "--out", "plan.json")
    assert "2 tiles" in run(submit, "plan.json").output


def test_the_same_run_again_sends_nothing_again(world: RegionWorld) -> None:
    for _ in range(2):
        assert "3 tiles" in run(submit, *words_of(world), "--run", "first").output
    assert len(bodies(FolderQueue(Path("out/_queue")))) == 3


def cancel_newest() -> None:
    newest = load_runs(FolderStore(Path("out")))[-1].run
    run(cropmask, "run", "cancel", newest, "--output", "out")


def test_tiles_that_wait_are_not_sent_a_second_time(world: RegionWorld) -> None:
    two = (*words_of(world), "--tiles", f"{TILES[0]},{TILES[1]}")
    run(submit, *two, "--run", "first")
    said = (
        r"run first is not finished and has 2 of 2 tiles already \(2 PENDING\): 'cropmask status "
    )
    for words in ((), ("--dry-run",), ("--direct",), ("--run", "second", "--all")):
        with pytest.raises(Rejected, match=said) as caught:
            run(submit, *two, *words)
    assert "'cropmask run cancel first --output " in str(caught.value)
    assert "1 tile of" in run(submit, *words_of(world), "--tiles", str(TILES[2])).output
    assert "2 tiles of" in run(submit, *two, "--force").output
    assert len(bodies(FolderQueue(Path("out/_queue")))) == 5


def test_messages_of_which_no_run_is_known_are_told(world: RegionWorld) -> None:
    FolderQueue(Path("elsewhere")).send([Message("{}")])
    words = (*words_of(world), "--queue", "elsewhere")
    done = run(submit, *words, "--json")
    assert json.loads(done.stdout)["tiles"] == 3
    assert "1 message already in elsewhere, of runs that are not written down in out" in done.stderr
    cancel_newest()
    assert "already in elsewhere" not in run(submit, *words).stderr


def test_everything_and_overwrite(world: RegionWorld) -> None:
    for index in range(3):
        finish(world, index)
    assert "Nothing to send." in run(submit, *words_of(world)).output
    assert find_runs(FolderStore(Path("out")), PRODUCT, "2019--P1Y") == ()
    assert json.loads(run(submit, *words_of(world), "--json").output)["tiles"] == 0
    assert "3 tiles" in run(submit, *words_of(world), "--all").output
    world.edit("slope_percent = 50.0", "slope_percent = 40.0")
    cancel_newest()
    text = run(submit, *words_of(world)).output
    assert "not sent: 3 changed (--overwrite computes them anew)" in text
    facts = json.loads(run(submit, *words_of(world), "--overwrite", "--json").output)
    assert facts["tiles"] == 3
    assert facts["job"] is None


def test_a_dry_run_prints_a_manifest_and_leaves_nothing(world: RegionWorld) -> None:
    words = (*words_of(world), "--workers", "3", "--image", "image:1", "--dry-run")
    done = run(submit, *words)
    manifest = yaml.safe_load(done.stdout)
    kubernetes_validate.validate(manifest, "1.36", strict=True)
    assert manifest["spec"]["parallelism"] == 3
    comments = [line for line in done.stdout.splitlines() if line.startswith('# {"attr')]
    assert len(comments) == 3
    assert "pods could not do this run: results go to the folder out" in done.stderr
    assert not Path("out").exists()
    found = json.loads(run(submit, *words, "--json", "--direct").stdout)
    assert len(found["messages"]) == 3
    assert found["manifest"]["spec"]["completions"] == 3


@pytest.mark.parametrize("stop", STOPPED)
def test_whoever_stops_a_submission_is_told_how_to_go_on(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def send(*_words: object) -> int:
        raise stop

    monkeypatch.setattr(FolderQueue, "send", send)
    with pytest.raises(
        Drained, match=r"0 of 3 tasks were sent: .* --resume first .*--output /.*out"
    ):
        run(submit, *words_of(world), "--run", "first")


def test_a_task_file_instead_of_a_queue(world: RegionWorld) -> None:
    text = run(submit, *words_of(world), "--direct", "--run", "direct").output
    assert "array size 3, indexes from 0" in text
    assert "each with: cropmask worker --tasks" in text
    address = next(word for word in text.split() if word.endswith("tasks.jsonl"))
    assert [load_order(address, index).task.tile for index in range(3)] == list(TILES[:3])
    assert not Path("out/_queue").exists()


class Everywhere(MemoryCluster):
    """A cluster whose Jobs end as soon as they are watched."""

    def watch(self, name: str) -> Any:
        ended = {"type": "Failed" if "fails" in name else "Complete", "status": "True"}
        self.patch(name, conditions=[{**ended, "reason": "Because", "message": "of it"}])
        return super().watch(name)


def test_a_job_is_created_watched_and_cancelled(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Everywhere("here")
    monkeypatch.setattr("cropmask.kube.doors.open_cluster", lambda _namespace: cluster)
    monkeypatch.setattr("cropmask.operate.submit.find_obstacles", lambda *_args, **_words: ())
    words = (*words_of(world), "--workers", "2", "--image", "image:1", "--namespace", "here")
    text = run(submit, *words, "--run", "one").output
    assert f"Job {job_name('one')} in namespace here is created" in text
    text = run(submit, *words, "--run", "one", "--watch").output
    assert f"Job {job_name('one')} in namespace here was there already" in text
    assert "Complete" in text.splitlines()[-1]
    failed = CliRunner().invoke(submit, [*words, "--run", "fails", "--force", "--watch"])
    assert failed.exit_code == ExitCode.FAILED
    assert "Failed (Because: of it)" in failed.output
    text = run(submit, "--cancel", "one", "--namespace", "here", "--dry-run").output
    assert f"Job {job_name('one')} would be deleted" in text
    assert cluster.get(job_name("one")) is not None
    text = run(submit, "--cancel", "one", "--namespace", "here").output
    assert f"Job {job_name('one')} is deleted" in text
    assert cluster.get(job_name("one")) is None


def test_a_cluster_that_refuses_is_asked_before_anything_is_sent(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "cropmask.kube.doors.open_cluster", lambda _namespace: MemoryCluster("other")
    )
    monkeypatch.setattr("cropmask.operate.submit.find_obstacles", lambda *_args, **_words: ())
    with pytest.raises(Misconfigured, match="namespace cropmask, not other"):
        run(submit, *words_of(world), "--workers", "1", "--image", "image:1")
    assert not Path("out").exists()


def test_pods_that_could_not_do_it_are_not_started(world: RegionWorld) -> None:
    with pytest.raises(Misconfigured, match=r"pods could not do this run: .* --output s3://"):
        run(submit, *words_of(world), "--workers", "1", "--image", "image:1")
    with pytest.raises(Misconfigured, match="give --image or set CROPMASK_IMAGE"):
        run(submit, *words_of(world), "--workers", "1")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a plan, or --region"),
        (("plan.json", "--region", "eastern"), "leave out --region"),
        (("plan.json", "--output", "x"), "leave out --output"),
        (("--region", "eastern", "--watch"), "add --workers"),
        (("--region", "eastern", "--canary", "3", "--direct"), "needs a queue: no --direct"),
        (("--region", "eastern", "--canary-crop", "60,5"), "no pair of growing percentages"),
        (("--region", "eastern", "--canary-crop", "5,60"), "add --canary"),
        (("--region", "eastern", "--canary-nodata", "0,9"), "--canary-nodata is of a canary"),
    ],
)
def test_wrong_command_lines(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(submit, words)
    assert done.exit_code == ExitCode.USAGE
    assert said in done.output


def test_a_plan_that_is_none_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    with pytest.raises(Misconfigured, match=r"plan\.json cannot be read"):
        run(submit, str(file))
    file.write_text("{}")
    with pytest.raises(Rejected, match=r"plan\.json cannot be used: it is no plan"):
        run(submit, str(file))


def test_a_plan_is_for_its_own_catalog(world: RegionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    run(plan, *words_of(world), "--out", "plan.json")
    document = json.loads(Path("plan.json").read_text())
    Path("plan.json").write_text(json.dumps({**document, "catalog": None}))
    monkeypatch.setenv("CROPMASK_CATALOG", "elsewhere")
    with pytest.raises(Misconfigured, match="is a plan for the made-up demo world"):
        run(submit, "plan.json")


def test_a_run_that_does_not_exist_is_not_resumed(world: RegionWorld) -> None:
    with pytest.raises(Rejected, match="there is no run lost"):
        run(submit, *words_of(world), "--resume", "lost")


def test_needs_are_all_explained() -> None:
    from cropmask.cli.plan import _MEANINGS

    assert set(_MEANINGS) == set(Need)


def test_strict_inputs_of_a_plan_reach_the_pods(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = world.item_file(TILES[0], 0)
    text = item.read_text().replace("2021-06-15", "2022-06-15").replace('"id": "', '"id": "new_')
    (item.parent / "newer_x.json").write_text(text)
    words = ("--region", str(world.region), "--catalog", str(world.items), "--output", "out")
    run(plan, *words, "--strict-inputs", "--out", "plan.json")
    planned = Plan.from_json(Path("plan.json").read_text())
    assert [tile.need for tile in planned.tiles] == [
        Need.INVALID,
        Need.NEW,
        Need.NEW,
        Need.NO_INPUT,
    ]
    more = ("--workers", "1", "--image", "image:1", "--dry-run", "--json")
    sent = json.loads(run(submit, "plan.json", *more).stdout)
    container = sent["manifest"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "CROPMASK_STRICT_INPUTS", "value": "1"} in container["env"]
    assert len(sent["messages"]) == 2
    with pytest.raises(click.UsageError, match="leave out --strict-inputs"):
        run(submit, "plan.json", "--strict-inputs", "--dry-run")
    run(plan, *words, "--out", "plan.json")
    sent = json.loads(run(submit, "plan.json", *more).stdout)
    assert len(sent["messages"]) == 3
    assert "STRICT" not in json.dumps(sent["manifest"])
    monkeypatch.setenv("CROPMASK_STRICT_INPUTS", "1")
    assert "CROPMASK_STRICT_INPUTS" in run(submit, "plan.json", *more).stdout


@pytest.mark.parametrize("named", [False, True])
def test_places_of_a_file_of_settings_hold_for_all_that_follows(
    world: RegionWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Found in a folder above, or named: what is printed is pasted, and pods are told."""
    file = tmp_path / ("mine.toml" if named else "cropmask.toml")
    file.write_text(
        f"catalog = '{world.catalog}'\noutput = 'out'\nlimits = {{pages = 500}}\nresolution = 20\n"
    )
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.delenv("CROPMASK_CONFIG")
    config = ("--config", "../mine.toml") if named else ()
    pasted = ["--config", str(file.resolve())]
    region = str(world.region.absolute())

    said = run(plan, "--region", region, "--out", "plan.json", *config).output
    next_line = shlex.split(said.splitlines()[-1].removeprefix("Next: "))
    assert next_line == ["cropmask", "submit", str(below / "plan.json"), *pasted]
    words = (*next_line[2:], "--workers", "2", "--image", "i", "--any-node", "--json")
    manifest = json.loads(run(submit, *words, "--dry-run").output.splitlines()[-1])["manifest"]
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert told["CROPMASK_LIMITS"] == "pages=500"
    assert told["CROPMASK_RESOLUTION"] == "20"
    assert told["CROPMASK_OUTPUT"] == str(tmp_path / "out")
    assert told["CROPMASK_CATALOG"] == str(world.catalog.absolute())

    said = run(submit, *next_line[2:], "--run", "first").output
    worker, look = (shlex.split(line.removeprefix("Next:")) for line in said.splitlines()[-2:])
    assert worker == ["cropmask", "worker", "--region-file", region, *pasted]
    assert look == ["cropmask", "status", "--run", "first", "--watch", *pasted]
    standing = json.loads(run(status, *[w for w in look[2:] if w != "--watch"], "--json").output)
    assert standing["run"] == "first"
    assert (tmp_path / "out").is_dir()
    assert not (below / "out").exists()


ANYTHING = ("--canary-crop", "0,100", "--canary-nodata", "0,100")


def test_a_canary_is_judged_before_the_rest_is_sent(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_while_waiting(monkeypatch, Turns(world).take)
    text = run(submit, *words_of(world), "--run", "first", "--canary", "2", *ANYTHING).output
    assert "Run first: the canary, 2 of 3 tiles, is sent to" in text
    assert "Canary of run first passed: 2 of 2 tiles done" in text
    assert "asked for: crop of all tiles together from 0 to 100 %" in text
    assert "Run first: 3 tiles of crop_mask_testland 2019--P1Y sent" in text
    record = load_run(FolderStore(Path("out")), PRODUCT, "2019--P1Y", "first")
    assert record.sent == 3
    assert bodies(FolderQueue(Path("out/_queue"))) == [record.tiles[2]]


def test_a_canary_that_fails_leaves_the_rest_unsent_until_somebody_says_so(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_while_waiting(monkeypatch, Turns(world).take)
    words = (*words_of(world), "--run", "first", "--canary", "2")
    done = CliRunner().invoke(submit, [*words, "--json"])
    assert done.exit_code == ExitCode.PLAN_HAS_CHANGES
    found = json.loads(done.output)
    assert (found["sent"], found["canary"]["state"]) == (2, "failed")
    assert found["canary"]["problems"] == [
        "all tiles together: 100.0 % crop, not 0.1 to 90 %",
        "all tiles together: 100.0 % nodata, not 0 to 50 %",
    ]
    assert bodies(FolderQueue(Path("out/_queue"))) == []
    done = CliRunner().invoke(submit, words)
    assert done.exit_code == ExitCode.PLAN_HAS_CHANGES
    assert "The rest, 1 tile, is not sent" in done.output
    said = run(status, "--run", "first", "--output", "out").output
    assert "its canary is not judged: 2 of 3 tasks were sent" in said
    (go_on,) = [line for line in done.output.splitlines() if "--canary 0" in line]
    again = shlex.split(go_on.partition(": ")[2])
    assert again[:2] == ["cropmask", "submit"]
    assert "Run first: 3 tiles" in run(submit, *again[2:]).output
    assert len(bodies(FolderQueue(Path("out/_queue")))) == 1


@pytest.mark.parametrize(("canary", "began"), [(None, "no canary"), (2, "a canary of 2 tiles")])
def test_a_run_goes_on_with_the_canary_that_it_began_with(
    world: RegionWorld, canary: int | None, began: str
) -> None:
    store = FolderStore(Path("out"))
    run(submit, *words_of(world), "--run", "first")
    record = load_run(store, PRODUCT, "2019--P1Y", "first")
    put_run(store, replace(record, sent=0, canary=Canary(canary) if canary else None))
    with pytest.raises(Rejected, match=f"begun with {began}, not of 1: leave --canary out"):
        run(submit, *words_of(world), "--run", "first", "--canary", "1")
    assert len(bodies(FolderQueue(Path("out/_queue")))) == 3, "nothing more was sent"


def test_other_bounds_judge_a_canary_anew(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_while_waiting(monkeypatch, Turns(world).take)
    words = (*words_of(world), "--run", "first", "--canary", "2")
    assert CliRunner().invoke(submit, words).exit_code == ExitCode.PLAN_HAS_CHANGES
    resume = (*words_of(world), "--resume", "first", "--json")
    assert json.loads(run(submit, *resume, *ANYTHING).output)["canary"]["state"] == "passed"
    assert load_run(FolderStore(Path("out")), PRODUCT, "2019--P1Y", "first").sent == 3


def test_a_rejected_tile_fails_the_canary_at_once(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_while_waiting(monkeypatch, Turns(world, State.INVALID).take)
    words = (*words_of(world), "--run", "first", "--canary", "2", *ANYTHING)
    done = CliRunner().invoke(submit, words)
    assert done.exit_code == ExitCode.PLAN_HAS_CHANGES
    assert "failed: 0 of 2 tiles done" in done.output
    assert "its task was rejected" in done.output


@pytest.mark.parametrize("stop", STOPPED)
def test_whoever_stops_waiting_for_a_canary_is_told_how_to_go_on(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def turn() -> None:
        raise stop

    work_while_waiting(monkeypatch, turn)
    with pytest.raises(Drained, match=r"2 of 3 .* --resume first .* judges its canary, then"):
        run(submit, *words_of(world), "--run", "first", "--canary", "2")


def test_a_run_with_no_more_tiles_than_its_canary_is_just_sent(world: RegionWorld) -> None:
    assert "3 tiles" in run(submit, *words_of(world), "--run", "first", "--canary", "9").output
    assert load_run(FolderStore(Path("out")), PRODUCT, "2019--P1Y", "first").canary is None


def test_a_canary_has_a_job_of_its_own(world: RegionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Everywhere("here")
    monkeypatch.setattr("cropmask.kube.doors.open_cluster", lambda _namespace: cluster)
    monkeypatch.setattr("cropmask.operate.submit.find_obstacles", lambda *_args, **_words: ())
    work_while_waiting(monkeypatch, Turns(world).take)
    words = (*words_of(world), "--workers", "9", "--image", "image:1", "--namespace", "here")
    run(submit, *words, "--run", "first", "--canary", "2", *ANYTHING)
    assert {state.name for state in cluster.find({})} == {
        job_name("first"),
        f"{job_name('first')}-canary",
    }
    text = run(submit, "--cancel", "first", "--namespace", "here").output
    assert text.count("is deleted") == 2
