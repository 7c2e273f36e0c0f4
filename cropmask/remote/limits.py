"""Limits on what is read from others: each has a name, a default, and an error that says both."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

from cropmask.contract import ENV_LIMITS
from cropmask.errors import Interrupted, Misconfigured, Reason, Rejected, did_you_mean


def _limit(default: int, what: str) -> int:
    limit: int = field(default=default, metadata={"what": what})
    return limit


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Most of everything that is read from others, where honest ones need a tenth of it."""

    document_bytes: int = _limit(32_000_000, "bytes of a document, unpacked")
    file_bytes: int = _limit(1_000_000_000, "bytes of a file that is read whole")
    block_bytes: int = _limit(64_000_000, "bytes of a block of a raster, unpacked")
    raster_pixels: int = _limit(2_500_000_000, "pixels of a raster that a tile is computed from")
    held_pixels: int = _limit(100_000_000, "pixels of a layer that are in memory at once")
    nesting: int = _limit(64, "lists and objects in each other in a document")
    body_seconds: int = _limit(
        60, "seconds for an answer of up to document_bytes to arrive; more for longer ones"
    )
    documents: int = _limit(10_000, "documents of a static catalog that a search reads")
    levels: int = _limit(50, "catalogs between the root of a static catalog and an item")
    pages: int = _limit(100, "pages that an API gives for a search")
    page_items: int = _limit(10_000, "items on a page of an API")
    search_bytes: int = _limit(100_000_000, "bytes of all documents that a search reads")
    search_seconds: int = _limit(300, "seconds that a search takes")
    boundary_bytes: int = _limit(32_000_000, "bytes of a file of polygons")
    boundary_rings: int = _limit(30_000, "polygons and holes in a file of polygons")
    boundary_vertices: int = _limit(
        500_000, "vertices of polygons, and points that keep their long edges true when projected"
    )
    boundary_overlaps: int = _limit(
        100_000, "pairs of edges that lie over each other, beyond ten for each edge"
    )

    @classmethod
    def parse(cls, variable: str, text: str) -> Self:
        """Limits of a text such as ``pages=500,levels=80``; the others keep their defaults.

        Raises Misconfigured if it names another limit, or no whole number of at least 1.
        """
        found = {}
        for part in text.split(","):
            name, _, value = (word.strip() for word in part.partition("="))
            if name not in LIMIT_NAMES:
                meant = did_you_mean(name, LIMIT_NAMES) or f": choose of {', '.join(LIMIT_NAMES)}"
                raise Misconfigured(f"{variable} names the unknown limit '{name}'{meant}")
            if not (value.isascii() and value.isdecimal() and int(value[:20]) > 0):
                raise Misconfigured(
                    f"{variable} sets {name} to '{value}': it must be a whole number of at least 1"
                )
            found[name] = int(value[:20])
        return replace(cls(), **found)

    def __str__(self) -> str:
        """The limits that differ from the defaults, as :meth:`parse` reads them."""
        usual = type(self)()
        changed = [name for name in LIMIT_NAMES if getattr(self, name) != getattr(usual, name)]
        return ",".join(f"{name}={getattr(self, name)}" for name in changed)

    def seconds_for(self, number: int) -> float:
        """Seconds for an answer of so many bytes to arrive."""
        return self.body_seconds * max(1.0, number / self.document_bytes)

    def tell(self, name: str, where: str) -> str:
        """What an error says of a limit that ``where`` exceeds."""
        value = getattr(self, name)
        return (
            f"{where} exceeds the limit {name}={value} ({LIMIT_NAMES[name]}): correct it, "
            f"or raise the limit with {ENV_LIMITS}={name}={2 * value}"
        )

    def check(self, name: str, value: int, where: str) -> None:
        """Raise OverLimit if a value exceeds a limit."""
        if value > getattr(self, name):
            raise OverLimit(self.tell(name, where))


LIMIT_NAMES: Final = {entry.name: str(entry.metadata["what"]) for entry in fields(ReadLimits)}
"""Every limit, and what it is of."""


USUAL_LIMITS: Final = ReadLimits()
"""The defaults."""


def is_nested_deeper(value: Any, levels: int) -> bool:  # noqa: ANN401 (any JSON value)
    """Whether lists and objects of a JSON value lie in each other more often than that.

    Level by level: Python's own limit is another, and not the same everywhere.
    """
    level = [value]
    for _ in range(levels + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        members = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for some in members for one in some]
    return True


def parse_json(
    content: bytes | str,
    limits: ReadLimits,
    href: str,
    *,
    parse_constant: Callable[[str], object] | None = None,
) -> Any:  # noqa: ANN401 (any JSON value)
    """JSON value of a foreign text.

    ``parse_constant`` is told of a bare NaN or Infinity. Raises OverLimit if it is nested too
    deeply; ValueError if it is no JSON.
    """
    try:
        value = json.loads(content, parse_constant=parse_constant)
    except RecursionError:
        raise OverLimit(limits.tell("nesting", href)) from None
    if is_nested_deeper(value, limits.nesting):
        raise OverLimit(limits.tell("nesting", href))
    return value


class OverLimit(Rejected):
    """Something is larger or longer than anything honest of its kind."""

    usual = Reason.OVER_LIMIT


class OutOfTime(Interrupted):
    """Something did not arrive or end in time."""

    usual = Reason.OVER_LIMIT


class EndlessSearch(OverLimit):
    """A search reads more than any honest one, whatever each of its documents is."""


class SearchBudget:
    """What one search may still read; its threads share it."""

    def __init__(self, limits: ReadLimits, where: str) -> None:
        self._limits = limits
        self._where = f"a search in {where}"
        self._until = time.monotonic() + limits.search_seconds
        self._used = {"documents": 0, "pages": 0, "search_bytes": 0}
        self._lock = threading.Lock()

    def count_document(self, size: int) -> None:
        """Count a document of a static catalog.

        Raises EndlessSearch if it is one too much; OutOfTime if the search takes too long.
        """
        self._spend("documents", 1)
        self._spend("search_bytes", size)
        self.check_time()

    def count_page(self, size: int, items: int) -> None:
        """Count a page of an API; raises as :meth:`count_document`."""
        self._spend("pages", 1)
        self._spend("search_bytes", size)
        self._check("page_items", items)
        self.check_time()

    def check_level(self, depth: int) -> None:
        """Raise EndlessSearch if a static catalog goes on and on."""
        self._check("levels", depth)

    def check_time(self) -> None:
        """Raise OutOfTime if the search takes too long: the next may be quicker."""
        if time.monotonic() > self._until:
            raise OutOfTime(self._limits.tell("search_seconds", self._where))

    def _spend(self, name: str, amount: int) -> None:
        with self._lock:
            self._used[name] += amount
            used = self._used[name]
        self._check(name, used)

    def _check(self, name: str, value: int) -> None:
        if value > getattr(self._limits, name):
            raise EndlessSearch(self._limits.tell(name, self._where))
