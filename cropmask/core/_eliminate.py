"""Stepwise elimination of small segments, and what the steps cannot decide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Final

import numpy as np
from numba import njit

from cropmask.core._clump import Ints
from cropmask.core._segments import NOBODY, Segments, move_sums, nearest_neighbor, relabel_segment

_END = 0
_NOT_QUEUED = -1
_WAITS = -1

SHARED_FROM: Final = 10_000
"""Small segments from which on threads share the walks: fewer are quicker than threads."""

_PARTS: Final = 4
"""Parts of a step for each thread, so that none waits long for another."""


def eliminate(segments: Segments, min_pixels: int, limit: np.float32, *, threads: int = 1) -> Ints:
    """Merge small segments stepwise into larger ones, as published; ``segments`` change.

    Step t = 1, 2, ... ``min_pixels - 1``: every segment of t pixels chooses, among its larger
    neighbors, the one of nearest mean color; then all that chose one within the squared distance
    ``limit`` merge. Returns, by label, -1 where a segment had no larger neighbor when its turn
    came, which the published steps leave as it is.
    """
    # First all choose on the state before the step, then all merge. Merging at once would let the
    # mean colors, and so the choices, depend on the order of the segments, and on the threads.
    # A segment that merges has t pixels and its target has more: no target merges in the same
    # step, so chains cannot arise, and threads share both walks without a lock. Only the sums are
    # added one after the other.
    targets = np.zeros(segments.size.size, np.int32)
    small = find_small(segments.size, min_pixels)

    def choose_some(some: Ints, step: int) -> None:
        choose_targets(segments, some, step, limit, targets)

    def relabel_some(some: Ints, step: int) -> None:
        relabel_chosen(segments, some, step, targets)

    with ThreadPoolExecutor(threads, thread_name_prefix="segment") as pool:
        for step in range(1, min_pixels):
            shared = threads > 1 and small.size >= SHARED_FROM
            parts = np.array_split(small, threads * _PARTS) if shared else [small]
            for work in (choose_some, relabel_some):
                for _ in (pool.map if shared else map)(work, parts, repeat(step)):
                    pass
            small = small[: merge_step(segments, small, step, min_pixels, targets)]
    return targets


@njit(cache=True, nogil=True, error_model="numpy")
def find_small(size: Ints, min_pixels: int) -> Ints:
    """Segments of less than ``min_pixels``, in the order of the image."""
    # That order keeps the walks in the cache. At step t at most pixels / t of them are left, so
    # that the steps together cost little more than one look at each pixel.
    small = np.empty(size.size, np.int32)
    count = 0
    for segment in range(1, size.size):
        # Stored in any case and kept by moving on: no branch to guess.
        small[count] = segment
        count += size[segment] < min_pixels
    return small[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def choose_targets(
    segments: Segments, small: Ints, step: int, limit: np.float32, targets: Ints
) -> None:
    """Write the targets of those of some segments that have ``step`` pixels.

    Leaves everything else as it was, and may run beside itself on other segments.
    """
    walked = np.empty((step, 2), np.int32)
    size = segments.size
    for segment in small:
        if size[segment] == step:
            target, squared = nearest_neighbor(segments, segment, step, walked)
            if target == NOBODY:
                targets[segment] = _WAITS
            elif squared <= limit:
                targets[segment] = target


@njit(cache=True, nogil=True, error_model="numpy")
def relabel_chosen(segments: Segments, small: Ints, step: int, targets: Ints) -> None:
    """Give the pixels of segments of ``step`` pixels to their targets, which are larger.

    May run beside itself on other segments.
    """
    size = segments.size
    walked = np.empty((step, 2), np.int32)
    for segment in small:
        if size[segment] == step and targets[segment] > 0:
            relabel_segment(segments, segment, targets[segment], walked)


@njit(cache=True, nogil=True, error_model="numpy")
def merge_step(segments: Segments, small: Ints, step: int, min_pixels: int, targets: Ints) -> int:
    """Add up what merged at a step; moves what is still small to the front, and counts it."""
    size = segments.size
    kept = 0
    for segment in small:
        if size[segment] > step:
            small[kept] = segment
            kept += size[segment] < min_pixels
        elif targets[segment] > 0:
            move_sums(segments, segment, targets[segment])
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def merge_stalled(segments: Segments, min_pixels: int, limit: np.float32, waits: Ints) -> None:
    """Merge the small segments whose neighbors were all no larger, one after the other.

    The published steps say nothing about neighbors of equal size, and would leave a chessboard
    as it is. Those segments wait in queues by size, and by label within a size. The first of the
    smallest merges with its neighbor of nearest mean color within the limit, of whatever size. The
    result goes to the end of the queue of its size, if it is still small, and so does a segment
    that has grown while it waited. ``waits`` is what :func:`eliminate` returned, and is used up.
    """
    # One queue for each size, linked through an array: of each queue its first and last segment,
    # of each segment the one behind it. Here a merge changes what the next segment sees, so this
    # part has one order and one thread; it meets few segments.
    size = segments.size
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
            target, squared = nearest_neighbor(segments, segment, 0, walked)
            if target == NOBODY or squared > limit:
                continue
            relabel_segment(segments, segment, target, walked)
            move_sums(segments, segment, target)
            if size[target] < min_pixels and following[target] == _NOT_QUEUED:
                _line_up(target, size[target], heads, tails, following)


@njit(cache=True, nogil=True, error_model="numpy")
def _line_up(segment: int, size: int, heads: Ints, tails: Ints, following: Ints) -> None:
    """Put a segment at the end of the queue of its size."""
    if heads[size] == _END:
        heads[size] = segment
    else:
        following[tails[size]] = segment
    tails[size] = segment
    following[segment] = _END
