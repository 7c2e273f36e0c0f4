"""Training samples: a text table with a header, checked row by row before anything is fitted.

Beside the class and the features, columns may say where and when each sample is from.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from cropmask.core.features import FEATURES
from cropmask.core.formulas import compute_rows, parse_formula
from cropmask.errors import Misconfigured, Reason, Rejected, list_some
from cropmask.grid import CRS

CLASS: Final = "Class"
PLACE: Final = ("lon", "lat")
WORDS: Final = ("id", "date", "tile")
ORIGIN: Final = ("id", *PLACE, "date", "tile", "pixels")
"""Columns that say where and when a sample is from; a table may have any of them."""
UNKNOWN: Final = "-"
"""Stands in a column of words where nothing is known."""
LEFT_OUT: Final = "left out:"
"""Begins the remark on a place that has no features."""
MAX_BYTES: Final = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Where and when samples are from, row by row; None for a column that the table has not."""

    ids: tuple[str, ...] | None = None
    lon_lat: NDArray[np.float64] | None = None
    """``(row, 2)``: longitude and latitude in degrees."""
    dates: tuple[str, ...] | None = None
    """As in ISO 8601; :data:`UNKNOWN` where a row has none."""
    tiles: tuple[str, ...] | None = None
    pixels: NDArray[np.int64] | None = None
    """``(row,)``: pixels that the features are medians of; 1 for a point."""

    @property
    def coordinates(self) -> NDArray[np.float64] | None:
        """``(row, 2)``: x and y in EPSG:6933 meters, as :func:`load_coordinates` gives them."""
        if self.lon_lat is None:
            return None
        from pyproj import Transformer

        to_meters = Transformer.from_crs("OGC:CRS84", CRS, always_xy=True)
        return np.column_stack(to_meters.transform(*self.lon_lat.T))


