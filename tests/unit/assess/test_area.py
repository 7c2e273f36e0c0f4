"""Areas: the published example to its last digit, districts, and what gets no number."""

from __future__ import annotations

import numpy as np
import pytest

from cropmask.assess import (
    assess_accuracy,
    count_labels,
    count_matrix,
    estimate_area,
    estimate_areas_by_domain,
)
from cropmask.assess.area import POST_STRATIFIED, REGRESSION, TOO_FEW
from cropmask.errors import Rejected
from tests.unit.assess.test_accuracy import OLOFSSON, PIXELS


def test_the_published_example_to_its_last_digit() -> None:
    """Olofsson et al. 2014, section 5.2: 21 158 ha +- 6 158 ha of 30 m pixels."""
    found = estimate_area(count_matrix(OLOFSSON, PIXELS), 0.09, method="normal")
    loss = found.hectares.at(0)
    assert round(float(loss.estimate)) == 21_158
    assert round(1.96 * float(loss.standard_error)) == 6_158
    assert round(float(loss.estimate) / 0.09) == 235_086
    assert round(float(loss.standard_error) / 0.09) == 34_907
    assert round(1.96 * float(loss.standard_error) / 0.09) == 68_418
    assert found.mapped_hectares[0] == pytest.approx(18_000)
    assert found.total_hectares == pytest.approx(900_000)
    assert found.hectares.estimate.sum() == pytest.approx(900_000)
    assert (loss.low, loss.high) == (
        pytest.approx(21_158 - 6_158, abs=1),
        pytest.approx(21_158 + 6_158, abs=1),
    )


def test_the_default_interval_leans_to_where_more_may_be() -> None:
    found = estimate_area(count_matrix(OLOFSSON, PIXELS), 0.09)
    loss = found.hectares.at(0)
    assert loss.method == "mover"
    assert 0 < loss.low < loss.estimate < loss.high
    assert loss.high - loss.estimate > loss.estimate - loss.low


def test_no_omission_seen_is_no_interval_of_zero_width() -> None:
    counted = count_matrix([[50, 0], [0, 50]], [980_000, 20_000])
    normal, ours = (
        estimate_area(counted, 0.01, method=method).hectares.at(1) for method in ("normal", "mover")
    )
    assert normal.low == normal.high == 200
    assert ours.high == pytest.approx(200 + 9800 * 0.0713, abs=1)


def test_points_without_weights_have_no_area() -> None:
    with pytest.raises(Rejected, match="what each point stands for"):
        estimate_area(count_labels([1, 0, 1], [1, 0, 0]), 0.01)
    with pytest.raises(Rejected, match="over 0, not nan"):
        estimate_area(count_matrix(OLOFSSON, PIXELS), float("nan"))


def test_pixels_of_the_map_are_those_given_where_strata_are_others() -> None:
    rng = np.random.default_rng(0)
    bands = rng.choice(["low", "high"], 60)
    mapped, true = rng.integers(0, 2, (2, 60))
    counted = count_labels(mapped, true, strata=bands, pixels={"low": 900, "high": 100})
    assert np.isnan(estimate_area(counted, 1.0).mapped_hectares).all()
    assert estimate_area(counted, 0.5, mapped_pixels=[700, 300]).mapped_hectares.tolist() == [
        *(350, 150)
    ]
    with pytest.raises(Rejected, match="mapped pixels"):
        estimate_area(counted, 0.5, mapped_pixels=[700])


def test_effective_points_are_those_of_a_plain_sample_with_the_same_error() -> None:
    found = estimate_area(count_matrix(OLOFSSON, PIXELS), 0.09)
    share, error = found.shares.estimate, found.shares.standard_error
    np.testing.assert_allclose(
        np.sqrt(share * (1 - share) / found.effective_points), error, rtol=1e-12
    )
    assert found.points == 640


