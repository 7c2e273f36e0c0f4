"""Pixels of the made-up world: what a GeoMAD of each half-year would hold there."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.strips import DEVIATION, REFLECTANCE, Half
from cropmask.grid import AFRICA_10, Tile
from cropmask.testing.world.landcovers import Covers, load_covers
from cropmask.testing.world.landscape import Sites, make_sites, missing_row, water_row
from cropmask.testing.world.noise import Floats, add_noise, bell, compiled, hashed
from cropmask.testing.world.parcels import cover_of, field_of, find_sites, to_lattice

MIXED: Final = 255
"""Cover of a field that is half crop, half not."""

_BANDS: Final = len(REFLECTANCE) + len(DEVIATION)
_BETWEEN: Final = 0.60
"""Share of a cover's deviation between fields."""
_WITHIN: Final = 0.35
"""Share of its first factors' deviation within a field, smooth over tens of meters."""
_SPECKLE: Final = (0.014, 0.04)
"""Deviation from pixel to pixel of reflectances and of deviation features, relative."""
_STEP: Final = 5.0
"""Step of reflectance x 10 000, so that files stay small."""
_OPEN_WATER: Final = 0.45
_STAYS: Final = 0.8
"""Part of a field's character that stays over the years; from the second on the rest is new."""
_BEND, _TEXTURE, _GRAIN, _PERSON = range(3000, 3400, 100)
_YEAR: Final = 10_000
_YEAR_STEP: Final = 500
"""Years have salts so far apart that no two share one."""

_Ints = NDArray[np.int64]

_S16: Final = np.uint64(16)
_LOW: Final = np.uint64(0xFFFF)


@compiled
def _character(person: int, cj: int, number: int, sites: Sites) -> float:
    """What tells a field from others of its cover; from year to year some of it is another."""
    stays = bell(person, cj, sites.salt + _PERSON + number)
    if sites.year == 0:
        return float(stays)
    salt = sites.salt + _YEAR + _YEAR_STEP * sites.year
    new = bell(person, cj, salt + number)
    return float(_STAYS * stays + np.sqrt(1.0 - _STAYS * _STAYS) * new)


@compiled
def _field_spectrum(
    field: _Ints, half: int, covers: Covers, sites: Sites, out: Floats, texture: Floats
) -> None:
    """Mean raw bands ``(12,)`` of a field, and how three textures move their logs ``(3, 12)``."""
    ci, cj, number, cover, other = field[0], field[1], field[2], field[3], field[4]
    water = cover == covers.water
    # Each field has a character of its own; wild land shares one over the whole block.
    person = 6 * ci + (number if covers.crop[cover] else 0)
    for b in range(_BANDS):
        at = half * _BANDS + b
        value = 0.5 * (covers.mean[cover, at] + covers.mean[other, at])
        if not water:
            value += _BETWEEN * covers.rest[cover, at] * _character(person, cj, 3 * at, sites)
        for f in range(covers.factors.shape[1]):
            direction = covers.factors[cover, f, at]
            if not water:
                value += _BETWEEN * direction * _character(person, cj, 80 + 3 * f, sites)
            if f < 3:
                # A deviation feature is minus a log: its raw value moves the other way.
                texture[f, b] = _WITHIN * (direction if b < 9 else -direction)
        if b < 9:
            out[b] = 10_000.0 * np.exp(value)
        else:
            out[b] = np.exp(-value) * (10_000.0 if b == 10 else 1.0)


@compiled
def _draw_pixel(
    x: int,
    y: int,
    half: int,
    salt: int,
    mean: Floats,
    texture: Floats,
    moves: Floats,
    values: Floats,
) -> None:
    """Raw bands ``(12,)`` of one pixel: the field's, moved by texture and speckle."""
    a, b, c = moves[0], moves[1], moves[2]
    for word in range(3):
        bits = hashed(x, y, salt + _GRAIN + 3 * half + word)
        for part in range(4):
            band = 4 * word + part
            grain = np.float64(bits & _LOW) * (2.0 * 1.732 / 65536.0) - 1.732
            bits = bits >> _S16
            move = texture[0, band] * a + texture[1, band] * b + texture[2, band] * c
            move += grain * (_SPECKLE[0] if band < 9 else _SPECKLE[1])
            # exp to the third order: fast, and the same bits on every processor.
            values[band] = mean[band] * (1.0 + move * (1.0 + move * (0.5 + move * 0.16666667)))


