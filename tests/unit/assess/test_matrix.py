"""Points counted: what is refused in one line, and what is an answer."""

from __future__ import annotations

import time

import numpy as np
import pandas
import pytest

from cropmask.assess import assess_accuracy, count_labels, count_matrix, estimate_area
from cropmask.errors import Rejected


def test_points_are_counted_by_stratum() -> None:
    found = count_labels(
        ["crop", "other", "crop", "crop"],
        ["crop", "other", "other", "crop"],
        strata=["low", "low", "high", "high"],
        pixels={"high": 3, "low": 1},
    )
    assert found.classes == ("crop", "other")
    assert found.strata == ("high", "low")
    np.testing.assert_array_equal(found.counts, [[[1, 1], [0, 0]], [[1, 0], [0, 1]]])
    np.testing.assert_allclose(found.area_shares, [[0.375 + 0.125, 0.375], [0, 0.125]])
    np.testing.assert_array_equal(found.matrix, [[2, 1], [0, 1]])


def test_classes_have_the_order_and_the_names_that_are_given() -> None:
    found = count_labels([1, 0, 1], [1, 0, 0], classes={1: "crop", 0: "other land"})
    assert found.classes == ("crop", "other land")
    np.testing.assert_array_equal(found.matrix, [[1, 1], [0, 1]])
    np.testing.assert_array_equal(count_labels([1, 1], [1, 1], classes=(0, 1)).matrix[0], 0)


def test_columns_of_a_frame_are_taken_as_they_are() -> None:
    frame = pandas.DataFrame(
        {"map": ["a", "b", "a", "b"], "true": ["a", "b", "b", "b"], "zone": [1, 1, 2, 2]}
    )
    found = count_labels(frame["map"], frame["true"], strata=frame["zone"], pixels={1: 5, 2: 9})
    np.testing.assert_array_equal(found.counts.sum(0), [[1, 1], [0, 2]])
    frame.loc[2, "true"] = None
    with pytest.raises(Rejected, match=r"reference has no value at 1 of 4 points.*number 2"):
        count_labels(frame["map"], frame["true"])
    with pytest.raises(Rejected, match="reference has no value at 1 of 4"):
        count_labels(frame["map"], frame["true"].astype("string"))
    assert count_labels(frame["map"].astype("category"), frame["map"]).matrix.tolist() == [
        *([2, 0], [0, 2])
    ]
    frame["code"] = pandas.array([1, None, 1, 1], dtype="Int64")
    with pytest.raises(Rejected, match="reference has no value at 1 of 4"):
        count_labels([1, 1, 1, 1], frame["code"])


