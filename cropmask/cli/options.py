"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from cropmask.contract import ENV_MODELS

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
