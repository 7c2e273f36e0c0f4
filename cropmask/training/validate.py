"""Cross-validation: the published random one, and two that hold out whole neighborhoods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score, roc_auc_score
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold
from sklearn.neighbors import KNeighborsClassifier

from cropmask.errors import Rejected
from cropmask.product import Recipe
from cropmask.region import Region, Training
from cropmask.training.figures import Coordinates, Figure, Kind, Scores, Validation
from cropmask.training.fit import SEED, limit_threads, make_estimator, recipe_features
from cropmask.training.samples import Samples

RAIN_CLUSTERS: Final = 60
SPATIAL_SPLITS: Final = 10
HELD_OUT: Final = 0.2
"""Share of the spatial clusters that each split holds out."""
NEIGHBORS: Final = 5
FIGURE_DECIMALS: Final = 4

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
Done = Callable[[], object]


def validate(
    region: Region,
    samples: Samples,
    recipe: Recipe,
    coordinates: NDArray[np.float64] | None = None,
    *,
    jobs: int = 1,
    done: Done = lambda: None,
) -> Validation:
    """Cross-validate a recipe; the same input gives the same figures.

    Parameters
    ----------
    region
        Its training settings give hyperparameters, folds and cluster distance.
    samples
        All rows take part.
    recipe
        ``forest`` or ``boosted``.
    coordinates
        ``(row, 2)`` EPSG:6933 meters, for the spatial cross-validation.
    jobs
        CPUs to use.
    done
        Called after each fold; there are :func:`count_folds` of them.

    Raises
    ------
    Rejected
        If the samples cannot be divided into the folds.
    """
    count = region.training.folds
    if len(samples.labels) < 2 * count:
        raise Rejected(f"{len(samples.labels)} samples are too few for {count} folds")
    with limit_threads():
        rain = rain_clusters(samples)
    grouped = min(count, len(np.unique(rain)))
    if grouped < 2:
        raise Rejected("all samples have the same rain: they make no groups to hold out")

    def score(kind: Kind, folds: Iterable[Fold], groups: NDArray[np.int64] | None) -> Scores:
        return cross_validate(kind, samples, folds, groups, region.training, recipe, jobs, done)

    only = None if coordinates is None else coordinates_baseline(samples, coordinates, count)
    with limit_threads():
        return Validation(
            random=score("random", random_folds(len(samples.labels), count), None),
            grouped=score("grouped", _group_folds(GroupKFold(grouped), rain), rain),
            spatial=_spatial(region, coordinates, score),
            coordinates_only=only,
        )


def cross_validate(
    kind: Kind,
    samples: Samples,
    folds: Iterable[Fold],
    groups: NDArray[np.int64] | None,
    training: Training,
    recipe: Recipe,
    jobs: int,
    done: Done,
) -> Scores:
    """Scores on folds, which are training rows and test rows; one without both classes is left out.

    ``groups`` has the cluster ``(row,)`` that the folds keep whole.
    """
    rows = []
    x = samples.compute(recipe_features(recipe))
    for train, test in folds:
        if len(np.unique(samples.labels[train])) == len(np.unique(samples.labels[test])) == 2:
            estimator = make_estimator(recipe, training, jobs)
            estimator.fit(x[train], samples.labels[train])
            crop = estimator.predict_proba(x[test])[:, 1]
            rows.append(_measure(samples.labels[test], crop))
        done()
    if not rows:
        raise Rejected(f"no {kind} fold of the samples has both classes: more samples are needed")
    accuracy, f1, auc, brier = (_figure(column) for column in zip(*rows, strict=True))
    return Scores(
        kind=kind,
        folds=len(rows),
        groups=None if groups is None else len(np.unique(groups)),
        balanced_accuracy=accuracy,
        f1=f1,
        auc=auc,
        brier=brier,
    )


def count_folds(region: Region, coordinates: NDArray[np.float64] | None) -> int:
    """How many models `validate` fits at most."""
    return 2 * region.training.folds + (SPATIAL_SPLITS if coordinates is not None else 0)


def random_folds(rows: int, count: int) -> Iterator[Fold]:
    """The published folds: shuffled rows, seed 0."""
    return iter(KFold(count, shuffle=True, random_state=0).split(np.zeros(rows)))


def rain_clusters(samples: Samples) -> NDArray[np.int64]:
    """Cluster ``(row,)`` of like rainfall in both half-years: a stand-in for place.

    Rain comes from cells of about 5 km, so neighbors share it; every sample has it, whether or
    not its coordinates are known.
    """
    columns = [samples.names.index(name) for name in ("rain_S1", "rain_S2")]
    rain = samples.features[:, columns].astype(np.float64)
    clusters = min(RAIN_CLUSTERS, len(np.unique(rain, axis=0)))
    found = KMeans(clusters, n_init=10, random_state=SEED).fit_predict(rain)
    return np.asarray(found, np.int64)


def place_clusters(coordinates: NDArray[np.float64], cluster_km: float) -> NDArray[np.int64]:
    """Cluster ``(row,)`` of places: complete linkage, cut at a distance."""
    clustering = AgglomerativeClustering(
        n_clusters=None, linkage="complete", distance_threshold=cluster_km * 1000
    )
    return np.asarray(clustering.fit_predict(coordinates), np.int64)


def coordinates_baseline(
    samples: Samples, coordinates: NDArray[np.float64], count: int
) -> Coordinates:
    """Score the 5-nearest-neighbor on coordinates alone, on the published random folds."""
    accuracy, balanced = [], []
    for train, test in random_folds(len(samples.labels), count):
        model = KNeighborsClassifier(NEIGHBORS).fit(coordinates[train], samples.labels[train])
        found = model.predict(coordinates[test])
        accuracy.append(float(np.mean(found == samples.labels[test])))
        balanced.append(float(balanced_accuracy_score(samples.labels[test], found)))
    return Coordinates(accuracy=_figure(accuracy), balanced_accuracy=_figure(balanced))


def _spatial(
    region: Region,
    coordinates: NDArray[np.float64] | None,
    score: Callable[[Kind, Iterable[Fold], NDArray[np.int64]], Scores],
) -> Scores | None:
    if coordinates is None:
        return None
    if region.training.cluster_km is None:
        raise Rejected(
            f"region {region.name} has no distance for the spatial cross-validation: set "
            "'cluster_km' in the training table of its region.toml, or leave out --coordinates"
        )
    clusters = place_clusters(coordinates, region.training.cluster_km)
    if len(np.unique(clusters)) < 3:
        raise Rejected(
            f"the coordinates make fewer than 3 clusters of {region.training.cluster_km:g} km: "
            "set a smaller 'cluster_km' in region.toml, or leave out --coordinates"
        )
    splitter = GroupShuffleSplit(SPATIAL_SPLITS, test_size=HELD_OUT, random_state=SEED)
    return score("spatial", _group_folds(splitter, clusters), clusters)


def _group_folds(splitter: Any, groups: NDArray[np.int64]) -> Iterator[Fold]:  # noqa: ANN401
    return iter(splitter.split(np.zeros(len(groups)), groups=groups))


def _measure(
    labels: NDArray[np.uint8], crop: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    found = crop > 0.5
    return (
        float(balanced_accuracy_score(labels, found)),
        float(f1_score(labels, found, zero_division=0)),
        float(roc_auc_score(labels, crop)),
        float(brier_score_loss(labels, crop)),
    )


def _figure(values: Iterable[float]) -> Figure:
    numbers = np.fromiter(values, np.float64)
    return Figure(
        mean=round(float(numbers.mean()), FIGURE_DECIMALS),
        sd=round(float(numbers.std()), FIGURE_DECIMALS),
    )
