"""Fitting: the published forest, and gradient-boosted trees beside it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from cropmask.contract import VERSION
from cropmask.core.applicability import Applicability, fit_applicability
from cropmask.core.features import FEATURES
from cropmask.core.forest import Forest
from cropmask.errors import Rejected
from cropmask.modelfile.ensembles import find_ensemble
from cropmask.modelfile.model import PROBES, Fitted, ModelManifest, Probes, TrainingData
from cropmask.modelfile.pickles import parse_pickle
from cropmask.product import Recipe
from cropmask.region.attribution import OTHER_LICENSE
from cropmask.region.region import Region, Training
from cropmask.training.folds import GROUPED_COUNT, SampleGroups, grouped_folds
from cropmask.training.robust import fit_robust, groups_of
from cropmask.training.samples import Samples

SEED: Final = 1

BOOSTED: Final[dict[str, str | int | float | bool | None]] = {
    "max_iter": 100,
    "max_leaf_nodes": 31,
    "learning_rate": 0.1,
    "min_samples_leaf": 20,
    "l2_regularization": 0.0,
    "early_stopping": False,
    "random_state": SEED,
}


RECIPE_FEATURES: Final[Mapping[Recipe, tuple[str, ...]]] = {"forest": FEATURES, "boosted": FEATURES}
"""Features of each recipe, texts of :mod:`cropmask.core.formulas`; the published method's are the
33."""


def recipe_features(recipe: Recipe) -> tuple[str, ...]:
    """Features that a recipe's models are fitted on; Rejected if it has none."""
    try:
        return RECIPE_FEATURES[recipe]
    except KeyError:
        raise Rejected(f"the recipe '{recipe}' names no features") from None


def hyperparameters(
    recipe: Recipe, training: Training
) -> dict[str, str | int | float | bool | None]:
    """Arguments of the recipe's estimator."""
    if recipe == "boosted":
        return dict(BOOSTED)
    return {
        "criterion": training.criterion,
        "max_features": None if training.max_features == "all" else training.max_features,
        "n_estimators": training.trees,
        "random_state": SEED,
    }


def make_estimator(recipe: Recipe, training: Training, jobs: int = 1) -> Any:  # noqa: ANN401
    """Estimator of a recipe, not yet fitted."""
    arguments: dict[str, Any] = hyperparameters(recipe, training)
    if recipe == "boosted":
        return HistGradientBoostingClassifier(**arguments)
    return RandomForestClassifier(**arguments, n_jobs=jobs)


def limit_threads() -> AbstractContextManager[object]:
    """Keep scikit-learn's compiled code to one thread."""
    # Boosting and k-means have no n_jobs: they take all CPUs, and threads that wait for another
    # one spin. Where other work keeps that one off its CPU, seconds become minutes; some thousand
    # samples gain nothing from a second thread.
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="openmp")
    return limits


def fit(
    region: Region,
    samples: Samples,
    recipe: Recipe,
    jobs: int = 1,
    *,
    coordinates: NDArray[np.float64] | None = None,
    threshold: float | None = None,
) -> Fitted:
    """Fit a region's model on all samples, unweighted.

    Parameters
    ----------
    region
        Its training settings are those of the published forest.
    samples
        All rows are used.
    recipe
        ``forest``, ``boosted``, or ``robust``, which is chosen first.
    jobs
        CPUs to use; the result does not depend on it.
    coordinates
        ``(row, 2)`` EPSG:6933 meters: the robust recipe is chosen on places held out, without them
        on land of like rain and slope.
    threshold
        A row is crop where its probability is strictly over it; None for one half, and for the
        best one on held-out groups of the robust recipe.
    """
    with limit_threads():
        groups, by = groups_of(samples, coordinates)
        if recipe == "robust":
            found = fit_robust(samples, groups, by, threshold=threshold)
            estimator, names, chosen = found.estimator, found.names, found.chosen.threshold
            settings = found.chosen.hyperparameters()
            x = samples.compute(names)
        else:
            estimator, names = (
                make_estimator(recipe, region.training, jobs),
                recipe_features(recipe),
            )
            settings, chosen = hyperparameters(recipe, region.training), threshold or 0.5
            x = samples.compute(names)
            estimator.fit(x, samples.labels)
    owed, owner = region.attribution, region.attribution.first
    manifest = ModelManifest(
        region=region.name,
        recipe=recipe,
        estimator=type(estimator).__name__,
        hyperparameters=settings,
        software=software(),
        training=TrainingData(
            sha256=samples.sha256, rows=len(samples.labels), crop_rows=samples.crop_rows
        ),
        license=owed.license or OTHER_LICENSE,
        credit=owner.name if owner else "",
        credit_url=(owner.url or "") if owner else "",
    )
    rows = probe_rows(samples.labels)
    forest = replace(convert(estimator, names), threshold=chosen)
    known = find_known(estimator, names, x, groups)
    return Fitted(forest, manifest, make_probes(estimator, x[rows]), applicability=known)