@compiled
def _find_fields(
    left: float, step: float, y: float, sites: Sites, covers: Covers, fields: _Ints
) -> None:
    """Fill fields ``(5, x)`` of a row: block column and row, number, cover, second cover."""
    salt, columns = sites.salt, fields.shape[1]
    bend_x, bend_y, water = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    add_noise(bend_x, left, step, y, 1_500.0, salt + _BEND, 110.0)
    add_noise(bend_y, left, step, y, 1_500.0, salt + _BEND + 1, 110.0)
    water_row(water, left, step, y, sites)
    around = np.zeros((9, 2))
    cell_i, cell_j, ci, cj, number = 0, 0, 0, 0, -1
    cover, other = 0, 0
    for k in range(columns):
        u, v = to_lattice(left + k * step + bend_x[k], y + bend_y[k])
        i, j = int(np.floor(u)), int(np.floor(v))
        if k == 0 or i != cell_i or j != cell_j:
            find_sites(i, j, salt, around)
            cell_i, cell_j = i, j
        was_i, was_j, was_number = ci, cj, number
        ci, cj, number = field_of(u, v, i, j, around, salt)
        if ci != was_i or cj != was_j or number != was_number:
            cover, other = cover_of(ci, cj, number, sites, covers)
        wet = water[k] > _OPEN_WATER
        fields[0, k], fields[1, k], fields[2, k] = ci, cj, number
        fields[3, k] = covers.water if wet else cover
        fields[4, k] = covers.water if wet else other


@compiled
def _draw_row(
    left: float,
    step: float,
    y: float,
    half: int,
    sites: Sites,
    covers: Covers,
    fields: _Ints,
    out: Floats,
) -> None:
    """Fill raw bands ``(12, x)`` of a row, NaN where the images are missing."""
    salt, columns = sites.salt, fields.shape[1]
    missing, moves = np.zeros(columns), np.zeros((3, columns))
    missing_row(missing, left, step, y, sites)
    for f in range(3):
        add_noise(moves[f], left, step, y, 45.0 + 25.0 * f, salt + _TEXTURE + f, 1.1)
        add_noise(moves[f], left, step, y, 260.0, salt + _TEXTURE + 10 + f, 1.3)
    mean, texture, values = np.zeros(_BANDS), np.zeros((3, _BANDS)), np.zeros(_BANDS)
    for k in range(columns):
        field = fields[:, k]
        if k == 0 or np.any(field != fields[:, k - 1]):
            _field_spectrum(field, half, covers, sites, mean, texture)
        x = int(left + k * step)
        _draw_pixel(x, int(y), half, salt, mean, texture, moves[:, k], values)
        seen = missing[k] <= 1.0 - half
        for b in range(_BANDS):
            out[b, k] = values[b] if seen else np.nan


@compiled
def _draw_rows(
    left: float,
    top: float,
    step: float,
    half: int,
    sites: Sites,
    covers: Covers,
    reflectance: NDArray[np.uint16],
    deviation: NDArray[np.float32],
) -> None:
    """Fill rows whose first pixel's center is ``(left, top)``."""
    _, rows, columns = reflectance.shape
    fields, values = np.zeros((5, columns), np.int64), np.zeros((_BANDS, columns))
    for r in range(rows):
        y = top - r * step
        _find_fields(left, step, y, sites, covers, fields)
        _draw_row(left, step, y, half, sites, covers, fields, values)
        for b in range(9):
            for k in range(columns):
                steps = np.floor(values[b, k] / _STEP + 0.5)
                raw = min(max(steps * _STEP, 1.0), 10_000.0)
                reflectance[b, r, k] = 0 if np.isnan(values[b, k]) else np.uint16(raw)
        for b in range(3):
            for k in range(columns):
                deviation[b, r, k] = values[9 + b, k]


