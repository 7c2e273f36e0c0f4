"""``cropmask mosaic``: a quick look of a region."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cropmask.cli.console import ProgressBar
from cropmask.cli.options import FILE, period_option, place_options, region_option
from cropmask.operate.mosaic import PIXEL_SIZES, make_mosaic
from cropmask.operate.reconcile import expected_tiles
from cropmask.product import BANDS, FILTERED
from cropmask.region import load_region
from cropmask.site.site import open_site
from cropmask.task import Period


@click.command()
@region_option
@period_option
@click.option(
    "--band",
    type=click.Choice([band.name for band in BANDS]),
    default=FILTERED.name,
    show_default=True,
    help="Band to show.",
)
@click.option(
    "--pixel-size",
    type=click.Choice([str(size) for size in PIXEL_SIZES]),
    help="Meters.  [default: so that the longest edge has at most 5000 pixels]",
)
@click.option(
    "--file",
    "path",
    type=FILE,
    metavar="FILE",
    help="COG to write; the PNG goes beside it.  [default: PRODUCT_PERIOD_BAND.tif, here]",
)
@place_options
def mosaic(
    region: str,
    period: str,
    band: str,
    pixel_size: str | None,
    path: Path | None,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Make a quick look of a region from the results that are there.

    Reads the overviews only, so it is quick, and may be made while a run goes on: tiles that are
    not finished are transparent. Writes a cloud-optimized GeoTIFF and a PNG in the published
    colors.

    \b
    Examples:
      cropmask mosaic --region eastern --output s3://my-bucket/cropmask
      cropmask mosaic --region eastern --band prob --pixel-size 400 --file eastern.tif
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site = open_site(options=options)
    zone, year = load_region(region, site.models), Period.year_of(period)
    shown = next(known for known in BANDS if known.name == band)
    bar = ProgressBar()
    try:
        made = make_mosaic(
            site.store(),
            zone.product,
            year,
            shown,
            expected_tiles(site, zone),
            path or Path(f"{zone.product.name}_{year}_{band}.tif"),
            meters=int(pixel_size) if pixel_size else None,
            # Results are ours: read with credentials, unlike public inputs.
            options=replace(site.read, s3_unsigned=False, s3_region=None),
            progress=lambda share: bar("reading overviews", share),
        )
    finally:
        bar.close()
    height, width = made.sheet.box.shape
    if made.synthetic:
        click.echo("SYNTHETIC: made from made-up GeoMAD. Not a map of any place.")
    click.echo(
        f"{shown.title}: {made.mapped:,} of {made.tiles:,} tiles, {width} x {height} pixels of "
        f"{made.sheet.meters} m"
    )
    if made.unreadable:
        names = ", ".join(map(str, made.unreadable[:5]))
        click.echo(f"  left out, they cannot be read: {names}: see 'cropmask reconcile'")
    click.echo(f"  COG      {made.cog}\n  picture  {made.picture}")
