"""``cropmask submit``: a region's tiles to a queue, and to a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask import contract
from cropmask.cli import options
from cropmask.cli.canary import (
    advise_failed,
    canary_options,
    change_canary,
    describe_verdict,
    format_verdict,
    make_canary,
    warn_of_silence,
)
from cropmask.cli.console import STOPPED, show_progress, warn
from cropmask.cli.output import print_result
from cropmask.cli.plan import plan_region
from cropmask.contract import ExitCode
from cropmask.errors import Drained, Misconfigured, Reason, Rejected
from cropmask.operate.formats import format_count
from cropmask.product import NO_EXTRA
from cropmask.task import Period, choose_product

if TYPE_CHECKING:
    from cropmask.fleet.records import RunRecord
    from cropmask.kube.protocol import Cluster
    from cropmask.kube.workermanifests import Manifest
    from cropmask.operate.canary import CanaryVerdict
    from cropmask.operate.planfile import Plan
    from cropmask.operate.submit import PodOptions
    from cropmask.site.site import Site

_SAID_BY_PLAN: Final = (
    *("region", "period", "model", "resolution", "bands", "seamless", "tiles", "aoi"),
    "strict_inputs",
    *("env", "catalog", "output"),
)
"""Options that a plan answers."""
_NOT_SENT: Final = {
    "unchanged": "unchanged (--all sends them, to be skipped)",
    "changed": "changed (--overwrite computes them anew)",
    "no input": "without GeoMAD",
    "invalid": "with inputs that cannot be used",
}
"""What is said of tiles that a plan has, and a run has not, by need."""
_EXAMPLES: Final = """\b
Examples
  What a plan says:
    cropmask plan --region eastern --env prod --output s3://my-bucket/cropmask --out plan.json
    cropmask submit plan.json --queue https://sqs.af-south-1.amazonaws.com/123456789012/cropmask
  On one machine, then run one or more 'cropmask worker':
    cropmask submit --region eastern --catalog ./my-catalog
  With 20 workers in Kubernetes, watched until they end:
    cropmask submit plan.json --workers 20 --image my-registry/cropmask:0.1.0 --watch
  Ten tiles first, and the rest only if these are as they must be:
    cropmask submit plan.json --canary 10
  No more than twenty dollars:
    cropmask submit plan.json --max-cost 20
  Without a queue:
    cropmask submit plan.json --direct --workers 20 --image my-registry/cropmask:0.1.0
  Look first:
    cropmask submit plan.json --workers 20 --image my-registry/cropmask:0.1.0 --dry-run
"""


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that is to be sent."""

    record: RunRecord
    site: Site
    plan: Plan | None
    """None for a run that goes on."""
    given: dict[str, Any]
    """Values of the options of the command."""


