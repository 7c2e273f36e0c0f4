"""``cropmask series``: what changed between years, and what only flickered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress, warn
from cropmask.cli.output import print_result
from cropmask.contract import ExitCode
from cropmask.operate.formats import format_count, format_left_out
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.core.seriesfit import Rate
    from cropmask.operate.fitseries import SeriesFit
    from cropmask.operate.mapseries import MappedSeries

_SHOWN: Final = ("stable_other", "stable_crop", "gain", "loss", "uncertain", "flicker")
_POINTS: Final = 600
"""Points of the sample that is proposed; docs/report.md says why not fewer."""

_years_option = click.option(
    "--years",
    type=options.SERIES_YEARS,
    help="First and last year, such as 2019-2024, or season, such as 2019/20-2024/25: five at "
    "least. Or the period, such as 2019--P6Y or 2019-07--P6Y.",
)
_rate_options = options.combine(
    click.option(
        "--gain",
        type=options.FiniteNumber(0, 0.3, min_open=True),
        help="Share of other land that becomes cropland in a year.  [default: fitted]",
    ),
    click.option(
        "--loss",
        type=options.FiniteNumber(0, 0.3, min_open=True),
        help="Share of cropland that is none a year later.  [default: fitted]",
    ),
)
_region_option = click.option(
    "--region", type=options.REGION, help="Region, such as eastern, or the path of a region.toml."
)


@click.group(invoke_without_command=True)
@_region_option
@_years_option
@options.tiles_option
@options.resolution_option
@_rate_options
@click.option("--overwrite", is_flag=True, help="Replace tiles that were made of other maps.")
@options.json_option
@options.place_options
@click.pass_context
def series(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401 (as click has them)
    """Flag what changed between yearly maps of a region, and what only flickered, tile by tile.

    The maps of the years must be there: of each pixel, the state of every year is found given all
    years. Rates of change are fitted first, if they were not. Tiles that are done are skipped, so
    the command can be stopped and called again. With a queue and workers instead: 'cropmask series
    fit', then 'cropmask submit --period 2019--P6Y'.

    Ends with 3 if a tile was left out for another reason than too few years.

    \b
    Examples:
      cropmask series --region eastern --years 2019-2024
      cropmask series --region eastern --years 2019-2024 --tiles x215y075 --json
      cropmask series --region southern --years 2019/20-2024/25
    """
    if context.invoked_subcommand is not None:
        if typed := options.find_typed(given):
            raise click.UsageError(f"write {typed[0]} after 'fit'")
        return
    region, years = _require(given)
    from cropmask.operate.mapseries import map_series

    site = options.open_site(options.pick_site_options(given))
    with show_progress(quiet=given["as_json"]) as progress:
        found = map_series(
            region,
            years,
            site,
            only=given["tiles"],
            gain=given["gain"],
            loss=given["loss"],
            overwrite=given["overwrite"],
            progress=progress,
        )
    document = {
        **_describe_fit(found.fit),
        "tiles": [
            {"tile": str(tile), "state": one.state, "item": one.item, "statistics": one.statistics}
            for tile, one in found.done.items()
        ],
        "left_out": {str(tile): str(why.reason) for tile, why in found.left_out.items()},
    }
    sample = site.commands.line_for("sample", region, years, "--points", str(_POINTS))
    print_result(document, _format_tiles(found, sample), as_json=given["as_json"])
    _warn_of_unmapped(found.fit)
    if not found.is_whole:
        sys.exit(ExitCode.REJECTED)


@series.command()
@_region_option
@_years_option
@options.resolution_option
@_rate_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Fit anew and replace what is there; tiles made with it count as changed.",
)
@options.json_option
@options.place_options
def fit(**given: Any) -> None:  # noqa: ANN401 (as click has them)
    """Fit how often land changes, and what maps of it say, once; write it beside the results.

    A few hundred windows of the maps of all years are read. Do it before 'cropmask submit' sends a
    series: workers only read the file.

    \b
    Examples:
      cropmask series fit --region eastern --years 2019-2024
      cropmask series fit --region eastern --years 2019-2024 --gain 0.005 --loss 0.008 --overwrite
    """
    from cropmask.operate.fitseries import fit_region_series

    region, years = _require(given)
    site = options.open_site(options.pick_site_options(given))
    with show_progress(quiet=given["as_json"]) as progress:
        found = fit_region_series(
            site.region(region),
            years,
            site,
            gain=given["gain"],
            loss=given["loss"],
            overwrite=given["overwrite"],
            progress=progress,
        )
    print_result(_describe_fit(found), _format_fit(found), as_json=given["as_json"])
    _warn_of_unmapped(found)


def _require(given: dict[str, Any]) -> tuple[str, Period]:
    """Region and years, without which nothing is done; a group has them before 'fit' as well."""
    for name in ("region", "years"):
        if given[name] is None:
            raise click.UsageError(f"Missing option '--{name}'.")
    return given["region"], given["years"]


def _describe_fit(found: SeriesFit) -> dict[str, Any]:
    fitted = found.fitted
    return {
        "file": found.address,
        "new": found.is_new,
        "sha256": fitted.digest,
        "band": fitted.band,
        "rates": fitted.rates,
        "sampled_tiles": fitted.tiles,
        "windows": fitted.places,
        "pixels": fitted.pixels,
        "synthetic": fitted.synthetic,
        "left_out_of_rates": fitted.left_out,
        "unmapped_years": [str(year) for year in found.unmapped],
    }


def _warn_of_unmapped(found: SeriesFit) -> None:
    if found.unmapped:
        years, noun = ", ".join(year.span for year in found.unmapped), found.unmapped[0].noun
        warn(f"no tile has a map of {years}, so they tell nothing: are these the {noun} meant?")


def _format_fit(found: SeriesFit) -> Iterator[str]:
    fitted = found.fitted
    what = "Fitted" if found.is_new else "The rates are there already, fitted"
    yield (
        f"{what} to {fitted.pixels:,} pixels in {format_count(fitted.places, 'window')} of "
        f"{format_count(fitted.tiles, 'tile')}."
    )
    if fitted.synthetic:
        yield "SYNTHETIC: the maps are made up."
    yield f"  gain a year  {_format_rate(fitted.model.gain, fitted.gain)}"
    yield f"  loss a year  {_format_rate(fitted.model.loss, fitted.loss)}"
    yield f"  read of      {fitted.band}"
    if fitted.left_out:
        yield f"  not of       {format_left_out(fitted.left_out)}"
    yield f"  file         {found.address}"


def _format_rate(value: float, fitted: Rate | None) -> str:
    if fitted is None:
        return f"{100 * value:.3f} % (given)"
    return f"{100 * value:.3f} % ({100 * fitted.low:.3f} to {100 * fitted.high:.3f})"


def _format_tiles(found: MappedSeries, sample: str) -> Iterator[str]:
    yield from _format_fit(found.fit)
    made = sum(one.state == "SUCCEEDED" for one in found.done.values())
    yield f"{format_count(made, 'tile')} made, {len(found.done) - made} there already."
    for name in _SHOWN:
        total = sum(one.statistics.get(f"{name}_hectares") or 0 for one in found.done.values())
        yield f"  {name.replace('_', ' '):<13} {total:>14,.0f} ha of pixels"
    yield f"These are flags, no areas: an area of change comes from a sample of them, '{sample}'."
    yield from (f"  left out  {obstacle}" for obstacle in found.obstacles)
