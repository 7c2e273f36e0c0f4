"""Rates of change and evidence learned from years alone, on series whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from cropmask.core.series import GAIN, LOSS, SeriesModel, smooth_years
from cropmask.core.seriesfit import FOLDS, fit_series

GAIN_RATE, LOSS_RATE = 0.02, 0.05


def draw(seed, *, years=6, pixels=12_000, repeat=0.8):
    """True states and yearly percentages; errors of ``repeat`` stay with a pixel for all years."""
    rng = np.random.default_rng(seed)
    states = np.empty((years, pixels), int)
    states[0] = rng.random(pixels) < 0.3
    for year in range(1, years):
        chance = np.where(states[year - 1], 1 - LOSS_RATE, GAIN_RATE)
        states[year] = rng.random(pixels) < chance
    score = 1.6 * (2 * states - 1) + repeat * rng.standard_normal(pixels)
    score = score + 0.8 * rng.standard_normal(states.shape)
    percent = np.rint(100 / (1 + np.exp(-score))).astype(np.uint8)
    percent[rng.random(states.shape) < 0.05] = 255
    return states, percent, rng.integers(0, 100, pixels)


def test_rates_are_found_and_kinds_find_more_changes():
    states, percent, groups = draw(1)
    fitted = fit_series(percent, groups)
    assert fitted.gain.low < fitted.gain.value < fitted.gain.high
    assert fitted.gain.value == pytest.approx(GAIN_RATE, rel=0.25)
    assert fitted.loss.value == pytest.approx(LOSS_RATE, rel=0.25)
    assert fitted.sequences == states.shape[1]
    changed = states[0] != states[-1]
    rights = []
    for kinds in (1, 3):
        model = fit_series(percent, groups, kinds=kinds).model
        found = smooth_years(percent[:, None], model).kind[0]
        said = (found == GAIN) | (found == LOSS)
        rights.append(2 * (said & changed).sum() / (said.sum() + changed.sum()))
    naive = (percent[0] > 50) != (percent[-1] > 50)
    apparent = 2 * (naive & changed).sum() / (naive.sum() + changed.sum())
    assert rights[1] > rights[0] > apparent


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = []
    for seed in range(10):
        _, percent, groups = draw(100 + seed, pixels=4000, repeat=0.0)
        fitted = fit_series(percent, groups, kinds=1)
        held += [
            fitted.gain.low <= GAIN_RATE <= fitted.gain.high,
            fitted.loss.low <= LOSS_RATE <= fitted.loss.high,
        ]
    assert 17 <= sum(held) <= 20


def test_a_round_is_expectation_and_maximization_written_out():
    """One kind, one pixel, two years: posterior counts by hand."""
    from cropmask.core.seriesfit import _improve

    evidence = np.full((1, 2, 101), 0.01)
    evidence[0, 0, 10], evidence[0, 1, 10] = 0.4, 0.1
    evidence[0, 0, 90], evidence[0, 1, 90] = 0.1, 0.4
    model = SeriesModel(evidence, np.array([[0.5, 0.5]]), 0.1, 0.2)
    better = _improve(np.array([[10], [90]], np.uint8), np.ones(1), model)
    joint = np.array([[0.5 * 0.4 * 0.9 * 0.1, 0.5 * 0.4 * 0.1 * 0.4],
                      [0.5 * 0.1 * 0.2 * 0.1, 0.5 * 0.1 * 0.8 * 0.4]])  # fmt: skip
    joint /= joint.sum()
    assert better.start[0, 1] == pytest.approx(joint[1].sum(), abs=1e-6)
    assert better.gain == pytest.approx(min(0.3, joint[0, 1] / joint[0].sum()), abs=1e-6)
    assert better.loss == pytest.approx(joint[1, 0] / joint[1].sum(), abs=1e-6)
    crop = better.evidence[0, 1]
    assert crop[90] / crop[10] == pytest.approx(joint[:, 1].sum() / joint[1].sum(), rel=1e-3)


def test_the_same_years_give_the_same_figures_in_any_order():
    _, percent, groups = draw(2, pixels=3000)
    order = np.random.default_rng(0).permutation(3000)
    one, other = fit_series(percent, groups), fit_series(percent[:, order], groups[order])
    assert (one.model.evidence == other.model.evidence).all()
    assert (one.gain, one.loss) == (other.gain, other.loss)


def test_too_little_to_fit():
    _, percent, groups = draw(3, pixels=500)
    with pytest.raises(ValueError, match=f"give two, and {FOLDS}"):
        fit_series(percent[:1], groups)
    with pytest.raises(ValueError, match="3 places"):
        fit_series(percent, groups % 3)
