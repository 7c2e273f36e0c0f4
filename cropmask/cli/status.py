"""``cropmask status``: how far a run is."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from cropmask.cli.numbers import Number
from cropmask.cli.options import FILE, json_option, place_options, queue_option
from cropmask.contract import ENV_TIME_LIMIT, TIME_LIMIT_SECONDS
from cropmask.errors import CropmaskError
from cropmask.fleet.records import RunRecord
from cropmask.grid import tiles_within
from cropmask.operate.advice import advise, advise_run
from cropmask.operate.formats import (
    say_count,
    say_cpu_time,
    say_dollars,
    say_duration,
    say_moment,
    say_rate,
)
from cropmask.operate.status import Sought, find_run, load_standing, utc_now
from cropmask.operate.statuspage import MEANINGS, Surroundings, make_status_page
from cropmask.operate.summary import Standing, is_given_up
from cropmask.queue.protocol import Counts
from cropmask.region import load_region
from cropmask.results.finder import find_collection, is_synthetic
from cropmask.site.site import Site, open_site
from cropmask.sources.boundary import load_boundary
from cropmask.store.folder import FolderStore
from cropmask.task import Period

_COLORS = {
    "SUCCEEDED": "green",
    "SKIPPED": "green",
    "PROCESSING": "blue",
    "STALE": "magenta",
    "FAILED": "yellow",
    "INVALID": "red",
}
_WIDTH = 50
QUEUE_LAG = timedelta(seconds=65)
"""An empty queue is believed when it has said so for as long; numbers of SQS lag."""


@click.command()
@click.option(
    "--region",
    metavar="NAME_OR_PATH",
    help="Region whose runs to look at.  [default: that of the newest run]",
)
@click.option("--period", metavar="PERIOD", help="Year of the map, such as 2019--P1Y or 2019.")
@click.option("--run", metavar="RUN", help="Name of the run.  [default: the newest]")
@click.option(
    "--watch",
    is_flag=True,
    help="Show it again and again until nothing remains, or nobody will try what does.",
)
@click.option(
    "--every",
    type=Number(min=0.2),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Interval of --watch.",
)
@click.option(
    "--html",
    type=FILE,
    metavar="FILE",
    help="Also write a page with a map of the tiles; with --watch it loads itself anew.",
)
@queue_option
@click.option(
    "--time-limit",
    type=Number(min=1),
    default=TIME_LIMIT_SECONDS,
    show_default=True,
    envvar=ENV_TIME_LIMIT,
    metavar="SECONDS",
    help="Time after which the workers stop an attempt: one that is older has no worker.",
)
@json_option
@place_options
def status(
    region: str | None,
    period: str | None,
    run: str | None,
    watch: bool,
    every: float,
    html: Path | None,
    time_limit: float,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Show how far a run is: tiles by state, speed, end, cost, failures and what to do.

    It reads one listing of the records beside the results, and few of them; workers need not be
    reachable.

    \b
    Examples:
      cropmask status
      cropmask status --region eastern --period 2019 --watch --html progress.html
      cropmask status --json | jq .counts
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site = open_site(options=options)
    store = site.store()
    product = load_region(region, site.models).product.name if region else None
    year = str(Period.year_of(period)) if period else None
    record, others = find_run(store, Sought(product, year, run))
    site = _site_of(record, options)
    around = _surroundings(site, record.region, every if watch else None) if html else None
    given_up: datetime | None = None
    while True:
        queue, trouble = _count(site)
        now = utc_now()
        standing = load_standing(store, record, now, queue=queue, time_limit=time_limit)
        if html is not None and around is not None:
            synthetic = is_synthetic(find_collection(store, record.product))
            around = replace(around, queue=queue, synthetic=synthetic)
            _put_page(html, make_status_page(standing, around))
        if as_json:
            click.echo(json.dumps(encode_json(standing, site, queue)))
        else:
            if watch and sys.stdout.isatty():
                click.clear()
            click.echo(format_text(standing, site, queue, trouble))
            if others and not watch:
                click.echo(f"other runs: {', '.join(other.run for other in others[:5])}")
        waiting = queue.waiting if queue else None
        given_up = (given_up or now) if is_given_up(standing, waiting) else None
        if not watch or standing.remaining == 0 or (given_up and now - given_up >= QUEUE_LAG):
            return
        time.sleep(every)


def _site_of(record: RunRecord, options: dict[str, Any]) -> Site:
    """Site with the run's own inputs, where it says them and the command line does not."""
    told = {name: value for name, value in options.items() if value is not None}
    return open_site(options={**record.places, **told})


def _count(site: Site) -> tuple[Counts | None, str | None]:
    """Counts of the queue; or why they are not known, which is no reason to say nothing."""
    if site.queue_address is None:
        return None, None
    try:
        return site.queue().counts(), None
    except CropmaskError as error:
        return None, str(error)


