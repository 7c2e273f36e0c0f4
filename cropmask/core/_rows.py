"""Kernels of expressions: each step of a program on a row of pixels.

The steps are those of :mod:`cropmask.core.program`. Every loop runs along memory, without a branch,
and in float32, so that it is the arithmetic of :mod:`cropmask.core.formulas` on vector registers.
"""

# numba checks the types of compiled code; arguments are arrays as the callers document them.
# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from cropmask.core.program import (
    BAND,
    DIFFERENCE,
    DISTANCE,
    LAI,
    MAXIMUM,
    MINIMUM,
    ND,
    RAIN,
    RATIO,
    SCALED,
    SLOPE,
    SUM,
)

SCALE = np.float32(10_000)

_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def scaled(raw):
    """Reflectance of a stored value, NaN where nodata."""
    return np.float32(np.nan) if raw == 0 else np.float32(raw) / SCALE


@_compiled
def leaf_area(blue, red, nir):
    """Leaf area index of reflectances."""
    evi = (
        np.float32(2.5)
        * (nir - red)
        / (nir + np.float32(6) * red - np.float32(7.5) * blue + np.float32(1))
    )
    return np.float32(3.618) * evi - np.float32(0.118)


@_compiled
def _reflectances(raw, out):
    for x in range(out.size):
        out[x] = scaled(raw[x])


@_compiled
def _divide_by_scale(raw, out):
    for x in range(out.size):
        out[x] = raw[x] / SCALE


@_compiled
def _normalized_differences(a, b, out):
    for x in range(out.size):
        out[x] = (a[x] - b[x]) / (a[x] + b[x])


@_compiled
def _ratios(a, b, out):
    for x in range(out.size):
        out[x] = a[x] / b[x]


@_compiled
def _sums(a, b, out):
    for x in range(out.size):
        out[x] = a[x] + b[x]


@_compiled
def _differences(a, b, out):
    for x in range(out.size):
        out[x] = a[x] - b[x]


@_compiled
def _maxima(a, b, out):
    for x in range(out.size):
        first, second = a[x], b[x]
        out[x] = first if (first >= second) | (first != first) else second


@_compiled
def _minima(a, b, out):
    for x in range(out.size):
        first, second = a[x], b[x]
        out[x] = first if (first <= second) | (first != first) else second


@_compiled
def _leaf_areas(blues, reds, nirs, out):
    for x in range(out.size):
        out[x] = leaf_area(blues[x], reds[x], nirs[x])


@_compiled
def _load(strip, operation, late, place, y, left, out):
    right = left + out.size
    if operation == BAND:
        _reflectances((strip[1] if late else strip[0])[place, y, left:right], out)
    elif operation == SCALED:
        _divide_by_scale((strip[3] if late else strip[2])[place, y, left:right], out)
    elif operation == DISTANCE:
        out[:] = (strip[3] if late else strip[2])[place, y, left:right]
    elif operation == RAIN:
        out[:] = strip[4][late, y, left:right]
    elif operation == SLOPE:
        out[:] = strip[5][y, left:right]


@_compiled
def run_step(strip, step, y, left, work):
    """Fill a row of ``work`` (row, x) float32 by one step; ``step`` is none that ranks."""
    operation, out = step[0], work[step[1]]
    if operation <= SLOPE:
        _load(strip, operation, step[2], step[3], y, left, out)
        return
    a, b = work[step[2]], work[step[3]]
    if operation == ND:
        _normalized_differences(a, b, out)
    elif operation == RATIO:
        _ratios(a, b, out)
    elif operation == SUM:
        _sums(a, b, out)
    elif operation == DIFFERENCE:
        _differences(a, b, out)
    elif operation == MAXIMUM:
        _maxima(a, b, out)
    elif operation == MINIMUM:
        _minima(a, b, out)
    elif operation == LAI:
        _leaf_areas(a, b, work[step[4]], out)
