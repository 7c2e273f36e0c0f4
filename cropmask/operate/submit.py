"""A plan becomes a run: its document, then its messages, so that a killed submission can go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cropmask import contract
from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason, Rejected
from cropmask.fleet.control import RunState, load_control, refuse_canceled
from cropmask.fleet.recordfiles import find_attempts, load_runs, put_run
from cropmask.fleet.records import Canary, RunRecord, State, run_key_of
from cropmask.fleet.taskfile import put_orders, task_file_key
from cropmask.grid import Tile
from cropmask.kube.protocol import Cluster
from cropmask.kube.workermanifests import (
    Manifest,
    WorkerPod,
    job_name,
    make_indexed_job,
    make_labels,
    make_queue_job,
)
from cropmask.machine.stages import ShareDone
from cropmask.operate.advice import advise_resume
from cropmask.operate.canary import choose_spread
from cropmask.operate.formats import format_count
from cropmask.operate.plan import find_results
from cropmask.operate.planfile import Need, Plan
from cropmask.operate.status import TileStatus, count_states, tile_statuses
from cropmask.product import find_region
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Message, Queue
from cropmask.region.region import is_region_file
from cropmask.remote.address import is_remote
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter, absolute
from cropmask.site.site import Site, usual_queue
from cropmask.store.protocol import Store, store_place

BATCH: Final = 50
"""Messages that are sent between two notes of how far it is."""
_ELSEWHERE: Final = (State.PROCESSING, State.HELD)
"""States of tiles that are still to be done, whatever is in the queue."""


def make_run(
    plan: Plan,
    run: str,
    now: datetime,
    *,
    overwrite: bool = False,
    everything: bool = False,
    models: Path | None = None,
    canary: Canary | None = None,
) -> RunRecord:
    """The run of a plan: its new tiles, and more if asked for.

    With ``overwrite`` changed tiles are computed anew, in place of the results that are there; with
    ``everything`` unchanged tiles go along, to be skipped by the workers (or, with ``overwrite``,
    computed anew). So many tiles of a ``canary``, spread over all, are done and judged before the
    rest; where there are no more, the run has none.
    """
    wanted = {Need.NEW}
    wanted |= {Need.CHANGED} if overwrite else set()
    wanted |= {Need.UNCHANGED} if everything else set()
    tiles = tuple(planned.tile for planned in plan.of(*wanted))
    if canary is not None:
        first = choose_spread(tiles, canary.tiles)
        tiles = (*first, *(tile for tile in tiles if tile not in {*first}))
        canary = None if len(first) == len(tiles) else replace(canary, tiles=len(first))
    return RunRecord(
        run=run,
        region=plan.region,
        product=plan.product.name,
        period=str(plan.period),
        submitted=now.isoformat(timespec="seconds"),
        recipe=plan.recipe,
        resolution=plan.resolution,
        overwrite=overwrite,
        tiles=tuple(map(str, tiles)),
        unchanged=0 if everything else plan.counts[Need.UNCHANGED],
        environment=plan.environment,
        catalog=plan.catalog,
        bands=plan.bands,
        seamless=plan.seamless,
        models=absolute(str(models)) if models else None,
        canary=canary,
    )


def find_staleness(plan: Plan, store: Store) -> str | None:
    """What has happened to the tiles of a plan since it was made; None if it still holds."""
    made = datetime.fromisoformat(plan.made)
    names = {str(planned.tile) for planned in plan.of(Need.NEW, Need.CHANGED)}
    for record in load_runs(store, plan.product.name, str(plan.period)):
        taken = names.intersection(record.tiles)
        if taken and datetime.fromisoformat(record.submitted) >= made:
            return f"run {record.run} was submitted since, with {format_count(len(taken), 'tile')}"
    there = find_results(store, plan.product, plan.period)
    moved = [
        planned
        for planned in plan.of(Need.NEW, Need.CHANGED, Need.UNCHANGED)
        if (planned.tile in there) is (planned.need is Need.NEW)
    ]
    if moved:
        return f"results of {format_count(len(moved), 'tile')} came or went since"
    return None


def find_clash(record: RunRecord, site: Site, now: datetime) -> str | None:
    """Which other run is to do tiles of a new one, and what to do about it; None if none is.

    Results have the same place however they are made: what both have would be done twice, or end as
    a dead letter. Not in the way are runs that were canceled, and tiles that nobody will do:
    done, given up after so many attempts, or gone from a queue that is empty.
    """
    store, wanted = site.store(), {*record.tiles}
    for other in reversed(load_runs(store, record.product, record.period)):
        if other.run == record.run or wanted.isdisjoint(other.tiles):
            continue
        control = load_control(store, *other.place)
        if control.state is RunState.CANCELED:
            continue
        tiles = tile_statuses(find_attempts(store, *other.place), map(Tile.parse, other.tiles))
        left = [tile for tile in tiles if str(tile.tile) in wanted and _is_left(tile)]
        queue = _open_queue_of(other, site)
        if left and _is_empty(other, left, queue, now):
            unsent = {*other.tiles[other.sent :]}
            left = [one for one in left if one.state in _ELSEWHERE or str(one.tile) in unsent]
        if left:
            is_so = "is not finished" if control.is_running else f"is {control.state}"
            states = [f"{count} {state}" for state, count in count_states(left).items() if count]
            return (
                f"run {other.run} {is_so} and has {len(left):,} of "
                f"{format_count(len(wanted), 'tile')} already ({', '.join(states)}): "
                f"{_advise_clash(other, queue, site.commands)}"
            )
    return None


def _is_left(tile: TileStatus) -> bool:
    """Whether somebody may still work on a tile that was ordered."""
    if tile.state == State.FAILED:
        return tile.attempts < contract.MAX_RECEIVES
    return tile.state == State.PENDING or tile.state in _ELSEWHERE


def _open_queue_of(other: RunRecord, site: Site) -> Queue | None:
    """The queue that a run was sent to; None if it was sent to none that is known."""
    address = other.queue or usual_queue(site.output) or site.queue_address
    return open_queue(address, site.queue_options) if other.sent and address else None


def _is_empty(
    other: RunRecord, left: Sequence[TileStatus], queue: Queue | None, now: datetime
) -> bool:
    """Whether nothing waits in a queue, for so long that its numbers cannot lag behind."""
    signs = (one.latest.started for one in left if one.latest is not None)
    last = max(signs, default=datetime.fromisoformat(other.submitted))
    if queue is None or now - last < timedelta(seconds=queue.lag_seconds):
        return False
    try:
        return queue.counts().waiting == 0
    except CropmaskError:  # whoever cannot look into it cannot know that it is empty
        return False


def _advise_clash(other: RunRecord, queue: Queue | None, commands: CommandWriter) -> str:
    """What can be done about a run that is in the way of another one."""
    lines = [f"'{commands.line('status', '--run', other.run)}' shows it"]
    if queue is not None and other.sent < len(other.tiles):
        lines.append(advise_resume(other, commands))
    lines.append(f"'{commands.line('run cancel', other.run)}' ends it")
    return f"{', '.join(lines)}; --force sends them all the same"


def count_unknown(site: Site) -> int:
    """Messages that wait in a queue although no run is written down beside the results."""
    if site.queue_address is None or any(site.store().folders(f"{contract.RUNS}/")):
        return 0
    try:
        return site.queue().counts().waiting
    except CropmaskError:  # told when something is sent to it
        return 0


def make_messages(record: RunRecord) -> tuple[Message, ...]:
    """Messages of a run, in the sequence of its tiles."""
    return tuple(Message(order.body, order.attributes) for order in record.orders())


def send(
    record: RunRecord,
    store: Store,
    queue: Queue,
    progress: ShareDone = lambda _share: None,
    commands: CommandWriter = PLAIN_COMMANDS,
    *,
    canary_only: bool = False,
) -> RunRecord:
    """Send the messages of a run that are not known to be sent; the run is written down first.

    Each message is sent at least once, however often this is stopped and called again with the
    document of the run (``sent`` says where to begin): one that was sent twice is skipped by
    whoever gets it second. With ``canary_only`` those of the run's canary are sent, if it has one.

    Raises
    ------
    Rejected
        If the run was canceled.
    Misconfigured
        If the queue or the store refuses; a new run that cannot begin leaves nothing.
    Interrupted
        If one of them fails; the message says how to go on.
    """
    refuse_canceled(record.run, load_control(store, *record.place))
    messages = make_messages(record)
    if canary_only and record.canary is not None:
        messages = messages[: record.canary.tiles]
    key = run_key_of(*record.place)
    is_new = record.sent == 0 and not store.exists(key)
    record = replace(record, queue=_name_queue(store, queue))
    put_run(store, record)
    while record.sent < len(messages):
        progress(record.sent / len(messages))
        batch = messages[record.sent : record.sent + BATCH]
        try:
            accepted = queue.send(batch)
        except Interrupted as error:
            raise Interrupted(
                f"{error}; {advise_resume(record, commands)}", reason=error.reason
            ) from None
        except Misconfigured:
            if is_new and record.sent == 0:  # a run that cannot begin is none
                store.remove(key)
            raise
        record = replace(record, sent=record.sent + accepted)
        put_run(store, record)
        if accepted < len(batch):
            raise Interrupted(
                f"the queue {queue.address} does not accept more messages; "
                f"{advise_resume(record, commands)}",
                reason=Reason.QUEUE_REFUSED,
            )
    progress(1.0)
    return record


def _name_queue(store: Store, queue: Queue) -> str | None:
    """Queue of a run, to find it again; None if it is the usual one, or results are elsewhere."""
    if is_remote(queue.address):
        return queue.address
    usual = usual_queue(store_place(store))
    if usual is None or "://" in queue.address:
        return None
    address = absolute(queue.address)
    return None if address == absolute(usual) else address


def put_task_file(record: RunRecord, store: Store) -> str:
    """Write a run and its task file, for pods that know no queue; the file's address."""
    put_run(store, record)
    key = task_file_key(*record.place)
    return put_orders(store, key, record.orders())


