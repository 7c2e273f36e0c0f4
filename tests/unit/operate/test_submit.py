from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask import contract
from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.fleet.recordfiles import load_run, put_run
from cropmask.fleet.records import RunRecord, State
from cropmask.fleet.taskfile import load_order, parse_order
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.kube.workermanifests import job_name
from cropmask.operate.estimate import Estimate
from cropmask.operate.planfile import Need, Plan, TilePlan
from cropmask.operate.runcontrol import cancel_run, pause_run
from cropmask.operate.submit import (
    BATCH,
    PodOptions,
    cancel,
    find_clash,
    find_obstacles,
    make_messages,
    make_run,
    make_run_job,
    put_task_file,
    send,
)
from cropmask.product import RECIPES
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Message
from cropmask.site.site import Site, open_site
from cropmask.store.folder import FolderStore
from cropmask.task import Order, Period, Task
from cropmask.testing.cluster import MemoryCluster
from cropmask.testing.queue import MemoryQueue
from cropmask.testing.store import MemoryStore
from tests.runs import make_attempt, put_records

NOW = datetime(2026, 7, 4, 8, 15, tzinfo=UTC)
NEEDS = (
    *(Need.NEW, Need.NEW, Need.UNCHANGED, Need.CHANGED),
    *(Need.NO_INPUT, Need.INVALID, Need.ORPHAN),
)


