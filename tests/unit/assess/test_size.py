"""Sizes of samples and how strata share them."""

from __future__ import annotations

import numpy as np
import pytest

from cropmask.assess import allocate, sample_size
from cropmask.assess.size import ALLOCATIONS, expected_standard_error
from cropmask.errors import Rejected

PIXELS = [200_000, 150_000, 3_200_000, 6_450_000]
RATES = [0.7, 0.6, 0.9, 0.95]


def test_the_published_example() -> None:
    """Olofsson et al. 2014, section 5.1.1 and table 5: 641 points for a standard error of .01."""
    assert sample_size(0.01, PIXELS, RATES) == 641
    assert allocate(641, PIXELS).tolist() == [13, 10, 205, 413]
    assert allocate(641, PIXELS, allocation="equal").tolist() == [161, 160, 160, 160]
    assert allocate(641, PIXELS, minimum=75).tolist()[:2] == [75, 75]


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_the_size_reaches_its_target_and_no_less_would(allocation) -> None:
    for target in (0.01, 0.02):
        size = sample_size(target, PIXELS, RATES, allocation=allocation)
        found = [
            expected_standard_error(
                PIXELS, RATES, allocate(n, PIXELS, allocation=allocation, rates=RATES, minimum=0)
            )
            for n in (size, size - 20)
        ]
        # A whole point here or there, by rounding, is not seen at two digits.
        assert found[0] <= target * 1.002
        assert found[1] > target


def test_neyman_needs_the_fewest_points() -> None:
    sizes = [sample_size(0.01, PIXELS, RATES, allocation=each) for each in ALLOCATIONS]
    assert min(sizes) == sizes[2]


def test_a_small_area_is_drawn_as_a_whole_at_most() -> None:
    assert sample_size(0.0001, [10, 20], [0.5, 0.5]) == 30
    assert sample_size(0.01, [10, 20], [1, 1]) == 1


@pytest.mark.parametrize(
    ("points", "pixels", "given", "expected"),
    [
        (10, [100, 100, 100], {}, [4, 3, 3]),
        (10, [1000, 3, 0], {}, [8, 2, 0]),
        (12, [1000, 3, 2], {"allocation": "equal", "minimum": 5}, [7, 3, 2]),
        (10, [50, 50], {"allocation": "neyman", "rates": [0, 1]}, [5, 5]),
        (10, [50, 50], {"allocation": "neyman", "rates": [0, 0.5]}, [2, 8]),
        (60, [50, 50], {"allocation": "neyman", "rates": [0, 0.5]}, [10, 50]),
    ],
)
def test_points_add_up_within_limits(points, pixels, given, expected) -> None:
    assert allocate(points, pixels, **given).tolist() == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: allocate(3, [9, 9], minimum=2), "draw 4 or more"),
        (lambda: allocate(10, [1, 1, 1], minimum=0), "cannot be drawn from 3 pixels"),
        (lambda: allocate(0, [9, 9]), "cannot be allocated"),
        (lambda: allocate(10, [9, -9]), "not negative"),
        (lambda: allocate(10, []), "one size a stratum"),
        (lambda: allocate(10, [9, np.nan]), "one size a stratum"),
        (lambda: allocate(10, [9, 9], allocation="neyman"), "needs the rates"),
        (lambda: allocate(10, [9, 9], allocation="random"), "choose of proportional"),
        (lambda: sample_size(0, [9, 9], [0.5, 0.5]), "between 0 and 1"),
        (lambda: sample_size(0.1, [9, 9], [0.5]), "1 rates are given for 2 strata"),
        (lambda: sample_size(0.1, [9, 9], [0.5, 1.5]), "rates lie between"),
        (lambda: expected_standard_error([9, 9], [0.5, 0.5], [4, 0]), "every stratum needs"),
    ],
)
def test_what_cannot_be_is_said(call, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        call()
