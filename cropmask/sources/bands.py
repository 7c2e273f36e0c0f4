"""GeoMAD items, parsed once into values; nothing is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.errors import Reason, Rejected
from cropmask.grid import CRS
from cropmask.product import SYNTHETIC
from cropmask.remote.address import resolve
from cropmask.sources.matching import StacFile, crs_codes, dicts_in, moment, region_code
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

_MAX_TITLE: Final = 300


@dataclass(frozen=True, slots=True)
class BandSource:
    """One band's raster."""

    href: str
    dtype: str
    nodata: float
    checksum: str | None
    """Multihash from the item."""
    size: int | None = None
    """Bytes of the file, as the item says it."""


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


def parse_geomad(item: StacFile, period: Period) -> GeoMad:
    """GeoMAD value of an item.

    Raises Rejected if a band is missing or doubled, or the item is in another CRS.
    """
    item_id = item.content.get("id")
    if not (isinstance(item_id, str) and item_id and item_id.isprintable()):
        raise Rejected(f"the item {item.href} has no id: give it one", reason=Reason.BAD_DOCUMENT)
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
    )


def _title(item: StacFile) -> str:
    title = item.properties.get("title")
    line = " ".join(title.split()) if isinstance(title, str) else ""
    return line[:_MAX_TITLE] if line.isprintable() else ""


def _created(item: StacFile) -> str | None:
    created = item.properties.get("created")
    return str(created) if moment(created) else None


def find_asset(item: StacFile, name: str, aliases: tuple[str, ...] = ()) -> str | None:
    """Key of the asset of a name: by asset key, else by the band names inside the assets.

    Raises Rejected if several assets have that band name.
    """
    names = (name, *aliases)
    for candidate in names:
        if candidate in item.assets:
            return candidate
    keys = [key for key, asset in item.assets.items() if not names_of(asset).isdisjoint(names)]
    if len(keys) > 1:
        raise Rejected(
            f"item {item.content.get('id')} has {len(keys)} assets for band '{name}': "
            f"{', '.join(keys)}; one must stay",
            reason=Reason.DOUBLED_BAND,
        )
    return keys[0] if keys else None


def names_of(asset: Mapping[str, Any]) -> set[str]:
    """Band names and common names of a one-band asset: ``eo:bands``, or ``bands`` in STAC 1.1."""
    lists = [dicts_in(asset, "eo:bands"), dicts_in(asset, "bands")]
    if max(map(len, lists)) > 1:
        return set()
    described = [band for bands in lists for band in bands]
    keys = ("name", "common_name", "eo:common_name")
    names = {str(band[key]) for band in described for key in keys if band.get(key)}
    return names | ({str(asset["eo:common_name"])} if asset.get("eo:common_name") else set())


def _band(item: StacFile, item_id: str, name: str) -> BandSource:
    key = find_asset(item, name, ALIASES[name])
    if key is None:
        there = ", ".join(sorted(item.assets)) or "none"
        raise Rejected(
            f"item {item_id} has no band '{name}' ({' or '.join(ALIASES[name][:1])}): "
            f"its assets are {there}",
            reason=Reason.MISSING_BAND,
        )
    asset = item.assets[key]
    _check_crs(asset, item_id)
    href = asset.get("href")
    if not isinstance(href, str) or not href:
        raise Rejected(f"asset '{key}' of item {item_id} has no href", reason=Reason.BAD_DOCUMENT)
    metadata = _raster_metadata(asset)
    default_dtype, default_nodata = ("uint16", 0.0) if name in REFLECTANCE else ("float32", "nan")
    nodata = metadata.get("nodata")
    try:
        number = float(default_nodata if nodata is None else nodata)
    except (TypeError, ValueError, OverflowError):
        raise Rejected(
            f"asset '{key}' of item {item_id} has the nodata value '{nodata}': it must be a number",
            reason=Reason.BAD_DOCUMENT,
        ) from None
    return BandSource(
        href=item.address_of(href, f"asset '{key}'"),
        dtype=str(metadata.get("data_type") or default_dtype),
        nodata=number,
        checksum=checksum_of(asset),
        size=_size_of(asset),
    )


def checksum_of(asset: Mapping[str, Any]) -> str | None:
    """Multihash of an asset's file, where the item has it."""
    value = asset.get("file:checksum") or asset.get("checksum:multihash")
    return str(value) if value else None


def _size_of(asset: Mapping[str, Any]) -> int | None:
    value = asset.get("file:size")
    return value if type(value) is int and value >= 0 else None


def _raster_metadata(asset: Mapping[str, Any]) -> dict[str, Any]:
    """``data_type`` and ``nodata`` of a one-band asset, wherever STAC 1.0 or 1.1 keeps them."""
    merged: dict[str, Any] = {}
    for holder in (asset, *dicts_in(asset, "bands")[:1], *dicts_in(asset, "raster:bands")[:1]):
        for key in ("data_type", "nodata"):
            if holder.get(key) is not None:
                merged[key] = holder[key]
    return merged


def _check_crs(holder: Mapping[str, Any], item_id: str) -> None:
    for found in crs_codes(holder):
        if found != CRS:
            raise Rejected(
                f"item {item_id} is in {found}: GeoMAD must be in {CRS}", reason=Reason.WRONG_CRS
            )