@dataclass(frozen=True, slots=True)
class PodOptions:
    """How the pods of a run are asked for."""

    image: str
    workers: int
    namespace: str = contract.NAMESPACE
    cpu: str = contract.WORKER_CPU
    memory: str = contract.WORKER_MEMORY
    deadline_seconds: int = 86_400
    any_node: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beside those of the site."""


def make_run_job(
    record: RunRecord,
    site: Site,
    pods: PodOptions,
    task_file: str | None = None,
    *,
    canary_only: bool = False,
) -> Manifest:
    """Job of a run: one that drains the queue, or one with a pod for each line of a task file.

    With ``canary_only`` it is one of the queue for the run's canary, which ends before the rest is
    sent.
    """
    environment = site.worker_environment()
    environment[contract.ENV_RESOLUTION] = str(record.resolution)
    for variable in (contract.ENV_BANDS, contract.ENV_SEAMLESS):  # a task says its own
        environment.pop(variable, None)
    if task_file is not None:
        environment.pop(contract.ENV_QUEUE, None)
        environment[contract.ENV_TASKS] = task_file
    worker = WorkerPod(
        pods.image,
        {**environment, **pods.variables},
        namespace=pods.namespace,
        cpu=pods.cpu,
        memory=pods.memory,
        labels=make_labels(
            run=record.run,
            region=find_region(record.product),
            environment=site.environment,
        ),
        any_node=pods.any_node,
    )
    name, workers = job_name(record.run), pods.workers
    if canary_only and record.canary is not None:
        name, workers = f"{name}-canary", min(workers, record.canary.tiles)
    if task_file is None:
        return make_queue_job(name, worker, workers=workers, deadline_seconds=pods.deadline_seconds)
    return make_indexed_job(
        name,
        worker,
        tasks=len(record.tiles),
        workers=pods.workers,
        deadline_seconds=pods.deadline_seconds,
    )


def find_obstacles(
    record: RunRecord, site: Site, *, direct: bool, variables: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Why pods elsewhere could not do a run: places that only this machine has.

    ``variables`` are those that the pods are given beside the site's.
    """
    given = variables or {}
    obstacles = []
    if not site.output.startswith("s3://"):
        obstacles.append(f"results go to the folder {site.output}: name --output s3://...")
    if site.catalog is not None and not is_remote(site.catalog):
        obstacles.append(f"the catalog is the folder {site.catalog}: put it where pods can read it")
    if not direct and not is_remote(site.queue_address or ""):
        obstacles.append("the queue is a folder: name the URL of an SQS queue with --queue")
    if site.models is not None and contract.ENV_MODELS not in given:
        obstacles.append(
            f"models are in the folder {site.models}: build an image that has them, and name them "
            f"with --set {contract.ENV_MODELS}=..."
        )
    if is_region_file(record.region) and not {
        contract.ENV_MODELS,
        contract.ENV_REGION_FILES,
    }.intersection(given):
        obstacles.append(
            f"the region is the file {record.region}: build an image that has it, and name it with "
            f"--set {contract.ENV_REGION_FILES}=..."
        )
    return tuple(obstacles)


def cancel(cluster: Cluster, run: str, *, dry_run: bool = False) -> tuple[str, ...]:
    """Delete the Jobs of a run, whose pods return their tasks, and give their names.

    With ``dry_run`` they are only found. Raises Rejected if there is none.
    """
    jobs = cluster.find({contract.LABEL_RUN: run})
    if not jobs:
        raise Rejected(
            f"no Job of run {run} is in namespace {cluster.namespace}", reason=Reason.NO_JOB
        )
    return tuple(job.name for job in jobs if dry_run or cluster.delete(job.name))
