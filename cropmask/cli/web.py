"""``cropmask web``: the maps of a region as a page for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress, warn
from cropmask.errors import write_command
from cropmask.grid import WEB_RESOLUTIONS

if TYPE_CHECKING:
    from cropmask.operate.web import WebMap
    from cropmask.task import Period


@click.command()
@click.option(
    "--results", type=options.PLACE, default="./output", show_default=True, help="Place of results."
)
@click.option(
    "--output", type=options.PLACE, required=True, help="Folder or s3://bucket/prefix to write to."
)
@click.option(
    "--region", type=options.REGION, help="Region to show.  [default: the only one of the results]"
)
@click.option(
    "--pixel-size",
    type=click.Choice(WEB_RESOLUTIONS),
    help="Meters.  [default: that of the results, or so that the longest edge has at most 16384 "
    "pixels]",
)
@click.option(
    "--report",
    "reports",
    type=options.FILE,
    multiple=True,
    help="JSON of 'cropmask report', whose districts to show beside the map; one a year.",
)
@click.option(
    "--change",
    "change_file",
    type=options.FILE,
    help="JSON of 'cropmask area --change --json', whose areas to show beside the map.",
)
@click.option(
    "--series",
    "years",
    type=options.SERIES_YEARS,
    help="Series to show as the layer of change, such as 2019-2024 or, of seasons, "
    "2019/20-2024/25.  [default: the longest, of equal ones the newest]",
)
@options.plain_config_option
def web(
    results: str,
    output: str,
    region: str | None,
    pixel_size: int | None,
    reports: tuple[Path, ...],
    change_file: Path | None,
    years: Period | None,
) -> None:
    """Make a web page of a region's maps: years, layers, values of pixels, two years side by side.

    Writes one folder that needs no server of its own: into a bucket, below any web server, or for
    'cropmask browse FOLDER'. From a disk browsers read offline.html, which holds all tiles. The
    tiles are made ahead, one PMTiles archive for each layer and year. Where there is a 'cropmask
    series', what changed is a layer. MapLibre comes from npm on first use, which needs Node.js.

    \b
    Examples:
      cropmask web --results ./output --output ./map
      cropmask web --results s3://my-bucket/cropmask --output s3://my-bucket/map --region eastern
      cropmask area --change --sample change.geojson --labels labels.csv --json > change.json
      cropmask web --output ./map --series 2019-2024 --change change.json
    """
    from cropmask.catalog.mappage import ensure_map_library
    from cropmask.operate.web import WebFigures, find_web_product, make_web
    from cropmask.operate.webfigures import parse_change, parse_districts
    from cropmask.results.webtiles import require_pmtiles

    require_pmtiles()
    known = {"env": "local", "config": options.given_config()}
    site = options.open_site({"output": results, **known})
    target = options.open_site({"output": output, **known}).store()
    store = site.store()
    product = find_web_product(store, region)
    figures = WebFigures(
        tuple(parse_districts(path) for path in reports),
        None if change_file is None else parse_change(change_file, product.region),
    )
    target.check_writable()
    with show_progress() as progress:
        made = make_web(
            store,
            target,
            product,
            ensure_map_library(site.cache, progress),
            figures=figures,
            series=years,
            meters=pixel_size,
            options=site.read_results,
            progress=progress,
        )
    for line in _say(made):
        click.echo(line)
    if made.unreadable:
        names = ", ".join(map(str, made.unreadable[:5]))
        warn(f"{len(made.unreadable)} tiles cannot be read and are left out, such as {names}")


def _say(made: WebMap) -> Iterator[str]:
    from cropmask.operate.web import INDEX, MAX_OFFLINE_BYTES, OFFLINE

    browse = write_command("browse", made.place)
    yield (
        f"{made.product}: {', '.join(made.layers)} of {', '.join(made.years)}, pixels of "
        f"{made.meters} m, {made.tiles:,} web tiles, {made.archive_bytes / 1e6:.1f} MB"
    )
    if made.series:
        others = ", ".join(period.span for period in made.other_series)
        hint = f"; also there: {others}, for --series" if others else ""
        yield f"  change       {made.series.words}{hint}"
    yield f"  page         {made.place}/{INDEX}: below a web server, or by '{browse}'"
    if made.offline:
        yield f"  from a disk  {made.place}/{OFFLINE}"
    else:
        yield (
            f"  no page for a disk: it holds at most {MAX_OFFLINE_BYTES >> 20} MB of tiles; choose "
            "a larger --pixel-size"
        )
