"""The kernels that walk packets of 64 pixels through trees; see :mod:`cropmask.core.engine`.

A wave is a list of entries, each a packet, a node and the mask of the packet's pixels that have
reached the node. A step turns the wave of one level of a tree into the wave of the next level.
Both lie in one buffer, of which each step reads one half and writes the other. Addresses are plain
integers: with arrays, numba would compute each one from indices that may be negative.
"""

# numba checks the types of compiled code; Python's differ for intrinsics.
# mypy: ignore-errors

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.core._simd import (
    CHILD,
    GROUP,
    HAS_PERMUTES,
    LANES,
    LEFT,
    RIGHT,
    add_looked_up,
    at_most,
    count,
    load,
    store,
    visit,
)

ENTRY_BYTES: Final = 16
"""Size of an entry of a wave: the packet's offset and the node, then the mask of its pixels."""
GROUP_ENTRY_BYTES: Final = 8 + 8 * GROUP
"""The same with the masks of a group of packets."""

IN_REGISTERS: Final = 32
"""Leaf values of a tree that are looked up at once."""

ROW: Final = 0x3FFF
"""Mask of the field of a word that holds the row of a feature, times 64; it begins at bit 16."""

Rows = NDArray[np.uint16]
Groups = NDArray[np.uint8] | NDArray[np.uint16]
Masks = NDArray[np.uint64]
Starts = NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy")
def _start_wave(packets: Rows, active: Masks, wave: np.uint64) -> np.uint64:
    """Put the root and each packet with pixels into the wave; returns its end."""
    # An entry's first word is the packet's offset in bytes, moved up by 16 bits, and the node in
    # the bits below: the root is node 0.
    stride = np.uint64(packets.shape[1] * 2 * LANES)
    end = wave
    for p in range(active.size):
        store(end, (np.uint64(p) * stride) << np.uint64(16))
        store(end + np.uint64(8), active[p])
        if active[p] != 0:
            end += np.uint64(ENTRY_BYTES)
    return end


@njit(nogil=True, cache=True, error_model="numpy")
def count_votes(
    words: Masks,
    roots: Starts,
    packets: Rows,
    active: Masks,
    wave_buffer: NDArray[np.uint16],
    votes: NDArray[np.uint16],
) -> None:
    """Votes of every pixel of some packets.

    ``packets`` (packet, row, lane) uint16 holds ranks in rows 1 and up; row 0 is scratch.
    ``active`` (packet,) uint64 has a bit per pixel to classify. ``votes`` (packet, lane) uint16
    is overwritten.
    """
    number = active.size
    base = np.uint64(packets.ctypes.data)
    tally = np.uint64(votes.ctypes.data)
    stride = np.uint64(packets.shape[1] * 2 * LANES)
    first = np.uint64(wave_buffer.ctypes.data)
    second = first + np.uint64(wave_buffer.size)  # half of its bytes
    zero, one, entry, child = np.uint64(0), np.uint64(1), np.uint64(ENTRY_BYTES), np.uint64(CHILD)
    votes[:number] = 0
    for t in range(roots.size - 1):
        tree = np.uint64(words.ctypes.data) + np.uint64(roots[t]) * np.uint64(8)
        # The first word of a packet's row 0 collects the pixels that have reached a crop leaf.
        for p in range(number):
            store(base + np.uint64(p) * stride, zero)
        here, there = first, second
        end = _start_wave(packets, active, here)
        # All packets go down one level before any goes down two: an entry never waits for the
        # entry before it, so the processor overlaps them, where one packet's own way down is a
        # chain of loads that each wait for the last.
        while end > here:
            out = there
            i = here
            while i < end:
                place, mask = load(i), load(i + np.uint64(8))
                i += entry
                node = place & child
                packet = base + (place >> np.uint64(16))
                word = load(tree + (node << np.uint64(3)))
                # The row's field times two bytes a rank: shifted by one less than where it begins.
                low = at_most(packet + ((word >> np.uint64(15)) & np.uint64(2 * ROW)), word)
                left, right = mask & low, mask & ~low
                # The two top bits say that a child is a leaf of crop. An arithmetic shift spreads
                # one over all 64 bits: a mask of all pixels or none, without a branch.
                left_crop = np.uint64(np.int64(word) >> np.int64(63))
                right_crop = np.uint64(np.int64(word << one) >> np.int64(63))
                store(packet, load(packet) | (left & left_crop) | (right & right_crop))
                # Both children are stored, always at the end. Moving the end on keeps one; else
                # the next store overwrites it. Whether a child is kept (it is an inner node and
                # has pixels) is as good as random, and a branch on it would be guessed wrong.
                store(out, (place ^ node) | ((word >> np.uint64(LEFT)) & child))
                store(out + np.uint64(8), left)
                # Flag 60 moved down by 56 is 16, the size of an entry, or 0; so is 61 by 57.
                step = (word >> np.uint64(56)) & entry
                out += step if left != zero else zero
                store(out, (place ^ node) | ((word >> np.uint64(RIGHT)) & child))
                store(out + np.uint64(8), right)
                step = (word >> np.uint64(57)) & entry
                out += step if right != zero else zero
            end = out
            here, there = there, here
        # Once a tree, not once a leaf: a tree gives a pixel at most one vote.
        for p in range(number):
            count(tally + np.uint64(p) * np.uint64(2 * LANES), load(base + np.uint64(p) * stride))


