"""Foreign STAC items, parsed once into values; nothing is read here."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from pyproj import Transformer

from cropmask.errors import Rejected
from cropmask.grid import CRS, EPSG, Tile
from cropmask.remote.address import resolve
from cropmask.remote.zones import Zone
from cropmask.task import Period

_TILE_IN_PATH: Final = re.compile(r"x(\d{3})[/_]?y(\d{3})")
_PERIOD_IN_PATH: Final = re.compile(r"\d{4}(?:-\d{2})?--P\d{1,2}[YM]")
_A_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class StacFile:
    """One JSON document and where it was read: relative links in it start there."""

    content: Mapping[str, Any]
    href: str
    zone: Zone | None = None
    """What it may point to; by default what a catalog at its own address may."""

    def address_of(self, href: str, what: str) -> str:
        """An href that is written in it, made absolute.

        Raises Rejected if it is no address, or leads out of the zone; ``what`` says what has it.
        """
        found = resolve(self.href, href)
        (self.zone or Zone(self.href)).check(found, f"{what} of {self._name}")
        return found

    @property
    def _name(self) -> str:
        return f"item {self.id}" if self.content.get("type") == "Feature" else self.href

    @property
    def id(self) -> str:
        """Id as text, whatever stands there; it may name nothing."""
        return show(self.content.get("id"))

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of an item."""
        found = self.content.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    def collection(self) -> str | None:
        """Collection of an item, or the product that it names instead."""
        found = self.content.get("collection") or self.properties.get("odc:product")
        return found if isinstance(found, str) else None

    @property
    def assets(self) -> Mapping[str, Mapping[str, Any]]:
        """Assets of an item, by key."""
        found = self.content.get("assets")
        assets = found.items() if isinstance(found, dict) else ()
        return {key: asset for key, asset in assets if isinstance(asset, dict)}

    @property
    def links(self) -> tuple[Mapping[str, Any], ...]:
        """Links with a relation and an address, in their order."""
        links = dicts_in(self.content, "links")
        texts = (link for link in links if isinstance(link.get("rel"), str))
        return tuple(link for link in texts if link.get("href") and isinstance(link["href"], str))


def dicts_in(holder: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Objects in a list of a foreign document; empty if it is no list."""
    found = holder.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def show(value: object) -> str:
    """A value of a foreign document for a message; what holds others may be too deep to show."""
    return f"a {type(value).__name__}" if isinstance(value, dict | list) else str(value)


def tile_in_path(path: str) -> Tile | None:
    """Tile that a path or address names last, such as ``.../x215/y075/...``."""
    found = _TILE_IN_PATH.findall(path)
    return Tile(int(found[-1][0]), int(found[-1][1])) if found else None


def period_in_path(path: str) -> Period | None:
    """Period that a path or address names last, such as ``2019-01--P6M``."""
    found = _PERIOD_IN_PATH.findall(path)
    try:
        return Period.parse(found[-1]) if found else None
    except Rejected:
        return None


def may_match(path: str, tile: Tile, period: Period | None) -> bool:
    """Whether a document can be about a tile and period, judged by its path alone."""
    return may_match_any(path, frozenset({tile}), period)


def may_match_any(path: str, tiles: Container[Tile], period: Period | None) -> bool:
    """Whether a document can be about one of some tiles and a period, judged by its path alone."""
    named = tile_in_path(path)
    if named is not None and named not in tiles:
        return False
    when = period_in_path(path)
    return when is None or period is None or (when.start <= period.end and period.start <= when.end)


def is_of_tile(item: StacFile, tile: Tile) -> bool:
    """Whether an item belongs to a tile: by region code, else by its center."""
    code = region_code(item)
    if code is not None:
        return code == str(tile)
    center = _center(item)
    if center is None:
        return False
    left, bottom, right, top = tile.bounds
    return left <= center[0] < right and bottom <= center[1] < top


def region_code(item: StacFile) -> str | None:
    """Tile that an item says it is of, in the padded form; None if it says none of ours."""
    for key in ("odc:region_code", "cubedash:region_code"):
        value = item.properties.get(key)
        if isinstance(value, str):
            try:
                return str(Tile.parse(value))
            except Rejected:
                continue
    return None


def interval_of(item: StacFile) -> tuple[date, date] | None:
    """First and last day (UTC) of an item; None if it has none, or none that can be meant."""
    properties = item.properties
    for prefix in ("", "dtr:"):
        said = [properties.get(f"{prefix}{name}_datetime") for name in ("start", "end")]
        if None in said:
            continue
        start, end = map(moment, said)
        if start is None or end is None or end < start:
            return None
        # An end at midnight means the end of the day before.
        return start.date(), max(start, end - timedelta(microseconds=1)).date()
    only = moment(properties.get("datetime"))
    return (only.date(), only.date()) if only else None


def is_of_period(item: StacFile, period: Period) -> bool:
    """Whether an item is of exactly a period, give or take a day for time zones.

    An item with one date instead of an interval is of the period that holds the date.
    """
    interval = interval_of(item)
    if interval is None:
        return False
    start, end = interval
    if start == end:
        return period.start <= start <= period.end
    return abs(start - period.start) <= _A_DAY and abs(end - period.end) <= _A_DAY


def name_of_period(item: StacFile) -> str | None:
    """The item's period for messages: ``2019-01--P6M``, or plain dates."""
    interval = interval_of(item)
    if interval is None:
        return None
    start, end = interval
    months = (end.year - start.year) * 12 + end.month - start.month + 1
    if start.day == 1 and 1 <= months <= 120:
        period = Period(start, months)
        if period.end == end:
            return str(period)
    return str(start) if start == end else f"{start} to {end}"


def crs_codes(holder: Mapping[str, Any]) -> Iterator[str]:
    """Reference systems that an item or asset names, in STAC 1.0 or 1.1."""
    if holder.get("proj:epsg"):
        yield f"EPSG:{show(holder['proj:epsg']).removesuffix('.0')}"
    if holder.get("proj:code"):
        yield show(holder["proj:code"]).upper()


def moment(text: object) -> datetime | None:
    """Time of a text in UTC; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def format_moment(when: datetime) -> str:
    """A time as RFC 3339 has it, in UTC."""
    return when.isoformat().replace("+00:00", "Z")


def _center(item: StacFile) -> tuple[float, float] | None:
    """Center of an item in meters of EPSG:6933, from its pixel grid, else its bounding box."""
    try:
        return _center_of_grid(item) or _center_of_box(item)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _center_of_grid(item: StacFile) -> tuple[float, float] | None:
    transform, shape = (item.properties.get(f"proj:{key}") for key in ("transform", "shape"))
    if (
        isinstance(transform, list)
        and isinstance(shape, list)
        and f"EPSG:{EPSG}" in tuple(crs_codes(item.properties))
    ):
        a, b, c, d, e, f = map(float, transform[:6])
        y, x = float(shape[0]) / 2, float(shape[1]) / 2
        return a * x + b * y + c, d * x + e * y + f
    return None


def _center_of_box(item: StacFile) -> tuple[float, float] | None:
    bbox = item.content.get("bbox")
    if not isinstance(bbox, list) or len(bbox) not in (4, 6):
        return None
    middle = len(bbox) // 2
    longitude, latitude = (bbox[0] + bbox[middle]) / 2, (bbox[1] + bbox[middle + 1]) / 2
    x, y = _to_grid().transform(longitude, latitude)
    return float(x), float(y)


@lru_cache(maxsize=1)
def _to_grid() -> Transformer:
    return Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
