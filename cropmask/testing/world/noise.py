"""Seeded noise of coordinates in meters: the same place has the same value at any resolution.

Value noise on a hashed lattice (Perlin 1985 and the lattice noises after it), compiled. A row of
pixels is the unit of work, because neighbors mostly share a lattice cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., object])
Floats = NDArray[np.float64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_COLUMN: Final = np.uint64(0xD6E8FEB86659FD93)
_ROW: Final = np.uint64(0xA0761D6478BD642F)
_S30: Final = np.uint64(30)
_S27: Final = np.uint64(27)
_S31: Final = np.uint64(31)
_S11: Final = np.uint64(11)
_COS: Final = float(np.cos(0.57))
_SIN: Final = float(np.sin(0.57))


def compiled(function: _Function) -> _Function:
    """Compile with numba, cached on disk; strict floating point, so bytes repeat."""
    return cast("_Function", numba.njit(cache=True, error_model="numpy", nogil=True)(function))


@compiled
def hashed(i: int, j: int, salt: int) -> np.uint64:
    """64 well mixed bits of two integers and a salt (the finalizer of splitmix64)."""
    h = np.uint64(salt) * _GOLDEN + np.uint64(i) * _COLUMN + np.uint64(j) * _ROW
    h = (h ^ (h >> _S30)) * _MIX_1
    h = (h ^ (h >> _S27)) * _MIX_2
    return h ^ (h >> _S31)


@compiled
def uniform(i: int, j: int, salt: int) -> float:
    """Uniform number in [0, 1) of two integers and a salt."""
    return np.float64(hashed(i, j, salt) >> _S11) * 2.0**-53


@compiled
def bell(i: int, j: int, salt: int) -> float:
    """Nearly normal number of mean 0 and deviation 1, never beyond 3: a sum of three uniforms."""
    total = uniform(i, j, salt) + uniform(i, j, salt + 1) + uniform(i, j, salt + 2)
    return 2.0 * total - 3.0


@compiled
def _blend(a: float, b: float, c: float, d: float, u: float, v: float) -> float:
    """Smooth noise within +-1 at a place ``(u, v)`` of a cell, from its corners."""
    # Weights that are flat at the corners: no edge of a cell shows.
    u = u * u * (3.0 - 2.0 * u)
    v = v * v * (3.0 - 2.0 * v)
    top = a + (b - a) * u
    bottom = c + (d - c) * u
    return 2.0 * (top + (bottom - top) * v) - 1.0


@compiled
def add_noise(
    out: Floats, x: float, step: float, y: float, size: float, salt: int, amplitude: float
) -> None:
    """Add smooth noise within ``+-amplitude`` to a row of pixels ``(x,)``.

    ``x``, ``step`` and ``y`` are the center of the first pixel, the distance to the next one and
    the row; ``size`` is the edge of a lattice cell, all in meters. ``salt`` tells fields apart.
    """
    last_i, last_j = 0, 0
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for k in range(len(out)):
        # The lattice is turned against the axes, so that no row of pixels runs along its edges.
        px = x + k * step
        u = (px * _COS - y * _SIN) / size
        v = (px * _SIN + y * _COS) / size
        i, j = int(np.floor(u)), int(np.floor(v))
        if k == 0 or i != last_i or j != last_j:
            a = uniform(i, j, salt)
            b = uniform(i + 1, j, salt)
            c = uniform(i, j + 1, salt)
            d = uniform(i + 1, j + 1, salt)
            last_i, last_j = i, j
        out[k] += amplitude * _blend(a, b, c, d, u - i, v - j)


@compiled
def add_octaves(
    out: Floats, x: float, step: float, y: float, size: float, octaves: int, salt: int
) -> None:
    """Add noise of ever smaller cells, each octave half as strong; nearly within +-1."""
    amplitude = 0.62
    for octave in range(octaves):
        add_noise(out, x, step, y, size, salt + octave, amplitude)
        amplitude *= 0.5
        size *= 0.46


@compiled
def octaves_at(x: float, y: float, size: float, octaves: int, salt: int) -> float:
    """Noise of :func:`add_octaves` at one place."""
    total, amplitude = 0.0, 0.62
    for octave in range(octaves):
        total += noise_at(x, y, size, salt + octave, amplitude)
        amplitude *= 0.5
        size *= 0.46
    return total


@compiled
def noise_at(x: float, y: float, size: float, salt: int, amplitude: float) -> float:
    """Noise of :func:`add_noise` at one place."""
    u = (x * _COS - y * _SIN) / size
    v = (x * _SIN + y * _COS) / size
    i, j = int(np.floor(u)), int(np.floor(v))
    a = uniform(i, j, salt)
    b = uniform(i + 1, j, salt)
    c = uniform(i, j + 1, salt)
    d = uniform(i + 1, j + 1, salt)
    return amplitude * _blend(a, b, c, d, u - i, v - j)
