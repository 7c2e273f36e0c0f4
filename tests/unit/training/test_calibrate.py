"""Calibration and doubt against plain loops over samples, one at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from cropmask.training.calibrate import (
    HeldOut,
    calibrate,
    calibration_error,
    choose_method,
    conformal_limit,
    count_by_percent,
    make_table,
    measure_doubt,
    rank_auc,
    vote_percent,
)
from cropmask.training.figures import Method

METHODS: tuple[Method, ...] = ("isotonic", "beta", "logistic")


def make_fold(rows: int, seed: int, sharpness: float = 1.0) -> HeldOut:
    """Votes whose odds are right to the power of 1 / sharpness."""
    random = np.random.default_rng(seed)
    share = random.beta(1.2, 1.5, rows)
    labels = (random.random(rows) < share).astype(np.uint8)
    odds = (share / (1 - share)) ** sharpness
    return HeldOut(np.arange(rows), odds / (1 + odds), labels)


def make_groupings(sharpness: float, rows: int = 600) -> list[list[HeldOut]]:
    return [[make_fold(rows, 10 * g + f, sharpness) for f in range(5)] for g in range(3)]


def plain_error(percent: NDArray[np.float64], labels: NDArray[np.uint8]) -> float:
    """Every sample fifteen times, so that all bins are whole; equal values are alike."""
    means = {value: labels[percent == value].mean() for value in set(percent.tolist())}
    pairs = sorted((value, means[value]) for value in percent.tolist() for _ in range(15))
    size = len(pairs) // 15
    gaps = []
    for start in range(0, len(pairs), size):
        part = pairs[start : start + size]
        gaps.append(abs(sum(p for p, _ in part) / 100 - sum(y for _, y in part)) / size)
    return sum(gaps) / 15


def error_of(percent: NDArray[np.int64], labels: NDArray[np.uint8]) -> float:
    samples = np.bincount(percent, minlength=101).astype(np.float64)
    crop = np.bincount(percent, weights=labels, minlength=101)
    return calibration_error(np.arange(101.0), samples, crop)


@pytest.mark.parametrize("rows", [20, 333, 1000])
def test_the_error_is_that_of_samples_one_by_one(rows: int) -> None:
    fold = make_fold(rows, 1, 2.0)
    percent = vote_percent(fold.crop, 0.5)
    expected = plain_error(percent.astype(np.float64), fold.labels)
    assert error_of(percent, fold.labels) == pytest.approx(expected, abs=1e-12)


def test_votes_are_percent_on_their_side_of_the_threshold() -> None:
    crop = np.array([0.0, 0.3, 0.3000001, 0.5, 0.504, 1.0])
    assert vote_percent(crop, 0.5).tolist() == [0, 30, 30, 50, 51, 100]
    # .3 is one half: .5 has the odds (.5 / .5) * (.7 / .3) = 7 / 3
    assert vote_percent(crop, 0.3).tolist() == [0, 50, 51, 70, 70, 100]


@given(
    st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=2, max_size=80).filter(
        lambda rows: len({crop for _, crop in rows}) == 2
    ),
    st.sampled_from(METHODS),
    st.floats(0.05, 0.95),
)
def test_no_table_ever_falls(
    rows: list[tuple[int, bool]], method: Method, threshold: float
) -> None:
    counts = np.zeros((101, 2))
    for percent, crop in rows:
        counts[percent] += (1, crop)
    table = make_table(method, counts, threshold)
    assert table.dtype == np.uint8
    assert table.shape == (101,)
    assert all(a <= b for a, b in pairwise(table.tolist()))
    assert table.max() <= 100


def test_isotonic_is_scikit_learns() -> None:
    fold = make_fold(800, 3, 2.5)
    percent = vote_percent(fold.crop, 0.5)
    model = IsotonicRegression(out_of_bounds="clip").fit(percent, fold.labels)
    expected = np.rint(100 * model.predict(np.arange(101)))
    found = make_table("isotonic", count_by_percent(fold, 0.5), 0.5)
    assert np.abs(found - expected).max() <= 1  # straight lines run over votes, not percent
    seen = np.unique(percent)
    np.testing.assert_array_equal(found[seen], expected[seen])


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("method", ["logistic", "beta"])
def test_regressions_are_scikit_learns(method: Method, threshold: float) -> None:
    fold = make_fold(1500, 4, 1.8)
    table = make_table(method, count_by_percent(fold, threshold), threshold)

    def columns(percent: NDArray[np.int64]) -> NDArray[np.float64]:
        moved = np.clip(percent / 100, 0.005, 0.995)
        odds = moved / (1 - moved) * threshold / (1 - threshold)  # of the model's own vote
        vote = odds / (1 + odds)
        if method == "logistic":
            return np.log(odds)[:, None]
        return np.stack([np.log(vote), -np.log(1 - vote)], axis=1)

    percent = vote_percent(fold.crop, threshold)
    model = LogisticRegression(C=1e6, tol=1e-10, max_iter=10_000).fit(columns(percent), fold.labels)
    assert (model.coef_ >= 0).all()
    expected = 100 * model.predict_proba(columns(np.arange(101)))[:, 1]
    assert np.abs(table - expected).max() <= 0.52


def test_a_vote_that_says_the_contrary_gives_no_falling_table() -> None:
    fold = make_fold(500, 5)
    wrong = HeldOut(fold.rows, 1 - fold.crop, fold.labels)
    share = 100 * fold.labels.mean()
    for method in METHODS:
        table = make_table(method, count_by_percent(wrong, 0.5), 0.5)
        assert np.abs(table - share).max() <= 1


def test_a_vote_that_is_too_sure_is_mended() -> None:
    found = calibrate(make_groupings(3.0), 0.5)
    assert found is not None
    assert found.used
    assert found.table is not None
    assert found.ece > 0.1
    assert found.ece_calibrated < 0.03
    assert found.worst_calibrated < found.worst
    assert found.brier_calibrated < found.brier
    assert (found.groupings, found.folds, found.samples) == (3, 15, 3000)
    assert 10 < found.table[0] + found.table[1] < 80
    for each in found.bins:
        assert abs(each.calibrated - each.crop) < 6


def test_a_vote_that_is_a_frequency_is_left_alone() -> None:
    found = calibrate(make_groupings(1.0), 0.5)
    assert found is not None
    assert not found.used
    assert found.table is None
    assert found.ece < 0.03
    assert found.worst >= found.ece
    assert len(found.bins) == 15


def test_a_threshold_is_no_want_of_calibration_that_a_table_cannot_mend() -> None:
    """The odds of prob are moved away from the frequency; the table moves them back."""
    found = calibrate(make_groupings(1.0), 0.25)
    assert found is not None
    assert found.table is not None
    moved = np.arange(5, 96)
    odds = moved / (100 - moved) / 3
    expected = 100 * odds / (1 + odds)
    assert np.abs(np.array(found.table)[moved] - expected).max() < 5


def test_the_calibrated_error_is_nested() -> None:
    """Each fold by a table that was chosen and fitted on the others, in plain loops."""
    groupings = make_groupings(2.0, rows=150)
    found = calibrate(groupings, 0.5)
    assert found is not None
    raw, mended, worst = [], [], []
    for folds in groupings:
        percents, labels = [], []
        for index, fold in enumerate(folds):
            others = [f for i, f in enumerate(folds) if i != index]
            scores = {}
            for method in ("logistic", "beta", "isotonic"):
                value, label = [], []
                for inner, held in enumerate(others):
                    rest = [f for i, f in enumerate(others) if i != inner]
                    table = make_table(method, sum(count_by_percent(f, 0.5) for f in rest), 0.5)
                    value += table[vote_percent(held.crop, 0.5)].tolist()
                    label += held.labels.tolist()
                scores[method] = brier_score_loss(label, np.array(value) / 100)
            best = min(scores, key=lambda name: scores[name])
            assert choose_method([count_by_percent(f, 0.5) for f in others], 0.5) == best
            table = make_table(best, sum(count_by_percent(f, 0.5) for f in others), 0.5)
            mine = table[vote_percent(fold.crop, 0.5)].astype(np.float64)
            worst.append(plain_error(mine, fold.labels))
            percents.append(mine)
            labels.append(fold.labels)
        mended.append(plain_error(np.concatenate(percents), np.concatenate(labels)))
        votes = np.concatenate([vote_percent(f.crop, 0.5) for f in folds]).astype(np.float64)
        raw.append(plain_error(votes, np.concatenate(labels)))
    assert found.ece == pytest.approx(np.mean(raw), abs=1e-4)
    assert found.ece_calibrated == pytest.approx(np.mean(mended), abs=1e-4)
    assert found.worst_calibrated == pytest.approx(max(worst), abs=1e-4)


def test_the_order_of_samples_does_not_matter() -> None:
    groupings = make_groupings(2.0, rows=200)
    random = np.random.default_rng(0)
    shuffled = []
    for folds in groupings:
        parts = []
        for fold in folds:
            order = random.permutation(len(fold.labels))
            parts.append(HeldOut(fold.rows[order], fold.crop[order], fold.labels[order]))
        shuffled.append(parts)
    assert calibrate(groupings, 0.4) == calibrate(shuffled, 0.4)
    assert measure_doubt(groupings, 0.4) == measure_doubt(shuffled, 0.4)


def test_too_few_folds_are_not_judged() -> None:
    folds = [make_fold(100, seed) for seed in range(3)]
    assert calibrate([folds[:2]], 0.5) is None
    assert calibrate([folds], 0.5) is not None
    crop = [HeldOut(f.rows, f.crop, np.ones_like(f.labels)) for f in folds]
    assert calibrate([crop], 0.5) is None


def test_sets_of_classes_are_those_of_samples_one_by_one() -> None:
    groupings = make_groupings(2.0, rows=60)
    found = measure_doubt(groupings, 0.5)
    assert found is not None
    assert measure_doubt([groupings[0][:1]], 0.5) is None
    coverage, single, aucs = [], [], []
    for folds in groupings:
        for index, fold in enumerate(folds):
            scores = sorted(
                1 - (p if label else 1 - p)
                for other, held in enumerate(folds)
                if other != index
                for p, label in zip(held.crop, held.labels, strict=True)
            )
            limit = scores[int(np.ceil((len(scores) + 1) * 0.9)) - 1]
            sets = [
                {label for label, p in ((1, crop), (0, 1 - crop)) if 1 - p <= limit}
                for crop in fold.crop
            ]
            coverage.append(
                np.mean([label in s for s, label in zip(sets, fold.labels, strict=True)])
            )
            single.append(np.mean([len(s) == 1 for s in sets]))
            wrong = (fold.crop > 0.5) != fold.labels
            aucs.append(roc_auc_score(wrong, -np.abs(fold.crop - 0.5)))
    assert found.coverage.mean == pytest.approx(np.mean(coverage), abs=1e-4)
    assert found.worst_coverage == pytest.approx(min(coverage), abs=1e-4)
    assert found.single.mean == pytest.approx(np.mean(single), abs=1e-4)
    assert found.margin_auc is not None
    assert found.margin_auc.mean == pytest.approx(np.mean(aucs), abs=1e-4)
    assert found.coverage.mean == pytest.approx(0.9, abs=0.02)


def test_a_limit_of_too_few_scores_is_none() -> None:
    assert conformal_limit(np.array([0.2, 0.4]), 0.9) == np.inf
    assert conformal_limit(np.arange(9.0), 0.9) == 8.0


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_the_auc_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    score = np.array([value for value, _ in rows], np.float64)
    positive = np.array([is_positive for _, is_positive in rows])
    if positive.any() and not positive.all():
        assert rank_auc(score, positive) == pytest.approx(roc_auc_score(positive, score))
