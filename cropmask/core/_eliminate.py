"""Stepwise elimination of small segments."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Final

import numpy as np
from numba import njit

from cropmask.core._clump import Ints
from cropmask.core._segments import NOBODY, Segments, move_sums, nearest_neighbor, relabel_segment

MOST_PASSES: Final = 10
"""Passes of a step at most, as the authors' own program has it."""

SHARED_FROM: Final = 10_000
"""Small segments from which on threads share the walks: fewer are quicker than threads."""

_PARTS: Final = 4
"""Parts of a step for each thread, so that none waits long for another."""


def eliminate(segments: Segments, min_pixels: int, limit: np.float32, *, threads: int = 1) -> None:
    """Merge small segments stepwise into larger ones, as published; ``segments`` change.

    Step t = 1, 2, ... ``min_pixels - 1`` has passes: in each, every segment of t pixels chooses,
    among its larger neighbors, the one of nearest mean color; then all that chose one within the
    squared distance ``limit`` merge. Passes go on until none merges, at most :data:`MOST_PASSES`.
    What is left of t pixels then, stays.
    """
    # First all choose on the state before the pass, then all merge. Merging at once would let the
    # mean colors, and so the choices, depend on the order of the segments, and on the threads.
    # A segment that merges has t pixels and its target has more: no target merges in the same
    # step, so chains cannot arise, and threads share both walks without a lock. Only the sums are
    # added one after the other.
    targets = np.zeros(segments.size.size, np.int32)
    small = find_small(segments.size, min_pixels)
    left = np.empty_like(small)

    def choose_some(some: Ints, step: int) -> None:
        choose_targets(segments, some, step, limit, targets)

    def relabel_some(some: Ints, step: int) -> None:
        relabel_chosen(segments, some, step, targets)

    with ThreadPoolExecutor(threads, thread_name_prefix="segment") as pool:

        def merge(tried: Ints, step: int) -> tuple[int, int]:
            shared = threads > 1 and tried.size >= SHARED_FROM
            parts = np.array_split(tried, threads * _PARTS) if shared else [tried]
            for work in (choose_some, relabel_some):
                for _ in (pool.map if shared else map)(work, parts, repeat(step)):
                    pass
            return merge_chosen(segments, tried, step, min_pixels, targets, left)

        for step in range(1, min_pixels):
            kept, turned_down = merge(small, step)
            small = small[:kept]
            # A merge gives its neighbors a new color, or a larger neighbor: who was turned down
            # asks again. Without a bound a long row could merge one a pass.
            for _ in range(1, MOST_PASSES):
                before = turned_down
                _, turned_down = merge(left[:before], step)
                if turned_down == before:
                    break


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
            targets[segment] = target if squared <= limit else NOBODY


@njit(cache=True, nogil=True, error_model="numpy")
def relabel_chosen(segments: Segments, small: Ints, step: int, targets: Ints) -> None:
    """Give the pixels of segments of ``step`` pixels to their targets, which are larger.

    May run beside itself on other segments.
    """
    size = segments.size
    walked = np.empty((step, 2), np.int32)
    for segment in small:
        if size[segment] == step and targets[segment] != NOBODY:
            relabel_segment(segments, segment, targets[segment], walked)


@njit(cache=True, nogil=True, error_model="numpy")
def merge_chosen(
    segments: Segments, tried: Ints, step: int, min_pixels: int, targets: Ints, left: Ints
) -> tuple[int, int]:
    """Add up what merged in a pass.

    Moves larger segments that are still small to the front of ``tried``, and those that did not
    merge to the front of ``left``, which may be the same array; how many of each.
    """
    size = segments.size
    kept = turned_down = 0
    for segment in tried:
        if size[segment] > step:
            tried[kept] = segment
            kept += size[segment] < min_pixels
        elif targets[segment] == NOBODY:
            left[turned_down] = segment
            turned_down += 1
        else:
            move_sums(segments, segment, targets[segment])
    return kept, turned_down
