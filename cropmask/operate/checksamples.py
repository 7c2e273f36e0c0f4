"""What a table of samples says of itself, of regions, and of points that are to judge the map."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.errors import list_some
from cropmask.task import Period
from cropmask.training.samplecheck import (
    Leak,
    Repeats,
    find_leak,
    find_repeats,
    round_places,
)
from cropmask.training.samples import Samples, find_left_out

NOWHERE: Final = "no region"
_PERIOD: Final = re.compile(r'"period": "([-\dPY]+)"')


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Samples of each class."""

    crop: int
    other: int


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What is known and what is doubtful about samples."""

    rows: int
    crop: int
    same_features: Repeats
    same_place: Repeats | None
    """None if the samples do not say where they are from, as of everything below."""
    regions: Mapping[str, ClassCounts] | None
    """By the name of the region, and :data:`NOWHERE`; a border may be in several."""
    left_out: Mapping[str, tuple[str, ...]]
    """Ids of places without features, by the reason."""
    other_years: int | None
    """Samples with a date in another year than their features; None if that is not known."""
    leak: Leak | None = None


def check_samples(
    samples: Samples,
    boundaries: Mapping[str, shapely.Geometry],
    validation: NDArray[np.float64] | None = None,
    *,
    coordinates: NDArray[np.float64] | None = None,
    near_meters: float = 1000.0,
) -> SampleReport:
    """Look for everything that makes samples worth less than they seem.

    ``boundaries`` are of regions by name, EPSG:6933; ``validation`` points that are to judge the
    map, ``(row, 2)`` degrees: a sample nearer than ``near_meters`` to one knows it. ``coordinates``
    are ``(row, 2)`` EPSG:6933 meters where the samples do not say where they are from.
    """
    lon_lat = samples.origins.lon_lat
    if coordinates is None:
        coordinates = samples.origins.coordinates
    else:
        lon_lat = _to_degrees(coordinates)
    return SampleReport(
        len(samples.labels),
        samples.crop_rows,
        find_repeats(samples.features, samples.labels),
        None if lon_lat is None else find_repeats(round_places(lon_lat), samples.labels),
        None if coordinates is None else _count(coordinates, samples.labels, boundaries),
        find_left_out(samples.remarks),
        _count_other_years(samples),
        None
        if lon_lat is None or validation is None
        else find_leak(lon_lat, validation, near_meters),
    )


def _to_degrees(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:6933", "OGC:CRS84", always_xy=True)
    return np.column_stack(to_degrees.transform(*coordinates.T))


def _count(
    coordinates: NDArray[np.float64],
    labels: NDArray[np.uint8],
    boundaries: Mapping[str, shapely.Geometry],
) -> dict[str, ClassCounts]:
    found, nowhere = {}, np.ones(len(labels), np.bool_)
    for name, boundary in boundaries.items():
        shapely.prepare(boundary)
        inside = shapely.contains_xy(boundary, *coordinates.T)
        nowhere &= ~inside
        if inside.any():
            found[name] = _count_classes(labels[inside])
    if nowhere.any():
        found[NOWHERE] = _count_classes(labels[nowhere])
    return found


def _count_classes(labels: NDArray[np.uint8]) -> ClassCounts:
    crop = int(labels.sum())
    return ClassCounts(crop, len(labels) - crop)


def _count_other_years(samples: Samples) -> int | None:
    dates, found = samples.origins.dates, _PERIOD.search("\n".join(samples.remarks[:1]))
    if dates is None or found is None:
        return None
    period = Period.parse(found[1])
    start, end = str(period.start), str(period.end)
    return sum(
        date[:1].isdigit() and not start[: len(date)] <= date[:10] <= end[: len(date)]
        for date in dates
    )


@dataclass(frozen=True, slots=True)
class SampleFinding:
    """One line of what was found."""

    is_fine: bool
    text: str


def describe_samples(report: SampleReport, names: tuple[str, ...]) -> Iterator[SampleFinding]:
    """What was found, for people; ``names`` are those of the rows."""
    other = report.rows - report.crop
    share = 100 * report.crop / report.rows
    yield SampleFinding(
        0.1 <= report.crop / report.rows <= 0.9,
        f"{report.rows} samples: {report.crop} crop, {other} other ({share:.0f} percent crop)",
    )
    yield from _describe_repeats(report.same_features, "features", names)
    if report.same_place is None:
        yield SampleFinding(
            True, "the samples do not say where they are from: places cannot be compared"
        )
    else:
        yield from _describe_repeats(report.same_place, "place", names)
    for reason, ids in report.left_out.items():
        yield SampleFinding(False, f"{len(ids)} places were left out, {reason}: {_some(ids)}")
    for name, counts in (report.regions or {}).items():
        both = counts.crop > 0 and counts.other > 0 and name != NOWHERE
        yield SampleFinding(both, f"{name}: {counts.crop} crop, {counts.other} other")
    if report.other_years is not None:
        text = "have a date in another year than their features"
        yield SampleFinding(report.other_years == 0, f"{report.other_years} samples {text}")
    if report.leak is not None:
        yield from _describe_leak(report.leak, names)


def _describe_repeats(found: Repeats, what: str, names: tuple[str, ...]) -> Iterator[SampleFinding]:
    groups = "; ".join(_some([names[row] for row in rows]) for rows in found.examples)
    if found.contradictions:
        yield SampleFinding(
            False, f"{found.contradictions} times crop and other have the same {what}: {groups}"
        )
        groups = ""
    more = f": {groups}" if groups else ""
    text = f"{found.rows} samples repeat the {what} of another{more}"
    yield SampleFinding(found.rows == 0, text)


def _describe_leak(leak: Leak, names: tuple[str, ...]) -> Iterator[SampleFinding]:
    near = f"{leak.near_meters:g} m"
    yield SampleFinding(
        leak.near == 0,
        f"{leak.near} samples are nearer than {near} to one of {leak.points} validation points, of "
        f"which {leak.near_points} have such a sample; the nearest is {leak.nearest_meters:.0f} m "
        f"away, the median {leak.median_meters / 1000:.1f} km",
    )
    if leak.near:
        shown = ", ".join(
            f"{names[row]} ({meters:.0f} m from point {other + 1})"
            for row, other, meters in leak.examples
            if meters < leak.near_meters
        )
        yield SampleFinding(
            False,
            f"nearest: {shown}; leave them out of the samples, or the validation flatters the map",
        )


def _some(names: tuple[str, ...] | list[str]) -> str:
    return list_some(names, 5)