@dataclass(frozen=True, slots=True, eq=False)
class SampleRow:
    """One sample as it is written."""

    id: str
    lon: float
    """Degrees."""
    lat: float
    date: str | None
    tile: str
    pixels: int
    label: int
    """1 crop, 0 not."""
    features: NDArray[np.float32]
    """In the order of :data:`FEATURES`, then of the table's expressions."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Labeled rows, all finite."""

    names: tuple[str, ...]
    """The 33 :data:`FEATURES`, then the expressions that the table has columns of."""
    features: NDArray[np.float32]
    """``(row, feature)``."""
    labels: NDArray[np.uint8]
    """``(row,)``: 1 crop, 0 not."""
    sha256: str
    """SHA-256 of the file."""
    origins: Origins = Origins()
    remarks: tuple[str, ...] = ()
    """Lines of the file that begin with ``#``, after the header, without the sign."""

    @property
    def crop_rows(self) -> int:
        """Number of rows that are crop."""
        return int(self.labels.sum())

    def compute(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Features ``(row, feature)`` of any list of texts of :mod:`cropmask.core.formulas`.

        An expression that the table has is taken from there, others are computed from the 33.
        """
        if tuple(names) == self.names:
            return self.features
        return compute_rows(names, self.names, self.features)


def load_samples(path: Path) -> Samples:
    """Samples of a text file: a header of names, then rows of values separated by spaces.

    The header names ``Class`` and the 33 features, in any order, after an optional ``#``. It may
    also name :data:`ORIGIN`, and expressions of :mod:`cropmask.core.formulas`. Lines after it that
    begin with ``#`` are remarks.

    Raises Misconfigured if the file cannot be read; Rejected if it is not a complete table of
    finite numbers with both classes.
    """
    data, lines = _load_lines(path)
    columns = _parse_header(path, lines)
    remarks = tuple(line[1:].strip() for line in lines[1:] if line.startswith("#"))
    rows = [lines[0], *("" if line.startswith("#") else line for line in lines[1:])]
    words: dict[str, list[str]] = {name: [] for name in WORDS if name in columns}
    table = _parse_rows(path, rows, columns, words)
    numbers = [name for name in columns if name not in WORDS]
    labels = table[:, numbers.index(CLASS)]
    _check_labels(path, labels)
    expressions = [name for name in columns if "(" in name]
    order = [numbers.index(name) for name in (*FEATURES, *expressions)]
    features = np.ascontiguousarray(table[:, order], dtype=np.float32)
    return Samples(
        (*FEATURES, *expressions),
        features,
        labels.astype(np.uint8),
        sha256(data).hexdigest(),
        _parse_origins(path, numbers, table, words),
        remarks,
    )


def encode_header(expressions: Sequence[str] = ()) -> str:
    """First line of a table with all columns, as :func:`load_samples` reads it."""
    # Words of a line are columns, and spaces mean nothing in an expression.
    more = [text.replace(" ", "") for text in expressions]
    return f"# {' '.join((*ORIGIN, CLASS, *FEATURES, *more))}\n"


def encode_row(row: SampleRow) -> str:
    """Line of a sample; every number is read back as it is."""
    values = [_quote(row.id), f"{row.lon:.9f}", f"{row.lat:.9f}", _quote(row.date or UNKNOWN)]
    values += [row.tile, str(row.pixels), str(row.label)]
    values += [f"{value:.9g}" for value in row.features]
    return f"{' '.join(values)}\n"


def _quote(text: str) -> str:
    """A text as one word that begins no remark."""
    signs = (quote(sign) if sign in "%#" or sign.isspace() else sign for sign in text)
    return "".join(signs) or UNKNOWN


def find_left_out(remarks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Ids of places that remarks of a table say have no features, by the reason."""
    said = [remark.removeprefix(LEFT_OUT) for remark in remarks if remark.startswith(LEFT_OUT)]
    try:
        return group_left_out([json.loads(document) for document in said])
    except (ValueError, TypeError, KeyError):
        return {}  # somebody's own words


def group_left_out(places: Iterable[Mapping[str, object]]) -> dict[str, tuple[str, ...]]:
    """Ids of places by the reason that they have no features."""
    found: dict[str, list[str]] = defaultdict(list)
    for place in places:
        found[str(place["reason"])].append(str(place["id"]))
    return {reason: tuple(ids) for reason, ids in sorted(found.items())}


def load_coordinates(path: Path, rows: int) -> NDArray[np.float64]:
    """Coordinates ``(row, 2)``: x and y of each of ``rows`` samples in EPSG:6933 meters.

    The text file has two columns; a header line that begins with ``#`` is skipped.

    Raises Misconfigured if the file cannot be read; Rejected if it has not one pair of finite
    numbers for each sample.
    """
    _, lines = _load_lines(path)
    has_header = bool(lines[:1]) and lines[0].startswith("#")
    table = _parse_rows(path, lines if has_header else ["#", *lines], ("x", "y"), {})
    if len(table) != rows:
        raise _bad(path, f"it has {len(table)} rows and the samples have {rows}")
    if np.abs(table).max() <= 360:
        raise _bad(path, "its values look like degrees, EPSG:6933 meters are needed")
    return table


def _load_lines(path: Path) -> tuple[bytes, list[str]]:
    """A file's bytes, and the same as lines of text."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise _bad(path, "it is not a file")
        if path.stat().st_size > MAX_BYTES:
            raise _bad(path, "it is larger than 2 GiB")
        data = path.read_bytes()
        return data, data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise _bad(path, "it is not text") from None
    except OSError as error:
        raise Misconfigured(
            f"samples file {path} cannot be read ({error.strerror}): check the path"
        ) from None


def _bad(path: Path, problem: str) -> Rejected:
    return Rejected(f"samples file {path}: {problem}", reason=Reason.BAD_SAMPLES)


def _parse_header(path: Path, lines: list[str]) -> list[str]:
    columns = lines[0].lstrip("#").split() if lines else []
    if not columns:
        raise _bad(path, "it is empty, its first line must name the columns")
    if all(_is_number(word) for word in columns):
        raise _bad(path, "its first line must name the columns: '# Class blue_S1 ... slope'")
    known = {CLASS, *FEATURES, *ORIGIN}
    missing = [name for name in (CLASS, *FEATURES) if name not in columns]
    if any(name in columns for name in PLACE):
        missing += [name for name in PLACE if name not in columns]
    try:
        for name in columns:
            if "(" in name:
                parse_formula(name)
    except Rejected as error:
        raise _bad(path, f"column {error}") from None
    problems = {
        "missing": missing,
        "unknown": [name for name in columns if name not in known and "(" not in name],
        "repeated": [name for name, count in Counter(columns).items() if count > 1],
    }
    for kind, names in problems.items():
        if names:
            raise _bad(path, f"{kind} column {_some(names)}; it must have Class and 33 features")
    return columns


def _parse_rows(
    path: Path, lines: list[str], columns: Sequence[str], words: Mapping[str, list[str]]
) -> NDArray[np.float64]:
    """Columns of numbers ``(row, column)``; what is in those of words goes to their lists."""
    texts = [(columns.index(name), found) for name, found in words.items()]
    numbers = [at for at, name in enumerate(columns) if name not in words]
    rows: list[list[float]] = []
    for number, line in enumerate(lines[1:], start=2):
        values = line.split()
        if not values:
            continue
        if len(values) != len(columns):
            raise _bad(path, f"line {number} has {len(values)} values instead of {len(columns)}")
        try:
            rows.append([float(values[at]) for at in numbers])
        except ValueError:
            word = next(values[at] for at in numbers if not _is_number(values[at]))
            raise _bad(path, f"line {number} has '{word[:40]}', which is no number") from None
        for at, found in texts:
            found.append(unquote(values[at]))
    if not rows:
        raise _bad(path, "it has no rows")
    table = np.array(rows)
    wild = ~(np.abs(table) <= np.finfo(np.float32).max).all(axis=1)
    if wild.any():
        raise _bad(path, f"row {int(np.argmax(wild)) + 1} has a value that is not finite")
    return table


def _parse_origins(
    path: Path, numbers: list[str], table: NDArray[np.float64], words: Mapping[str, list[str]]
) -> Origins:
    lon_lat = pixels = None
    if PLACE[0] in numbers:
        lon_lat = table[:, [numbers.index(name) for name in PLACE]]
        outside = (np.abs(lon_lat) > (180, 90)).any(axis=1)
        if outside.any():
            row = int(np.argmax(outside))
            raise _bad(path, f"row {row + 1} has a lon and lat that are no degrees")
    if "pixels" in numbers:
        pixels = table[:, numbers.index("pixels")].astype(np.int64)
    ids, dates, tiles = (tuple(words[name]) if name in words else None for name in WORDS)
    return Origins(ids, lon_lat, dates, tiles, pixels)


def _check_labels(path: Path, labels: NDArray[np.float64]) -> None:
    odd = ~np.isin(labels, (0, 1))
    if odd.any():
        row = int(np.argmax(odd))
        raise _bad(path, f"row {row + 1} has Class {labels[row]:g}, only 0 and 1 are known")
    if len(np.unique(labels)) < 2:
        raise _bad(path, f"all its rows have Class {labels[0]:g}, both classes are needed")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _some(names: list[str]) -> str:
    return list_some([f"'{name[:40]}'" for name in names], 3)
