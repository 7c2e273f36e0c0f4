"""A tile's computation against scikit-learn and plain numpy, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from cropmask.core.cropmap import statistics
from cropmask.core.features import FEATURES, features, ndvi, observed, reflectance
from cropmask.core.forest import Forest
from cropmask.core.mapper import classify_layers, map_crops
from cropmask.core.ranker import make_ranker
from cropmask.core.stretch import NODATA_NDVI
from cropmask.core.strips import Half, Strip
from cropmask.errors import Rejected
from tests.scenes import SceneLayers, make_scene
from tests.unit.core.test_engine import fitted


@cache
def scene() -> SceneLayers:
    return make_scene(seed=7)


def expected_percent(name: str, need_both: bool = False) -> NDArray[np.float64]:
    """scikit-learn on the 33-band array that the mapper never makes."""
    estimator, _ = fitted(name)
    whole = scene().whole
    x = features(whole).reshape(len(FEATURES), -1).T
    p = estimator.predict_proba(x)[:, 1].reshape(scene().shape)
    percent = np.rint(100 * p)
    percent = np.where(p > 0.5, np.maximum(percent, 51), np.minimum(percent, 50))
    seen = [observed(whole.first), observed(whole.second)]
    return np.where(seen[0] & seen[1] if need_both else seen[0] | seen[1], percent, 255)


@pytest.mark.parametrize("name", ["pure", "impure leaves", "boosted"])
@pytest.mark.parametrize("rows", [1000, 16, 13])
def test_probability_is_scikit_learns_for_strips_of_any_height(name: str, rows: int) -> None:
    _, forest = fitted(name)
    out = classify_layers(scene(), forest, rows=rows, threads=2)
    assert_array_equal(out.prob, expected_percent(name))


@pytest.mark.parametrize("name", ["pure", "even number of trees", "impure leaves", "boosted"])
@pytest.mark.parametrize("threshold", [0.1, 0.375, 0.4, 0.62, 0.9])
def test_another_threshold_moves_the_odds_and_decides_strictly(name: str, threshold: float) -> None:
    estimator, forest = fitted(name)
    x = features(scene().whole).reshape(len(FEATURES), -1).T
    p = estimator.predict_proba(x)[:, 1].reshape(scene().shape)
    odds = np.divide(p, 1 - p, out=np.full(p.shape, np.inf), where=p < 1)
    odds *= (1 - threshold) / threshold
    moved = 100 * np.divide(odds, 1 + odds, out=np.ones(p.shape), where=np.isfinite(odds))
    out = classify_layers(scene(), replace(forest, threshold=threshold))
    seen = out.prob != 255
    assert_array_equal((out.prob > 50)[seen], (p > threshold)[seen])
    off = np.abs(out.prob - moved)[seen]
    assert off.max() <= 1 + 1e-9, "clamped around one half"
    assert np.mean(off > 0.5 + 1e-9) < 0.05


def test_a_pixel_may_need_both_halves() -> None:
    _, forest = fitted("pure")
    out = classify_layers(scene(), forest, need_both=True)
    assert_array_equal(out.prob, expected_percent("pure", need_both=True))
    assert (out.prob == 255).sum() > (expected_percent("pure") == 255).sum()


def test_ndvi_for_the_segments() -> None:
    _, forest = fitted("stumps")
    out = classify_layers(scene(), forest)
    for half, got in zip((scene().whole.first, scene().whole.second), out.ndvi, strict=True):
        red, nir = reflectance(half.reflectance[2]), reflectance(half.reflectance[3])
        exact = np.nan_to_num(ndvi(red, nir) * np.float32(10_000))
        assert_array_equal(got, np.where(out.prob == 255, NODATA_NDVI, np.rint(exact)))


def on_the_cuts(forest: Forest, seed: int) -> SceneLayers:
    """Raw values that lie exactly on, just below and just above thresholds in raw space."""
    rng = np.random.default_rng(seed)
    ranker = make_ranker(forest)
    base = scene().whole
    halves = []
    for number, half in enumerate((base.first, base.second)):
        deviation = half.deviation.copy()
        for k in range(3):
            f = int(np.flatnonzero(ranker.source == 16 * number + 9 + k)[0])
            cuts = ranker.cuts[ranker.starts[f] : ranker.starts[f + 1] - 1]
            if cuts.size:
                picked = rng.choice(cuts, deviation[k].shape)
                step = rng.integers(-1, 2, picked.shape)
                toward = np.where(step < 0, -np.inf, np.inf).astype(np.float32)
                deviation[k] = np.where(step == 0, picked, np.nextafter(picked, toward))
        halves.append(Half(half.reflectance, deviation))
    return SceneLayers(Strip(0, halves[0], halves[1], base.rain, base.slope), scene().cause)


def test_thresholds_in_raw_space_are_exact() -> None:
    estimator, forest = fitted("pure")
    layers = on_the_cuts(forest, 11)
    x = features(layers.whole).reshape(len(FEATURES), -1).T
    p = estimator.predict_proba(x)[:, 1].reshape(layers.shape)
    out = classify_layers(layers, forest)
    seen = out.prob != 255
    assert_array_equal((out.prob > 50)[seen], (p > 0.5)[seen])
    assert np.abs(out.prob - 100 * p)[seen].max() <= 1


def test_bands_agree_and_masks_reach_all_of_them() -> None:
    _, forest = fitted("pure")
    result, figures = map_crops(scene(), forest)
    nodata = (scene().cause != 0) | (expected_percent("pure") == 255)
    for band in (result.mask, result.prob, result.filtered):
        assert band.dtype == np.uint8
        assert_array_equal(band == 255, nodata)
    assert_array_equal((result.prob > 50)[~nodata], (result.mask == 1)[~nodata])
    assert figures.crop_hectares == np.count_nonzero(result.mask == 1) / 100
    assert figures.crop_filtered_hectares == np.count_nonzero(result.filtered == 1) / 100


def test_pixels_that_are_masked_later_do_vote() -> None:
    _, forest = fitted("pure")
    open_scene = SceneLayers(scene().whole, np.zeros(scene().shape, np.uint8))
    free, _ = map_crops(open_scene, forest)
    masked, _ = map_crops(scene(), forest)
    kept = scene().cause == 0
    assert_array_equal(masked.filtered[kept], free.filtered[kept])


def test_strips_and_threads_change_nothing() -> None:
    _, forest = fitted("boosted")
    first, figures = map_crops(scene(), forest)
    for rows, threads in ((7, 1), (40, 3)):
        again, same = map_crops(scene(), forest, rows=rows, threads=threads, beside=threads > 1)
        for name in ("mask", "prob", "filtered"):
            assert_array_equal(getattr(again, name), getattr(first, name))
        assert same == figures


@pytest.mark.parametrize("beside", [False, True])
def test_bands_are_handed_over_when_they_are_final(beside: bool) -> None:
    _, forest = fitted("pure")
    got: dict[str, NDArray[np.uint8]] = {}
    workspace = np.full(scene().shape, -1, np.int32)
    result, _ = map_crops(
        scene(),
        forest,
        beside=beside,
        workspace=workspace,
        sink=lambda name, band: got.update({name: band.copy()}),
    )
    assert set(got) == {"mask", "prob", "filtered"}
    for name, band in got.items():
        assert_array_equal(band, getattr(result, name))
    assert workspace.max() > 1  # the segments


def test_a_model_may_use_fewer_features_in_another_order() -> None:
    from sklearn.ensemble import RandomForestClassifier

    from cropmask.training.fit import convert

    x = features(scene().whole).reshape(len(FEATURES), -1).T
    chosen = [32, 12, 28, 3, 26, 31]
    y = (x[:, 12] > 0.2).astype(int)
    estimator = RandomForestClassifier(15, random_state=1).fit(x[::4, chosen], y[::4])
    forest = convert(estimator, [FEATURES[i] for i in chosen])
    p = estimator.predict_proba(x[:, chosen])[:, 1].reshape(scene().shape)
    out = classify_layers(scene(), forest)
    seen = out.prob != 255
    assert_array_equal((out.prob > 50)[seen], (p > 0.5)[seen])


def test_an_unknown_feature_is_refused() -> None:
    _, forest = fitted("stumps")
    with pytest.raises(Rejected, match="'moon'"):
        make_ranker(replace(forest, features=("moon", *FEATURES[1:])))


def test_statistics_by_hand() -> None:
    prob = np.array([[0, 100, 60, 255], [50, 255, 255, 10]], np.uint8)
    mask = np.array([[0, 1, 1, 255], [0, 255, 255, 0]], np.uint8)
    cause = np.array([[0, 0, 0, 1], [0, 3, 0, 0]], np.uint8)
    single = np.packbits(np.array([[0, 1, 0, 1], [0, 0, 0, 0]], bool), axis=1)
    figures = statistics(prob, mask, cause, single, 10_000.0)
    assert figures.mapped_hectares == 5
    assert figures.crop_hectares == 2
    assert figures.mean_probability == 44
    assert figures.missing_hectares == 1
    assert figures.half_missing_hectares == 1
    assert (figures.outside_hectares, figures.water_hectares) == (1, 1)
    assert figures.protected_hectares == figures.steep_hectares == figures.high_hectares == 0
