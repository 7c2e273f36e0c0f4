"""Cross-validation: the published random one, and those that hold out whole neighborhoods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from cropmask.errors import Rejected
from cropmask.product import Recipe
from cropmask.region.region import Region, Training
from cropmask.training.calibrate import HeldOut, calibrate, measure_doubt
from cropmask.training.figures import (
    Coordinates,
    GroupedBy,
    Kind,
    Scores,
    Validation,
    make_figure,
)
from cropmask.training.fit import limit_threads, predict_held_out
from cropmask.training.folds import (
    BUFFER_KM,
    GROUP_KM,
    GROUPED_COUNT,
    SPATIAL_SPLITS,
    Fold,
    SampleGroups,
    buffered_folds,
    find_groups,
    grouped_folds,
    join_duplicates,
    place_groups,
    random_folds,
    spatial_folds,
)
from cropmask.training.samples import Samples

GROUPINGS: Final = 3
"""Ways to put the groups into folds: figures of one alone depend on its luck."""
NEIGHBORS: Final = 5
HALF: Final = 0.5
"""Threshold of all that is validated: predictions of the robust recipe have their odds moved."""

Done = Callable[[], object]


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Folds of one kind, and what they keep whole."""

    kind: Kind
    folds: Iterable[Fold]
    groups: SampleGroups | None = None
    by: GroupedBy | None = None
    km: float | None = None
    buffer_km: float | None = None


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

    Calibration and doubt are measured with the predictions of the grouped folds.

    Parameters
    ----------
    region
        Its training settings give hyperparameters, folds and the published distance.
    samples
        All rows take part.
    recipe
        Any one that can be trained.
    coordinates
        ``(row, 2)`` EPSG:6933 meters, to hold out places.
    jobs
        CPUs to use.
    done
        Called after each fold; there are at most :func:`count_folds` of them.

    Raises
    ------
    Rejected
        If the samples cannot be divided into the folds.
    """
    count = region.training.folds
    if len(samples.labels) < 2 * count:
        raise Rejected(f"{len(samples.labels)} samples are too few for {count} folds")
    with limit_threads():
        spatial = _spatial(region, samples, coordinates)
        groups, by = find_groups(samples, coordinates)
        trial = _Trial(samples, recipe, region.training, groups, coordinates, jobs, done)
        groupings = [grouped_folds(groups, GROUPED_COUNT, seed) for seed in range(GROUPINGS)]
        random, _ = trial.run(Design("random", random_folds(len(samples.labels), count)))
        flat = [fold for folds in groupings for fold in folds]
        km = GROUP_KM if by == "place" else None
        grouped, held = trial.run(Design("grouped", flat, groups, by, km))
        sizes = np.cumsum([len(folds) for folds in groupings])[:-1]
        parts = [[h for h in part if h] for part in _split(held, sizes.tolist())]
        buffered = None
        if by == "place" and coordinates is not None:
            near = buffered_folds(coordinates, groups, GROUPED_COUNT, 0)
            buffered = trial.run_if(Design("buffered", near, groups, by, km, BUFFER_KM))
        return Validation(
            random=random,
            grouped=grouped,
            buffered=buffered,
            spatial=None if spatial is None else trial.run(spatial)[0],
            calibration=calibrate(parts, HALF),
            doubt=measure_doubt(parts, HALF),
        )


def count_folds(region: Region, coordinates: NDArray[np.float64] | None) -> int:
    """How many models `validate` fits at most."""
    count = region.training.folds + GROUPINGS * GROUPED_COUNT
    if coordinates is not None:
        count += GROUPED_COUNT
        count += SPATIAL_SPLITS if region.training.cluster_km is not None else 0
    return count


def score_coordinates(
    samples: Samples, coordinates: NDArray[np.float64], folds: Iterable[Fold]
) -> Coordinates:
    """Score the vote of the 5 nearest training rows by coordinates alone, on given folds."""
    accuracy, balanced = [], []
    for train, test in folds:
        model = KNeighborsClassifier(min(NEIGHBORS, len(train)))
        found = model.fit(coordinates[train], samples.labels[train]).predict(coordinates[test])
        accuracy.append(float(np.mean(found == samples.labels[test])))
        balanced.append(float(balanced_accuracy_score(samples.labels[test], found)))
    return Coordinates(accuracy=make_figure(accuracy), balanced_accuracy=make_figure(balanced))


@dataclass(slots=True)
class _Trial:
    """One recipe on one set of samples; odds of ``robust`` are moved to one half fold by fold."""

    samples: Samples
    recipe: Recipe
    training: Training
    groups: SampleGroups
    coordinates: NDArray[np.float64] | None
    jobs: int
    done: Done

    def run(self, design: Design) -> tuple[Scores, list[HeldOut | None]]:
        """Scores, and the predictions of each fold; None of one that cannot be trained on."""
        held: list[HeldOut | None] = []
        found = self.run_if(design, held)
        if found is None:
            raise Rejected(
                f"no {design.kind} fold of the samples has both classes: more samples are needed"
            )
        return found, held

    def run_if(self, design: Design, held: list[HeldOut | None] | None = None) -> Scores | None:
        """The same, or None if no fold has both classes."""
        labels = self.samples.labels
        rows, used = [], []
        for train, test in design.folds:
            fold = None
            if len(np.unique(labels[train])) == 2:
                fold = self._predict(train, test)
                if len(np.unique(labels[test])) == 2:
                    rows.append(_measure(fold))
                    used.append((train, test))
            if held is not None:
                held.append(fold)
            self.done()
        if not rows:
            return None
        accuracy, f1, auc, brier = (make_figure(column) for column in zip(*rows, strict=True))
        return Scores(
            kind=design.kind,
            folds=len(rows),
            groups=None if design.groups is None else len(np.unique(design.groups)),
            by=design.by,
            km=design.km,
            buffer_km=design.buffer_km,
            balanced_accuracy=accuracy,
            f1=f1,
            auc=auc,
            brier=brier,
            coordinates_only=None
            if self.coordinates is None
            else score_coordinates(self.samples, self.coordinates, used),
        )

    def _predict(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> HeldOut:
        crop = predict_held_out(
            self.training, self.samples, self.recipe, self.groups, train, test, self.jobs
        )
        return HeldOut(test, crop, self.samples.labels[test])


def _spatial(
    region: Region, samples: Samples, coordinates: NDArray[np.float64] | None
) -> Design | None:
    km = region.training.cluster_km
    if coordinates is None or km is None:
        return None
    groups = place_groups(coordinates, km)
    if len(np.unique(groups)) < 3:
        raise Rejected(
            f"the coordinates make fewer than 3 clusters of {km:g} km: "
            "set a smaller 'cluster_km' in region.toml, or leave out --coordinates"
        )
    joined = join_duplicates(samples.features, groups)
    if len(np.unique(joined)) < 3:
        raise Rejected(
            f"rows that repeat each other join all clusters of {km:g} km: see 'cropmask samples "
            "check', or leave out --coordinates"
        )
    return Design("spatial", spatial_folds(joined), joined, "place", km)


def _split(held: list[Any], at: list[int]) -> Iterator[list[Any]]:
    for start, end in zip([0, *at], [*at, len(held)], strict=True):
        yield held[start:end]


def _measure(held: HeldOut) -> tuple[float, float, float, float]:
    found = held.crop > HALF
    return (
        float(balanced_accuracy_score(held.labels, found)),
        float(f1_score(held.labels, found, zero_division=0)),
        float(roc_auc_score(held.labels, held.crop)),
        float(brier_score_loss(held.labels, held.crop)),
    )
