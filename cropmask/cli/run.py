"""``cropmask run``: one run paused, resumed or canceled; runs listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress
from cropmask.cli.output import pick, print_result, print_table
from cropmask.errors import Reason, Rejected
from cropmask.operate.formats import format_count
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.fleet.control import RunControl
    from cropmask.fleet.records import RunRecord
    from cropmask.operate.runcontrol import RunChange, RunSummary
    from cropmask.site.site import Site
    from cropmask.store.protocol import Store

_run_options = options.combine(
    click.argument("name", metavar="RUN", type=options.RUN),
    click.option("--region", type=options.REGION, help="If several regions have such a run."),
    click.option(
        "--period", type=options.TASK_PERIOD, help="If it has such a run for several years."
    ),
    options.output_option,
    options.config_option,
    options.json_option,
)
_why_option = click.option("--why", type=options.NAME, help="A few words, for the others.")
_SHOWN: Final = ("state", "reason", "why", "since", "by", "max_cost", "max_tiles")


@click.group()
def run() -> None:
    """Pause, resume or cancel one run, or list runs; others are untouched.

    What is said is written beside the run's records, where workers look every 15 seconds. No
    right in the cluster is needed, and workers go on with other runs.
    """


@run.command()
@_run_options
@_why_option
def pause(name: str, why: str | None, as_json: bool, **where: Any) -> None:  # noqa: ANN401
    """Have workers hold the orders of a run, until it is resumed.

    What is being worked on is finished. An order that a worker receives is written down beside the
    results and taken from the queue, so nothing expires there and no worker waits for it.

    \b
    Example:
      cropmask run pause 20190704t081500-1f3a --why "the catalog moves"
    """
    from cropmask.operate.runcontrol import pause_run

    site, store, record = _open(name, where)
    changed = pause_run(store, record, why or "somebody paused it", datetime.now(UTC))
    state = changed.control.state
    done = f"is {state}" if changed.is_new else f"was {state} already"
    lines = [f"Run {name} {done}; to have it go on: {site.commands.line('run resume', name)}"]
    _print(record, changed, lines, as_json=as_json)


@run.command()
@_run_options
@options.limit_options
@options.queue_option
def resume(name: str, as_json: bool, **where: Any) -> None:  # noqa: ANN401 (as click has them)
    """Have a run that was paused or stopped go on, and send again what is held.

    Stopped anywhere and called again, it sends the rest; a message that is sent twice does no harm.
    A run that has cost what it may needs a higher --max-cost. Of a run of --direct nothing is sent:
    start its array again.

    \b
    Examples:
      cropmask run resume 20190704t081500-1f3a
      cropmask run resume 20190704t081500-1f3a --max-cost 40
    """
    from cropmask.fleet.taskfile import find_task_file
    from cropmask.operate.advice import write_task_worker
    from cropmask.operate.runcontrol import resume_run

    limits = options.pick_limits(where)
    site, store, record = _open(name, where)
    task_file = find_task_file(store, record)
    if task_file:  # the command for its pods says where its inputs are
        given = options.pick_site_options(where)
        known = {key: value for key, value in given.items() if value is not None}
        site = options.open_site({**record.places, **known})
    elif where["queue"] is None and record.queue is not None:  # that to which it was sent
        site = options.open_site({**options.pick_site_options(where), "queue": record.queue})
    with show_progress(quiet=as_json) as progress:
        changed = resume_run(
            store,
            None if task_file else site.queue(),
            record,
            site,
            datetime.now(UTC),
            limits,
            lambda share: progress("send", share),
        )
    held = format_count(changed.tiles, "held tile")
    goes = "goes on" if changed.is_new else "was going on already"
    lines = [f"Run {name} {goes}; {held} sent again to {site.queue_address}"]
    if task_file:
        worker = write_task_worker(record, task_file, site.commands)
        again = f"start the array of its task file again, each pod with: {worker}"
        lines = [f"Run {name} {goes}; {held} free again, but in no queue: {again}"]
    lines += [f"  it may cost {_describe_limits(changed.control)}"]
    _print(record, changed, lines, as_json=as_json)


@run.command()
@_run_options
@_why_option
def cancel(name: str, why: str | None, as_json: bool, **where: Any) -> None:  # noqa: ANN401
    """Have workers drop the orders of a run, for good.

    What is being worked on is finished, and results stay. Orders that are in the queue are dropped
    when they are received, and counted as CANCELED; dead letters stay until 'cropmask redrive
    --discard'. Jobs in Kubernetes end by themselves, or by 'cropmask submit --cancel'.

    \b
    Example:
      cropmask run cancel 20190704t081500-1f3a --why "wrong year"
    """
    from cropmask.operate.runcontrol import cancel_run

    _, store, record = _open(name, where)
    changed = cancel_run(store, record, why or "somebody canceled it", datetime.now(UTC))
    done = "is canceled" if changed.is_new else "was canceled already"
    held = f"; {format_count(changed.tiles, 'held tile')} dropped" if changed.tiles else ""
    _print(record, changed, [f"Run {name} {done}{held}"], as_json=as_json)


@run.command(name="list")
@click.option("--region", type=options.REGION, help="[default: all]")
@click.option("--period", type=options.TASK_PERIOD, help=options.TASK_PERIOD_HELP)
@click.option("--last", type=options.WholeNumber(1), default=20, help="No more than so many.")
@options.output_option
@options.config_option
@options.json_option
def list_(
    region: str | None,
    period: Period | None,
    last: int,
    as_json: bool,
    **site_options: object,
) -> None:
    """List runs, the newest first: what becomes of each, its tiles by state, its limits.

    One is done where nothing of it is left to do, although tiles may have failed for good; that
    is known from the names of its records alone.

    \b
    Examples:
      cropmask run list
      cropmask run list --region eastern --period 2019 --json
    """
    from cropmask.operate.findrun import find_product
    from cropmask.operate.runcontrol import list_runs

    site = options.open_site(site_options)
    product = find_product(site, region, period).name if region else None
    found = list_runs(site.store(), product, str(period) if period else None, last)
    if as_json:
        print_result([_describe_summary(one) for one in found], (), as_json=True)
    elif not found:
        click.echo(f"no run was submitted to {site.output} yet")
    else:
        print_table([_HEAD, *map(_row, found)])
        for line in _format_reasons(found, site):
            click.echo(line)


_HEAD: Final = ("run", "product", "period", "is", "done", "tiles", "held", "failed", "may cost")


def _open(name: str, where: dict[str, Any]) -> tuple[Site, Store, RunRecord]:
    """The run of a name, which only one may have."""
    from cropmask.operate.findrun import RunQuery, find_product, find_run

    site = options.open_site(options.pick_site_options(where))
    store = site.store()
    region, period = where["region"], where["period"]
    product = find_product(site, region, period).name if region else None
    year = str(period) if period else None
    record, others = find_run(store, RunQuery(product, year, name, region, site.commands))
    same = [other for other in others if other.run == name]
    if same:
        names = ", ".join(f"{found.product} {found.period}" for found in (record, *same))
        raise Rejected(
            f"several runs have the name {name}: {names}; say which with --region and --period",
            reason=Reason.UNKNOWN_RUN,
        )
    return site, store, record


def _print(record: RunRecord, changed: RunChange, lines: Sequence[str], *, as_json: bool) -> None:
    document = {
        **pick(record, "run", "product", "period"),
        **pick(changed.control, *_SHOWN),
        **pick(changed, "is_new", "tiles"),
    }
    print_result(document, lines, as_json=as_json)


def _describe_limits(control: RunControl) -> str:
    from cropmask.fleet.gate import write_dollars

    cost = "anything" if control.max_cost is None else write_dollars(control.max_cost)
    tiles = "" if control.max_tiles is None else f", for {format_count(control.max_tiles, 'tile')}"
    return cost + tiles


def _describe_summary(found: RunSummary) -> dict[str, Any]:
    from cropmask.operate.status import count_remaining

    return {
        **pick(found.record, "run", "region", "product", "period", "submitted"),
        **pick(found.control, *_SHOWN),
        "tiles": len(found.record.tiles),
        "counts": found.counts,
        "remaining": count_remaining(found.counts),
    }


def _row(found: RunSummary) -> tuple[str, ...]:
    from cropmask.operate.status import count_remaining

    record, counts = found.record, found.counts
    is_done = found.control.is_running and not count_remaining(counts)
    return (
        record.run,
        record.product,
        record.period,
        "done" if is_done else str(found.control.state),
        f"{counts['SUCCEEDED'] + counts['SKIPPED']:,}",
        f"{len(record.tiles):,}",
        f"{counts['HELD']:,}",
        f"{counts['FAILED'] + counts['INVALID']:,}",
        _describe_limits(found.control),
    )


def _format_reasons(found: Sequence[RunSummary], site: Site) -> Iterator[str]:
    from cropmask.operate.advice import advise_control

    for one in found:
        line = advise_control(one.record.run, one.control, site.commands)
        if line is not None:
            yield f"{one.record.run} {line}"
