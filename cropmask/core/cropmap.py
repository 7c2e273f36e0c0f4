"""What comes out of a tile: three bands and the figures that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class CropMap:
    """The three bands of one tile, uint8 ``(y, x)``, nodata 255 in all of them alike."""

    mask: NDArray[np.uint8]
    """1 crop, 0 not."""
    prob: NDArray[np.uint8]
    """Probability of crop in percent, over 50 exactly where ``mask`` is 1."""
    filtered: NDArray[np.uint8]
    """1 where most of the pixel's segment is crop, 0 not."""


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
