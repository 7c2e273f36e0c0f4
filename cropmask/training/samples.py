"""Training samples: a text table with a header, checked row by row before anything is fitted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.features import FEATURES
from cropmask.errors import Misconfigured, Reason, Rejected

CLASS: Final = "Class"
MAX_BYTES: Final = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Labeled rows, all finite."""

    names: tuple[str, ...]
    """Names of the features: :data:`FEATURES`."""
    features: NDArray[np.float32]
    """``(row, feature)``."""
    labels: NDArray[np.uint8]
    """``(row,)``: 1 crop, 0 not."""
    sha256: str
    """SHA-256 of the file."""

    @property
    def crop_rows(self) -> int:
        """Number of rows that are crop."""
        return int(self.labels.sum())


def load_samples(path: Path) -> Samples:
    """Samples of a text file: a header of names, then rows of numbers separated by spaces.

    The header names ``Class`` and the 33 features, in any order, after an optional ``#``.

    Raises
    ------
    Misconfigured
        If the file cannot be read.
    Rejected
        If it is not a complete table of finite numbers with both classes.
    """
    data, lines = _load_lines(path)
    columns = _parse_header(path, lines)
    table = _parse_rows(path, lines, len(columns))
    labels = table[:, columns.index(CLASS)]
    _check_labels(path, labels)
    order = [columns.index(name) for name in FEATURES]
    features = np.ascontiguousarray(table[:, order], dtype=np.float32)
    return Samples(FEATURES, features, labels.astype(np.uint8), sha256(data).hexdigest())


def load_coordinates(path: Path, rows: int) -> NDArray[np.float64]:
    """Coordinates ``(row, 2)``: x and y of each of ``rows`` samples in EPSG:6933 meters.

    The text file has two columns; a header line that begins with ``#`` is skipped.

    Raises
    ------
    Misconfigured
        If the file cannot be read.
    Rejected
        If it has not one pair of finite numbers for each sample.
    """
    _, lines = _load_lines(path)
    table = _parse_rows(path, lines if lines[:1] and lines[0].startswith("#") else ["#", *lines], 2)
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
    known = {CLASS, *FEATURES}
    problems = {
        "missing": [name for name in (CLASS, *FEATURES) if name not in columns],
        "unknown": [name for name in columns if name not in known],
        "repeated": [name for name, count in Counter(columns).items() if count > 1],
    }
    for kind, names in problems.items():
        if names:
            raise _bad(path, f"{kind} column {_some(names)}; it must have Class and 33 features")
    return columns


def _parse_rows(path: Path, lines: list[str], width: int) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    for number, line in enumerate(lines[1:], start=2):
        words = line.split()
        if not words:
            continue
        if len(words) != width:
            raise _bad(path, f"line {number} has {len(words)} values instead of {width}")
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            word = next(word for word in words if not _is_number(word))
            raise _bad(path, f"line {number} has '{word[:40]}', which is no number") from None
    if not rows:
        raise _bad(path, "it has no rows")
    table = np.array(rows)
    wild = ~(np.abs(table) <= np.finfo(np.float32).max).all(axis=1)
    if wild.any():
        raise _bad(path, f"row {int(np.argmax(wild)) + 1} has a value that is not finite")
    return table


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
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name[:40]}'" for name in names[:3]) + more
