"""Features as data: the grammar, and values against plain numpy written without it."""

from __future__ import annotations

import numpy as np
import pytest

from cropmask.core.features import FEATURES, features
from cropmask.core.formulas import (
    MAX_DEPTH,
    NAMES,
    compute_features,
    compute_rows,
    parse_formula,
)
from cropmask.core.strips import Half, Strip
from cropmask.errors import Reason, Rejected

BANDS = ("blue", "green", "red", "nir", "swir_1", "swir_2", "edge_1", "edge_2", "edge_3")
SUM = ", ".join(name for name in FEATURES[:9])


def make_strip(seed: int = 5, height: int = 16, width: int = 40) -> Strip:
    """Random pixels with all that can be missing or odd."""
    rng = np.random.default_rng(seed)

    def half() -> Half:
        raw = rng.integers(0, 9000, (9, height, width)).astype(np.uint16)
        raw[rng.random(raw.shape) < 0.1] = 0
        raw[:, :2, :5] = 0
        raw[:, 3] = raw[0, 3]
        deviation = rng.lognormal(-2, 2, (3, height, width)).astype(np.float32)
        for odd in (np.nan, np.inf, -np.inf, 0, -1, 1e-45, 3e38):
            deviation[rng.random(deviation.shape) < 0.03] = odd
        return Half(raw, deviation)

    rain = rng.uniform(0, 3000, (2, height, width)).astype(np.float32)
    rain[rng.random(rain.shape) < 0.1] = np.nan
    slope = rng.choice(np.array([0, -0.0, 3, np.nan, np.inf, 40], np.float32), (height, width))
    return Strip(0, half(), half(), rain, slope)


def by_hand(strip: Strip) -> dict[str, np.ndarray]:
    """Formulas and their values in plain numpy, before what is not finite becomes 0."""
    f = np.float32
    s = {}
    for end, half in (("1", strip.first), ("2", strip.second)):
        for name, raw in zip(BANDS, half.reflectance, strict=True):
            value = raw.astype(f) / f(10000)
            value[raw == 0] = np.nan
            s[name + end] = value
        s["b" + end], s["e" + end], s["s" + end] = half.deviation
    lai = [
        f(3.618)
        * (f(2.5) * (n - r) / (n + f(6) * r - f(7.5) * b + f(1)))
        - f(0.118)
        for n, r, b in ((s["nir" + e], s["red" + e], s["blue" + e]) for e in "12")
    ]  # fmt: skip
    total = s["blue1"]
    for name in BANDS[1:]:
        total = total + s[name + "1"]
    bare = [
        ((s["swir_1" + e] + s["red" + e]) - (s["nir" + e] + s["blue" + e]))
        / ((s["swir_1" + e] + s["red" + e]) + (s["nir" + e] + s["blue" + e]))
        for e in "12"
    ]
    return {
        "nd(nir_S1, red_edge_1_S1)": (s["nir1"] - s["edge_11"]) / (s["nir1"] + s["edge_11"]),
        f"ratio(swir_1_S1,sum({SUM}))": s["swir_11"] / total,
        f"sum({SUM})": total,
        "nd(sum(swir_1_S2,red_S2),sum(nir_S2,blue_S2))": bare[1],
        "difference(nd(sum(swir_1_S1,red_S1),sum(nir_S1,blue_S1)),"
        "nd(sum(swir_1_S2,red_S2),sum(nir_S2,blue_S2)))": bare[0] - bare[1],
        "difference(NDVI_S1,NDVI_S2)": (s["nir1"] - s["red1"]) / (s["nir1"] + s["red1"])
        - (s["nir2"] - s["red2"]) / (s["nir2"] + s["red2"]),
        "maximum(LAI_S1, LAI_S2)": np.maximum(*lai),
        "minimum(MNDWI_S1,swir_2_S2)": np.minimum(
            (s["green1"] - s["swir_11"]) / (s["green1"] + s["swir_11"]), s["swir_22"]
        ),
        "log(ratio(raw_bcdev_S1, raw_bcdev_S2))": np.log((s["b1"] / s["b2"]).astype("f8")).astype(
            f
        ),
        "log( minimum(raw_edev_S1,raw_edev_S2))": np.log(
            np.minimum(s["e1"] / f(10000), s["e2"] / f(10000)).astype("f8")
        ).astype(f),
        "log(raw_sdev_S2)": np.log(s["s2"].astype("f8")).astype(f),
        "ratio(slope,sum(rain_S1,rain_S2))": strip.slope / (strip.rain[0] + strip.rain[1]),
        "difference(red_edge_2_S2,red_edge_3_S2)": s["edge_22"] - s["edge_32"],
    }


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


def test_values_are_those_of_plain_numpy():
    strip = make_strip()
    expected = by_hand(strip)
    found = compute_features(tuple(expected), strip)
    for value, (text, plain) in zip(found, expected.items(), strict=True):
        assert plain.dtype == np.float32, text
        np.testing.assert_array_equal(value, np.where(np.isfinite(plain), plain, 0), text)
        assert np.unique(value).size > 10, text


def test_the_published_names_are_one_such_list():
    strip = make_strip()
    assert compute_features(FEATURES, strip).tobytes() == features(strip).tobytes()
    rows = features(strip).reshape(33, -1).T
    assert compute_rows(FEATURES, FEATURES, rows).tobytes() == rows.tobytes()


