"""Colors that several images share: one stretch and one set of clusters for all of them.

With colors of its own, each image is segmented by other rules than its neighbors, and objects end
where images do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core._kmeans import find_centers, sample_colors
from cropmask.core._packets import EDGE, find_active
from cropmask.core.segment import CLUSTERS
from cropmask.core.stretch import NODATA_NDVI, Spread, find_spreads, stretch
from cropmask.core.strips import REFLECTANCE

MARGIN_METERS: Final = 1500
"""Width of what is segmented around an image, so that its objects are those of a larger one.

Merges of small segments follow each other: of 72 made-up scenes of 10 m, 61 differ with 500 m, 8
with 750 m, 1 with 1000 m and none with 1500 m (docs/operate-region.md)."""
MARGIN_PIXELS: Final = 50
"""The same in pixels, at least: coarse pixels make objects of few of them."""

_RED, _NIR = REFLECTANCE.index("red"), REFLECTANCE.index("nir")


def margin_pixels(resolution: int) -> int:
    """Pixels of the margin around an image: 150 of 10 m, 75 of 20 m, 50 of coarser ones."""
    return max(MARGIN_PIXELS, MARGIN_METERS // resolution)


@dataclass(frozen=True, slots=True)
class SharedColors:
    """How NDVI of two half-years becomes colors and clusters."""

    spreads: tuple[Spread, Spread]
    """Of NDVI x 10 000, by half-year."""
    centers: tuple[tuple[float, ...], tuple[float, ...]]
    """Of the clusters on 8 bits, ``(half, cluster)``."""

    def __post_init__(self) -> None:
        """Refuse what no sample can have; raises ValueError."""
        spread = [value for each in self.spreads for value in (each.mean, each.deviation)]
        first, second = self.centers
        if not all(map(math.isfinite, (*spread, *first, *second))):
            raise ValueError("a value is not finite")
        if any(each.deviation < 0 for each in self.spreads):
            raise ValueError("a standard deviation is negative")
        if len(first) != len(second) or not 1 <= len(first) <= 255:
            raise ValueError("clusters are 1 to 255, with a center in each half-year")

    @property
    def table(self) -> NDArray[np.float64]:
        """The centers as an array ``(half, cluster)``."""
        return np.array(self.centers, np.float64)


def fit_colors(samples: Iterable[NDArray[np.int16]], clusters: int = CLUSTERS) -> SharedColors:
    """Colors of samples of NDVI x 10 000, each ``(half, pixel)``; at least one pixel.

    ``NODATA_NDVI`` does not count. Their order does not matter.

    Raises
    ------
    ValueError
        If there is no pixel.
    """
    kept = [np.ascontiguousarray(sample[:, sample[0] != NODATA_NDVI]) for sample in samples]
    ndvi = np.concatenate([*kept, np.empty((2, 0), np.int16)], axis=1)
    if ndvi.shape[1] == 0:
        raise ValueError("no pixel has NDVI")
    first, second = find_spreads(ndvi)
    valid = np.ones(ndvi.shape[1], np.bool_)
    counts = sample_colors(stretch(ndvi, spreads=(first, second)), valid, 1)
    low, high = find_centers(counts, clusters).tolist()
    return SharedColors((first, second), (tuple(low), tuple(high)))


def find_ndvi(
    red: NDArray[np.uint16], nir: NDArray[np.uint16], *, need_both: bool
) -> NDArray[np.int16]:
    """NDVI x 10 000 ``(half, y, x)`` of stored reflectances ``(half, y, x)``, as a tile has it.

    A half-year in which both are 0 was not seen; ``NODATA_NDVI`` where none was, or not both
    if that is needed.
    """
    shape = red.shape[1:]
    raw = np.zeros((2, len(REFLECTANCE), *shape), np.uint16)
    raw[:, _RED], raw[:, _NIR] = red, nir
    ndvi, halves = np.empty((2, *shape), np.int16), np.empty(shape, np.uint8)
    active = np.empty(-(-shape[1] // EDGE), np.uint64)
    for top in range(0, shape[0], EDGE):
        find_active(raw[0], raw[1], need_both, top, 0, active, halves, ndvi)
    return ndvi
