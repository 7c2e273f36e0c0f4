"""Segments as rows of a few plain arrays, and the walks over their pixels.

The pixels of a segment are found by walking the label image from one known pixel, which is
cheap because only segments below the size limit are walked.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.core._clump import Ints, neighbor

NOBODY: Final = 0
"""What :func:`nearest_neighbor` finds where there is no neighbor to merge with."""


class Segments(NamedTuple):
    """The label image, and its segments by label; row 0 is nodata."""

    labels: Ints
    """``(pixels,)``: label of each pixel. They follow the first pixels of the clumps."""
    width: int
    """Pixels in a row."""
    size: Ints
    """``(labels,)``: pixels; 0 for a segment that is gone."""
    total: NDArray[np.int64]
    """``(labels, 2)``: sums of the colors, exact."""
    start: Ints
    """``(labels,)``: one pixel of the segment."""


def tabulate(colors: NDArray[np.uint8], labels: Ints, width: int, count: int) -> Segments:
    """Collect what elimination needs to know of each of ``count`` segments."""
    size, start = np.zeros(count + 1, np.int32), np.zeros(count + 1, np.int32)
    segments = Segments(labels, width, size, np.zeros((count + 1, 2), np.int64), start)
    _collect(colors, segments)
    return segments


@njit(cache=True, nogil=True, error_model="numpy")
def _collect(colors: NDArray[np.uint8], segments: Segments) -> None:
    labels, _, size, total, start = segments
    for pixel in range(labels.size):
        label = labels[pixel]
        if label > 0:
            if size[label] == 0:
                start[label] = pixel
            size[label] += 1
            total[label, 0] += colors[0, pixel]
            total[label, 1] += colors[1, pixel]


@njit(cache=True, nogil=True, error_model="numpy")
def _squared_distance(size: Ints, total: NDArray[np.int64], one: int, other: int) -> np.float32:
    """Squared distance of two mean colors, in float32 throughout."""
    # float32 because the reference implementation has it: in float64, about one tie in 120 000
    # segments is decided the other way. Squared, since the nearer one needs no root.
    pixels, others = np.float32(size[one]), np.float32(size[other])
    first = np.float32(total[one, 0]) / pixels - np.float32(total[other, 0]) / others
    second = np.float32(total[one, 1]) / pixels - np.float32(total[other, 1]) / others
    return first * first + second * second


@njit(cache=True, nogil=True, error_model="numpy")
def nearest_neighbor(
    segments: Segments, segment: int, larger_than: int, walked: Ints
) -> tuple[int, np.float32]:
    """Spectrally nearest neighbor of more than so many pixels, and its squared distance.

    A tie goes to the lower label; label 0 if there is no such neighbor. ``walked`` is scratch, of
    a row for each pixel of the segment.
    """
    labels, width, size, total, start = segments
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
def relabel_segment(segments: Segments, segment: int, target: int, walked: Ints) -> None:
    """Give all pixels of a segment to another one."""
    labels, width, start = segments.labels, segments.width, segments.start
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
def move_sums(segments: Segments, segment: int, target: int) -> None:
    """Move the count and the sums of a segment to another one."""
    size, total = segments.size, segments.total
    size[target] += size[segment]
    total[target, 0] += total[segment, 0]
    total[target, 1] += total[segment, 1]
    size[segment] = 0
