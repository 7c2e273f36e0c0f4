"""``cropmask-job``: one tile, from GeoMAD items to COGs and a STAC item."""

from __future__ import annotations

import json
import os
import sys
import uuid
from dataclasses import asdict
from typing import Any, Final

import click

from cropmask.cli.console import (
    LOG_FORMATS,
    find_log_format,
    is_json,
    open_logging,
    open_progress,
    run_click,
)
from cropmask.cli.numbers import Whole
from cropmask.cli.options import models_option
from cropmask.contract import ENV_LOG_FORMAT, VERSION
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.machine.limits import keep_heap_small
from cropmask.machine.stages import Stages, format_uses
from cropmask.product import RECIPES, Recipe
from cropmask.site.site import ENVIRONMENTS, Site, open_site
from cropmask.task import Period, Task
from cropmask.tile.job import Job, find_same, prepare
from cropmask.tile.memory import open_stages
from cropmask.tile.run import TileResult, run_tile

EPILOG: Final = """\b
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
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
    no_args_is_help=True,
)
@click.option(
    "--tile", required=True, metavar="TILE", help="Tile to map, such as x215y075 or 215,75."
)
@click.option(
    "--region",
    required=True,
    metavar="NAME",
    help="Region whose model and boundary to use, such as eastern, or the path of a region.toml. "
    "'cropmask models list' shows the regions.",
)
@click.option(
    "--period",
    default="2019--P1Y",
    show_default=True,
    metavar="PERIOD",
    help="Calendar year of the map, such as 2019--P1Y or just 2019.",
)
@click.option(
    "--resolution",
    type=click.Choice([str(meters) for meters in RESOLUTIONS]),
    help="Pixel size in meters. 10 is the product; the others are quick looks.  "
    "[default: 60 for the demo world and with dev, else 10]",
)
@click.option(
    "--output",
    metavar="PLACE",
    help="Folder or s3://bucket/prefix for results.  [default: ./output with local]",
)
@click.option(
    "--catalog",
    metavar="PLACE",
    help="Where the GeoMAD items are: a STAC API, a static catalog or a folder of items, as a "
    "path, http(s):// or s3://.  [default: the demo world with local, else Digital Earth Africa]",
)
@models_option
@click.option(
    "--model",
    type=click.Choice(RECIPES),
    default="forest",
    show_default=True,
    help="forest is the published method; boosted is smaller and faster, see its card "
    "('cropmask models show REGION').",
)
@click.option(
    "--verify-inputs/--no-verify-inputs",
    default=None,
    help="Compare GeoMAD files with the checksums and sizes that their items declare, before "
    "anything is computed from them.  [default: compare]",
)
@click.option("--overwrite", is_flag=True, help="Compute anew and replace what is there.")
@click.option(
    "--dry-run", is_flag=True, help="Find the inputs and say what would be done; write no result."
)
@click.option(
    "--env",
    type=click.Choice(ENVIRONMENTS),
    help="local: the made-up demo world. dev, prod: Digital Earth Africa's public data; name a "
    "place for the output.  [default: local]",
)
@click.option(
    "--threads",
    type=Whole(1, 256),
    help="Computing threads.  [default: the CPUs that the container may use]",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory to stay below, such as 4GB.  [default: the container's limit, else none]",
)
@click.option(
    "--profile", is_flag=True, help="Print time, CPU, bytes and peak memory of every stage."
)
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    envvar=ENV_LOG_FORMAT,
    help="text with a progress bar, or JSON lines.  [default: auto, JSON where there is no "
    "terminal]",
)
@click.version_option(VERSION, message="cropmask %(version)s")
def job(
    tile: str,
    region: str,
    period: str,
    model: Recipe,
    overwrite: bool,
    dry_run: bool,
    profile: bool,
    log_format: str | None,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Map the cropland of one tile and publish it: three COGs and a STAC item.

    Reads two half-years of Sentinel-2 GeoMAD through STAC, classifies every pixel with the
    region's model, filters the result by image segments, masks what is not farmland, and writes
    the bands mask, prob and filtered. A finished tile is skipped.
    """
    task = Task(Tile.parse(tile), region, Period.year_of(period))
    site = open_site(options=options)
    progress = open_progress(log_format or "auto")
    progress("start", 0.0)  # says something before kernels load, which takes a while at first
    try:
        if dry_run:
            planned = prepare(task, site, recipe=model, stages=Stages(progress))
            progress.close()
            _print_plan(planned, site, overwrite)
            return
        stages = open_stages(site.memory, progress)
        result = run_tile(task, site, recipe=model, overwrite=overwrite, stages=stages)
    finally:
        progress.close()
    if is_json(log_format or "auto"):
        click.echo(json.dumps({"event": "tile", **asdict(result)}))
    else:
        _print_result(result)
    if profile:
        click.echo(format_uses(result.stages), err=True)


def _print_result(result: TileResult) -> None:
    figures = result.statistics
    if result.state == "SKIPPED":
        click.echo("Skipped: the same result is there already.")
    else:
        click.echo(f"Done in {result.seconds:.0f} s.")
    if result.synthetic:
        click.echo("SYNTHETIC: made from made-up inputs. Not a map of any place.")
    click.echo(
        f"  cropland   {figures['crop_hectares']:>12,.0f} ha by pixel, "
        f"{figures['crop_filtered_hectares']:,.0f} ha by object, "
        f"of {figures['mapped_hectares']:,.0f} ha mapped"
    )
    click.echo(f"  item       {result.item}")
    click.echo(f"  picture    {result.thumbnail}")
    click.echo("Look at it: open the picture, or the .tif files beside it in QGIS.")


def _print_plan(planned: Job, site: Site, overwrite: bool) -> None:
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
    for name, layer in planned.sources.ancillary.items():
        click.echo(f"  {name:<17}{layer.href or f'not applied: {layer.reason}'}")
    click.echo(f"  output     {store.uri(planned.place.item)}")
    click.echo(f"  run key    {planned.run_key}")


def main() -> None:
    """Run ``cropmask-job``."""
    keep_heap_small()
    log_format = find_log_format(sys.argv[1:], os.environ)
    run = uuid.uuid4().hex[:8]
    open_logging(log_format, {"run": run})
    run_click(job, lambda: log_format, "stopped by a signal: nothing was published")
