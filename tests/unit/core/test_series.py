"""States of every year given all years, against every path written out in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmask.core.series import (
    GAIN,
    LOSS,
    STABLE_CROP,
    STABLE_OTHER,
    UNCERTAIN,
    SeriesModel,
    mix_neighbors,
    smooth_years,
)

NONE = 255


def make_model(kinds: int = 1, *, gain: float = 1 / 16, loss: float = 1 / 8) -> SeriesModel:
    """Powers of two, so that products are exact and ties are ties."""
    evidence = np.full((kinds, 2, 101), 1 / 8)
    for kind in range(kinds):
        low, high = 30 - 10 * kind, 70 - 10 * kind
        evidence[kind, 0, :low] = evidence[kind, 1, high:] = 1 / 2
        evidence[kind, 1, :low] = evidence[kind, 0, high:] = 1 / 32
    return SeriesModel(evidence, np.full((kinds, 2), 1 / (2 * kinds)), gain, loss)


def every_path(values, model):
    """Each kind and path with its exact probability together with all values."""
    rates = {
        (0, 1): Fraction(model.gain), (0, 0): 1 - Fraction(model.gain),
        (1, 0): Fraction(model.loss), (1, 1): 1 - Fraction(model.loss),
    }  # fmt: skip
    for kind, path in product(range(len(model.start)), product((0, 1), repeat=len(values))):
        chance = Fraction(model.start[kind, path[0]])
        for year, (state, value) in enumerate(zip(path, values, strict=True)):
            if value != NONE:
                chance *= Fraction(model.evidence[kind, state, value])
            if year:
                chance *= rates[path[year - 1], state]
        yield kind, path, chance


def latest_change_first(path):
    """Sorts equally probable paths: other in the last year, then as long as possible the same."""
    last = path[-1]
    turned = [int(state != after) for state, after in zip(path[-2::-1], path[::-1], strict=False)]
    return last, turned


series = st.lists(
    st.sampled_from([0, 10, 25, 45, 65, 75, 95, NONE]), min_size=1, max_size=6
).filter(lambda values: any(value != NONE for value in values))


@given(series, st.integers(1, 2))
@settings(max_examples=150)
def test_it_is_the_sum_and_the_best_of_every_path(values, kinds):
    model = make_model(kinds)
    found = smooth_years(np.array(values, np.uint8)[:, None, None], model)
    paths = list(every_path(values, model))
    whole = sum(chance for _, _, chance in paths)
    for year in range(len(values)):
        crop = sum(chance for _, path, chance in paths if path[year])
        assert abs(float(100 * crop / whole) - found.crop[year, 0, 0]) <= 0.5 + 1e-9
    most = max(chance for _, _, chance in paths)
    first = min(kind for kind, _, chance in paths if chance == most)
    best = [path for kind, path, chance in paths if chance == most and kind == first]
    expected = min(best, key=latest_change_first)
    bits = int(found.path[0, 0])
    assert tuple(bits >> year & 1 for year in range(len(values))) == expected
    assert found.years_in_crop[0, 0] == sum(expected)
    turns = [year for year in range(1, len(values)) if expected[year] != expected[year - 1]]
    assert found.changed[0, 0] == (turns[-1] if turns else NONE)
    known = [year for year, value in enumerate(values) if value != NONE]
    flickers = sum(
        (values[a] > 50) != (values[b] > 50) and expected[a] == expected[b]
        for a, b in pairwise(known)
    )
    assert found.flickers[0, 0] == flickers
    assert found.observed[0, 0] == len(known)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_pixels_do_not_know_of_each_other(seed):
    rng = np.random.default_rng(seed)
    prob = rng.choice(np.array([5, 5, 5, 95, 60, NONE], np.uint8), (5, 4, 6))
    model = make_model(2)
    whole = smooth_years(prob, model)
    for y, x in product(range(4), range(6)):
        alone = smooth_years(prob[:, y : y + 1, x : x + 1], model)
        assert alone.path[0, 0] == whole.path[y, x]
        assert alone.kind[0, 0] == whole.kind[y, x]
        assert (alone.crop[:, 0, 0] == whole.crop[:, y, x]).all()


def smooth(*values, model=None, **words):
    return smooth_years(np.array(values, np.uint8)[:, None, None], model or make_model(), **words)


@pytest.mark.parametrize(
    ("values", "kind", "changed", "flickers"),
    [
        ((5, 5, 5, 5, 5, 5), STABLE_OTHER, NONE, 0),
        ((95, 95, 95, 95, 95, 95), STABLE_CROP, NONE, 0),
        ((5, 5, 5, 95, 95, 95), GAIN, 3, 0),
        ((95, 95, 5, 5, 5, 5), LOSS, 2, 0),
        ((95, 95, 60, 40, 95, 95), STABLE_CROP, NONE, 2),
        ((5, 95, 5, 5, 5, 5), STABLE_OTHER, NONE, 2),
        ((5, NONE, 5, NONE, 5, NONE), STABLE_OTHER, NONE, 0),
        ((5, 5, NONE, NONE, NONE, NONE), UNCERTAIN, NONE, 0),
        ((5, 5, 95, 95, 95, 5, 5), UNCERTAIN, 5, 0),
    ],
)
def test_classes(values, kind, changed, flickers):
    found = smooth(*values)
    assert (found.kind[0, 0], found.changed[0, 0]) == (kind, changed)
    assert found.flickers[0, 0] == flickers


def test_years_without_data_are_evidence_of_nothing():
    nothing = smooth(NONE, NONE, NONE)
    assert (nothing.kind[0, 0], nothing.path[0, 0], nothing.observed[0, 0]) == (NONE, 0, 0)
    assert (nothing.crop == NONE).all()
    model = make_model(gain=1e-12, loss=1e-12)
    assert smooth(NONE, 95, NONE, model=model).crop[:, 0, 0].tolist() == [94, 94, 94]
    with pytest.raises(ValueError, match="0 years"):
        smooth_years(np.zeros((0, 2, 2), np.uint8), model)


def test_evidence_is_read_instead_and_flickers_are_of_the_maps():
    prob = np.array([5, 95, 5, 5, 5], np.uint8)[:, None, None]
    found = smooth_years(prob, make_model(), evidence=np.full_like(prob, 5))
    assert found.flickers[0, 0] == 2
    assert (found.crop < 2).all()


def test_neighbors_are_a_rounded_mean_of_what_has_data():
    rng = np.random.default_rng(3)
    prob = rng.integers(0, 101, (9, 7)).astype(np.uint8)
    prob[rng.random(prob.shape) < 0.3] = NONE
    expected = np.full_like(prob, NONE)
    for y, x in product(range(9), range(7)):
        around = prob[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].astype(int)
        known = around[around != NONE]
        if prob[y, x] != NONE:
            expected[y, x] = int(Fraction(int(known.sum()), known.size) + Fraction(1, 2))
    none = prob[:0]
    assert (mix_neighbors(prob, none, none) == expected).all()
    parts = [mix_neighbors(prob[:4], none, prob[4:5]), mix_neighbors(prob[4:], prob[3:4], none)]
    assert (np.concatenate(parts) == expected).all()


def test_a_model_that_is_none():
    model = make_model()
    for words in (
        {"gain": 0.0}, {"loss": 0.6}, {"start": np.full((1, 2), 0.4)},
        {"evidence": np.zeros((1, 2, 101))}, {"evidence": np.ones((2, 2, 101))},
    ):  # fmt: skip
        fields = {name: getattr(model, name) for name in ("evidence", "start", "gain", "loss")}
        with pytest.raises(ValueError, match=r"evidence|rates|shares"):
            SeriesModel(**{**fields, **words})
