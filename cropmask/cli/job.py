"""``cropmask-job``: one tile or area, from GeoMAD items to COGs and a STAC item."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
from cropmask.errors import write_command
from cropmask.grid import Tile
from cropmask.product import Recipe
from cropmask.task import Period, Task

if TYPE_CHECKING:
    from cropmask.machine.stages import Stages
    from cropmask.site.site import Site
    from cropmask.tile.area import AreaJob, AreaTask
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
  A place of your own, in whatever regions it lies:
    cropmask-job --env dev --aoi field.geojson --period 2021 --output ./field
    cropmask-job --bbox=-169.7,-47.8,-169.6,-47.75
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
@click.option("--tile", type=options.TILE, help="Tile to map, such as x215y075 or 215,75.")
@click.option(
    "--aoi", type=options.FILE, help="Map the inside of polygons instead: a GeoJSON file."
)
@click.option(
    "--bbox", type=options.BOX, help="Map the inside of a box in degrees instead of a tile."
)
@click.option(
    "--region",
    type=options.REGION,
    help="Region, such as eastern, or the path of a region.toml of your own; auto, for an area: "
    "each of its pixels by its own region. 'cropmask models list' shows the regions.  [default: "
    "auto for an area]",
)
@click.option(
    "--name",
    type=options.NAME,
    help="Of an area: what its folder is called.  [default: the file's name and a digest]",
)
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
    tile: Tile | None,
    aoi: Path | None,
    bbox: tuple[float, float, float, float] | None,
    region: str | None,
    name: str | None,
    period: Period,
    model: Recipe | Path,
    overwrite: bool,
    dry_run: bool,
    profile: bool,
    log_format: str,
    **site_options: object,
) -> None:
    """Map the cropland of one tile, or of an area, and publish it: three COGs and a STAC item.

    Reads two half-years of Sentinel-2 GeoMAD through STAC, classifies every pixel with the
    region's model, filters the result by image segments, masks what is not farmland, and writes
    the bands mask, prob and filtered. What is finished is skipped.
    """
    from cropmask.machine.limits import keep_heap_small

    what = _choose(tile, aoi, bbox, region, name)
    keep_heap_small()
    site = options.open_site(site_options)
    with show_progress(log_format) as progress:
        progress("start", 0.0)  # says something before kernels load, which takes a while at first
        from cropmask.machine.stages import Stages, format_uses
        from cropmask.tile.memory import open_stages

        planned: Job | AreaJob
        if dry_run:
            planned = what.prepare(period, site, model, Stages(progress))
        else:
            stages = open_stages(site.memory, progress)
            result = what.run(period, site, model, stages, overwrite=overwrite)
    if dry_run:
        click.echo("\n".join(_describe_plan(planned, site, overwrite)))
        return
    document = {"event": what.event, **asdict(result)}
    look = what.command_to_look(site, period, result.item)
    print_result(document, _format_result(result, look), as_json=is_json(log_format))
    if profile:
        click.echo(format_uses(result.stages), err=True)


def _choose(
    tile: Tile | None,
    aoi: Path | None,
    bbox: tuple[float, float, float, float] | None,
    region: str | None,
    name: str | None,
) -> _OneTile | _OneArea:
    """What is to be mapped: exactly one thing."""
    given = [place for place in (tile, aoi, bbox) if place is not None]
    if len(given) != 1:
        raise click.UsageError("give what to map: one of --tile, --aoi and --bbox")
    if tile is None:
        return _OneArea(given[0], region or "auto", name)
    if region is None or region == "auto":
        models = click.get_current_context().params.get("models")
        folder = ("--models", str(models.absolute())) if models else ()
        listing = write_command("tiles", "--tiles", str(tile), *folder)
        raise click.UsageError(
            f"name the region of the tile: --region, of those that '{listing}' lists"
        )
    if name is not None:
        raise click.UsageError("--name is for an area: a tile has its own")
    return _OneTile(tile, region)


@dataclass(frozen=True, slots=True)
class _OneTile:
    """A tile of a region."""

    tile: Tile
    region: str
    event = "tile"

    def prepare(self, period: Period, site: Site, model: Recipe | Path, stages: Stages) -> Job:
        from cropmask.tile.job import prepare

        return prepare(Task(self.tile, self.region, period), site, recipe=model, stages=stages)

    def run(
        self, period: Period, site: Site, model: Recipe | Path, stages: Stages, *, overwrite: bool
    ) -> TileResult:
        from cropmask.tile.run import run_tile

        task = Task(self.tile, self.region, period)
        return run_tile(task, site, recipe=model, overwrite=overwrite, stages=stages)

    def command_to_look(self, site: Site, period: Period, _item: str) -> str:
        return site.commands.line_for("show", self.region, period, str(self.tile))


@dataclass(frozen=True, slots=True)
class _OneArea:
    """An area of somebody's own."""

    area: object
    region: str
    name: str | None
    event = "area"

    def prepare(self, period: Period, site: Site, model: Recipe | Path, stages: Stages) -> AreaJob:
        from cropmask.tile.area import prepare_area

        return prepare_area(self._load(period, site, model), site, stages=stages)

    def run(
        self, period: Period, site: Site, model: Recipe | Path, stages: Stages, *, overwrite: bool
    ) -> TileResult:
        from cropmask.tile.area import run_area

        task = self._load(period, site, model)
        return run_area(task, site, overwrite=overwrite, stages=stages)

    def _load(self, period: Period, site: Site, model: Recipe | Path) -> AreaTask:
        from cropmask.tile.area import load_area_task

        return load_area_task(
            self.area,
            period,
            site.read.limits,
            region=self.region,
            recipe=model,
            name=self.name,
        )

    def command_to_look(self, site: Site, _period: Period, item: str) -> str:
        return site.commands.line("show", item)


