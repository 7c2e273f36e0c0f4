"""The inputs of one tile: two GeoMAD items and the layers beside them.

``find_sources`` is the door; what comes back are values that need no further search.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from cropmask.core.scaling import LAYER, UNDECLARED, Declared, Kept, name_unusual
from cropmask.errors import (
    CropmaskError,
    Misconfigured,
    Reason,
    Rejected,
    blame_configuration,
)
from cropmask.grid import Tile
from cropmask.product import HalfOrder
from cropmask.region.region import Ancillary, StacLayer
from cropmask.remote.fetch import Absent, ReadOptions, find_identity
from cropmask.sources.assetfacts import Statements
from cropmask.sources.bands import (
    GEOMAD,
    BandSource,
    GeoMad,
    checksum_of,
    find_asset,
    parse_geomad,
)
from cropmask.sources.catalogs import Catalog, open_catalog
from cropmask.sources.matching import (
    StacFile,
    is_of_period,
    is_of_tile,
    name_of_period,
    region_code,
)
from cropmask.sources.versions import (
    VersionChoice,
    describe_version,
    drop_repeated,
    is_deprecated,
    sort_versions,
)
from cropmask.task import Period

FEATURE_LAYERS: Final = ("rain_first_half", "rain_second_half", "slope")
"""Layers that the model needs."""
MASK_LAYERS: Final = ("protected_areas", "water", "steepness", "elevation")
"""Layers that only mask; without one, its mask is not applied."""

_STRICT: Final = "--strict-inputs uses none of several"

Identify = Callable[[str, ReadOptions], str]
"""Tells the content of a file from any other, as :func:`~cropmask.remote.fetch.find_identity`."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LayerSource:
    """One layer beside GeoMAD."""

    href: str | None
    """Its raster; None if there is none, with the ``reason``."""
    reason: str | None = None
    item_id: str | None = None
    """STAC item that it was found in."""
    checksum: str | None = None
    declared: Declared = UNDECLARED
    """What the item says of its numbers."""
    choice: VersionChoice | None = None
    """Which version it is, if there were several."""

    def blame(self) -> AbstractContextManager[None]:
        """Within it, what is wrong with the raster is the fault of whoever names it."""
        return nullcontext() if self.item_id else blame_configuration()

    def missing(self, name: str, what: str) -> CropmaskError:
        """The error for a layer that the model needs and that is not there."""
        return missing_layer(name, what, Rejected if self.item_id else Misconfigured)


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that one tile is computed from."""

    tile: Tile
    period: Period
    first: GeoMad
    """The model's first half-year, that of its features ``S1``."""
    second: GeoMad
    """The model's second half-year."""
    ancillary: Mapping[str, LayerSource]
    """By the names of :class:`~cropmask.region.region.Ancillary`, each of them; rain is that of
    the model's half-years."""
    options: ReadOptions

    @property
    def bands(self) -> tuple[BandSource, ...]:
        """GeoMAD's rasters, of both halves."""
        return (*self.first.bands.values(), *self.second.bands.values())

    @property
    def choices(self) -> dict[str, VersionChoice]:
        """Inputs of which there were several versions: ``first``, ``second`` or a layer's name."""
        inputs: dict[str, GeoMad | LayerSource] = {"first": self.first, "second": self.second}
        inputs.update(self.ancillary)
        return {name: found.choice for name, found in inputs.items() if found.choice}

    def fingerprint(self, identify: Identify = find_identity) -> dict[str, str]:
        """Identity of every input, for the run key: the same on every machine, never a time.

        Item ids under ``first`` and ``second``, rasters under ``first/blue`` or ``slope``:
        the item's checksum, else the ETag, else a hash of size and both ends of the file; and
        the item's scale, offset and nodata where they change what is read.

        Raises Rejected if a raster that an item names does not exist or may not be read;
        Misconfigured if one that the configuration names does or may not; Interrupted if a server
        cannot be reached.
        """
        bands = {
            f"{half}/{name}": (band, band.href, band.kept)
            for half, geomad in (("first", self.first), ("second", self.second))
            for name, band in geomad.bands.items()
        }
        layers = {
            name: (layer, layer.href, LAYER)
            for name, layer in self.ancillary.items()
            if layer.href is not None
        }

        def find(entry: tuple[str, tuple[BandSource | LayerSource, str, Kept]]) -> str:
            name, (source, href, kept) = entry
            found = source.checksum and f"checksum:{source.checksum}"
            said = name_unusual(source.declared, kept)
            return " ".join(filter(None, (found or self._identity(identify, name, href), said)))

        rasters = {**bands, **layers}
        with ThreadPoolExecutor(self.options.threads) as pool:
            identities = dict(zip(rasters, pool.map(find, rasters.items()), strict=True))
        return {"first": self.first.item_id, "second": self.second.item_id, **identities}

    def _identity(self, identify: Identify, name: str, href: str) -> str:
        layer = self.ancillary.get(name)
        with layer.blame() if layer else nullcontext():
            try:
                return identify(href, self.options)
            except Absent:
                if name in MASK_LAYERS:
                    return "absent"
                if layer is not None:
                    raise layer.missing(name, href) from None
                raise


