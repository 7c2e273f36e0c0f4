"""``cropmask mosaic``: a quick look of a region."""

from __future__ import annotations

from pathlib import Path

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress
from cropmask.cli.output import refuse_other_file
from cropmask.errors import not_installed
from cropmask.grid import MOSAIC_RESOLUTIONS
from cropmask.product import CHANGE_CLASS, FILTERED, find_band
from cropmask.task import Period, choose_product


@click.command()
@options.region_option
@options.task_period_option
@click.option(
    "--band",
    type=options.BAND,
    help="Band to show; of the extra ones, tiles that have it.  [default: filtered, or class of a "
    "series]",
)
@click.option(
    "--pixel-size",
    type=click.Choice(MOSAIC_RESOLUTIONS),
    help="Meters.  [default: so that the longest edge has at most 5000 pixels]",
)
@click.option(
    "--out",
    type=options.FILE,
    help="COG to write; the PNG goes beside it.  [default: PRODUCT_PERIOD_BAND.tif, here]",
)
@options.place_options
def mosaic(
    region: str,
    period: Period,
    band: str | None,
    pixel_size: int | None,
    out: Path | None,
    **site_options: object,
) -> None:
    """Make a quick look of a region from the results that are there.

    Reads the overviews only, so it is quick, and may be made while a run goes on: tiles that are
    not finished are transparent. Writes a cloud-optimized GeoTIFF and a PNG in the published
    colors; with legend and title if matplotlib is installed.

    \b
    Examples:
      cropmask mosaic --region eastern --output s3://my-bucket/cropmask
      cropmask mosaic --region eastern --band prob --pixel-size 400 --out eastern.tif
      cropmask mosaic --region eastern --period 2019--P6Y
    """
    if out is not None and out.suffix.lower() not in (".tif", ".tiff"):
        raise click.UsageError(f"'{out}' is no .tif: the picture is written beside it, as a .png")
    shown = find_band(band or (CHANGE_CLASS if period.is_series else FILTERED).name)
    options.check_bands([shown], period)
    from cropmask.operate.mosaic import QUICK_LOOK, make_mosaic
    from cropmask.operate.reconcile import expected_tiles
    from cropmask.region.region import load_region
    from cropmask.results.figure import GENERATOR
    from cropmask.stac.facts import MADE_UP

    site = options.open_site(site_options)
    zone = load_region(region, site.models)
    product = choose_product(zone.product, period)
    path = out or Path(f"{product.name}_{period}_{shown.name}.tif")
    refuse_other_file(path, QUICK_LOOK.encode())
    if not path.exists():  # the picture beside a COG of ours is ours
        refuse_other_file(path.with_suffix(".png"), GENERATOR.encode())
    with show_progress() as progress:
        made = make_mosaic(
            site.store(),
            product,
            period,
            shown,
            expected_tiles(site, zone),
            path,
            meters=pixel_size,
            options=site.read_results,
            progress=lambda share: progress("reading overviews", share),
        )
    height, width = made.grid.geobox.shape
    if made.synthetic:
        click.echo(MADE_UP)
    click.echo(
        f"{shown.title}: {made.mapped:,} of {made.tiles:,} tiles, {width} x {height} pixels of "
        f"{made.grid.meters} m"
    )
    if made.unreadable:
        names = ", ".join(map(str, made.unreadable[:5]))
        look = site.commands.line_for("reconcile", region, period, "--verify")
        click.echo(f"  left out, they cannot be read: {names}: see '{look}'")
    click.echo(f"  COG      {made.cog}\n  picture  {made.picture}")
    if not made.is_drawn:
        click.echo(f"  (without legend and title: {not_installed('matplotlib')})")
