"""The 33 features of a pixel, for training and for inference alike.

Everything is float32 arithmetic in the order written here; the logarithm alone is taken in
float64 and rounded, so that it is the same on every machine. The fast path of
:mod:`cropmask.core.ranker` gives the same values bit by bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.strips import DEVIATION, REFLECTANCE, Half, Strip

INDICES: Final = ("NDVI", "LAI", "MNDWI")
HALF_YEAR_FEATURES: Final = (*REFLECTANCE, *DEVIATION, *INDICES, "rain")
FEATURES: Final[tuple[str, ...]] = (
    *(f"{name}_S1" for name in HALF_YEAR_FEATURES),
    *(f"{name}_S2" for name in HALF_YEAR_FEATURES),
    "slope",
)
"""Names of the features, in the order that every model uses."""

SCALE: Final = np.float32(10_000)
"""Stored value of a reflectance of 1; also divides ``edev``."""

Float = NDArray[np.float32]


def observed(half: Half) -> NDArray[np.bool_]:
    """Where a half-year has GeoMAD at all, ``(y, x)``: some reflectance band is not nodata."""
    return np.asarray((half.reflectance != 0).any(axis=0))


def reflectance(raw: NDArray[np.uint16]) -> Float:
    """Reflectance 0 to 6.5 of stored values of any shape; NaN where nodata."""
    return np.where(raw == 0, np.float32(np.nan), raw / SCALE).astype(np.float32, copy=False)


def log_deviation(raw: Float) -> Float:
    """``-ln(raw)`` of a deviation of any shape."""
    return np.asarray(-np.log(raw.astype(np.float64)), np.float32)


def ndvi(red: Float, nir: Float) -> Float:
    """Normalized difference vegetation index."""
    return np.asarray((nir - red) / (nir + red), np.float32)


def mndwi(green: Float, swir_1: Float) -> Float:
    """Modified normalized difference water index."""
    return np.asarray((green - swir_1) / (green + swir_1), np.float32)


def lai(blue: Float, red: Float, nir: Float) -> Float:
    """Leaf area index from the enhanced vegetation index (Boegh et al. 2002)."""
    f = np.float32
    evi = f(2.5) * (nir - red) / (nir + f(6) * red - f(7.5) * blue + f(1))
    return np.asarray(f(3.618) * evi - f(0.118), np.float32)


def half_features(half: Half, rain: Float) -> Float:
    """:data:`HALF_YEAR_FEATURES` of one half-year, ``(16, y, x)``; not finite where nodata.

    ``rain`` is that of the half-year in mm, ``(y, x)``.
    """
    out = np.empty((len(HALF_YEAR_FEATURES), *rain.shape), np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        out[:9] = reflectance(half.reflectance)
        blue, green, red, nir, swir_1 = out[:5]
        bcdev, edev, sdev = half.deviation
        out[9] = log_deviation(bcdev)
        out[10] = log_deviation(edev / SCALE)
        out[11] = log_deviation(sdev)
        out[12] = ndvi(red, nir)
        out[13] = lai(blue, red, nir)
        out[14] = mndwi(green, swir_1)
    out[15] = rain
    return out


def features(strip: Strip) -> Float:
    """All features of a strip, as the models see them.

    Returns
    -------
    NDArray[np.float32]
        ``(33, y, x)`` in the order of :data:`FEATURES`; values that are not finite are 0.
    """
    out = np.empty((len(FEATURES), *strip.shape), np.float32)
    out[:16] = half_features(strip.first, strip.rain[0])
    out[16:32] = half_features(strip.second, strip.rain[1])
    out[32] = strip.slope
    out[~np.isfinite(out)] = 0
    return out
