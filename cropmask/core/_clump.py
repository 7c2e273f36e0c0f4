"""Connected pixels of equal cluster, and the end of those that are alone."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_NODATA = -1


def clump(
    colors: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    table: NDArray[np.uint8],
    width: int,
    labels: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Label 4-connected pixels of equal cluster.

    Union-find on the label image itself (two passes, no further memory): a pixel points to an
    earlier pixel of its clump, the first one to itself.

    Parameters
    ----------
    colors
        ``(2, pixels)``, rows of ``width`` one after the other.
    valid
        ``(pixels,)``.
    table
        Cluster by code of the color (:mod:`cropmask.core._kmeans`).
    width
        Pixels in a row.
    labels
        ``(pixels,)``, written: 0 is nodata, 1..n in the order of the clumps' first pixels.

    Returns
    -------
    NDArray[np.int32]
        Pixels by label, length ``n + 1``; label 0 counts 0.
    """
    clumps = _link(colors, valid, table, width, labels)
    sizes = np.zeros(clumps + 1, np.int32)
    _number(labels, sizes)
    return sizes


@njit(cache=True, nogil=True, error_model="numpy")
def _root(links: NDArray[np.int32], pixel: int) -> int:
    while links[pixel] != pixel:
        links[pixel] = links[links[pixel]]
        pixel = links[pixel]
    return pixel


@njit(cache=True, nogil=True, error_model="numpy")
def _link(
    colors: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    table: NDArray[np.uint8],
    width: int,
    links: NDArray[np.int32],
) -> int:
    """Point every valid pixel to an earlier one of its clump; the number of clumps."""
    above = np.full(width, _NODATA, np.int32)
    here = np.full(width, _NODATA, np.int32)
    clumps = 0
    for row in range(links.size // width):
        for x in range(width):
            pixel = row * width + x
            if not valid[pixel]:
                here[x] = _NODATA
                links[pixel] = _NODATA
                continue
            cluster = np.int32(table[np.int64(colors[0, pixel]) * 256 + colors[1, pixel]])
            here[x] = cluster
            as_left = x > 0 and here[x - 1] == cluster
            as_above = above[x] == cluster
            if as_left:
                links[pixel] = links[pixel - 1]
                # Through the pixel between them, left and above are one clump already.
                if as_above and above[x - 1] != cluster:
                    left = _root(links, pixel - 1)
                    top = _root(links, pixel - width)
                    links[max(left, top)] = min(left, top)
                    clumps -= left != top
            elif as_above:
                links[pixel] = links[pixel - width]
            else:
                links[pixel] = pixel
                clumps += 1
        above, here = here, above
    return clumps


@njit(cache=True, nogil=True, error_model="numpy")
def _number(links: NDArray[np.int32], sizes: NDArray[np.int32]) -> None:
    """Turn links to labels in place, and count pixels."""
    label = np.int32(0)
    for pixel in range(links.size):
        link = np.int64(links[pixel])
        if link == _NODATA:
            links[pixel] = 0
            continue
        if link == pixel:
            label += np.int32(1)
            links[pixel] = label
        else:
            # An earlier pixel, so it holds its label by now.
            links[pixel] = links[link]
        sizes[links[pixel]] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def neighbor(pixel: int, x: int, side: int, width: int, pixels: int) -> int:
    """Pixel above (0), left (1), right (2) or below (3) of one in column ``x``; -1 off image."""
    if side == 0:
        return pixel - width if pixel >= width else -1
    if side == 1:
        return pixel - 1 if x > 0 else -1
    if side == 2:
        return pixel + 1 if x < width - 1 else -1
    return pixel + width if pixel + width < pixels else -1


@njit(cache=True, nogil=True, error_model="numpy")
def _most_similar(
    colors: NDArray[np.uint8],
    labels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    width: int,
    pixel: int,
) -> int:
    """Side of the neighbor of nearest color in a clump of two pixels or more; -1 if none."""
    best = -1
    least = 0
    x = pixel % width
    for side in range(4):
        other = neighbor(pixel, x, side, width, labels.size)
        if other >= 0 and sizes[labels[other]] > 1:
            first = np.int64(colors[0, pixel]) - np.int64(colors[0, other])
            second = np.int64(colors[1, pixel]) - np.int64(colors[1, other])
            squared = first * first + second * second
            if best < 0 or squared < least:
                best = side
                least = squared
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def attach_singles(
    colors: NDArray[np.uint8],
    labels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    width: int,
) -> None:
    """Give clumps of one pixel to the clump of the neighbor pixel that is nearest in color.

    In rounds, as published: all decide on the state before the round, and only neighbors in
    clumps of two pixels or more count; a tie goes to above, left, right, below. The rounds go
    on until nothing changes; each looks only at the neighbors of the round before, so that the
    whole is linear. Singles among nothing but singles stay.

    Parameters
    ----------
    colors
        ``(2, pixels)``.
    labels
        ``(pixels,)``, changed in place.
    sizes
        Pixels by label, changed in place; 0 for labels that are gone.
    width
        Pixels in a row.
    """
    singles = np.count_nonzero(sizes[1:] == 1)
    queue = np.empty(singles, np.int32)
    sides = np.empty(singles, np.int8)
    begin = 0
    end = _first_round(colors, labels, sizes, width, queue, sides)
    while begin < end:
        for i in range(begin, end):
            label = labels[neighbor(queue[i], queue[i] % width, sides[i], width, labels.size)]
            sizes[labels[queue[i]]] = 0
            sizes[label] += 1
            labels[queue[i]] = label
        last = _singles_beside(labels, sizes, width, queue, begin, end)
        begin, end = end, last
        for i in range(begin, end):
            sides[i] = _most_similar(colors, labels, sizes, width, queue[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _first_round(
    colors: NDArray[np.uint8],
    labels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    width: int,
    queue: NDArray[np.int32],
    sides: NDArray[np.int8],
) -> int:
    """Find the singles that can be attached, and where to; how many."""
    end = 0
    for pixel in range(labels.size):
        if sizes[labels[pixel]] == 1:
            side = _most_similar(colors, labels, sizes, width, pixel)
            if side >= 0:
                queue[end] = pixel
                sides[end] = side
                end += 1
    return end


@njit(cache=True, nogil=True, error_model="numpy")
def _singles_beside(
    labels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    width: int,
    queue: NDArray[np.int32],
    begin: int,
    end: int,
) -> int:
    """Queue the singles beside those queued from ``begin`` to ``end``; the new end."""
    last = end
    for i in range(begin, end):
        for side in range(4):
            other = neighbor(queue[i], queue[i] % width, side, width, labels.size)
            if other >= 0 and sizes[labels[other]] == 1:
                # Still nothing that a single may join, but not to be found twice.
                sizes[labels[other]] = -1
                queue[last] = other
                last += 1
    return last