def draw_districts(seed: int, points: int = 400):
    """Points in three districts and one stratum a class, with the pixels of all parts."""
    rng = np.random.default_rng(seed)
    sizes = {"east": {0: 8000, 1: 2000}, "north": {0: 5000, 1: 900}, "west": {0: 400, 1: 30}}
    table = np.array([[*row.values()] for row in sizes.values()])
    mapped = np.repeat([0, 1], points // 2)
    chance = table / table.sum(0)
    where = np.concatenate([rng.choice(3, points // 2, p=chance[:, h]) for h in (0, 1)])
    true = np.where(rng.random(points) < 0.9, mapped, 1 - mapped)
    names = np.array([*sizes])[where]
    return mapped, true, names, sizes


def by_district(seed: int = 0, points: int = 400, **given: object):
    mapped, true, names, sizes = draw_districts(seed, points)
    counted = count_labels(mapped, true, strata=mapped, pixels=sizes, domains=names)
    return counted, estimate_areas_by_domain(counted, 0.01, **given)  # type: ignore[arg-type]


def test_a_district_with_points_enough_stands_by_itself() -> None:
    mapped, true, names, sizes = draw_districts(0)
    counted, found = by_district()
    assert found.estimators.tolist() == [POST_STRATIFIED, POST_STRATIFIED, TOO_FEW]
    for number, name in enumerate(("east", "north")):
        own = names == name
        alone = estimate_area(
            count_labels(mapped[own], true[own], strata=mapped[own], pixels=sizes[name]), 0.01
        )
        for part in ("estimate", "standard_error", "low", "high"):
            np.testing.assert_allclose(
                getattr(found.hectares.at(number), part), getattr(alone.hectares, part)
            )
        assert found.points[number] == own.sum()
    assert counted.domains == ("east", "north", "west")


def test_too_few_points_are_no_number() -> None:
    _, found = by_district()
    assert found.points[2] < 20
    for values in (found.hectares.estimate, found.hectares.low, found.effective_points):
        assert np.isnan(values[2]).all()
        assert not np.isnan(values[:2]).any()
    np.testing.assert_allclose(found.mapped_hectares[2], [4, 0.3])
    assert found.total_hectares[2] == pytest.approx(4.3)


def test_a_district_that_lacks_points_of_a_stratum_leans_on_the_others() -> None:
    """By hand: own points where as many are there as should be, else mixed with the stratum's."""
    mapped = np.repeat([0, 1], [60, 40])
    names = np.array(["a"] * 20 + ["b"] * 40 + ["a"] * 2 + ["b"] * 38)
    true = np.zeros(100, int)
    true[[0, 1, 25, 26, 27]] = 1  # crop that the map missed: 2 of 20 in a, 3 of 40 in b
    true[[60, *range(62, 92)]] = 1  # crop on the map: 1 of 2 in a, 30 of 38 in b
    sizes = {"a": {0: 3000, 1: 100}, "b": {0: 6000, 1: 400}}
    counted = count_labels(mapped, true, strata=mapped, pixels=sizes, domains=names)
    found = estimate_areas_by_domain(counted, 1.0)
    assert found.estimators.tolist() == [REGRESSION, POST_STRATIFIED]
    # Of the 40 points of crop, 40 * 100 / 500 = 8 should lie in a, and 2 do: a fourth of the
    # share is that of the two. Of the 60 others, 60 * 3000 / 9000 = 20 should, and 20 do.
    own = 2 / 8
    share = own * 1 / 2 + (1 - own) * 31 / 40
    assert found.hectares.estimate[0, 1] == pytest.approx(3000 * 2 / 20 + 100 * share)
    assert found.hectares.estimate[1, 1] == pytest.approx(6000 * 3 / 40 + 400 * 30 / 38)
    assert found.hectares.low[0, 1] < found.hectares.estimate[0, 1] < found.hectares.high[0, 1]
    assert found.hectares.estimate[0].sum() == pytest.approx(3100)


def test_districts_that_are_the_whole_add_up() -> None:
    """Where each district has the points that it should have, the parts are the whole."""
    mapped = np.tile(np.repeat([0, 1], 30), 2)
    true = np.random.default_rng(1).integers(0, 2, 120)
    names = np.repeat(["a", "b"], 60)
    sizes = {"a": {0: 500, 1: 200}, "b": {0: 500, 1: 200}}
    counted = count_labels(mapped, true, strata=mapped, pixels=sizes, domains=names)
    parts = estimate_areas_by_domain(counted, 1.0).hectares.estimate.sum(0)
    whole = estimate_area(count_labels(mapped, true, strata=mapped, pixels={0: 1000, 1: 400}), 1.0)
    np.testing.assert_allclose(parts, whole.hectares.estimate)


def test_domains_are_named_to_who_takes_them() -> None:
    counted, _ = by_district()
    with pytest.raises(Rejected, match="estimate_areas_by_domain takes them"):
        estimate_area(counted, 0.01)
    with pytest.raises(Rejected, match="have no domains"):
        estimate_areas_by_domain(count_matrix(OLOFSSON, PIXELS), 0.01)
    mapped, true, names, _ = draw_districts(0)
    flat = count_labels(mapped, true, strata=mapped, pixels={0: 13400, 1: 2930}, domains=names)
    with pytest.raises(Rejected, match="give pixels by domain and stratum"):
        estimate_areas_by_domain(flat, 0.01)


def test_a_stratum_without_points_in_all_districts_is_refused() -> None:
    sizes = {"a": {0: 100, 1: 5}, "b": {0: 50, 1: 5}}
    counted = count_labels(
        [0] * 60, [0] * 60, strata=[0] * 60, pixels=sizes, domains=["a"] * 30 + ["b"] * 30,
        classes=(0, 1),
    )  # fmt: skip
    with pytest.raises(Rejected, match=r"fewer than two points in a stratum.*: 1"):
        estimate_areas_by_domain(counted, 1.0)


def test_plots_make_districts_less_sure() -> None:
    mapped, true, names, sizes = draw_districts(2, 600)
    given = {"strata": mapped, "pixels": sizes, "domains": names}
    order = np.lexsort((names, mapped))
    plot = np.empty(600, int)
    plot[order] = np.arange(600) // 3
    key = np.char.add(np.char.add(names, mapped.astype(str)), plot.astype(str))
    points = estimate_areas_by_domain(count_labels(mapped, true, **given), 1.0)
    plots = estimate_areas_by_domain(count_labels(mapped, true, plots=key, **given), 1.0)
    np.testing.assert_allclose(points.hectares.estimate[:2], plots.hectares.estimate[:2])
    assert (plots.hectares.high - plots.hectares.low)[0, 1] > 0
    assert plots.confusion.units[0, 0] < points.confusion.units[0, 0]


def test_area_and_accuracy_are_of_the_same_matrix() -> None:
    counted = count_matrix(OLOFSSON, PIXELS)
    shares = estimate_area(counted, 0.09).shares.estimate
    np.testing.assert_allclose(shares, assess_accuracy(counted).confusion.area_shares.sum(0))
