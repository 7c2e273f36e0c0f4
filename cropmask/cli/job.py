"""``cropmask-job``: one tile, from GeoMAD items to COGs and a STAC item."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cropmask.cli import options
from cropmask.cli.console import (
    HELP_SETTINGS,
    find_log_format,
    is_json,
    open_logging,
    run_click,
    show_progress,
)
from cropmask.cli.output import print_result
from cropmask.contract import VERSION
from cropmask.grid import Tile
from cropmask.product import Recipe
from cropmask.task import Period, Task

if TYPE_CHECKING:
    from cropmask.site.site import Site
    from cropmask.tile.job import Job
    from cropmask.tile.run import TileResult

_EXAMPLES_AND_EXIT_CODES: Final = """\b
Examples
  Map the made-up demo tile at 60 m into ./output:
    cropmask-job --tile x10y20 --region eastern
  The same at full resolution, 9600 x 9600 pixels:
    cropmask-job --tile x10y20 --region eastern --resolution 10
  One real tile in Kenya, from Digital Earth Africa's public data:
    cropmask-job --env prod --tile x215y075 --region eastern \\
                 --period 2019--P1Y --resolution 60 --output ./kenya
  Results to S3, as a worker does it:
    cropmask-job --env prod --tile x215y075 --region eastern \\
                 --output s3://my-bucket/cropmask
  Your own GeoMAD items and your own region:
    cropmask-job --catalog ./my-catalog --region ./my-region/region.toml \\
                 --tile x186y136 --period 2021--P1Y
  A model of your own, or of an old joblib file:
    cropmask models import old.joblib --output my.cropmodel
    cropmask-job --tile x10y20 --region central --model my.cropmodel

\b
Exit codes
   0  done, or skipped because the same result is there
   2  the command line is wrong
   3  the task is wrong: unknown region, tile outside it, GeoMAD missing ...
   4  stopped by SIGTERM or Ctrl-C; nothing was published
  10  reading or writing failed; another try may succeed
  12  the memory limit was exceeded
  13  configuration or credentials are wrong
"""


@click.command(
    context_settings=HELP_SETTINGS, epilog=_EXAMPLES_AND_EXIT_CODES, no_args_is_help=True
)
@click.option(
    "--tile", required=True, type=options.TILE, help="Tile to map, such as x215y075 or 215,75."
)
@options.region_option
@options.tile_options
@options.place_options
@click.option(
    "--verify-inputs/--no-verify-inputs",
    default=None,
    help="Compare GeoMAD files with the checksums and sizes that their items declare, before "
    "anything is published.  [default: compare, but for remote files that are read in part]",
)
@options.strict_option
@click.option("--overwrite", is_flag=True, help="Compute anew and replace what is there.")
@click.option(
    "--dry-run", is_flag=True, help="Find the inputs and say what would be done; write no result."
)
@options.machine_options
@click.option(
    "--profile", is_flag=True, help="Print time, CPU, bytes and peak memory of every stage."
)
@options.log_format_option
@click.version_option(VERSION, message="cropmask %(version)s")
def job(
    tile: Tile,
    region: str,
    period: Period,
    model: Recipe | Path,
    overwrite: bool,
    dry_run: bool,
    profile: bool,
    log_format: str,
    **site_options: object,
) -> None:
    """Map the cropland of one tile and publish it: three COGs and a STAC item.

    Reads two half-years of Sentinel-2 GeoMAD through STAC, classifies every pixel with the
    region's model, filters the result by image segments, masks what is not farmland, and writes
    the bands mask, prob and filtered. A finished tile is skipped.
    """
    from cropmask.machine.limits import keep_heap_small
    from cropmask.site.site import open_site

    keep_heap_small()
    task = Task(tile, region, period)
    site = open_site(options=site_options)
    with show_progress(log_format) as progress:
        progress("start", 0.0)  # says something before kernels load, which takes a while at first
        from cropmask.machine.stages import Stages, format_uses
        from cropmask.tile.job import prepare
        from cropmask.tile.memory import open_stages
        from cropmask.tile.run import run_tile

        if dry_run:
            planned = prepare(task, site, recipe=model, stages=Stages(progress))
        else:
            stages = open_stages(site.memory, progress)
            result = run_tile(task, site, recipe=model, overwrite=overwrite, stages=stages)
    if dry_run:
        _print_plan(planned, site, overwrite)
        return
    document = {"event": "tile", **asdict(result)}
    look = site.commands.line_for("show", region, period, str(tile))
    print_result(document, _format_result(result, look), as_json=is_json(log_format))
    if profile:
        click.echo(format_uses(result.stages), err=True)


def _format_result(result: TileResult, look: str) -> Iterator[str]:
    from cropmask.stac.facts import MADE_UP

    figures = result.statistics
    if result.state == "SKIPPED":
        yield "Skipped: the same result is there already."
    else:
        yield f"Done in {result.seconds:.0f} s."
    if result.synthetic:
        yield MADE_UP
    yield (
        f"  cropland   {figures['crop_hectares']:>12,.0f} ha by pixel, "
        f"{figures['crop_filtered_hectares']:,.0f} ha by object, "
        f"of {figures['mapped_hectares']:,.0f} ha mapped"
    )
    yield f"  item       {result.item}"
    yield f"  picture    {result.thumbnail}"
    yield "Look at it: open the picture, or the .tif files beside it in QGIS, or draw it with:"
    yield f"  {look}"


def _print_plan(planned: Job, site: Site, overwrite: bool) -> None:
    from cropmask.tile.job import find_same

    store = site.store()
    if not overwrite and find_same(store, planned) is not None:
        state = "would skip: the same result is there"
    else:
        state = "would compute"
    geomads = planned.sources.first, planned.sources.second
    click.echo(f"{planned.task.tile} {planned.basis.region.name} {planned.task.period}: {state}")
    click.echo(
        f"  resolution {site.resolution} m, model {planned.basis.recipe}, {site.threads} threads"
    )
    for geomad in geomads:
        click.echo(f"  input      {geomad.title}  {geomad.href}")
    for name, choice in planned.sources.choices.items():
        click.echo(f"  {name:<17}{choice.used}, not {', '.join(choice.passed_over)}")
    for name, layer in planned.sources.ancillary.items():
        click.echo(f"  {name:<17}{layer.href or f'not applied: {layer.reason}'}")
    click.echo(f"  output     {store.uri(planned.place.item)}")
    click.echo(f"  run key    {planned.run_key}")


def main() -> None:
    """Run ``cropmask-job``."""
    log_format = find_log_format(sys.argv[1:], os.environ)
    open_logging(log_format, {"run": uuid.uuid4().hex[:8]})
    run_click(job, log_format, "stopped by a signal: nothing was published")
