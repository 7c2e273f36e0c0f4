"""What the documents of a dataset are made from, and the small things they share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from odc.geo.geobox import GeoBox
from pyproj import Transformer

from cropmask import grid
from cropmask.core.cropmap import Statistics
from cropmask.core.seriesmap import SeriesStatistics
from cropmask.grid import GridWindow, Tile
from cropmask.product import (
    AREAS,
    BANDS,
    EXTRA_BANDS,
    FAMILY,
    SERIES_BANDS,
    Band,
    Product,
    with_extras,
)
from cropmask.region.attribution import UNSTATED, Attribution
from cropmask.task import Period, RunKey, describe_band_of

Document = dict[str, Any]
"""A JSON object."""

Bounds = tuple[float, float, float, float]
"""``(west, south, east, north)`` in degrees."""

ASSET_SUFFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{band.name: f"_{band.name}.tif" for band in BANDS},
        "visual": "_visual.tif",
        "thumbnail": "_thumbnail.png",
        "odc_metadata": ".odc-metadata.yaml",
        "checksums": ".sha1",
    }
)
"""Every file of a dataset except the item: asset key and end of the file's name, in the order
in which they are written."""
EXTRA_SUFFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {band.name: f"_{band.name}.tif" for band in EXTRA_BANDS}
)
"""The same of bands that a dataset has where they were asked for."""
_OTHERS: Final = tuple(key for key in ASSET_SUFFIXES if key not in {band.name for band in BANDS})
"""Files of a dataset that are no bands."""


def find_assets(bands: Iterable[Band]) -> tuple[str, ...]:
    """Asset keys of a dataset with some bands, in the order in which files are written."""
    return (*(band.name for band in bands), *_OTHERS)


def area_assets(bands: Iterable[str] = ()) -> tuple[str, ...]:
    """Those of an area, which is no dataset of a product; ``bands`` are extra ones."""
    return tuple(key for key in find_assets(with_extras(bands)) if key != "odc_metadata")


def suffixes_of(product: Product) -> dict[str, str]:
    """Ends of the names of all files that a dataset of a product may have, by asset key."""
    bands = SERIES_BANDS if product.is_series else (*BANDS, *EXTRA_BANDS)
    return {key: suffix_of(key) for key in find_assets(bands)}


def suffix_of(asset: str) -> str:
    """End of the name of the file of an asset."""
    return ASSET_SUFFIXES.get(asset, f"_{asset}.tif")


SYNTHETIC_MARK: Final = "SYNTHETIC "
"""Begins the titles of everything that shows the made-up world."""

MADE_UP: Final = f"{SYNTHETIC_MARK.rstrip()}: made from made-up inputs. Not a map of any place."

MULTIHASH_SHA256: Final = "1220"
"""Begins ``file:checksum``: multihash code of SHA2-256 and its length."""

VISUAL_PIXELS: Final = 1024
"""Longest edge of the visual asset."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One written file."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    """64 hexadecimal digits."""
    sha1: str
    """40 hexadecimal digits."""

    @property
    def multihash(self) -> str:
        """STAC's ``file:checksum``."""
        return f"{MULTIHASH_SHA256}{self.sha256}"


