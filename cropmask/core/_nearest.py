"""Exact search for the nearest of some points, by the boxes around the leaves of a k-d tree."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

LEAF_POINTS: Final = 64
"""Points of a leaf: their distances are computed side by side, and loops of 64 vectorize well."""


class Leaves(NamedTuple):
    """Points in leaves of a k-d tree, and boxes around the leaves.

    A tree of binary nodes would be descended one box after the other, each sum of its distance
    waiting for the one before. A few thousand points have a hundred leaves or two: all their
    boxes side by side take less time than a descent.
    """

    points: NDArray[np.float32]
    """``(leaf, feature, point)``; where points are too few, a leaf has some of them twice."""
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    """``(feature, leaf)``: corners of the boxes."""


def make_leaves(points: NDArray[np.float32]) -> Leaves:
    """Leaves of points ``(point, feature)``, of which there is at least one."""
    parts = _split(points)
    filled = [part[np.arange(LEAF_POINTS) % len(part)].T for part in parts]
    low = np.array([part.min(axis=0) for part in parts]).T
    high = np.array([part.max(axis=0) for part in parts]).T
    return Leaves(np.array(filled), np.ascontiguousarray(low), np.ascontiguousarray(high))


def _split(points: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Parts of at most :data:`LEAF_POINTS` points: the widest side is cut in the middle."""
    if len(points) <= LEAF_POINTS:
        return [points]
    width = points.max(axis=0) - points.min(axis=0)
    order = np.argsort(points[:, int(np.argmax(width))], kind="stable")
    half = -(-len(points) // LEAF_POINTS) // 2 * LEAF_POINTS  # so that leaves are full
    return [*_split(points[order[:half]]), *_split(points[order[half:]])]


@njit(cache=True, nogil=True, error_model="numpy")
def find_nearest(leaves: Leaves, rows: NDArray[np.float32], most: np.float32) -> NDArray[Any]:
    """Squared distance ``(row,)`` of rows of features to their nearest point, at most ``most``.

    float32 throughout. The result of a row does not depend on the other rows.
    """
    points, low, high = leaves
    bounds = np.empty(points.shape[0], np.float32)
    sums = np.empty(LEAF_POINTS, np.float32)
    found = np.empty(rows.shape[0], np.float32)
    for at in range(rows.shape[0]):
        row = rows[at]
        bounds[:] = 0
        for f in range(row.size):
            _add_box_distances(row[f], low[f], high[f], bounds)
        # The nearest box first: what is found there lets most others be passed over.
        best, first = most, np.argmin(bounds)
        for number in range(-1, bounds.size):
            leaf = first if number < 0 else number
            if bounds[leaf] >= best or number == first:
                continue
            sums[:] = 0
            for f in range(row.size):
                _add_distances(row[f], points[leaf, f], sums)
            for k in range(LEAF_POINTS):
                best = sums[k] if sums[k] < best else best
        found[at] = best
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _add_distances(value: Any, points: Any, sums: Any) -> None:  # noqa: ANN401
    for k in range(LEAF_POINTS):
        step = value - points[k]
        sums[k] += step * step


@njit(cache=True, nogil=True, error_model="numpy")
def _add_box_distances(value: Any, low: Any, high: Any, sums: Any) -> None:  # noqa: ANN401
    zero = np.float32(0)
    for k in range(low.size):
        away = max(max(low[k] - value, value - high[k]), zero)
        sums[k] += away * away
