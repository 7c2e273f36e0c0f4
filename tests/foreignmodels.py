"""Models as other versions of scikit-learn wrote them, made from small ones of today."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from cropmask.core.features import FEATURES
from cropmask.modelfile.importer import USUAL

OLD_NODES = np.dtype(
    [
        ("left_child", "<i8"),
        ("right_child", "<i8"),
        ("feature", "<i8"),
        ("threshold", "<f8"),
        ("impurity", "<f8"),
        ("n_node_samples", "<i8"),
        ("weighted_n_node_samples", "<f8"),
    ]
)
"""Nodes of a tree before scikit-learn 1.3: without where missing values go."""

State = dict[str, Any]


@dataclass
class Described:
    """What pickles as an object of a class with a state, whether it could be or not."""

    kind: Callable[..., Any]
    state: State = field(default_factory=dict)
    args: tuple[Any, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return self.kind, self.args, self.state


def make_rows(rows: int = 150, seed: int = 0) -> NDArray[np.float32]:
    """Feature values where they usually are, ``(row, feature)``."""
    random = np.random.default_rng(seed)
    low, high = np.array([USUAL[name.split("_S")[0]] for name in FEATURES]).T
    return random.uniform(low, high, (rows, len(FEATURES))).astype(np.float32)


def make_labels(x: NDArray[np.float32], seed: int = 0) -> NDArray[np.int64]:
    """Crop where it is green in the second half-year, mostly."""
    noise = np.random.default_rng(seed).normal(0, 0.1, len(x))
    return (x[:, FEATURES.index("NDVI_S2")] + noise > 0.35).astype(np.int64)


X = make_rows()
Y = make_labels(X)
UNSEEN = make_rows(200, seed=9)
ESTIMATORS: Mapping[str, Any] = {
    "forest": RandomForestClassifier(9, random_state=1),
    "weighted": RandomForestClassifier(
        7, min_samples_leaf=4, class_weight={0: 1, 1: 2}, random_state=1
    ),
    "extra": ExtraTreesClassifier(5, random_state=1),
    "histogram": HistGradientBoostingClassifier(max_iter=6, max_leaf_nodes=5, random_state=1),
    "gradient": GradientBoostingClassifier(n_estimators=8, random_state=1),
    "exponential": GradientBoostingClassifier(n_estimators=8, loss="exponential", random_state=1),
    "from zero": GradientBoostingClassifier(n_estimators=8, init="zero", random_state=1),
}


@cache
def fitted(name: str) -> Any:
    """One of :data:`ESTIMATORS`, fitted on all features."""
    return ESTIMATORS[name].fit(X, Y)


def expected(name: str, x: NDArray[np.float32] = UNSEEN) -> NDArray[np.float64]:
    """What scikit-learn gives."""
    return np.asarray(fitted(name).predict_proba(x)[:, 1])


def describe_forest(
    estimator: Any,
    change_tree: Callable[[State], State] = lambda tree: tree,
    **changes: Any,
) -> Described:
    """A fitted forest with the states of its trees changed, and attributes of its own."""
    members = [
        Described(
            DecisionTreeClassifier,
            {
                **member.__getstate__(),
                "tree_": Described(
                    Tree,
                    change_tree(dict(member.tree_.__getstate__())),
                    (len(FEATURES), np.array([2]), 1),
                ),
                **({k: v for k, v in changes.items() if k == "_sklearn_version"}),
            },
        )
        for member in estimator.estimators_
    ]
    state = {**estimator.__getstate__(), "estimators_": members, **changes}
    return Described(type(estimator), state)


def as_counts(tree: State) -> State:
    """Values as scikit-learn before 1.3 kept them: weighted counts, not shares."""
    weights = tree["nodes"]["weighted_n_node_samples"][:, np.newaxis, np.newaxis]
    return {**tree, "values": np.rint(tree["values"] * weights)}


def as_old(tree: State) -> State:
    """A tree as scikit-learn 0.22 to 1.2 wrote it."""
    nodes = np.zeros(len(tree["nodes"]), OLD_NODES)
    for name in OLD_NODES.names or ():
        nodes[name] = tree["nodes"][name]
    return {**as_counts(tree), "nodes": nodes}


def change_node(place: int, **values: Any) -> Callable[[State], State]:
    """A tree with some fields of one node changed."""

    def change(tree: State) -> State:
        nodes = tree["nodes"].copy()
        for name, value in values.items():
            nodes[name][place] = value
        return {**tree, "nodes": nodes}

    return change


def dump(found: Any, **options: Any) -> bytes:
    """Bytes of a joblib file."""
    stream = io.BytesIO()
    joblib.dump(found, stream, **options)
    return stream.getvalue()


def dump_pickle(found: Any, protocol: int = 4) -> bytes:
    """Bytes of a pickle."""
    return pickle.dumps(found, protocol)


def put(folder: Path, data: bytes) -> Path:
    """The bytes as a file."""
    path = folder / "old.joblib"
    path.write_bytes(data)
    return path
