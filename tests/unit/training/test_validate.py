from __future__ import annotations

import numpy as np
import pytest

from cropmask.errors import Rejected
from cropmask.region.region import Region, Training, load_region
from cropmask.training.figures import Scores, load_published
from cropmask.training.folds import find_groups, random_folds
from cropmask.training.samples import Samples, load_coordinates, load_samples
from cropmask.training.validate import (
    Design,
    _Trial,
    count_folds,
    score_coordinates,
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
    assert len(done) == count_folds(REGION, xy) == 3 + 15 + 5 + 10
    assert [score.kind for score in found.scores] == ["random", "grouped", "buffered", "spatial"]
    assert [score.by for score in found.scores] == [None, "place", "place", "place"]
    assert [score.km for score in found.scores] == [None, 100, 100, 50]
    assert [score.buffer_km for score in found.scores] == [None, None, 50, None]
    assert [score.folds for score in found.scores] == [3, 15, 5, 10]
    assert [score.groups for score in found.scores] == [None, 8, 8, 8]
    for score in found.scores:
        assert score.balanced_accuracy.mean > 0.7
        assert 0 < score.brier.mean < 0.25
        assert score.coordinates_only is not None
        assert score.coordinates_only.balanced_accuracy.mean < score.balanced_accuracy.mean
    assert found.calibration is not None
    assert (found.calibration.folds, found.calibration.samples) == (15, 300)
    assert found.doubt is not None
    parts = {"random", "grouped", "buffered", "spatial", "calibration", "doubt"}
    assert found.model_dump().keys() == parts, "a threshold is one half here, and has no figures"
    assert found == validate(REGION, samples, "forest", xy)
    assert found == type(found).model_validate_json(found.model_dump_json())


def test_without_coordinates_like_land_stands_for_places() -> None:
    found = validate(REGION, make_samples(120), "boosted")
    assert found.grouped.by == "terrain"
    assert found.grouped.km is None
    assert (found.buffered, found.spatial) == (None, None)
    assert all(score.coordinates_only is None for score in found.scores)
    assert count_folds(REGION, None) == 18


def test_places_that_are_too_near_are_no_groups() -> None:
    samples = make_samples(120)
    near = places(120) / 1e4
    assert find_groups(samples, near)[1] == "terrain"
    assert find_groups(samples, places(120))[1] == "place"
    nowhere = REGION.model_copy(update={"training": Training(trees=2, folds=3)})
    found = validate(nowhere, samples, "forest", near)
    assert (found.grouped.by, found.buffered, found.spatial) == ("terrain", None, None)
    assert found.grouped.coordinates_only is not None


def test_the_baseline_sees_the_same_folds_and_nothing_but_places() -> None:
    samples, xy = make_samples(300), places(300)
    folds = list(random_folds(300, 3))
    accuracy = []
    for train, test in folds:
        right = 0
        for row in test:
            near = train[np.argsort(np.hypot(*(xy[train] - xy[row]).T))[:5]]
            right += (samples.labels[near].sum() > 2.5) == samples.labels[row]
        accuracy.append(right / len(test))
    found = score_coordinates(samples, xy, folds).accuracy
    assert found.mean == pytest.approx(np.mean(accuracy), abs=1e-4)
    assert found.sd == pytest.approx(np.std(accuracy), abs=1e-4)


def score(samples: Samples, training: Training, count: int) -> Scores:
    """Scores of the forest on random folds alone."""
    groups, _ = find_groups(samples, None)
    trial = _Trial(samples, "forest", training, groups, None, 1, lambda: None)
    return trial.run(Design("random", random_folds(len(samples.labels), count)))[0]


def test_no_signal_scores_one_half() -> None:
    samples = make_samples(600)
    shuffled = np.random.default_rng(0).permutation(samples.labels)
    noise = type(samples)(samples.names, samples.features, shuffled, "")
    found = score(noise, TRAINING, 3)
    assert abs(found.balanced_accuracy.mean - 0.5) < 0.06


def test_what_cannot_be_divided_is_refused() -> None:
    few = make_samples(300)
    few = type(few)(few.names, few.features[:5], few.labels[:5], "")
    with pytest.raises(Rejected, match="too few"):
        validate(REGION, few, "forest")
    dry = make_samples(60)
    dry.features[:, [15, 31, 32]] = 0
    with pytest.raises(Rejected, match="same rain and slope"):
        validate(REGION, dry, "forest")
    with pytest.raises(Rejected, match="fewer than 3 clusters"):
        validate(REGION, make_samples(60), "forest", places(60) / 1e4)


def test_coordinates_alone_score_high_on_random_folds() -> None:
    samples = load_samples(shared("training/eastern.txt"))
    xy = load_coordinates(shared("coordinates/eastern.txt"), len(samples.labels))
    folds = random_folds(len(samples.labels), 10)
    assert score_coordinates(samples, xy, folds).accuracy.mean == pytest.approx(0.92, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["indian_ocean", "northern"])
def test_published_random_figures_are_reproduced(name: str) -> None:
    region, samples = load_region(name), load_samples(shared(f"training/{name}.txt"))
    published = next(cv for cv in load_published()[name].cross_validations if cv.kind == "random")
    found = score(samples, region.training, region.training.folds)
    assert found.balanced_accuracy.mean == pytest.approx(published.balanced_accuracy, abs=0.02)
    assert found.f1.mean == pytest.approx(published.f1, abs=0.02)
    assert found.auc.mean == pytest.approx(published.auc, abs=0.02)
