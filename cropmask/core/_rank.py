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
    """Count the cuts strictly below a finite value; infinity closes the cuts, twice."""
    place = (value - low) * scale
    last = np.float32(buckets.size - 1)
    bucket = np.int64(min(max(place, np.float32(0)), last))
    i = start + buckets[bucket]
    # Most buckets hold at most two cuts: two steps without a branch leave little to guess.
    i += np.int64(cuts[i] < value)
    i += np.int64(cuts[i] < value)
    while cuts[i] < value:
        i += 1
    return i - start


@_compiled
def _scaled(raw):
    return np.float32(np.nan) if raw == 0 else np.float32(raw) / _SCALE


@_compiled
def _ratios(a, b, out):
    """Normalized difference of rows of stored reflectances."""
    for x in range(out.size):
        first, second = _scaled(a[x]), _scaled(b[x])
        out[x] = (first - second) / (first + second)


@_compiled
def _leaf_areas(blues, reds, nirs, out):
    """Leaf area index of rows of stored reflectances."""
    for x in range(out.size):
        blue, red, nir = _scaled(blues[x]), _scaled(reds[x]), _scaled(nirs[x])
        evi = (
            np.float32(2.5)
            * (nir - red)
            / (nir + np.float32(6) * red - np.float32(7.5) * blue + np.float32(1))
        )
        out[x] = np.float32(3.618) * evi - np.float32(0.118)


@_compiled
def _index(place, raw, y, left, out):
    """One of the indices along a row, from the bands in the order of the features."""
    right = left + out.size
    if place == _NDVI:
        _ratios(raw[3, y, left:right], raw[2, y, left:right], out)
    elif place == _LAI:
        _leaf_areas(raw[0, y, left:right], raw[2, y, left:right], raw[3, y, left:right], out)
    else:
        _ratios(raw[1, y, left:right], raw[4, y, left:right], out)


@_compiled
def _seen(raw, y, left, out):
    """Whether a half-year has GeoMAD along a row: any band that is not 0."""
    out[:] = 0
    for band in range(raw.shape[0]):
        row = raw[band, y, left : left + out.size]
        for x in range(out.size):
            out[x] |= row[x]
    for x in range(out.size):
        out[x] = np.uint16(out[x] != 0)


@_compiled
def _store_ndvi(raw, y, left, used, work, out):
    """NDVI x 10 000 along a row; 0 where it is not finite, NODATA_NDVI where not used."""
    _index(_NDVI, raw, y, left, work)
    for x in range(work.size):
        value = np.rint(work[x] * _SCALE) if np.isfinite(work[x]) else np.float32(0)
        out[x] = np.int16(value) if used[x] else np.int16(NODATA_NDVI)


@_compiled
def find_active(first, second, need_both, top, left, active, halves, ndvi):
    """Bits of the pixels to classify, and their NDVI.

    ``first`` and ``second`` (band, y, x) uint16; packets lie side by side from pixel
    (``top``, ``left``). Fills ``active`` (packet,), ``halves`` (y, x) uint8 with the number of
    half-years seen, and ``ndvi`` (2, y, x) int16, NDVI x 10 000.
    """
    active[:] = 0
    height, width = first.shape[1], first.shape[2]
    columns = min(active.size * EDGE, width - left)
    seen = np.empty((2, columns), np.uint16)
    used = np.empty(columns, np.bool_)
    work = np.empty(columns, np.float32)
    for y in range(top, min(top + EDGE, height)):
        _seen(first, y, left, seen[0])
        _seen(second, y, left, seen[1])
        for x in range(columns):
            number = seen[0, x] + seen[1, x]
            halves[y, left + x] = number
            used[x] = number == 2 or (number == 1 and not need_both)
            lane = np.uint64((y - top) * EDGE + x % EDGE)
            active[x // EDGE] |= np.uint64(used[x]) << lane
        _store_ndvi(first, y, left, used, work, ndvi[0, y, left : left + columns])
        _store_ndvi(second, y, left, used, work, ndvi[1, y, left : left + columns])


@_compiled
def _rank_table(raw, table, packets, f, line):
    for x in range(raw.size):
        packets[x // EDGE, f, line + x % EDGE] = table[raw[x]]


@_compiled
def _rank_deviation(raw, scaled, cuts, start, end, low, scale, buckets, zero, packets, f, line):
    number = end - 2 - start
    for x in range(raw.size):
        value = raw[x]
        divided = value / _SCALE if scaled else value
        rank = zero
        if divided > 0 and np.isfinite(value):
            rank = number - _search(value, cuts, start, low, scale, buckets)
        packets[x // EDGE, f, line + x % EDGE] = rank


@_compiled
def _rank_computed(values, cuts, start, low, scale, buckets, zero, packets, f, line):
    for x in range(values.size):
        value = values[x]
        rank = zero
        if np.isfinite(value):
            rank = _search(value, cuts, start, low, scale, buckets)
        packets[x // EDGE, f, line + x % EDGE] = rank


@_compiled
def _rank_feature(strip, ranker, f, top, left, columns, packets, work):
    kind, source, zero, tables, table, cuts, starts, lows, scales, buckets = ranker
    late = _PER_HALF <= source[f] < _SLOPE
    place = source[f] % _PER_HALF if source[f] < _SLOPE else _SLOPE
    raw = strip[1] if late else strip[0]
    deviations = strip[3] if late else strip[2]
    plane = strip[5] if place == _SLOPE else strip[4][1 if late else 0]
    start, low, scale, own = starts[f], lows[f], scales[f], buckets[f]
    right = left + columns
    for y in range(top, min(top + EDGE, plane.shape[0])):
        line = (y - top) * EDGE
        if kind[f] == _TABLE:
            _rank_table(raw[place, y, left:right], tables[table[f]], packets, f + 1, line)
        elif kind[f] == _DEVIATION:
            _rank_deviation(
                deviations[place - 9, y, left:right], place == _EDEV, cuts, start, starts[f + 1],
                low, scale, own, zero[f], packets, f + 1, line,
            )  # fmt: skip
        else:
            if place >= _RAIN:
                work[:columns] = plane[y, left:right]
            else:
                _index(place, raw, y, left, work[:columns])
            _rank_computed(
                work[:columns], cuts, start, low, scale, own, zero[f], packets, f + 1, line
            )


@_compiled
def rank_packets(strip, ranker, top, left, packets, active):
    """Fill rows 1 and up of ``packets`` (packet, row, lane) with the ranks of their pixels.

    ``strip`` is (first, second, first deviations, second deviations, rain, slope), ``ranker`` the
    fields of :class:`~cropmask.core.ranks.Ranker` in order. Lanes without a pixel keep what they
    hold: no bit of ``active`` asks for them.
    """
    columns = min(active.size * EDGE, strip[5].shape[1] - left)
    work = np.empty(columns, np.float32)
    for f in range(ranker[0].size):
        _rank_feature(strip, ranker, f, top, left, columns, packets, work)


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
def count_reached(cuts, scores, logistic, out):
    """Count the ascending ``cuts`` that each of ``scores`` (packet, lane) reaches, as uint8.

    ``logistic`` tells how scores become probabilities, from which the count is guessed first.
    """
    last = cuts.size
    for p in range(scores.shape[0]):
        for lane in range(scores.shape[1]):
            score = scores[p, lane]
            guess = 100.0 / (1.0 + np.exp(-score)) if logistic else 50.0
            i = min(max(np.int64(guess), 0), last)
            while i < last and cuts[i] <= score:
                i += 1
            while i > 0 and cuts[i - 1] > score:
                i -= 1
            out[p, lane] = i