def find_known(
    estimator: Any,  # noqa: ANN401
    names: Sequence[str],
    x: NDArray[np.float32],
    groups: SampleGroups,
) -> Applicability | None:
    """Applicability of a fitted estimator; None if the samples make no two folds that differ.

    ``x`` has the features of the samples ``(row, feature)``; ``groups`` lie in one fold each.
    """
    folds = np.zeros(len(x), np.int64)
    try:
        for number, (_, test) in enumerate(grouped_folds(groups, GROUPED_COUNT, 0)):
            folds[test] = number
        return fit_applicability(names, x, measure_importance(estimator, len(names)), folds)
    except (Rejected, ValueError):
        return None


def measure_importance(estimator: Any, features: int) -> NDArray[np.float64]:  # noqa: ANN401
    """Importance ``(feature,)`` of each feature to the trees of an estimator, in sum 1.

    The share of impurity that a forest's splits on the feature take away, as scikit-learn has it;
    of boosted trees the share of the gain of all splits.
    """
    if hasattr(estimator, "feature_importances_"):
        return np.asarray(estimator.feature_importances_, np.float64)
    gain = np.zeros(features)
    for trees in estimator._predictors:
        for tree in trees:
            inner = tree.nodes[tree.nodes["is_leaf"] == 0]
            np.add.at(gain, inner["feature_idx"], inner["gain"])
    return np.asarray(gain / max(float(gain.sum()), float(np.finfo(np.float64).tiny)))


def predict_held_out(
    training: Training,
    samples: Samples,
    recipe: Recipe,
    groups: SampleGroups,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    jobs: int = 1,
) -> NDArray[np.float64]:
    """Probability of crop of test rows by a model of training rows, over one half for crop.

    The robust recipe is chosen from the training rows alone, on their ``groups``, of which
    ``(row,)`` has those of all samples; its odds are moved as in a map.
    """
    if recipe == "robust":
        return fit_robust(samples, groups, "groups", train).crop(samples, test)
    estimator = make_estimator(recipe, training, jobs)
    x = samples.compute(recipe_features(recipe))
    estimator.fit(x[train], samples.labels[train])
    if getattr(estimator, "n_jobs", None) is not None:
        estimator.n_jobs = 1  # votes of several threads are summed in any order
    return np.asarray(estimator.predict_proba(x[test])[:, 1], np.float64)


def convert(estimator: object, names: Sequence[str]) -> Forest:
    """Forest with exactly the probabilities of a fitted scikit-learn estimator.

    Its features are called ``names``; Rejected if it is none that the engine can hold exactly.
    """
    # What it would be in a file is read as any file is: one way in, and each training tries it.
    return find_ensemble(parse_pickle(pickle.dumps(estimator))).forest(names)


def make_probes(estimator: Any, x: NDArray[np.float32]) -> Probes:  # noqa: ANN401
    """Probes of feature rows ``(row, feature)`` with the estimator's own probabilities."""
    return Probes(np.ascontiguousarray(x), estimator.predict_proba(x)[:, 1].astype(np.float64))


def probe_rows(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Rows spread evenly over both classes: at most :data:`PROBES`."""
    rows = []
    for label in (0, 1):
        mine = np.flatnonzero(labels == label)
        count = min(len(mine), PROBES // 2)
        rows.append(mine[np.linspace(0, len(mine) - 1, count).astype(np.int64)])
    return np.sort(np.concatenate(rows))


def software() -> dict[str, str]:
    """Versions of what fits a model."""
    return {"cropmask": VERSION} | {name: version(name) for name in ("numpy", "scikit-learn")}