def test_numbers_that_are_whole_are_classes_whatever_their_type() -> None:
    for kind in (np.uint8, np.float32, bool, object):
        found = count_labels(np.array([1, 0, 1], kind), [1, 0, 0])
        np.testing.assert_array_equal(found.matrix, [[1, 0], [1, 1]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mapped": [], "reference": []}, "there is no point"),
        ({"mapped": [1, 0], "reference": [1]}, "lengths differ: mapped 2, reference 1"),
        ({"mapped": [[1, 0]], "reference": [1, 0]}, "a value for each point"),
        ({"mapped": [1, 0], "reference": [1, np.nan]}, "reference has no value at 1 of 2"),
        ({"mapped": [1, 0], "reference": [np.inf, 1]}, "reference has no value at 1 of 2"),
        ({"mapped": ["a", " "], "reference": ["a", "a"]}, "mapped has no value at 1 of 2"),
        ({"mapped": np.ma.masked_equal([1, 9], 9), "reference": [1, 0]}, "mapped has no value"),
        ({"mapped": [1, 0], "reference": [1, 0.5]}, "0.5, which is no class"),
        ({"mapped": [1, 0], "reference": [1, 10**30]}, "numbers over 9007199254740992"),
        ({"mapped": [1, 0], "reference": [1, 1e300]}, "numbers over 9007199254740992"),
        ({"mapped": [1, 255], "reference": [1, 0]}, "1 points lie where the map has no data"),
        ({"mapped": [1, 0], "reference": ["crop", "other"]}, "numbers in both, or words in both"),
        ({"mapped": [1, 0], "reference": [1, 3], "classes": (0, 1)}, "reference holds 3"),
        ({"mapped": [1, 0], "reference": [1, 0], "classes": (0, 1, 1)}, "named twice"),
        ({"mapped": np.arange(70), "reference": np.arange(70)}, "70 classes are more"),
        ({"mapped": [1, 0], "reference": [1, 0], "strata": [1, 1]}, "without their sizes"),
        ({"mapped": [1, 0], "reference": [1, 0], "pixels": [1]}, "without strata"),
    ],
)
def test_what_is_no_sample_is_refused_in_a_line(given: dict, message: str) -> None:
    with pytest.raises(Rejected, match=message) as caught:
        count_labels(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ({"a": 5}, "strata holds b, but what is known is a"),
        ({"a": 5, "b": 5, "c": 1}, "fewer than two points in a stratum.*: c:"),
        ({"a": 5, "b": -1}, "finite and not negative, but one is -1"),
        ({"a": 5, "b": np.nan}, "finite and not negative, but one is nan"),
        ({"a": 0, "b": 0}, "all pixels are 0"),
        ({"a": "many", "b": 1}, "pixels must be numbers"),
        ([5, 6, 7], "the points have 2 strata"),
        ({"x": {"a": 1, "b": 1}}, "points have no domains"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(pixels: object, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        count_labels([1, 1, 0, 0], [1, 0, 0, 1], strata=[*"aabb"], pixels=pixels)  # type: ignore[arg-type]


def test_a_stratum_with_one_point_is_refused() -> None:
    with pytest.raises(Rejected, match="label more points there"):
        count_labels([1, 1, 0], [1, 0, 0], strata=[1, 1, 0], pixels={1: 9, 0: 99})


def test_a_stratum_without_pixels_needs_no_points() -> None:
    sizes = {"a": 5, "b": 5, "none": 0}
    found = count_labels([1, 1, 0, 0], [1, 0, 0, 0], strata=[*"aabb"], pixels=sizes)
    assert assess_accuracy(found).overall.estimate == pytest.approx(0.75)


def test_a_plot_lies_in_one_stratum() -> None:
    given = {"mapped": [1, 1, 0, 0], "reference": [1, 0, 0, 0], "pixels": {"a": 5, "b": 5}}
    with pytest.raises(Rejected, match="plot p lies in two strata"):
        count_labels(strata=[*"aabb"], plots=[*"qppr"], **given)
    with pytest.raises(Rejected, match=r"fewer than two plots in a stratum.*a, b"):
        count_labels(strata=[*"aabb"], plots=[*"ppqq"], **given)


def test_domains_without_their_sizes_are_there_only_where_points_are() -> None:
    found = count_labels(
        [1, 1, 0, 0], [1, 0, 0, 0], strata=[1, 1, 0, 0], pixels={1: 5, 0: 5}, domains=[*"xyxy"]
    )
    assert found.domains == ("x", "y")
    np.testing.assert_array_equal(found.points, [[2, 2], [2, 2]])


@pytest.mark.parametrize(
    ("matrix", "pixels", "message"),
    [
        ([[1, 2]], None, "is square"),
        ([[0.2, 0.8], [0.5, 0.5]], None, "not shares"),
        ([[1, -2], [3, 4]], None, "not negative"),
        ([[0, 0], [0, 0]], None, "all counts are 0"),
        ([[5, 1], [0, 1]], [900, 100], "fewer than two points in a stratum.*: 1"),
        ([[5, 1], [1, 5]], [900, 100, 7], "the map's 2 classes"),
    ],
)
def test_what_is_no_matrix_is_refused(matrix: list, pixels: list | None, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        count_matrix(matrix, pixels)


def test_names_fit_the_matrix() -> None:
    with pytest.raises(Rejected, match="3 classes are named, but the matrix has 2"):
        count_matrix([[5, 1], [1, 5]], classes=["a", "b", "c"])


def test_a_million_points_take_seconds() -> None:
    rng = np.random.default_rng(0)
    count = 1_000_000
    strata = rng.integers(0, 4, count)
    mapped = (strata >= 2).astype(np.uint8)
    true = np.where(rng.random(count) < 0.9, mapped, 1 - mapped)
    where = rng.integers(0, 47, count)
    began = time.process_time()
    found = count_labels(
        mapped, true, strata=strata, pixels=[4e8, 3e7, 2e7, 1e8], plots=np.arange(count) // 1
    )
    by_district = count_labels(mapped, true, strata=strata, pixels=np.ones((47, 4)), domains=where)
    accuracies = assess_accuracy(found), assess_accuracy(by_district)
    estimate_area(found, 0.01)
    assert time.process_time() - began < 15, "three passes; about two seconds on a quiet machine"
    assert accuracies[0].overall.estimate == pytest.approx(0.9, abs=0.002)
    assert accuracies[1].overall.estimate.shape == (47,)
