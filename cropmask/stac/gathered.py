"""Collections of results: a product's collection with the items that are there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from cropmask.core.cropmap import Statistics
from cropmask.grid import Tile
from cropmask.product import BANDS
from cropmask.stac import assets
from cropmask.stac.facts import SYNTHETIC, Document
from cropmask.stac.styles import STYLE_TYPES, style_file

AREAS: Final = tuple(field.name for field in fields(Statistics) if field.name.endswith("_hectares"))
"""Statistics that add up over tiles."""
PARQUET: Final = "items.parquet"
STATISTICS: Final = "statistics.csv"
SUMS: Final = "cropmask:statistics"
"""Where a collection has the areas of its items, by period."""
THUMBNAIL: Final = "thumbnail.png"
_SHARE: Final = "crop_percent"


@dataclass(frozen=True, slots=True)
class Linked:
    """An item of a product and where it is."""

    key: str
    """Key below the root of the results."""
    item: Document

    @property
    def properties(self) -> Document:
        """Properties of the item."""
        found: Document = self.item["properties"]
        return found

    @property
    def tile(self) -> str:
        """Name of the tile."""
        return str(self.properties["odc:region_code"])

    @property
    def place(self) -> Tile:
        """The tile."""
        return Tile.parse(self.tile)

    @property
    def period(self) -> str:
        """Folder of the period, as ``2019--P1Y``."""
        return self.key.split("/")[-2]

    @property
    def statistics(self) -> Document:
        """Figures of the tile."""
        found: Document = self.properties["cropmask:statistics"]
        return found


def make_assets(product: str, *, results: bool, parquet: bool = False) -> Document:
    """Assets of a product's collection, by paths from ``{product}/collection.json``.

    Parameters
    ----------
    product
        Name of the product.
    results
        Whether statistics of results are beside it.
    parquet
        Whether the items are there as stac-geoparquet too.
    """
    known: Document = {
        "thumbnail": _asset(THUMBNAIL, "image/png", "Where the region is", "thumbnail"),
        "odc-product": _asset(
            f"{product}.odc-product.yaml", "text/yaml", "Open Data Cube product", "metadata"
        ),
    }
    if results:
        known["thumbnail"]["title"] = "Share of cropland by tile"
        known["statistics"] = _asset(STATISTICS, "text/csv", "Figures of every tile", "metadata")
    if parquet:
        known["items"] = _asset(
            PARQUET,
            "application/vnd.apache.parquet",
            "All items, stac-geoparquet",
            "collection-mirror",
        )
    kinds = {"qml": "QGIS style", "sld": "SLD style"}
    for band in BANDS:
        for kind, words in kinds.items():
            title = f"{words} of {band.name}"
            known[f"{kind}-{band.name}"] = _asset(
                f"../{style_file(band, kind)}", STYLE_TYPES[kind], title, "style"
            )
    return known


def _asset(name: str, kind: str, title: str, role: str) -> Document:
    href = name if name.startswith("../") else f"./{name}"
    return {"href": href, "type": kind, "title": title, "roles": [role]}


def gather(base: Document, found: Sequence[Linked], extra: Mapping[str, Any]) -> Document:
    """A product's collection that links its items and sums them up.

    Parameters
    ----------
    base
        The collection without items, by :func:`~cropmask.stac.collection.make_collection`.
    found
        Items, in the order of their links.
    extra
        Assets of the collection.
    """
    document = {**base, "assets": dict(extra)}
    document["links"] = [
        *(link for link in base["links"] if link["rel"] != "item"),
        *(_link(str(base["id"]), each) for each in found),
    ]
    if not found:
        return document
    known = [each.properties for each in found]
    document["extent"] = _extent(found)
    document["summaries"] = {
        **base["summaries"],
        "gsd": sorted({each["gsd"] for each in known}),
        "version": sorted({str(each["version"]) for each in known}),
        "cropmask:synthetic": sorted({bool(each["cropmask:synthetic"]) for each in known}),
    }
    document[SUMS] = summarize(found)
    return document


def is_synthetic(found: Iterable[Linked]) -> bool:
    """Whether an item shows the made-up world."""
    return any(each.properties["cropmask:synthetic"] for each in found)


def _link(product: str, each: Linked) -> Document:
    href = f"./{each.key.removeprefix(f'{product}/')}"
    mark = SYNTHETIC if each.properties["cropmask:synthetic"] else ""
    title = f"{mark}{each.tile} {each.period}"
    return assets.make_link("item", href, "application/geo+json", title)


def _extent(found: Sequence[Linked]) -> Document:
    wests, souths, easts, norths = zip(*(each.item["bbox"] for each in found), strict=True)
    starts = [str(each.properties["start_datetime"]) for each in found]
    ends = [str(each.properties["end_datetime"]) for each in found]
    return {
        "spatial": {"bbox": [[min(wests), min(souths), max(easts), max(norths)]]},
        "temporal": {"interval": [[min(starts), max(ends)]]},
    }


def summarize(found: Iterable[Linked]) -> Document:
    """Sums of the tiles' areas by period, hectares; counted from the map, thus biased."""
    by_period: dict[str, list[Linked]] = {}
    for each in found:
        by_period.setdefault(each.period, []).append(each)
    return {period: _total(by_period[period]) for period in sorted(by_period)}


def _total(found: Sequence[Linked]) -> Document:
    total: Document = {"tiles": len(found)}
    total |= {
        name: round(sum(float(each.statistics.get(name) or 0) for each in found), 4)
        for name in AREAS
    }
    return total | {_SHARE: _percent(total)}


def _percent(areas: Mapping[str, Any]) -> float | None:
    mapped = areas["mapped_hectares"]
    return round(100 * areas["crop_filtered_hectares"] / mapped, 2) if mapped else None


def crop_share(each: Linked) -> float | None:
    """Share of filtered cropland in the mapped land of a tile, percent; None without land."""
    return _percent(each.statistics)


def make_statistics_csv(found: Iterable[Linked]) -> str:
    """Table of all tiles and periods: areas in hectares and the share of filtered cropland."""
    text = io.StringIO()
    columns = ("tile", "period", "version", "resolution", "recipe", *AREAS, "mean_probability")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*columns, _SHARE))
    for each in found:
        row = (
            each.tile,
            each.period,
            each.properties["version"],
            each.properties["cropmask:resolution"],
            each.properties["cropmask:model"].get("recipe"),
            *(each.statistics.get(name) for name in (*AREAS, "mean_probability")),
            crop_share(each),
        )
        writer.writerow(["" if value is None else value for value in row])
    return text.getvalue()
