"""Kernels that fill packets with the ranks of pixels, and put results back to their pixels.

The tables they look ranks up in are those of :mod:`cropmask.core.ranker`.
"""

# numba checks the types of compiled code; arguments are arrays as the callers document them.
# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from cropmask.core._rows import SCALE, leaf_area, run_step, scaled
from cropmask.core._simd import LANES
from cropmask.core.features import HALF_YEAR_FEATURES
from cropmask.core.program import RANK
from cropmask.core.stretch import NODATA_NDVI

# A square, not a run of 64 pixels: it lies within few fields, and pixels of one field take nearly
# the same way through a tree. Eight wide, so that each of its rows is one short copy.
EDGE: Final = 8
"""A packet is a square of 8 x 8 neighboring pixels: :data:`~cropmask.core._simd.LANES`."""

_LARGEST = np.finfo(np.float32).max
_PER_HALF = len(HALF_YEAR_FEATURES)
_TABLE, _DEVIATION, _FORMULA = 0, 1, 3
_NDVI, _LAI, _MNDWI, _RAIN = 12, 13, 14, 15
_SLOPE = 32

_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def _ratios(a, b, out):
    """Normalized difference of rows of stored reflectances."""
    for x in range(out.size):
        first, second = scaled(a[x]), scaled(b[x])
        out[x] = (first - second) / (first + second)


