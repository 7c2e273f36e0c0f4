"""Features as data: a small closed grammar over the published features, and its arithmetic.

A feature is one of the 33 published names, or an expression over them::

    expression := NAME | OPERATION "(" expression {"," expression} ")"

A name in an expression is one of :data:`NAMES`; spaces between words do not matter. All arithmetic
is float32 in the order written, sums from left to right; the logarithm is taken in float64 and
rounded. NaN passes through every operation, and what is not finite in the end is 0. Nothing is
executed: a text is read into a :class:`Formula`, and other texts are rejected. The fast path of
:mod:`cropmask.core.ranker` gives the same values bit by bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.features import (
    FEATURES,
    INDICES,
    SCALE,
    Float,
    features,
    lai,
    mndwi,
    ndvi,
    reflectance,
)
from cropmask.core.strips import DEVIATION, REFLECTANCE, Half, Strip
from cropmask.errors import Reason, Rejected

MAX_LENGTH: Final = 400
"""Characters of a text."""
MAX_DEPTH: Final = 8
"""Operations within one another."""
MAX_SIZE: Final = 64
"""Names and operations of a text."""

HALVES: Final = ("S1", "S2")
RAW: Final = tuple(f"raw_{name}_{half}" for half in HALVES for name in DEVIATION)
"""Deviations before the logarithm, in operations only; ``edev`` divided by 10 000."""
LOGARITHMS: Final = frozenset(f"{name}_{half}" for half in HALVES for name in DEVIATION)
"""Published features that are minus logarithms: they stand alone, never in an operation."""
NAMES: Final = (*(name for name in FEATURES if name not in LOGARITHMS), *RAW)
"""Names that operations are on."""

LOG: Final = "log"
"""The natural logarithm, in float64 and rounded; outermost only."""


def _maximum(a: Float, b: Float) -> Float:
    # Written out, for which zero is the greater of 0 and -0 is numpy's choice of the day.
    return np.where((a >= b) | np.isnan(a), a, b)


def _minimum(a: Float, b: Float) -> Float:
    return np.where((a <= b) | np.isnan(a), a, b)


def _sum(*terms: Float) -> Float:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _log(a: Float) -> Float:
    return np.log(a.astype(np.float64)).astype(np.float32)


OPERATIONS: Final[Mapping[str, Callable[..., Float]]] = MappingProxyType(
    {
        "nd": lambda a, b: (a - b) / (a + b),
        "ratio": lambda a, b: a / b,
        "sum": _sum,
        "difference": lambda a, b: a - b,
        "maximum": _maximum,
        "minimum": _minimum,
        LOG: _log,
    }
)
"""What each operation does with float32 arrays of one shape."""

_ARGUMENTS: Final = {"sum": (2, MAX_SIZE), LOG: (1, 1)}
_TOKEN: Final = re.compile(r"[A-Za-z0-9_]+|[(),]")


@dataclass(frozen=True, slots=True)
class Formula:
    """One feature: a name, or an operation on formulas."""

    head: str
    """A name, or one of :data:`OPERATIONS` where there are arguments."""
    arguments: tuple[Formula, ...] = ()

    def __str__(self) -> str:
        if not self.arguments:
            return self.head
        return f"{self.head}({', '.join(map(str, self.arguments))})"

    @property
    def is_published(self) -> bool:
        """Whether it is one of :data:`~cropmask.core.features.FEATURES`."""
        return not self.arguments


@lru_cache(maxsize=4096)
def parse_formula(text: str) -> Formula:
    """Formula of a text; Rejected, with what is wrong, if it is none of the grammar."""
    if len(text) > MAX_LENGTH:
        raise _bad(text, f"it is longer than {MAX_LENGTH} characters")
    words = _TOKEN.findall(text)
    if "".join(words) != text.replace(" ", ""):
        raise _bad(text, "only names, commas, spaces and brackets make a feature")
    if sum(word not in ("(", ")", ",") for word in words) > MAX_SIZE:
        raise _bad(text, f"it has more than {MAX_SIZE} names and operations")
    formula, end = _parse(text, words, 0, MAX_DEPTH)
    if end != len(words):
        raise _bad(text, f"'{words[end]}' after its end")
    if not formula.arguments and formula.head not in FEATURES:
        raise _bad(text, f"a raw deviation stands in operations only, such as log({formula.head})")
    return formula


def _parse(text: str, words: list[str], at: int, depth: int) -> tuple[Formula, int]:
    """Formula that begins at a word, and the place after it."""
    head = words[at] if at < len(words) else "its end"
    if words[at + 1 : at + 2] != ["("]:
        inside = depth < MAX_DEPTH
        if head in LOGARITHMS and inside:
            raise _bad(text, f"{head} is a logarithm and stands alone: use raw_{head}")
        if head not in NAMES and head not in LOGARITHMS:
            raise _bad(text, f"'{head}' where the name of a feature was expected")
        return Formula(head), at + 1
    if head not in OPERATIONS:
        raise _bad(text, f"'{head}' is no operation, known are {', '.join(OPERATIONS)}")
    if head == LOG and depth < MAX_DEPTH:
        raise _bad(text, "a logarithm is outermost only")
    if not depth:
        raise _bad(text, f"more than {MAX_DEPTH} operations within one another")
    arguments: list[Formula] = []
    at += 1
    while at < len(words) and words[at] == ("," if arguments else "("):
        argument, at = _parse(text, words, at + 1, depth - 1)
        arguments.append(argument)
    if words[at : at + 1] != [")"]:
        raise _bad(text, f"'{words[at] if at < len(words) else 'its end'}' instead of ')'")
    least, most = _ARGUMENTS.get(head, (2, 2))
    if not least <= len(arguments) <= most:
        wanted = "2 or more" if most > least else str(least)
        raise _bad(text, f"{head} of {len(arguments)}, it takes {wanted}")
    return Formula(head, tuple(arguments)), at + 1


def _bad(text: str, problem: str) -> Rejected:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return Rejected(f"{shown!a} is no feature: {problem}", reason=Reason.BAD_MODEL)


def compute_features(names: Sequence[str], strip: Strip) -> Float:
    """Features of a strip by their texts, as models see them.

    Returns
    -------
    NDArray[np.float32]
        ``(feature, y, x)`` in the order of ``names``; values that are not finite are 0.
    """
    formulas = [parse_formula(name) for name in names]
    published = features(strip) if any(formula.is_published for formula in formulas) else None
    out = np.empty((len(names), *strip.shape), np.float32)
    known: dict[Formula, Float] = {}
    for place, formula in enumerate(formulas):
        if published is not None and formula.is_published:
            out[place] = published[FEATURES.index(formula.head)]
        else:
            out[place] = _evaluate(formula, lambda name: _of_pixels(name, strip), known)
    out[~np.isfinite(out)] = 0
    return out


def compute_rows(
    names: Sequence[str], published_names: Sequence[str], rows: NDArray[np.float32]
) -> Float:
    """Features by their texts of rows of the published ones, such as training samples.

    NDVI, LAI and MNDWI are the stored ones, raw deviations the exponential of what is stored; all
    else is computed from stored reflectances. A stored reflectance or deviation of 0 means that
    there was none, as for pixels: what is computed from it is 0 in the end.

    Parameters
    ----------
    published_names
        Names of the columns of ``rows``, each of :data:`~cropmask.core.features.FEATURES` that
        ``names`` need among them. A column of an expression is taken as it is.
    rows
        ``(row, column)``.

    Returns
    -------
    NDArray[np.float32]
        ``(row, feature)`` in the order of ``names``; values that are not finite are 0.
    """
    formulas = [parse_formula(name) for name in published_names]
    columns = {str(formula): rows[:, place] for place, formula in enumerate(formulas)}
    known: dict[Formula, Float] = {}
    out = np.empty((len(rows), len(names)), np.float32)
    for place, formula in enumerate(map(parse_formula, names)):
        if formula.is_published or str(formula) in columns:
            out[:, place] = _column(str(formula), columns)
        else:
            out[:, place] = _evaluate(formula, lambda name: _of_rows(name, columns), known)
    out[~np.isfinite(out)] = 0
    return out


def _evaluate(formula: Formula, find: Callable[[str], Float], known: dict[Formula, Float]) -> Float:
    if formula not in known:
        if formula.arguments:
            values = [_evaluate(argument, find, known) for argument in formula.arguments]
            with np.errstate(all="ignore"):
                found = OPERATIONS[formula.head](*values)
        else:
            found = find(formula.head)
        known[formula] = found
    return known[formula]


def split_name(name: str) -> tuple[str, int]:
    """A name without its half-year, and the position of that: ``("nir", 1)`` of ``nir_S2``."""
    stem, half = name.rsplit("_", 1)
    return stem, HALVES.index(half)


def _of_pixels(name: str, strip: Strip) -> Float:
    """Values of one of :data:`NAMES` before anything is replaced, ``(y, x)``."""
    if name == "slope":
        return strip.slope
    stem, late = split_name(name)
    if stem == "rain":
        return np.asarray(strip.rain[late], np.float32)
    half = strip.second if late else strip.first
    if stem.startswith("raw_"):
        raw = half.deviation[DEVIATION.index(stem.removeprefix("raw_"))]
        return np.asarray(raw / SCALE if stem == "raw_edev" else raw, np.float32)
    if stem in REFLECTANCE:
        return _band(half, stem)
    with np.errstate(all="ignore"):
        return _INDEX[stem](*(_band(half, band) for band in INDEX_BANDS[stem]))


def _band(half: Half, band: str) -> Float:
    return reflectance(half.reflectance[REFLECTANCE.index(band)])


INDEX_BANDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"NDVI": ("red", "nir"), "LAI": ("blue", "red", "nir"), "MNDWI": ("green", "swir_1")}
)
"""Bands of each index, in the order that its function takes them."""
_INDEX: Final[Mapping[str, Callable[..., Float]]] = MappingProxyType(
    dict(zip(INDICES, (ndvi, lai, mndwi), strict=True))
)


def _column(name: str, columns: Mapping[str, Float]) -> Float:
    if name not in columns:
        raise Rejected(f"the rows have no feature '{name}'", reason=Reason.BAD_SAMPLES)
    return np.asarray(columns[name], np.float32)


def _of_rows(name: str, columns: Mapping[str, Float]) -> Float:
    if name == "slope":
        return _column(name, columns)
    stem, late = split_name(name)
    if stem.startswith("raw_"):
        stored = _column(name.removeprefix("raw_"), columns)
        raw = np.exp(-stored.astype(np.float64)).astype(np.float32)
        return np.where(stored == 0, np.float32(np.nan), raw)
    stored = _column(name, columns)
    if stem == "rain":
        return stored
    needed = INDEX_BANDS.get(stem, (stem,))
    missing = np.any([_column(f"{band}_{HALVES[late]}", columns) == 0 for band in needed], axis=0)
    return np.where(missing, np.float32(np.nan), stored)
