"""``cropmask colors``: what tiles share that are mapped with ``--seamless``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress
from cropmask.cli.output import print_result
from cropmask.operate.formats import format_count, format_left_out
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.operate.fitcolors import ColorFit

_HALVES: Final = ("January to June", "July to December")


@click.group()
def colors() -> None:
    """Colors that the object filter uses for all tiles of a region and year.

    By itself, each tile stretches and clusters its own NDVI, as published, so objects end where
    tiles do. With --seamless, tiles share what is fitted here.
    """


@colors.command()
@options.region_option
@options.period_option
@options.resolution_option
@click.option(
    "--overwrite",
    is_flag=True,
    help="Fit anew and replace what is there; seamless tiles made with it count as changed.",
)
@options.json_option
@options.place_options
def fit(
    region: str, period: Period, overwrite: bool, as_json: bool, **site_options: object
) -> None:
    """Fit the colors of a region in a year, once, and write them beside the results.

    NDVI is read of windows of at most 100 tiles, at the pixel size of the maps. Do it before
    'cropmask plan --seamless' or 'cropmask submit --seamless': workers only read the file.

    \b
    Examples:
      cropmask colors fit --region eastern --env prod --output s3://my-bucket/cropmask
      cropmask submit --region eastern --seamless --env prod --output s3://my-bucket/cropmask
    """
    from cropmask.operate.fitcolors import fit_region_colors

    site = options.open_site(site_options)
    zone = site.region(region)
    with show_progress(quiet=as_json) as progress:
        found = fit_region_colors(zone, period, site, overwrite=overwrite, progress=progress)
    document = {
        "file": found.address,
        "new": found.is_new,
        "sha256": found.fitted.digest,
        "tiles": found.fitted.tiles,
        "left_out": found.fitted.left_out,
        "pixels": found.fitted.pixels,
        "synthetic": found.fitted.synthetic,
    }
    print_result(document, _format_fit(found), as_json=as_json)


def _format_fit(found: ColorFit) -> Iterator[str]:
    fitted = found.fitted
    what = "Fitted" if found.is_new else "Nothing to do: the colors are there, fitted"
    yield f"{what} to {fitted.pixels:,} pixels of {format_count(len(fitted.tiles), 'tile')}."
    if fitted.synthetic:
        yield "SYNTHETIC: the pixels are made up."
    for half, spread in zip(_HALVES, fitted.colors.spreads, strict=True):
        yield f"  {half:<17} NDVI {spread.mean / 10_000:.3f} +- {spread.deviation / 10_000:.3f}"
    if fitted.left_out:
        yield f"  left out         {format_left_out(fitted.left_out)}"
    yield f"  colors           {fitted.digest[:12]}"
    yield f"  file             {found.address}"
