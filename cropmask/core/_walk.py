"""The kernels that walk packets of 64 pixels through trees; see :mod:`cropmask.core.engine`."""

# numba checks the types of compiled code; Python's differ for intrinsics.
# mypy: ignore-errors

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.core._vectors import LANES, ROW_BYTES, assign, at_most, count, load, store

ENTRY_BYTES: Final = 16
"""Size of an entry of a wave: the packet's offset and the node, then the mask of its pixels."""

Rows = NDArray[np.uint16]
Masks = NDArray[np.uint64]
Starts = NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy")
def _start_wave(packets: Rows, active: Masks, wave: np.uint64) -> np.uint64:
    """Put the root and each packet with pixels into the wave; returns its end."""
    stride = np.uint64(packets.shape[1] * ROW_BYTES)
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
    stride = np.uint64(packets.shape[1] * ROW_BYTES)
    first = np.uint64(wave_buffer.ctypes.data)
    second = first + np.uint64(wave_buffer.size)  # half of its bytes
    zero, one, entry, child = np.uint64(0), np.uint64(1), np.uint64(ENTRY_BYTES), np.uint64(0x7FFF)
    votes[:number] = 0
    for t in range(roots.size - 1):
        tree = np.uint64(words.ctypes.data) + np.uint64(roots[t]) * np.uint64(8)
        for p in range(number):
            store(base + np.uint64(p) * stride, zero)
        here, there = first, second
        end = _start_wave(packets, active, here)
        while end > here:
            out = there
            i = here
            while i < end:
                place, mask = load(i), load(i + np.uint64(8))
                i += entry
                node = place & child
                packet = base + (place >> np.uint64(16))
                word = load(tree + (node << np.uint64(3)))
                low = at_most(packet + ((word >> np.uint64(15)) & np.uint64(0x7FFE)), word)
                left, right = mask & low, mask & ~low
                left_crop = np.uint64(np.int64(word) >> np.int64(63))
                right_crop = np.uint64(np.int64(word << one) >> np.int64(63))
                store(packet, load(packet) | (left & left_crop) | (right & right_crop))
                # Children are stored in any case and kept by moving on: no branch to guess.
                store(out, (place ^ node) | ((word >> np.uint64(30)) & child))
                store(out + np.uint64(8), left)
                step = (word >> np.uint64(56)) & entry
                out += step if left != zero else zero
                store(out, (place ^ node) | ((word >> np.uint64(45)) & child))
                store(out + np.uint64(8), right)
                step = (word >> np.uint64(57)) & entry
                out += step if right != zero else zero
            end = out
            here, there = there, here
        for p in range(number):
            count(tally + np.uint64(p) * np.uint64(ROW_BYTES), load(base + np.uint64(p) * stride))


@njit(nogil=True, cache=True, error_model="numpy")
def _add_values(values: NDArray[np.float64], packets: Rows, sums: NDArray[np.float64]) -> None:
    """Add the value of the leaf that each pixel has reached; row 0 of a packet names it."""
    for p in range(sums.shape[0]):
        leaves, total = packets[p, 0], sums[p]
        for lane in range(LANES):
            total[lane] += values[np.int64(leaves[lane])]


@njit(nogil=True, cache=True, error_model="numpy")
def sum_leaves(
    words: Masks,
    roots: Starts,
    leaf_values: NDArray[np.float64],
    leaf_starts: Starts,
    baseline: float,
    packets: Rows,
    active: Masks,
    wave_buffer: NDArray[np.uint16],
    sums: NDArray[np.float64],
) -> None:
    """Baseline plus leaf values of every pixel of some packets, added in the order of the trees.

    As :func:`count_votes`, with ``sums`` (packet, lane) float64. Lanes that no bit of ``active``
    asks for get some value: ``leaf_values`` goes on after the last tree for as many as a tree has
    at most, so that a stale leaf number of theirs stays inside.
    """
    number = active.size
    base = np.uint64(packets.ctypes.data)
    first = np.uint64(wave_buffer.ctypes.data)
    second = first + np.uint64(wave_buffer.size)
    zero, entry, child = np.uint64(0), np.uint64(ENTRY_BYTES), np.uint64(0x7FFF)
    one = np.uint64(1)
    sums[:number] = baseline
    packets[:number, 0] = 0
    for t in range(roots.size - 1):
        tree = np.uint64(words.ctypes.data) + np.uint64(roots[t]) * np.uint64(8)
        here, there = first, second
        end = _start_wave(packets, active, here)
        while end > here:
            out = there
            i = here
            while i < end:
                place, mask = load(i), load(i + np.uint64(8))
                i += entry
                node = place & child
                packet = base + (place >> np.uint64(16))
                word = load(tree + (node << np.uint64(3)))
                low = at_most(packet + ((word >> np.uint64(15)) & np.uint64(0x7FFE)), word)
                left, right = mask & low, mask & ~low
                left_child = (word >> np.uint64(30)) & child
                right_child = (word >> np.uint64(45)) & child
                # All ones for a leaf, whose number the pixels that arrive there take.
                left_leaf = ((word >> np.uint64(60)) & one) - one
                right_leaf = ((word >> np.uint64(61)) & one) - one
                assign(packet, left & left_leaf, left_child, right & right_leaf, right_child)
                store(out, (place ^ node) | left_child)
                store(out + np.uint64(8), left)
                step = (word >> np.uint64(56)) & entry
                out += step if left != zero else zero
                store(out, (place ^ node) | right_child)
                store(out + np.uint64(8), right)
                step = (word >> np.uint64(57)) & entry
                out += step if right != zero else zero
            end = out
            here, there = there, here
        _add_values(leaf_values[leaf_starts[t] :], packets, sums)
