"""``cropmask demo``: a made-up region of many tiles, to practice on."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from cropmask.cli.console import open_progress
from cropmask.cli.numbers import Whole
from cropmask.cli.options import FILE, models_option
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.region import load_region
from cropmask.sources.boundary import load_boundary
from cropmask.task import Period


@click.command()
@click.option(
    "--region",
    required=True,
    metavar="NAME",
    help="Region whose name, models, boundary and tiles the made-up one has, such as eastern, or "
    "the path of a region.toml.",
)
@click.option(
    "--output",
    required=True,
    type=FILE,
    metavar="FOLDER",
    help="Folder to make; must be new or empty.",
)
@click.option(
    "--resolution",
    type=click.Choice([str(meters) for meters in RESOLUTIONS]),
    default="100",
    show_default=True,
    help="Pixel size in meters. At 100 a tile is mapped in seconds.",
)
@click.option(
    "--period",
    default="2019--P1Y",
    show_default=True,
    metavar="PERIOD",
    help="Calendar year, such as 2019--P1Y or just 2019.",
)
@click.option(
    "--tiles",
    metavar="TILE[,TILE...]",
    help="Only these, such as x215y075,x216y075. The boundary is cut to them.",
)
@click.option(
    "--limit",
    type=Whole(1),
    help="Only the first so many tiles. The boundary is cut to them.",
)
@click.option(
    "--boundary",
    type=FILE,
    metavar="FILE",
    help="GeoJSON of polygons to use in place of the region's boundary.",
)
@click.option(
    "--scenes",
    type=Whole(1, 40),
    default=6,
    show_default=True,
    help="Different scenes; the tiles share them, which saves time and disk.",
)
@models_option
def demo(
    region: str,
    output: Path,
    resolution: str,
    period: str,
    tiles: str | None,
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
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    from cropmask.testing.world.regionworld import (
        make_region_world,  # its kernels take a while to load
    )

    zone = load_region(region, models)
    chosen = None if tiles is None else tuple(map(Tile.parse, tiles.split(",")))
    progress = open_progress("text")
    try:
        world = make_region_world(
            output,
            zone,
            load_boundary(boundary or zone.boundary),
            tiles=chosen,
            limit=limit,
            resolution=int(resolution),
            period=Period.year_of(period),
            scenes=scenes,
            progress=lambda share: progress("demo region", share),
        )
    finally:
        progress.close()
    click.echo(
        f"SYNTHETIC {zone.title}: {len(world.tiles)} made-up tiles at {resolution} m, "
        f"{world.bytes / 1e6:,.0f} MB."
    )
    options = (
        f"--catalog {shlex.quote(str(world.catalog))} --models {shlex.quote(str(world.models))} "
        f"--region {zone.name} --resolution {resolution}"
    )
    click.echo(f"Map one:\n  cropmask-job {options} --tile {world.tiles[0]}")
