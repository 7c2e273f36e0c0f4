"""What people say of the points of a sample: their labels, joined by id and by place.

Nothing is left out in silence: rows that are at no point of the sample, points that nobody has
labeled, and labels that are no class are all counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from cropmask.assess.change import CHANGE_NAMES, combine_classes
from cropmask.assess.design import Sample
from cropmask.assess.labelpoints import (
    LabeledPoint,
    LabelReport,
    PointColumns,
    collect_points,
    find_usual_id,
)
from cropmask.core.series import GAIN, LOSS, STABLE_CROP
from cropmask.errors import Reason, Rejected, list_some
from cropmask.grid import CRS

UNSURE: Final = frozenset(
    {
        *("unsure", "not sure", "uncertain", "unclear", "unknown", "mixed", "cloud", "clouds"),
        *("don't know", "dont know", "?", "-", "na", "n/a", "nan", "none", "null"),
    }
)
"""Answers that are no class. Any other word may be a class in words of its own: to leave out one
class's answers would turn every figure."""
UNLABELED: Final = -1
"""Reference class of a point that has none."""
_CROP_SINCE: Final = (STABLE_CROP, LOSS)
_CROP_UNTIL: Final = (STABLE_CROP, GAIN)
"""Classes of change that are crop in the first year, and in the last one."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Reference classes of the points of a sample, and what became of every row of the files."""

    reference: NDArray[np.int64]
    """1 crop, 0 not, :data:`UNLABELED`; ``(point,)`` in the order of the sample."""
    report: LabelReport
    """Answers that are no class: by value, ties of labelers, empty ones; and their agreement."""
    by_id: int
    """Labels whose id is a point's, and which lie there."""
    by_place: int
    """Other labels in the pixel of a point."""
    strangers: tuple[str, ...]
    """Ids of labels that are at no point of the sample."""
    contradicted: tuple[str, ...]
    """Ids of points with two labels that differ: they have none."""
    unplaced: int = 0
    """Labels by id from files without coordinates: they may be those of another sample."""
    since: Labels | None = None
    """Those of the first year, for a sample of change; the others are of the last year, but for
    ``reference``, which is the class of change."""

    @property
    def is_labeled(self) -> NDArray[np.bool_]:
        """Which points have a class, ``(point,)``."""
        return np.asarray(self.reference != UNLABELED)

    @property
    def missing(self) -> int:
        """Points without a class."""
        return int(np.count_nonzero(~self.is_labeled))

    def describe(self) -> Iterator[str]:
        """What became of labels and points, a line each."""
        total = len(self.reference)
        yield f"{total - self.missing:,} of {total:,} points have a class"
        joined = f"{self.by_id:,} by id"
        yield f"  joined         {joined}{f', {self.by_place:,} by place' if self.by_place else ''}"
        if self.since is not None:
            first, last = (found.report for found in (self.since, self))
            counts = [sum(report.unknown.values()) + report.unlabeled for report in (first, last)]
            if any(counts):
                yield f"  without class  {counts[0]:,} in the first year, {counts[1]:,} in the last"
        if self.unplaced:
            yield (
                f"  by id alone    {self.unplaced:,} labels have no coordinates: nobody can tell "
                "whether they are of this sample"
            )
        for value, count in list(self.report.unknown.items())[:8]:
            yield f"  no class       {count:,} '{value[:60]}'"
        if self.report.ties:
            yield f"  ties           {self.report.ties:,} places where labelers are divided"
        if self.report.unlabeled:
            yield f"  empty          {self.report.unlabeled:,} rows without a label"
        if self.contradicted:
            yield f"  contradicted   {_count(self.contradicted)}"
        if self.strangers:
            yield f"  not of this sample   {_count(self.strangers)}"
        if (agreement := self.report.agreement) is not None:
            kappa = (
                "" if agreement.kappa is None else f", {agreement.kind} kappa {agreement.kappa:.2f}"
            )
            yield (
                f"  agreement      {agreement.percent:.1f} % of pairs of answers by "
                f"{agreement.labelers} labelers at {agreement.places:,} places{kappa}"
            )


def _count(names: Sequence[str]) -> str:
    return f"{len(names):,}: {list_some(names, 5)}"


def join_labels(
    sample: Sample,
    files: Sequence[Path],
    columns: PointColumns | None = None,
    **options: Any,  # noqa: ANN401 (of load_points)
) -> Labels:
    """Labels of files for the points of a sample: by id, then by the pixel that they lie in.

    An id counts only where its place, if the file has one, is within two pixels of the point: names
    such as 1, 2, 3 are those of many surveys. A label that is no class, such as the guide's
    ``unsure``, leaves the point without one, and the others of its stratum stand for it. Files are
    CSV (coordinates are not needed if ids are there), GeoJSON, GeoPackage or exports of Collect
    Earth Online; several may be several labelers. Raises Rejected if no label is at a point of the
    sample, or a file cannot be understood; Misconfigured if one cannot be read.
    """
    columns = columns or PointColumns()
    numbers = {_fold(name): at for at, name in enumerate(sample.id.tolist())}
    unplaced = 0

    def find_place(row: Mapping[str, str]) -> tuple[float, float] | None:
        nonlocal unplaced
        unplaced += 1
        name = columns.id or find_usual_id(tuple(row))
        at = None if name is None else numbers.get(_fold(row.get(name, "")))
        return None if at is None else (float(sample.lon[at]), float(sample.lat[at]))

    points, report = collect_points(files, columns, find_place=find_place, **options)
    _check_words(report, files[0], columns)
    return _join(sample, numbers, points, report, unplaced, files[0])


