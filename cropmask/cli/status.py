"""``cropmask status``: how far a run is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropmask.cli import options
from cropmask.cli.output import pick, print_result, refuse_other_file
from cropmask.errors import CropmaskError
from cropmask.operate.formats import (
    format_count,
    format_cpu_time,
    format_dollars,
    format_duration,
    format_moment,
    format_rate,
)
from cropmask.product import name_maker
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.operate.status import RunStatus
    from cropmask.queue.protocol import Counts
    from cropmask.site.site import Site

_COLORS = {
    "SUCCEEDED": "green",
    "SKIPPED": "green",
    "PROCESSING": "blue",
    "FAILED": "yellow",
    "INVALID": "red",
    "HELD": "magenta",
}
_BAR_WIDTH = 50
QUEUE_LAG = timedelta(seconds=65)
"""An empty queue is believed when it has said so for as long; numbers of SQS lag."""


@click.command()
@click.option("--region", type=options.REGION, help="[default: that of the newest run]")
@click.option("--period", type=options.TASK_PERIOD, help=options.TASK_PERIOD_HELP)
@click.option("--run", type=options.RUN, help="Name of the run.  [default: the newest]")
@click.option(
    "--watch", is_flag=True, help="Show it anew until nothing remains that somebody will try."
)
@click.option("--every", type=options.Seconds(0.2), default=10.0, help="Interval of --watch.")
@click.option(
    "--html", type=options.FILE, help="Write a page with a map, too; with --watch it reloads."
)
@options.queue_option
@options.json_option
@options.place_options
def status(
    region: str | None,
    period: Period | None,
    run: str | None,
    watch: bool,
    every: float,
    html: Path | None,
    as_json: bool,
    **site_options: object,
) -> None:
    """Show how far a run is: tiles by state, speed, end, cost, failures and what to do.

    It reads one listing of the records beside the results, and few of them; workers need not be
    reachable. Of attempts whose workers have died it writes down that they failed.

    \b
    Examples:
      cropmask status
      cropmask status --region eastern --period 2019 --watch --html progress.html
      cropmask status --json | jq .counts
    """
    from cropmask.operate.findrun import RunQuery, find_product, find_run, load_run_status, utc_now
    from cropmask.operate.status import is_given_up
    from cropmask.operate.statuspage import MARK, describe_surroundings, make_status_page
    from cropmask.results.finder import find_collection, is_synthetic
    from cropmask.store.folder import FolderStore

    if html is not None:
        refuse_other_file(html, MARK.encode())
    site = options.open_site(site_options)
    store = site.store()
    product = find_product(site, region, period).name if region else None
    year = str(period) if period else None
    record, others = find_run(store, RunQuery(product, year, run, region, site.commands))
    # The run says where its inputs are; the command line goes before it.
    given = {name: value for name, value in site_options.items() if value is not None}
    site = options.open_site({**record.places, **given})
    pace = max(1, round(every)) if watch else None
    around = describe_surroundings(site, record.region, reload_seconds=pace) if html else None
    given_up: datetime | None = None
    while True:
        queue, trouble = _count(site)
        now = utc_now()
        standing = load_run_status(store, record, now)
        if html is not None and around is not None:
            synthetic = is_synthetic(find_collection(store, record.product))
            page = make_status_page(standing, replace(around, queue=queue, synthetic=synthetic))
            # Written whole at once: a browser may load it at any moment.
            FolderStore(html.parent).put(html.name, page.encode(), "text/html")
        if watch and not as_json and sys.stdout.isatty():
            click.clear()
        lines = _format_standing(standing, site, queue, trouble)
        print_result(_make_document(standing, site, queue), lines, as_json=as_json)
        if others and not watch and not as_json:
            click.echo(f"other runs: {', '.join(other.run for other in others[:5])}")
        waiting = queue.waiting if queue else None
        given_up = (given_up or now) if is_given_up(standing, waiting) else None
        is_over = standing.remaining == 0 or standing.is_at_rest
        if not watch or is_over or (given_up and now - given_up >= QUEUE_LAG):
            return
        time.sleep(every)


def _count(site: Site) -> tuple[Counts | None, str | None]:
    """Counts of the queue, or why they are not known; the rest of the status is shown anyway."""
    if site.queue_address is None:
        return None, None
    try:
        return site.queue().counts(), None
    except CropmaskError as error:
        return None, str(error)


def _format_standing(
    standing: RunStatus, site: Site, queue: Counts | None, trouble: str | None
) -> Iterator[str]:
    from cropmask.operate.advice import advise_group, advise_run
    from cropmask.operate.statuspage import MEANINGS

    record, spent = standing.record, standing.spent
    filled = int(_BAR_WIDTH * standing.share)
    yield (
        f"{record.product} {record.period}, run {record.run}, submitted {record.submitted}, "
        f"{name_maker(record.product, record.recipe)}, {record.resolution} m"
    )
    yield (
        f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {standing.done:,} of "
        f"{format_count(len(standing.tiles), 'tile')} done ({standing.share:.0%})\n"
    )
    for shown, number in standing.counts.items():
        if number:
            name = click.style(f"{shown:<11}", fg=_COLORS.get(shown))
            yield f"  {name}{number:>7,}  {MEANINGS[shown]}"
    if record.unchanged:
        yield f"  {'':<11}{record.unchanged:>7,}  more were unchanged, and not sent"
    usual = f", {format_duration(spent.tile_seconds)} a tile" if spent.tile_seconds else ""
    speed = f"{format_rate(standing.per_hour)}{usual}" if standing.per_hour else "not known yet"
    yield f"\nspeed   {speed}"
    yield f"ends    {_format_end(standing)}"
    yield f"cost    {_format_cost(standing, site)}"
    if queue is not None:
        yield (
            f"queue   {queue.visible:,} waiting, {queue.in_flight:,} in flight, "
            f"{queue.delayed:,} delayed, {format_count(queue.dead, 'dead letter')}"
        )
    elif trouble is not None:
        yield f"queue   not known: {trouble}"
    yield from ["", "failures"] if standing.failures else []
    for group in standing.failures:
        name = click.style(f"{group.state:<8}", fg=_COLORS[group.state])
        tiles = format_count(len(group.tiles), "tile")
        yield f"  {name}{tiles}: {group.reason}; such as {group.example}: {group.error}"
        yield f"          {advise_group(group, site.commands, record.region)}"
    advice = advise_run(standing, queue, site.commands)
    yield from ["", *(f"> {line}" for line in advice)] if advice else []


def _format_cost(standing: RunStatus, site: Site) -> str:
    from cropmask.fleet.gate import price_of, write_dollars

    spent, control = standing.spent, standing.control
    share, dollars = standing.spent_share(site.price), standing.dollars(site.price)
    if share is None or control.max_cost is None:
        cost = f"{format_dollars(dollars)} so far:"
    else:
        limit = write_dollars(control.max_cost)
        cost = f"{write_dollars(dollars)} so far: {share:,.0%} of {limit},"
    return (
        f"{cost} "
        f"{format_cpu_time(spent.cpu_seconds)} (from {spent.sampled} of "
        f"{format_count(spent.ended, 'attempt')}) at {price_of(control, site.price)}"
    )


def _format_end(standing: RunStatus) -> str:
    if not standing.control.is_running:
        return f"{standing.control.state}: {standing.control.why}"
    if standing.remaining == 0:
        return (
            f"over; the last tile was begun {format_moment(standing.last)}"
            if standing.last
            else "over"
        )
    if standing.ends is None or standing.seconds_left is None:
        return "not known before two tiles are computed"
    return f"in {format_duration(standing.seconds_left)}, about {format_moment(standing.ends)}"


def _make_document(standing: RunStatus, site: Site, queue: Counts | None) -> dict[str, Any]:
    from cropmask.fleet.gate import price_of
    from cropmask.operate.advice import advise_group, advise_run

    return {
        **pick(standing.record, "run", "region", "product", "period", "unchanged"),
        **pick(standing, "moment", "counts", "done", "remaining", "retried"),
        "tiles_per_hour": standing.per_hour,
        **pick(standing, "seconds_left", "ends"),
        **pick(standing.spent, "tile_seconds", "cpu_seconds"),
        "dollars": standing.dollars(site.price),
        "dollars_per_cpu_hour": price_of(standing.control, site.price).dollars,
        "spent_share": standing.spent_share(site.price),
        "control": standing.control,
        "queue": queue,
        "failures": [
            {
                **pick(group, "state", "reason", "tiles", "example", "error"),
                "advice": advise_group(group, site.commands, standing.record.region),
            }
            for group in standing.failures
        ],
        "advice": advise_run(standing, queue, site.commands),
        "tiles": {str(found.tile): found.state for found in standing.tiles},
    }
