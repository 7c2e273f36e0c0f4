"""GeoMAD items, parsed once into values; nothing is read here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cropmask.core.scaling import KEPT, Declared, Kept
from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.errors import Reason, Rejected
from cropmask.grid import CRS
from cropmask.product import SYNTHETIC
from cropmask.region.attribution import UNSTATED, Attribution, parse_attribution
from cropmask.remote.address import resolve
from cropmask.sources.assetfacts import Statements
from cropmask.sources.matching import StacFile, crs_codes, format_moment, moment, region_code
from cropmask.sources.versions import VersionChoice
from cropmask.task import Period

GEOMAD: Final = "gm_s2_semiannual"
"""Collection of the Sentinel-2 GeoMAD of half-years."""

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "blue": ("B02", "band_02"),
    "green": ("B03", "band_03"),
    "red": ("B04", "band_04"),
    "red_edge_1": ("B05", "band_05", "rededge071"),
    "red_edge_2": ("B06", "band_06", "rededge075"),
    "red_edge_3": ("B07", "band_07", "rededge078"),
    "nir": ("B08", "band_08", "nir_1"),
    "swir_1": ("B11", "band_11", "swir_16", "swir16"),
    "swir_2": ("B12", "band_12", "swir_22", "swir22"),
    "sdev": ("SMAD", "smad", "SDEV"),
    "edev": ("EMAD", "emad", "EDEV"),
    "bcdev": ("BCMAD", "bcmad", "BCDEV"),
}
"""Other names of our bands: asset keys and aliases of Digital Earth Africa, common names of STAC.

``B8A`` is called ``nir08`` or ``nir_2`` and is not our ``nir``.
"""
_BAND_NAMES: Final = frozenset(ALIASES).union(*ALIASES.values())
_COUNTS: Final = re.compile(r"band_\d+")

_MAX_TITLE: Final = 300
MAX_FILE_BYTES: Final = 2**40
"""Most bytes that an item may declare for the file of a band; a tile's have a tenth of a GB."""
MAX_ID: Final = 1000
"""Most characters of an item's id; a UUID has 36."""


@dataclass(frozen=True, slots=True)
class BandSource:
    """One band's raster."""

    href: str
    kept: Kept
    declared: Declared
    """What the item says of its numbers."""
    checksum: str | None = None
    """Multihash from the item."""
    size: int | None = None
    """Bytes of the file, as the item says it."""

    @property
    def dtype(self) -> str:
        """Type of the file's pixels."""
        return self.kept.dtype


@dataclass(frozen=True, slots=True)
class GeoMad:
    """One GeoMAD item: a tile's half-year."""

    item_id: str
    title: str
    period: Period
    href: str
    """Address of the item."""
    created: str | None
    """When it was made, as the item says it."""
    region_code: str | None
    bands: Mapping[str, BandSource]
    """By our band names: :data:`~cropmask.core.strips.REFLECTANCE` and
    :data:`~cropmask.core.strips.DEVIATION`."""
    synthetic: bool = False
    """Whether the item says that it is made up."""
    choice: VersionChoice | None = None
    """Which version it is, if there were several."""
    attribution: Attribution = UNSTATED
    """What the item itself says of its license and providers."""
    collection_href: str | None = None
    """Address of the collection that the item links."""
    read_at: str = ""
    """Address that the item was read at; ``href`` is the one that it gives itself."""


def parse_geomad(item: StacFile, period: Period) -> GeoMad:
    """GeoMAD value of an item.

    Raises Rejected if a band is missing or doubled, or the item is in another CRS.
    """
    item_id = item.content.get("id")
    if not (isinstance(item_id, str) and item_id and item_id.isprintable()):
        raise Rejected(f"the item {item.href} has no id: give it one", reason=Reason.BAD_DOCUMENT)
    if len(item_id) > MAX_ID:
        raise Rejected(
            f"the id of the item {item.href} has {len(item_id):,} characters: it may have "
            f"{MAX_ID:,}",
            reason=Reason.BAD_DOCUMENT,
        )
    _check_crs(item.properties, item_id)
    base = item.href
    itself = next((link["href"] for link in item.links if link.get("rel") == "self"), None)
    return GeoMad(
        item_id=item_id,
        title=_title(item) or item_id,
        period=period,
        href=resolve(base, itself) if itself else base,
        created=_created(item),
        region_code=region_code(item),
        bands={name: _band(item, item_id, name) for name in (*REFLECTANCE, *DEVIATION)},
        synthetic=item.properties.get("odc:producer") == SYNTHETIC,
        attribution=parse_attribution(item.content),
        collection_href=_find_collection_link(item),
        read_at=item.href,
    )


