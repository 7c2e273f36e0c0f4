import numpy as np
import pytest

from cropmask.core import _eliminate, _kmeans
from cropmask.core.segment import segment


def flat(shape, color):
    return np.broadcast_to(np.array(color, np.uint8)[:, None, None], (2, *shape)).copy()


def test_constant_field_is_one_segment():
    labels = segment(flat((40, 30), (80, 90)), np.ones((40, 30), np.bool_))
    assert labels.dtype == np.int32
    assert (labels == 1).all()


def test_two_far_halves_are_two():
    colors = flat((20, 20), (20, 20))
    colors[:, :, 10:] = 230
    labels = segment(colors, np.ones((20, 20), np.bool_))
    np.testing.assert_array_equal(labels, np.repeat([[1] * 10 + [2] * 10], 20, axis=0))


def test_nodata_is_never_labeled_and_its_walls_split():
    valid = np.ones((30, 30), np.bool_)
    valid[14] = False
    valid[:, 20] = False
    labels = segment(flat((30, 30), (5, 200)), valid)
    assert (labels[~valid] == 0).all()
    assert labels.max() == 4
    assert labels[0, 0] == 1
    assert labels[0, 29] == 2
    assert labels[29, 0] == 3
    assert labels[29, 29] == 4


def test_diagonal_neighbors_are_not_connected():
    valid = np.eye(12, dtype=np.bool_)
    assert segment(flat((12, 12), (1, 2)), valid, max_distance=np.inf).max() == 12


def test_nothing_valid_gives_nothing():
    labels = segment(flat((3, 4), (1, 2)), np.zeros((3, 4), np.bool_))
    assert labels.shape == (3, 4)
    assert not labels.any()
    assert segment(flat((0, 4), (1, 2)), np.zeros((0, 4), np.bool_)).shape == (0, 4)


def pond_in_a_field(shade):
    colors = flat((40, 40), (200, 200))
    colors[:, 10:15, 10:18] = shade
    return colors, np.ones((40, 40), np.bool_)


def test_published_limit_keeps_a_small_segment_that_is_far_from_all():
    colors, valid = pond_in_a_field(129)  # 71 * sqrt(2) = 100.4
    labels = segment(colors, valid)
    assert np.bincount(labels.ravel()).tolist() == [0, 1560, 40]
    colors, valid = pond_in_a_field(130)  # 70 * sqrt(2) = 99.0
    assert segment(colors, valid).max() == 1
    colors, valid = pond_in_a_field(0)
    assert segment(colors, valid, max_distance=np.inf).max() == 1


def test_limit_itself_is_near_enough():
    colors, valid = pond_in_a_field(0)
    colors[0, 10:15, 10:18], colors[1, 10:15, 10:18] = 140, 120  # 60, 80: 100 exactly
    assert segment(colors, valid, max_distance=100.0).max() == 1
    assert segment(colors, valid, max_distance=99.99).max() == 2


def test_size_limit_is_the_smallest_that_stays():
    colors, valid = pond_in_a_field(195)
    assert segment(colors, valid, min_pixels=40).max() == 2
    assert segment(colors, valid, min_pixels=41).max() == 1


def test_single_pixels_go_whatever_the_distance():
    colors, valid = pond_in_a_field(200)
    colors[:, 5, 5] = 0
    assert segment(colors, valid, max_distance=0.0).max() == 1
    assert segment(colors, valid, min_pixels=1).max() == 2


def test_large_chessboard_takes_linear_time():
    """Rounds of single pixels creep in from the one seed; each must cost only its front."""
    y, x = np.indices((400, 400))
    colors = np.stack([(x + y) % 2 * 255] * 2).astype(np.uint8)
    colors[:, 0, 1] = 0
    labels = segment(colors, np.ones((400, 400), np.bool_))
    assert labels.max() == 1


@pytest.mark.parametrize("noise", [10, 60])
def test_threads_change_nothing(monkeypatch, noise):
    monkeypatch.setattr(_eliminate, "SHARED_FROM", 1)
    rng = np.random.default_rng(noise)
    fields = np.kron(rng.integers(0, 200, (2, 30, 30)), np.ones((8, 8), np.int64))
    colors = (fields + rng.integers(0, noise, fields.shape)).clip(0, 255).astype(np.uint8)
    valid = rng.random(fields.shape[1:]) > 0.05
    expected = segment(colors, valid)
    assert expected.max() > 20
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(segment(colors, valid, threads=threads), expected)


def test_arrays_need_not_be_contiguous_nor_writable():
    rng = np.random.default_rng(3)
    colors = rng.integers(0, 255, (30, 40, 2), np.uint8).transpose(2, 0, 1)
    valid = rng.random((30, 80))[:, ::2] > 0.1
    expected = segment(np.ascontiguousarray(colors), np.ascontiguousarray(valid))
    colors.flags.writeable = False
    np.testing.assert_array_equal(segment(colors, valid), expected)


def test_sums_of_a_large_segment_are_exact():
    """Mean color of 4 194 304 pixels: float32 sums would be off by whole shades."""
    colors = flat((2048, 2048), (255, 254))
    colors[:, :2, :4] = 160
    valid = np.ones((2048, 2048), np.bool_)
    near = np.hypot(255 - 160, 254 - 160)
    assert segment(colors, valid, max_distance=near - 0.01).max() == 2
    assert segment(colors, valid, max_distance=near + 0.01).max() == 1


@pytest.mark.parametrize(
    ("pixels", "step"),
    [(1, 1), (9_999, 1), (19_999, 1), (20_000, 2), (921_600, 92), (1_000_000, 100), (10**8, 100)],
)
def test_sample_is_every_hundredth_pixel_but_not_too_few(pixels, step):
    assert _kmeans.sample_step(pixels) == step


def test_kmeans_keeps_an_empty_cluster_where_it_is():
    colors = np.array([[0, 0, 100], [0, 0, 100]], np.uint8)
    table = _kmeans.cluster_table(colors, np.ones(3, np.bool_), 3)
    # Centers 25, 50, 75: 0 takes the first, 100 the last; nobody takes 50, which stays.
    assert [int(table[shade * 257]) for shade in (0, 24, 26, 50, 74, 76, 100)] == [
        0,
        0,
        1,
        1,
        1,
        2,
        2,
    ]


def test_kmeans_tie_goes_to_the_lower_cluster():
    colors = np.array([[0, 60], [0, 60]], np.uint8)
    table = _kmeans.cluster_table(colors, np.ones(2, np.bool_), 2)
    assert [int(table[shade * 257]) for shade in (29, 30, 31)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_pixels": 0}, "min_pixels"),
        ({"max_distance": -1.0}, "max_distance"),
        ({"max_distance": float("nan")}, "max_distance"),
        ({"clusters": 0}, "clusters"),
        ({"clusters": 256}, "clusters"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        segment(flat((4, 4), (1, 2)), np.ones((4, 4), np.bool_), **change)


def test_shapes_and_types_must_fit():
    good = flat((4, 4), (1, 2))
    with pytest.raises(ValueError, match="two bands"):
        segment(good, np.ones((4, 5), np.bool_))
    with pytest.raises(ValueError, match="two bands"):
        segment(good[:1], np.ones((4, 4), np.bool_))
    with pytest.raises(ValueError, match="uint8"):
        segment(good.astype(np.int16), np.ones((4, 4), np.bool_))
