"""Connected pixels of equal cluster, and the end of those that are alone.

All of it happens on the label image itself, which first holds links: a pixel of a clump
points to an earlier pixel of it, the first one to itself. Negative values are states.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Colors = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Sides = NDArray[np.int8]

_NODATA: Final = -1
_SINGLE: Final = -2
_QUEUED: Final = -3
_ATTACHED: Final = -4


def clump(
    colors: Colors, valid: Mask, table: Colors, width: int, labels: Ints, *, attach_singles: bool
) -> int:
    """Label 4-connected pixels of equal cluster, and give single pixels to a neighbor.

    Fills ``labels`` ``(pixels,)``: 0 is nodata, 1..n in the order of the clumps' first pixels, not
    counting the single pixels that they were given. Returns the number of labels. ``colors`` is
    ``(2, pixels)``, in rows of ``width``; ``table`` has the cluster of each color code.

    A clump of one pixel goes to the clump of the neighbor pixel that is nearest in color, in
    rounds, as published: all decide on the state before the round, and only neighbors in clumps
    of two pixels or more count; a tie goes to above, left, right, below. The rounds go on until
    nothing changes. Singles among nothing but singles stay.
    """
    # Union-find in two passes, and rounds that only look at the neighbors of the round before:
    # linear, and no memory but 5 bytes for each single pixel.
    singles = _link(colors, valid, table, width, labels)
    if not attach_singles:
        return int(_number(labels))
    queue = np.empty(singles, np.int32)
    sides = np.empty(singles, np.int8)
    attached = _attach(colors, width, labels, queue, sides)
    count = int(_number(labels))
    _follow(labels, width, queue, sides, attached)
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def neighbor(pixel: int, x: int, side: int, width: int, pixels: int) -> int:
    """Pixel above (0), left (1), right (2) or below (3) one in column ``x``; -1 off image."""
    if side == 0:
        return pixel - width if pixel >= width else -1
    if side == 1:
        return pixel - 1 if x > 0 else -1
    if side == 2:
        return pixel + 1 if x < width - 1 else -1
    return pixel + width if pixel + width < pixels else -1


@njit(cache=True, nogil=True, error_model="numpy")
def _root(links: Ints, pixel: int) -> int:
    """First pixel of a clump, as far as its links say."""
    while links[pixel] != pixel:
        # Each link on the way is made to skip one: later walks are half as long.
        links[pixel] = links[links[pixel]]
        pixel = links[pixel]
    return pixel


@njit(cache=True, nogil=True, error_model="numpy")
def _link(colors: Colors, valid: Mask, table: Colors, width: int, links: Ints) -> int:
    """Write the links of every pixel; the number of clumps of one pixel."""
    # The clusters of two rows are kept, so that each pixel's color is looked up once.
    above = np.full(width, _NODATA, np.int32)
    here = np.full(width, _NODATA, np.int32)
    singles = 0
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
            if not (as_left or as_above):
                links[pixel] = _SINGLE
                singles += 1
                continue
            if as_left and links[pixel - 1] == _SINGLE:
                links[pixel - 1] = pixel - 1
                singles -= 1
            if as_above and links[pixel - width] == _SINGLE:
                links[pixel - width] = pixel - width
                singles -= 1
            links[pixel] = links[pixel - 1] if as_left else links[pixel - width]
            # Where the pixel above left is of the cluster too, left and above are one clump
            # already. Else the later root is linked to the earlier one: links only point back,
            # which lets one pass in image order turn them into labels, in the order of first
            # pixels.
            if as_left and as_above and above[x - 1] != cluster:
                left = _root(links, pixel - 1)
                top = _root(links, pixel - width)
                links[max(left, top)] = min(left, top)
        above, here = here, above
    return singles


@njit(cache=True, nogil=True, error_model="numpy")
def _attach(colors: Colors, width: int, links: Ints, queue: Ints, sides: Sides) -> int:
    """Decide in rounds which side's clump takes each single pixel; how many are taken."""
    # All singles of a round decide before any of them counts as attached, so that no order of
    # pixels matters: those of the first round are queued here, then each round's by its neighbors.
    begin = 0
    end = 0
    for pixel in range(links.size):
        if links[pixel] == _SINGLE:
            side = _most_similar(colors, width, links, pixel)
            if side >= 0:
                queue[end] = pixel
                sides[end] = side
                end += 1
    while begin < end:
        for i in range(begin, end):
            links[queue[i]] = _ATTACHED
        begin, end = end, _singles_beside(links, width, queue, begin, end)
        for i in range(begin, end):
            sides[i] = _most_similar(colors, width, links, queue[i])
    return end


@njit(cache=True, nogil=True, error_model="numpy")
def _most_similar(colors: Colors, width: int, links: Ints, pixel: int) -> int:
    """Side of the neighbor of nearest color in a clump of two pixels or more; -1 if none."""
    best = -1
    least = np.int64(0)
    x = pixel % width
    for side in range(4):
        other = neighbor(pixel, x, side, width, links.size)
        if other >= 0 and (links[other] >= 0 or links[other] == _ATTACHED):
            first = np.int64(colors[0, pixel]) - np.int64(colors[0, other])
            second = np.int64(colors[1, pixel]) - np.int64(colors[1, other])
            squared = first * first + second * second
            if best < 0 or squared < least:
                best = side
                least = squared
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _singles_beside(links: Ints, width: int, queue: Ints, begin: int, end: int) -> int:
    """Queue the singles beside those queued from ``begin`` to ``end``; the new end."""
    last = end
    for i in range(begin, end):
        x = queue[i] % width
        for side in range(4):
            other = neighbor(queue[i], x, side, width, links.size)
            if other >= 0 and links[other] == _SINGLE:
                links[other] = _QUEUED
                queue[last] = other
                last += 1
    return last


@njit(cache=True, nogil=True, error_model="numpy")
def _number(links: Ints) -> int:
    """Turn links to labels, in place, but for attached pixels; how many labels there are."""
    count = 0
    for pixel in range(links.size):
        link = int(links[pixel])
        if link == _NODATA:
            links[pixel] = 0
        elif link in (pixel, _SINGLE):
            count += 1
            links[pixel] = count
        elif link >= 0:
            # An earlier pixel, so it holds its label by now.
            links[pixel] = links[link]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(labels: Ints, width: int, queue: Ints, sides: Sides, attached: int) -> None:
    """Label the attached pixels, in the order in which they were attached."""
    # That order has a pixel's neighbor labeled before it, if that one was attached as well.
    for i in range(attached):
        x = queue[i] % width
        labels[queue[i]] = labels[neighbor(queue[i], x, sides[i], width, labels.size)]


@njit(cache=True, nogil=True, error_model="numpy")
def number_by_first_pixel(labels: Ints, numbers: Ints) -> int:
    """Renumber labels 1..n in the order of their first pixels, in place; n.

    ``numbers`` is a scratch array, one element a label, all 0.
    """
    count = 0
    for pixel in range(labels.size):
        label = labels[pixel]
        if label > 0:
            if numbers[label] == 0:
                count += 1
                numbers[label] = count
            labels[pixel] = numbers[label]
    return count