def _surroundings(site: Site, name: str, every: float | None) -> Surroundings:
    around = Surroundings(
        site.price,
        commands=site.commands,
        reload_seconds=None if every is None else max(1, round(every)),
    )
    if site.synthetic:
        return around  # the made-up world is not where its region is
    try:
        outline = load_boundary(load_region(name, site.models).boundary)
    except CropmaskError:  # submitted with a region file that is not here
        return around
    return replace(around, outline=outline, region_tiles=tiles_within(outline))


def _put_page(path: Path, text: str) -> None:
    """Write the page whole: a browser may load it at any moment."""
    FolderStore(path.parent).put(path.name, text.encode(), "text/html")


def format_text(
    standing: Standing, site: Site, queue: Counts | None, trouble: str | None = None
) -> str:
    """A run for a terminal."""
    record, spent = standing.record, standing.spent
    filled = int(_WIDTH * standing.share)
    lines = [
        f"{record.product} {record.period}, run {record.run}, submitted {record.submitted}, "
        f"{record.recipe}, {record.resolution} m",
        f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {standing.done:,} of "
        f"{say_count(len(standing.tiles), 'tile')} done ({standing.share:.0%})",
        "",
    ]
    for shown, number in standing.counts.items():
        if number:
            name = click.style(f"{shown:<11}", fg=_COLORS.get(shown))
            lines.append(f"  {name}{number:>7,}  {MEANINGS[shown]}")
    if record.unchanged:
        lines.append(f"  {'':<11}{record.unchanged:>7,}  more were unchanged, and not sent")
    usual = f", {say_duration(spent.tile_seconds)} a tile" if spent.tile_seconds else ""
    speed = f"{say_rate(standing.per_hour)}{usual}" if standing.per_hour else "not known yet"
    basis = f"{spent.sampled} of {say_count(spent.ended, 'attempt')}"
    lines += [
        "",
        f"speed   {speed}",
        f"ends    {_ends(standing)}",
        f"cost    {say_dollars(standing.dollars(site.price))} so far: "
        f"{say_cpu_time(spent.cpu_seconds)} (from {basis}) at {site.price}",
    ]
    if queue is not None:
        lines.append(
            f"queue   {queue.visible:,} waiting, {queue.in_flight:,} in flight, "
            f"{queue.delayed:,} delayed, {say_count(queue.dead, 'dead letter')}"
        )
    elif trouble is not None:
        lines.append(f"queue   not known: {trouble}")
    if standing.failures:
        lines += ["", "failures"]
    for group in standing.failures:
        name = click.style(f"{group.state:<8}", fg=_COLORS[group.state])
        lines += [
            f"  {name}{say_count(len(group.tiles), 'tile')}: {group.reason}; such as "
            f"{group.example}: {group.error}",
            f"          {advise(group, site.commands)}",
        ]
    advice = advise_run(standing, queue, site.commands)
    return "\n".join([*lines, *(["", *(f"> {line}" for line in advice)] if advice else [])])


def _ends(standing: Standing) -> str:
    if standing.remaining == 0:
        return (
            f"over; the last tile was begun {say_moment(standing.last)}"
            if standing.last
            else "over"
        )
    if standing.ends is None or standing.seconds_left is None:
        return "not known before two tiles have finished"
    return f"in {say_duration(standing.seconds_left)}, about {say_moment(standing.ends)}"


def encode_json(standing: Standing, site: Site, queue: Counts | None) -> dict[str, Any]:
    """A run for programs."""
    record, spent = standing.record, standing.spent
    return {
        "run": record.run,
        "region": record.region,
        "product": record.product,
        "period": record.period,
        "moment": standing.moment.isoformat(),
        "counts": standing.counts,
        "unchanged": record.unchanged,
        "done": standing.done,
        "remaining": standing.remaining,
        "retried": standing.retried,
        "tiles_per_hour": standing.per_hour,
        "tile_seconds": spent.tile_seconds,
        "seconds_left": standing.seconds_left,
        "ends": standing.ends and standing.ends.isoformat(),
        "cpu_seconds": spent.cpu_seconds,
        "dollars": standing.dollars(site.price),
        "dollars_per_cpu_hour": site.price.dollars,
        "queue": queue and asdict(queue),
        "failures": [
            {
                "state": group.state,
                "reason": group.reason,
                "tiles": [str(tile) for tile in group.tiles],
                "example": str(group.example),
                "error": group.error,
                "advice": advise(group, site.commands),
            }
            for group in standing.failures
        ],
        "advice": advise_run(standing, queue, site.commands),
        "tiles": {str(found.tile): found.shown for found in standing.tiles},
    }