def make_plan(needs: Sequence[Need] = NEEDS) -> Plan:
    return Plan(
        region="eastern",
        name="eastern",
        version="1.0.0",
        period=Period.parse("2019"),
        recipe="forest",
        resolution=10,
        environment="dev",
        catalog="https://stac.example",
        output="s3://bucket/maps",
        whole_region=True,
        made="2026-07-04T08:15:00+00:00",
        tiles=tuple(
            TilePlan(Tile(200 + i % 100, 70 + i // 100), need) for i, need in enumerate(needs)
        ),
        estimate=Estimate(1, 1.0, 2.0, 3, 0, "made up"),
    )


def run_of(count: int, **words: Any) -> RunRecord:
    return replace(make_run(make_plan([Need.NEW] * count), "run-1", NOW), **words)


def waiting(queue: MemoryQueue) -> list[Order]:
    found = []
    while (lease := queue.lease(seconds=300)) is not None:
        found.append(Order.parse(lease.message.body, lease.message.attributes))
    return found


@pytest.mark.parametrize(
    ("options", "indexes", "unchanged"),
    [
        ({}, [0, 1], 1),
        ({"overwrite": True}, [0, 1, 3], 1),
        ({"everything": True}, [0, 1, 2], 0),
        ({"overwrite": True, "everything": True}, [0, 1, 2, 3], 0),
    ],
)
def test_what_is_sent_of_a_plan(
    options: dict[str, bool], indexes: list[int], unchanged: int
) -> None:
    record = make_run(make_plan(), "run-1", NOW, **options)
    assert record.tiles == tuple(str(Tile(200 + i, 70)) for i in indexes)
    assert record.unchanged == unchanged
    assert record.overwrite is options.get("overwrite", False)
    assert (record.product, record.region, record.sent) == ("crop_mask_eastern", "eastern", 0)


def test_messages_say_everything_that_a_worker_must_know() -> None:
    record = run_of(3)
    orders = [Order.parse(m.body, m.attributes) for m in make_messages(record)]
    assert orders == list(record.orders())
    assert {(o.run, o.recipe, o.resolution, o.overwrite) for o in orders} == {
        ("run-1", "forest", 10, False)
    }


def test_the_run_is_written_down_before_its_messages_are_sent() -> None:
    store = MemoryStore()

    class Looking(MemoryQueue):
        def send(self, messages: Sequence[Message]) -> int:
            assert load_run(store, "crop_mask_eastern", "2019--P1Y", "run-1").tiles
            return super().send(messages)

    queue = Looking()
    shares: list[float] = []
    done = send(run_of(BATCH + 3), store, queue, shares.append)
    assert done.sent == BATCH + 3
    assert load_run(store, "crop_mask_eastern", "2019--P1Y", "run-1") == done
    assert len({order.task.tile for order in waiting(queue)}) == BATCH + 3
    assert shares[0] == 0.0
    assert shares[-1] == 1.0


def test_a_run_that_is_sent_is_not_sent_again() -> None:
    store, queue = MemoryStore(), MemoryQueue()
    done = send(run_of(3), store, queue)
    assert send(done, store, queue) == done
    assert len(waiting(queue)) == 3


class Killed(BaseException):
    """The process ends here."""


class Fragile(MemoryQueue):
    """Ends the process after so many calls, before or after the queue has taken the batch."""

    def __init__(self, calls: int, *, after: bool) -> None:
        super().__init__()
        self.calls = calls
        self.after = after

    def send(self, messages: Sequence[Message]) -> int:
        self.calls -= 1
        if self.calls < 0 and not self.after:
            raise Killed
        accepted = super().send(messages)
        if self.calls < 0:
            raise Killed
        return accepted


@patch("cropmask.operate.submit.BATCH", 5)
@given(st.integers(0, 20), st.lists(st.integers(0, 3), max_size=4), st.booleans())
def test_a_killed_submission_goes_on_and_sends_every_tile(
    tiles: int, kills: list[int], after: bool
) -> None:
    store, queue = MemoryStore(), Fragile(0, after=after)
    record = run_of(tiles)
    put_run(store, record)
    for calls in [*kills, 1000]:
        queue.calls = calls
        try:
            send(load_run(store, record.product, record.period, record.run), store, queue)
        except Killed:
            continue
    assert load_run(store, record.product, record.period, record.run).sent == tiles
    sent = [str(order.task.tile) for order in waiting(queue)]
    assert set(sent) == set(record.tiles)
    assert len(sent) <= tiles + after * 5 * len(kills), "at most the batch that was under way"


def test_a_queue_that_stops_accepting_says_how_to_go_on() -> None:
    class Full(MemoryQueue):
        def send(self, messages: Sequence[Message]) -> int:
            return super().send(messages[:7])

    store = MemoryStore()
    with pytest.raises(Interrupted, match=r"7 of 60 tasks were sent: 'cropmask submit .*--resume"):
        send(run_of(60), store, Full())
    assert load_run(store, "crop_mask_eastern", "2019--P1Y", "run-1").sent == 7


def test_a_queue_that_fails_says_how_to_go_on() -> None:
    class Failing(MemoryQueue):
        def send(self, messages: Sequence[Message]) -> int:
            raise Interrupted("the queue answered 503", reason="unreachable")

    with pytest.raises(Interrupted, match="503; 0 of 3 tasks were sent") as caught:
        send(run_of(3), MemoryStore(), Failing())
    assert caught.value.reason == "unreachable"


def test_a_queue_that_refuses_is_a_matter_of_configuration() -> None:
    class Refusing(MemoryQueue):
        def send(self, messages: Sequence[Message]) -> int:
            raise Misconfigured("no such queue")

    store = MemoryStore()
    with pytest.raises(Misconfigured, match="no such queue"):
        send(run_of(3), store, Refusing())
    assert list(store.list()) == [], "no run that would hide the one before it"
    put_run(store, run_of(3))
    with pytest.raises(Misconfigured, match="no such queue"):
        send(run_of(3), store, Refusing())
    assert len(list(store.list())) == 1, "a run that was there stays"


def test_a_task_file_holds_the_orders_by_index(tmp_path: Path) -> None:
    site = open_site({}, {"output": str(tmp_path)})
    record = run_of(4)
    address = put_task_file(record, site.store())
    assert [load_order(address, index) for index in range(4)] == list(record.orders())
    assert load_run(site.store(), record.product, record.period, record.run).sent == 0
    with pytest.raises(Misconfigured, match="has 4 tasks"):
        parse_order(Path(address).read_bytes(), 4)


SITE = {
    "CROPMASK_ENV": "prod",
    "CROPMASK_OUTPUT": "s3://bucket/maps",
    "CROPMASK_QUEUE": "https://sqs.example/1/q",
}


def environment_of(manifest: dict[str, Any]) -> dict[str, str]:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("direct", [False, True])
def test_the_job_of_a_run(direct: bool) -> None:
    site, record = open_site(SITE), run_of(390)
    task_file = "s3://bucket/maps/_runs/x/tasks.jsonl" if direct else None
    pods = PodOptions("image:1", 20, variables={"CROPMASK_TIME_LIMIT": "900"}, any_node=True)
    manifest = make_run_job(record, site, pods, task_file)
    kubernetes_validate.validate(manifest, "1.36", strict=True)
    known = environment_of(manifest)
    assert known["CROPMASK_TIME_LIMIT"] == "900"
    assert known["CROPMASK_OUTPUT"] == "s3://bucket/maps"
    assert known.get("CROPMASK_QUEUE") == (None if direct else "https://sqs.example/1/q")
    assert known.get("CROPMASK_TASKS") == task_file
    assert manifest["metadata"]["name"] == job_name("run-1")
    assert manifest["spec"].get("completions") == (390 if direct else None)
    assert manifest["spec"]["parallelism"] == 20
    labels = manifest["metadata"]["labels"]
    assert labels[contract.LABEL_RUN] == "run-1"
    assert labels[contract.LABEL_REGION] == "eastern"
    assert labels[contract.LABEL_ENVIRONMENT] == "prod"


def sites() -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries(
        {"CROPMASK_ENV": st.sampled_from(["local", "dev", "prod"])},
        optional={
            "CROPMASK_OUTPUT": st.just("s3://bucket/maps"),
            "CROPMASK_CATALOG": st.just("https://stac.example"),
            "CROPMASK_RESOLUTION": st.sampled_from(["10", "100"]),
            "CROPMASK_QUEUE": st.just("https://sqs.example/1/q"),
            "CROPMASK_DEAD_LETTERS": st.just("https://sqs.example/1/dead"),
            "CROPMASK_SQS_ENDPOINT": st.just("http://127.0.0.1:9"),
            "CROPMASK_S3_ENDPOINT": st.just("http://127.0.0.1:8"),
            "CROPMASK_S3_ACL": st.just("bucket-owner-full-control"),
            "CROPMASK_S3_UNSIGNED": st.sampled_from(["0", "1"]),
            "CROPMASK_S3_REQUESTER_PAYS": st.just("1"),
            "CROPMASK_METRICS": st.just("CropMask"),
            "CROPMASK_STRICT_INPUTS": st.just("1"),
        },
    ).map(lambda known: {"CROPMASK_OUTPUT": "s3://other", **known})


@given(sites())
def test_a_pod_opens_the_same_site(environ: dict[str, str]) -> None:
    site = open_site(environ)
    assert open_site(site.worker_environment()) == site


def obstacles(environ: dict[str, str], record: RunRecord, *, direct: bool = False) -> str:
    site: Site = open_site(environ)
    return "; ".join(find_obstacles(record, site, direct=direct))


def test_places_that_pods_cannot_reach_are_named() -> None:
    record = run_of(1)
    assert obstacles(SITE, record) == ""
    assert "output s3://" in obstacles({**SITE, "CROPMASK_OUTPUT": "here"}, record)
    assert "the catalog is the folder" in obstacles({**SITE, "CROPMASK_CATALOG": "x"}, record)
    here = {**SITE, "CROPMASK_QUEUE": "folder"}
    assert "the queue is a folder" in obstacles(here, record)
    assert obstacles(here, record, direct=True) == ""
    assert "models are in" in obstacles({**SITE, "CROPMASK_MODELS": "m"}, record)
    mine = replace(record, region="/my/region.toml")
    assert "build an image" in obstacles(SITE, mine)
    pods = {"CROPMASK_REGION_FILES": "/in/the/image.toml"}
    assert find_obstacles(mine, open_site(SITE), direct=False, variables=pods) == ()
    there = open_site({**SITE, "CROPMASK_MODELS": "m"})
    variables = {"CROPMASK_MODELS": "/in/the/image"}
    assert find_obstacles(record, there, direct=False, variables=variables) == ()


@pytest.mark.parametrize(
    ("asked", "said"), [("eastern", "eastern"), ("/my/region.toml", "highlands")]
)
def test_messages_of_a_region_file_name_the_region(asked: str, said: str) -> None:
    record = replace(run_of(2), region=asked, product=f"crop_mask_{said}")
    assert {json.loads(message.body)["region"] for message in make_messages(record)} == {said}
    assert RunRecord.from_json(record.to_json()) == record


def test_jobs_of_a_run_are_cancelled() -> None:
    cluster, site = MemoryCluster(), open_site(SITE)
    for run in ("run-1", "run-2"):
        record = replace(run_of(1), run=run)
        assert cluster.create(make_run_job(record, site, PodOptions("image", 1)))
    assert cancel(cluster, "run-1") == (job_name("run-1"),)
    assert [state.run for state in cluster.find({})] == ["run-2"]
    with pytest.raises(Rejected, match="no Job of run run-1"):
        cancel(cluster, "run-1")


tiles = st.builds(Tile, st.integers(0, 361), st.integers(0, 153))
orders = st.builds(
    Order,
    st.builds(
        Task,
        tiles,
        st.from_regex("[a-z][a-z0-9_]{0,40}", fullmatch=True),
        st.builds(Period.parse, st.just("2019")),
    ),
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,38}[a-z0-9]", fullmatch=True),
    st.sampled_from(RECIPES),
    st.none() | st.sampled_from(RESOLUTIONS),
    st.booleans(),
)


@given(orders)
def test_a_message_comes_back_as_the_order_that_it_was(order: Order) -> None:
    assert Order.parse(order.body, order.attributes) == order
    assert len(order.attributes) <= 10, "SQS takes no more"
    assert all(order.attributes.values()), "SQS takes no empty value"


@given(st.text(), st.dictionaries(st.sampled_from(["run", "recipe", "resolution"]), st.text()))
def test_any_other_message_is_rejected_in_a_line(body: str, attributes: dict[str, str]) -> None:
    good = Order(Task(Tile(1, 2), "eastern", Period.parse("2019")))
    for words in ((body, good.attributes), (good.body, {**good.attributes, **attributes})):
        assert len(complaint(*words).splitlines()) <= 1


def complaint(body: str, attributes: dict[str, str]) -> str:
    try:
        Order.parse(body, attributes)
    except Rejected as error:
        return str(error)
    return ""


def test_a_run_says_which_queue_it_is_in_unless_that_is_the_usual_folder(tmp_path: Path) -> None:
    store, remote = MemoryStore(), MemoryQueue()
    remote.address = "https://sqs.af-south-1.amazonaws.com/123456789012/cropmask"
    assert send(run_of(3), store, remote).places["queue"] == remote.address
    assert "queue" not in send(run_of(3), store, MemoryQueue()).places
    folder, usual, other = FolderStore(tmp_path), tmp_path / "_queue", tmp_path / "other"
    assert "queue" not in send(run_of(3), folder, FolderQueue(usual)).places
    assert send(run_of(3), folder, FolderQueue(other)).places["queue"] == str(other)
    with patch.object(MemoryStore, "uri", lambda _, key: f"s3://bucket/{key}"):
        assert "queue" not in send(run_of(3), store, FolderQueue(other)).places


HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return open_site({}, {"output": str(tmp_path / "out")})


def begin_first(site: Site, *states: State, sent: int = 2, waiting: bool = True) -> RunRecord:
    """A run of two tiles, with so many attempts of the first one; a run that wants both, too."""
    record = run_of(2, run="first", sent=sent)
    attempts = [
        make_attempt(record, Tile.parse(record.tiles[0]), state, number=number)
        for number, state in enumerate(states)
    ]
    put_records(site.store(), record, attempts)
    if waiting:
        site.queue().send([Message("somebody's")])
    return run_of(2, run="second")


@pytest.mark.parametrize(
    ("states", "waiting", "said"),
    [
        ([], True, "is not finished and has 2 of 2 tiles already (2 PENDING): 'cropmask status"),
        ([State.SUCCEEDED], True, "1 of 2 tiles already (1 PENDING)"),
        ([State.INVALID], True, "1 of 2 tiles already (1 PENDING)"),
        ([State.FAILED] * 4, True, "2 of 2 tiles already (1 FAILED, 1 PENDING)"),
        ([State.FAILED] * 5, True, "1 of 2 tiles already (1 PENDING)"),
        ([State.FAILED], False, None),
        ([State.PROCESSING], False, "1 of 2 tiles already (1 PROCESSING)"),
        ([State.HELD], False, "1 of 2 tiles already (1 HELD)"),
        ([], False, None),
    ],
)
def test_tiles_that_another_run_is_to_do(
    site: Site, states: list[State], waiting: bool, said: str | None
) -> None:
    second = begin_first(site, *states, waiting=waiting)
    clash = find_clash(second, site, NOW + HOUR)
    assert clash is None if said is None else said in str(clash)
    assert find_clash(replace(second, tiles=("x010y020",)), site, NOW + HOUR) is None
    assert find_clash(replace(second, run="first"), site, NOW + HOUR) is None


def test_a_paused_run_is_in_the_way_and_a_canceled_one_is_not(site: Site) -> None:
    second = begin_first(site)
    first = load_run(site.store(), *run_of(2, run="first").place)
    pause_run(site.store(), first, "the catalog moves", NOW)
    assert "run first is paused and has 2 of 2" in str(find_clash(second, site, NOW))
    cancel_run(site.store(), first, "wrong year", NOW)
    assert find_clash(second, site, NOW) is None


def test_a_run_whose_submission_was_stopped_is_to_be_resumed(site: Site) -> None:
    second = begin_first(site, sent=1, waiting=False)
    clash = str(find_clash(second, site, NOW))
    assert "1 of 2 tiles already (1 PENDING)" in clash
    assert "--period 2019--P1Y --resume first" in clash


def test_a_task_file_is_in_the_way_until_its_tiles_are_done(site: Site) -> None:
    first = run_of(2, run="first")
    put_task_file(first, site.store())
    clash = str(find_clash(run_of(2, run="second"), site, NOW + HOUR))
    assert "2 of 2 tiles already (2 PENDING)" in clash
    assert "--resume" not in clash
    tiles = map(Tile.parse, first.tiles)
    put_records(site.store(), first, [make_attempt(first, tile, State.SUCCEEDED) for tile in tiles])
    assert find_clash(run_of(2, run="second"), site, NOW + HOUR) is None


def test_numbers_that_lag_behind_are_not_believed_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = begin_first(site, waiting=False)
    slow = MemoryQueue(lag_seconds=60)
    monkeypatch.setattr("cropmask.operate.submit.open_queue", lambda *_words: slow)
    assert find_clash(second, site, NOW + timedelta(seconds=59)) is not None
    assert find_clash(second, site, NOW + timedelta(seconds=61)) is None
    broken = MemoryQueue(usable=False)
    monkeypatch.setattr("cropmask.operate.submit.open_queue", lambda *_words: broken)
    assert find_clash(second, site, NOW + HOUR) is not None


def test_a_run_is_looked_for_in_the_queue_that_it_was_sent_to(site: Site) -> None:
    second = begin_first(site)
    elsewhere = open_site({}, {"output": site.output, "queue": f"{site.output}-elsewhere"})
    assert find_clash(second, elsewhere, NOW + HOUR) is not None
