"""Accuracies: the published examples to their last digit, and what a map's figures must be."""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from cropmask.assess import assess_accuracy, compare_maps, count_labels, count_matrix
from cropmask.errors import Rejected
from tests.shareddata import needs_shared, shared

OLOFSSON = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
"""Counts by class of the map: deforestation, gain, stable forest, stable other land."""
PIXELS = [200_000, 150_000, 3_200_000, 6_450_000]

PUBLISHED = {
    "eastern": ("90.3", "81.0", "89.0", ".85"),
    "western": ("83.6", "74.2", "75.0", ".75"),
    "northern": ("94.0", "90.0", "91.8", ".91"),
    "sahel": ("87.9", "70.5", "87.3", ".78"),
    "southern": ("86.4", "67.4", "84.6", ".75"),
    "southeast": ("87.3", "89.4", "77.8", ".83"),
    "central": ("88.3", "84.4", "79.2", ".82"),
    "indian_ocean": ("90.7", "76.0", "95.0", ".84"),
}
"""Overall, producer's and user's accuracy of crop in percent, and F1, as they were printed."""


def test_the_published_example_to_its_last_digit() -> None:
    """Olofsson et al. 2014, section 5.1 and table 8."""
    found = assess_accuracy(count_matrix(OLOFSSON, PIXELS), method="normal")

    def printed(estimate) -> list[str]:
        half = 1.96 * estimate.standard_error
        return [f"{a:.2f} {b:.2f}" for a, b in np.nditer([estimate.estimate, half])]

    assert printed(found.overall) == ["0.95 0.02"]
    assert printed(found.users) == ["0.88 0.07", "0.73 0.10", "0.93 0.04", "0.96 0.02"]
    assert printed(found.producers) == ["0.75 0.21", "0.85 0.25", "0.93 0.03", "0.96 0.02"]
    np.testing.assert_allclose(
        found.confusion.area_shares[0], [0.0176, 0, 0.0013, 0.0011], atol=5e-5
    )


def round_twice(percent: float) -> str:
    """The source prints two decimals (87.85 for 253 of 288), the table one of them (87.9)."""
    twice = Decimal(percent).quantize(Decimal("0.01")).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return str(twice)


@needs_shared("validation")
@pytest.mark.parametrize("region", PUBLISHED)
def test_published_figures_come_out_to_the_printed_digit(region: str) -> None:
    text = shared("validation/confusion_matrices.csv").read_text(encoding="utf-8")
    (row,) = [row for row in csv.DictReader(text.splitlines()) if row["region"] == region]
    names = ("noncrop", "crop")
    matrix = [[int(row[f"reference_{true}_mapped_{mapped}"]) for true in names] for mapped in names]
    found = assess_accuracy(count_matrix(matrix, classes=names))
    crop = [each.at(1) for each in (found.producers, found.users, found.f1)]
    percent = [round_twice(100 * float(each.estimate)) for each in (found.overall, *crop[:2])]
    f1 = f"{float(crop[2].estimate):.2f}".removeprefix("0")
    assert (*percent, f1) == PUBLISHED[region]
    for each in (found.overall, *crop):
        assert 0 < each.low < each.estimate < each.high < 1


def test_unweighted_figures_have_wilsons_interval_of_their_points() -> None:
    """R: prop.test(81, 91, correct = FALSE) and prop.test(81, 100, correct = FALSE)."""
    found = assess_accuracy(count_matrix([[190, 19], [10, 81]]))
    users, producers = found.users.at(1), found.producers.at(1)
    assert [float(users.low), float(users.high)] == pytest.approx([0.809412485389, 0.939205269787])
    assert producers.estimate == pytest.approx(0.81)
    jaccard = 81 / 110
    assert found.f1.at(1).estimate == pytest.approx(2 * jaccard / (1 + jaccard))


def test_counts_of_points_and_of_a_matrix_are_the_same() -> None:
    rng = np.random.default_rng(1)
    mapped, true = rng.integers(0, 3, (2, 400))
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (mapped, true), 1)
    pixels = [5000, 700, 90]
    by_points = count_labels(mapped, true, strata=mapped, pixels=pixels)
    for one, other in (
        (assess_accuracy(by_points), assess_accuracy(count_matrix(matrix, pixels))),
        (assess_accuracy(count_labels(mapped, true)), assess_accuracy(count_matrix(matrix))),
    ):
        for name in ("overall", "users", "producers", "f1"):
            for part in ("estimate", "standard_error", "low", "high"):
                np.testing.assert_allclose(
                    getattr(getattr(one, name), part),
                    getattr(getattr(other, name), part),
                    atol=1e-12,
                )