@click.command(epilog=_EXAMPLES)
@click.argument("plan_file", metavar="[PLAN]", required=False, type=options.FILE)
@click.option(
    "--region", type=options.REGION, help="Region to plan and submit, if there is no plan yet."
)
@options.task_options
@options.tiles_option
@options.aoi_option
@options.strict_option
@click.option("--overwrite", is_flag=True, help="Send changed tiles too, to be computed anew.")
@click.option(
    "--all", "everything", is_flag=True, help="Send unchanged tiles too; workers skip them."
)
@click.option(
    "--force",
    is_flag=True,
    help="Send a plan that is out of date, too, and tiles that another run has not done yet.",
)
@canary_options
@options.limit_options
@options.queue_option
@click.option(
    "--direct",
    is_flag=True,
    help="Use no queue: write a task file, from which each pod of an Indexed Job, or of an AWS "
    "Batch array, picks its task by its index.",
)
@click.option(
    "--workers",
    type=options.WholeNumber(1, 10_000),
    help="Workers of a Job in Kubernetes.  [default: none]",
)
@click.option(
    "--image",
    cls=options.SettingOption,
    envvar=contract.ENV_IMAGE,
    show_envvar=True,
    help="Container image of the workers.",
)
@click.option(
    "--namespace",
    cls=options.SettingOption,
    type=options.NAME,
    envvar=contract.ENV_NAMESPACE,
    show_envvar=True,
    default=contract.NAMESPACE,
    help="Namespace of the Job.",
)
@click.option("--worker-cpu", default=contract.WORKER_CPU, help="CPUs that each worker asks for.")
@click.option(
    "--worker-memory",
    type=options.SIZE,
    default=contract.WORKER_MEMORY,
    help="Memory of each worker, as Kubernetes writes it.",
)
@click.option(
    "--any-node",
    is_flag=True,
    help=f"Let workers run on any node, not only on those labeled {contract.BATCH_TAINT}=true.",
)
@click.option(
    "--set",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="Environment variable of the workers; may be given several times.",
)
@click.option(
    "--deadline-hours", type=options.FiniteNumber(0.01), default=24, help="Time limit of the Job."
)
@click.option(
    "--run",
    type=options.NAME,
    help="Its name; one that exists goes on.  [default: made from the time]",
)
@click.option("--resume", type=options.RUN, help="Go on with a run whose submission was stopped.")
@click.option("--cancel", "cancelled", type=options.RUN, help="Only delete the Jobs of a run.")
@click.option("--watch", is_flag=True, help="Follow the Job until it ends.")
@options.dry_run_option
@options.json_option
@options.place_options
def submit(**given: Any) -> None:  # noqa: ANN401 (as click has them)
    """Send the tiles of a region that are new to a queue, and start workers for them.

    The run is written down first, then its messages are sent; a submission that was stopped goes
    on with --resume. A message that is sent twice does no harm. Stdout of --dry-run is a manifest
    that kubectl takes, with the messages in its comments. With --canary it waits until the first
    tiles are done, and ends with 20 if they are not as they must be: the rest is then not sent.
    """
    if given["cancelled"]:
        _cancel(given)
        return
    if given["plan_file"] is not None:
        if clash := options.find_typed(_SAID_BY_PLAN):
            raise click.UsageError(f"a plan says it already: leave out {clash[0]}")
    elif not given["region"]:
        raise click.UsageError("give a plan, or --region")
    options.refuse_with_series(given["period"])
    if given["canary"] and given["direct"]:
        raise click.UsageError("--canary sends the rest later, which needs a queue: no --direct")
    if not (given["resume"] or given["run"]):
        make_canary(given)  # a wrong one is said before anything is planned
    if given["watch"] and not given["workers"]:
        raise click.UsageError("--watch follows a Job: add --workers")
    _submit(_make_plan(given) if given["plan_file"] is None else _open_plan(given))


def _make_plan(given: dict[str, Any]) -> Submission:
    """The run of a region, planned now unless it goes on."""
    from cropmask.region.region import load_region

    site = options.open_site(options.pick_site_options(given))
    region = given["region"]
    if given["resume"] or given["run"]:
        product = choose_product(load_region(region, site.models).product, given["period"]).name
        known = _find_run(site, product, str(given["period"]), given)
        if known is not None:
            return Submission(change_canary(known, given), site, None, given)
    where = (given["period"], given["model"], given["tiles"], given["aoi"])
    plan = plan_region(site, region, *where, quiet=given["as_json"])
    return Submission(_make_run(plan, site, given), site, plan, given)


