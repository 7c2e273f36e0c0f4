"""Search in memory: collections and items, by place, time, collection and id."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import shapely
from shapely.geometry import shape

from cropmask.errors import Reason, Rejected
from cropmask.stac.facts import Document
from cropmask.stac.links import is_document

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
"""Items of a page; who asks for more gets the next page, as the STAC API has it."""
MAX_NAMES: Final = 10_000
"""Ids, or collections, of a query."""
MAX_VERTICES: Final = 10_000
"""Points of the geometry of a query."""
_KNOWN: Final = frozenset(
    {"collections", "ids", "bbox", "intersects", "datetime", "limit", "token"}
)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)
_PARSE_ERRORS: Final = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError),
    *(OverflowError, RecursionError),
)


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for; None where anything will do."""

    collections: frozenset[str] | None = None
    ids: frozenset[str] | None = None
    area: shapely.Geometry | None = None
    """Longitude and latitude."""
    start: datetime = _BEGINNING
    end: datetime = _END
    limit: int = DEFAULT_LIMIT
    offset: int = 0

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> Query:
        """Query of a request's body, or of the parameters of an address.

        Raises Rejected if a parameter is unknown or its value cannot be read; none is ignored.
        """
        asked = {key: value for key, value in parameters.items() if value not in (None, "", [])}
        if unknown := sorted(set(asked) - _KNOWN):
            raise Rejected(
                f"'{unknown[0]}' is not offered: search by {', '.join(sorted(_KNOWN))}",
                reason=Reason.BAD_QUERY,
            )
        if "bbox" in asked and "intersects" in asked:
            raise Rejected("give bbox or intersects, not both", reason=Reason.BAD_QUERY)
        try:
            start, end = _parse_interval(str(asked.get("datetime", "../..")))
            return cls(
                collections=_names(asked.get("collections")),
                ids=_names(asked.get("ids")),
                area=_parse_area(asked),
                start=start,
                end=end,
                limit=min(max(int(asked.get("limit", DEFAULT_LIMIT)), 1), MAX_LIMIT),
                offset=max(int(asked.get("token", 0)), 0),
            )
        except (*_PARSE_ERRORS, shapely.errors.ShapelyError) as error:
            raise Rejected(f"the query cannot be read: {error}", reason=Reason.BAD_QUERY) from None


def _names(value: Any) -> frozenset[str] | None:  # noqa: ANN401 (any JSON value)
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("ids and collections are lists of names")
    _check_number("names", len(names), MAX_NAMES)
    return frozenset(names)


def _check_number(what: str, number: int, most: int) -> None:
    if number > most:
        raise ValueError(f"{number} {what} are more than the {most} of a query")


def _parse_area(asked: Mapping[str, Any]) -> shapely.Geometry | None:
    if "intersects" in asked:
        geometry = shape(asked["intersects"])
        points = shapely.get_coordinates(geometry)
        _check_number("points", len(points), MAX_VERTICES)
        if not np.isfinite(points).all():
            raise ValueError("a coordinate is no number")
        shapely.prepare(geometry)
        return geometry
    if "bbox" not in asked:
        return None
    box = asked["bbox"]
    numbers = [float(v) for v in (box.split(",") if isinstance(box, str) else box)]
    if len(numbers) not in (4, 6) or not np.isfinite(numbers).all():
        raise ValueError("bbox must be 4 or 6 numbers")
    west, south, east, north = numbers if len(numbers) == 4 else (*numbers[:2], *numbers[3:5])
    if west > east:  # over the antimeridian
        return shapely.union(
            shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)
        )
    return shapely.box(west, south, east, north)


def _parse_interval(text: str) -> tuple[datetime, datetime]:
    first, separator, last = text.partition("/")
    last = last if separator else first
    return _moment(first, _BEGINNING), _moment(last, _END, end=True)


def _moment(text: str, open_end: datetime, *, end: bool = False) -> datetime:
    """Moment of RFC 3339; of a day, its first or last."""
    if text in ("", ".."):
        return open_end
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    is_day = len(text) == len("2019-01-01")
    return moment + timedelta(days=1, microseconds=-1) if end and is_day else moment


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search."""

    items: tuple[Document, ...]
    matched: int
    next_offset: int | None
    """Where the next page begins; None on the last."""


class Index:
    """Items that can be searched; they keep the order in which they were given."""

    def __init__(self, collections: Sequence[Document], items: Sequence[Document]) -> None:
        self.collections = {str(found["id"]): found for found in collections}
        self._items = tuple(items)
        self._areas = np.array([_area(item) for item in items], dtype=object)
        self._times = [_span(item) for item in items]
        self._by_id = {(str(item["collection"]), str(item["id"])): item for item in items}

    def __len__(self) -> int:
        return len(self._items)

    def item(self, collection: str, identity: str) -> Document | None:
        """One item."""
        return self._by_id.get((collection, identity))

    def search(self, query: Query) -> Page:
        """Items that match a query."""
        found = list(self._matching(query))
        end = query.offset + query.limit
        return Page(
            items=tuple(found[query.offset : end]),
            matched=len(found),
            next_offset=end if end < len(found) else None,
        )

    def _matching(self, query: Query) -> Iterator[Document]:
        here: Any = np.ones(len(self._items), bool)
        if query.area is not None:
            try:
                here = shapely.intersects(query.area, self._areas)
            except shapely.errors.ShapelyError as error:
                raise Rejected(
                    f"the geometry of the query is not valid: {error}", reason=Reason.BAD_QUERY
                ) from None
        for item, inside, (start, end) in zip(self._items, here, self._times, strict=True):
            if (
                inside
                and (query.collections is None or item["collection"] in query.collections)
                and (query.ids is None or item["id"] in query.ids)
                and start <= query.end
                and end >= query.start
            ):
                yield item


def can_be_searched(item: Document) -> bool:
    """Whether it is an item that says where and when it is, and what it belongs to."""
    try:
        _span(item)
        is_whole = is_document(item) and isinstance(item["collection"], str)
        box = _box(item)
        return is_whole and len(box) == 4 and all(map(math.isfinite, box))
    except _PARSE_ERRORS:
        return False


def _box(item: Document) -> list[float]:
    return [float(value) for value in item["bbox"]]


def _area(item: Document) -> shapely.Geometry:
    """Where an item has data: its geometry, or its box if that cannot be read."""
    try:
        found = shape(item["geometry"])
        if found.is_valid and not found.is_empty:
            return found
    except (*_PARSE_ERRORS, shapely.errors.ShapelyError):
        pass
    return shapely.box(*_box(item))


def _span(item: Document) -> tuple[datetime, datetime]:
    known = item["properties"]
    start, end = (known.get(f"{end}_datetime") or known["datetime"] for end in ("start", "end"))
    return _moment(start, _BEGINNING), _moment(end, _END)
