"""Raw pixels straight to ranks among a forest's cuts, without a float array of features.

A forest only asks whether a feature is at most a cut, so a feature's rank among its cuts says all.
Stored reflectances have few values: a table gives their rank. Deviations are compared before the
logarithm, with cuts moved to raw values. The other features are computed and searched in buckets.
The ranks are those of :func:`cropmask.core.features.features`, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.features import FEATURES, SCALE, log_deviation
from cropmask.core.forest import Forest
from cropmask.errors import Rejected

TABLE, DEVIATION, COMPUTED = 0, 1, 2
"""How a feature gets its rank."""

BUCKETS: Final = 1 << 13
PER_HALF: Final = 16
_FLOAT_MAX_BITS: Final = 0x7F7FFFFF
_VALUES: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """Tables that turn raw pixels into ranks; make them once with :func:`make_ranker`."""

    kind: NDArray[np.int64]
    """``(features,)``: :data:`TABLE`, :data:`DEVIATION` or :data:`COMPUTED`."""
    source: NDArray[np.int64]
    """``(features,)``: position in :data:`~cropmask.core.features.FEATURES`."""
    zero: NDArray[np.uint16]
    """``(features,)``: rank of 0, which stands for every value that is not finite."""
    tables: NDArray[np.uint16]
    """``(features, 65536)`` of the table features in their order: rank of a stored value."""
    table: NDArray[np.int64]
    """``(features,)``: row in ``tables``."""
    cuts: NDArray[np.float32]
    """Cuts to search, ascending within a feature, each feature's closed by infinity, twice."""
    starts: NDArray[np.int64]
    """``(features + 1,)``: first cut of each feature."""
    low: NDArray[np.float32]
    scale: NDArray[np.float32]
    """``(features,)``: bucket of a value is ``(value - low) * scale``, kept within the table."""
    buckets: NDArray[np.int32]
    """``(features, buckets)``: number of cuts in lower buckets."""


def make_ranker(forest: Forest) -> Ranker:
    """Tables of a forest whose features are among ours.

    Raises
    ------
    Rejected
        If the forest asks for a feature that is none of the 33.
    """
    unknown = [name for name in forest.features if name not in FEATURES]
    if unknown:
        raise Rejected(
            f"the model asks for the feature '{unknown[0]}', which is none of the "
            f"{len(FEATURES)} known ones",
            reason="bad model",
        )
    source = np.array([FEATURES.index(name) for name in forest.features], np.int64)
    kind = np.array([_kind(position) for position in source], np.int64)
    own = [forest.cuts[a:b] for a, b in zip(forest.offsets[:-1], forest.offsets[1:], strict=True)]
    searched = [
        _raw_cuts(cuts, int(position)) if k == DEVIATION else cuts
        for cuts, position, k in zip(own, source, kind, strict=True)
    ]
    table = np.where(kind == TABLE, np.cumsum(kind == TABLE) - 1, -1)
    low, scale, buckets = _bucket_tables(searched)
    closed = [np.append(cuts, [np.float32(np.inf)] * 2) for cuts in searched]
    return Ranker(
        kind=kind,
        source=source,
        zero=np.array([np.searchsorted(cuts, np.float32(0)) for cuts in own], np.uint16),
        tables=_tables([cuts for cuts, k in zip(own, kind, strict=True) if k == TABLE]),
        table=table,
        cuts=np.concatenate(closed).astype(np.float32),
        starts=np.concatenate(([0], np.cumsum([cuts.size for cuts in closed]))).astype(np.int64),
        low=low,
        scale=scale,
        buckets=buckets,
    )


def _kind(position: int) -> int:
    if position >= 2 * PER_HALF:
        return COMPUTED
    place = position % PER_HALF
    return TABLE if place < 9 else DEVIATION if place < 12 else COMPUTED


def _tables(own: list[NDArray[np.float32]]) -> NDArray[np.uint16]:
    values = np.arange(_VALUES, dtype=np.uint16) / SCALE
    rows = [np.searchsorted(cuts, values).astype(np.uint16) for cuts in own]
    return np.array(rows, np.uint16).reshape(len(rows), _VALUES)


def _raw_cuts(cuts: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    """Largest raw values whose feature is still over each cut, ascending.

    The feature falls as the raw value grows, so the rank of a feature is the number of cuts less
    the number of raw cuts that are strictly below the raw value.
    """
    scaled = position % PER_HALF == 10  # edev
    divide: Callable[[NDArray[np.float32]], NDArray[np.float32]] = (
        (lambda raw: raw / SCALE) if scaled else (lambda raw: raw)
    )
    low = np.zeros(cuts.size, np.int64)
    high = np.full(cuts.size, _FLOAT_MAX_BITS + 1, np.int64)
    # Bisect over the bit patterns of positive floats, which are in the order of their values.
    with np.errstate(divide="ignore", under="ignore"):
        while (high - low > 1).any():
            middle = (low + high) // 2
            raw = middle.astype(np.uint32).view(np.float32)
            over = log_deviation(divide(raw)) > cuts
            low, high = np.where(over, middle, low), np.where(over, high, middle)
    return np.sort(low.astype(np.uint32).view(np.float32))


def _bucket_tables(
    searched: list[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    low = np.zeros(len(searched), np.float32)
    scale = np.zeros(len(searched), np.float32)
    buckets = np.zeros((len(searched), BUCKETS), np.int32)
    for f, cuts in enumerate(searched):
        if cuts.size > 1:
            low[f] = cuts[0]
            # Most values lie near the middle of the cuts: let the far tails share a bucket.
            span = max(float(np.quantile(cuts, 0.98)) - float(cuts[0]), 1e-6)
            scale[f] = np.float32((BUCKETS - 2) / span)
            places = bucket_of(cuts, low[f], scale[f])
            buckets[f] = np.searchsorted(places, np.arange(BUCKETS))
    return low, scale, buckets


def bucket_of(values: NDArray[np.float32], low: np.float32, scale: np.float32) -> NDArray[np.int64]:
    """Bucket of values; never falls as a value grows, which is all that exactness needs."""
    places = np.clip((values - low) * scale, 0, np.float32(BUCKETS - 1))
    return np.asarray(places, np.int64)
