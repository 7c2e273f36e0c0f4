"""Accuracies and areas: a second, plain computation, and what must not change a figure."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmask.assess import (
    Accuracy,
    allocate,
    assess_accuracy,
    count_labels,
    count_matrix,
    estimate_area,
)
from cropmask.assess.choices import METHODS
from cropmask.assess.intervals import Estimated
from cropmask.assess.size import ALLOCATIONS

FIGURES = ("overall", "users", "producers", "f1")
PARTS = ("estimate", "standard_error", "low", "high")


@dataclass(frozen=True)
class Sample:
    """Labeled points of a random design."""

    mapped: np.ndarray
    true: np.ndarray
    strata: np.ndarray
    pixels: dict[int, int]
    plots: np.ndarray | None
    classes: int

    def count(self, **changes: object):
        known = {
            "mapped": self.mapped,
            "reference": self.true,
            "strata": self.strata,
            "pixels": self.pixels,
            "plots": self.plots,
            "classes": range(self.classes),
        }
        return count_labels(**{**known, **changes})


@st.composite
def samples(draw: st.DrawFn, *, with_plots: bool | None = None) -> Sample:
    """Strata that are the map's classes or any others, points alone or in plots."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes, count = draw(st.integers(2, 4)), draw(st.integers(1, 5))
    in_plots = draw(st.booleans()) if with_plots is None else with_plots
    same = draw(st.booleans())
    count = classes if same else count
    sizes = rng.integers(1, 5, (count, draw(st.integers(2, 12)))) if in_plots else None
    if sizes is None:
        points = rng.integers(2, 40, count)
        plots = None
    else:
        points = sizes.sum(1)
        plots = np.repeat(np.arange(sizes.size), sizes.ravel())
    strata = np.repeat(np.arange(count), points)
    mapped = strata if same else rng.integers(0, classes, strata.size)
    true = np.where(
        rng.random(strata.size) < rng.random(), mapped, rng.integers(0, classes, strata.size)
    )
    pixels = dict(enumerate((10 ** rng.uniform(2, 8, count)).astype(int).tolist()))
    return Sample(mapped, true, strata, pixels, plots, classes)


def compare(one: Accuracy, other: Accuracy, atol: float = 1e-10) -> None:
    for figure in FIGURES:
        compare_estimates(getattr(one, figure), getattr(other, figure), atol)


def compare_estimates(one: Estimated, other: Estimated, atol: float = 1e-10) -> None:
    for part in PARTS:
        np.testing.assert_allclose(getattr(one, part), getattr(other, part), atol=atol, rtol=1e-9)