def _find_collection_link(item: StacFile) -> str | None:
    """Address of the item's collection, or of its parent, which mostly is the collection.

    None without such a link, or if it leads to where the item may not.
    """
    linked = {link.get("rel"): link["href"] for link in reversed(item.links)}
    href = linked.get("collection") or linked.get("parent")
    try:
        return item.address_of(href, "link 'collection'") if href else None
    except Rejected:
        return None


def _title(item: StacFile) -> str:
    title = item.properties.get("title")
    line = " ".join(title.split()) if isinstance(title, str) else ""
    return line[:_MAX_TITLE] if line.isprintable() else ""


def _created(item: StacFile) -> str | None:
    created = moment(item.properties.get("created"))
    return format_moment(created) if created else None


def find_asset(item: StacFile, name: str, aliases: tuple[str, ...] = ()) -> str | None:
    """Key of the asset of a name: by asset key, else by the band names inside the assets.

    Names inside go before a key that they contradict: that of another band, or any other name if
    the key only counts, as ``band_02`` does.

    Raises Rejected if several assets have that band name.
    """
    wanted, assets = (name, *aliases), item.assets
    keyed = [key for key in wanted if key in assets]
    for key in keyed:
        inside = names_of(item, key)
        if not inside or not inside.isdisjoint(wanted):
            return key
    names = {key: names_of(item, key) for key in assets}
    found = [key for key, inside in names.items() if not inside.isdisjoint(wanted)]
    if len(found) > 1:
        raise Rejected(
            f"item {item.id} has {len(found)} assets for band '{name}': "
            f"{', '.join(found)}; one must stay",
            reason=Reason.DOUBLED_BAND,
        )
    found += (
        key for key in keyed if names[key].isdisjoint(_BAND_NAMES) and not _COUNTS.fullmatch(key)
    )
    return found[0] if found else None


def names_of(item: StacFile, key: str) -> frozenset[str]:
    """Band names and common names of an asset."""
    return Statements.of(item, key).names


def _name_asset(item: StacFile, key: str) -> str:
    """Key of an asset, with the names inside that it contradicts."""
    inside = names_of(item, key)
    return key if not inside or key in inside else f"{key} ({', '.join(sorted(inside))})"


def _band(item: StacFile, item_id: str, name: str) -> BandSource:
    key = find_asset(item, name, ALIASES[name])
    if key is None:
        there = ", ".join(_name_asset(item, key) for key in sorted(item.assets)) or "none"
        raise Rejected(
            f"item {item_id} has no band '{name}' ({' or '.join(ALIASES[name][:1])}): "
            f"its assets are {there}",
            reason=Reason.MISSING_BAND,
        )
    asset, kept = item.assets[key], KEPT[name]
    said = Statements.of(item, key)
    _check_crs(asset, item_id)
    href = asset.get("href")
    if not isinstance(href, str) or not href:
        raise Rejected(f"asset '{key}' of item {item_id} has no href", reason=Reason.BAD_DOCUMENT)
    dtype = said.data_type(kept.dtype)
    if dtype not in (kept.dtype, "other"):
        raise said.refused(f"it holds {dtype}, where GeoMAD has {kept.dtype}")
    if said.bands > 1:
        raise said.refused(f"it has {said.bands} bands, where GeoMAD has one file for each")
    return BandSource(
        href=item.address_of(href, f"asset '{key}'"),
        kept=kept,
        declared=said.declared(kept),
        checksum=checksum_of(asset),
        size=_size_of(asset, said),
    )


def checksum_of(asset: Mapping[str, Any]) -> str | None:
    """Multihash of an asset's file, where the item has it."""
    value = asset.get("file:checksum") or asset.get("checksum:multihash")
    return value if isinstance(value, str) and value else None


def _size_of(asset: Mapping[str, Any], said: Statements) -> int | None:
    value = asset.get("file:size")
    if type(value) is not int or value < 0:
        return None
    if value > MAX_FILE_BYTES:
        raise said.refused(f"it has a file:size of more than {MAX_FILE_BYTES:,} bytes")
    return value


def _check_crs(holder: Mapping[str, Any], item_id: str) -> None:
    for found in crs_codes(holder):
        if found != CRS:
            raise Rejected(
                f"item {item_id} is in {found}: GeoMAD must be in {CRS}", reason=Reason.WRONG_CRS
            )
