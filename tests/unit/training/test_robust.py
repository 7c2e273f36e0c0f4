from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cropmask.core.features import FEATURES
from cropmask.core.formulas import compute_features, compute_rows
from cropmask.core.strips import DEVIATION, REFLECTANCE, Half, Strip
from cropmask.region.region import Region, Training
from cropmask.training import robust
from cropmask.training.fit import fit, predict_held_out
from cropmask.training.folds import grouped_folds
from cropmask.training.paired import compare, pair_rows, pairs_text, plan_comparison
from cropmask.training.robust import CANDIDATES, FEATURE_LISTS, choose, fit_robust, groups_of
from cropmask.training.samples import Samples

REGION = Region(
    name="valley",
    title="Valley",
    version="1.0.0",
    boundary="b.geojson",
    training=Training(trees=10, folds=3),
)


def make_world(rows: int = 400, villages: int = 12) -> tuple[Samples, np.ndarray]:
    """Villages 200 km apart, whose light and rain tell which they are, and most fields of which are
    of one class; the class itself is in the ratio of nir to red only."""
    random = np.random.default_rng(3)
    village = random.integers(0, villages, rows)
    crop = random.random(rows) < np.where(village % 2, 0.85, 0.15)
    light = (0.4 + 1.2 * village / villages)[:, None] * random.normal(1, 0.02, (rows, 1))
    x = np.zeros((rows, len(FEATURES)), np.float32)
    for half in ("S1", "S2"):
        ratio = np.where(crop, 0.55, 0.35) + random.normal(0, 0.12, rows)
        bands = np.full((rows, len(REFLECTANCE)), 0.2) * random.normal(1, 0.03, (rows, 9)) * light
        red, nir = (REFLECTANCE.index(name) for name in ("red", "nir"))
        bands[:, nir] = bands[:, red] * (1 + ratio) / (1 - ratio)
        for place, name in enumerate(REFLECTANCE):
            x[:, FEATURES.index(f"{name}_{half}")] = bands[:, place]
        for name in DEVIATION:
            x[:, FEATURES.index(f"{name}_{half}")] = random.normal(3, 0.3, rows)
        x[:, FEATURES.index(f"rain_{half}")] = 300 + 40 * village
    x[:, FEATURES.index("slope")] = random.random(rows) * 5
    xy = np.stack([village * 200_000.0, np.zeros(rows)], 1) + random.normal(0, 5000, (rows, 2))
    return Samples(FEATURES, x, crop.astype(np.uint8), "0" * 64), xy


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    boosted = replace(
        CANDIDATES[0],
        settings=(("max_iter", 10), ("max_leaf_nodes", 4), ("early_stopping", False)),
    )
    extra = replace(CANDIDATES[3], settings=(("n_estimators", 5), ("min_samples_leaf", 5)))
    monkeypatch.setattr(robust, "CANDIDATES", (boosted, extra))


def test_it_beats_the_forest_where_levels_only_tell_the_place() -> None:
    samples, xy = make_world()
    done: list[int] = []
    plan = plan_comparison(REGION, samples, xy, groupings=2)
    pairs = compare(plan, ["forest", "robust"], done=lambda: done.append(1))
    assert len(done) == plan.count == 20
    assert [pair.held_out for pair in pairs] == [
        "places of 100 km",
        "places of 100 km, and 50 km around them",
    ]
    for pair in pairs:
        assert pair.recipe == "robust"
        assert pair.wins == pair.groupings == 2
        assert pair.difference > 0.03
        assert pair.low <= pair.difference <= pair.high
        assert pair.difference == pytest.approx(pair.balanced_accuracy - pair.forest, abs=2e-4)
    rows = list(pair_rows(pairs))
    assert len(rows) == 3
    assert rows[1][-1] == "2 of 2"
    assert "5 candidates" in pairs_text(pairs)


def test_without_places_land_of_like_rain_and_slope_is_held_out() -> None:
    samples, _ = make_world(300)
    plan = plan_comparison(REGION, samples, groupings=2)
    terrain = [compare(plan, ["robust"], jobs=jobs) for jobs in (1, 2)]
    assert terrain[0] == terrain[1]
    assert [pair.held_out for pair in terrain[0]] == ["land of like rain and slope"]
    groups, by = groups_of(samples, None)
    assert by == "land of like rain and slope"
    assert groups_of(samples, np.zeros((300, 2)))[1] == by
    chosen = choose(samples, groups, by)
    assert len(chosen.scores) == 2
    assert 0.2 <= chosen.threshold <= 0.8
    assert chosen == choose(samples, groups, by)


