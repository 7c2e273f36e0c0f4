"""Labeled places from files: their class, id and date, and what had to be left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from cropmask.assess.change import CHANGE_NAMES
from cropmask.errors import Reason, Rejected
from cropmask.sources.points import PointTable, find_column, load_points
from cropmask.training.labels import (
    Agreement,
    CeoColumns,
    LabelRules,
    find_agreement,
    find_ceo_columns,
    group_answers,
    take_majority,
)

LABEL_COLUMNS: Final = ("class", "label", "landcover", "land_cover", "crop")
DATE_COLUMNS: Final = ("date", "sample_date")
ID_COLUMNS: Final = ("id", "fid")
LABELER_COLUMNS: Final = ("labeler", "labeller", "interpreter", "email")
_DATE: Final = re.compile(r"(\d{4})(?:([-/])(\d\d?)(?:\2(\d\d?)(?:[T ].*)?)?)?")
_SAME_PLACE: Final = 1e-4
"""Degrees that the rows of one sample of Collect Earth Online may lie apart."""


@dataclass(frozen=True, slots=True)
class PointColumns:
    """What users say of the columns of their files; None for the usual ones."""

    label: str | None = None
    id: str | None = None
    date: str | None = None
    crop_values: tuple[str, ...] = ()
    other_values: tuple[str, ...] = ()
    since: str | None = None
    """Column of the classes of the first year, for a sample of change."""
    change: str | None = None
    """Column of words of change, in place of one for each year."""

    @property
    def advice(self) -> str:
        """What to do about answers that are no class."""
        if self.change is not None:
            return f"write {', '.join(CHANGE_NAMES)}, or 'unsure' where nobody can tell"
        return (
            "say with --crop-values and --other-values which of them are crop and which are not, "
            "and write 'unsure' where nobody can tell"
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabeledPoint:
    """A place with a class."""

    id: str
    label: int
    """1 crop, 0 not."""
    geometry: shapely.Geometry
    """Point or polygon in meters of EPSG:6933."""
    lon: float
    """Degrees, of a point on the polygon as well."""
    lat: float
    date: str | None = None


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What became of the rows of the files."""

    rows: int
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Places whose label is none of the values of the two classes, by the value as it is compared
    (:func:`~cropmask.training.labels.fold_label`)."""
    ties: int = 0
    """Places where labelers are divided."""
    unlabeled: int = 0
    """Places that nobody labeled, or that all labelers flagged."""
    unread_dates: int = 0
    """Places whose date is none like 2019-05-31: it counts as unknown."""
    agreement: Agreement | None = None

    @property
    def left_out(self) -> int:
        """Places without a class."""
        return sum(self.unknown.values()) + self.ties + self.unlabeled


def collect_points(
    files: Sequence[Path],
    columns: PointColumns | None = None,
    **options: Any,  # noqa: ANN401 (of load_points)
) -> tuple[tuple[LabeledPoint, ...], LabelReport]:
    """Labeled places of files of one kind, and what was left out.

    ``options`` are those of :func:`~cropmask.sources.points.load_points`.

    Raises Rejected if there is no label, an id comes twice, or no place has a class; Misconfigured
    if a file cannot be read.
    """
    columns = columns or PointColumns()
    rules = LabelRules.of(columns.crop_values, columns.other_values)
    tables = [load_points(path, **options) for path in files]
    exports = [ceo for table in tables if (ceo := find_ceo_columns(table.columns))]
    if exports and len(exports) < len(tables):
        raise _bad(files[0], "exports of Collect Earth Online cannot be mixed with other files")
    places = _find_answers(tables, exports, columns) if exports else _find_rows(tables, columns)
    found, report = _classify(places, rules, sum(len(table.rows) for table in tables))
    if not found:
        values = ", ".join(f"'{value}'" for value in list(report.unknown)[:8])
        raise _bad(
            files[0],
            f"no row has a class: its labels are {values or 'empty'}; {columns.advice}",
        )
    return found, report


def _bad(path: Path, problem: str) -> Rejected:
    return Rejected(f"points file {path}: {problem}", reason=Reason.BAD_SAMPLES)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place with all answers to the question what it is, by labeler."""

    table: PointTable
    row: int
    id: str
    date: str
    answers: dict[str, str]