def test_users_accuracy_does_not_depend_on_other_classes() -> None:
    """With the map's classes as strata it is the share of a class's own points, and no more."""
    found = assess_accuracy(count_matrix(OLOFSSON, PIXELS))
    alone = assess_accuracy(count_matrix([[66, 9], [9, 66]]))
    assert found.users.at(0).low == pytest.approx(float(alone.users.at(0).low), abs=1e-12)
    assert found.users.at(0).high == pytest.approx(float(alone.users.at(0).high), abs=1e-12)


def test_a_rare_class_that_nobody_saw_missed_is_not_surely_found() -> None:
    """All of fifty points off the map are right, but they stand for 98 percent of the area."""
    found = assess_accuracy(count_matrix([[50, 0], [10, 40]], [980_000, 20_000]))
    producers = found.producers.at(1)
    assert producers.estimate == 1
    assert producers.standard_error == 0
    # .016 of the area is crop that is seen, and up to .98 * .0713 may be missed.
    assert producers.low == pytest.approx(0.016 / (0.016 + 0.98 * 0.0713), abs=0.01)
    assert producers.high == 1


def test_a_class_that_is_nowhere_has_no_figure() -> None:
    found = assess_accuracy(count_matrix([[5, 0, 0], [1, 4, 0], [0, 0, 0]]))
    assert np.isnan(found.users.at(2).estimate)
    assert np.isnan(found.producers.at(2).low)
    assert found.overall.estimate == pytest.approx(0.9)
    never_mapped = assess_accuracy(count_matrix([[5, 0, 2], [1, 4, 1], [0, 0, 0]]))
    assert np.isnan(never_mapped.users.at(2).estimate)
    assert never_mapped.producers.at(2).estimate == 0
    assert never_mapped.f1.at(2).estimate == 0


def test_everything_right_is_not_surely_right() -> None:
    found = assess_accuracy(count_matrix([[50, 0], [0, 50]], [900, 100]))
    assert found.overall.estimate == found.overall.high == 1
    assert 0.9 < found.overall.low < 0.95
    normal = assess_accuracy(count_matrix([[50, 0], [0, 50]], [900, 100]), method="normal")
    assert normal.overall.low == 1, "which is why it is not the default"


def test_one_class_only_is_an_answer() -> None:
    found = assess_accuracy(count_labels([1] * 40, [1] * 40, classes=(0, 1)))
    assert found.overall.estimate == 1
    assert np.isnan(found.producers.at(0).estimate)
    assert found.users.at(1).low > 0.9


def test_plots_of_one_point_are_points() -> None:
    rng = np.random.default_rng(3)
    strata = rng.integers(0, 3, 300)
    mapped, true = rng.integers(0, 2, (2, 300))
    given = {"strata": strata, "pixels": [300, 40, 9]}
    points = assess_accuracy(count_labels(mapped, true, **given))
    plots = assess_accuracy(count_labels(mapped, true, plots=np.arange(300), **given))
    for name in ("overall", "users", "producers", "f1"):
        for part in ("estimate", "standard_error", "low", "high"):
            np.testing.assert_allclose(
                getattr(getattr(plots, name), part),
                getattr(getattr(points, name), part),
                atol=1e-12,
            )


def test_points_that_a_plot_repeats_say_no_more_than_the_plot() -> None:
    rng = np.random.default_rng(4)
    mapped, true = rng.integers(0, 2, (2, 80))
    once = assess_accuracy(count_labels(mapped, true, plots=np.arange(80)))
    copies = (np.repeat(each, 9) for each in (mapped, true, np.arange(80)))
    nine = assess_accuracy(count_labels(*list(copies)[:2], plots=np.repeat(np.arange(80), 9)))
    assert nine.overall.standard_error == pytest.approx(float(once.overall.standard_error))
    assert nine.overall.high - nine.overall.low >= once.overall.high - once.overall.low


def test_figures_are_by_domain() -> None:
    rng = np.random.default_rng(5)
    where = rng.choice(["north", "south"], 500)
    strata = rng.integers(0, 2, 500)
    true = np.where(rng.random(500) < 0.8, strata, 1 - strata)
    sizes = {"north": {0: 900, 1: 30}, "south": {0: 50, 1: 700}, "west": {0: 10, 1: 10}}
    found = count_labels(strata, true, strata=strata, pixels=sizes, domains=where)
    accuracy = assess_accuracy(found)
    assert found.domains == ("north", "south", "west")
    assert np.isnan(accuracy.overall.at(2).estimate), "no point lies there"
    for number, name in enumerate(found.domains[:2]):
        own = where == name
        alone = assess_accuracy(
            count_labels(strata[own], true[own], strata=strata[own], pixels=sizes[name])
        )
        for figure in ("overall", "users", "producers", "f1"):
            for part in ("estimate", "standard_error", "low", "high"):
                np.testing.assert_allclose(
                    getattr(getattr(accuracy, figure).at(number), part),
                    getattr(getattr(alone, figure), part),
                )


