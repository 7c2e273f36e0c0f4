"""``cropmask doctor``: a preflight for one region and site."""

from __future__ import annotations

import sys
from typing import Any

import click

from cropmask.cli.options import queue_option
from cropmask.grid import RESOLUTIONS
from cropmask.operate.doctor import examine
from cropmask.site.site import ENVIRONMENTS, open_site

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "failed": ("FAIL", "red")}


@click.command(
    epilog="Example: cropmask doctor --region eastern --env prod --output s3://my-bucket"
)
@click.option("--region", default="eastern", show_default=True, metavar="NAME_OR_PATH",
              help="Region whose boundary, models and layers to check.")  # fmt: skip
@click.option(
    "--env",
    type=click.Choice(ENVIRONMENTS),
    help="local: the made-up demo world. dev, prod: Digital Earth Africa's public data."
    "  [default: local]",
)
@click.option(
    "--catalog",
    metavar="PLACE",
    help="Where the GeoMAD items are: a STAC API, a static catalog or a folder of items.",
)
@click.option(
    "--output", metavar="PLACE", help="Folder or s3://bucket/prefix where results would go."
)
@queue_option
@click.option("--resolution", type=click.Choice([str(meters) for meters in RESOLUTIONS]),
              help="Pixel size in meters.")  # fmt: skip
@click.option(
    "--models",
    metavar="FOLDER",
    help="Folder of regions to look in, in place of the ones that come with cropmask.",
)
def doctor(region: str, **options: Any) -> None:  # noqa: ANN401 (passed on by name)
    """Check that everything a run needs is there and works.

    Models reproduce their stored probabilities, layers open and cover the region, the catalog
    answers, the output can be written, the queue can be received from. Ends with the exit code of
    the first failure.
    """
    exit_code = 0
    for finding in examine(open_site(options=options), region):
        word, color = _MARKS[finding.state]
        click.echo(f"{click.style(f'{word:<5}', fg=color)} {finding.name:<24} {finding.detail}")
        exit_code = exit_code or finding.exit_code
    sys.exit(exit_code)