def test_rows_get_what_pixels_get():
    strip = make_strip()
    texts = tuple(by_hand(strip))
    pixels = compute_features(texts, strip).reshape(len(texts), -1).T
    rows = compute_rows(texts, FEATURES, features(strip).reshape(33, -1).T)
    usual = np.isfinite(strip.rain).all(axis=0) & np.isfinite(strip.slope)
    for half in (strip.first, strip.second):  # what was replaced by 0 is not known from rows
        usual &= ((half.deviation > 0) & (half.deviation < 3e38)).all(axis=0)
    usual &= strip.first.deviation[1] > 1e-38
    usual &= strip.second.deviation[1] > 1e-38
    usual = usual.ravel()
    assert usual.sum() > 20
    exact = ["raw_" not in text for text in texts]
    np.testing.assert_array_equal(rows[usual][:, exact], pixels[usual][:, exact])
    # A stored logarithm has 24 bits, so what its exponential is of is known to some millionths.
    np.testing.assert_allclose(rows[usual], pixels[usual], rtol=1e-5, atol=5e-6)


def test_a_missing_half_year_is_missing_in_rows():
    row = np.full((1, 33), 0.3, np.float32)
    row[:, 16:31] = 0
    texts = ("maximum(nir_S1,nir_S2)", "maximum(NDVI_S1,NDVI_S2)", "sum(rain_S1,rain_S2)")
    found = compute_rows((*texts, "log(minimum(raw_bcdev_S1,raw_bcdev_S2))"), FEATURES, row)
    np.testing.assert_array_equal(found, np.float32([[0, 0, 0.6, 0]]))


def test_columns_may_come_in_any_order_and_be_few():
    rows = np.array([[0.1, 0.3], [0.2, 0.2]], np.float64)
    found = compute_rows(("nd(nir_S1,red_S1)",), ("red_S1", "nir_S1"), rows)
    f = np.float32
    assert found.dtype == np.float32
    assert found.tolist() == [[(f(0.3) - f(0.1)) / (f(0.3) + f(0.1))], [0]]
    with pytest.raises(Rejected, match="the rows have no feature 'slope'"):
        compute_rows(("slope",), ("red_S1",), rows)


def test_spaces_do_not_matter():
    spread = parse_formula(" nd( nir_S1 ,red_S1 ) ")
    assert spread == parse_formula("nd(nir_S1,red_S1)")
    assert str(spread) == "nd(nir_S1, red_S1)"
    assert parse_formula(str(spread)) == spread


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_values(name):
    strip = make_strip()
    text = f"sum({name},green_S1)"
    found = compute_features((text,), strip)
    assert np.unique(found).size > 10
    rows = compute_rows((text,), FEATURES, features(strip).reshape(33, -1).T)
    assert np.unique(rows).size > 10


NESTED = "sum(" * MAX_DEPTH + "slope" + ",slope)" * MAX_DEPTH


def test_nested_as_deep_as_may_be():
    assert str(parse_formula(NESTED)).count("sum") == MAX_DEPTH


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'its end' where the name"),
        ("   ", "'its end' where the name"),
        ("f0", "'f0' where the name"),
        ("slope slope", "'slope' after its end"),
        ("slo pe", "'slo' where the name"),
        ("(slope)", r"'\(' where the name"),
        ("slope()", "'slope' is no operation"),
        ("nd", "'nd' where the name"),
        ("nd(", "'its end' where the name"),
        ("nd()", r"'\)' where the name"),
        ("nd(slope", "'its end' instead of"),
        ("nd(slope,", "'its end' where the name"),
        ("nd(slope,slope", "'its end' instead of"),
        ("nd(slope,slope))", r"'\)' after its end"),
        ("nd(slope,,slope)", "',' where the name"),
        ("nd(slope slope)", "'slope' instead of"),
        ("nd(slope,slope,slope)", "nd of 3, it takes 2"),
        ("sum(slope)", "sum of 1, it takes 2 or more"),
        ("log(slope,slope)", "log of 2, it takes 1"),
        ("log(log(slope))", "a logarithm is outermost only"),
        ("sum(slope,log(slope))", "a logarithm is outermost only"),
        ("nd(bcdev_S1,slope)", "stands alone: use raw_bcdev_S1"),
        ("raw_bcdev_S1", "in operations only"),
        ("exp(slope)", "'exp' is no operation"),
        ("ND(slope,slope)", "'ND' is no operation"),
        ("nd(slope,1)", "'1' where the name"),
        ("nd(slope,slope)+slope", "only names, commas"),
        ("__import__('os').system('true')", "only names, commas"),
        ("__import__(slope)", "'__import__' is no operation"),
        ("nd(slope,\u0455lope)", "only names, commas"),
        ("nd\uff08slope\uff0cslope\uff09", "only names, commas"),
        ("nd(slope,\nslope)", "only names, commas"),
        ("nd(slope,\x00slope)", "only names, commas"),
        ("nd(slope,slope)\u202e", "only names, commas"),
        ("{slope}", "only names, commas"),
        (f"nd(slope,{NESTED})", "more than 8 operations"),
        ("sum(" * 60, "more than 8 operations"),
        ("(" * 400, "is no operation"),
        ("a" * 401, "longer than 400"),
        ("sum(" * 10**6, "longer than 400"),
        ("sum(" + "a," * 70 + "a)", "more than 64 names"),
    ],
)
def test_other_texts_are_rejected(text, problem):
    with pytest.raises(Rejected, match=problem) as caught:
        parse_formula(text)
    assert caught.value.reason is Reason.BAD_MODEL
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 300
