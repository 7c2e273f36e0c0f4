from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.models import load_real_scene
from cropmask.core.applicability import find_dissimilarity, know_land
from cropmask.core.features import FEATURES, observed
from cropmask.core.forest import LEAF
from cropmask.core.formulas import compute_features
from cropmask.modelfile.model import check_probes, read_model, write_model
from cropmask.product import RECIPES, Recipe
from cropmask.region.region import Region, Training, load_region
from cropmask.training.fit import (
    RECIPE_FEATURES,
    find_known,
    fit,
    hyperparameters,
    make_estimator,
    measure_importance,
    probe_rows,
    recipe_features,
)
from cropmask.training.robust import groups_of
from cropmask.training.samples import load_samples
from tests.shareddata import shared
from tests.unit.training.tables import make_samples, walk

REGION = Region(
    name="valley",
    title="Valley",
    version="1.0.0",
    boundary="b.geojson",
    training=Training(trees=9, criterion="gini", max_features="all"),
)


@pytest.mark.parametrize("recipe", ["forest", "boosted"])
def test_a_fit_is_scikit_learns_and_repeats(tmp_path: Path, recipe: Recipe) -> None:
    samples = make_samples(200)
    found = fit(REGION, samples, recipe)
    estimator = make_estimator(recipe, REGION.training).fit(samples.features, samples.labels)
    expected = estimator.predict_proba(samples.features)[:, 1]
    np.testing.assert_allclose(walk(found.forest, samples.features), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        walk(found.forest, found.probes.x), found.probes.probability, rtol=0, atol=1e-12
    )
    assert found.manifest.training is not None
    assert found.manifest.training.sha256 == samples.sha256
    again = fit(REGION, samples, recipe, jobs=2)
    digests = {
        write_model(tmp_path / "m", model.forest, model.manifest, model.probes)
        for model in (found, again)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fit_knows_its_samples(tmp_path: Path, recipe: Recipe) -> None:
    samples = make_samples(400)
    found = fit(REGION, samples, recipe)
    known = found.applicability
    assert known is not None
    x = samples.compute(found.forest.features)
    used = [found.forest.features.index(name) for name in known.features]
    tested = set(found.forest.feature[found.forest.feature != LEAF].tolist())
    assert set(used) == tested, "what no tree asks for plays no part"
    np.testing.assert_array_equal(known.samples, np.unique(x[:, used], axis=0))
    np.testing.assert_allclose(known.center, x[:, used].mean(axis=0, dtype=np.float64))
    deviation = x[:, used].std(axis=0, dtype=np.float64, ddof=1)
    assert (known.factor * deviation).sum() == pytest.approx(1), "importances are shares"
    own = find_dissimilarity(know_land(known), x[:, used])
    np.testing.assert_array_equal(own, 0)
    far = find_dissimilarity(know_land(known), x[:5, used] + 100 * deviation.astype(np.float32))
    assert (far > known.threshold).all()
    path = tmp_path / "m.cropmodel"
    model = (found.forest, found.manifest, found.probes)
    write_model(path, *model, applicability=known)
    assert read_model(path).applicability is not None


def test_samples_of_one_group_know_no_land() -> None:
    samples = make_samples(200)
    groups = np.zeros(200, np.int64)
    estimator = make_estimator("forest", REGION.training).fit(samples.features, samples.labels)
    assert find_known(estimator, FEATURES, samples.features, groups) is None


def test_importance_of_boosted_trees_is_their_gain() -> None:
    """The second feature decides nothing, the first one nearly all."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (400, 3)).astype(np.float32)
    x[:, 1] = 7
    labels = ((x[:, 0] > 0) ^ (rng.random(400) < 0.02)).astype(np.uint8)
    found = measure_importance(make_estimator("boosted", REGION.training).fit(x, labels), 3)
    assert found[1] == 0
    assert found[0] > 0.7
    assert found.sum() == pytest.approx(1)


def test_hyperparameters_are_the_published_ones() -> None:
    assert hyperparameters("forest", load_region("sahel").training) == {
        "criterion": "entropy",
        "max_features": None,
        "n_estimators": 200,
        "random_state": 1,
    }
    eastern = hyperparameters("forest", load_region("eastern").training)
    assert (eastern["max_features"], eastern["n_estimators"]) == ("sqrt", 500)
    boosted = hyperparameters("boosted", load_region("eastern").training)
    assert (boosted["max_iter"], boosted["max_leaf_nodes"]) == (100, 31)
    assert boosted["early_stopping"] is False


def test_probes_are_of_both_classes() -> None:
    labels = np.array([0] * 500 + [1] * 60 + [0] * 40, np.uint8)
    rows = probe_rows(labels)
    assert len(rows) == len(set(rows)) == 32
    assert labels[rows].sum() == 16
    assert len(probe_rows(np.array([0, 1, 1], np.uint8))) == 3


@pytest.mark.parametrize("recipe", ["forest", "boosted"])
def test_the_committed_model_is_what_its_samples_give(recipe: Recipe) -> None:
    import sklearn

    region = load_region("indian_ocean")
    committed = read_model(region.model(recipe).file)
    if committed.manifest.software["scikit-learn"] != sklearn.__version__:
        pytest.skip("another scikit-learn than the one that fitted the model")
    samples = load_samples(shared("training/indian_ocean.txt"))
    found = fit(region, samples, recipe)
    assert found.manifest.training == committed.manifest.training
    for name in ("cuts", "offsets", "roots", "feature", "rank", "right", "leaves"):
        np.testing.assert_array_equal(getattr(found.forest, name), getattr(committed.forest, name))
    assert found.applicability is not None
    assert committed.applicability is not None
    np.testing.assert_array_equal(found.applicability.samples, committed.applicability.samples)
    # A product of matrices is summed in another order by another processor.
    assert found.applicability.threshold == pytest.approx(committed.applicability.threshold, 1e-9)


EXPRESSIONS = ("nd(nir_S2,red_S2)", "log(minimum(raw_bcdev_S1,raw_bcdev_S2))", "NDVI_S1", "slope")


@pytest.mark.parametrize("recipe", ["forest", "boosted"])
def test_a_recipe_names_its_features(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recipe_features(recipe) == FEATURES
    monkeypatch.setitem(RECIPE_FEATURES, recipe, EXPRESSIONS)
    samples = make_samples(200)
    found = fit(REGION, samples, recipe)
    x = samples.compute(EXPRESSIONS)
    estimator = make_estimator(recipe, REGION.training).fit(x, samples.labels)
    np.testing.assert_allclose(
        walk(found.forest, x), estimator.predict_proba(x)[:, 1], rtol=0, atol=1e-12
    )
    path = tmp_path / "own.cropmodel"
    write_model(path, found.forest, found.manifest, found.probes)
    read = read_model(path)
    assert read.forest.features == EXPRESSIONS
    assert check_probes(read.forest, read.probes, path).startswith("32 probes reproduced")


def test_belgium_is_outside_the_training_data_of_northern_africa() -> None:
    """Real pixels, real samples: every distance in plain numpy, as the paper has it."""
    strip = load_real_scene(shared("hesbaye"))
    assert strip is not None
    samples = load_samples(shared("training/northern.txt"))
    groups, _ = groups_of(samples, np.loadtxt(shared("coordinates/northern.txt")))
    estimator = make_estimator("forest", load_region("northern").training)
    estimator.fit(samples.features, samples.labels)
    known = find_known(estimator, FEATURES, samples.features, groups)
    assert known is not None
    assert known.features == FEATURES
    pixels = compute_features(FEATURES, strip).reshape(len(FEATURES), -1).T
    pixels = pixels[observed(strip.first).ravel() & observed(strip.second).ravel()]
    found = find_dissimilarity(know_land(known), pixels)
    assert (found > known.threshold).mean() > 0.95
    x = samples.features.astype(np.float64)
    weight = estimator.feature_importances_ / x.std(axis=0, ddof=1)
    scaled, rows = (x - x.mean(axis=0)) * weight, (pixels[::20] - x.mean(axis=0)) * weight
    pairs = [np.sqrt(((scaled - row) ** 2).sum(axis=1)).sum() for row in scaled]
    mean = np.sum(pairs) / (len(x) * (len(x) - 1))
    nearest = [np.sqrt(((scaled - row) ** 2).sum(axis=1)).min() for row in rows]
    np.testing.assert_allclose(found[::20], nearest / mean, atol=1e-5, rtol=0)