@njit(nogil=True, cache=True, error_model="numpy")
def _start_groups(groups: Groups, active: Masks, wave: np.uint64) -> np.uint64:
    """As :func:`_start_wave`, for groups of packets."""
    stride = np.uint64(groups.shape[1] * groups.shape[2] * groups.itemsize)
    end = wave
    for g in range(groups.shape[0]):
        store(end, (np.uint64(g) * stride) << np.uint64(16))
        some = np.uint64(0)
        for i in range(GROUP):
            mask = active[g * GROUP + i]
            store(end + np.uint64(8 + 8 * i), mask)
            some |= mask
        if some != 0:
            end += np.uint64(GROUP_ENTRY_BYTES)
    return end


@njit(nogil=True, cache=True, error_model="numpy")
def _add_values(
    values: NDArray[np.float64], leaves: int, groups: Groups, sums: NDArray[np.float64]
) -> None:
    """Add the value of the leaf that each pixel has reached; row 0 of a group names it."""
    # Looking values up by 64 different addresses is what a small tree costs most. Where the values
    # of all leaves fit four registers of 512 bits, one instruction looks up eight lanes at once.
    if HAS_PERMUTES and groups.itemsize == 1 and leaves <= IN_REGISTERS:
        base, table = np.uint64(groups.ctypes.data), np.uint64(values.ctypes.data)
        total = np.uint64(sums.ctypes.data)
        stride = np.uint64(groups.shape[1] * groups.shape[2] * groups.itemsize)
        for g in range(groups.shape[0]):
            for i in range(GROUP):
                reached = base + np.uint64(g) * stride + np.uint64(i * LANES)
                add_looked_up(reached, table, total)
                total += np.uint64(8 * LANES)
        return
    for g in range(groups.shape[0]):
        for i in range(GROUP):
            sum_ = sums[g * GROUP + i]
            for lane in range(LANES):
                sum_[lane] += values[np.int64(groups[g, 0, i * LANES + lane])]


@njit(nogil=True, cache=True, error_model="numpy")
def sum_leaves(
    words: Masks,
    roots: Starts,
    leaf_values: NDArray[np.float64],
    leaf_starts: Starts,
    baseline: float,
    groups: Groups,
    active: Masks,
    wave_buffer: NDArray[np.uint16],
    sums: NDArray[np.float64],
) -> None:
    """Baseline plus leaf values of every pixel of some packets, added in the order of the trees.

    Float sums depend on their order: adding tree by tree gives the bits of scikit-learn. So each
    pixel remembers its leaf while a tree is walked, and the values are added after it.

    ``groups`` (group, row, lane) holds ranks in rows 1 and up; row 0 is scratch. ``active``
    (packet,) uint64 has a bit per pixel to classify, ``sums`` (packet, lane) float64 is
    overwritten; both have ``GROUP`` packets a group. Lanes that no bit of ``active``
    asks for get some value: ``leaf_values`` goes on after the last tree for as many as a tree has
    at most, so that a stale leaf number of theirs stays inside.
    """
    number = active.size // GROUP
    used = groups[:number]
    base = np.uint64(groups.ctypes.data)
    first = np.uint64(wave_buffer.ctypes.data)
    second = first + np.uint64(wave_buffer.size)
    child, row_unit = np.uint64(CHILD), np.uint64(GROUP * groups.itemsize)
    sums[: active.size] = baseline
    used[:, 0] = 0
    for t in range(roots.size - 1):
        tree = np.uint64(words.ctypes.data) + np.uint64(roots[t]) * np.uint64(8)
        here, there = first, second
        end = _start_groups(used, active, here)
        while end > here:
            out = there
            i = here
            while i < end:
                place = load(i)
                group = base + (place >> np.uint64(16))
                word = load(tree + ((place & child) << np.uint64(3)))
                row = group + ((word >> np.uint64(16)) & np.uint64(ROW)) * row_unit
                out = visit(groups, i, group, row, word, out)
                i += np.uint64(GROUP_ENTRY_BYTES)
            end = out
            here, there = there, here
        leaves = leaf_starts[t + 1] - leaf_starts[t]
        _add_values(leaf_values[leaf_starts[t] :], leaves, used, sums)
