from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

from cropmask.core.features import FEATURES
from cropmask.core.forest import LEAF
from cropmask.errors import Rejected
from cropmask.modelfile.ensembles import floor32
from cropmask.modelfile.forestarrays import check_forest
from cropmask.training.fit import convert
from tests.unit.training.tables import make_samples, walk

SAMPLES = make_samples(250)
UNSEEN = make_samples(60, seed=9).features
ESTIMATORS = {
    "forest": RandomForestClassifier(15, random_state=1),
    "even forest": RandomForestClassifier(
        8, criterion="entropy", max_features=None, random_state=1
    ),
    "shallow": RandomForestClassifier(7, max_depth=3, random_state=1),
    "best first": RandomForestClassifier(7, max_leaf_nodes=9, random_state=1),
    "weighted": RandomForestClassifier(
        7, min_samples_leaf=4, class_weight="balanced", random_state=1
    ),
    "extra": ExtraTreesClassifier(9, random_state=1),
    "boosted": HistGradientBoostingClassifier(max_iter=12, random_state=1),
    "boosted, deep": HistGradientBoostingClassifier(
        max_iter=5, max_leaf_nodes=None, min_samples_leaf=2, random_state=1
    ),
    "gradient": GradientBoostingClassifier(n_estimators=9, random_state=1),
    "bare": HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=200, random_state=1),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_plain_walk_equals_scikit_learn(name: str) -> None:
    estimator = ESTIMATORS[name].fit(SAMPLES.features, SAMPLES.labels)
    forest = convert(estimator, FEATURES)
    assert check_forest(forest) is None
    for x in (SAMPLES.features, UNSEEN, on_the_cuts(forest)):
        expected = estimator.predict_proba(x)[:, 1]
        found = walk(forest, x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(found > 0.5, estimator.predict(x) == 1)


def on_the_cuts(forest: Any) -> np.ndarray:
    """Rows exactly on cuts and one step above: where rounding to the nearest would err."""
    random = np.random.default_rng(2)
    rows = np.zeros((40, len(FEATURES)), np.float32)
    for index, cuts in enumerate(np.split(forest.cuts, forest.offsets[1:-1])):
        if len(cuts):
            rows[:, index] = random.choice(cuts, 40)
    rows[::2] = np.nextafter(rows[::2], np.float32(np.inf))
    return rows


def test_a_tie_is_not_crop() -> None:
    estimator = ESTIMATORS["even forest"].fit(SAMPLES.features, SAMPLES.labels)
    x = make_samples(4000, seed=4).features
    expected = estimator.predict_proba(x)[:, 1]
    ties = x[expected == 0.5]
    assert len(ties) > 10
    assert not (walk(convert(estimator, FEATURES), ties) > 0.5).any()
    assert (estimator.predict(ties) == 0).all()


def test_thresholds_are_rounded_down_and_merged() -> None:
    one = np.float32(1)
    above = float(one) + 1e-9
    below = float(one) - 1e-9
    found = floor32(np.array([above, 1.0, below, -0.0, 1e300, -1e-300]))
    assert found[0] == found[1] == one
    assert found[2] == np.nextafter(one, np.float32(0))
    assert not np.signbit(found[3])
    assert found[4] == np.finfo(np.float32).max
    assert found[5] == -np.finfo(np.float32).smallest_subnormal
    with pytest.raises(Rejected, match="not a number"):
        floor32(np.array([-1e300]))
    with pytest.raises(Rejected, match="not a number"):
        floor32(np.array([np.nan]))


def test_equal_cuts_become_one() -> None:
    x = np.zeros((80, len(FEATURES)), np.float32)
    x[40:, 0] = 1
    estimator = RandomForestClassifier(20, max_features=None, random_state=1)
    forest = convert(estimator.fit(x, x[:, 0].astype(int)), FEATURES)
    assert forest.cuts.tolist() == [0.5]
    assert forest.leaves.tolist() == [0.0, 1.0]
    assert len(forest.feature) == 60
    assert (forest.feature == LEAF).sum() == 40


@pytest.mark.parametrize(
    ("estimator", "labels", "words"),
    [
        (GradientBoostingRegressor(n_estimators=2), SAMPLES.labels, "GradientBoostingRegressor"),
        (RandomForestClassifier(2), SAMPLES.labels + 1, "classes [1, 2]"),
        (RandomForestClassifier(2), np.arange(250) % 3, "classes [0, 1, 2]"),
        (RandomForestClassifier(2), np.arange(250) * 0, "classes [0]"),
        (RandomForestClassifier(2), np.stack([SAMPLES.labels] * 2, 1), "several outputs"),
    ],
)
def test_estimators_of_other_kinds_are_refused(estimator: Any, labels: Any, words: str) -> None:
    estimator.fit(SAMPLES.features, labels)
    with pytest.raises(Rejected) as caught:
        convert(estimator, FEATURES)
    assert words in str(caught.value)


def test_wrong_feature_count_or_not_fitted_or_no_estimator() -> None:
    estimator = RandomForestClassifier(2).fit(SAMPLES.features[:, :5], SAMPLES.labels)
    with pytest.raises(Rejected, match="5 features instead of 33"):
        convert(estimator, FEATURES)
    with pytest.raises(Rejected, match="not fitted"):
        convert(RandomForestClassifier(), FEATURES)
    with pytest.raises(Rejected, match="a dict is not a model"):
        convert({}, FEATURES)


def test_label_classes_as_numbers_or_text() -> None:
    for labels in (SAMPLES.labels.astype(float), SAMPLES.labels.astype(str)):
        estimator = RandomForestClassifier(3, random_state=1).fit(SAMPLES.features, labels)
        assert check_forest(replace(convert(estimator, FEATURES))) is None