def test_what_is_held_out_is_not_looked_at() -> None:
    samples, xy = make_world(400)
    groups, by = groups_of(samples, xy)
    train, test = grouped_folds(groups, 4, 0)[0]
    features, labels = samples.features.copy(), samples.labels.copy()
    features[test] = features[test][::-1] * 3
    labels[test] = 1 - labels[test]
    changed = replace(samples, features=features, labels=labels)
    assert choose(samples, groups, by, train) == choose(changed, groups, by, train)
    a, b = (fit_robust(s, groups, by, train).crop(samples, test) for s in (samples, changed))
    np.testing.assert_array_equal(a, b)
    found = predict_held_out(REGION.training, samples, "robust", groups, train, test)
    np.testing.assert_array_equal(found, a)


def test_duplicate_rows_lie_in_one_group() -> None:
    samples, xy = make_world(200)
    features = samples.features.copy()
    twin = int(np.argmax(np.abs(xy[:, 0] - xy[0, 0])))
    features[twin] = features[0]
    groups, _ = groups_of(replace(samples, features=features), xy)
    assert groups[twin] == groups[0]
    assert groups_of(samples, xy)[0][twin] != groups_of(samples, xy)[0][0]


def test_the_model_repeats_and_says_what_was_chosen() -> None:
    samples, xy = make_world(300)
    fitted = fit(REGION, samples, "robust", coordinates=xy)
    again = fit(REGION, samples, "robust", coordinates=xy)
    settings = fitted.manifest.hyperparameters
    assert settings == again.manifest.hyperparameters
    assert settings["threshold"] == fitted.forest.threshold
    assert settings["candidates"] == 2
    assert settings["chosen_on"] == "3 folds of places of 100 km"
    np.testing.assert_array_equal(fitted.forest.leaves, again.forest.leaves)
    half = fit(REGION, samples, "robust", coordinates=xy, threshold=0.5)
    assert half.forest.threshold == 0.5
    of_half = half.manifest.hyperparameters
    assert of_half["held_out_crop_percent"] == settings["held_out_crop_percent_at_half"]
    assert fit(REGION, samples, "boosted", threshold=0.4).forest.threshold == 0.4


def test_a_later_candidate_needs_a_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, xy = make_world(300)
    groups, by = groups_of(samples, xy)
    monkeypatch.setattr(robust, "LEAD", 1.0)
    assert choose(samples, groups, by).candidate == robust.CANDIDATES[0]


@pytest.mark.parametrize("texts", FEATURE_LISTS.values(), ids=list(FEATURE_LISTS))
def test_features_of_rows_are_those_of_pixels(texts: tuple[str, ...]) -> None:
    assert len(texts) <= 42
    random = np.random.default_rng(5)
    halves = [
        Half(
            random.integers(1, 6000, (9, 4, 5)).astype(np.uint16),
            np.exp(-random.normal(4, 1, (3, 4, 5))).astype(np.float32),
        )
        for _ in range(2)
    ]
    for half in halves:
        half.deviation[DEVIATION.index("edev")] *= 1e4
    rain = random.uniform(100, 900, (2, 4, 5)).astype(np.float32)
    strip = Strip(0, *halves, rain, random.uniform(0, 9, (4, 5)).astype(np.float32))
    rows = compute_features(FEATURES, strip).reshape(len(FEATURES), -1).T
    pixels = compute_features(texts, strip).reshape(len(texts), -1).T
    np.testing.assert_allclose(compute_rows(texts, FEATURES, rows), pixels, rtol=2e-5, atol=2e-6)


def test_no_feature_is_a_level_or_a_stored_index() -> None:
    for name, texts in FEATURE_LISTS.items():
        for text in texts:
            assert not any(index in text for index in ("NDVI", "LAI", "MNDWI"))
            assert text.startswith(
                ("nd(", "maximum(nd", "minimum(nd", "difference(nd", "log(")
            ) or (text == "slope" or ("rain" in name and text.startswith("rain_")))
