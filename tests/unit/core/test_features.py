"""The 33 features against the formulas, one pixel at a time, in plain Python."""

from __future__ import annotations

import math

import numpy as np
from numpy.testing import assert_allclose

from cropmask.core.features import FEATURES, features, observed
from cropmask.core.strips import Half, Strip
from tests.scenes import make_scene
from tests.shareddata import shared

BANDS = "blue green red nir swir_1 swir_2 red_edge_1 red_edge_2 red_edge_3".split()


def by_hand(raw: dict[str, int], mads: tuple[float, float, float]) -> dict[str, float]:
    """Formulas of the published method, in float64."""
    r = {name: value / 10_000 for name, value in raw.items()}
    bcdev, edev, sdev = mads
    evi = 2.5 * (r["nir"] - r["red"]) / (r["nir"] + 6 * r["red"] - 7.5 * r["blue"] + 1)
    return r | {
        "bcdev": -math.log(bcdev),
        "edev": -math.log(edev / 10_000),
        "sdev": -math.log(sdev),
        "NDVI": (r["nir"] - r["red"]) / (r["nir"] + r["red"]),
        "LAI": 3.618 * evi - 0.118,
        "MNDWI": (r["green"] - r["swir_1"]) / (r["green"] + r["swir_1"]),
    }


def one_pixel(
    raw: dict[str, int], mads: tuple[float, float, float], rain: float, slope: float
) -> Strip:
    half = Half(
        np.array([raw[name] for name in BANDS], np.uint16).reshape(9, 1, 1),
        np.array(mads, np.float32).reshape(3, 1, 1),
    )
    return Strip(
        0, half, half, np.full((2, 1, 1), rain, np.float32), np.full((1, 1), slope, np.float32)
    )


RAW = dict(zip(BANDS, (512, 834, 1021, 2987, 2790, 1812, 1411, 2403, 2690), strict=True))


def test_formulas() -> None:
    values = dict(
        zip(FEATURES, features(one_pixel(RAW, (0.03, 812.0, 0.0011), 584.0, 3.5)).ravel(),
            strict=True)
    )  # fmt: skip
    for name, expected in by_hand(RAW, (0.03, 812.0, 0.0011)).items():
        assert_allclose(values[f"{name}_S1"], expected, rtol=2e-6, err_msg=name)
        assert values[f"{name}_S1"] == values[f"{name}_S2"]
    assert values["rain_S1"] == 584
    assert values["slope"] == np.float32(3.5)


def test_order_is_that_of_the_training_samples() -> None:
    with shared("training/eastern.txt").open() as lines:
        assert tuple(lines.readline().lstrip("#").split()[1:]) == FEATURES


def test_values_that_are_not_finite_become_zero_one_by_one() -> None:
    values = features(one_pixel({**RAW, "red": 0}, (0.0, -1.0, math.inf), math.nan, math.inf))
    named = dict(zip(FEATURES, values.ravel(), strict=True))
    zero = {"red", "bcdev", "edev", "sdev", "NDVI", "LAI", "rain"}
    for name, value in named.items():
        plain = name.removesuffix("_S1").removesuffix("_S2")
        assert (value == 0) == (plain in zero | {"slope"}), name


def test_observed_needs_any_band() -> None:
    scene = make_scene()
    assert not observed(scene.whole.first)[10:20, 10:40].any()
    assert observed(scene.whole.first)[:10].all()
