"""``cropmask submit``: a region's tiles to a queue, and to a cluster."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from cropmask import contract
from cropmask.cli.console import STOPPED, ProgressBar
from cropmask.cli.numbers import Number, Whole
from cropmask.cli.options import FILE, json_option, place_options, task_options, tiles_options
from cropmask.cli.plan import plan_region
from cropmask.cli.submission import Report, Work, print_dry_run, print_nothing
from cropmask.contract import ExitCode
from cropmask.errors import Drained, Misconfigured, Reason, Rejected
from cropmask.fleet.recordfiles import find_runs, load_run
from cropmask.fleet.records import RunRecord
from cropmask.fleet.taskfile import task_file_key
from cropmask.kube.doors import open_cluster
from cropmask.kube.manifests import job_name
from cropmask.kube.protocol import Cluster, Condition, JobState
from cropmask.machine.stages import ShareDone
from cropmask.operate.advice import go_on
from cropmask.operate.plan import Plan
from cropmask.operate.submit import (
    Pods,
    cancel,
    find_obstacles,
    make_job,
    make_run,
    put_task_file,
    send,
)
from cropmask.queue.protocol import Queue
from cropmask.region import load_region
from cropmask.site.site import Site, open_site
from cropmask.task import Period, make_run_id, parse_run_id

IN_PLAN: Final = (
    *("region", "period", "model", "resolution", "tiles", "aoi", "env", "catalog", "output"),
)
"""Options that a plan answers."""
EPILOG: Final = """\b
Examples
  What a plan says:
    cropmask plan --region eastern --env prod --output s3://my-bucket/cropmask --out plan.json
    cropmask submit plan.json --queue https://sqs.af-south-1.amazonaws.com/123456789012/cropmask
  On one machine, then run one or more 'cropmask worker':
    cropmask submit --region eastern --catalog ./my-catalog
  With 20 workers in Kubernetes, watched until they end:
    cropmask submit plan.json --workers 20 --image my-registry/cropmask:0.1.0 --watch
  Without a queue:
    cropmask submit plan.json --direct --workers 20 --image my-registry/cropmask:0.1.0
  Look first:
    cropmask submit plan.json --workers 20 --image my-registry/cropmask:0.1.0 --dry-run
