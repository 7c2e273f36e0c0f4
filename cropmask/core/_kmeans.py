"""K-means of two-band 8-bit colors, on their histogram.

An image has at most 65 536 colors, so the clustering never sees pixels: its cost does not
grow with the image.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

COLOR_CODES: Final = 65536
"""Number of two-band colors; the code of a color is ``256 * first + second``."""

SAMPLE_STEP: Final = 100
"""Every how many valid pixels one is sampled."""

LEAST_SAMPLE: Final = 10_000
"""Sampling is denser than :data:`SAMPLE_STEP` where it would give fewer pixels than this."""

MAX_ITERATIONS: Final = 300
"""Lloyd iterations after which the centers are taken as they are."""

_BLOCK: Final = 1024


def cluster_table(
    colors: NDArray[np.uint8], valid: NDArray[np.bool_], clusters: int
) -> NDArray[np.uint8]:
    """Cluster of every color code, by k-means on a sample of the valid pixels (at least one)."""
    step = sample_step(int(np.count_nonzero(valid)))
    return table_of(find_centers(sample_colors(colors, valid, step), clusters))


def find_centers(counts: _Ints, clusters: int) -> _Floats:
    """Centers ``(band, cluster)`` of a sample: how often each color code occurs, not all 0.

    Starting centers lie evenly on the diagonal of the sample's bounding box, without its
    corners. Lloyd iterations run until no color changes its cluster, at most
    :data:`MAX_ITERATIONS`; a tie goes to the lower cluster, an empty cluster stays where it is.
    """
    # Pixels of one color always share a cluster, so a color that occurs n times is one point of
    # weight n: an iteration costs some thousand colors, whatever the image's size, and sums of
    # whole numbers are exact, so that no order of pixels can matter.
    codes = np.flatnonzero(counts)
    first, second = codes >> 8, codes & 255
    centers = np.stack([_diagonal(first, clusters), _diagonal(second, clusters)])
    _move_centers(centers, first, second, counts[codes], MAX_ITERATIONS)
    return centers


def table_of(centers: _Floats) -> NDArray[np.uint8]:
    """Cluster of every color code: the nearest of at most 255 centers ``(band, cluster)``."""
    # A color that a sample missed needs a cluster too: every pixel is looked up in this table.
    every = np.arange(COLOR_CODES)
    table = np.empty(COLOR_CODES, np.int64)
    _assign(centers, (every >> 8).astype(np.float64), (every & 255).astype(np.float64), table)
    return table.astype(np.uint8)


def sample_step(pixels: int) -> int:
    """Every how many valid pixels one is sampled, for this number of valid pixels."""
    return max(1, min(SAMPLE_STEP, pixels // LEAST_SAMPLE))


def _diagonal(values: _Ints, clusters: int) -> _Floats:
    low, high = int(values.min()), int(values.max())
    steps = np.arange(1, clusters + 1, dtype=np.float64)
    return low + steps * ((high - low) / (clusters + 1))


@njit(cache=True, nogil=True, error_model="numpy")
def sample_colors(colors: NDArray[np.uint8], valid: NDArray[np.bool_], step: int) -> _Ints:
    """Histogram over color codes of every ``step``-th valid pixel, from the first on."""
    counts = np.zeros(COLOR_CODES, np.int64)
    wait = 0
    for pixel in range(valid.size):
        if valid[pixel]:
            if wait == 0:
                counts[np.int64(colors[0, pixel]) * 256 + colors[1, pixel]] += 1
                wait = step
            wait -= 1
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def _assign(centers: _Floats, first: _Floats, second: _Floats, nearest: _Ints) -> bool:
    """Write the nearest center of every color; whether any differs from what was there."""
    distance = np.empty(_BLOCK, np.float64)
    best = np.empty(_BLOCK, np.int64)
    changed = False
    for start in range(0, first.size, _BLOCK):
        size = min(_BLOCK, first.size - start)
        distance[:size] = np.inf
        best[:size] = 0
        # Centers outside, colors inside: branch-free, so that it runs on vector registers.
        for k in range(centers.shape[1]):
            for i in range(size):
                across = first[start + i] - centers[0, k]
                along = second[start + i] - centers[1, k]
                squared = across * across + along * along
                closer = squared < distance[i]
                distance[i] = squared if closer else distance[i]
                best[i] = k if closer else best[i]
        for i in range(size):
            changed |= nearest[start + i] != best[i]
            nearest[start + i] = best[i]
    return changed


@njit(cache=True, nogil=True, error_model="numpy")
def _move_centers(
    centers: _Floats, first: _Ints, second: _Ints, weight: _Ints, iterations: int
) -> int:
    """Lloyd's iterations on weighted colors, in place; how many it took."""
    clusters = centers.shape[1]
    nearest = np.full(first.size, -1, np.int64)
    first_value = first.astype(np.float64)
    second_value = second.astype(np.float64)
    for iteration in range(iterations):
        if not _assign(centers, first_value, second_value, nearest):
            return iteration
        sums = np.zeros((3, clusters), np.int64)
        for i in range(first.size):
            sums[0, nearest[i]] += weight[i] * first[i]
            sums[1, nearest[i]] += weight[i] * second[i]
            sums[2, nearest[i]] += weight[i]
        for k in range(clusters):
            if sums[2, k] > 0:
                centers[0, k] = sums[0, k] / sums[2, k]
                centers[1, k] = sums[1, k] / sums[2, k]
    return iterations