def ratio_by_hand(sample: Sample, y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Stehman 2014, equations 2 and 26 to 28, written down with loops; plots as in Cochran 11.8."""
    total = sum(sample.pixels.values())
    above = below = 0.0
    for stratum, size in sample.pixels.items():
        inside = sample.strata == stratum
        above += size / total * y[inside].mean()
        below += size / total * x[inside].mean()
    if below == 0:
        return np.nan, np.nan
    share = above / below
    variance = 0.0
    for stratum, size in sample.pixels.items():
        inside = np.flatnonzero(sample.strata == stratum)
        plots = sample.plots if sample.plots is not None else np.arange(len(sample.strata))
        residual = y[inside] - share * x[inside]
        mean = residual.mean()
        names = sorted(set(plots[inside]))
        sums = [float((residual - mean)[plots[inside] == plot].sum()) for plot in names]
        spread = len(names) / (len(names) - 1) * sum(each**2 for each in sums)
        variance += (size / total) ** 2 * spread / len(inside) ** 2
    return share, variance**0.5 / below


@settings(max_examples=50, deadline=None)
@given(samples())
def test_a_plain_computation_agrees(sample: Sample) -> None:
    counted = sample.count()
    found = assess_accuracy(counted, method="normal")
    area = estimate_area(counted, 1.0, method="normal").shares
    one = np.ones(len(sample.true))
    expected = {"overall": [ratio_by_hand(sample, (sample.mapped == sample.true) * 1.0, one)]}
    expected |= {name: [] for name in ("users", "producers", "f1", "area")}
    for number in range(sample.classes):
        on_map, in_truth = sample.mapped == number, sample.true == number
        both = on_map & in_truth
        pairs = {
            "users": (both, on_map),
            "producers": (both, in_truth),
            "f1": (2 * both, on_map * 1 + in_truth),
            "area": (in_truth, one),
        }
        for name, (y, x) in pairs.items():
            expected[name].append(ratio_by_hand(sample, y * 1.0, x * 1.0))
    for name, pairs in expected.items():
        estimate = area if name == "area" else getattr(found, name)
        share, error = np.array(pairs).T
        np.testing.assert_allclose(np.atleast_1d(estimate.estimate), share, atol=1e-9)
        # Where plots are all alike, rounding leaves 1e-13 of a variance, so 3e-7 of an error.
        ours = np.atleast_1d(estimate.standard_error)
        varies = ~(error < 1e-6)
        np.testing.assert_allclose(ours[varies], error[varies], atol=1e-9)
        np.testing.assert_allclose(ours[~varies], 0, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(samples(), st.randoms(use_true_random=False))
def test_names_and_orders_do_not_matter(sample: Sample, random) -> None:
    counted = sample.count()
    order = list(range(sample.classes))
    random.shuffle(order)
    names = np.array(order)
    moved = sample.count(mapped=names[sample.mapped], reference=names[sample.true])
    one, other = assess_accuracy(counted), assess_accuracy(moved)
    compare_estimates(one.overall, other.overall)
    for figure in FIGURES[1:]:
        compare_estimates(getattr(one, figure), getattr(other, figure).at(..., names))
    places = np.array(random.sample(range(len(sample.true)), len(sample.true)))
    plots = None if sample.plots is None else sample.plots[places]
    shuffled = sample.count(
        mapped=sample.mapped[places],
        reference=sample.true[places],
        strata=sample.strata[places],
        plots=plots,
        pixels=dict(reversed(sample.pixels.items())),
    )
    compare(one, assess_accuracy(shuffled))


@settings(max_examples=30, deadline=None)
@given(samples(), st.floats(1e-6, 1e6))
def test_units_of_area_scale_hectares_and_nothing_else(sample: Sample, factor: float) -> None:
    counted = sample.count()
    scaled = sample.count(pixels={name: size * factor for name, size in sample.pixels.items()})
    compare(assess_accuracy(counted), assess_accuracy(scaled))
    one, other = estimate_area(counted, 0.01), estimate_area(scaled, 0.01 / factor)
    compare_estimates(one.shares, other.shares)
    for part in PARTS:
        np.testing.assert_allclose(
            getattr(one.hectares, part), getattr(other.hectares, part), rtol=1e-9, atol=1e-6
        )


@settings(max_examples=30, deadline=None)
@given(samples(with_plots=False), st.integers(1, 5))
def test_strata_that_were_drawn_alike_can_be_merged(sample: Sample, times: int) -> None:
    """A stratum in two halves of one sampling rate: figures stay, their errors nearly do."""
    halves = sample.strata * 2 + np.arange(len(sample.strata)) % 2
    counts = {half: int((halves == half).sum()) for half in np.unique(halves)}
    if min(counts.values()) < 2:
        return
    sizes = {half: count * times for half, count in counts.items()}
    whole = {name: sizes.get(2 * name, 0) + sizes.get(2 * name + 1, 0) for name in sample.pixels}
    one = assess_accuracy(sample.count(pixels=whole))
    other = assess_accuracy(sample.count(strata=halves, pixels=sizes))
    for figure in FIGURES:
        np.testing.assert_allclose(
            getattr(one, figure).estimate, getattr(other, figure).estimate, atol=1e-12
        )


@settings(max_examples=50, deadline=None)
@given(samples(), st.sampled_from(METHODS), st.floats(0.5, 0.99))
def test_limits_lie_around_the_estimate(sample: Sample, method, level: float) -> None:
    counted = sample.count()
    accuracy = assess_accuracy(counted, method=method, level=level)
    area = estimate_area(counted, 1.0, method=method, level=level).shares
    wider = assess_accuracy(counted, method=method, level=min(level + 0.005, 0.995))
    for estimate in (*(getattr(accuracy, figure) for figure in FIGURES), area):
        known = ~np.isnan(estimate.estimate)
        low, middle, high = (
            np.asarray(each)[known] for each in (estimate.low, estimate.estimate, estimate.high)
        )
        assert (low <= middle + 1e-9).all()
        assert (middle <= high + 1e-9).all()
        if method != "normal":
            assert ((low >= 0) & (high <= 1)).all()
    for figure in FIGURES:
        one, other = (
            getattr(each, figure).high - getattr(each, figure).low for each in (accuracy, wider)
        )
        assert (one <= other + 1e-9)[~np.isnan(one)].all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any),
    st.integers(1, 5000),
    st.integers(0, 60),
    st.sampled_from(ALLOCATIONS),
    st.integers(0, 2**32 - 1),
)
def test_allocations_add_up_and_stay_within_the_pixels(
    pixels: list[int], points: int, minimum: int, allocation, seed: int
) -> None:
    least = sum(min(minimum, size) for size in pixels)
    points = min(max(points, least, 1), sum(pixels))
    rates = np.random.default_rng(seed).choice([0, 0.01, 0.3, 0.5, 1], len(pixels))
    found = allocate(points, pixels, allocation=allocation, rates=rates, minimum=minimum)
    assert found.sum() == points
    assert (found <= pixels).all()
    assert (found >= np.minimum(pixels, minimum)).all()
    if allocation == "equal":
        free = found[(found < pixels) & (found > minimum)]
        assert free.size == 0 or free.max() - free.min() <= 1


def binomial(count: int, share: float) -> np.ndarray:
    return np.array(
        [comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    )


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5])
def test_intervals_hold_the_truth_as_often_as_they_say(share: float) -> None:
    """Exactly: every sample of 50 points a stratum, by its probability.

    Maps with the accuracies of northern and sahel. For rare crop the count of omissions in the
    sample is mostly 0, and no interval of counts can hold the truth in 94 to 97 of 100 samples.
    """
    for producers, users in ((0.9, 90 / 98), (62 / 88, 62 / 71)):
        mapped = share * producers / users
        missed = share * (1 - producers) / (1 - mapped)
        other, crop = np.meshgrid(np.arange(51), np.arange(51), indexing="ij")
        matrices = np.stack([50 - other, other, 50 - crop, crop], -1).reshape(-1, 2, 2)
        chance = np.outer(binomial(50, missed), binomial(50, users)).ravel()
        counted = count_matrix(matrices, [1 - mapped, mapped])
        accuracy = assess_accuracy(counted)
        area = estimate_area(counted, 1.0).shares.at(..., 1)
        overall = (1 - mapped) * (1 - missed) + mapped * users

        def held(estimate: Estimated, true: float, chance: np.ndarray = chance) -> float:
            inside = (estimate.low <= true) & (true <= estimate.high)
            return float(chance[inside].sum())

        most = 0.99 if share < 0.1 else 0.98
        assert 0.945 <= held(area, share) <= most
        assert 0.935 <= held(accuracy.overall, overall) <= most
        assert 0.935 <= held(accuracy.users.at(..., 1), users) <= 0.975
        assert 0.94 <= held(accuracy.producers.at(..., 1), producers) <= 0.996
        normal = estimate_area(counted, 1.0, method="normal").shares.at(..., 1)
        assert held(normal, share) < held(area, share)
