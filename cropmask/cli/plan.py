"""``cropmask plan``: what a run would do."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress
from cropmask.cli.output import put_text
from cropmask.contract import ExitCode
from cropmask.errors import list_some
from cropmask.grid import Tile
from cropmask.operate.formats import (
    format_bytes,
    format_count,
    format_cpu_time,
    format_dollars,
    format_duration,
)
from cropmask.product import Recipe, name_maker
from cropmask.site.commands import absolute
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.operate.planfile import Plan, TilePlan
    from cropmask.site.commands import CommandWriter
    from cropmask.site.site import Site

_NAMED_TILES: Final = 4
"""Tiles named after a reason."""
_MEANINGS: Final = {
    "new": ("green", "no result yet"),
    "unchanged": (None, "the result is there"),
    "changed": ("yellow", "another result is there; submitted with --overwrite it is replaced"),
    "no input": ("red", "no GeoMAD for the period"),
    "invalid": ("red", "inputs that cannot be used"),
    "orphan": ("magenta", "a result outside the region"),
}
"""Color and meaning of each need."""


@click.command()
@options.region_option
@options.task_options
@options.tiles_option
@options.aoi_option
@options.strict_option
@click.option("--out", type=options.FILE, help="Write the plan, for 'cropmask submit'.")
@click.option(
    "--workers", type=options.WholeNumber(1, 10_000), default=8, help="For the estimate of time."
)
@click.option("--check", is_flag=True, help="End with 20 if a tile is new or changed.")
@options.json_option
@options.place_options
def plan(
    region: str,
    period: Period,
    model: Recipe,
    tiles: list[Tile] | None,
    aoi: Path | None,
    out: Path | None,
    workers: int,
    check: bool,
    as_json: bool,
    **site_options: object,
) -> None:
    """Compare a region's tiles with the results that are there; nothing is computed.

    A tile is new, unchanged, changed (and why), without input, or an orphan: a result whose tile
    is not in the region. Time, memory and cost are taken from earlier tiles, where there are any.

    \b
    Examples:
      cropmask plan --region eastern --env prod --output s3://my-bucket/cropmask --out plan.json
      cropmask plan --region eastern --period 2021 --aoi kenya.geojson
      cropmask plan --region eastern --check || cropmask submit --region eastern
    """
    options.refuse_with_series(period)
    site = options.open_site(site_options)
    made = plan_region(site, region, period, model, tiles, aoi, quiet=as_json)
    if out is not None:
        put_text(out, made.to_json(), '"whole_region": ')
    if as_json:
        click.echo(made.to_json(), nl=False)
    else:
        for line in _format_plan(made, site, workers):
            click.echo(line.rstrip())
        if out is not None and made.has_work:
            places = ("env", "catalog", "output")
            line = site.commands.line("submit", absolute(str(out)), leave_out=places)
            click.echo(f"Next: {line}")
    if check and made.has_work:
        sys.exit(ExitCode.PLAN_HAS_CHANGES)


def plan_region(
    site: Site,
    region: str,
    period: Period,
    recipe: Recipe,
    tiles: list[Tile] | None,
    aoi: Path | None,
    *,
    quiet: bool = False,
) -> Plan:
    """Plan of the options of a command, with a progress bar on a terminal."""
    from cropmask.operate.plan import make_plan
    from cropmask.sources.boundary import load_boundary

    area = None if aoi is None else load_boundary(aoi, site.read.limits)
    with show_progress(quiet=quiet) as progress:
        return make_plan(
            region,
            period,
            site,
            now=datetime.now(UTC),
            recipe=recipe,
            only=tiles,
            area=area,
            progress=progress,
        )


def _format_plan(made: Plan, site: Site, workers: int) -> Iterator[str]:
    yield (
        f"{made.product.name} {made.version}, {made.period}, "
        f"{name_maker(made.product.name, made.recipe)}, {made.resolution} m, to {made.output}"
    )
    if site.synthetic:
        yield "SYNTHETIC: the made-up demo world has one tile, and is no map of any place."
    for need, count in made.counts.items():
        color, meaning = _MEANINGS[need]
        row = f"{count:>7,}  {need:<10}"
        yield f"{click.style(row, fg=color) if count else row} {meaning if count else ''}"
    yield from _format_groups(made, site.commands)
    yield from _format_estimate(made, site, workers)


def _format_groups(made: Plan, commands: CommandWriter) -> Iterator[str]:
    """Lines for tiles that have changed in one way, or cannot be computed for one reason."""
    from cropmask.operate.planfile import Need

    changed = defaultdict(list)
    for planned in made.of(Need.CHANGED):
        for change in planned.changes:
            changed[change.cause, str(change)].append(planned)
    for (cause, words), found in changed.items():
        yield f"changed {cause}: {words}: {_name_tiles(found)}"
    refused = defaultdict(list)
    for planned in made.of(Need.NO_INPUT, Need.INVALID, Need.ORPHAN):
        refused[planned.need, planned.reason].append(planned)
    for (need, _), found in refused.items():
        detail = f": {found[0].detail}" if found[0].detail else ""
        yield f"{need}: {_name_tiles(found)}{detail}"
    if orphans := made.of(Need.ORPHAN):
        names = ",".join(str(planned.tile) for planned in orphans)
        remove = commands.line_for("rm", made.region, made.period, "--tiles", names)
        yield f"orphans are deleted by: {remove}"


def _name_tiles(found: Iterable[TilePlan]) -> str:
    return list_some([str(planned.tile) for planned in found], _NAMED_TILES)


def _format_estimate(made: Plan, site: Site, workers: int) -> Iterator[str]:
    guess = made.estimate
    if not guess.tiles:
        yield "Nothing to compute."
        return
    yield (
        f"{format_count(guess.tiles, 'tile')} to compute: {format_duration(guess.worker_seconds)} "
        f"of one worker, about {format_duration(guess.seconds_with(workers))} with {workers}; "
        f"{format_bytes(guess.memory)} of memory each"
    )
    yield (
        f"  {format_cpu_time(guess.cpu_seconds)}, {format_dollars(guess.dollars(site.price))} at "
        f"{site.price}"
    )
    yield f"  from {guess.basis}"