def join_change_labels(
    sample: Sample,
    files: Sequence[Path],
    columns: PointColumns | None = None,
    **options: Any,  # noqa: ANN401 (of load_points)
) -> Labels:
    """Classes of change of labels in two columns, of the first and the last year of a sample.

    The columns are those that the design names, such as ``class_2019`` and ``class_2024``, unless
    ``columns`` names others, or one of words of change. A point has a class if both years have one.
    Raises as :func:`join_labels`.
    """
    columns = columns or PointColumns()
    since, until = (
        join_labels(sample, files, of_year, **options)
        for of_year in _divide_columns(columns, sample.design.label_columns)
    )
    known = since.is_labeled & until.is_labeled
    if not known.any():
        raise Rejected(
            f"points file {files[0]}: no point has a class in both years: label the first and the "
            "last year of each point",
            reason=Reason.BAD_SAMPLES,
        )
    reference = np.full(len(sample), UNLABELED, np.int64)
    reference[known] = combine_classes(since.reference[known], until.reference[known])
    contradicted = tuple(dict.fromkeys((*since.contradicted, *until.contradicted)))
    return replace(until, reference=reference, contradicted=contradicted, since=since)


def _divide_columns(columns: PointColumns, usual: Sequence[str]) -> Iterator[PointColumns]:
    """Columns of the first and of the last year; a column of words of change says both."""
    if columns.change is None:
        for given, name in zip((columns.since, columns.label), usual, strict=True):
            yield replace(columns, label=given or name)
        return
    for crop in (_CROP_SINCE, _CROP_UNTIL):
        other = {*range(len(CHANGE_NAMES))} - {*crop}
        yield replace(
            columns,
            label=columns.change,
            crop_values=tuple(CHANGE_NAMES[each] for each in crop),
            other_values=tuple(CHANGE_NAMES[each] for each in sorted(other)),
        )


def _check_words(report: LabelReport, path: Path, columns: PointColumns) -> None:
    """Rejected for answers that are neither a class nor one of those that say there is none."""
    strange = [value for value in report.unknown if value not in UNSURE]
    if strange:
        count = sum(report.unknown[value] for value in strange)
        names = list_some([f"'{value[:40]}'" for value in strange], 5)
        kind = "neither crop nor not" if columns.change is None else "no words of change"
        raise Rejected(
            f"points file {path}: {count:,} answers are {kind}: {names}: {columns.advice}",
            reason=Reason.BAD_SAMPLES,
        )


def _fold(name: str) -> str:
    """An id as it is compared: spreadsheets take leading zeros away, and make numbers of it."""
    word = name.strip()
    head, _, rest = word.partition(".")
    word = head if head.isdecimal() and not rest.strip("0") else word
    return word.lstrip("0") or word


def _join(
    sample: Sample,
    numbers: Mapping[str, int],
    points: Sequence[LabeledPoint],
    report: LabelReport,
    unplaced: int,
    path: Path,
) -> Labels:
    to_meters = Transformer.from_crs("OGC:CRS84", CRS, always_xy=True)
    x, y = to_meters.transform([point.lon for point in points], [point.lat for point in points])
    size = sample.design.resolution
    by_pixel: dict[tuple[int, int], list[int]] = {}  # plots may overlap
    for at, (px, py) in enumerate(zip(sample.x, sample.y, strict=True)):
        by_pixel.setdefault((int(px // size), int(py // size)), []).append(at)
    reference = np.full(len(sample), UNLABELED, np.int64)
    counts = {"id": 0, "place": 0}
    strangers, contradicted = [], set()
    for point, px, py in zip(points, x, y, strict=True):
        places = [
            at
            for at in [numbers.get(_fold(point.id))]
            if at is not None and max(abs(px - sample.x[at]), abs(py - sample.y[at])) <= 2 * size
        ]
        kind = "id" if places else "place"
        places = places or by_pixel.get((int(px // size), int(py // size)), [])
        if not places:
            strangers.append(point.id)
            continue
        counts[kind] += 1
        contradicted |= {at for at in places if reference[at] not in (UNLABELED, point.label)}
        reference[places] = point.label
    reference[sorted(contradicted)] = UNLABELED
    if not (reference != UNLABELED).any():
        advice = "give the labels of this sample"
        if _are_exchanged(sample, points):
            advice = "longitude and latitude are exchanged: correct the file"
        raise Rejected(
            f"points file {path}: none of {len(points):,} labels is at a point of the sample: "
            f"{advice}",
            reason=Reason.BAD_SAMPLES,
        )
    names = tuple(sample.id[sorted(contradicted)].tolist())
    return Labels(
        reference, report, counts["id"], counts["place"], tuple(strangers), names, unplaced
    )


def _are_exchanged(sample: Sample, points: Sequence[LabeledPoint]) -> bool:
    """Whether labels lie around the sample only with longitude and latitude exchanged."""
    margin = 0.1  # degrees, about 10 km

    def is_around(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
        near = [
            (there > here.min() - margin) & (there < here.max() + margin)
            for here, there in ((sample.lon, lon), (sample.lat, lat))
        ]
        return bool((near[0] & near[1]).any())

    lon, lat = (np.array([getattr(point, name) for point in points]) for name in ("lon", "lat"))
    return is_around(lat, lon) and not is_around(lon, lat)
