"""NDVI of a tile on 8 bits, as the segmentation wants it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

NODATA_NDVI: Final = -32768
"""Value of :func:`stretch`'s input where there is no NDVI, in both bands alike."""

DEVIATIONS: Final = 2
"""Half of the stretched range, in standard deviations."""

_LOWEST: Final = -32768
_VALUES: Final = 65536


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of the NDVI x 10 000 of a band."""

    mean: float
    deviation: float


def stretch(
    ndvi: NDArray[np.int16],
    out: NDArray[np.uint8] | None = None,
    spreads: Sequence[Spread] | None = None,
) -> NDArray[np.uint8]:
    """Colors of NDVI x 10 000, ``(band, y, x)``: in each band mean +- 2 sd fills 0 to 255.

    ``spreads`` says what they are, by band; default those of the image itself.

    Nothing is reserved for nodata: those pixels get some color, and a caller that needs to
    tell them apart keeps ``ndvi[0] != NODATA_NDVI``. A constant band is 128.

    Both arrays must be contiguous. ``out`` may be the first half of the memory of ``ndvi``
    (``ndvi.reshape(-1).view(np.uint8)[: ndvi.size].reshape(ndvi.shape)``), which it overwrites.

    Source: the image preparation of Shepherd et al. 2019, Remote Sensing 11(6) 658.
    """
    out = np.empty(ndvi.shape, np.uint8) if out is None else out
    if not (ndvi.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError("stretch needs contiguous arrays")
    if ndvi.shape != out.shape:
        raise ValueError(f"out is {out.shape}, but NDVI is {ndvi.shape}")
    # A view keeps the memory shared; tables first, since out may overwrite what they are made of.
    tables = [_color_table(spread) for spread in spreads or find_spreads(ndvi)]
    for band, table, colors in zip(ndvi, tables, out, strict=True):
        _look_up(band.reshape(-1), table, colors.reshape(-1))
    return out


def find_spreads(ndvi: NDArray[np.int16]) -> tuple[Spread, ...]:
    """Spread of each band of NDVI x 10 000, ``(band, ...)``, contiguous; zeros without values."""
    return tuple(_spread(_moments(band.reshape(-1))) for band in ndvi)


def _spread(moments: tuple[np.int64, np.int64, np.int64]) -> Spread:
    # Python's integers are exact and its quotient is correctly rounded: same bits everywhere.
    count, total, squares = (int(moment) for moment in moments)
    if count == 0:
        return Spread(0.0, 0.0)
    deviation = math.sqrt((count * squares - total * total) / (count * count))
    return Spread(total / count, deviation)


def _color_table(spread: Spread) -> NDArray[np.uint8]:
    """Color of every int16 value, at index ``value + 32768``."""
    mean, deviation = spread.mean, spread.deviation
    if deviation == 0:
        return np.full(_VALUES, 128, np.uint8)
    values = np.arange(_VALUES, dtype=np.float64) + _LOWEST
    low = mean - DEVIATIONS * deviation
    scaled = (values - low) * 255 / (2 * DEVIATIONS * deviation)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")
def _moments(values: NDArray[np.int16]) -> tuple[np.int64, np.int64, np.int64]:
    """Number, sum and sum of squares of the valid values; exact up to 9e10 pixels."""
    # Integer sums have no order: strips, threads and reading leave no trace in the colors.
    count = np.int64(0)
    total = np.int64(0)
    squares = np.int64(0)
    for value in values:
        wide = np.int64(value)
        if wide != NODATA_NDVI:
            count += np.int64(1)
            total += wide
            squares += wide * wide
    return count, total, squares


@njit(cache=True, nogil=True, error_model="numpy")
def _look_up(
    values: NDArray[np.int16], table: NDArray[np.uint8], colors: NDArray[np.uint8]
) -> None:
    for i in range(values.size):
        colors[i] = table[np.int64(values[i]) - _LOWEST]