def _open_plan(given: dict[str, Any]) -> Submission:
    """The run of a plan that was written to a file."""
    from cropmask.operate.planfile import Plan
    from cropmask.operate.submit import find_staleness

    path: Path = given["plan_file"]
    try:
        plan = Plan.from_json(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    except Rejected as error:
        raise Rejected(f"{path} cannot be used: {error}", reason=error.reason) from None
    answers = {
        "env": plan.environment,
        "catalog": plan.catalog,
        "output": plan.output,
        "resolution": plan.resolution,
        "bands": plan.bands or NO_EXTRA,
        "seamless": plan.seamless,
        "strict_inputs": plan.strict_inputs or None,
    }
    site = options.open_site({**options.pick_site_options(given), **answers})
    if site.catalog != plan.catalog:
        look = site.commands.line("config", leave_out=("catalog", "output", "env"))
        raise Misconfigured(
            f"{path} is a plan for {plan.catalog or 'the made-up demo world'}, while the "
            f"configuration names {site.catalog}: '{look}' says where, take it away"
        )
    known = _find_run(site, plan.product.name, str(plan.period), given)
    stale = None if known or given["force"] else find_staleness(plan, site.store())
    if stale is not None:
        raise Rejected(
            f"{path} is out of date: {stale}; plan again, or send it as it is with --force",
            reason=Reason.BAD_PLAN,
        )
    record = _make_run(plan, site, given) if known is None else change_canary(known, given)
    return Submission(record, site, plan, given)


def _find_run(site: Site, product: str, period: str, given: dict[str, Any]) -> RunRecord | None:
    """The run that is to go on: the one of ``--resume``, or of ``--run`` if it exists."""
    from cropmask.fleet.recordfiles import find_runs, load_run
    from cropmask.task import parse_run_id

    name = given["resume"] or given["run"]
    if name is None:
        return None
    parse_run_id(name)
    if given["resume"] or name in find_runs(site.store(), product, period):
        return load_run(site.store(), product, period, name)
    return None


def _make_run(plan: Plan, site: Site, given: dict[str, Any]) -> RunRecord:
    """A run of its own, none of whose tiles another one is to do."""
    from cropmask.operate.submit import count_unknown, find_clash, make_run
    from cropmask.task import make_run_id

    now = datetime.now(UTC)
    record = make_run(
        plan,
        given["run"] or make_run_id(now),
        now,
        overwrite=given["overwrite"],
        everything=given["everything"],
        models=site.models,
        canary=make_canary(given),
    )
    clash = None if given["force"] else find_clash(record, site, now)
    if clash is not None:
        raise Rejected(clash, reason=Reason.SENT_ALREADY)
    if unknown := count_unknown(site):
        warn(
            f"{format_count(unknown, 'message')} already in {site.queue_address}, of runs that "
            f"are not written down in {site.output}: what is sent twice is done twice, or skipped"
        )
    return record


def _submit(submission: Submission) -> None:
    """Check everything first, then send the tasks, then start workers."""
    from cropmask.fleet.taskfile import task_file_key
    from cropmask.kube.doors import open_cluster
    from cropmask.kube.workermanifests import job_name
    from cropmask.operate.runcontrol import check_estimate, put_limits
    from cropmask.operate.submit import find_obstacles, make_run_job, put_task_file

    record, site, given = submission.record, submission.site, submission.given
    if not record.tiles:
        lines = ["Nothing to send.", *_format_not_sent(submission)]
        print_result({"run": None, "tiles": 0}, lines, as_json=submission.given["as_json"])
        return
    limits = options.pick_limits(given)
    if submission.plan is not None:
        check_estimate(record, submission.plan, site.price, limits)
    pods = _read_pods(given)
    key = task_file_key(*record.place)
    task_file = site.store().uri(key) if given["direct"] else None
    manifest = make_run_job(record, site, pods, task_file) if pods else None
    obstacles = (
        find_obstacles(record, site, direct=given["direct"], variables=pods.variables)
        if pods
        else ()
    )
    if given["dry_run"]:
        _print_dry_run(submission, manifest, obstacles)
        return
    if obstacles:
        raise Misconfigured(
            f"pods could not do this run: {obstacles[0]}", reason=Reason.LOCAL_PLACE
        )
    cluster = open_cluster(given["namespace"]) if pods else None
    if cluster and manifest:
        cluster.create(manifest, dry_run=True)  # before anything is sent
    put_limits(site.store(), record, limits, site.price, datetime.now(UTC))
    verdict = None
    if given["direct"]:
        put_task_file(record, site.store())
    else:
        if record.awaits_canary:
            record = _send(submission, canary_only=True)
            if cluster and pods:
                cluster.create(make_run_job(record, site, pods, canary_only=True))
            verdict = _judge(replace(submission, record=record))
        record = _send(replace(submission, record=record))
    is_new = cluster.create(manifest) if cluster and manifest else None
    document = {
        "run": record.run,
        "tiles": len(record.tiles),
        "queue": None if task_file else site.queue_address,
        "task_file": task_file,
        "job": job_name(record.run) if is_new is not None else None,
        "job_is_new": is_new,
        "canary": verdict and describe_verdict(verdict),
    }
    print_result(document, _format_sent(submission, document), as_json=submission.given["as_json"])
    if cluster and given["watch"]:
        _watch(cluster, job_name(record.run))


def _read_pods(given: dict[str, Any]) -> PodOptions | None:
    """The pods that the options ask for."""
    from cropmask.operate.submit import PodOptions

    if not given["workers"]:
        return None
    if not given["image"]:
        raise Misconfigured(
            f"no container image is named: give --image or set {contract.ENV_IMAGE}",
            reason=Reason.NO_IMAGE,
        )
    variables = {}
    for text in given["variables"]:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.UsageError(f"--set {text}: write it like NAME=VALUE")
        variables[name] = value
    return PodOptions(
        image=given["image"],
        workers=given["workers"],
        namespace=given["namespace"],
        cpu=given["worker_cpu"],
        memory=given["worker_memory"],
        deadline_seconds=round(3600 * given["deadline_hours"]),
        any_node=given["any_node"],
        variables=variables,
    )


def _send(submission: Submission, *, canary_only: bool = False) -> RunRecord:
    """Send the tasks, or those of the canary; whoever stops it reads how to go on."""
    from cropmask.operate.submit import send

    record, site = submission.record, submission.site
    queue, store = site.queue(), site.store()
    with _advising(submission), show_progress(quiet=submission.given["as_json"]) as progress:
        return send(
            record,
            store,
            queue,
            lambda share: progress("send", share),
            site.commands,
            canary_only=canary_only,
        )


def _judge(submission: Submission) -> CanaryVerdict:
    """Wait for the canary and print what was found; ends the process with 20 if it failed."""
    from cropmask.operate.advice import region_words
    from cropmask.operate.canary import CanaryState
    from cropmask.operate.waiting import wait_for_canary

    record, site, as_json = submission.record, submission.site, submission.given["as_json"]
    product = choose_product(site.region(record.region).product, Period.parse(record.period))
    worker = site.commands.line("worker", *region_words(record))
    if not as_json:
        what = f"the canary, {record.sent} of {format_count(len(record.tiles), 'tile')}, is sent"
        click.echo(f"Run {record.run}: {what} to {site.queue_address}; it is waited for")
        click.echo(f"  workers, if none are running: {worker}")
    warn_if_silent = warn_of_silence(worker)
    with _advising(submission), show_progress(quiet=as_json) as progress:

        def tell(verdict: CanaryVerdict) -> None:
            progress("canary", verdict.done / len(verdict.tiles))
            warn_if_silent(verdict)

        verdict = wait_for_canary(site.store(), site.queue(), product, record, tell)
    if verdict.state is CanaryState.PASSED:
        if not as_json:
            print_result(None, format_verdict(verdict), as_json=False)
        return verdict
    document = {
        "run": record.run,
        "tiles": len(record.tiles),
        "sent": record.sent,
        "queue": site.queue_address,
        "canary": describe_verdict(verdict),
    }
    lines = (*format_verdict(verdict), *advise_failed(record, site.commands))
    print_result(document, lines, as_json=as_json)
    sys.exit(ExitCode.PLAN_HAS_CHANGES)


@contextmanager
def _advising(submission: Submission) -> Iterator[None]:
    """Tell whoever stops a submission how to go on with it."""
    from cropmask.fleet.recordfiles import load_run
    from cropmask.operate.advice import advise_resume

    record, site = submission.record, submission.site
    try:
        yield
    except STOPPED:
        record = load_run(site.store(), *record.place)
        raise Drained(f"stopped by a signal: {advise_resume(record, site.commands)}") from None


def _cancel(given: dict[str, Any]) -> None:
    from cropmask.kube.doors import open_cluster
    from cropmask.operate.submit import cancel
    from cropmask.task import parse_run_id

    run, dry_run = parse_run_id(given["cancelled"]), given["dry_run"]
    names = cancel(open_cluster(given["namespace"]), run, dry_run=dry_run)
    done = "would be" if dry_run else "is"
    lines = (
        f"Job {name} {done} deleted; its workers return what they have not done." for name in names
    )
    print_result({"run": run, "jobs": names}, lines, as_json=given["as_json"])


def _watch(cluster: Cluster, name: str) -> None:
    """Follow a Job; ends the process with 10 if it failed."""
    from cropmask.kube.protocol import JobCondition, JobState

    state: JobState | None = None
    for state in cluster.watch(name):
        click.echo(f"{datetime.now(UTC):%H:%M:%S} {state}")
    if state is not None and state.condition is JobCondition.FAILED:
        sys.exit(ExitCode.FAILED)


def _print_dry_run(
    submission: Submission, manifest: Manifest | None, obstacles: tuple[str, ...]
) -> None:
    """Print messages and manifest, as they would be sent and created."""
    import yaml

    from cropmask.fleet.taskfile import encode_orders

    for obstacle in obstacles:
        click.echo(f"note: pods could not do this run: {obstacle}", err=True)
    run = submission.record.run
    messages = encode_orders(submission.record.orders()).decode().splitlines()
    canary = submission.record.canary
    first = f", the first {canary.tiles} as its canary" if canary else ""
    lines = [f"# run {run}: {format_count(len(messages), 'message')}{first}"]
    lines += [f"# {message}" for message in messages]
    if manifest is not None:
        lines.append(yaml.safe_dump(manifest, sort_keys=False).rstrip("\n"))
    document = {"run": run, "messages": list(map(json.loads, messages)), "manifest": manifest}
    print_result(document, lines, as_json=submission.given["as_json"])


def _format_not_sent(submission: Submission) -> Iterator[str]:
    """What of the plan is not sent, and how it would be."""
    sent = set(submission.record.tiles)
    planned = submission.plan.tiles if submission.plan else ()
    rest = [str(tile.need) for tile in planned if str(tile.tile) not in sent]
    for need, words in _NOT_SENT.items():
        if need in rest:
            yield f"  not sent: {rest.count(need):,} {words}"


def _format_sent(submission: Submission, document: dict[str, Any]) -> Iterator[str]:
    """What was sent, and what to do next."""
    from cropmask.operate.advice import region_words, write_task_worker

    record, site = submission.record, submission.site
    task_file, job = document["task_file"], document["job"]
    what = f"{format_count(len(record.tiles), 'tile')} of {record.product} {record.period}"
    if task_file is not None:
        yield f"Run {record.run}: {what} in the task file {task_file}"
        yield f"  array size {len(record.tiles)}, indexes from 0"
    else:
        yield f"Run {record.run}: {what} sent to {site.queue_address}"
    yield from _format_not_sent(submission)
    look = site.commands.line("status", "--run", record.run, "--watch")
    if job is not None:
        state = "is created" if document["job_is_new"] else "was there already"
        yield f"  Job {job} in namespace {submission.given['namespace']} {state}"
        yield f"Next: {look}"
        return
    if task_file is not None:
        line = write_task_worker(record, task_file, site.commands)
        yield f"Next: start that many pods of an array, each with: {line}"
    else:
        yield f"Next: {site.commands.line('worker', *region_words(record))}"
    yield f"      {look}"
