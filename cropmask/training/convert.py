"""From scikit-learn's ensembles to plain arrays, exactly.

A forest of scikit-learn compares float32 features with float64 thresholds. A float32 value is at
most a threshold exactly when it is at most the largest float32 value below or at the threshold,
so cuts are rounded down, never to the nearest: no sample changes sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

from cropmask.core.forest import LEAF, Forest
from cropmask.errors import Reason, Rejected
from cropmask.modelfile.forestarrays import MAX_CUTS, MAX_NODES, check_forest

ESTIMATORS: Final = (RandomForestClassifier, ExtraTreesClassifier, HistGradientBoostingClassifier)


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """Nodes of one tree in any order; children -1 in leaves."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]


def convert(estimator: object, names: Sequence[str]) -> Forest:
    """Forest with exactly the probabilities of a fitted scikit-learn estimator.

    The estimator is one of :data:`ESTIMATORS`, of the classes 0 and 1 on numeric features that are
    called ``names``; Rejected if it is not, or cannot be held exactly.
    """
    _check_estimator(estimator, len(names))
    model: Any = estimator
    if isinstance(model, HistGradientBoostingClassifier):
        baseline = float(np.asarray(model._baseline_prediction).ravel()[0])
        trees = [_boosted_tree(stage[0].nodes) for stage in model._predictors]
        return _assemble(trees, tuple(names), "logit", baseline)
    trees = [_forest_tree(member.tree_) for member in model.estimators_]
    return _assemble(trees, tuple(names), "vote", 0.0)


def floor32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Largest finite float32 at or below each value; Rejected if there is none."""
    top = np.finfo(np.float32).max
    near = np.clip(values, -top, top).astype(np.float32)
    with np.errstate(over="ignore"):
        down = np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
    if not np.isfinite(down).all() or np.isnan(values).any():
        raise Rejected("a threshold of the model is not a number: train it anew")
    # 0.0 and -0.0 are one cut.
    return down.astype(np.float32) + np.float32(0)


def _bad_estimator(problem: str) -> Rejected:
    return Rejected(problem, reason=Reason.BAD_ESTIMATOR)


def _check_estimator(estimator: object, features: int) -> None:
    kinds = ", ".join(kind.__name__ for kind in ESTIMATORS)
    if not isinstance(estimator, ESTIMATORS):
        raise _bad_estimator(
            f"a {type(estimator).__name__} is not a model that can be used: it must be one of "
            f"{kinds}"
        )
    model = cast("Any", estimator)
    found = getattr(model, "n_features_in_", None)
    if found is None or not hasattr(model, "classes_"):
        raise _bad_estimator("the estimator is not fitted: fit it first")
    if found != features:
        raise _bad_estimator(
            f"the estimator has {found} features instead of {features}: name them in its order "
            "with --features"
        )
    if getattr(model, "n_outputs_", 1) != 1:
        raise _bad_estimator("the estimator has several outputs: one is needed")
    classes = np.asarray(model.classes_).ravel().tolist()
    if [str(value).removesuffix(".0") for value in classes] != ["0", "1"]:
        raise _bad_estimator(
            f"the estimator has the classes {classes}: they must be 0 (not crop) and 1 (crop)"
        )
    if getattr(model, "is_categorical_", None) is not None and np.any(model.is_categorical_):
        raise _bad_estimator("the estimator has categorical features: only numbers are known")


def _forest_tree(tree: Any) -> _Tree:  # noqa: ANN401 (sklearn.tree._tree.Tree)
    counts = np.asarray(tree.value, np.float64)[:, 0, :]
    total = counts.sum(axis=1)
    # scikit-learn before 1.3 kept weighted counts and divided when asked; shares sum to 1.
    counted = np.abs(total - 1).max() > 1e-6
    crop = counts[:, 1] / total if counted else counts[:, 1]
    return _Tree(
        tree.children_left.astype(np.int64),
        tree.children_right.astype(np.int64),
        tree.feature.astype(np.int64),
        np.asarray(tree.threshold, np.float64),
        crop,
    )


def _boosted_tree(nodes: NDArray[Any]) -> _Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return _Tree(
        np.where(leaf, -1, nodes["left"].astype(np.int64)),
        np.where(leaf, -1, nodes["right"].astype(np.int64)),
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"].astype(np.float64),
        nodes["value"].astype(np.float64),
    )


def _assemble(trees: list[_Tree], names: tuple[str, ...], kind: Any, baseline: float) -> Forest:  # noqa: ANN401
    sizes = np.array([len(tree.left) for tree in trees], np.int64)
    if sizes.sum() > MAX_NODES:
        raise Rejected(f"the model has {sizes.sum()} nodes, at most {MAX_NODES} can be stored")
    roots = np.concatenate([[0], np.cumsum(sizes[:-1])])
    orders = [_preorder(tree.left, tree.right) for tree in trees]
    places = [_inverse(order) for order in orders]
    leaf = _join(trees, orders, lambda tree: tree.left < 0)
    feature = np.where(leaf, LEAF, _join(trees, orders, lambda tree: tree.feature))
    right = np.concatenate(
        [
            np.where(tree.right >= 0, place[tree.right] + root, 0)[order]
            for tree, order, place, root in zip(trees, orders, places, roots, strict=True)
        ]
    )
    threshold = _join(trees, orders, lambda tree: tree.threshold)
    cuts, offsets, ranks = _rank(feature[~leaf], floor32(threshold[~leaf]), len(names))
    leaves, indices = np.unique(
        _join(trees, orders, lambda tree: tree.value)[leaf], return_inverse=True
    )
    if len(leaves) > MAX_CUTS + 1 or int(np.diff(offsets).max()) > MAX_CUTS:
        raise Rejected("the model has too many different cuts or leaves: train a smaller one")
    rank = np.empty(len(leaf), np.uint16)
    rank[~leaf] = ranks
    rank[leaf] = indices
    forest = Forest(
        features=names,
        kind=kind,
        baseline=baseline,
        cuts=cuts,
        offsets=offsets,
        roots=roots.astype(np.int32),
        feature=feature.astype(np.uint8),
        rank=rank,
        right=right.astype(np.int32),
        leaves=leaves,
        digest="",
    )
    problem = check_forest(forest)
    if problem:
        raise _bad_estimator(f"the model cannot be converted: {problem}")
    return forest


def _join(
    trees: Iterable[_Tree],
    orders: Iterable[NDArray[np.int64]],
    part: Callable[[_Tree], NDArray[Any]],
) -> NDArray[Any]:
    return np.concatenate([part(t)[order] for t, order in zip(trees, orders, strict=True)])


def _preorder(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nodes in the order of a walk that takes the left child first."""
    to_left, to_right = left.tolist(), right.tolist()
    order, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if to_left[node] >= 0:
            waiting += (to_right[node], to_left[node])
    if len(order) != len(to_left):
        raise _bad_estimator("a tree of the model has nodes that are not in it")
    return np.array(order, np.int64)


def _inverse(order: NDArray[np.int64]) -> NDArray[np.int64]:
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place


def _rank(
    feature: NDArray[np.int64], cut: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Distinct cuts of each feature, their offsets, and each node's place among them."""
    ranks = np.zeros(len(feature), np.int64)
    cuts = []
    for index in range(count):
        mine = feature == index
        values, ranks[mine] = np.unique(cut[mine], return_inverse=True)
        cuts.append(values)
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in cuts])])
    return np.concatenate(cuts).astype(np.float32), offsets.astype(np.int32), ranks