@_compiled
def _leaf_areas(blues, reds, nirs, out):
    """Leaf area index of rows of stored reflectances."""
    for x in range(out.size):
        out[x] = leaf_area(scaled(blues[x]), scaled(reds[x]), scaled(nirs[x]))


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
def _has_geomad(raw, y, left, out):
    """Whether a half-year has GeoMAD along a row: any band that is not 0."""
    # Bands outside, pixels inside: both loops run along memory, and on vector registers.
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
    # Ten-thousandths are finer than the 8 bits that the segmentation makes of them, and as int16
    # both half-years fit the 4 bytes a pixel that hold the segments' labels later.
    _index(_NDVI, raw, y, left, work)
    for x in range(work.size):
        value = np.rint(work[x] * SCALE) if np.isfinite(work[x]) else np.float32(0)
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
        _has_geomad(first, y, left, seen[0])
        _has_geomad(second, y, left, seen[1])
        for x in range(columns):
            number = seen[0, x] + seen[1, x]
            halves[y, left + x] = number
            used[x] = number == 2 or (number == 1 and not need_both)
            lane = np.uint64((y - top) * EDGE + x % EDGE)
            active[x // EDGE] |= np.uint64(used[x]) << lane
        _store_ndvi(first, y, left, used, work, ndvi[0, y, left : left + columns])
        _store_ndvi(second, y, left, used, work, ndvi[1, y, left : left + columns])


@_compiled
def _place(p, line, packets):
    """Group of a packet, and the first of its lanes that belong to a row of pixels."""
    some = packets.shape[2] // LANES
    return p // some, p % some * LANES + line


@_compiled
def _rank_table(raw, table, packets, row, line):
    """Look ranks up; ``raw`` is a row of pixels, whose packets lie side by side."""
    # Whole packets apart from the rest: a loop of always eight is unrolled, without a test each.
    whole = raw.size // EDGE
    for p in range(whole):
        group, first = _place(p, line, packets)
        for k in range(EDGE):
            packets[group, row, first + k] = table[raw[p * EDGE + k]]
    group, first = _place(whole, line, packets)
    for k in range(raw.size - whole * EDGE):
        packets[group, row, first + k] = table[raw[whole * EDGE + k]]


@_compiled
def _bucket(values, least, substitute, low, scale, last, out):
    """Bucket of each value; one that does not count is replaced by the substitute."""
    # Models are trained on features whose NaN and infinity were set to 0. So a pixel without a
    # value must get the rank of 0, which is not rank 0: it depends on where 0 lies among the cuts.
    # For a deviation the substitute is the raw value whose logarithm is 0.
    for x in range(values.size):
        value = values[x]
        # A comparison with NaN is false, so NaN takes the substitute too.
        value = value if (value >= least) & (value <= _LARGEST) else substitute
        values[x] = value
        place = (value - low) * scale
        place = place if place > np.float32(0) else np.float32(0)
        place = place if place < last else last
        out[x] = np.int32(place)


@_compiled
def _count_below(cuts, i, value):
    """Number of cuts strictly below a value, at least ``i``; infinity closes them."""
    # Most buckets hold at most two cuts: two steps without a branch leave little to guess.
    i += np.int64(cuts[i] < value)
    i += np.int64(cuts[i] < value)
    while cuts[i] < value:
        i += 1
    return i


@_compiled
def _rank_buckets(values, places, cuts, buckets, falling, packets, row, line):
    """Search within buckets; ranks count from ``falling`` down where it is not negative."""
    base = np.int64(falling if falling >= 0 else 0)
    sign = np.int64(-1 if falling >= 0 else 1)
    whole = values.size // EDGE
    for p in range(whole):
        group, first = _place(p, line, packets)
        for k in range(EDGE):
            x = p * EDGE + k
            below = _count_below(cuts, np.int64(buckets[places[x]]), values[x])
            packets[group, row, first + k] = base + sign * below
    group, first = _place(whole, line, packets)
    for k in range(values.size - whole * EDGE):
        x = whole * EDGE + k
        below = _count_below(cuts, np.int64(buckets[places[x]]), values[x])
        packets[group, row, first + k] = base + sign * below


@_compiled
def _rank_feature(strip, ranker, f, top, left, columns, packets, work, places):
    kind, source, least, substitute, tables, table = ranker[:6]
    cuts, starts, lows, scales, buckets = ranker[6:11]
    late = _PER_HALF <= source[f] < _SLOPE
    place = source[f] % _PER_HALF if source[f] < _SLOPE else _SLOPE
    raw = strip[1] if late else strip[0]
    deviations = strip[3] if late else strip[2]
    plane = strip[5] if place == _SLOPE else strip[4][1 if late else 0]
    own = cuts[starts[f] : starts[f + 1]]
    # A deviation feature is minus a logarithm: it falls where the raw value rises.
    falling = own.size - 1 if kind[f] == _DEVIATION else -1
    last = np.float32(buckets.shape[1] - 1)
    right = left + columns
    for y in range(top, min(top + EDGE, plane.shape[0])):
        line = (y - top) * EDGE
        if kind[f] == _TABLE:
            _rank_table(raw[place, y, left:right], tables[table[f]], packets, f + 1, line)
            continue
        if kind[f] == _DEVIATION:
            work[:] = deviations[place - 9, y, left:right]
        elif place >= _RAIN:
            work[:] = plane[y, left:right]
        else:
            _index(place, raw, y, left, work)
        _bucket(work, least[f], substitute[f], lows[f], scales[f], last, places)
        _rank_buckets(work, places, own, buckets[f], falling, packets, f + 1, line)


@_compiled
def _rank_formulas(strip, ranker, top, left, columns, packets, work, places):
    """Ranks of the features that are expressions: the whole program row by row."""
    least, substitute = ranker[2], ranker[3]
    cuts, starts, lows, scales, buckets, steps, rows = ranker[6:13]
    values = np.empty((rows, columns), np.float32)
    last = np.float32(buckets.shape[1] - 1)
    for y in range(top, min(top + EDGE, strip[5].shape[0])):
        line = (y - top) * EDGE
        for s in range(steps.shape[0]):
            if steps[s, 0] != RANK:
                run_step(strip, steps[s], y, left, values)
                continue
            f = steps[s, 1]
            own = cuts[starts[f] : starts[f + 1]]
            work[:] = values[steps[s, 2]]  # the row may be needed as it is
            _bucket(work, least[f], substitute[f], lows[f], scales[f], last, places)
            _rank_buckets(work, places, own, buckets[f], -1, packets, f + 1, line)


@_compiled
def rank_packets(strip, ranker, top, left, packets, active):
    """Fill rows 1 and up of ``packets`` (group, row, lane) with the ranks of their pixels.

    ``strip`` is (first, second, first deviations, second deviations, rain, slope), ``ranker`` the
    fields of :class:`~cropmask.core.ranker.Ranker` in order. Lanes without a pixel, and rows of
    features without a cut, keep what they hold: nothing asks for them.
    """
    columns = min(active.size * EDGE, strip[5].shape[1] - left)
    work = np.empty(columns, np.float32)
    places = np.empty(columns, np.int32)
    starts = ranker[7]
    for f in range(ranker[0].size):
        # Without a cut no tree asks for it, and infinity closes the cuts.
        if starts[f + 1] - starts[f] > 1 and ranker[0][f] != _FORMULA:
            _rank_feature(strip, ranker, f, top, left, columns, packets, work, places)
    if ranker[11].shape[0]:
        _rank_formulas(strip, ranker, top, left, columns, packets, work, places)


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
def count_reached(cuts, low, scale, buckets, scores, out):
    """Count the ascending ``cuts`` that each of ``scores`` (packet, lane) reaches, as uint8.

    Infinity closes the cuts; ``buckets`` has the number of cuts in lower buckets. The same search
    as :func:`_count_below`, but for "reaches" (at most) instead of "strictly below".
    """
    last = np.float64(buckets.size - 1)
    for p in range(scores.shape[0]):
        for lane in range(scores.shape[1]):
            score = scores[p, lane]
            place = (score - low) * scale
            place = place if place > 0.0 else 0.0
            place = place if place < last else last
            i = np.int64(buckets[np.int64(place)])
            i += np.int64(cuts[i] <= score)
            while cuts[i] <= score:
                i += 1
            out[p, lane] = i
