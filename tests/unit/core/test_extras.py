"""Cells of several pixels: the pixel nearest to the middle, whatever the strips and the window."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cropmask.core.applicability import Applicability
from cropmask.core.extras import Extras, LikenessCells, make_percent, make_spread_table
from cropmask.core.strips import Half, Strip
from cropmask.product import NODATA

SHAPE = (31, 40)
CELL = 6
KNOWN = Applicability(
    features=("slope",),
    center=np.array([10.0]),
    factor=np.array([0.5]),
    samples=np.array([[0.31], [20.31]], np.float32),
    mean_distance=10.0,
    threshold=0.25,
)


def make_strip(slope: np.ndarray, first: int, last: int) -> Strip:
    shape = (last - first, slope.shape[1])
    half = Half(np.ones((9, *shape), np.uint16), np.ones((3, *shape), np.float32))
    rain = np.ones((2, *shape), np.float32)
    return Strip(first, half, half, rain, slope[first:last])


def compute(slope: np.ndarray, prob: np.ndarray, rows: int, origin: tuple[int, int]) -> np.ndarray:
    cells = LikenessCells(Extras(known=KNOWN, cell=CELL), slope.shape, origin)
    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(slope), rows):
            last = min(first + rows, len(slope))
            cells.see(make_strip(slope, first, last), prob[first:last], pool)
    return cells.fill(prob)


def expect(slope: np.ndarray, prob: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    """Plain loops over cells."""
    found = np.full(slope.shape, NODATA, np.uint8)
    rows, columns = np.indices(slope.shape)
    y, x = rows + origin[0], columns + origin[1]
    for cell in {*zip((y // CELL).ravel(), (x // CELL).ravel(), strict=True)}:
        here = (y // CELL == cell[0]) & (x // CELL == cell[1]) & (prob != NODATA)
        if not here.any():
            continue
        away = (y % CELL - 2.5) ** 2 + (x % CELL - 2.5) ** 2
        at = np.argmin(np.where(here, away, np.inf))
        distance = min(abs(slope.flat[at] - 0.31), abs(slope.flat[at] - 20.31)) * 0.5 / 10
        found[here] = min(np.ceil(100 * distance / 0.25), 254)
    return found


@pytest.mark.parametrize("origin", [(0, 0), (600, 1206), (4, 5)])
@pytest.mark.parametrize("rows", [5, 6, 16, 31])
def test_a_cell_has_the_pixel_nearest_to_its_middle(rows, origin):
    rng = np.random.default_rng(3)
    slope = rng.integers(0, 90, SHAPE).astype(np.float32)
    prob = rng.choice([10, 90, NODATA], SHAPE).astype(np.uint8)
    prob[:8, :9] = NODATA
    found = compute(slope, prob, rows, origin)
    np.testing.assert_array_equal(found, expect(slope, prob, origin))


def test_over_100_is_exactly_over_the_threshold():
    threshold = 0.3
    just = np.array([0, threshold, np.nextafter(threshold, 1), 0.6, 99.0])
    assert make_percent(just, threshold).tolist() == [0, 100, 101, 200, 254]


def test_spread_is_highest_where_the_vote_is_even():
    table = make_spread_table()
    assert (table[0], table[25], table[50], table[100]) == (0, 50, 100, 0)