def missing_layer(name: str, what: str, kind: type[CropmaskError]) -> CropmaskError:
    """The error for a layer that the model needs and that is not there."""
    return kind(
        f"the layer '{name}' is a feature of the model and does not exist: {what}; "
        "set it in the region file or the environment",
        reason=Reason.NO_LAYER,
    )


def find_sources(
    catalog: str | Catalog,
    tile: Tile,
    period: Period,
    ancillary: Ancillary,
    *,
    order: HalfOrder = "calendar",
    masks: bool = True,
    options: ReadOptions | None = None,
    collection: str = GEOMAD,
) -> Sources:
    """Items and rasters that a tile is computed from, at any resolution.

    ``order`` says which half of a season is the model's first. Dated layers of a season are those
    of the calendar year that it begins in: its second half has none until that year is over.
    Without ``masks``, layers that only mask are not looked for.

    Raises Rejected if a half-year is missing or doubled, a band is missing, the CRS is wrong, or a
    document cannot be understood; Misconfigured if there is no catalog, or access to it is denied;
    Interrupted if the catalog cannot be reached.
    """
    options = options or ReadOptions()
    place = open_catalog(catalog, options) if isinstance(catalog, str) else catalog
    layers_named = (getattr(ancillary, name) for name in (*FEATURE_LAYERS, *MASK_LAYERS))
    named = [layer for layer in layers_named if isinstance(layer, str)]
    first, second = find_geomads(
        place, tile, period, order, strict=options.strict, collection=collection
    )
    unused = MASK_LAYERS if not masks else ()
    layers = {
        name: LayerSource(None, "not looked for")
        if name in unused
        else _layer(place, name, getattr(ancillary, name), tile, period, strict=options.strict)
        for name in (*FEATURE_LAYERS, *MASK_LAYERS)
    }
    if first.period.start.month != 1:
        swap_rain(layers)
    return Sources(
        tile, period, first, second, MappingProxyType(layers), options.at(place.address, named)
    )


def find_geomads(
    place: Catalog,
    tile: Tile,
    period: Period,
    order: HalfOrder = "calendar",
    *,
    strict: bool = False,
    collection: str = GEOMAD,
) -> tuple[GeoMad, GeoMad]:
    """GeoMAD of the model's two half-years; raises as :func:`find_sources`."""
    items = _items_of_tile(place, collection, tile, period)
    first, second = (
        _half(place, collection, tile, half, items, strict=strict)
        for half in period.order_halves(order)
    )
    return first, second


def swap_rain(layers: MutableMapping[str, Any]) -> None:
    """Have rain of July to December be that of the model's first half-year, and the reverse."""
    first, second, _ = FEATURE_LAYERS
    layers[first], layers[second] = layers[second], layers[first]


def _items_of_tile(
    place: Catalog, collection: str, tile: Tile, period: Period | None
) -> list[StacFile]:
    """Items of a collection and tile; one that was found twice counts once."""
    found = place.find_items(collection, tile, period)
    return drop_repeated(item for item in found if is_of_tile(item, tile))


