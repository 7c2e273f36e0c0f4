"""``cropmask demo``: a made-up region of many tiles, to practice on."""

from __future__ import annotations

from pathlib import Path

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress
from cropmask.cli.options import given_config
from cropmask.cli.output import check_target, put_text
from cropmask.grid import Tile
from cropmask.operate.formats import format_count
from cropmask.task import Period

LABELS_MARK = b"id,lon,lat,class"
"""Start of the labels."""


@click.command()
@options.region_option
@click.option(
    "--output", required=True, type=options.FOLDER, help="Folder to make; must be new or empty."
)
@click.option(
    "--resolution",
    type=options.RESOLUTION,
    default=100,
    help="At 100 m a tile is mapped in seconds.",
)
@options.period_option
@click.option(
    "--years",
    type=options.YEARS,
    help="In place of --period: several, such as 2019-2024, or seasons, such as 2019/20-2024/25. "
    "Fields change from year to year, and the folder truth says what they are.",
)
@click.option("--tiles", type=options.TILES, help="Only these; the boundary is cut to them.")
@click.option(
    "--limit", type=options.WholeNumber(1), help="At most so many; the boundary is cut to them."
)
@options.boundary_option
@click.option(
    "--scenes",
    type=options.WholeNumber(1, 40),
    default=6,
    help="Different scenes, which the tiles share.",
)
@options.models_option
def demo(
    region: str,
    output: Path,
    resolution: int,
    period: Period,
    years: Period | None,
    tiles: list[Tile] | None,
    limit: int | None,
    boundary: Path | None,
    scenes: int,
    models: Path | None,
) -> None:
    """Make a made-up region: GeoMAD for every tile of a real one, as a static STAC catalog.

    Its tiles, boundary and models are the region's, its pixels are made up. It is labeled
    SYNTHETIC everywhere, and so is whatever is computed from it.

    \b
    Examples:
      cropmask demo --region eastern --output ./world
      cropmask demo --region eastern --limit 60 --output ./small
      cropmask demo --region eastern --limit 12 --years 2019-2024 --output ./years
    """
    from cropmask.region.region import load_region
    from cropmask.site.site import find_limits
    from cropmask.sources.boundary import load_boundary
    from cropmask.testing.world.regionworld import make_region_world

    zone = load_region(region, models)
    with show_progress() as progress:
        world = make_region_world(
            output,
            zone,
            load_boundary(boundary or zone.boundary, find_limits(config=given_config())),
            tiles=None if tiles is None else tuple(tiles),
            limit=limit,
            resolution=resolution,
            period=years or period,
            scenes=scenes,
            progress=lambda share: progress("demo region", share),
        )
    click.echo(
        f"SYNTHETIC {zone.title}: {len(world.tiles)} made-up tiles at {resolution} m, "
        f"{world.bytes / 1e6:,.0f} MB."
    )
    places = {"catalog": world.catalog, "models": world.models, "env": "local"}
    site = options.open_site({**places, "config": given_config()})
    made = ("--resolution", str(resolution), "--tile", str(world.tiles[0]))
    words = ("--region", zone.name, "--period", str((years or period).years[0]), *made)
    # Results may go wherever somebody is.
    line = site.commands.line("job", *words, leave_out=("output",))
    click.echo(f"Map one:\n  {line}")


@click.command()
@click.option(
    "--sample", required=True, type=options.FILE, help="What 'cropmask sample' has written."
)
@click.option(
    "--world", required=True, type=options.FOLDER, help="What 'cropmask demo --years' has made."
)
@click.option("--out", required=True, type=options.FILE, help="CSV of labels to write.")
def demo_labels(sample: Path, world: Path, out: Path) -> None:
    """Label a sample of a made-up region of several years, in place of people who know the land.

    \b
    Examples:
      cropmask demo-labels --sample change.geojson --world ./years --out labels.csv
    """
    from cropmask.assess.samplefiles import load_sample
    from cropmask.operate.truelabels import label_sample
    from cropmask.site.site import find_limits

    check_target(out, LABELS_MARK)
    points = load_sample(sample, find_limits(config=given_config()))
    put_text(out, label_sample(points, world), LABELS_MARK.decode())
    click.echo(f"{format_count(len(points), 'point')} labeled: {out}")
