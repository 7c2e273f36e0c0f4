"""Commands that people are told to type: pasted into a shell, in any folder, they do what was said.

Every one is written here, or by :func:`~cropmask.errors.write_command` on the floors below: a test
finds those that are not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cropmask.errors import write_command
from cropmask.task import Period

_PLACE: Final = ("env", "catalog", "output", "models", "config")
PLACE_OPTIONS: Final[Mapping[str, Collection[str]]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("submit", "campaign", "worker", "status", "doctor", "config"), (*_PLACE, "queue")
        ),
        **dict.fromkeys(
            (
                *("job", "plan", "reconcile", "ls", "rm", "logs", "explain", "mosaic", "show"),
                *("colors fit", "series", "series fit", "sample", "assess", "area", "report"),
            ),
            _PLACE,
        ),
        **dict.fromkeys(
            (
                *("tiles", "train", "validate", "samples check"),
                *("models list", "models show", "models verify"),
            ),
            ("models", "config"),
        ),
        "samples extract": ("env", "catalog", "models", "config"),
        "catalog build": ("models", "config"),
        **dict.fromkeys(("redrive", "run resume"), ("output", "queue", "config")),
        **dict.fromkeys(("run pause", "run cancel", "run list"), ("output", "config")),
        "catalog check": ("config",),
        "models import": (),
    }
)
"""Which of the options that say where things are a command has; ``job`` is ``cropmask-job``."""
_TEMPLATE: Final = re.compile(r"cropmask (logs TILE|explain TILE|doctor|models verify)")


@dataclass(frozen=True, slots=True)
class CommandWriter:
    """How commands are written where some places are not those of variables and file."""

    options: tuple[tuple[str, str], ...] = ()
    """Names and values of the options that are needed."""

    def line(self, command: str, *words: str, leave_out: Collection[str] = ()) -> str:
        """A command line for a POSIX shell; ``leave_out`` are options that the words say."""
        said = [
            absolute(word) if _is_path(before, word) else word
            for before, word in pairwise(("", *words))
        ]
        places = [
            word
            for name, value in self.options
            if name in PLACE_OPTIONS[command] and name not in leave_out
            for word in (f"--{name}", value)
        ]
        return write_command(command, *said, *places)

    def line_for(self, command: str, region: str, period: object, *words: str) -> str:
        """A command line about a region in a period."""
        return self.line(command, "--region", region, "--period", str(period), *words)

    def fill_in(self, advice: str, tile: object, region: str | None = None) -> str:
        """The advice of a reason, with its commands as they are typed for a tile and its region."""

        def write(template: re.Match[str]) -> str:
            command = template[1].removesuffix(" TILE")
            if command != template[1]:
                return self.line(command, str(tile))
            if region is None:
                return self.line(command)
            words = ("--region", region) if command == "doctor" else (region,)
            return self.line(command, *words)

        return _TEMPLATE.sub(write, advice)


PLAIN_COMMANDS: Final = CommandWriter()
"""Commands without options: everything is as environment variables and the file of settings say."""


def write_build(place: str) -> str:
    """The command that makes the catalog of a place of results."""
    return PLAIN_COMMANDS.line("catalog build", "--results", place)


def write_made(
    period: object, recipe: str, resolution: int, bands: str | None, *, seamless: bool
) -> tuple[str, ...]:
    """Options by which a result is made in the same way; a series has but its pixel size."""
    made = ("--resolution", str(resolution))
    if Period.parse(str(period)).is_series:
        return made
    extras = ("--bands", bands) if bands else ()
    return ("--model", recipe, *made, *extras, *(("--seamless",) if seamless else ()))


def absolute(place: str) -> str:
    """A place whose meaning does not depend on the folder that one is in."""
    return place if "://" in place else str(Path(place).absolute())


def _is_path(option: str, value: str) -> bool:
    """Whether a value is a path, which means another file in another folder."""
    return option == "--results" or (
        option in ("--region", "--region-file") and value.endswith(".toml")
    )


def tiles_argument(tiles: Iterable[object], most: int) -> tuple[str, ...]:
    """``--tiles`` for a command, or nothing if there are more than are worth printing."""
    names = [str(tile) for tile in tiles]
    return ("--tiles", ",".join(names)) if 0 < len(names) <= most else ()
