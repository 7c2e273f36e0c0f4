import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from cropmask.core.stretch import NODATA_NDVI, stretch


def exact_colors(values):
    """Mean and variance as fractions; only the root and the last division are rounded."""
    numbers = [int(value) for value in values]
    mean = Fraction(sum(numbers), len(numbers))
    variance = Fraction(sum(number**2 for number in numbers), len(numbers)) - mean**2
    spread = 4 * float(variance) ** 0.5
    return [255 * (0.5 + float(number - mean) / spread) for number in numbers]


@pytest.mark.parametrize("seed", range(5))
def test_mean_and_two_deviations_fill_the_range(seed):
    rng = np.random.default_rng(seed)
    ndvi = rng.normal(3000, 1500, (2, 40, 50)).clip(-10_000, 10_000).astype(np.int16)
    colors = stretch(ndvi)
    for values, shades in zip(ndvi, colors, strict=True):
        wanted = np.array(exact_colors(values.ravel())).clip(0, 255)
        assert np.abs(shades.ravel() - wanted).max() <= 0.5 + 1e-9
        assert shades.min() == 0
        assert shades.max() == 255


def test_by_hand():
    # Mean 0, deviation 100: from -200 to 200.
    ndvi = np.array([[[-100, 100, -100, 100]], [[-100, -100, 100, 100]]], np.int16)
    assert stretch(ndvi).tolist() == [[[64, 191, 64, 191]], [[64, 64, 191, 191]]]


def test_constant_band_is_the_middle():
    ndvi = np.full((2, 3, 3), 4321, np.int16)
    ndvi[1, 0, 0] = 4322
    colors = stretch(ndvi)
    assert (colors[0] == 128).all()
    assert colors[1, 0, 0] == 255


def test_nodata_does_not_count():
    rng = np.random.default_rng(1)
    ndvi = rng.integers(-2000, 9000, (2, 20, 20), np.int16)
    part = stretch(ndvi[:, :12].copy())
    ndvi[:, 12:] = NODATA_NDVI
    np.testing.assert_array_equal(stretch(ndvi)[:, :12], part)


def test_nothing_valid():
    assert np.ptp(stretch(np.full((2, 4, 4), NODATA_NDVI, np.int16))) == 0
    assert stretch(np.empty((2, 0, 4), np.int16)).shape == (2, 0, 4)


def test_sums_stay_exact_on_extremes():
    ndvi = np.full((1, 3000, 3000), 10_000, np.int16)
    ndvi[0, 0, 0] = 9_999
    colors = stretch(ndvi)
    assert colors[0, 0, 0] == 0
    assert (colors[0].ravel()[1:] == colors[0, 0, 1]).all()


def test_into_the_memory_of_its_input():
    rng = np.random.default_rng(2)
    ndvi = rng.integers(-10_000, 10_000, (2, 300, 200), np.int16)
    expected = stretch(ndvi)
    out = ndvi.reshape(-1).view(np.uint8)[: ndvi.size].reshape(ndvi.shape)
    stretch(ndvi, out)
    np.testing.assert_array_equal(out, expected)


def test_into_takes_no_memory_that_grows():
    stretch(np.zeros((2, 4, 4), np.int16))
    ndvi = np.zeros((2, 2000, 1000), np.int16)
    out = np.empty(ndvi.shape, np.uint8)
    tracemalloc.start()
    stretch(ndvi, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ndvi.size


def test_into_refuses_what_it_cannot_write():
    ndvi = np.zeros((2, 4, 6), np.int16)
    with pytest.raises(ValueError, match="contiguous"):
        stretch(ndvi, np.zeros((2, 4, 12), np.uint8)[:, :, ::2])
    with pytest.raises(ValueError, match="out is"):
        stretch(ndvi, np.zeros((2, 4, 5), np.uint8))
