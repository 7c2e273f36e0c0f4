"""``cropmask plan``: what a run would do."""

from __future__ import annotations

import sys
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from cropmask.cli.console import ProgressBar
from cropmask.cli.numbers import Whole
from cropmask.cli.options import (
    FILE,
    json_option,
    place_options,
    put_text,
    read_tiles,
    region_option,
    task_options,
    tiles_options,
)
from cropmask.contract import ExitCode
from cropmask.operate.formats import say_bytes, say_count, say_cpu_time, say_dollars, say_duration
from cropmask.operate.plan import Need, Plan, TilePlan
from cropmask.operate.planner import make_plan
from cropmask.product import Recipe
from cropmask.site.site import Site, open_site
from cropmask.sources.boundary import load_boundary
from cropmask.task import Period

SHOWN: Final = 4
"""Tiles named after a reason."""
_MEANINGS: Final = {
    Need.NEW: ("green", "no result yet"),
    Need.UNCHANGED: (None, "the result is there"),
    Need.CHANGED: ("yellow", "another result is there; 'submit --overwrite' replaces it"),
    Need.NO_INPUT: ("red", "no GeoMAD for the period"),
    Need.INVALID: ("red", "inputs that cannot be used"),
    Need.ORPHAN: ("magenta", "a result outside the region; 'cropmask rm' deletes it"),
}


@click.command()
@region_option
@task_options
@tiles_options
@click.option("--out", type=FILE, metavar="FILE", help="Write the plan, for 'cropmask submit'.")
@click.option(
    "--workers",
    type=Whole(1, 10_000),
    default=8,
    show_default=True,
    help="Workers that the time is estimated for.",
)
@click.option("--check", is_flag=True, help="End with 20 if a tile is new or changed.")
@json_option
@place_options
def plan(
    region: str,
    period: str,
    model: Recipe,
    tiles: str | None,
    aoi: Path | None,
    out: Path | None,
    workers: int,
    check: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Compare a region's tiles with the results that are there; nothing is computed.

    A tile is new, unchanged, changed (and why), without input, or an orphan: a result whose tile
    is not in the region. Time, memory and cost are taken from earlier tiles, where there are any.

    \b
    Examples:
      cropmask plan --region eastern --env prod --output s3://my-bucket/cropmask --out plan.json
      cropmask plan --region eastern --period 2021 --aoi kenya.geojson
      cropmask plan --region eastern --check || cropmask submit --region eastern
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site = open_site(options=options)
    made = plan_region(site, region, period, model, tiles, aoi, quiet=as_json)
    if out is not None:
        put_text(out, made.to_json())
    click.echo(made.to_json() if as_json else format_text(made, site, workers), nl=False)
    if out is not None and not as_json and made.has_work:
        line = site.commands.line("submit", str(out), leave_out=("env", "catalog", "output"))
        click.echo(f"Next: {line}")
    if check and made.has_work:
        sys.exit(ExitCode.PLAN_HAS_CHANGES)


def plan_region(
    site: Site,
    region: str,
    period: str,
    recipe: Recipe,
    tiles: str | None,
    aoi: Path | None,
    *,
    quiet: bool = False,
) -> Plan:
    """Plan of the options of a command, with a progress bar on a terminal."""
    ask = partial(
        make_plan,
        region,
        Period.year_of(period),
        site,
        now=datetime.now(UTC),
        recipe=recipe,
        only=None if tiles is None else read_tiles(tiles),
        area=None if aoi is None else load_boundary(aoi),
    )
    if quiet or not sys.stderr.isatty():
        return ask()
    progress = ProgressBar()
    try:
        return ask(progress=progress)
    finally:
        progress.close()


def format_text(made: Plan, site: Site, workers: int) -> str:
    """A plan for a terminal."""
    lines = [
        f"{made.product.name} {made.version}, {made.period}, {made.recipe}, {made.resolution} m, "
        f"to {made.output}"
    ]
    if site.synthetic:
        lines.append("SYNTHETIC: the made-up demo world has one tile, and is no map of any place.")
    for need, count in made.counts.items():
        color, meaning = _MEANINGS[need]
        row = f"{count:>7,}  {need:<10}"
        lines.append(f"{click.style(row, fg=color) if count else row} {meaning if count else ''}")
    lines += [*_changes(made), *_refused(made), *_estimate(made, site, workers)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _changes(made: Plan) -> list[str]:
    groups: dict[tuple[str, str], list[TilePlan]] = defaultdict(list)
    for planned in made.of(Need.CHANGED):
        for change in planned.changes:
            groups[change.cause, str(change)].append(planned)
    return [
        f"changed {cause}: {words}: {_names(found)}" for (cause, words), found in groups.items()
    ]


def _refused(made: Plan) -> list[str]:
    groups: dict[tuple[str, str], list[TilePlan]] = defaultdict(list)
    for planned in made.of(Need.NO_INPUT, Need.INVALID, Need.ORPHAN):
        groups[planned.need, planned.reason or ""].append(planned)
    return [
        f"{need}: {_names(found)}" + (f": {found[0].detail}" if found[0].detail else "")
        for (need, _), found in groups.items()
    ]


def _names(found: list[TilePlan]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(str(planned.tile) for planned in found[:SHOWN]) + more


def _estimate(made: Plan, site: Site, workers: int) -> list[str]:
    guess = made.estimate
    if not guess.tiles:
        return ["Nothing to compute."]
    return [
        f"{say_count(guess.tiles, 'tile')} to compute: {say_duration(guess.worker_seconds)} of one "
        f"worker, about {say_duration(guess.seconds_with(workers))} with {workers}; "
        f"{say_bytes(guess.memory)} of memory each",
        f"  {say_cpu_time(guess.cpu_seconds)}, {say_dollars(guess.dollars(site.price))} at "
        f"{site.price}",
        f"  from {guess.basis}",
    ]
