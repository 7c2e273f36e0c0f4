"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cropmask.contract import ENV_MODELS
from cropmask.site import ENVIRONMENTS

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
