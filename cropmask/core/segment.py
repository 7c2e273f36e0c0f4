"""Objects of an image: the segmentation of Shepherd et al. 2019, deterministic.

Source: Shepherd, Bunting, Dymond: Operational Large-Scale Segmentation of Imagery Based on
Iterative Elimination, Remote Sensing 11(6) 658, 2019, https://doi.org/10.3390/rs11060658.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core._clump import clump, number_by_first_pixel
from cropmask.core._eliminate import eliminate
from cropmask.core._kmeans import cluster_table, table_of
from cropmask.core._segments import tabulate

CLUSTERS: Final = 60
"""Clusters of the k-means, as published."""


def segment(
    colors: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    *,
    min_pixels: int = 100,
    max_distance: float = 100.0,
    clusters: int = CLUSTERS,
    centers: NDArray[np.float64] | None = None,
    out: NDArray[np.int32] | None = None,
    threads: int = 1,
) -> NDArray[np.int32]:
    """Segments of a two-band image of 8 bits.

    K-means of the colors, 4-connected clumps of equal cluster, single pixels to the neighbor
    pixel of nearest color (whatever the distance), then segments of 1, 2, ... ``min_pixels - 1``
    pixels step by step to the larger neighbor of nearest mean color within ``max_distance``; a
    step is repeated while it merges any, at most :data:`~cropmask.core._eliminate.MOST_PASSES`
    times.

    A small segment stays small if at its step no neighbor was larger, or the nearest of those
    was not within ``max_distance``: so published, and wanted for a pond among fields.

    Ties go to the lowest cluster or label, distances of segments are float32, sums are exact:
    equal input gives equal bytes, with any number of threads. Needs
    4 bytes a pixel for the result, and 32 bytes for each segment that single pixels have left.

    Parameters
    ----------
    colors
        ``(2, y, x)``, as :func:`cropmask.core.stretch.stretch` makes them; fewer than 2**31
        pixels. Contiguous arrays are not copied.
    valid
        ``(y, x)``; False is nodata, whose colors do not matter.
    min_pixels
        Smallest segment that is not eliminated; 1 eliminates nothing.
    max_distance
        Largest distance of the mean colors of two segments that may merge.
    clusters
        Number of clusters of the k-means, 1 to 255.
    centers
        Their centers ``(band, cluster)``, if other images share them; default those of the image.
    out
        Contiguous memory ``(y, x)`` for the result, whatever it holds; default new memory.
    threads
        Threads that share what can be shared; the result does not depend on them.

    Returns
    -------
    NDArray[np.int32]
        Labels ``(y, x)``: 0 is nodata, 1..n dense, in the row-major order of first pixels.

    Raises
    ------
    ValueError
        If shapes or parameters do not fit together.
    """
    _check(colors, valid, min_pixels, max_distance, clusters)
    if out is not None and (out.shape != valid.shape or not out.flags.c_contiguous):
        raise ValueError(f"out {out.shape} is not contiguous memory of the shape {valid.shape}")
    labels = np.empty(valid.shape, np.int32) if out is None else out
    labels[:] = 0
    if not valid.any():
        return labels
    # Everything happens on the label image itself, as one row of pixels: copies of a tile of 10 m
    # would take 370 MB each.
    width = valid.shape[1]
    flat = labels.reshape(-1)
    pixels = np.ascontiguousarray(colors).reshape(2, -1)
    filled = np.ascontiguousarray(valid).reshape(-1)
    table = cluster_table(pixels, filled, clusters) if centers is None else table_of(centers)
    count = clump(pixels, filled, table, width, flat, attach_singles=min_pixels > 1)
    if min_pixels > 1:
        segments = tabulate(pixels, flat, width, count)
        limit = np.float32(max_distance) * np.float32(max_distance)
        eliminate(segments, min_pixels, limit, threads=threads)
        number_by_first_pixel(flat, np.zeros(count + 1, np.int32))
    return labels


def _check(
    colors: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    min_pixels: int,
    max_distance: float,
    clusters: int,
) -> None:
    if colors.dtype != np.uint8 or valid.dtype != np.bool_:
        raise ValueError(f"colors are uint8 and valid is bool, not {colors.dtype}, {valid.dtype}")
    if valid.ndim != 2 or colors.shape != (2, *valid.shape):
        raise ValueError(f"colors {colors.shape} are not two bands of valid {valid.shape}")
    if valid.size >= 2**31:
        raise ValueError(f"{valid.size} pixels are more than int32 labels can tell apart")
    if min_pixels < 1 or not max_distance >= 0 or not 1 <= clusters <= 255:
        raise ValueError(
            f"min_pixels={min_pixels} must be at least 1, max_distance={max_distance} not "
            f"negative, clusters={clusters} 1 to 255"
        )
