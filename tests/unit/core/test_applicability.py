"""Dissimilarity against plain numpy, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cropmask.core._nearest import LEAF_POINTS
from cropmask.core.applicability import (
    Applicability,
    find_dissimilarity,
    fit_applicability,
    know_land,
)
from cropmask.training.samples import load_samples
from tests.shareddata import shared


def brute_force(known: Applicability, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """One row at a time, as the paper has it, in float64."""
    samples = (known.samples.astype(np.float64) - known.center) * known.factor
    rows = (values.astype(np.float64) - known.center) * known.factor
    nearest = [min(np.sqrt(((row - sample) ** 2).sum()) for sample in samples) for row in rows]
    return np.array(nearest) / known.mean_distance


@given(
    rows=st.integers(1, 3 * LEAF_POINTS),
    features=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["normal", "few values", "clusters"]),
)
@settings(max_examples=40, deadline=None)
def test_equals_brute_force(rows: int, features: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (rows + 20, features))
    if kind == "few values":
        values = np.rint(values)
    elif kind == "clusters":
        values += 10 * rng.integers(0, 4, (rows + 20, 1))
    values = (values * rng.uniform(0.01, 100, features)).astype(np.float32)
    known = Applicability(
        features=tuple(map(str, range(features))),
        center=values[:rows].mean(axis=0, dtype=np.float64),
        factor=rng.uniform(0.01, 3, features) / (1e-3 + values.std(axis=0, dtype=np.float64)),
        samples=values[:rows],
        mean_distance=float(rng.uniform(0.5, 2)),
        threshold=0.4,
    )
    land = know_land(known)
    queries = np.concatenate([values, values[:5] * 3])
    found = find_dissimilarity(land, queries)
    assert_allclose(found, brute_force(known, queries), atol=1e-5, rtol=1e-5)
    assert_array_equal(found[:rows], 0)
    assert_array_equal(find_dissimilarity(land, queries[7:8]), found[7:8])
    most = float(np.median(found)) + 1e-3
    assert_allclose(find_dissimilarity(land, queries, most), np.minimum(found, most), rtol=1e-6)


def test_by_hand() -> None:
    """Five samples on a line: one feature is constant, one is of no importance."""
    values = np.array([[0, 7, 1], [1, 7, 9], [2, 7, 3], [4, 7, 0], [13, 7, 5]], np.float32)
    folds = np.array([0, 0, 1, 1, 1])
    known = fit_applicability(("a", "b", "c"), values, np.array([0.5, 0.3, 0.0]), folds)
    deviation = np.sqrt(sum((v - 4) ** 2 for v in (0, 1, 2, 4, 13)) / 4)
    assert known.features == ("a",)
    assert_allclose(known.center, [4])
    assert_allclose(known.factor, [0.5 / deviation])
    # Pairs: 1 2 4 13, 1 3 12, 2 11, 9: together 58, of which there are ten.
    assert known.mean_distance == pytest.approx(5.8 * known.factor[0])
    # To the other fold: 2, 1, 1, 3, 12. Quartiles 1 and 3, so 12 is over 3 + 1.5 x 2.
    assert known.threshold == pytest.approx(3 / 5.8)
    found = find_dissimilarity(know_land(known), np.array([[2], [3], [20]], np.float32))
    assert_allclose(found, [0, 1 / 5.8, 7 / 5.8], rtol=1e-6)


def test_equal_samples_are_kept_once_and_count_in_the_mean() -> None:
    values = np.array([[0], [0], [1]], np.float32)
    known = fit_applicability(("a",), values, np.ones(1), np.array([0, 0, 1]))
    assert_array_equal(known.samples, [[0], [1]])
    assert known.mean_distance == pytest.approx(2 / 3 * known.factor[0])


@pytest.mark.parametrize(
    ("values", "importance", "folds"),
    [
        ([[1.0]], [1.0], [0]),
        ([[1.0], [1.0]], [1.0], [0, 1]),
        ([[1.0], [2.0]], [0.0], [0, 1]),
        ([[1.0], [2.0]], [1.0], [0, 0]),
    ],
)
def test_too_few_to_tell_distances(
    values: list[list[float]], importance: list[float], folds: list[int]
) -> None:
    with pytest.raises(ValueError, match="samples of two folds that differ"):
        fit_applicability(
            ("a",), np.array(values, np.float32), np.array(importance), np.array(folds)
        )


def test_published_samples_against_brute_force() -> None:
    samples = load_samples(shared("training/indian_ocean.txt"))
    rng = np.random.default_rng(1)
    importance = rng.random(len(samples.names))
    folds = rng.integers(0, 5, len(samples.labels))
    known = fit_applicability(samples.names, samples.features, importance, folds)
    scaled = (samples.features - known.center) * known.factor
    chosen = rng.choice(len(scaled), 50, replace=False)
    nearest = [
        np.sqrt(((scaled[folds != folds[row]] - scaled[row]) ** 2).sum(axis=1)).min()
        for row in chosen
    ]
    other = rng.permuted(samples.features, axis=0)[:50]
    assert_allclose(
        find_dissimilarity(know_land(known), other), brute_force(known, other), atol=1e-5
    )
    assert np.mean(np.array(nearest) / known.mean_distance <= known.threshold) > 0.8