def test_a_domain_of_unknown_size_is_estimated_from_all_points() -> None:
    """The size of the domain is estimated too: Cochran 1977, section 2.11, as a ratio."""
    rng = np.random.default_rng(6)
    strata = np.repeat([0, 1], [200, 100])
    where = rng.choice(["a", "b"], 300, p=[0.7, 0.3])
    right = rng.random(300) < 0.85
    found = count_labels(strata, np.where(right, strata, 1 - strata), strata=strata,
                         pixels=[9000, 500], domains=where)  # fmt: skip
    accuracy = assess_accuracy(found, method="normal")
    weight = np.array([9000 / 9500, 500 / 9500])
    for number, name in enumerate(("a", "b")):
        inside = where == name
        means = [[(inside & right)[strata == h].mean(), inside[strata == h].mean()] for h in (0, 1)]
        y, x = weight @ np.array(means)
        residual = inside * (right - y / x)
        variance = sum(
            w**2 * residual[strata == h].var(ddof=1) / (strata == h).sum()
            for h, w in enumerate(weight)
        )
        assert accuracy.overall.at(number).estimate == pytest.approx(y / x)
        assert accuracy.overall.at(number).standard_error == pytest.approx(variance**0.5 / x)


def test_two_maps_on_the_same_points() -> None:
    """R: mcnemar.test(matrix(c(101, 59, 121, 33), 2), correct = FALSE); binom.test(59, 180)."""
    counts = {(1, 1): 101, (0, 1): 59, (1, 0): 121, (0, 0): 33}
    pairs = np.repeat(np.array([*counts]), [*counts.values()], axis=0)
    true = np.ones(len(pairs), int)
    found = compare_maps(pairs[:, 0], pairs[:, 1], true)
    assert (found.only_first, found.only_second) == (121, 59)
    assert found.chi_square == pytest.approx(21.355555555556)
    assert found.p_value == pytest.approx(4.434449e-06, rel=1e-5)
    assert found.difference.estimate == pytest.approx((121 - 59) / 314)
    assert 0 < found.difference.low < found.difference.high < 1
    assert found.first.estimate - found.second.estimate == pytest.approx(
        float(found.difference.estimate)
    )


@pytest.mark.parametrize(
    ("ones", "twos", "p"), [(5, 0, 0.0625), (6, 14, 0.115318298340), (10, 10, 1), (0, 0, 1)]
)
def test_mcnemar_is_exact(ones: int, twos: int, p: float) -> None:
    """R: binom.test(0, 5), (6, 20), (10, 20)."""
    first = [1] * ones + [0] * twos + [1] * 3
    second = [0] * ones + [1] * twos + [1] * 3
    assert compare_maps(first, second, [1] * len(first)).p_value == pytest.approx(p)


def test_a_million_disagreements_have_a_probability() -> None:
    first = np.arange(1_000_000) % 2
    found = compare_maps(first, 1 - first, np.ones(1_000_000, int))
    assert found.p_value == 1
    assert found.difference.estimate == 0


def test_a_difference_knows_the_strata() -> None:
    """The error of a paired difference, by the variance of each stratum's points."""
    rng = np.random.default_rng(8)
    strata = np.repeat([0, 1], [150, 80])
    first, second, true = rng.integers(0, 2, (3, 230))
    found = compare_maps(first, second, true, strata=strata, pixels=[800, 200])
    gain = (first == true).astype(int) - (second == true)
    parts = [gain[strata == h] for h in (0, 1)]
    expected = 0.8 * parts[0].mean() + 0.2 * parts[1].mean()
    variance = 0.64 * parts[0].var(ddof=1) / 150 + 0.04 * parts[1].var(ddof=1) / 80
    assert found.difference.estimate == pytest.approx(expected)
    assert found.difference.standard_error == pytest.approx(variance**0.5)
    swapped = compare_maps(second, first, true, strata=strata, pixels=[800, 200])
    assert swapped.difference.low == pytest.approx(-float(found.difference.high))


def test_other_intervals_are_refused() -> None:
    with pytest.raises(Rejected, match="no interval 'exact'"):
        assess_accuracy(count_matrix([[5, 1], [1, 5]]), method="exact")  # type: ignore[arg-type]
