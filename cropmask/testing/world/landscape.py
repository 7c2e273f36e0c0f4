"""The made-up land as functions of place: relief, water, rain, protected land, gaps in the images.

Everything is a function of meters in EPSG:6933 and a seed, whole rows at a time, so that any tile
at any resolution shows the same land and neighbors join. What every tile must have (a mountain, a
lake, a protected area, a hole in the images) sits well inside it: one in each quarter.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from cropmask.grid import AFRICA_10, Tile
from cropmask.testing.world.noise import (
    Floats,
    add_noise,
    add_octaves,
    compiled,
    noise_at,
    octaves_at,
    uniform,
)

MOUNTAIN_M: Final = 14_000.0
LAKE_M: Final = 5_500.0
PROTECTED_M: Final = 8_000.0
HOLE_M: Final = 1_900.0
SWATH_M: Final = 900.0
"""Width of the strip that the second half-year misses."""
_SWATH_LENGTH_M: Final = 36_000.0
_SHORE_M: Final = 220.0
_RIVER: Final = 0.006

# Salts tell the fields of one seed apart; octaves take the numbers after them.
_RELIEF, _RIDGE, _PLACES, _LAKE, _STREAM, _RAIN_1, _RAIN_2, _RESERVE, _HOLE = range(100, 1000, 100)


class Sites(NamedTuple):
    """What lies where in one tile; meters."""

    mountain_x: float
    mountain_y: float
    lake_x: float
    lake_y: float
    reserve_x: float
    reserve_y: float
    hole_x: float
    hole_y: float
    swath_x: float
    """Middle of the swath at the tile's middle row."""
    swath_y: float
    salt: int
    """Of the seed; fields add their own numbers."""
    year: int
    """Years since the first; only fields change with it, and what grows on them."""


def salt_of(seed: int) -> int:
    """Salt of a seed: far enough from the next that no two fields share one."""
    return (seed % 1_000_003) * 100_003


def make_sites(tile: Tile, seed: int = 0, year: int = 0) -> Sites:
    """Places of a tile, drawn from its indices; every one at least 18 km from the tile's edge."""
    salt = salt_of(seed)
    left, bottom, _, _ = tile.bounds
    turn = int(4 * uniform(tile.x, tile.y, salt + _PLACES))
    places: list[float] = []
    for k in range(4):
        quarter = (k + turn) % 4
        for axis, far in enumerate((quarter in (1, 2), quarter in (2, 3))):
            jitter = uniform(tile.x, tile.y, salt + _PLACES + 1 + 2 * k + axis) - 0.5
            share = (0.72 if far else 0.28) + 0.1 * jitter
            places.append((left, bottom)[axis] + share * AFRICA_10.size)
    swath = 0.5 + 0.1 * (uniform(tile.x, tile.y, salt + _PLACES + 20) - 0.5)
    middle = bottom + AFRICA_10.size / 2
    return Sites(*places, left + swath * AFRICA_10.size, middle, salt, year)  # type: ignore[call-arg, arg-type]


@compiled
def mountain_share(x: float, y: float, sites: Sites) -> float:
    """How far up the mountain a place is: 1 at the top, 0 at the foot and beyond."""
    dx, dy = x - sites.mountain_x, y - sites.mountain_y
    share = 1.0 - (dx * dx + dy * dy) / (MOUNTAIN_M * MOUNTAIN_M)
    return max(share, 0.0) ** 2


@compiled
def elevation_row(out: Floats, x: float, step: float, y: float, sites: Sites) -> None:
    """Elevation in meters of a row ``(x,)``: rolling plains and one ridged mountain."""
    out[:] = 0.0
    add_octaves(out, x, step, y, 17_000.0, 5, sites.salt + _RELIEF)
    for k in range(len(out)):
        out[k] = 1_150.0 + 400.0 * out[k]
    if abs(y - sites.mountain_y) >= MOUNTAIN_M:
        return
    ridges = np.zeros(len(out))
    add_octaves(ridges, x, step, y, 3_100.0, 3, sites.salt + _RIDGE)
    for k in range(len(out)):
        share = mountain_share(x + k * step, y, sites)
        out[k] += share * (1_950.0 + 1_300.0 * (1.0 - 1.6 * abs(ridges[k])))


