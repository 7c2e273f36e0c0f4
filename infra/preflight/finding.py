"""What a preflight finds, and whom it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from infra.settings import Settings


class Level(Enum):
    """What a finding means for a deployment."""

    READY = "ok"
    NOTE = "note"
    """It will do, but should be known."""
    UNKNOWN = "?"
    """Nobody could be asked; the deployment may fail by it."""
    MISSING = "do"
    """The deployment would fail, or stand still, by it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer."""

    level: Level
    what: str
    do: str = ""
    """What to do about it; a command where there is one."""

    def __str__(self) -> str:
        advice = f"\n      {self.do}" if self.do else ""
        return f"{self.level.value:4}  {self.what}{advice}"


class Clients(Protocol):
    """Clients of AWS, as boto3 makes them."""

    def __call__(self, service: str, region: str) -> Any:  # noqa: ANN401 (boto3's own)
        """Client of a service in a region."""


class Web(Protocol):
    """What others publish."""

    def __call__(self, url: str, headers: dict[str, str]) -> bytes | None:
        """Content at an address; None if there is nothing."""


class Machine(Protocol):
    """The machine that deploys."""

    def runs(self, *command: str) -> bool:
        """Whether a command is there and ends well."""

    def architecture(self) -> str:
        """Its processor, as Python says it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """An environment, and whom to ask about it."""

    settings: Settings
    clients: Clients
    web: Web
    machine: Machine

    def here(self, service: str) -> Any:  # noqa: ANN401 (boto3's own)
        """Client of a service in the environment's region."""
        return self.clients(service, self.settings.region)


Check = Callable[[Ask], Iterator[Finding]]


def ready(what: str) -> Finding:
    """Something that is as it must be."""
    return Finding(Level.READY, what)


def missing(what: str, do: str) -> Finding:
    """Something that must be done first."""
    return Finding(Level.MISSING, what, do)


def note(what: str, do: str = "") -> Finding:
    """Something to know."""
    return Finding(Level.NOTE, what, do)


def unknown(what: str, do: str = "") -> Finding:
    """Something that could not be asked."""
    return Finding(Level.UNKNOWN, what, do)