def _format_result(result: TileResult, look: str) -> Iterator[str]:
    from cropmask.stac.facts import MADE_UP

    figures = result.statistics
    if result.state == "SKIPPED":
        yield "Skipped: the same result is there already."
    else:
        yield f"Done in {result.seconds:.0f} s."
    if result.synthetic:
        yield MADE_UP
    mapped = figures["mapped_hectares"]
    digits = 0 if mapped >= 100 else 2
    yield (
        f"  cropland   {figures['crop_hectares']:>12,.{digits}f} ha by pixel, "
        f"{figures['crop_filtered_hectares']:,.{digits}f} ha by object, "
        f"of {mapped:,.{digits}f} ha mapped"
    )
    if mapped == 0:
        yield "  Nothing is mapped: no pixel has GeoMAD, or all are masked; the item says why."
    models = ", ".join(f"{recipe} of {region}" for region, recipe in result.models.items())
    yield f"  model      {models}"
    yield f"  item       {result.item}"
    yield f"  picture    {result.thumbnail}"
    yield "Look at it: open the picture, or the .tif files beside it in QGIS, or draw it with:"
    yield f"  {look}"


def _describe_plan(planned: Job | AreaJob, site: Site, overwrite: bool) -> Iterator[str]:
    """What would be done, and with which inputs."""
    from cropmask.tile.area import AreaJob, find_same_area
    from cropmask.tile.job import find_same

    store, same = site.store(), False
    if isinstance(planned, AreaJob):
        jobs = tuple(planned.jobs)
        same = not overwrite and find_same_area(store, planned) is not None
        yield f"{planned.task.name}: {planned.hectares:,.0f} ha, tiles: {len(jobs)}"
    else:
        jobs = (planned,)
        same = not overwrite and find_same(store, planned) is not None
    state = "would skip: the same result is there" if same else "would compute"
    for job in jobs:
        yield f"{job.task.tile} {job.basis.region.name} {job.task.period}: {state}"
        yield f"  resolution {site.resolution} m, model {job.basis.recipe}, {site.threads} threads"
        for geomad in (job.sources.first, job.sources.second):
            yield f"  input      {geomad.title}  {geomad.href}"
        for name, choice in job.sources.choices.items():
            yield f"  {name:<17}{choice.used}, not {', '.join(choice.passed_over)}"
        for name, layer in job.sources.ancillary.items():
            yield f"  {name:<17}{layer.href or f'not applied: {layer.reason}'}"
    yield f"  output     {store.uri(planned.place.item)}"
    yield f"  run key    {planned.run_key}"


def main() -> None:
    """Run ``cropmask-job``."""
    log_format = find_log_format(sys.argv[1:], os.environ)
    open_logging(log_format, {"run": uuid.uuid4().hex[:8]})
    run_click(job, log_format, "stopped by a signal: nothing was published")
