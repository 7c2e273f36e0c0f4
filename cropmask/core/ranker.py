"""Tables that turn raw pixels straight into ranks, without a float array of features.

A forest only asks whether a feature is at most a cut. So the *rank* of a value, the number of the
feature's cuts that are strictly below it, says all: 16 bits instead of 32, one search per pixel
and feature instead of one float comparison per node, and 64 of them fit two registers.

Stored reflectances have few values: a table gives their rank. Deviations are compared before the
logarithm, with cuts moved to raw values, so that no logarithm is taken per pixel and none can
differ in its last bit from one library to the next; so are the logarithms of expressions. The
other features are computed and searched in buckets, expressions by the steps of one program. The
ranks are those of :func:`cropmask.core.formulas.compute_features`, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cropmask.core.features import FEATURES, HALF_YEAR_FEATURES, SCALE, log_deviation
from cropmask.core.forest import Forest
from cropmask.core.formulas import LOG, Formula, parse_formula
from cropmask.core.program import make_program

TABLE, DEVIATION, COMPUTED, FORMULA = 0, 1, 2, 3
"""How a feature gets its rank."""

MAX_BUCKETS: Final = 1 << 13
BUCKETS_PER_CUT: Final = 16
_EDEV: Final = 10
T = TypeVar("T", np.float32, np.float64)
_FLOAT_MAX_BITS: Final = 0x7F7FFFFF
_VALUES: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """Tables that turn raw pixels into ranks; make them once with :func:`make_ranker`."""

    kind: NDArray[np.int64]
    """``(features,)``: :data:`TABLE`, :data:`DEVIATION`, :data:`COMPUTED` or :data:`FORMULA`."""
    source: NDArray[np.int64]
    """``(features,)``: position in :data:`~cropmask.core.features.FEATURES`; -1 of an expression.
    """
    least: NDArray[np.float32]
    """``(features,)``: smallest raw value that counts; greater ones do while they are finite."""
    substitute: NDArray[np.float32]
    """``(features,)``: raw value of the feature 0, which stands for every one that does not count.
    """
    tables: NDArray[Any]
    """``(features, 65536)`` of the table features in their order: rank of a stored value, uint8 or
    uint16."""
    table: NDArray[np.int64]
    """``(features,)``: row in ``tables``."""
    cuts: NDArray[np.float32]
    """Cuts to search, ascending within a feature, each feature's closed by infinity."""
    starts: NDArray[np.int64]
    """``(features + 1,)``: first cut of each feature."""
    low: NDArray[np.float32]
    scale: NDArray[np.float32]
    """``(features,)``: bucket of a value is ``(value - low) * scale``, kept within the table."""
    buckets: NDArray[np.uint16]
    """``(features, buckets)``: number of cuts in lower buckets."""
    steps: NDArray[np.int64]
    """``(step, 5)``: the :class:`~cropmask.core.program.Program` of the expressions with cuts."""
    rows: int
    """Work rows of that program."""


def make_ranker(forest: Forest) -> Ranker:
    """Tables of a forest; Rejected if a feature is none, or if they are too large together."""
    formulas = [parse_formula(name) for name in forest.features]
    source = np.array([_position(formula) for formula in formulas], np.int64)
    kind = np.array([_kind(position) for position in source], np.int64)
    own = [forest.cuts[a:b] for a, b in zip(forest.offsets[:-1], forest.offsets[1:], strict=True)]
    searched = [_moved_cuts(*feature) for feature in zip(own, formulas, source, strict=True)]
    table = np.where(kind == TABLE, np.cumsum(kind == TABLE) - 1, -1)
    low, scale, buckets = _bucket_tables(searched)
    closed = [np.append(cuts, np.float32(np.inf)) for cuts in searched]
    program = make_program(
        [(f, formulas[f]) for f in np.flatnonzero(kind == FORMULA).tolist() if own[f].size]
    )
    return Ranker(
        kind=kind,
        source=source,
        least=np.array([*map(_least, formulas, source)], np.float32),
        substitute=np.array([*map(_substitute, formulas, source)], np.float32),
        tables=_tables([cuts for cuts, k in zip(own, kind, strict=True) if k == TABLE]),
        table=table,
        cuts=np.concatenate(closed).astype(np.float32),
        starts=np.concatenate(([0], np.cumsum([cuts.size for cuts in closed]))).astype(np.int64),
        low=low,
        scale=scale,
        buckets=buckets,
        steps=program.steps,
        rows=program.rows,
    )


def _position(formula: Formula) -> int:
    return FEATURES.index(formula.head) if formula.is_published else -1


def _moved_cuts(cuts: NDArray[np.float32], formula: Formula, position: int) -> NDArray[np.float32]:
    """Cuts in the space of what is compared: before the logarithm, if it is one."""
    if _kind(position) == DEVIATION:
        return _raw_cuts(cuts, position)
    return _inner_cuts(cuts) if formula.head == LOG else cuts