"""


@click.command(epilog=EPILOG)
@click.argument("plan_file", metavar="[PLAN]", required=False, type=FILE)
@click.option(
    "--region",
    metavar="NAME_OR_PATH",
    help="Region to plan and submit, if there is no plan yet.",
)
@task_options
@tiles_options
@click.option("--overwrite", is_flag=True, help="Send changed tiles too, to be computed anew.")
@click.option(
    "--all", "everything", is_flag=True, help="Send unchanged tiles too; workers skip them."
)
@click.option(
    "--queue",
    metavar="PLACE",
    help="URL of an SQS queue, or a folder.  [default: beside a folder of results]",
)
@click.option(
    "--direct",
    is_flag=True,
    help="Use no queue: write a task file, from which each pod of an Indexed Job, or of an AWS "
    "Batch array, picks its task by its index.",
)
@click.option(
    "--workers",
    type=Whole(1, 10_000),
    help="Create a Kubernetes Job with so many workers.  [default: none]",
)
@click.option("--image", envvar=contract.ENV_IMAGE, show_envvar=True, metavar="IMAGE",
              help="Container image of the workers.")  # fmt: skip
@click.option(
    "--namespace",
    envvar=contract.ENV_NAMESPACE,
    show_envvar=True,
    metavar="NAME",
    default=contract.NAMESPACE,
    show_default=True,
    help="Namespace of the Job.",
)
@click.option("--worker-cpu", default=contract.WORKER_CPU, show_default=True, metavar="CPUS",
              help="CPUs that each worker asks for.")  # fmt: skip
@click.option("--worker-memory", default=contract.WORKER_MEMORY, show_default=True,
              metavar="SIZE", help="Memory of each worker, as Kubernetes writes it.")  # fmt: skip
@click.option(
    "--any-node",
    is_flag=True,
    help=f"Let workers run on any node, not only on those labeled {contract.BATCH_TAINT}=true.",
)
@click.option("--set", "variables", multiple=True, metavar="NAME=VALUE",
              help="Environment variable of the workers; may be given several times.")  # fmt: skip
@click.option(
    "--deadline-hours",
    type=Number(min=0.01),
    default=24,
    show_default=True,
    help="Time after which the Job is stopped.",
)
@click.option(
    "--run",
    metavar="NAME",
    help="Name of the run; one that exists goes on.  [default: made from the time]",
)
@click.option("--resume", metavar="RUN",
              help="Go on with a run whose submission was stopped.")  # fmt: skip
@click.option("--cancel", "cancelled", metavar="RUN",
              help="Delete the Kubernetes Jobs of a run, and do nothing else.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Follow the Job until it ends.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be done, and do nothing.",
)
@json_option
@place_options
def submit(**given: Any) -> None:  # noqa: ANN401 (one value below)
    """Send the tiles of a region that are new to a queue, and start workers for them.

    The run is written down first, then its messages are sent; a submission that was stopped goes
    on with --resume. A message that is sent twice does no harm. Stdout of --dry-run is a manifest
    that kubectl takes, with the messages in its comments.
    """
    if given["cancelled"]:
        _cancel(given["namespace"], given["cancelled"], dry_run=given["dry_run"])
        return
    if given["plan_file"] is not None:
        source = click.get_current_context().get_parameter_source
        clash = [name for name in IN_PLAN if source(name) is ParameterSource.COMMANDLINE]
        if clash:
            raise click.UsageError(f"a plan says it already: leave out --{clash[0]}")
    elif not given["region"]:
        raise click.UsageError("give a plan, or --region")
    if given["watch"] and not given["workers"]:
        raise click.UsageError("--watch follows a Job: add --workers")
    _submit(_open(given), given)


def _open(given: dict[str, Any]) -> Work:
    names = ("env", "catalog", "output", "resolution", "models", "queue")
    options = {name: given[name] for name in names}
    if given["plan_file"] is not None:
        return _open_plan(given, options)
    site = open_site(options=options)
    if given["resume"] or given["run"]:
        product = load_region(given["region"], site.models).product.name
        period = str(Period.year_of(given["period"]))
        if (known := _find_run(site, product, period, given)) is not None:
            return Work(known, site, None)
    plan = plan_region(
        site,
        given["region"],
        given["period"],
        given["model"],
        given["tiles"],
        given["aoi"],
        quiet=given["as_json"],
    )
    return Work(_make_run(plan, site, given), site, plan)


def _open_plan(given: dict[str, Any], options: dict[str, Any]) -> Work:
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
    }
    site = open_site(options={**options, **answers})
    if site.catalog != plan.catalog:
        raise Misconfigured(
            f"{path} is a plan for {plan.catalog or 'the made-up demo world'}, while "
            f"{contract.ENV_CATALOG} names {site.catalog}: unset it"
        )
    known = _find_run(site, plan.product.name, str(plan.period), given)
    return Work(known or _make_run(plan, site, given), site, plan)


def _find_run(site: Site, product: str, period: str, given: dict[str, Any]) -> RunRecord | None:
    """The run that is to go on: the one of ``--resume``, or of ``--run`` if it exists."""
    name = given["resume"] or given["run"]
    if name is None:
        return None
    parse_run_id(name)
    if given["resume"] or name in find_runs(site.store(), product, period):
        return load_run(site.store(), product, period, name)
    return None


def _make_run(plan: Plan, site: Site, given: dict[str, Any]) -> RunRecord:
    now = datetime.now(UTC)
    name = given["run"] or make_run_id(now)
    return make_run(
        plan,
        name,
        now,
        overwrite=given["overwrite"],
        everything=given["everything"],
        models=site.models,
    )


def _submit(work: Work, given: dict[str, Any]) -> None:
    record, site, direct = work.record, work.site, given["direct"]
    if not record.tiles:
        print_nothing(work, as_json=given["as_json"])
        return
    pods = _pods(given)
    key = task_file_key(record.product, record.period, record.run)
    task_file = site.store().uri(key) if direct else None
    manifest = make_job(record, site, pods, task_file) if pods else None
    obstacles = find_obstacles(record, site, direct=direct) if pods else ()
    if given["dry_run"]:
        print_dry_run(work, manifest, obstacles, as_json=given["as_json"])
        return
    if obstacles:
        raise Misconfigured(
            f"pods could not do this run: {obstacles[0]}", reason=Reason.LOCAL_PLACE
        )
    cluster = open_cluster(given["namespace"]) if pods else None
    if cluster and manifest:
        cluster.create(manifest, dry_run=True)  # before anything is sent
    if direct:
        put_task_file(record, site.store())
    else:
        record = _send(record, site, quiet=given["as_json"])
    created = cluster.create(manifest) if cluster and manifest else None
    Report(work, record, task_file, created, given).show()
    if cluster and given["watch"]:
        _watch(cluster, job_name(record.run))


def _pods(given: dict[str, Any]) -> Pods | None:
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
    return Pods(
        image=given["image"],
        workers=given["workers"],
        namespace=given["namespace"],
        cpu=given["worker_cpu"],
        memory=given["worker_memory"],
        deadline_seconds=round(3600 * given["deadline_hours"]),
        any_node=given["any_node"],
        variables=variables,
    )


def _send(record: RunRecord, site: Site, *, quiet: bool) -> RunRecord:
    queue = site.queue()
    if quiet or not sys.stderr.isatty():
        return _send_on(record, site, queue, lambda _share: None)
    bar = ProgressBar()
    try:
        return _send_on(record, site, queue, lambda share: bar("send", share))
    finally:
        bar.close()


def _send_on(record: RunRecord, site: Site, queue: Queue, progress: ShareDone) -> RunRecord:
    """Send; whoever stops it is told how to go on."""
    store = site.store()
    try:
        return send(record, store, queue, progress, site.commands)
    except STOPPED:
        record = load_run(store, record.product, record.period, record.run)
        raise Drained(f"stopped by a signal: {go_on(record, site.commands)}") from None


def _cancel(namespace: str, run: str, *, dry_run: bool) -> None:
    run = parse_run_id(run)
    done = "would be" if dry_run else "is"
    for name in cancel(open_cluster(namespace), run, dry_run=dry_run):
        click.echo(f"Job {name} {done} deleted; its workers return what they have not done.")


def _watch(cluster: Cluster, name: str) -> None:
    """Follow a Job; ends the process with 10 if it failed."""
    state: JobState | None = None
    for state in cluster.watch(name):
        click.echo(f"{datetime.now(UTC):%H:%M:%S} {state}")
    if state is not None and state.condition is Condition.FAILED:
        sys.exit(ExitCode.FAILED)
