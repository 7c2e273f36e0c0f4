"""The published segmentation in plain numpy, scipy and scikit-learn: the baseline's object filter.

The steps of Shepherd et al. 2019 (https://doi.org/10.3390/rs11060658), vectorized where numpy
allows it and otherwise as one would write them down; the production software does them in C++.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import KMeans

CLUSTERS = 60
SAMPLED = 100
"""One pixel of so many teaches the k-means, as published."""
_SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))

Ints = NDArray[np.int64]


def stretch(ndvi: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Bands ``(band, y, x)`` on 8 bits: mean +- 2 sd fills 0 to 255."""
    out = np.zeros(ndvi.shape, np.uint8)
    for band, colors in zip(ndvi, out, strict=True):
        mean, deviation = band[valid].mean(), band[valid].std()
        scaled = (band - mean + 2 * deviation) * (255 / (4 * deviation))
        colors[:] = np.clip(np.rint(scaled), 0, 255)
    return out


def segment(
    colors: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    *,
    min_pixels: int = 100,
    max_distance: float = 100.0,
) -> NDArray[np.int32]:
    """Segments ``(y, x)``, 0 where not valid, of colors ``(band, y, x)``."""
    labels = clump(cluster(colors, valid), valid)
    attach_singles(labels, colors)
    return eliminate(labels, colors, min_pixels, max_distance)


def cluster(colors: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """K-means of the colors ``(y, x)``; -1 where not valid."""
    pixels = colors[:, valid].T
    clusters = min(CLUSTERS, max(1, len(np.unique(pixels[::SAMPLED], axis=0))))
    means = KMeans(clusters, n_init=1, random_state=0).fit(pixels[::SAMPLED])
    out = np.full(valid.shape, -1, np.int32)
    out[valid] = means.predict(pixels)
    return out


def clump(clusters: NDArray[np.int32], valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """4-connected areas of equal cluster, numbered from 1; 0 where not valid."""
    labels = np.zeros(valid.shape, np.int32)
    total = 0
    for number in range(int(clusters.max()) + 1):
        found, count = ndimage.label(clusters == number)
        labels += np.where(found > 0, found + total, 0).astype(np.int32)
        total += count
    return labels


def attach_singles(labels: NDArray[np.int32], colors: NDArray[np.uint8]) -> None:
    """Give single pixels the segment of the neighbor pixel of nearest color, in place."""
    while True:
        sizes = np.bincount(labels.reshape(-1))
        single = (sizes[labels] == 1) & (labels > 0)
        y, x = np.nonzero(single)
        best = np.full(y.size, np.iinfo(np.int64).max)
        target = np.zeros(y.size, np.int32)
        for down, across in _SHIFTS:
            to_y, to_x = y + down, x + across
            inside = (to_y >= 0) & (to_y < labels.shape[0]) & (to_x >= 0) & (to_x < labels.shape[1])
            to_y, to_x = np.where(inside, to_y, y), np.where(inside, to_x, x)
            distance = ((colors[:, y, x].astype(np.int64) - colors[:, to_y, to_x]) ** 2).sum(axis=0)
            # A neighbor that is single itself gets its own turn; 0 is nodata.
            usable = inside & ~single[to_y, to_x] & (labels[to_y, to_x] > 0) & (distance < best)
            best = np.where(usable, distance, best)
            target = np.where(usable, labels[to_y, to_x], target)
        moved = target > 0
        if not moved.any():
            return
        labels[y[moved], x[moved]] = target[moved]


def eliminate(
    labels: NDArray[np.int32], colors: NDArray[np.uint8], min_pixels: int, max_distance: float
) -> NDArray[np.int32]:
    """Merge segments of 1, 2, ... pixels into their larger neighbor of nearest mean color."""
    flat = labels.reshape(-1)
    sizes = np.bincount(flat)
    sums = np.array([np.bincount(flat, weights=band.reshape(-1)) for band in colors])
    parent = np.arange(sizes.size)
    pairs = _find_pairs(labels)
    for size in range(1, min_pixels):
        small = sizes[pairs[0]] == size
        if not small.any():
            continue
        start, end = pairs[:, small & (sizes[pairs[1]] > size)]
        means = [sums[:, side] / sizes[side] for side in (start, end)]
        distance = np.sqrt(((means[0] - means[1]) ** 2).sum(axis=0))
        near = distance <= max_distance
        start, end, distance = start[near], end[near], distance[near]
        order = np.lexsort((end, distance, start))
        start, end = start[order], end[order]
        first = np.flatnonzero(np.diff(start, prepend=-1))
        start, end = start[first], end[first]
        # A target is larger than this size, so it stays in this step: no chains, no cycles.
        parent[start] = end
        np.add.at(sizes, end, sizes[start])
        for band in sums:
            np.add.at(band, end, band[start])
        pairs = _merge_pairs(pairs, parent, sizes, min_pixels)
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return parent[labels].astype(np.int32)


def _find_pairs(labels: NDArray[np.int32]) -> Ints:
    """Neighboring segments ``(2, pair)``, each pair in both directions."""
    sides = (
        (labels[:, :-1].reshape(-1), labels[:, 1:].reshape(-1)),
        (labels[:-1].reshape(-1), labels[1:].reshape(-1)),
    )
    one, other = (np.concatenate(side).astype(np.int64) for side in zip(*sides, strict=True))
    edge = (one != other) & (one > 0) & (other > 0)
    one, other = one[edge], other[edge]
    return _unique(np.array([np.concatenate((one, other)), np.concatenate((other, one))]))


def _merge_pairs(pairs: Ints, parent: Ints, sizes: Ints, min_pixels: int) -> Ints:
    """Pairs after a merge; those from segments that are large enough are of no use."""
    merged = parent[pairs]
    useful = (merged[0] != merged[1]) & (sizes[merged[0]] < min_pixels)
    return _unique(merged[:, useful])


def _unique(pairs: Ints) -> Ints:
    base = int(pairs.max(initial=0)) + 1
    keys = np.unique(pairs[0] * base + pairs[1])
    return np.array(np.divmod(keys, base))


def majority(labels: NDArray[np.int32], crop: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether more than half of each pixel's segment is crop."""
    flat = labels.reshape(-1)
    share = np.bincount(flat, weights=crop.reshape(-1)) / np.maximum(np.bincount(flat), 1)
    return (share > 0.5)[labels]
