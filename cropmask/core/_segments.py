"""Segments as rows of a few plain arrays, and the walks over their pixels.

The pixels of a segment are found by walking the label image from one known pixel, which is
cheap because only segments below the size limit are walked.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.core._clump import neighbor

NOBODY: Final = 0
"""What :func:`nearest_neighbor` finds where there is no neighbor to merge with."""


class Segments(NamedTuple):
    """Segments by label; row 0 is nodata. Labels follow the first pixels of the clumps."""

    size: NDArray[np.int32]
    """``(labels,)``: pixels; 0 for a segment that is gone."""
    total: NDArray[np.int64]
    """``(labels, 2)``: sums of the colors, exact."""
    start: NDArray[np.int32]
    """``(labels,)``: one pixel of the segment."""


def tabulate(colors: NDArray[np.uint8], labels: NDArray[np.int32], count: int) -> Segments:
    """Collect what elimination needs to know of each of ``count`` segments."""
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
    # float32 because the reference implementation has it: in float64, about one tie in 120 000
    # segments is decided the other way. Squared, since the nearer one needs no root.
    first = np.float32(total[one, 0]) / np.float32(size[one]) - np.float32(
        total[other, 0]
    ) / np.float32(size[other])
    second = np.float32(total[one, 1]) / np.float32(size[one]) - np.float32(
        total[other, 1]
    ) / np.float32(size[other])
    return first * first + second * second


@njit(cache=True, nogil=True, error_model="numpy")
def nearest_neighbor(
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
    # A pixel that was walked is marked by its negative label, in place of a memory of visits. The
    # marks are taken back in the end.
    best = NOBODY
    least = np.float32(0)
    known = NOBODY
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
            found_label = labels[other]
            # A thread beside this one may be walking the neighbor, whose labels are negative then.
            label = abs(found_label)
            if found_label == segment:
                labels[other] = -segment
                walked[found, 0] = other
                walked[found, 1] = x + (side == 2) - (side == 1)
                found += 1
            # Neighbors mostly repeat from one pixel to the next: the last one is not asked again.
            elif 0 < label != known and label != segment and size[label] > larger_than:
                known = label
                squared = _squared_distance(size, total, segment, label)
                if best == NOBODY or squared < least or (squared == least and label < best):
                    best = label
                    least = squared
        at += 1
    for i in range(found):
        labels[walked[i, 0]] = segment
    return best, least


@njit(cache=True, nogil=True, error_model="numpy")
def relabel_segment(
    labels: NDArray[np.int32],
    width: int,
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


@njit(cache=True, nogil=True, error_model="numpy")
def move_sums(size: NDArray[np.int32], total: NDArray[np.int64], segment: int, target: int) -> None:
    """Move the count and the sums of a segment to another one."""
    size[target] += size[segment]
    total[target, 0] += total[segment, 0]
    total[target, 1] += total[segment, 1]
    size[segment] = 0