def _find_rows(tables: Sequence[PointTable], columns: PointColumns) -> Iterator[_Place]:
    """Every id is a place with the answers of its labelers, whom a column or the file names."""
    found: dict[str, _Place] = {}
    number = 0
    for table in tables:
        label = find_column(table, columns.label, LABEL_COLUMNS)
        if label is None:
            raise _bad(table.path, "it has no column 'class': name one of its own with --label")
        name, date = _find_names(table, columns)
        person = find_column(table, None, LABELER_COLUMNS)
        for at, row in enumerate(table.rows):
            number += 1
            identity = (row.get(name, "") if name else "") or str(number)
            labeler = row.get(person, "") if person else str(table.path)
            answers = {labeler: row.get(label, "")}
            place = _Place(table, at, identity, row.get(date or "", ""), answers)
            known = found.setdefault(identity, place)
            if known is not place:
                _add_answer(known, place)
    for place in found.values():
        given = {labeler: answer for labeler, answer in place.answers.items() if answer}
        yield replace(place, answers=given)


def _add_answer(known: _Place, place: _Place) -> None:
    """Add what another labeler says of a place; Rejected if it is no other, or another place."""
    (labeler,) = place.answers
    here, there = (each.table.lon_lat[each.row] for each in (known, place))
    if labeler in known.answers or not np.allclose(here, there, rtol=0, atol=_SAME_PLACE):
        raise _bad(
            place.table.path,
            f"the id '{place.id[:60]}' is there several times, in row {place.row + 1} as well: "
            "correct it, name another column with --id, or say who labels in a column 'labeler'",
        )
    known.answers[labeler] = place.answers[labeler]


def _find_names(table: PointTable, columns: PointColumns) -> tuple[str | None, str | None]:
    """Columns of ids and dates, if there are any."""
    name = find_column(table, columns.id, ()) if columns.id else find_usual_id(table.columns)
    return name, find_column(table, columns.date, DATE_COLUMNS)


def find_usual_id(columns: Sequence[str]) -> str | None:
    """The column that ids usually have, if there is one."""
    low = {column.lower(): column for column in reversed(columns)}
    return next((low[name] for name in ID_COLUMNS if name in low), None)


def _find_answers(
    tables: Sequence[PointTable], exports: Sequence[CeoColumns], columns: PointColumns
) -> Iterator[_Place]:
    """Samples of Collect Earth Online, each with the answers of its labelers."""
    answers: dict[tuple[str, str], dict[str, str]] = {}
    first: dict[tuple[str, str], tuple[PointTable, int]] = {}
    for table, export in zip(tables, exports, strict=True):
        question = columns.label or _find_question(table, export)
        find_column(table, question, ())
        for key, found in group_answers(table.rows, export, question).items():
            at = next(iter(found.values()))[0]
            before, row = first.setdefault(key, (table, at))
            if not np.allclose(before.lon_lat[row], table.lon_lat[at], rtol=0, atol=_SAME_PLACE):
                raise _bad(table.path, f"sample {key[1]} of plot {key[0]} lies in two places")
            known = answers.setdefault(key, {})
            if again := known.keys() & found.keys():
                raise _bad(table.path, f"labeler '{min(again)}' is in another file as well")
            known.update({labeler: answer for labeler, (_, answer) in found.items()})
    for key, said in answers.items():
        table, row = first[key]
        _, date = _find_names(table, columns)
        given = {labeler: answer for labeler, answer in said.items() if answer}
        yield _Place(table, row, "-".join(key), table.rows[row].get(date or "", ""), given)


def _find_question(table: PointTable, export: CeoColumns) -> str:
    if len(export.questions) != 1:
        names = ", ".join(f"'{name[:60]}'" for name in export.questions) or "none"
        raise _bad(table.path, f"it has several questions or none: give --label, one of {names}")
    return export.questions[0]


def _classify(
    places: Iterable[_Place], rules: LabelRules, rows: int
) -> tuple[tuple[LabeledPoint, ...], LabelReport]:
    found: list[LabeledPoint] = []
    unknown: Counter[str] = Counter()
    everything: list[Mapping[str, str]] = []
    ties = unlabeled = unread = 0
    for place in places:
        everything.append(place.answers)
        answer = take_majority(place.answers.values()) if place.answers else ""
        label = None if answer is None else rules.class_of(answer)
        if answer is None:
            ties += 1
        elif not answer:
            unlabeled += 1
        elif label is None:
            unknown[answer] += 1
        else:
            date = _parse_date(place.date)
            unread += bool(place.date) and date is None
            lon, lat = map(float, place.table.lon_lat[place.row])
            geometry = place.table.geometries[place.row]
            found.append(LabeledPoint(place.id, label, geometry, lon, lat, date))
    ordered = dict(unknown.most_common())
    agreement = find_agreement(everything)
    return tuple(found), LabelReport(rows, ordered, ties, unlabeled, unread, agreement)


def _parse_date(text: str) -> str | None:
    """A year, month or day as ISO 8601 has it; None for anything else."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, _, month, day = match.groups()
    try:
        whole = date(int(year), int(month or 1), int(day or 1)).isoformat()
    except ValueError:
        return None
    return whole[: 10 if day else 7 if month else 4]
