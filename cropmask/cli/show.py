"""``cropmask show``: a result as a figure, to look at and to put into a paper."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

import click

from cropmask.cli import options
from cropmask.cli.output import check_target, put_file
from cropmask.errors import Rejected
from cropmask.grid import Tile
from cropmask.product import MARKS, Mark, find_band
from cropmask.task import Period

_DEGREES: Final = re.compile(r"[-+\d.\s]+,[-+\d.\s]+")
_TILE: Final = re.compile(r"x\d+y\d+", re.IGNORECASE)


class _Places(click.Command):
    """A command whose arguments may be places in the west, which are no options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse a command line."""
        western = [word for word in args if word.startswith("-") and _DEGREES.fullmatch(word)]
        if western and "--" not in args:
            args = [*(word for word in args if word not in western), "--", *western]
        return super().parse_args(ctx, args)


@click.command(cls=_Places)
@click.argument("what", metavar="ITEM|PLACE")
@click.option(
    "--region",
    type=options.REGION,
    help="Region of the result, such as eastern, or the path of a region.toml.  [default: the one "
    "that has results there]",
)
@click.option(
    "--period",
    type=options.TASK_PERIOD,
    help="Year of the result, or the years of a series, such as 2019--P6Y.  [default: the latest "
    "year there is]",
)
@click.option(
    "--km",
    "kilometers",
    type=options.FiniteNumber(0, 1000, min_open=True),
    help="Show a square of so many kilometers around the place.  [default: the whole tile]",
)
@click.option(
    "--band",
    "names",
    multiple=True,
    type=options.BAND,
    help="Band to draw, may be given several times.  [default: prob, mask and filtered; of a "
    "series class, changed and flickers]",
)
@click.option(
    "--unlike",
    type=click.Choice(MARKS),
    help="Draw land outside the training data of the model pale or hatched; the result needs the "
    "band dissimilarity.",
)
@click.option(
    "--out",
    type=options.FILE,
    help="Figure to write: .png, .pdf or .svg.  [default: named like the result, .png, here]",
)
@options.place_options
def show(
    what: str,
    region: str | None,
    period: Period | None,
    kilometers: float | None,
    names: tuple[str, ...],
    unlike: Mark | None,
    out: Path | None,
    **site_options: object,
) -> None:
    """Draw a result: both half-years of Sentinel-2, probability, mask and filtered mask.

    ITEM is the path or address of a result's STAC item. PLACE is LON,LAT in degrees, or the name
    of a tile: its result is looked for in --output. The figure has a legend, a scale and a title;
    where the GeoMADs that the result was made from cannot be read, it has three panels. A series
    has its classes, the year of change, and how often it flickers.

    \b
    Examples:
      cropmask show x010y020
      cropmask show x010y020 --band prob --band spread --unlike hatched
      cropmask show x010y020 --period 2019--P6Y
      cropmask show 36.82,-1.29 --km 10 --output s3://my-bucket/cropmask --out nairobi.pdf
      cropmask show output/crop_mask_eastern/1-1-0/x010/y020/2019--P1Y/*.stac-item.json
    """
    from cropmask.operate.show import draw_result, find_result
    from cropmask.results.figure import FIGURE_KINDS, GENERATOR, encode_figure
    from cropmask.sources.boundary import tile_of

    kinds = {f".{kind}": kind for kind in FIGURE_KINDS}
    if out is not None and out.suffix.lower() not in kinds:
        raise click.UsageError(f"'{out}' is no {', '.join(kinds)}: name one of these")
    place: tuple[float, float] | None = None
    tile: Tile | None = None
    try:
        if _TILE.fullmatch(what):
            tile = Tile.parse(what)
        elif _DEGREES.fullmatch(what):
            place = options.parse_place(what)
            tile = tile_of(*place)
    except Rejected as error:
        raise click.UsageError(str(error)) from None
    if kilometers is not None and place is None:
        raise click.UsageError("--km is around a place: give it as LON,LAT")
    # An item says where it lies: no output needs to be named.
    site = options.open_site(site_options | ({} if tile else {"output": "."}))
    item = what if tile is None else find_result(site, tile, region, period)
    path = out or Path(f"{PurePosixPath(item).name.partition('.')[0]}.png")
    check_target(path, GENERATOR.encode())
    bands = [*map(find_band, dict.fromkeys(names))]
    drawn = draw_result(item, site, place=place, kilometers=kilometers, bands=bands, unlike=unlike)
    content = encode_figure(drawn.figure, kinds[path.suffix.lower()], drawn.title)
    put_file(path, content, GENERATOR.encode())
    click.echo(f"{drawn.title}\n  figure   {path}\n  item     {item}")
    if drawn.not_shown is not None:
        click.echo(f"GeoMAD is not shown: {drawn.not_shown}", err=True)
