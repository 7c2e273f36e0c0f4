"""Options that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cropmask.contract import ENV_MODELS
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.product import RECIPES
from cropmask.site.site import ENVIRONMENTS

Command = TypeVar("Command", bound=Callable[..., Any])

FILE: Final = click.Path(path_type=Path)
"""A path; whether it exists is for whoever opens it to say."""

models_option = click.option(
    "--models",
    type=FILE,
    metavar="FOLDER",
    envvar=ENV_MODELS,
    show_envvar=True,
    help="Folder of regions to look in, in place of the ones that come with cropmask.",
)


def place_options(command: Command) -> Command:
    """``--env``, ``--catalog``, ``--output`` and ``--models``, passed on to the site by name."""
    for option in reversed(
        (
            click.option(
                "--env",
                type=click.Choice(ENVIRONMENTS),
                help="local: the made-up demo world. dev, prod: Digital Earth Africa's public "
                "data.  [default: local]",
            ),
            click.option(
                "--catalog",
                metavar="PLACE",
                help="Where the GeoMAD items are: a STAC API, a static catalog or a folder of "
                "items.",
            ),
            click.option(
                "--output",
                metavar="PLACE",
                help="Folder or s3://bucket/prefix of the results.  [default: ./output with local]",
            ),
            models_option,
        )
    ):
        command = option(command)
    return command


queue_option = click.option(
    "--queue",
    metavar="PLACE",
    help="Queue of tasks: URL of an SQS queue, or a folder.  [default: _queue in the folder of "
    "the output]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

region_option = click.option(
    "--region",
    required=True,
    metavar="NAME_OR_PATH",
    help="Region, such as eastern, or the path of a region.toml of your own.",
)
period_option = click.option(
    "--period",
    default="2019--P1Y",
    show_default=True,
    metavar="PERIOD",
    help="Calendar year of the map, such as 2019--P1Y or just 2019.",
)


def task_options(command: Command) -> Command:
    """``--period``, ``--model`` and ``--resolution``: what to map, and how."""
    for option in reversed(
        (
            period_option,
            click.option(
                "--model",
                type=click.Choice(RECIPES),
                default="forest",
                show_default=True,
                help="forest is the published method; boosted is smaller and faster.",
            ),
            click.option(
                "--resolution",
                type=click.Choice([str(meters) for meters in RESOLUTIONS]),
                help="Pixel size in meters.  [default: 60 for the demo world and with dev, else "
                "10]",
            ),
        )
    ):
        command = option(command)
    return command


tiles_option = click.option(
    "--tiles",
    metavar="TILES",
    help="Only these: names such as x215y075,x216y075, or a file with one on each line ('-': "
    "standard input), as 'cropmask tiles' prints them.",
)


def tiles_options(command: Command) -> Command:
    """``--tiles`` and ``--aoi``: a part of a region."""
    for option in reversed(
        (
            tiles_option,
            click.option(
                "--aoi",
                type=FILE,
                metavar="FILE",
                help="Area of interest, a GeoJSON of polygons: only tiles that it reaches as well.",
            ),
        )
    ):
        command = option(command)
    return command


def read_tiles(text: str) -> list[Tile]:
    """Tiles of ``--tiles``: named on the command line, or in a file with one on each line."""
    try:
        content = sys.stdin.read() if text == "-" else Path(text).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        content = text
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{text} cannot be read as a list of tiles: {error}") from None
    names = [name for name in re.split(r"[\s,;]+", content) if name]
    if not names:
        raise Rejected(f"'{text}' names no tile: write it like x215y075", reason=Reason.BAD_TILE)
    return [Tile.parse(name) for name in names]


def put_text(path: Path, text: str) -> None:
    """Write a file that the user has named.

    Raises
    ------
    Misconfigured
        If it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None
