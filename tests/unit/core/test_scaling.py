"""Scale and offset on numbers alone: what is kept, what cannot be meant."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.core.scaling import (
    KEPT,
    LAYER,
    UNSCALED,
    Scaling,
    find_nonsense,
    is_as_kept,
    rescale,
)

BLUE, SDEV, EDEV = KEPT["blue"], KEPT["sdev"], KEPT["edev"]
DIGITS = np.arange(1 << 16, dtype=np.uint16)


def test_the_baseline_of_2022_is_a_thousand_less() -> None:
    kept = rescale(DIGITS, Scaling(0.0001, -0.1), BLUE)
    assert kept.dtype == np.uint16
    assert kept[0] == 0
    assert (kept[1:1002] == 1).all()
    np.testing.assert_array_equal(kept[1001:], DIGITS[1:-1000])


def test_what_is_kept_already_is_not_touched() -> None:
    for scaling in (UNSCALED, Scaling(1e-4), Scaling(float(np.float32(1e-4)))):
        assert is_as_kept(scaling, BLUE)
        assert is_as_kept(scaling, EDEV)
        np.testing.assert_array_equal(rescale(DIGITS, Scaling(1e-4), BLUE), DIGITS)
    assert not is_as_kept(Scaling(1e-4), SDEV)
    assert not is_as_kept(Scaling(1e-4, -0.1), BLUE)
    assert not is_as_kept(Scaling(1e-4, 1e-4), BLUE)


@given(st.floats(1.2e-5, 0.01), st.floats(-0.3, 0.3))
def test_every_reflectance_that_can_be_meant(scale: float, offset: float) -> None:
    scaling = Scaling(scale, offset)
    if find_nonsense(scaling, BLUE) is not None:
        return
    kept = rescale(DIGITS, scaling, BLUE).astype(float)
    meant = np.clip((DIGITS.astype(float) * scale + offset) * 10_000, 1, 65_535)
    assert np.abs(kept - meant)[1:].max() <= 0.5 + 1e-6
    assert kept[0] == 0
    assert kept[1:].min() >= 1


def test_deviations_and_layers_are_floats() -> None:
    stored = np.array([math.nan, 0, 250], np.float32)
    np.testing.assert_array_equal(
        rescale(stored, Scaling(1e-4), SDEV), np.array([math.nan, 0, 0.025], np.float32)
    )
    percent = rescale(np.array([0, 20, 100], np.uint8), Scaling(0.01), LAYER)
    assert percent.dtype == np.float32
    assert percent.tolist() == [0, np.float32(0.2), 1]
    assert rescale(np.array([-5], np.int16), Scaling(2, 9), LAYER).tolist() == [-1]


@pytest.mark.parametrize(
    ("name", "scale", "offset"),
    [
        *((name, scale, 0.0) for name in ("blue", "sdev") for scale in (0.0, -1e-4, math.nan)),
        *((name, scale, 0.0) for name in ("blue", "edev") for scale in (math.inf, 1e300, 5e-324)),
        *(("blue", 1e-4, offset) for offset in (math.nan, math.inf, -1000.0, 5.0, -10.0)),
        ("blue", 1.0, -0.1),
        ("blue", 1.0, -1000.0),
        ("blue", 1e-9, 0.0),
        ("sdev", 1.0, -0.1),
        ("edev", 1e-4, -0.1),
    ],
)
def test_what_cannot_be_meant(name: str, scale: float, offset: float) -> None:
    assert find_nonsense(Scaling(scale, offset), KEPT[name])


@pytest.mark.parametrize(
    ("name", "scale", "offset"),
    [
        ("blue", 1.0, 0.0),
        ("blue", 1e-4, -0.1),
        ("blue", 2.75e-5, -0.2),  # Landsat Collection 2
        ("blue", 1 / 65_535, 0.0),
        ("blue", 0.01, 0.0),
        ("edev", 1e-4, 0.0),
        ("bcdev", 1e-4, 0.0),
    ],
)
def test_what_can_be_meant(name: str, scale: float, offset: float) -> None:
    assert find_nonsense(Scaling(scale, offset), KEPT[name]) is None
