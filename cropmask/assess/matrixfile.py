"""Confusion matrices of a CSV: a row each, its columns named ``reference_CLASS_mapped_CLASS``."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from cropmask.assess.matrix import MAX_CLASSES, Confusion, count_matrix
from cropmask.errors import Misconfigured, Reason, Rejected

_COUNT: Final = re.compile(r"reference_(?P<reference>.+)_mapped_(?P<mapped>.+)")
_PIXELS: Final = "mapped_pixels_"
"""Begin of the names of columns that say how large the map's classes are."""
MAX_ROWS: Final = 10_000
_MAX_BYTES: Final = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class NamedMatrix:
    """A confusion matrix and what it is of."""

    name: str
    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    """Points ``(map class, reference class)``."""
    pixels: NDArray[np.float64] | None
    """Of each class of the map, if the file says it."""

    @property
    def confusion(self) -> Confusion:
        """The same as estimators take it; Rejected if nothing can be said of it."""
        return count_matrix(self.counts, self.pixels, self.classes)


def load_matrices(path: Path) -> tuple[NamedMatrix, ...]:
    """Matrices of a CSV with a column ``reference_A_mapped_B`` for each pair of classes.

    It may have ``mapped_pixels_A`` for the size of each class on the map, and a column of names.
    Raises Misconfigured if it cannot be read; Rejected if a pair has no column, or a value is no
    count.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            _refuse(path, "it is larger than a table of matrices can be")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        _refuse(path, "it is not text in UTF-8")
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    try:
        rows = [row for row in csv.reader(text.splitlines(), strict=True) if any(row)]
    except csv.Error as error:
        _refuse(path, f"it is no CSV: {error}")
    if not 2 <= len(rows) <= MAX_ROWS:
        _refuse(path, "it needs a header and a row for each matrix")
    header = [name.strip() for name in rows[0]]
    classes = _find_classes(path, header)
    found = []
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            _refuse(path, f"row {number} has {len(row)} values instead of {len(header)}")
        found.append(_parse(path, number, dict(zip(header, row, strict=True)), classes))
    return tuple(found)


def _refuse(path: Path, problem: str) -> NoReturn:
    raise Rejected(f"matrices {path}: {problem}", reason=Reason.BAD_VALUE)


def _find_classes(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    if len(set(header)) < len(header):
        _refuse(path, "it has two columns of one name")
    pairs = [found for found in map(_COUNT.fullmatch, header) if found]
    classes = tuple(dict.fromkeys(found["mapped"] for found in pairs))
    wanted = [_name(one, other) for one in classes for other in classes]
    if not 2 <= len(classes) <= MAX_CLASSES:
        _refuse(path, "it has no columns such as reference_crop_mapped_other")
    lacking = [name for name in wanted if name not in header]
    if lacking:
        _refuse(path, f"it has no column '{lacking[0]}'")
    return classes


def _name(mapped: str, reference: str) -> str:
    return f"reference_{reference}_mapped_{mapped}"


def _parse(
    path: Path, number: int, row: Mapping[str, str], classes: tuple[str, ...]
) -> NamedMatrix:
    names = [name for name in row if not _COUNT.fullmatch(name) and not name.startswith(_PIXELS)]
    sizes = [f"{_PIXELS}{name}" for name in classes]
    try:
        counts = [[float(row[_name(one, other)]) for other in classes] for one in classes]
        pixels = [float(row[name]) for name in sizes] if sizes[0] in row else None
        matrix = np.array(counts)
        if not (np.isfinite(matrix).all() and (matrix >= 0).all() and (matrix % 1 == 0).all()):
            raise ValueError
    except (KeyError, ValueError):
        _refuse(path, f"row {number} has a value that is no count of points, or lacks one")
    return NamedMatrix(
        row[names[0]] if names else str(number),
        classes,
        matrix.astype(np.int64),
        None if pixels is None else np.array(pixels),
    )