@compiled
def water_row(out: Floats, x: float, step: float, y: float, sites: Sites) -> None:
    """Share of the year under water, 0 to 1, of a row ``(x,)``: a lake and rivers."""
    out[:] = 0.0
    add_octaves(out, x, step, y, 42_000.0, 4, sites.salt + _STREAM)
    for k in range(len(out)):
        depth = 1.5 - 2.0 * abs(out[k]) / _RIVER
        high = mountain_share(x + k * step, y, sites) > 0.02
        out[k] = 0.0 if high else min(max(depth, 0.0), 1.0)
    if abs(y - sites.lake_y) >= 2.0 * LAKE_M:
        return
    shore = np.zeros(len(out))
    add_octaves(shore, x, step, y, 5_200.0, 5, sites.salt + _LAKE)
    for k in range(len(out)):
        dx, dy = x + k * step - sites.lake_x, y - sites.lake_y
        inward = LAKE_M * (1.0 + 0.5 * shore[k]) - np.sqrt(dx * dx + dy * dy)
        out[k] = max(out[k], min(max(0.5 + inward / (2.0 * _SHORE_M), 0.0), 1.0))


@compiled
def near_water(x: float, y: float, sites: Sites) -> bool:
    """Whether a place lies in the wet land along a river or around the lake."""
    if mountain_share(x, y, sites) > 0.02:
        return False
    if abs(octaves_at(x, y, 42_000.0, 4, sites.salt + _STREAM)) < 4.0 * _RIVER:
        return True
    dx, dy = x - sites.lake_x, y - sites.lake_y
    distance = np.sqrt(dx * dx + dy * dy)
    if distance > 2.0 * LAKE_M:
        return False
    shore = octaves_at(x, y, 5_200.0, 5, sites.salt + _LAKE)
    return bool(distance - LAKE_M * (1.0 + 0.5 * shore) < 700.0)


@compiled
def protected_row(out: Floats, x: float, step: float, y: float, sites: Sites) -> None:
    """1 in the protected area, else 0, of a row ``(x,)``."""
    out[:] = 0.0
    if abs(y - sites.reserve_y) >= 1.5 * PROTECTED_M:
        return
    add_noise(out, x, step, y, 6_000.0, sites.salt + _RESERVE, 0.4)
    for k in range(len(out)):
        dx, dy = x + k * step - sites.reserve_x, y - sites.reserve_y
        inside = np.sqrt(dx * dx + dy * dy) < PROTECTED_M * (1.0 + out[k])
        out[k] = 1.0 if inside else 0.0


@compiled
def in_reserve(x: float, y: float, sites: Sites) -> bool:
    """Whether a place lies in the protected area."""
    dx, dy = x - sites.reserve_x, y - sites.reserve_y
    distance = np.sqrt(dx * dx + dy * dy)
    if distance >= 1.5 * PROTECTED_M:
        return False
    edge = noise_at(x, y, 6_000.0, sites.salt + _RESERVE, 0.4)
    return bool(distance < PROTECTED_M * (1.0 + edge))


@compiled
def missing_row(out: Floats, x: float, step: float, y: float, sites: Sites) -> None:
    """Missing images of a row ``(x,)``: 2 both half-years, 1 the second one, 0 none."""
    out[:] = 0.0
    offset = y - sites.swath_y
    if abs(offset) < _SWATH_LENGTH_M / 2.0:
        middle = sites.swath_x + 0.2 * offset
        for k in range(len(out)):
            if abs(x + k * step - middle) < SWATH_M / 2.0:
                out[k] = 1.0
    if abs(y - sites.hole_y) >= 1.5 * HOLE_M:
        return
    edge = np.zeros(len(out))
    add_noise(edge, x, step, y, 1_400.0, sites.salt + _HOLE, 0.4)
    for k in range(len(out)):
        dx, dy = x + k * step - sites.hole_x, y - sites.hole_y
        if np.sqrt(dx * dx + dy * dy) < HOLE_M * (1.0 + edge[k]):
            out[k] = 2.0


@compiled
def log_rain(half: int, x: float, y: float, salt: int) -> float:
    """Natural log of the rain of a half-year (0 or 1) in mm, between dry savanna and wet hills."""
    if half == 0:
        return 6.2 + 1.0 * octaves_at(x, y, 75_000.0, 2, salt + _RAIN_1)
    return 5.9 + 1.2 * octaves_at(x, y, 75_000.0, 2, salt + _RAIN_2)
