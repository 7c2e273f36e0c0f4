"""Areas of many tiles: their sums by period, and a table of all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from cropmask.core.cropmap import Statistics
from cropmask.core.seriesmap import SeriesStatistics
from cropmask.product import CALIBRATED, SERIES_FAMILY, SPREAD, find_family
from cropmask.stac.facts import Document
from cropmask.stac.item import ResultItem

AREAS: Final = tuple(field.name for field in fields(Statistics) if field.name.endswith("_hectares"))
"""Statistics that add up over tiles."""
SERIES_AREAS: Final = tuple(field.name for field in fields(SeriesStatistics))
"""The same of tiles of a series."""
EXTRA_AREAS: Final = ("unlike_hectares", "unlike_crop_hectares")
"""The same of extra bands: land, and cropland, outside the training data."""
_EXTRA_MEANS: Final = tuple(f"mean_{band.name}" for band in (CALIBRATED, SPREAD))
_SHARE: Final = "crop_percent"


def sum_areas(items: Iterable[ResultItem]) -> Document:
    """Sums of the tiles' areas by period, hectares; counted from the map, thus biased."""
    by_period: dict[str, list[ResultItem]] = {}
    for item in items:
        by_period.setdefault(item.period, []).append(item)
    return {period: _total(by_period[period]) for period in sorted(by_period)}


def _total(items: Sequence[ResultItem]) -> Document:
    total: Document = {"tiles": len(items)}
    total |= {
        name: round(sum(float(item.statistics.get(name) or 0) for item in items), 4)
        for name in (*_areas_of(items), *_find_extra(items, EXTRA_AREAS))
    }
    return total | {_SHARE: _percent(total)}


def _areas_of(items: Iterable[ResultItem]) -> tuple[str, ...]:
    """Areas that items of one product have."""
    is_series = any(find_family(item.product) == SERIES_FAMILY for item in items)
    return SERIES_AREAS if is_series else AREAS


def _percent(areas: Mapping[str, Any]) -> float | None:
    mapped, crop = areas["mapped_hectares"], "crop_filtered_hectares"
    found = areas[crop if crop in areas else "crop_hectares"]
    return round(100 * found / mapped, 2) if mapped else None


def _find_extra(items: Iterable[ResultItem], names: Sequence[str]) -> tuple[str, ...]:
    """Those figures of extra bands that some item has."""
    return tuple(name for name in names if any(name in item.statistics for item in items))


def crop_share(item: ResultItem) -> float | None:
    """Share of filtered cropland in the mapped land of a tile, percent; None without land."""
    return _percent(item.statistics)


def make_statistics_csv(items: Iterable[ResultItem]) -> str:
    """Table of all tiles and periods: areas in hectares and the share of filtered cropland."""
    text = io.StringIO()
    items = [*items]
    extra = _find_extra(items, (*EXTRA_AREAS, *_EXTRA_MEANS))
    areas = _areas_of(items)
    figures = areas if areas == SERIES_AREAS else (*areas, "mean_probability")
    columns = ("tile", "period", "version", "resolution", "recipe", *figures)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*columns, _SHARE, *extra))
    for item in items:
        row = (
            str(item.tile),
            item.period,
            item.version,
            item.resolution,
            item.model.get("recipe"),
            *(item.statistics.get(name) for name in figures),
            crop_share(item),
            *(item.statistics.get(name) for name in extra),
        )
        writer.writerow(["" if value is None else value for value in row])
    return text.getvalue()
