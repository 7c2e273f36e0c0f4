"""The kernels between raw pixels and packets of ranks; see :mod:`cropmask.core.ranks`."""

# numba checks the types of compiled code; arguments are arrays as the callers document them.
# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from cropmask.core.stretch import NODATA_NDVI

EDGE: Final = 8
"""A packet is a square of 8 x 8 neighboring pixels."""

_SCALE = np.float32(10_000)
_PER_HALF = 16
_TABLE, _DEVIATION = 0, 1
_EDEV, _NDVI, _LAI, _MNDWI, _RAIN = 10, 12, 13, 14, 15
_SLOPE = 32

_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def _search(value, cuts, start, low, scale, buckets):
    """Count the cuts strictly below a finite value; infinity closes the cuts."""
    place = (value - low) * scale
    last = np.float32(buckets.size - 1)
    bucket = 0
    if place > 0:
        bucket = np.int64(min(place, last))
    i = start + buckets[bucket]
    while cuts[i] < value:
        i += 1
    return i - start


@_compiled
def _reflectance(raw):
    return np.float32(np.nan) if raw == 0 else np.float32(raw) / _SCALE


@_compiled
def _ratio(a, b):
    """Normalized difference of two stored reflectances."""
    x, y = _reflectance(a), _reflectance(b)
    return (x - y) / (x + y)


@_compiled
def _lai(blue_raw, red_raw, nir_raw):
    blue, red, nir = _reflectance(blue_raw), _reflectance(red_raw), _reflectance(nir_raw)
    evi = (
        np.float32(2.5)
        * (nir - red)
        / (nir + np.float32(6) * red - np.float32(7.5) * blue + np.float32(1))
    )
    return np.float32(3.618) * evi - np.float32(0.118)


@_compiled
def _index(place, raw, y, x):
    """One of the indices, from the bands in the order of the features."""
    if place == _NDVI:
        return _ratio(raw[3, y, x], raw[2, y, x])
    if place == _LAI:
        return _lai(raw[0, y, x], raw[2, y, x], raw[3, y, x])
    return _ratio(raw[1, y, x], raw[4, y, x])


@_compiled
def _seen(raw, y, x):
    """Whether a half-year has GeoMAD at a pixel."""
    seen = False
    for band in range(raw.shape[0]):
        seen |= raw[band, y, x] != 0
    return seen


@_compiled
def _stored_ndvi(raw, y, x):
    value = _ratio(raw[3, y, x], raw[2, y, x])
    return np.int16(np.rint(value * _SCALE)) if np.isfinite(value) else np.int16(0)


@_compiled
def find_active(first, second, need_both, top, left, active, halves, ndvi):
    """Bits of the pixels to classify, and their NDVI.

    ``first`` and ``second`` (band, y, x) uint16; packets lie side by side from pixel
    (``top``, ``left``). Fills ``active`` (packet,), ``halves`` (y, x) uint8 with the number of
    half-years seen, and ``ndvi`` (2, y, x) int16, NDVI x 10 000.
    """
    height, width = first.shape[1], first.shape[2]
    for p in range(active.size):
        bits = np.uint64(0)
        for y in range(top, min(top + EDGE, height)):
            for x in range(left + p * EDGE, min(left + p * EDGE + EDGE, width)):
                seen = np.uint8(_seen(first, y, x)) + np.uint8(_seen(second, y, x))
                halves[y, x] = seen
                if seen == 2 or (seen == 1 and not need_both):
                    lane = (y - top) * EDGE + x - left - p * EDGE
                    bits |= np.uint64(1) << np.uint64(lane)
                    ndvi[0, y, x] = _stored_ndvi(first, y, x)
                    ndvi[1, y, x] = _stored_ndvi(second, y, x)
                else:
                    ndvi[0, y, x] = NODATA_NDVI
                    ndvi[1, y, x] = NODATA_NDVI
        active[p] = bits


@_compiled
def _rank_table(row, raw, band, table, top, left):
    for y in range(top, min(top + EDGE, raw.shape[1])):
        for x in range(left, min(left + EDGE, raw.shape[2])):
            row[(y - top) * EDGE + x - left] = table[raw[band, y, x]]


@_compiled
def _rank_deviation(row, raw, k, scaled, cuts, start, end, low, scale, buckets, zero, top, left):
    for y in range(top, min(top + EDGE, raw.shape[1])):
        for x in range(left, min(left + EDGE, raw.shape[2])):
            value = raw[k, y, x]
            divided = value / _SCALE if scaled else value
            rank = zero
            if divided > 0 and np.isfinite(value):
                rank = end - 1 - start - _search(value, cuts, start, low, scale, buckets)
            row[(y - top) * EDGE + x - left] = rank


@_compiled
def _rank_computed(row, place, raw, plane, cuts, start, low, scale, buckets, zero, top, left):
    for y in range(top, min(top + EDGE, plane.shape[0])):
        for x in range(left, min(left + EDGE, plane.shape[1])):
            value = plane[y, x] if place >= _RAIN else _index(place, raw, y, x)
            rank = zero
            if np.isfinite(value):
                rank = _search(value, cuts, start, low, scale, buckets)
            row[(y - top) * EDGE + x - left] = rank


@_compiled
def rank_packets(strip, ranker, top, left, packets, active):
    """Fill rows 1 and up of ``packets`` (packet, row, lane) with the ranks of their pixels.

    ``strip`` is (first, second, first deviations, second deviations, rain, slope), ``ranker`` the
    fields of :class:`~cropmask.core.ranks.Ranker` in order. Lanes without a pixel keep what they
    hold: no bit of ``active`` asks for them.
    """
    kind, source, zero, tables, table, cuts, starts, lows, scales, buckets = ranker
    for p in range(active.size):
        if active[p] == 0:
            continue
        x = left + p * EDGE
        for f in range(kind.size):
            row = packets[p, f + 1]
            late = _PER_HALF <= source[f] < _SLOPE
            place = source[f] % _PER_HALF if source[f] < _SLOPE else _SLOPE
            raw = strip[1] if late else strip[0]
            low, scale, start = lows[f], scales[f], starts[f]
            if kind[f] == _TABLE:
                _rank_table(row, raw, place, tables[table[f]], top, x)
            elif kind[f] == _DEVIATION:
                deviations = strip[3] if late else strip[2]
                _rank_deviation(
                    row, deviations, place - 9, place == _EDEV, cuts, start, starts[f + 1],
                    low, scale, buckets[f], zero[f], top, x,
                )  # fmt: skip
            else:
                plane = strip[5] if place == _SLOPE else strip[4][1 if late else 0]
                _rank_computed(
                    row, place, raw, plane, cuts, start, low, scale, buckets[f], zero[f], top, x
                )


@_compiled
def put_pixels(values, active, top, left, out):
    """Write the lanes of packets to their pixels: ``values`` (packet, lane) to ``out`` (y, x)."""
    height, width = out.shape
    for p in range(active.size):
        x0 = left + p * EDGE
        for y in range(top, min(top + EDGE, height)):
            for x in range(x0, min(x0 + EDGE, width)):
                lane = (y - top) * EDGE + x - x0
                if (active[p] >> np.uint64(lane)) & np.uint64(1):
                    out[y, x] = values[p, lane]


@_compiled
def count_reached(cuts, scores, out):
    """Count the ascending ``cuts`` that each of ``scores`` (packet, lane) reaches."""
    for p in range(scores.shape[0]):
        for lane in range(scores.shape[1]):
            out[p, lane] = np.searchsorted(cuts, scores[p, lane], side="right")