@dataclass(frozen=True, slots=True)
class Source:
    """One STAC item that the map was computed from."""

    id: str
    href: str
    """Address of the item."""
    title: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model that the map was computed with."""

    recipe: str
    """``forest`` or ``boosted``."""
    sha256: str
    """Digest of the model file."""
    href: str | None = None
    """Address of the model's card, if it is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFacts:
    """What the items of tiles and of areas say alike, beside their files."""

    period: Period
    resolution: int
    """Pixel size in meters."""
    run_key: RunKey
    as_of: str
    """Creation time of the newest input, RFC 3339 in UTC: the documents' only time stamp, so
    that equal inputs give equal bytes whenever they are run."""
    software: str
    """Version of this package."""
    sources: tuple[Source, ...]
    """GeoMAD items, in order of time."""
    statistics: Statistics | SeriesStatistics
    run_key_parts: Mapping[str, str] = field(default_factory=dict)
    """First digits of the digest of each part of the run key."""
    masks_not_applied: Mapping[str, str] = field(default_factory=dict)
    """Layer and the reason why its mask could not be applied."""
    synthetic: bool = False
    """Whether the inputs are the made-up world."""
    input_versions: Mapping[str, Document] = field(default_factory=dict)
    """Inputs that had several versions: which one was used, and which were passed over."""
    attribution: Attribution = UNSTATED
    """Whom the map is owed to, and on which terms."""
    bands: tuple[str, ...] = ()
    """Names of extra bands."""
    calibrations: Mapping[str, str] = field(default_factory=dict)
    """By region, where calibrated percentages are from."""
    seamless: Document | None = None
    """Colors shared with other maps, and the neighbors in the margin; None for a map by itself."""
    half_years: Document | None = None
    """Of a season: the model's half-years, and the year of dated layers; None of a calendar year,
    where nothing can be meant but its own."""

    @property
    def title(self) -> str:
        """Title of the item: year and place in words."""
        raise NotImplementedError

    @property
    def box(self) -> GeoBox:
        """Pixel grid of the data assets."""
        raise NotImplementedError

    def file_name(self, asset: str) -> str:
        """Name of the file of an asset."""
        raise NotImplementedError

    @property
    def visual_box(self) -> GeoBox:
        """Pixel grid of the visual asset: see :func:`visual_box`."""
        return visual_box(self.box)

    @property
    def lineage(self) -> dict[str, list[str]]:
        """Sources as the Open Data Cube names them: those whose id is a UUID."""
        ids = [source.id for source in self.sources if _is_uuid(source.id)]
        return {self.source_name: ids} if ids else {}

    @property
    def is_series(self) -> bool:
        """Whether it is made of the maps of years, and not of GeoMAD."""
        return False

    @property
    def source_name(self) -> str:
        """What the sources are to the map, in a word."""
        return FAMILY if self.is_series else "geomad"

    @property
    def data_bands(self) -> tuple[Band, ...]:
        """Bands of the dataset, extra ones last."""
        return with_extras(self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFacts(MapFacts):
    """Everything that the item of one tile says, beside its files."""

    product: Product
    tile: Tile
    model: ModelFacts
    region_title: str = ""
    """The region in words; its name if there are none."""
    series: Document | None = None
    """Of a series: its years, its rates with their intervals, and what its evidence is from."""

    @property
    def id(self) -> str:
        """Id of the item and of the EO3 document."""
        return item_id(self.product, self.tile, self.period)

    @property
    def title(self) -> str:
        """Title of the item: year and place in words."""
        west, south, east, north = degrees_box(*self.tile.bounds)
        place = format_place((west + east) / 2, (south + north) / 2)
        where = f"{self.region_title or self.product.region}, tile {self.tile} at {place}"
        words = f"Cropland {self.period.words}"
        if self.is_series:
            words = f"Change of cropland {self.period.words}"
        return mark_title(f"{words}, {where}", synthetic=self.synthetic)

    @property
    def is_series(self) -> bool:
        """Whether it is made of the maps of years, and not of GeoMAD."""
        return self.product.is_series

    @property
    def data_bands(self) -> tuple[Band, ...]:
        """Bands of the dataset, extra ones last."""
        bands = self.product.bands(self.bands)
        return tuple(describe_band_of(band, self.period) for band in bands)

    @property
    def label(self) -> str:
        """Name of the dataset in the Open Data Cube."""
        label = self.product.label(str(self.tile), str(self.period))
        return mark_title(label, synthetic=self.synthetic)

    @property
    def box(self) -> GeoBox:
        """Pixel grid of the data assets."""
        return grid.geobox(self.tile, self.resolution)

    def file_name(self, asset: str) -> str:
        """Name of the file of an asset."""
        return self.product.file_name(str(self.tile), str(self.period), suffix_of(asset))


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaFacts(MapFacts):
    """Everything that the item of an area of one's own says, beside its files."""

    name: str
    """Name of its folder and files."""
    digest: str
    """SHA-256 of its polygons."""
    geometry: Document
    """Its polygons in degrees, as GeoJSON."""
    bounds: Bounds
    window: GridWindow
    """Its pixels and those around it, on the product's grid."""
    models: Mapping[Product, ModelFacts]
    """Models of the regions that it lies in."""

    @property
    def id(self) -> str:
        """Id of the item: a UUID of polygons, regions and period, the same on every run."""
        regions = ",".join(product.name for product in self.models)
        return str(uuid5(NAMESPACE_URL, f"{AREAS}/{self.digest}/{regions}/{self.period}"))

    @property
    def title(self) -> str:
        """Title of the item: year and place in words."""
        west, south, east, north = self.bounds
        place = format_place((west + east) / 2, (south + north) / 2, digits=2)
        title = f"Cropland {self.period.words}, {self.name} at {place}"
        return mark_title(title, synthetic=self.synthetic)

    @property
    def box(self) -> GeoBox:
        """Pixel grid of the data assets."""
        return self.window.geobox

    def file_name(self, asset: str) -> str:
        """Name of the file of an asset."""
        return area_file(self.name, self.period, suffix_of(asset))


def area_file(name: str, period: Period, suffix: str) -> str:
    """Name of one file of an area."""
    return f"{FAMILY}_{name}_{period}{suffix}"


def mark_title(title: str, *, synthetic: bool) -> str:
    """A title that begins with ``SYNTHETIC`` if what it names shows the made-up world."""
    return f"{SYNTHETIC_MARK}{title}" if synthetic else title


def item_id(product: Product, tile: Tile, period: Period) -> str:
    """Id of a dataset: a UUID of product, version, tile and period, the same on every run."""
    return str(uuid5(NAMESPACE_URL, f"{product.name}/{product.version}/{tile}/{period}"))


def encode_json(document: Document) -> str:
    """Text of a document: two spaces, order as built, newline at the end; NaN is a ValueError."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def make_sha1_text(files: Iterable[FileFacts]) -> str:
    """Text of the checksum sidecar, as Digital Earth Africa writes it: digest, tab, file name."""
    lines = sorted((file.name, file.sha1) for file in files)
    return "".join(f"{sha1}\t{name}\n" for name, sha1 in lines)


def degrees_box(left: float, bottom: float, right: float, top: float, *, digits: int = 6) -> Bounds:
    """``(west, south, east, north)`` in degrees of a box in EPSG:6933, rounded to 0.1 m."""
    lonlat = Transformer.from_crs(grid.EPSG, 4326, always_xy=True)
    west, south = lonlat.transform(left, bottom)
    east, north = lonlat.transform(right, top)
    return round(west, digits), round(south, digits), round(east, digits), round(north, digits)


def format_place(longitude: float, latitude: float, *, digits: int = 1) -> str:
    """A place as people write it: ``36.8° E, 1.3° S``."""
    east, north = "W" if longitude < 0 else "E", "S" if latitude < 0 else "N"
    return f"{abs(longitude):.{digits}f}° {east}, {abs(latitude):.{digits}f}° {north}"


def visual_box(box: GeoBox) -> GeoBox:
    """Pixel grid of the visual asset: the same box in whole pixels, at most 1024 a side."""
    factor = -(-max(box.shape) // VISUAL_PIXELS)
    return box.zoom_to((-(-box.shape[0] // factor), -(-box.shape[1] // factor)))


def _is_uuid(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None
