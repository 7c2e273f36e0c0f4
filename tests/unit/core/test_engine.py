"""The engine against scikit-learn: equal probabilities, identical labels."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

from cropmask.core.engine import make_engine, make_scratch, pack_rows, predict, score
from cropmask.core.features import FEATURES, features
from cropmask.core.forest import LEAF, Forest
from cropmask.errors import Rejected
from cropmask.training.fit import convert
from tests.scenes import make_scene, parcels

Rows = NDArray[np.float32]


@cache
def world() -> tuple[Rows, NDArray[np.int64]]:
    scene = make_scene()
    x = features(scene.whole).reshape(len(FEATURES), -1).T.copy()
    noise = np.random.default_rng(3).random(len(x))
    crop = (parcels(scene.shape).ravel() % 3 == 0) ^ (noise < 0.1)
    return x, crop.astype(np.int64)


ESTIMATORS = {
    "pure": RandomForestClassifier(41, random_state=1),
    "even number of trees": RandomForestClassifier(40, max_features=None, random_state=1),
    "impure leaves": RandomForestClassifier(30, max_depth=5, random_state=1),
    "impure leaves of large trees": ExtraTreesClassifier(40, min_samples_leaf=2, random_state=1),
    "extra trees": ExtraTreesClassifier(20, random_state=1),
    "stumps": RandomForestClassifier(9, max_depth=1, random_state=1),
    "boosted": HistGradientBoostingClassifier(max_iter=25, random_state=1),
    "boosted to bare leaves": HistGradientBoostingClassifier(
        max_iter=8, min_samples_leaf=5_000, random_state=1
    ),
}


@cache
def fitted(name: str) -> tuple[Any, Forest]:
    x, y = world()
    estimator = ESTIMATORS[name].fit(x[::3], y[::3])
    return estimator, convert(estimator, FEATURES)


def probes(forest: Forest) -> Rows:
    """Seen rows, unseen rows, jittered rows, and rows exactly on and beside thresholds."""
    x, _ = world()
    rng = np.random.default_rng(5)
    jittered = x[:900] * rng.normal(1, 0.2, (900, 1)).astype(np.float32)
    on = x[:900].copy()
    for f in range(len(FEATURES)):
        cuts = forest.cuts[forest.offsets[f] : forest.offsets[f + 1]]
        if cuts.size:
            on[:, f] = rng.choice(cuts, 900)
    beside = np.nextafter(on, np.float32(np.inf))
    return np.concatenate([x, jittered, on, beside]).astype(np.float32)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_to_scikit_learn(name: str) -> None:
    estimator, forest = fitted(name)
    x = probes(forest)
    ours = predict(forest, x)
    theirs = estimator.predict_proba(x)[:, 1]
    assert np.abs(ours - theirs).max() < 1e-12
    assert_array_equal(ours > 0.5, estimator.predict(x) == 1)


def test_values_that_are_not_finite_count_as_zero() -> None:
    _, forest = fitted("pure")
    x = world()[0][:200].copy()
    x[::2, ::5] = 0
    bad = x.copy()
    bad[::2, ::5] = np.array([np.nan, np.inf, -np.inf], np.float32)[np.arange(7) % 3]
    assert_array_equal(predict(forest, bad), predict(forest, x))


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 8192, 8193])
def test_any_number_of_rows(rows: int) -> None:
    _, forest = fitted("pure")
    x = np.resize(world()[0][:400], (rows, len(FEATURES)))
    assert_array_equal(predict(forest, x), np.resize(predict(forest, x[:400]), rows))


def test_bytes_are_enough_for_small_trees_and_give_the_same() -> None:
    _, forest = fitted("boosted")
    engine = make_engine(forest)
    wide = replace(engine, lane=np.dtype(np.uint16))
    x = probes(forest)[:2048]
    scores = []
    for one in (engine, wide):
        packets, wave = make_scratch(one)
        active = pack_rows(forest, x, packets)
        scores.append(score(one, packets, active, wave))
    assert engine.lane == np.uint8
    assert make_engine(fitted("impure leaves of large trees")[1]).lane == np.uint16
    assert_array_equal(*scores)


def one_leaf(value: float) -> Forest:
    return Forest(
        features=("a",),
        kind="vote",
        baseline=0.0,
        cuts=np.empty(0, np.float32),
        offsets=np.zeros(2, np.int32),
        roots=np.zeros(1, np.int32),
        feature=np.array([LEAF], np.uint8),
        rank=np.zeros(1, np.uint16),
        right=np.zeros(1, np.int32),
        leaves=np.array([value]),
        digest="",
    )


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_tree_may_be_one_leaf(value: float) -> None:
    x = np.array([[-5.0], [0.0], [7.0]], np.float32)
    assert_array_equal(predict(one_leaf(value), x), np.full(3, value))


@pytest.mark.parametrize("name", ["pure", "even number of trees", "impure leaves", "boosted"])
def test_percent_is_over_half_exactly_for_crop(name: str) -> None:
    _, forest = fitted(name)
    engine = make_engine(forest)
    cuts = engine.percent_cuts
    assert (np.diff(cuts) >= 0).all()
    half = {"vote": 0.5 * forest.roots.size, "logit": 0.0}[forest.kind]
    assert np.searchsorted(cuts, half, side="right") <= 50
    if not engine.counts_votes:
        assert np.searchsorted(cuts, np.nextafter(half, np.inf), side="right") >= 51


def test_percent_of_votes_is_rounded_and_clamped() -> None:
    _, forest = fitted("even number of trees")
    votes = np.arange(41)
    rounded = np.rint(100 * (votes / 40))
    expected = np.where(votes > 20, np.maximum(rounded, 51), np.minimum(rounded, 50))
    assert_array_equal(make_engine(forest).percents, expected)


def test_too_wide_a_forest_is_refused() -> None:
    _, forest = fitted("stumps")
    names = tuple(f"f{i}" for i in range(255))
    wide = Forest(**{f: getattr(forest, f) for f in Forest.__slots__} | {"features": names})
    with pytest.raises(Rejected, match="too wide"):
        make_engine(wide)
