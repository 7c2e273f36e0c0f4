"""What holds for the object filter on any image."""

from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cropmask.core import _eliminate
from cropmask.core.segment import segment
from cropmask.core.stretch import NODATA_NDVI, stretch
from cropmask.core.vote import majority

SIZES = st.sampled_from([1, 3, 25, 100])
DISTANCES = st.sampled_from([0.0, 30.0, 100.0, np.inf])


@st.composite
def images(draw):
    """Small images of a few colors, with nodata of any shape."""
    shape = draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    palette = draw(st.lists(st.integers(0, 255), min_size=1, max_size=6))
    index = draw(hnp.arrays(np.int64, (2, *shape), elements=st.integers(0, len(palette) - 1)))
    valid = draw(
        st.one_of(
            st.just(np.ones(shape, np.bool_)),
            hnp.arrays(np.bool_, shape, elements=st.booleans()),
            hnp.arrays(np.bool_, shape, elements=st.sampled_from([True] * 8 + [False])),
        )
    )
    return np.array(palette, np.uint8)[index], valid


def components(values):
    """4-connected components of equal non-zero values: label image and their number."""
    out = np.zeros(values.shape, int)
    count = 0
    for at in zip(*np.nonzero(values), strict=True):
        if out[at]:
            continue
        count += 1
        out[at], todo = count, [at]
        while todo:
            y, x = todo.pop()
            for other in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= other[0] < values.shape[0] and 0 <= other[1] < values.shape[1]
                if inside and not out[other] and values[other] == values[at]:
                    out[other] = count
                    todo.append(other)
    return out, count


@given(images(), SIZES, DISTANCES, st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_labels_are_connected_dense_and_in_order(image, min_pixels, max_distance, clusters):
    colors, valid = image
    labels = segment(
        colors, valid, min_pixels=min_pixels, max_distance=max_distance, clusters=clusters
    )
    np.testing.assert_array_equal(labels > 0, valid)
    assert components(labels)[1] == labels.max()
    found, first = np.unique(labels[valid], return_index=True)
    assert found.tolist() == list(range(1, labels.max() + 1))
    assert first.tolist() == sorted(first)


@given(images(), st.sampled_from([2, 3, 4, 5, 9]))
@settings(max_examples=150, deadline=None)
def test_without_a_distance_limit_the_last_step_leaves_only_what_has_no_larger_neighbor(
    image, min_pixels
):
    colors, valid = image
    with mock.patch.object(_eliminate, "MOST_PASSES", 1000):
        labels = segment(colors, valid, min_pixels=min_pixels, max_distance=np.inf)
    sizes = np.bincount(labels.ravel())
    pairs = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
    for one, other in (*pairs, *(pair[::-1] for pair in pairs)):
        beside = (one > 0) & (other > 0) & (one != other)
        small = beside & (sizes[one] == min_pixels - 1)
        assert (sizes[other[small]] <= min_pixels - 1).all()


@given(images(), st.sampled_from([3, 25, 100]), DISTANCES)
@settings(max_examples=80, deadline=None)
def test_elimination_only_joins(image, min_pixels, max_distance):
    colors, valid = image
    clumps = segment(colors, valid, min_pixels=1)
    labels = segment(colors, valid, min_pixels=min_pixels, max_distance=max_distance)
    for clump in range(1, clumps.max() + 1):
        assert len(np.unique(labels[clumps == clump])) == 1


@given(images(), SIZES, DISTANCES)
@settings(max_examples=60, deadline=None)
def test_copies_beside_each_other_are_segmented_alike(image, min_pixels, max_distance):
    """Nodata between them, so that they share the clusters and nothing else."""
    colors, valid = image
    keep = {"min_pixels": min_pixels, "max_distance": max_distance}
    once = segment(colors, valid, **keep)
    for axis in (0, 1):
        gap = [1, 1]
        gap[1 - axis] = valid.shape[1 - axis]
        twice = segment(
            np.concatenate([colors, np.zeros((2, *gap), np.uint8), colors], axis=axis + 1),
            np.concatenate([valid, np.zeros(gap, np.bool_), valid], axis=axis),
            **keep,
        )
        size = valid.shape[axis]
        for part in (np.take(twice, range(size), axis), np.take(twice, range(-size, 0), axis)):
            assert len({*zip(part[valid], once[valid], strict=True)}) == once.max()
        assert twice.max() == 2 * once.max()


@given(images())
@settings(max_examples=60, deadline=None)
def test_clumps_do_not_depend_on_orientation(image):
    colors, valid = image
    clumps = segment(colors, valid, min_pixels=1)
    turned = segment(colors.transpose(0, 2, 1), valid.T, min_pixels=1).T
    assert turned.max() == clumps.max()
    assert len({*zip(clumps[valid], turned[valid], strict=True)}) == clumps.max()


@given(images(), SIZES, st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_equal_bytes_again_whatever_lies_below_nodata(image, min_pixels, filler):
    colors, valid = image
    other = np.where(valid, colors, filler).astype(np.uint8)
    one = segment(colors, valid, min_pixels=min_pixels)
    assert one.tobytes() == segment(colors, valid, min_pixels=min_pixels).tobytes()
    assert one.tobytes() == segment(other, valid, min_pixels=min_pixels).tobytes()


@given(images(), st.data())
@settings(max_examples=80, deadline=None)
def test_vote_is_one_for_a_segment_and_blind_to_numbers(image, data):
    colors, valid = image
    labels = segment(colors, valid, min_pixels=3)
    crop = data.draw(hnp.arrays(np.uint8, valid.shape, elements=st.integers(0, 1)))
    crop[~valid] = 255
    voted = majority(labels, crop)
    np.testing.assert_array_equal(voted == 255, ~valid)
    for label in range(1, labels.max() + 1):
        inside = labels == label
        assert set(voted[inside]) == {int(2 * crop[inside].sum() > inside.sum())}
    numbers = data.draw(st.permutations(range(1, int(labels.max()) + 1)))
    renumbered = np.array([0, *(3 * number + 5 for number in numbers)], np.int32)[labels]
    np.testing.assert_array_equal(majority(renumbered, crop), voted)


@given(hnp.arrays(np.int16, (2, 7, 5), elements=st.integers(-10_000, 10_000)), st.data())
@settings(max_examples=80, deadline=None)
def test_stretch_depends_on_valid_values_only_and_keeps_their_order(ndvi, data):
    valid = data.draw(hnp.arrays(np.bool_, (7, 5), elements=st.booleans()))
    ndvi[:, ~valid] = NODATA_NDVI
    colors = stretch(ndvi)
    for values, shades in zip(ndvi, colors, strict=True):
        order = np.argsort(values[valid], kind="stable")
        assert (np.diff(shades[valid][order].astype(int)) >= 0).all()
        mixed = data.draw(st.permutations(range(int(valid.sum()))))
        again = np.full((1, 1, len(mixed)), 0, np.int16)
        again[0, 0] = values[valid][mixed]
        np.testing.assert_array_equal(stretch(again)[0, 0], shades[valid][mixed])
