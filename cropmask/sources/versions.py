"""Several items of one dataset: which of them is the newest, and whether they are of one at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cropmask.errors import Rejected, one_line
from cropmask.remote.address import resolve
from cropmask.sources.matching import StacFile, format_moment, moment, show

_OF_ONE: Final = (
    *("collection", "odc:product", "odc:producer"),
    *("platform", "constellation", "instruments", "gsd"),
)
"""What versions of one dataset have in common, where they say it."""
_NEWER: Final = ("successor-version", "latest-version")
_OLDER: Final = "predecessor-version"
_NUMBERS: Final = re.compile(r"v?(\d{1,18}(?:[._-]\d{1,18})*)((?!\d).*)", re.IGNORECASE | re.ASCII)
_MAX_WORDS: Final = 120
"""Characters of an id or version in a warning or in lineage."""


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """Which version of an input was taken, for the lineage of what is made from it."""

    used: str
    passed_over: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Version:
    """What an item says of its version."""

    number: tuple[tuple[int, ...], bool] | None
    """Numbers without trailing zeros, and whether nothing follows them, such as ``rc1``."""
    created: datetime | None
    updated: datetime | None
    is_deprecated: bool


def _parse_version(item: StacFile) -> _Version:
    properties = item.properties
    return _Version(
        number=parse_number(_find_number(properties)),
        created=moment(properties.get("created")),
        updated=moment(properties.get("updated")),
        is_deprecated=is_deprecated(item),
    )


def _find_number(properties: Mapping[str, Any]) -> object:
    return properties.get("odc:dataset_version") or properties.get("version")


def parse_number(version: object) -> tuple[tuple[int, ...], bool] | None:
    """What versions are compared by: ``0-10-0`` is above ``0-9-0``, ``1.0`` above ``1.0rc1``."""
    if not isinstance(version, str):
        return None
    found = _NUMBERS.fullmatch(version.strip()[:_MAX_WORDS])
    if found is None:
        return None
    numbers = [int(number) for number in re.split("[._-]", found[1])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), found[2].partition("+")[0] == ""


def is_deprecated(item: StacFile) -> bool:
    """Whether an item says that it should not be used any more."""
    return item.properties.get("deprecated") is True


def describe_version(item: StacFile) -> str:
    """An item in words: its id, and what it says of its version."""
    number, said = _find_number(item.properties), _parse_version(item)
    facts = [f"version {_shorten(show(number))}"] if number else []
    facts += [
        f"{name} {format_moment(when)}"
        for name, when in (("created", said.created), ("updated", said.updated))
        if when
    ]
    facts += ["deprecated"] if said.is_deprecated else []
    return _shorten(item.id) + (f" ({', '.join(facts)})" if facts else "")


def _shorten(text: str) -> str:
    line = one_line(text[: 2 * _MAX_WORDS])
    return line if len(line) <= _MAX_WORDS else f"{line[: _MAX_WORDS - 3]}..."


def drop_repeated(items: Iterator[StacFile]) -> list[StacFile]:
    """Items by id; one that was found twice counts once, two versions of one id are two."""
    found = {(item.id, repr(_parse_version(item))): item for item in items}
    return [found[key] for key in sorted(found)]


def sort_versions(items: Sequence[StacFile]) -> tuple[list[StacFile], str | None]:
    """Items from the oldest to the newest, and why that is in doubt; None if it is not.

    What is withdrawn comes first: an item with a successor among them, or a deprecated one. Then
    the number of the version counts, then the times of creation and update: each only if all of
    them say it.
    """
    said = [_parse_version(item) for item in items]
    superseded = _find_superseded(items)

    def key(index: int) -> tuple[Any, ...]:
        one = said[index]
        facts: list[Any] = [index not in superseded, not one.is_deprecated]
        facts += [one.number] if all(other.number for other in said) else []
        facts += [one.created] if all(other.created for other in said) else []
        facts += [one.updated] if all(other.updated for other in said) else []
        return tuple(facts)

    order = sorted(range(len(items)), key=lambda index: (key(index), items[index].id))
    different = next((name for name in _OF_ONE if _differ(items, name)), None)
    doubt = None
    if different is not None:
        doubt = f"they are no versions of one dataset, as {different} differs"
    elif len(order) > 1 and key(order[-1]) == key(order[-2]):
        doubt = "nothing says which is the newest"
    return [items[index] for index in order], doubt


def _differ(items: Sequence[StacFile], name: str) -> bool:
    said = [item.content.get(name) or item.properties.get(name) for item in items]
    return len({_comparable(value) for value in said if value is not None}) > 1


def _comparable(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return ",".join(sorted(show(one).strip().lower().removesuffix(".0") for one in values))


def _find_superseded(items: Sequence[StacFile]) -> set[int]:
    """Positions of items that a link among them calls older; none if they call each other so."""
    places = [{item.href, *_links_to(item, "self")} for item in items]
    older: set[tuple[int, int]] = set()
    for index, item in enumerate(items):
        newer = {address for rel in _NEWER for address in _links_to(item, rel)}
        before = set(_links_to(item, _OLDER))
        for other, its in enumerate(places):
            mine = its - places[index]
            older |= {(index, other)} if newer & mine else set()
            older |= {(other, index)} if before & mine else set()
    return {index for index, other in older if (other, index) not in older}


def _links_to(item: StacFile, rel: str) -> Iterator[str]:
    for link in item.links:
        if link.get("rel") == rel:
            try:
                yield resolve(item.href, link["href"])
            except Rejected:
                continue