@compiled
def _cover_rows(
    left: float,
    top: float,
    step: float,
    sites: Sites,
    covers: Covers,
    out: NDArray[np.uint8],
    tell_mixed: bool,
) -> None:
    """Fill covers of rows whose first pixel's center is ``(left, top)``."""
    fields = np.zeros((5, out.shape[1]), np.int64)
    for r in range(out.shape[0]):
        _find_fields(left, step, top - r * step, sites, covers, fields)
        for k in range(out.shape[1]):
            is_told = fields[3, k] == fields[4, k] or not tell_mixed
            out[r, k] = fields[3, k] if is_told else MIXED


def _window(tile: Tile, resolution: int, row: int, rows: int) -> tuple[float, float, int, int]:
    left, _, _, top = tile.bounds
    width = int(AFRICA_10.size) // resolution
    rows = min(rows, width - row)
    return left + resolution / 2, top - (row + 0.5) * resolution, rows, width


def draw_half(
    tile: Tile, resolution: int, half: int, row: int, rows: int, seed: int = 0, year: int = 0
) -> Half:
    """GeoMAD pixels of full-width rows of a tile: samples at the pixels' centers, not means.

    ``half`` is 0 for January to June, 1 for July to December; ``row`` the first row from the north;
    ``year`` counts from 0.
    """
    left, top, rows, width = _window(tile, resolution, row, rows)
    reflectance = np.empty((9, rows, width), np.uint16)
    deviation = np.empty((3, rows, width), np.float32)
    sites, covers = make_sites(tile, seed, year), load_covers()
    _draw_rows(left, top, float(resolution), half, sites, covers, reflectance, deviation)
    _round(deviation)
    return Half(reflectance, deviation)


def draw_covers(
    tile: Tile, resolution: int, row: int, rows: int, seed: int = 0
) -> NDArray[np.uint8]:
    """Cover ``(y, x)`` of full-width rows: an index of :class:`Covers`, or :data:`MIXED`."""
    return _draw_covers(tile, resolution, row, rows, make_sites(tile, seed), True)


def draw_truth(
    tile: Tile, resolution: int, row: int, rows: int, seed: int = 0
) -> NDArray[np.uint8]:
    """What really grows ``(y, x)``: 1 crop, 0 not, :data:`MIXED` half and half."""
    truth = np.full(256, MIXED, np.uint8)
    crop = load_covers().crop
    truth[: len(crop)] = crop
    return truth[draw_covers(tile, resolution, row, rows, seed)]


def draw_use(
    tile: Tile, resolution: int, row: int, rows: int, seed: int = 0, year: int = 0
) -> NDArray[np.uint8]:
    """What a field is used for in a year ``(y, x)``: 1 cropland, 0 not.

    One that looks half and half is what most of those who know it say it is.
    """
    cover = _draw_covers(tile, resolution, row, rows, make_sites(tile, seed, year), False)
    return np.asarray(load_covers().crop[cover], np.uint8)


def _draw_covers(
    tile: Tile, resolution: int, row: int, rows: int, sites: Sites, tell_mixed: bool
) -> NDArray[np.uint8]:
    """Cover of full-width rows; of half-and-half fields the first one, unless they are told."""
    left, top, rows, width = _window(tile, resolution, row, rows)
    cover = np.empty((rows, width), np.uint8)
    _cover_rows(left, top, float(resolution), sites, load_covers(), cover, tell_mixed)
    return cover


def _round(values: NDArray[np.float32]) -> None:
    """Round to 9 significant binary digits in place (0.2 percent), so that files stay small."""
    bits = values.view(np.uint32)
    bits += np.uint32(1 << 14)
    bits &= np.uint32(0xFFFF8000)
