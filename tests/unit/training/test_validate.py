from __future__ import annotations

import numpy as np
import pytest

from cropmask.errors import Rejected
from cropmask.region import Region, Training, load_region
from cropmask.training.figures import load_published
from cropmask.training.samples import load_coordinates, load_samples
from cropmask.training.validate import (
    coordinates_baseline,
    count_folds,
    cross_validate,
    place_clusters,
    rain_clusters,
    random_folds,
    validate,
)
from tests.shareddata import shared
from tests.unit.training.tables import make_samples

TRAINING = Training(trees=10, folds=3, cluster_km=50)
REGION = Region(
    name="valley", title="Valley", version="1.0.0", boundary="b.geojson", training=TRAINING
)


def places(rows: int) -> np.ndarray:
    """Eight villages, 200 km apart."""
    random = np.random.default_rng(1)
    village = random.integers(0, 8, rows)
    return np.stack([village * 200_000.0, np.zeros(rows)], 1) + random.normal(0, 5000, (rows, 2))


def test_every_kind_is_measured_and_repeats() -> None:
    samples, xy = make_samples(300), places(300)
    done: list[int] = []
    found = validate(REGION, samples, "forest", xy, done=lambda: done.append(1))
    assert len(done) == count_folds(REGION, xy) == 16
    assert [score.kind for score in found.scores] == ["random", "grouped", "spatial"]
    assert found.random.folds == 3
    assert found.random.groups is None
    assert found.grouped.groups == 40
    assert found.spatial is not None
    assert found.spatial.groups == 8
    for score in found.scores:
        assert score.balanced_accuracy.mean > 0.7
        assert 0 < score.brier.mean < 0.25
    assert found == validate(REGION, samples, "forest", xy)


def test_without_coordinates() -> None:
    found = validate(REGION, make_samples(120), "boosted")
    assert found.spatial is None
    assert found.coordinates_only is None
    assert count_folds(REGION, None) == 6


def test_no_signal_scores_one_half() -> None:
    samples = make_samples(600)
    shuffled = np.random.default_rng(0).permutation(samples.labels)
    noise = type(samples)(samples.names, samples.features, shuffled, "")
    folds = random_folds(600, 3)
    found = cross_validate("random", noise, folds, None, TRAINING, "forest", 1, lambda: None)
    assert abs(found.balanced_accuracy.mean - 0.5) < 0.06


def test_folds_are_the_published_ones() -> None:
    from sklearn.model_selection import KFold

    expected = KFold(n_splits=7, shuffle=True, random_state=0).split(np.zeros(100))
    for (train, test), (a, b) in zip(random_folds(100, 7), expected, strict=True):
        np.testing.assert_array_equal(train, a)
        np.testing.assert_array_equal(test, b)


def test_what_cannot_be_divided_is_refused() -> None:
    few = make_samples(300)
    few = type(few)(few.names, few.features[:5], few.labels[:5], "")
    with pytest.raises(Rejected, match="too few"):
        validate(REGION, few, "forest")
    dry = make_samples(60)
    dry.features[:, [15, 31]] = 0
    with pytest.raises(Rejected, match="same rain"):
        validate(REGION, dry, "forest")
    nowhere = REGION.model_copy(update={"training": Training(trees=2, folds=3)})
    with pytest.raises(Rejected, match="cluster_km"):
        validate(nowhere, make_samples(60), "forest", places(60))
    with pytest.raises(Rejected, match="fewer than 3 clusters"):
        validate(REGION, make_samples(60), "forest", places(60) / 1e4)


def test_rain_clusters_keep_cells_together() -> None:
    samples = make_samples(300)
    clusters = rain_clusters(samples)
    for cell in np.unique(samples.features[:, [15, 31]], axis=0):
        same = (samples.features[:, [15, 31]] == cell).all(axis=1)
        assert len(np.unique(clusters[same])) == 1


@pytest.mark.parametrize(
    ("region", "clusters"), [("eastern", 32), ("western", 18), ("northern", 31)]
)
def test_clusters_of_places_are_the_published_ones(region: str, clusters: int) -> None:
    samples = load_samples(shared(f"training/{region}.txt"))
    xy = load_coordinates(shared(f"coordinates/{region}.txt"), len(samples.labels))
    distance = load_region(region).training.cluster_km
    assert distance is not None
    assert len(np.unique(place_clusters(xy, distance))) == clusters


def test_coordinates_alone_score_high_on_random_folds() -> None:
    samples = load_samples(shared("training/eastern.txt"))
    xy = load_coordinates(shared("coordinates/eastern.txt"), len(samples.labels))
    assert coordinates_baseline(samples, xy, 10).accuracy.mean == pytest.approx(0.92, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["indian_ocean", "northern"])
def test_published_random_figures_are_reproduced(name: str) -> None:
    region, samples = load_region(name), load_samples(shared(f"training/{name}.txt"))
    published = next(cv for cv in load_published()[name].cross_validations if cv.kind == "random")
    found = cross_validate(
        "random",
        samples,
        random_folds(len(samples.labels), region.training.folds),
        None,
        region.training,
        "forest",
        1,
        lambda: None,
    )
    assert found.balanced_accuracy.mean == pytest.approx(published.balanced_accuracy, abs=0.02)
    assert found.f1.mean == pytest.approx(published.f1, abs=0.02)
    assert found.auc.mean == pytest.approx(published.auc, abs=0.02)
