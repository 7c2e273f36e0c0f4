"""What comes out of a tile: three bands and the figures that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropmask.core.strips import Exclusion
from cropmask.product import NODATA


@dataclass(frozen=True, slots=True, eq=False)
class CropMap:
    """The three bands of one tile, uint8 ``(y, x)``, nodata 255 in all of them alike."""

    mask: NDArray[np.uint8]
    """1 crop, 0 not."""
    prob: NDArray[np.uint8]
    """Probability of crop in percent, over 50 exactly where ``mask`` is 1."""
    filtered: NDArray[np.uint8]
    """1 where most of the pixel's segment is crop, 0 not."""
    extras: Mapping[str, NDArray[np.uint8]] = field(default_factory=lambda: MappingProxyType({}))
    """Further bands by name, as far as they are kept."""

    def band(self, name: str) -> NDArray[np.uint8]:
        """Pixels of a band."""
        if name in self.extras:
            return self.extras[name]
        pixels: NDArray[np.uint8] = getattr(self, name)
        return pixels


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of one tile; areas in hectares, true ones since the grid is equal-area."""

    mapped_hectares: float
    """Area that is not nodata."""
    crop_hectares: float
    """Crop by pixel."""
    crop_filtered_hectares: float
    """Crop by object."""
    mean_probability: float | None
    """Mean of ``prob`` in percent where it is not nodata; None if everything is."""
    missing_hectares: float
    """No GeoMAD of one or both half-years, inside the region."""
    half_missing_hectares: float
    """Mapped from one half-year only, where the region allows it."""
    outside_hectares: float
    """Outside the region's boundary."""
    protected_hectares: float
    water_hectares: float
    steep_hectares: float
    high_hectares: float
    extras: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    """Figures of the extra bands: means in percent, areas in hectares."""

    @property
    def figures(self) -> dict[str, float | None]:
        """All of them by name, as an item has them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extras"}
        return {**own, **self.extras}

    @property
    def means(self) -> dict[str, float | None]:
        """Means of bands, by name."""
        found = {name.removeprefix("mean_"): value for name, value in self.extras.items()}
        return {**found, "prob": self.mean_probability}


@dataclass(frozen=True, slots=True, eq=False)
class ValidArea:
    """Where a tile has data: a window of its pixels, and blocks of pixels within it."""

    rows: slice
    columns: slice
    """The smallest window that holds every pixel that is not nodata."""
    edge: int
    """Pixels of a block's edge; the last blocks of the window may be smaller."""
    blocks: NDArray[np.bool_]
    """Whether a block of the window has such a pixel ``(y, x)``."""


def find_valid(band: NDArray[np.uint8], most: int = 48) -> ValidArea | None:
    """Where a band, uint8 ``(y, x)``, is not nodata; None if it is nodata everywhere.

    The window has at most ``most`` blocks along an edge; a block's rows are in memory at a time.
    """
    rows = np.flatnonzero([(row != NODATA).any() for row in band])
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    seen = np.zeros(band.shape[1], bool)
    for row in band[top:bottom]:
        seen |= row != NODATA
    columns = np.flatnonzero(seen)
    left, right = int(columns[0]), int(columns[-1]) + 1
    edge = -(-max(bottom - top, right - left) // most)
    starts = np.arange(0, right - left, edge)
    blocks = [
        np.logical_or.reduceat(
            (band[row : min(row + edge, bottom), left:right] != NODATA).any(axis=0), starts
        )
        for row in range(top, bottom, edge)
    ]
    return ValidArea(slice(top, bottom), slice(left, right), edge, np.array(blocks))


def sum_counts(band: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of pixels of each value, ``(256,)``; row by row, to make no integers of 8 bytes."""
    counts = np.zeros(256, np.int64)
    for row in band:
        counts += np.bincount(row, minlength=256)
    return counts


def mean_percent(counts: NDArray[np.int64], table: NDArray[np.uint8] | None = None) -> float | None:
    """Mean of a band of percentages, of the ``counts`` of its values; None if all is nodata.

    With a ``table`` ``(101,)`` it is the mean of what that makes of the percentages.
    """
    mapped = int(counts[:101].sum())
    values = np.arange(101) if table is None else table.astype(np.int64)
    return round(int(counts[:101] @ values) / mapped, 4) if mapped else None


def statistics(
    prob: NDArray[np.uint8],
    filtered: NDArray[np.uint8],
    excluded: NDArray[np.uint8],
    one_half: NDArray[np.uint8],
    pixel_area_m2: float,
) -> Statistics:
    """Figures of a finished map; its mask is in ``prob``.

    ``excluded`` has the :class:`~cropmask.core.strips.Exclusion` of every pixel ``(y, x)``,
    ``one_half`` the pixels seen in one half-year only, 8 to a byte ``(y, ceil(x / 8))``.
    """
    by_prob, by_exclusion, by_object = (np.zeros(256, np.int64) for _ in range(3))
    missing = halved = 0
    width = excluded.shape[1]
    # Row by row: bincount makes integers of 8 bytes of its input.
    for row, why in enumerate(excluded):
        by_prob += np.bincount(prob[row], minlength=256)
        by_exclusion += np.bincount(why, minlength=256)
        by_object += np.bincount(filtered[row], minlength=256)
        empty = prob[row] == NODATA
        missing += int(np.count_nonzero(empty & (why == Exclusion.NONE)))
        alone = np.unpackbits(one_half[row], count=width).view(bool)
        halved += int(np.count_nonzero(alone & ~empty))
    mapped = int(by_prob[:101].sum())

    def hectares(pixels: int | np.integer[Any]) -> float:
        return round(int(pixels) * pixel_area_m2 / 10_000, 4)

    return Statistics(
        mapped_hectares=hectares(mapped),
        crop_hectares=hectares(by_prob[51:101].sum()),
        crop_filtered_hectares=hectares(by_object[1]),
        mean_probability=mean_percent(by_prob),
        missing_hectares=hectares(missing),
        half_missing_hectares=hectares(halved),
        outside_hectares=hectares(by_exclusion[Exclusion.OUTSIDE]),
        protected_hectares=hectares(by_exclusion[Exclusion.PROTECTED]),
        water_hectares=hectares(by_exclusion[Exclusion.WATER]),
        steep_hectares=hectares(by_exclusion[Exclusion.STEEP]),
        high_hectares=hectares(by_exclusion[Exclusion.HIGH]),
    )