def _half(
    place: Catalog,
    collection: str,
    tile: Tile,
    half: Period,
    items: Sequence[StacFile],
    *,
    strict: bool,
) -> GeoMad:
    matching = [item for item in items if is_of_period(item, half)]
    if not matching:
        raise _missing(place, collection, tile, half)
    ordered, doubt = sort_versions(matching)
    doubt = _STRICT if len(ordered) > 1 and strict else doubt
    if doubt is not None:
        ids = " and ".join(map(describe_version, ordered))
        raise Rejected(
            f"tile {tile} has {len(matching)} GeoMAD items for {_name(half)} in {place.address}: "
            f"{ids}; {doubt}: remove all but one",
            reason=Reason.DOUBLED_GEOMAD,
        )
    choice = _take_newest(ordered, f"GeoMAD of tile {tile} for {_name(half)}")
    return replace(parse_geomad(ordered[-1], half), choice=choice)


def _take_newest(ordered: Sequence[StacFile], what: str) -> VersionChoice | None:
    """Say in a warning which of several versions is used, or that it is deprecated."""
    *older, newest = map(describe_version, ordered)
    if older:
        log.warning("%s: %s is used, not %s", what, newest, ", ".join(older))
        return VersionChoice(newest, tuple(older))
    if is_deprecated(ordered[0]):
        log.warning("%s: %s is used, though it is deprecated", what, newest)
    return None


def _missing(place: Catalog, collection: str, tile: Tile, half: Period) -> Rejected:
    every = _items_of_tile(place, collection, tile, None)
    periods = sorted({name for name in map(name_of_period, every) if name})
    has = f"this tile has {', '.join(periods)}" if periods else "this tile has no GeoMAD there"
    undated = [describe_version(item) for item in every if name_of_period(item) is None]
    has += f", and {undated[0]}, whose dates cannot be read" if undated else ""
    return Rejected(
        f"no GeoMAD for {_name(half)} of tile {tile} in {place.address}: {has}; "
        "choose another period, tile or catalog",
        reason=Reason.MISSING_GEOMAD,
    )


def _name(half: Period) -> str:
    return f"{half.start:%B} to {half.end:%B %Y} ({half})"


def _layer(
    place: Catalog,
    name: str,
    layer: str | StacLayer | None,
    tile: Tile,
    period: Period,
    *,
    strict: bool,
) -> LayerSource:
    if layer is None:
        return LayerSource(None, "not configured for this region")
    if isinstance(layer, str):
        return LayerSource(layer)
    when = period.calendar_year if layer.dated else None
    items = [
        item
        for item in _covering(place.find_items(layer.collection, tile, when), tile)
        if when is None or is_of_period(item, when)
    ]
    if not items:
        during = f" in {period.start.year}" if layer.dated else ""
        reason = f"no item of {layer.collection} over tile {tile}{during}"
        if name in FEATURE_LAYERS:
            raise missing_layer(name, reason, Rejected)
        return LayerSource(None, reason)
    ordered, _ = sort_versions(items)  # where nothing tells, the ids do: no mistake of the user
    if len(ordered) > 1 and strict:
        ids = " and ".join(map(describe_version, ordered))
        raise Rejected(
            f"tile {tile} has {len(ordered)} items for the layer '{name}' in {layer.collection}: "
            f"{ids}; {_STRICT}: remove all but one",
            reason=Reason.DOUBLED_LAYER,
        )
    choice = _take_newest(ordered, f"layer '{name}' of tile {tile}")
    return replace(_asset_of(ordered[-1], layer), choice=choice)


def _covering(items: Iterator[StacFile], tile: Tile) -> list[StacFile]:
    """Items of the tile, else those without a tile of their own, such as continental rasters."""
    found = drop_repeated(items)
    of_tile = [item for item in found if is_of_tile(item, tile)]
    return of_tile or [item for item in found if region_code(item) is None]


def _asset_of(item: StacFile, layer: StacLayer) -> LayerSource:
    key = find_asset(item, layer.asset)
    item_id = item.id
    href = item.assets[key].get("href") if key is not None else None
    if key is None or not (isinstance(href, str) and href):
        there = ", ".join(sorted(item.assets)) or "none"
        raise Rejected(
            f"item {item_id} of {layer.collection} has no asset '{layer.asset}': "
            f"its assets are {there}",
            reason=Reason.MISSING_BAND,
        )
    checksum = checksum_of(item.assets[key])
    declared = Statements.of(item, key).declared(LAYER)
    address = item.address_of(href, f"asset '{key}'")
    return LayerSource(address, None, item_id, checksum, declared)
