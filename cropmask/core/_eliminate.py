"""Stepwise elimination of small segments, and what the steps cannot decide.

Segments are rows of a few plain arrays; their pixels are found by walking the label image
from one known pixel, which is cheap because only segments below the size limit are walked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.core._clump import neighbor

_END = 0
_NOT_QUEUED = -1
_NOBODY = 0
_WAITS = -1


class Segments(NamedTuple):
    """Segments by label; row 0 is nodata. Labels follow the first pixels of the clumps."""

    size: NDArray[np.int32]
    """``(labels,)``: pixels; 0 for a segment that is gone."""
    total: NDArray[np.int64]
    """``(labels, 2)``: sums of the colors, exact."""
    start: NDArray[np.int32]
    """``(labels,)``: one pixel of the segment."""


def tabulate(colors: NDArray[np.uint8], labels: NDArray[np.int32], count: int) -> Segments:
    """Collect what elimination needs to know of each segment.

    Parameters
    ----------
    colors
        ``(2, pixels)``.
    labels
        ``(pixels,)``, 0 to ``count``.
    count
        Number of segments.
    """
    segments = Segments(
        np.zeros(count + 1, np.int32),
        np.zeros((count + 1, 2), np.int64),
        np.zeros(count + 1, np.int32),
    )
    _collect(colors, labels, *segments)
    return segments


@njit(cache=True, nogil=True, error_model="numpy")
def _collect(
    colors: NDArray[np.uint8],
    labels: NDArray[np.int32],
    size: NDArray[np.int32],
    total: NDArray[np.int64],
    start: NDArray[np.int32],
) -> None:
    for pixel in range(labels.size):
        label = labels[pixel]
        if label > 0:
            if size[label] == 0:
                start[label] = pixel
            size[label] += 1
            total[label, 0] += colors[0, pixel]
            total[label, 1] += colors[1, pixel]


@njit(cache=True, nogil=True, error_model="numpy")
def _squared_distance(
    size: NDArray[np.int32], total: NDArray[np.int64], one: int, other: int
) -> np.float32:
    """Squared distance of two mean colors, in float32 throughout."""
    first = np.float32(total[one, 0]) / np.float32(size[one]) - np.float32(
        total[other, 0]
    ) / np.float32(size[other])
    second = np.float32(total[one, 1]) / np.float32(size[one]) - np.float32(
        total[other, 1]
    ) / np.float32(size[other])
    return first * first + second * second


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(
    labels: NDArray[np.int32],
    width: int,
    size: NDArray[np.int32],
    total: NDArray[np.int64],
    start: NDArray[np.int32],
    segment: int,
    larger_than: int,
    walked: NDArray[np.int32],
) -> tuple[int, np.float32]:
    """Spectrally nearest neighbor of more than so many pixels, and its squared distance.

    A tie goes to the lower label; label 0 if there is no such neighbor.
    """
    best = _NOBODY
    least = np.float32(0)
    known = _NOBODY
    first = start[segment]
    walked[0, 0] = first
    walked[0, 1] = first % width
    labels[first] = -segment
    found = 1
    at = 0
    while at < found:
        pixel, x = walked[at, 0], walked[at, 1]
        for side in range(4):
            other = neighbor(pixel, x, side, width, labels.size)
            if other < 0:
                continue
            label = labels[other]
            if label == segment:
                labels[other] = -segment
                walked[found, 0] = other
                walked[found, 1] = x + (side == 2) - (side == 1)
                found += 1
            elif label > 0 and label != known and size[label] > larger_than:
                known = label
                squared = _squared_distance(size, total, segment, label)
                if best == _NOBODY or squared < least or (squared == least and label < best):
                    best = label
                    least = squared
        at += 1
    for i in range(found):
        labels[walked[i, 0]] = segment
    return best, least


@njit(cache=True, nogil=True, error_model="numpy")
def _merge(
    labels: NDArray[np.int32],
    width: int,
    size: NDArray[np.int32],
    total: NDArray[np.int64],
    start: NDArray[np.int32],
    segment: int,
    target: int,
    walked: NDArray[np.int32],
) -> None:
    """Give all pixels of a segment to another one."""
    first = start[segment]
    walked[0, 0] = first
    walked[0, 1] = first % width
    labels[first] = target
    found = 1
    at = 0
    while at < found:
        pixel, x = walked[at, 0], walked[at, 1]
        for side in range(4):
            other = neighbor(pixel, x, side, width, labels.size)
            if other >= 0 and labels[other] == segment:
                labels[other] = target
                walked[found, 0] = other
                walked[found, 1] = x + (side == 2) - (side == 1)
                found += 1
        at += 1
    size[target] += size[segment]
    total[target, 0] += total[segment, 0]
    total[target, 1] += total[segment, 1]
    size[segment] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def eliminate(
    labels: NDArray[np.int32],
    width: int,
    size: NDArray[np.int32],
    total: NDArray[np.int64],
    start: NDArray[np.int32],
    min_pixels: int,
    limit: np.float32,
) -> NDArray[np.int32]:
    """Merge small segments stepwise into larger ones, as published.

    Step t = 1, 2, ... ``min_pixels - 1``: every segment of t pixels chooses, among its larger
    neighbors, the one of nearest mean color; then all that chose one within the limit merge.

    Parameters
    ----------
    labels
        ``(pixels,)``, changed in place.
    width
        Pixels in a row.
    size, total, start
        :class:`Segments`, changed in place.
    min_pixels
        Smallest segment that is not eliminated.
    limit
        Largest squared distance of two colors that may merge.

    Returns
    -------
    NDArray[np.int32]
        By label: -1 where the segment had no larger neighbor when its turn came, which the
        published steps leave as it is.
    """
    walked = np.empty((min_pixels, 2), np.int32)
    targets = np.zeros(size.size, np.int32)
    # Small segments in the order of the image, which keeps the walks in the cache. At step t
    # at most pixels / t of them are left, so that the steps together stay linear.
    small = np.empty(size.size, np.int32)
    count = 0
    for segment in range(1, size.size):
        small[count] = segment
        count += size[segment] < min_pixels
    for step in range(1, min_pixels):
        for segment in small[:count]:
            if size[segment] == step:
                target, squared = _nearest(labels, width, size, total, start, segment, step, walked)
                if target == _NOBODY:
                    targets[segment] = _WAITS
                elif squared <= limit:
                    targets[segment] = target
        kept = 0
        for segment in small[:count]:
            if size[segment] > step:
                small[kept] = segment
                kept += size[segment] < min_pixels
            elif targets[segment] > 0:
                _merge(labels, width, size, total, start, segment, targets[segment], walked)
        count = kept
    return targets


@njit(cache=True, nogil=True, error_model="numpy")
def finish(
    labels: NDArray[np.int32],
    width: int,
    size: NDArray[np.int32],
    total: NDArray[np.int64],
    start: NDArray[np.int32],
    min_pixels: int,
    limit: np.float32,
    waits: NDArray[np.int32],
) -> None:
    """Merge the small segments whose neighbors were all no larger, one after the other.

    The published steps say nothing about neighbors of equal size, and would leave a chessboard
    as it is. Those segments stand in line by size, and by label in the same size. Whose turn
    comes merges with the neighbor of nearest mean color within the limit, of whatever size, and
    the result lines up behind those of its size if it is still small; who has grown while
    waiting lines up again.

    Parameters
    ----------
    labels, width, size, total, start, min_pixels, limit
        As for :func:`eliminate`.
    waits
        What :func:`eliminate` returned; used up.
    """
    walked = np.empty((min_pixels, 2), np.int32)
    heads = np.zeros(min_pixels, np.int32)
    tails = np.zeros(min_pixels, np.int32)
    following = waits
    for segment in range(1, size.size):
        stands = waits[segment] == _WAITS and 0 < size[segment] < min_pixels
        following[segment] = _NOT_QUEUED
        if stands:
            _line_up(segment, size[segment], heads, tails, following)
    for step in range(1, min_pixels):
        while heads[step] != _END:
            segment = heads[step]
            heads[step] = following[segment]
            following[segment] = _NOT_QUEUED
            if size[segment] > step:
                if size[segment] < min_pixels:
                    _line_up(segment, size[segment], heads, tails, following)
                continue
            target, squared = _nearest(labels, width, size, total, start, segment, 0, walked)
            if target == _NOBODY or squared > limit:
                continue
            _merge(labels, width, size, total, start, segment, target, walked)
            if size[target] < min_pixels and following[target] == _NOT_QUEUED:
                _line_up(target, size[target], heads, tails, following)


@njit(cache=True, nogil=True, error_model="numpy")
def _line_up(
    segment: int,
    size: int,
    heads: NDArray[np.int32],
    tails: NDArray[np.int32],
    following: NDArray[np.int32],
) -> None:
    if heads[size] == _END:
        heads[size] = segment
    else:
        following[tails[size]] = segment
    tails[size] = segment
    following[segment] = _END
