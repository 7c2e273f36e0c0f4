"""An order is a task and how to do it: what a message of a queue says."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cropmask.errors import Rejected
from cropmask.grid import RESOLUTIONS
from cropmask.region import RECIPES, Recipe
from cropmask.task import Task

ADHOC: Final = "adhoc"
"""Run of messages that say none, such as those sent by hand."""
_RUN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,38}[a-z0-9]")
_FLAGS: Final = {"true": True, "false": False}


def make_run_id(now: datetime, token: Callable[[int], str] = secrets.token_hex) -> str:
    """Name of a run, such as ``20190704t081500-1f3a``: sorts by time, fits a Kubernetes label."""
    return f"{now:%Y%m%dt%H%M%S}-{token(2)}"


def parse_run_id(text: str) -> str:
    """The name, if it can name a run.

    Raises
    ------
    Rejected
        If it is not 2 to 40 lower-case letters, digits and hyphens.
    """
    if not _RUN.fullmatch(text):
        raise Rejected(
            f"'{text}' is not the name of a run: use 2 to 40 lower-case letters, digits and "
            "hyphens",
            reason="bad run",
        )
    return text


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """A task, the run that it belongs to, and how it is to be done."""

    task: Task
    run: str = ADHOC
    recipe: Recipe = "forest"
    resolution: int | None = None
    """Pixel size in meters; None for that of the worker's site."""
    overwrite: bool = False

    @property
    def body(self) -> str:
        """Body of the message: the task alone."""
        return self.task.to_json()

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of the message: everything else."""
        attributes = {
            "run": self.run,
            "recipe": self.recipe,
            "overwrite": str(self.overwrite).lower(),
        }
        if self.resolution is not None:
            attributes["resolution"] = str(self.resolution)
        return attributes

    @classmethod
    def parse(cls, body: str, attributes: Mapping[str, str]) -> Order:
        """Order of a message; attributes that are not ours are left alone.

        Raises
        ------
        Rejected
            If the body is not a task, or an attribute of ours has no such value.
        """
        task = Task.from_json(body)
        recipe = next((r for r in RECIPES if r == attributes.get("recipe", "forest")), None)
        overwrite = _FLAGS.get(attributes.get("overwrite", "false"))
        resolution = {"": None, **{str(m): m for m in RESOLUTIONS}}.get(
            attributes.get("resolution", ""), -1
        )
        if recipe is None or overwrite is None or resolution == -1:
            wrong = {
                name: attributes[name]
                for name in ("recipe", "overwrite", "resolution")
                if name in attributes
            }
            raise Rejected(
                f"the message asks for what there is not: {wrong}; recipes are "
                f"{', '.join(RECIPES)}, resolutions {', '.join(map(str, RESOLUTIONS))}",
                reason="bad message",
            )
        run = parse_run_id(attributes.get("run", ADHOC))
        return cls(task, run, recipe, resolution, overwrite)
