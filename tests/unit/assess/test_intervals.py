"""Limits of shares: values of R, of the literature, and what must hold whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from cropmask.assess.intervals import (
    Estimated,
    check_method,
    logit_limits,
    mover_difference,
    mover_share,
    mover_sum,
    normal_limits,
    normal_quantile,
    wilson_limits,
)
from cropmask.errors import Rejected


@pytest.mark.parametrize(
    ("successes", "points", "low", "high"),
    [  # R: prop.test(x, n, correct = FALSE)
        (81, 91, 0.809412485389, 0.939205269787),
        (0, 50, 0, 0.071347599133),
        (1, 50, 0.003539259272, 0.104954435896),
        (3, 4, 0.300641842582, 0.954412739190),
        (50, 50, 0.928652400867, 1),
        (7, 300, 0.011347660299, 0.047371972268),
    ],
)
def test_wilson_is_that_of_r(successes: int, points: int, low: float, high: float) -> None:
    found = wilson_limits(successes / points, points, corrected=False)
    assert found == (pytest.approx(low, abs=1e-11), pytest.approx(high, abs=1e-11))


def test_wilson_has_other_levels() -> None:
    found = wilson_limits(81 / 91, 91, 0.9)
    assert found == (pytest.approx(0.824522821202), pytest.approx(0.933169812369))


def test_few_successes_have_the_lower_limit_of_a_poisson_count() -> None:
    """R: qchisq(.05, 2 * (1:3)) / 2; the third from 51 points on."""
    means = np.array([0.051293294388, 0.355361510699, 0.817691447164])
    low, _ = wilson_limits(np.array([1, 2, 3]) / 60, 60)
    np.testing.assert_allclose(low * 60, means, atol=1e-11)
    low, _ = wilson_limits(np.array([1, 2, 3]) / 50, 50)
    np.testing.assert_allclose(low[:2] * 50, means[:2], atol=1e-11)
    assert low[2] == wilson_limits(3 / 50, 50, corrected=False)[0]
    low, _ = wilson_limits(1 / 60, 60, 0.9)
    assert low * 60 == pytest.approx(0.105360515658)


def test_few_failures_mirror_few_successes() -> None:
    share = np.linspace(0, 1, 101)
    low, high = wilson_limits(share, 100)
    np.testing.assert_allclose(low, 1 - high[::-1], atol=1e-14)


def test_no_points_say_nothing_and_no_share_has_no_limits() -> None:
    low, high = wilson_limits([0.0, 0.3, np.nan], [0, 0, 50])
    np.testing.assert_array_equal(low, [0, 0, np.nan])
    np.testing.assert_array_equal(high, [1, 1, np.nan])


def test_a_fraction_of_a_point_is_a_point_less() -> None:
    widths = [float(np.subtract(*wilson_limits(0.4, n)[::-1])) for n in (9.5, 10, 10.5)]
    assert widths == sorted(widths, reverse=True)


def test_logit_is_that_of_r() -> None:
    """R: plogis(qlogis(.8) + c(-1, 1) * qnorm(.975) * .05 / .16)."""
    low, high = logit_limits([0.8, 0, 1, np.nan], 0.05)
    np.testing.assert_allclose(low, [0.684343549345, 0, 0, np.nan])
    np.testing.assert_allclose(high, [0.880669252727, 1, 1, np.nan])


def test_the_normal_interval_may_leave_what_is_possible() -> None:
    low, high = normal_limits(0.02, 0.02)
    assert (low, high) == (pytest.approx(-0.01919928), pytest.approx(0.05919928))
    assert normal_quantile(0.95) == pytest.approx(1.959963984540054)


def limits(successes: int, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    share = np.array([successes / points])
    return share, *wilson_limits(share, points, corrected=False)


def test_a_difference_of_two_samples_is_newcombes() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, method 10: 56/70 - 48/80."""
    low, high = mover_difference([1], limits(56, 70), limits(48, 80), [0])
    assert (round(float(low), 4), round(float(high), 4)) == (0.0524, 0.3339)


def test_a_sum_is_minus_the_difference_of_the_opposite() -> None:
    one, two = limits(56, 70), limits(48, 80)
    opposite = (1 - two[0], 1 - two[2], 1 - two[1])
    low, high = mover_difference([1], one, two, [0])
    stacked = (np.concatenate(pair) for pair in zip(one, opposite, strict=True))
    again = mover_sum([1, 1], *stacked)
    assert again == (pytest.approx(float(low) + 1), pytest.approx(float(high) + 1))


def test_one_stratum_keeps_its_limits() -> None:
    one, low, high = limits(3, 10)
    assert mover_sum([1], one, low, high) == (pytest.approx(low[0]), pytest.approx(high[0]))
    rest = (1 - one, 1 - high, 1 - low)
    assert mover_share([1], (one, low, high), rest, [1]) == (
        pytest.approx(low[0], abs=1e-12),
        pytest.approx(high[0], abs=1e-12),
    )


def test_a_share_of_two_counts_is_the_ratio_of_two_poisson_means() -> None:
    """At its limits the combination of both parts is as far from 0 as their limits together."""
    weights, zero = np.array([0.7, 0.3]), np.zeros(2)
    one = (np.array([0.02, 0.3]), np.array([0.005, 0.2]), np.array([0.06, 0.42]))
    two = (np.array([0.01, 0.1]), np.array([0.001, 0.05]), np.array([0.05, 0.2]))

    def distance(r: float, *, down: bool) -> float:
        side = (one[0] - one[1], two[2] - two[0]) if down else (one[2] - one[0], two[0] - two[1])
        middle = (weights * ((1 - r) * one[0] - r * two[0])).sum()
        far = (weights**2 * ((1 - r) ** 2 * side[0] ** 2 + r**2 * side[1] ** 2)).sum()
        return float(middle**2 - far)

    share = float((weights * one[0]).sum() / (weights * (one[0] + two[0])).sum())
    low, high = mover_share(weights, one, two, zero)
    assert 0 < low < share < high < 1
    assert distance(float(low), down=True) == pytest.approx(0, abs=1e-15)
    assert distance(float(high), down=False) == pytest.approx(0, abs=1e-15)


def test_nothing_in_both_parts_is_anything() -> None:
    nothing = (np.zeros(2), np.zeros(2), np.full(2, 0.1))
    low, high = mover_share([0.5, 0.5], nothing, nothing, np.zeros(2))
    assert (low, high) == (0, 1)


@pytest.mark.parametrize(("method", "level"), [("exact", 0.95), ("mover", 0), ("mover", 95)])
def test_what_is_no_interval_is_said(method: str, level: float) -> None:
    with pytest.raises(Rejected, match=r"choose of mover, wilson, normal|between 0 and 1"):
        check_method(method, level)


def test_figures_are_chosen_and_scaled() -> None:
    made = Estimated(*(np.array([[1.0, 2], [3, 4]]) + k for k in range(4)), "mover")
    part = made.at(1, 0).scaled(10)
    assert [float(x) for x in (part.estimate, part.standard_error, part.low, part.high)] == [
        *(30, 40, 50, 60)
    ]
    assert np.isnan(made.where(np.array([True, False])).estimate[:, 1]).all()
