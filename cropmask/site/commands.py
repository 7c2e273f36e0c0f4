"""Commands that people are told to type: pasted into the same shell, they mean the same places.

Where a file of settings was found, "the same shell" is one in the same folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_PLACE: Final = ("env", "catalog", "output", "models", "config")
PLACE_OPTIONS: Final[Mapping[str, Collection[str]]] = MappingProxyType(
    {
        "submit": (*_PLACE, "queue"),
        "worker": (*_PLACE, "queue"),
        "status": (*_PLACE, "queue"),
        "redrive": ("output", "queue", "config"),
        **dict.fromkeys(("plan", "reconcile", "rm", "logs", "explain", "mosaic", "show"), _PLACE),
    }
)
"""Which of the options that say where things are a command has."""


@dataclass(frozen=True, slots=True)
class CommandWriter:
    """How commands are written where some places are not those of variables and file."""

    options: tuple[tuple[str, str], ...] = ()
    """Names and values of the options that are needed."""

    def line(self, command: str, *words: str, leave_out: Collection[str] = ()) -> str:
        """A command line for a POSIX shell; ``leave_out`` are options that the words say."""
        places = [
            word
            for name, value in self.options
            if name in PLACE_OPTIONS[command] and name not in leave_out
            for word in (f"--{name}", value)
        ]
        return shlex.join(["cropmask", command, *words, *places])

    def line_for(self, command: str, region: str, period: object, *words: str) -> str:
        """A command line about a region in a period."""
        return self.line(command, "--region", region, "--period", str(period), *words)


PLAIN_COMMANDS: Final = CommandWriter()
"""Commands without options: everything is as environment variables and the file of settings say."""


def tiles_argument(tiles: Iterable[object], most: int) -> tuple[str, ...]:
    """``--tiles`` for a command, or nothing if there are more than are worth printing."""
    names = [str(tile) for tile in tiles]
    return ("--tiles", ",".join(names)) if 0 < len(names) <= most else ()
