"""Foreign STAC items, parsed once into values; nothing is read here."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from pyproj import Transformer

from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.errors import Rejected
from cropmask.grid import CRS, EPSG, Tile
from cropmask.io.address import resolve
from cropmask.product import SYNTHETIC
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

_TILE_IN_PATH: Final = re.compile(r"x(\d{3})[/_]?y(\d{3})")
_PERIOD_IN_PATH: Final = re.compile(r"\d{4}(?:-\d{2})?--P\d{1,2}[YM]")
_A_DAY: Final = timedelta(days=1)
_MAX_TITLE: Final = 300


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON document and where it was read: relative links in it start there."""

    content: Mapping[str, Any]
    href: str

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of an item."""
        found = self.content.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    def collection(self) -> str | None:
        """Collection of an item, or the product that it names instead."""
        return self.content.get("collection") or self.properties.get("odc:product")

    @property
    def assets(self) -> Mapping[str, Mapping[str, Any]]:
        """Assets of an item, by key."""
        found = self.content.get("assets")
        assets = found.items() if isinstance(found, dict) else ()
        return {key: asset for key, asset in assets if isinstance(asset, dict)}

    @property
    def links(self) -> tuple[Mapping[str, Any], ...]:
        """Links with an address, in their order."""
        links = dicts_in(self.content, "links")
        return tuple(link for link in links if link.get("href") and isinstance(link["href"], str))


def dicts_in(holder: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Objects in a list of a foreign document; empty if it is no list."""
    found = holder.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


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


def is_of_tile(item: Document, tile: Tile) -> bool:
    """Whether an item belongs to a tile: by region code, else by its center."""
    code = region_code(item)
    if code is not None:
        return code == str(tile)
    center = _center(item)
    if center is None:
        return False
    left, bottom, right, top = tile.bounds
    return left <= center[0] < right and bottom <= center[1] < top


def region_code(item: Document) -> str | None:
    """Tile that an item says it is of, in the padded form; None if it says none of ours."""
    for key in ("odc:region_code", "cubedash:region_code"):
        value = item.properties.get(key)
        if isinstance(value, str):
            try:
                return str(Tile.parse(value))
            except Rejected:
                continue
    return None


def interval_of(item: Document) -> tuple[date, date] | None:
    """First and last day (UTC) of an item; None if it has no date."""
    properties = item.properties
    for prefix in ("", "dtr:"):
        start = _moment(properties.get(f"{prefix}start_datetime"))
        end = _moment(properties.get(f"{prefix}end_datetime"))
        if start and end:
            # An end at midnight means the end of the day before.
            last = max(start, end - timedelta(microseconds=1))
            return start.date(), last.date()
    only = _moment(properties.get("datetime"))
    return (only.date(), only.date()) if only else None


def is_of_period(item: Document, period: Period) -> bool:
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


def name_of_period(item: Document) -> str | None:
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


def parse_geomad(item: Document, period: Period) -> GeoMad:
    """GeoMAD value of an item.

    Parameters
    ----------
    item
        A STAC item, version 1.0 or 1.1.
    period
        Its half-year.

    Raises
    ------
    Rejected
        If a band is missing or doubled, or the item is in another CRS.
    """
    item_id = item.content.get("id")
    if not (isinstance(item_id, str) and item_id and item_id.isprintable()):
        raise Rejected(f"the item {item.href} has no id: give it one", reason="bad document")
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


def _title(item: Document) -> str:
    title = item.properties.get("title")
    line = " ".join(title.split()) if isinstance(title, str) else ""
    return line[:_MAX_TITLE] if line.isprintable() else ""


def _created(item: Document) -> str | None:
    created = item.properties.get("created")
    return str(created) if _moment(created) else None


def find_asset(item: Document, name: str, aliases: tuple[str, ...] = ()) -> str | None:
    """Key of the asset of a name: by asset key, else by the band names inside the assets.

    Raises
    ------
    Rejected
        If several assets have that band name.
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
            reason="doubled band",
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


def _band(item: Document, item_id: str, name: str) -> BandSource:
    key = find_asset(item, name, ALIASES[name])
    if key is None:
        there = ", ".join(sorted(item.assets)) or "none"
        raise Rejected(
            f"item {item_id} has no band '{name}' ({' or '.join(ALIASES[name][:1])}): "
            f"its assets are {there}",
            reason="missing band",
        )
    asset = item.assets[key]
    _check_crs(asset, item_id)
    href = asset.get("href")
    if not isinstance(href, str) or not href:
        raise Rejected(f"asset '{key}' of item {item_id} has no href", reason="bad document")
    metadata = _raster_metadata(asset)
    default_dtype, default_nodata = ("uint16", 0.0) if name in REFLECTANCE else ("float32", "nan")
    nodata = metadata.get("nodata")
    try:
        number = float(default_nodata if nodata is None else nodata)
    except (TypeError, ValueError, OverflowError):
        raise Rejected(
            f"asset '{key}' of item {item_id} has the nodata value '{nodata}': it must be a number",
            reason="bad document",
        ) from None
    return BandSource(
        href=resolve(item.href, href),
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
    for found in _crs_codes(holder):
        if found != CRS:
            raise Rejected(
                f"item {item_id} is in {found}: GeoMAD must be in {CRS}", reason="wrong crs"
            )


def _crs_codes(holder: Mapping[str, Any]) -> Iterator[str]:
    if holder.get("proj:epsg"):
        yield f"EPSG:{holder['proj:epsg']}"
    if holder.get("proj:code"):
        yield str(holder["proj:code"]).upper()


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _center(item: Document) -> tuple[float, float] | None:
    """Center of an item in meters of EPSG:6933, from its pixel grid, else its bounding box."""
    try:
        return _center_of_grid(item) or _center_of_box(item)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _center_of_grid(item: Document) -> tuple[float, float] | None:
    transform, shape = (item.properties.get(f"proj:{key}") for key in ("transform", "shape"))
    if (
        isinstance(transform, list)
        and isinstance(shape, list)
        and f"EPSG:{EPSG}" in tuple(_crs_codes(item.properties))
    ):
        a, b, c, d, e, f = map(float, transform[:6])
        y, x = float(shape[0]) / 2, float(shape[1]) / 2
        return a * x + b * y + c, d * x + e * y + f
    return None


def _center_of_box(item: Document) -> tuple[float, float] | None:
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
