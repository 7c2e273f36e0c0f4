import numpy as np
import pytest

from cropmask.core.vote import majority


def vote(labels, crop):
    return majority(np.array(labels, np.int32), np.array(crop, np.uint8)).tolist()


def test_more_than_half_is_crop():
    assert vote([[1, 1, 1, 2, 2, 2]], [[1, 1, 0, 1, 0, 0]]) == [[1, 1, 1, 0, 0, 0]]


def test_half_is_not_crop():
    assert vote([[1, 1, 2, 2, 2, 2]], [[1, 0, 1, 1, 0, 0]]) == [[0, 0, 0, 0, 0, 0]]


def test_nodata_is_where_the_label_is_zero():
    assert vote([[0, 1, 0], [1, 1, 0]], [[255, 1, 255], [1, 0, 1]]) == [[255, 1, 255], [1, 1, 255]]


def test_nodata_inside_a_segment_does_not_vote():
    assert vote([[1, 1, 1, 1, 1]], [[1, 1, 0, 255, 255]]) == [[1, 1, 1, 1, 1]]
    assert vote([[7, 7]], [[255, 255]]) == [[0, 0]]


def test_numbers_may_have_gaps_and_any_order():
    assert vote([[90, 3, 3, 90, 90]], [[1, 0, 0, 1, 0]]) == [[1, 0, 0, 1, 1]]


def test_equals_bincount_on_a_large_image():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3000, (700, 900), np.int32)
    crop = rng.integers(0, 2, labels.shape, np.uint8)
    crop[labels == 0] = 255
    pixels = np.bincount(labels.ravel())
    crops = np.bincount(labels.ravel(), weights=crop.ravel() == 1)
    expected = np.where(labels == 0, 255, (2 * crops > pixels)[labels])
    np.testing.assert_array_equal(majority(labels, crop), expected)


def test_views_and_empty_images():
    labels = np.arange(12, dtype=np.int32).reshape(3, 4)
    crop = np.ones((3, 4), np.uint8)
    np.testing.assert_array_equal(
        majority(labels[:, ::2], crop[:, ::2]), [[255, 1], [1, 1], [1, 1]]
    )
    assert majority(labels[:0], crop[:0]).shape == (0, 4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="labels are"):
        vote([[1, 2]], [[1]])
    with pytest.raises(ValueError, match="negative"):
        vote([[1, -2]], [[1, 1]])
