"""What an item says of one of its assets, in every spelling of STAC 1.0 and 1.1."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

from cropmask.core.scaling import UNSCALED, Declared, Kept, Scaling, find_nonsense
from cropmask.errors import Reason, Rejected
from cropmask.sources.matching import StacFile, dicts_in, show

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FactRule:
    """Names of the fields that say one fact, by the place that they stand in."""

    in_band: tuple[str, ...]
    """In the entry of the asset in one of :data:`BAND_LISTS`: its own, or that in the item's
    properties with the name of its key or band."""
    in_asset: tuple[str, ...] = ()
    in_item: tuple[str, ...] = ()
    """In the item's properties, for all of its assets."""


BAND_LISTS: Final = ("raster:bands", "eo:bands", "bands")
"""Lists of bands: two extensions of STAC 1.0, and STAC 1.1."""

_SCALES: Final = ("scale", "raster:scale")
_OFFSETS: Final = ("offset", "raster:offset")
FACT_RULES: Final[Mapping[str, FactRule]] = MappingProxyType(
    {
        "band name": FactRule(("name",)),
        "common name": FactRule(("common_name", "eo:common_name"), ("eo:common_name",)),
        "data type": FactRule(("data_type",), ("data_type",), ("data_type",)),
        "nodata": FactRule(("nodata",), ("nodata",), ("nodata",)),
        "scale": FactRule(_SCALES, _SCALES, ("raster:scale",)),
        "offset": FactRule(_OFFSETS, _OFFSETS, ("raster:offset",)),
    }
)
"""Every fact that is read of an asset. Of names all count. Of the others the nearest place that
says it: the band, the asset, the item; two statements in one place must be the same."""

_UNSAID: Final = ("", "none", "null")
_NUMBER: Final = re.compile(
    r"[+-]?(nan|inf(inity)?|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)", re.IGNORECASE | re.ASCII
)
"""A number as text: STAC writes so what JSON has no number for, and others all of them."""
_TYPES: Final = {"u2": "uint16", "<u2": "uint16", "f4": "float32", "<f4": "float32"}
"""Other names of the types that GeoMAD has."""
_APPLIED: Final = ":boa_offset_applied"
"""Ends the property by which catalogs of Sentinel-2 say that pixels are free of the offset."""


@dataclass(frozen=True, slots=True)
class Statements:
    """Everything that is said of an asset, the nearest place first."""

    asset: str
    """The asset in words."""
    places: tuple[tuple[str, str, tuple[Mapping[str, Any], ...]], ...]
    """Words for a place, the field of :class:`FactRule` for it, and the objects in it."""
    bands: int
    """Most bands that a list of the asset has."""
    offset_applied: str | None
    """Property that says that the pixels are free of the offset."""

    @classmethod
    def of(cls, item: StacFile, key: str) -> Self:
        """Statements about the asset of a key."""
        asset, properties = item.assets[key], item.properties
        lists = [dicts_in(asset, name) for name in BAND_LISTS]
        entries = tuple(entry for found in lists for entry in found[:1])
        own = (key, *(entry.get("name") for entry in entries))
        shared = [entry for name in BAND_LISTS for entry in dicts_in(properties, name)]
        applied = (name for name, said in properties.items() if said and name.endswith(_APPLIED))
        return cls(
            asset=f"asset '{key}' of item {item.id}",
            places=(
                ("its band", "in_band", entries),
                ("it", "in_asset", (asset,)),
                (
                    "the item's band of its name",
                    "in_band",
                    tuple(entry for entry in shared if entry.get("name") in own),
                ),
                ("the item", "in_item", (properties,)),
            ),
            bands=max(map(len, lists)),
            offset_applied=next(applied, None),
        )

    @property
    def names(self) -> frozenset[str]:
        """Band names and common names; none if it has several bands."""
        if self.bands > 1:
            return frozenset()
        said = (value for fact in ("band name", "common name") for _, value in self._find(fact))
        return frozenset(value for value in said if isinstance(value, str))

    def data_type(self, usual: str) -> str:
        """Data type in STAC's spelling."""
        return self._one("data type", _parse_type, usual)

    def declared(self, kept: Kept) -> Declared:
        """What is said of the numbers.

        Raises Rejected if it contradicts itself, or cannot be meant.
        """
        nodata = self._one("nodata", _parse_number, None)
        scaling = Scaling(
            self._one("scale", _parse_number, UNSCALED.scale),
            self._one("offset", _parse_number, UNSCALED.offset),
        )
        problem = find_nonsense(scaling, kept)
        if problem is not None:
            raise self.refused(f"it cannot have {scaling}: {problem}")
        if scaling.offset and self.offset_applied:
            raise self.refused(
                f"it has {scaling}, while {self.offset_applied} says that the offset was applied "
                "already"
            )
        return Declared(nodata, scaling)

    def refused(self, why: str) -> Rejected:
        """The error for an asset that cannot be used."""
        return Rejected(f"{self.asset}: {why}; correct the item", reason=Reason.BAD_DOCUMENT)

    def _find(self, fact: str) -> Iterator[tuple[str, Any]]:
        """Places and values of a fact."""
        rule = FACT_RULES[fact]
        for place, level, holders in self.places:
            for field in getattr(rule, level):
                for holder in holders:
                    value = holder.get(field)
                    if not (value is None or _is_unsaid(value)):
                        yield place, value

    def _one(self, fact: str, parse: Callable[[object], T | None], usual: T) -> T:
        """A fact from the nearest place that says it."""
        nearest, found = None, usual
        for place, value in self._find(fact):
            if nearest not in (None, place):
                break
            parsed = parse(value)
            if parsed is None:
                raise self.refused(f"{place} has the {fact} '{show(value)}', which is none")
            if nearest == place and str(parsed) != str(found):  # as text, NaN equals itself
                raise self.refused(f"{place} has the {fact} {found} and {parsed}")
            nearest, found = place, parsed
        return found


def _is_unsaid(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in _UNSAID


def _parse_number(value: object) -> float | None:
    """A number of JSON, or one written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        value = value.strip()
        return float(value) if len(value) < 100 and _NUMBER.fullmatch(value) else None
    try:
        return float(value)
    except OverflowError:
        return None


def _parse_type(value: object) -> str | None:
    """A data type in STAC's spelling; None if it is no text."""
    if not isinstance(value, str):
        return None
    name = value.strip().lower()
    return _TYPES.get(name, name)