def _kind(position: int) -> int:
    if position < 0:
        return FORMULA
    if position >= 2 * len(HALF_YEAR_FEATURES):
        return COMPUTED
    place = position % len(HALF_YEAR_FEATURES)
    return TABLE if place < 9 else DEVIATION if place < 12 else COMPUTED


def _is_scaled(position: int) -> bool:
    """Whether a feature is a logarithm of what is stored divided by the scale."""
    return position % len(HALF_YEAR_FEATURES) == _EDEV


def _least(formula: Formula, position: int) -> np.float32:
    if formula.head == LOG:
        return np.finfo(np.float32).smallest_subnormal
    if _kind(position) != DEVIATION:
        return np.finfo(np.float32).min
    # The smallest that is positive, also after the division of the scaled one: the smallest floats
    # divided by 10 000 are 0, whose logarithm is not finite, so they count as missing too.
    smallest = np.arange(1, 2 * int(SCALE), dtype=np.uint32).view(np.float32)
    with np.errstate(under="ignore"):
        divided = smallest / SCALE if _is_scaled(position) else smallest
    return np.float32(smallest[divided > 0][0])


def _substitute(formula: Formula, position: int) -> np.float32:
    if _kind(position) != DEVIATION:
        return np.float32(1 if formula.head == LOG else 0)
    return SCALE if _is_scaled(position) else np.float32(1)


def _tables(own: list[NDArray[np.float32]]) -> NDArray[Any]:
    # Nodata is stored as 0, and so gets the rank of the reflectance 0: just what training does.
    values = np.arange(_VALUES, dtype=np.uint16) / SCALE
    small = max((cuts.size for cuts in own), default=0) <= np.iinfo(np.uint8).max
    kind = np.uint8 if small else np.uint16
    rows = [np.searchsorted(cuts, values).astype(kind) for cuts in own]
    return np.array(rows, kind).reshape(len(rows), _VALUES)


def _raw_cuts(cuts: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    """Largest raw values whose feature is still over each cut, ascending.

    The feature falls as the raw value grows, so the rank of a feature is the number of cuts less
    the number of raw cuts that are strictly below the raw value.
    """
    scaled = _is_scaled(position)
    divide: Callable[[NDArray[np.float32]], NDArray[np.float32]] = (
        (lambda raw: raw / SCALE) if scaled else (lambda raw: raw)
    )
    return np.sort(_bisect(cuts, lambda raw, at: log_deviation(divide(raw)) > at))


def _inner_cuts(cuts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest values whose logarithm is at most each cut, ascending; 0 where there is none."""
    # Minus the deviation of a value is its logarithm, rounded alike.
    return _bisect(cuts, lambda value, at: -log_deviation(value) <= at)


def _bisect(
    cuts: NDArray[np.float32],
    holds: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.bool_]],
) -> NDArray[np.float32]:
    """Largest positive float for which something holds at each cut, if it does for all below."""
    low = np.zeros(cuts.size, np.int64)
    high = np.full(cuts.size, _FLOAT_MAX_BITS + 1, np.int64)
    # The logarithm is asked, not inverted: an exponential would be off by a bit here and there.
    # Bisect over the bit patterns of positive floats, which are in the order of their values.
    with np.errstate(divide="ignore", under="ignore"):
        while (high - low > 1).any():
            middle = (low + high) // 2
            held = holds(middle.astype(np.uint32).view(np.float32), cuts)
            low, high = np.where(held, middle, low), np.where(held, high, middle)
    return low.astype(np.uint32).view(np.float32)


def _bucket_tables(
    searched: list[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    low = np.zeros(len(searched), np.float32)
    scale = np.zeros(len(searched), np.float32)
    most = max((cuts.size for cuts in searched), default=0)
    number = min(1 << (BUCKETS_PER_CUT * max(most, 1) - 1).bit_length(), MAX_BUCKETS)
    buckets = np.zeros((len(searched), number), np.uint16)
    for f, cuts in enumerate(searched):
        if cuts.size > 1:
            # Most values lie near the middle of the cuts: let the far tails share a bucket.
            low[f], scale[f], buckets[f] = make_buckets(cuts, number, reach=0.98)
    return low, scale, buckets


def make_buckets(
    cuts: NDArray[T], number: int, *, reach: float = 1.0
) -> tuple[T, T, NDArray[np.uint16]]:
    """Where to begin to search for a value among ascending cuts, of which there is at least one.

    Gives ``low`` and ``scale``, such that the bucket of a value is ``(value - low) * scale`` kept
    within the table, and the number of cuts in lower buckets ``(number,)``. The buckets spread
    over a share ``reach`` of the cuts.
    """
    # A binary search guesses a branch wrong every other step. The bucket is one product away and
    # never falls as the value grows, so what the cuts of lower buckets count is surely below.
    kind = cuts.dtype.type
    low = cuts[0]
    span = max(float(np.quantile(cuts.astype(np.float64), reach)) - float(low), 1e-6)
    scale = kind((number - 2) / span)
    with np.errstate(over="ignore"):
        places = np.clip((cuts - low) * scale, 0, kind(number - 1)).astype(np.int64)
    return low, scale, np.searchsorted(places, np.arange(number)).astype(np.uint16)
