"""The mosaic of parcels, and what grows on each.

Blocks of about 20 ha are the cells of a jittered lattice (Voronoi cells, so nearly rectangular),
turned against the axes and slightly bent; each block is cut into one to six fields.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from cropmask.testing.world.landcovers import Covers
from cropmask.testing.world.landscape import Sites, in_reserve, log_rain, mountain_share, near_water
from cropmask.testing.world.noise import Floats, compiled, octaves_at, uniform

BLOCK_LENGTH_M: Final = 560.0
BLOCK_WIDTH_M: Final = 360.0
_COS: Final = float(np.cos(0.3))
_SIN: Final = float(np.sin(0.3))
_JITTER: Final = 0.56
_VILLAGES_M: Final = 4_000.0
_PATCH_M: Final = 1_100.0
_MIXED: Final = 0.04
"""Share of fields that look half crop, half not."""

GAIN: Final = 0.015
"""Share of other fields that become cropland in a year, where the land is not wild."""
LOSS: Final = 0.03
"""Share of crop fields that are none a year later."""

SITE, FIELD, _USE, _SUIT, _PATCH, _VILLAGE, _CHANGE = range(2000, 2700, 100)


@compiled
def find_sites(i: int, j: int, salt: int, out: Floats) -> None:
    """Centers ``(9, 2)`` of the blocks around lattice cell ``(i, j)``, in cells."""
    for k in range(9):
        ci, cj = i + k % 3 - 1, j + k // 3 - 1
        out[k, 0] = ci + 0.5 + _JITTER * (uniform(ci, cj, salt + SITE) - 0.5)
        out[k, 1] = cj + 0.5 + _JITTER * (uniform(ci, cj, salt + SITE + 1) - 0.5)


@compiled
def to_lattice(x: float, y: float) -> tuple[float, float]:
    """Place in cells of the lattice of blocks."""
    return (x * _COS + y * _SIN) / BLOCK_LENGTH_M, (y * _COS - x * _SIN) / BLOCK_WIDTH_M


@compiled
def from_lattice(u: float, v: float) -> tuple[float, float]:
    """Place in meters of a point of the lattice of blocks."""
    x, y = u * BLOCK_LENGTH_M, v * BLOCK_WIDTH_M
    return x * _COS - y * _SIN, x * _SIN + y * _COS


@compiled
def field_of(u: float, v: float, i: int, j: int, sites: Floats, salt: int) -> tuple[int, int, int]:
    """Block column, block row and field (0 to 5) in the block of a point of the lattice."""
    best, nearest = 0, 1e9
    for k in range(9):
        du, dv = u - sites[k, 0], v - sites[k, 1]
        distance = du * du + dv * dv
        if distance < nearest:
            best, nearest = k, distance
    ci, cj = i + best % 3 - 1, j + best // 3 - 1
    kind = uniform(ci, cj, salt + FIELD)
    across = 1 if kind < 0.2 else (2 if kind < 0.75 else 3)
    along = 2 if kind > 0.4 else 1
    cu = int((u - sites[best, 0] + 0.5) * across)
    cv = int((v - sites[best, 1] + 0.5) * along)
    return ci, cj, min(max(cu, 0), across - 1) + 3 * min(max(cv, 0), along - 1)


@compiled
def cover_of(ci: int, cj: int, number: int, sites: Sites, covers: Covers) -> tuple[int, int]:
    """Cover of a field, and a second one that it is mixed with (or the same).

    Land use follows the place: natural on the mountain and in the protected area, wet near water,
    houses in villages, else fields by suitability and what the rain allows.
    """
    salt = sites.salt
    jitter_u = ci + 0.5 + _JITTER * (uniform(ci, cj, salt + SITE) - 0.5)
    jitter_v = cj + 0.5 + _JITTER * (uniform(ci, cj, salt + SITE + 1) - 0.5)
    x, y = from_lattice(jitter_u, jitter_v)
    draw = uniform(6 * ci + number, cj, salt + _USE)
    wild = mountain_share(x, y, sites) > 0.04 or in_reserve(x, y, sites)
    if draw < 0.6 and not wild and near_water(x, y, sites):
        return covers.wetland, covers.wetland
    if not wild and _in_village(x, y, salt):
        return covers.settlement, covers.settlement
    if wild and draw < 0.75:
        # Forest up the slopes and in the protected area, rock on top.
        high = mountain_share(x, y, sites) > 0.6
        return (covers.bare, covers.bare) if high else (covers.forest, covers.forest)
    suitable = 0.45 + 1.1 * octaves_at(x, y, 13_000.0, 3, salt + _SUIT)
    crop = not wild and draw < min(max(suitable, 0.04), 0.93)
    for year in range(1, sites.year + 1):
        change = uniform(6 * ci + number, cj, salt + _CHANGE + year)
        crop = change >= LOSS if crop else not wild and change < GAIN
    cover = _draw(x, y, crop, uniform(6 * ci + number, cj, salt + _USE + 1), covers, salt)
    if not wild and uniform(6 * ci + number, cj, salt + _USE + 2) < _MIXED:
        return cover, _draw(x, y, not crop, draw, covers, salt)
    return cover, cover


@compiled
def _in_village(x: float, y: float, salt: int) -> bool:
    i, j = int(np.floor(x / _VILLAGES_M)), int(np.floor(y / _VILLAGES_M))
    vx = (i + 0.3 + 0.4 * uniform(i, j, salt + _VILLAGE)) * _VILLAGES_M
    vy = (j + 0.3 + 0.4 * uniform(i, j, salt + _VILLAGE + 1)) * _VILLAGES_M
    radius = 700.0 * uniform(i, j, salt + _VILLAGE + 2)
    return bool((x - vx) ** 2 + (y - vy) ** 2 < radius**2)


@compiled
def _draw(x: float, y: float, crop: bool, draw: float, covers: Covers, salt: int) -> int:
    """Draw a cover by how many samples it has under such rain; wild covers come in patches."""
    if not crop:
        i, j = int(np.floor(x / _PATCH_M)), int(np.floor(y / _PATCH_M))
        draw = 0.7 * uniform(i, j, salt + _PATCH) + 0.3 * draw
    first, second = log_rain(0, x, y, salt), log_rain(1, x, y, salt)
    total = 0.0
    for k in range(len(covers.crop)):
        total += _weight(k, crop, first, second, covers)
    wanted, chosen = draw * total, 0
    for k in range(len(covers.crop)):
        weight = _weight(k, crop, first, second, covers)
        if weight > 0.0 and wanted >= 0.0:
            chosen = k
        wanted -= weight
    return chosen


@compiled
def _weight(k: int, crop: bool, first: float, second: float, covers: Covers) -> float:
    if covers.crop[k] != crop or not covers.drawn[k]:
        return 0.0
    a = (first - covers.rain_mean[k, 0]) / covers.rain_deviation[k, 0]
    b = (second - covers.rain_mean[k, 1]) / covers.rain_deviation[k, 1]
    # Long tails instead of a normal density: no rain is without a cover, and no exp is needed.
    return float(covers.weight[k] / (1.0 + 0.5 * (a * a + b * b)) ** 4)
