"""From scikit-learn's ensembles, as pickles describe them, to plain arrays, exactly.

All layouts since scikit-learn 0.22 are known. A forest of scikit-learn compares float32 features
with float64 thresholds. A float32 value is at most a threshold exactly when it is at most the
largest float32 value below or at the threshold, so cuts are rounded down, never to the nearest: no
sample changes sides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from cropmask.core.engine import logistic
from cropmask.core.forest import LEAF, Forest
from cropmask.errors import Reason, Rejected
from cropmask.modelfile.forestarrays import (
    MAX_CUTS,
    MAX_NODES,
    MAX_OPEN,
    MAX_TREE_LEAVES,
    MAX_TREES,
    check_forest,
)
from cropmask.modelfile.pickles import PickleArray, PickleName, PickleRecord

MAX_TREE_NODES: Final = 2 * MAX_TREE_LEAVES - 1
MAX_WRAPPERS: Final = 5
"""Most pipelines and searches around an estimator."""
_SEARCHES: Final = (
    "GridSearchCV",
    "RandomizedSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
)
_NO_CHILD: Final = -1
"""Children of a leaf, as scikit-learn writes them."""
_FACTORS: Final = {"deviance": 1.0, "log_loss": 1.0, "exponential": 2.0}
"""Losses of gradient boosting, and how often its score is taken for the log-odds."""
_CATEGORICAL: Final = "the estimator has categorical features: only numbers are known"
_SHARES_SINCE: Final = (1, 3)
"""scikit-learn from which on the values of a forest's nodes are shares, not weighted counts."""
_OWN_LOSSES_SINCE: Final = (1, 4)
"""scikit-learn from which on gradient boosting begins with scipy's log-odds."""
_SCALARS: Final = str | int | float | bool | None

_Kind = Literal["vote", "logit"]
_Parameters = dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Nodes:
    """Nodes of one tree or of several, in pre-order: the left child of a node is the next one."""

    feature: NDArray[np.int64]
    """-1 in leaves."""
    threshold: NDArray[np.float64]
    right: NDArray[np.int64]
    """The right child; 0 in leaves."""
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """A fitted ensemble of scikit-learn, taken apart and checked; nothing is rounded yet."""

    estimator: str
    """Class of the ensemble."""
    contents: str
    """What the file holds from the outside in, such as ``Pipeline > RandomForestClassifier``."""
    version: str | None
    """Of the scikit-learn that fitted it."""
    hyperparameters: _Parameters
    features: int
    """Number of features."""
    feature_names: tuple[str, ...] | None
    """As the estimator knows them."""
    kind: _Kind
    baseline: float
    nodes: _Nodes
    roots: NDArray[np.int64]
    """First node of each tree."""

    def forest(self, names: Sequence[str]) -> Forest:
        """The same trees as plain arrays, their features called ``names``.

        Rejected if they cannot be held exactly, or the number of names is another one.
        """
        if len(names) != self.features:
            raise _bad(
                f"the estimator has {self.features} features instead of {len(names)}: name them "
                "in its order with --features"
            )
        return _assemble(self, tuple(names))

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of crop of rows ``(row, feature)`` in the estimator's order of features.

        Computed from the file's own thresholds in double precision, node by node: what the
        converted arrays are compared with.
        """
        scores = np.full(len(x), self.baseline)
        for leaves in _find_leaves(self.nodes, self.roots, x):
            scores += self.nodes.value[leaves]
        return logistic(scores) if self.kind == "logit" else np.asarray(scores / len(self.roots))


def find_ensemble(found: object) -> Ensemble:
    """The ensemble that a pickle describes, within the pipelines and searches around it.

    Rejected if there is none that the engine can hold exactly: another class, several outputs,
    other classes than 0 and 1, trees that are none.
    """
    model, contents = _unwrap(found)
    state, kind = model.state, model.kind.name
    classes = _classes(state)
    try:
        with np.errstate(all="ignore"):
            shape, baseline, trees = _READERS[kind](state, classes.index("1"))
            nodes, roots = _join(trees)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise _bad(f"the {kind} lacks what a fitted one has: it is damaged") from None
    return Ensemble(
        estimator=kind,
        contents=contents,
        version=_version_text(state),
        hyperparameters=_hyperparameters(state),
        features=_count_features(state),
        feature_names=_feature_names(state),
        kind=shape,
        baseline=baseline,
        nodes=nodes,
        roots=roots,
    )


def floor32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Largest finite float32 at or below each value; Rejected if there is none."""
    top = np.finfo(np.float32).max
    near = np.clip(values, -top, top).astype(np.float32)
    with np.errstate(over="ignore"):
        down = np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
    if not np.isfinite(down).all() or np.isnan(values).any():
        raise _bad("a threshold of the model is not a number: train it anew")
    # 0.0 and -0.0 are one cut.
    return down.astype(np.float32) + np.float32(0)


def _bad(problem: str) -> Rejected:
    return Rejected(problem, reason=Reason.BAD_ESTIMATOR)


def _unwrap(found: object) -> tuple[PickleRecord, str]:
    """The estimator within pipelines and searches, and all their names."""
    path: list[str] = []
    while isinstance(found, PickleRecord) and len(path) <= MAX_WRAPPERS:
        kind = found.kind.name
        path.append(kind)
        contents = " > ".join(path)
        if kind in _READERS:
            return found, contents
        if kind in _SEARCHES:
            found = found.state.get("best_estimator_")
            if found is None:
                raise _bad(f"the {contents} holds no fitted estimator: fit it with refit=True")
        elif kind == "Pipeline":
            found = _last_step(found.state.get("steps"), contents)
        else:
            raise _bad(
                f"a {contents} is not a model that can be used: it must be one of "
                f"{', '.join(_READERS)}, alone or within a pipeline or a search"
            )
    if isinstance(found, PickleRecord):
        raise _bad(f"the file holds more than {MAX_WRAPPERS} pipelines and searches in a row")
    inside = " > ".join([*path, type(found).__name__.replace("PickleArray", "array")])
    raise _bad(f"a {inside} is not a model that can be used: save the estimator alone")


def _last_step(steps: object, contents: str) -> object:
    """The last step of a pipeline whose other ones do nothing."""
    if not isinstance(steps, list) or not all(isinstance(s, tuple) and len(s) == 2 for s in steps):
        raise _bad(f"the {contents} has no steps: it is damaged")
    for _, step in steps[:-1]:
        if step not in (None, "passthrough"):
            name = step.kind.name if isinstance(step, PickleRecord) else type(step).__name__
            raise _bad(
                f"the {contents} changes the features by a {name} before the model, which the "
                "engine cannot do: train it on the features as they are"
            )
    return steps[-1][1] if steps else None


def _classes(state: dict[str, Any]) -> list[str]:
    """The two classes as words, in the order of the estimator."""
    found = state.get("classes_")
    if not isinstance(found, PickleArray | list):
        raise _bad("the estimator is not fitted: fit it first")
    if state.get("n_outputs_", 1) != 1 or isinstance(found, list):
        raise _bad("the estimator has several outputs: one is needed")
    values = (
        found.values[:9] if isinstance(found.values, list) else found.values.ravel()[:9].tolist()
    )
    shown = [value if isinstance(value, _SCALARS) else type(value).__name__ for value in values]
    words = [str(int(v) if isinstance(v, bool) else v).removesuffix(".0") for v in shown]
    if len(words) != 2 or set(words) != {"0", "1"}:
        raise _bad(f"the estimator has the classes {shown}: they must be 0 (not crop) and 1 (crop)")
    return words


def _count_features(state: dict[str, Any]) -> int:
    names = ("n_features_in_", "n_features_", "_n_features")
    found = next((state[name] for name in names if state.get(name) is not None), None)
    if not isinstance(found, int) or isinstance(found, bool):
        raise _bad("the estimator does not say how many features it has")
    return found


def _feature_names(state: dict[str, Any]) -> tuple[str, ...] | None:
    found = state.get("feature_names_in_")
    if not isinstance(found, PickleArray) or not 1 <= len(found.values) < LEAF:
        return None
    names = tuple(found.values)
    return names if all(isinstance(name, str) for name in names) else None


def _plain(text: str) -> bool:
    # Words of a foreign file get into cards and pages, where signs may mean something.
    return re.fullmatch(r"[\w .,:;+=()'-]{0,200}", text, re.ASCII) is not None


def _hyperparameters(state: dict[str, Any]) -> _Parameters:
    """Arguments of the estimator that are plain values; of others, what they are."""
    private = ("n_jobs", "verbose", "estimator", "base_estimator", "estimator_params")
    known: _Parameters = {}
    for key, value in list(state.items())[:100]:
        if re.fullmatch("[a-z][a-z0-9_]{0,38}[a-z0-9]", str(key)) and key not in private:
            found = _plain_value(value)
            if not isinstance(found, str) or _plain(found):
                known[key] = found
    return known


def _plain_value(value: Any) -> str | int | float | bool | None:  # noqa: ANN401
    if isinstance(value, PickleRecord):
        return value.kind.name.strip("_").removesuffix("_ctor")
    if isinstance(value, PickleName):
        return value.name
    if isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values()):
        return ", ".join(f"{k}: {v}" for k, v in list(value.items())[:9])
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a large number"
    return value if isinstance(value, _SCALARS) else type(value).__name__


_Trees = Iterator[_Nodes]
_Read = tuple[_Kind, float, _Trees]


def _read_forest(state: dict[str, Any], crop: int) -> _Read:
    members = _take(state["estimators_"], MAX_TREES)
    return "vote", 0.0, (_forest_tree(member.state, crop) for member in members)


def _read_histogram(state: dict[str, Any], crop: int) -> _Read:
    categorical = state.get("is_categorical_")
    if isinstance(categorical, PickleArray) and _numbers(categorical).any():
        raise _bad(_CATEGORICAL)
    found = state["_baseline_prediction"]
    baseline = float(_numbers(found)[0] if isinstance(found, PickleArray) else found)
    # The score is that of the second class.
    sign = 1.0 if crop == 1 else -1.0
    stages = (_take(stage, 1)[0] for stage in _take(state["_predictors"], MAX_TREES))
    trees = (_histogram_tree(predictor.state["nodes"], sign) for predictor in stages)
    return "logit", sign * baseline, trees


def _read_gradient(state: dict[str, Any], crop: int) -> _Read:
    loss = state["loss"]
    if not isinstance(loss, str) or loss not in _FACTORS:
        raise _bad("the estimator has a loss that is not known: only log loss and exponential are")
    rate, sign = float(state["learning_rate"]), 1.0 if crop == 1 else -1.0
    # As scikit-learn has it: the rate first, to the last bit; the others change no digit.
    scale = sign * _FACTORS[loss]
    trees = (
        _structure(tree["nodes"], scale * (rate * _numbers(tree["values"])))
        for tree in (
            member.state["tree_"].state for member in _take(state["estimators_"], MAX_TREES)
        )
    )
    start = state["init_"]
    baseline = 0.0 if start == "zero" else _initial_odds(start, _version(state))
    return "logit", sign * baseline, trees


def _initial_odds(init: Any, version: tuple[int, int]) -> float:  # noqa: ANN401
    """Log-odds of the prior that boosting starts from, of the second class."""
    state = init.state if isinstance(init, PickleRecord) else {}
    prior = state.get("class_prior_")
    if prior is None or state.get("strategy") != "prior":
        raise _bad("the estimator starts from another estimator: only its own prior is known")
    least = float(np.finfo(np.float32).eps)
    share = min(max(float(_numbers(prior)[1]), least), 1 - least)
    if version >= _OWN_LOSSES_SINCE and 0.3 <= share <= 0.65:
        # As scipy's logit has it, to the last bit.
        shift = 2 * (share - 0.5)
        return math.log1p(shift) - math.log1p(-shift)
    return math.log(share / (1 - share))


_READERS: Final[dict[str, Callable[[dict[str, Any], int], _Read]]] = {
    "RandomForestClassifier": _read_forest,
    "ExtraTreesClassifier": _read_forest,
    "HistGradientBoostingClassifier": _read_histogram,
    "GradientBoostingClassifier": _read_gradient,
}


def _take(found: Any, most: int) -> list[Any]:  # noqa: ANN401
    """Members of a list, or of an array of objects; Rejected if there are none or too many."""
    values = found.values if isinstance(found, PickleArray) else found
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise _bad(f"the model has not 1 to {most} trees where they are looked for")
    return values


def _numbers(found: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Numbers of an array, flat: two for each node of a tree at most."""
    values = found.values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise _bad("the model has an array that holds no numbers: it is damaged")
    if values.size > 2 * MAX_TREE_NODES:
        raise _bad(f"a tree of the model has more than {MAX_TREE_NODES} nodes")
    return values.astype(np.float64).ravel()


def _join(trees: _Trees) -> tuple[_Nodes, NDArray[np.int64]]:
    """Nodes of all trees, and where each tree begins."""
    known: list[_Nodes] = []
    roots = [0]
    for tree in trees:
        known.append(tree)
        roots.append(roots[-1] + len(tree.feature))
        if roots[-1] > MAX_NODES:
            raise _bad(f"the model has more than {MAX_NODES} nodes, which can be stored at most")
    joined = _Nodes(
        feature=np.concatenate([tree.feature for tree in known]),
        threshold=np.concatenate([tree.threshold for tree in known]),
        right=np.concatenate(
            [
                np.where(tree.feature < 0, 0, tree.right + root)
                for tree, root in zip(known, roots, strict=False)
            ]
        ),
        value=np.concatenate([tree.value for tree in known]),
    )
    return joined, np.array(roots[:-1], np.int64)


def _forest_tree(state: dict[str, Any], crop: int) -> _Nodes:
    tree = state["tree_"].state
    counts = tree["values"].values
    if not isinstance(counts, np.ndarray) or counts.shape[1:] != (1, 2):
        raise _bad("the trees of the model have not two classes of one output")
    counts = _numbers(tree["values"]).reshape(-1, 2)
    if (counts < 0).any():
        raise _bad("the trees of the model have values below zero")
    total = counts.sum(axis=1)
    # Shares sum to 1. Weighted counts, which came before them, are divided when asked.
    if (np.abs(total - 1) > 1e-6).any() or _version(state) < _SHARES_SINCE:
        return _structure(tree["nodes"], counts[:, crop] / np.where(total == 0, 1, total))
    return _structure(tree["nodes"], counts[:, crop])


def _version_text(state: dict[str, Any]) -> str | None:
    version = state.get("_sklearn_version")
    return version if isinstance(version, str) and _plain(version) else None


def _version(state: dict[str, Any]) -> tuple[int, int]:
    """Version of scikit-learn that fitted an estimator; today's if it does not say."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", _version_text(state) or "")
    return (int(match[1]), int(match[2])) if match else (99, 0)


def _structure(nodes: Any, value: NDArray[np.float64]) -> _Nodes:  # noqa: ANN401
    """A tree of a forest, or of gradient boosting: both are of the same class."""
    return _order(
        left=_integers(nodes, "left_child"),
        right=_integers(nodes, "right_child"),
        feature=_integers(nodes, "feature"),
        threshold=_floats(nodes, "threshold"),
        value=value,
    )


def _histogram_tree(nodes: Any, sign: float) -> _Nodes:  # noqa: ANN401
    names = nodes.values.dtype.names
    leaf = _integers(nodes, "is_leaf") != 0
    if "is_categorical" in names and _integers(nodes, "is_categorical")[~leaf].any():
        raise _bad(_CATEGORICAL)
    return _order(
        left=np.where(leaf, _NO_CHILD, _integers(nodes, "left")),
        right=np.where(leaf, _NO_CHILD, _integers(nodes, "right")),
        feature=_integers(nodes, "feature_idx"),
        threshold=_floats(nodes, "num_threshold" if "num_threshold" in names else "threshold"),
        value=sign * _floats(nodes, "value"),
    )


def _integers(nodes: Any, name: str) -> NDArray[np.int64]:  # noqa: ANN401
    return _column(nodes, name, "iub").astype(np.int64)


def _floats(nodes: Any, name: str) -> NDArray[np.float64]:  # noqa: ANN401
    return _column(nodes, name, "f").astype(np.float64)


def _column(nodes: Any, name: str, kinds: str) -> NDArray[Any]:  # noqa: ANN401
    """A field of a tree's nodes."""
    values = nodes.values
    if not isinstance(values, np.ndarray) or values.ndim != 1 or name not in values.dtype.names:
        raise _bad(f"the nodes of a tree have no '{name}'")
    if len(values) > MAX_TREE_NODES:
        raise _bad(f"a tree of the model has more than {MAX_TREE_NODES} nodes")
    found: NDArray[Any] = values[name]
    if found.dtype.kind not in kinds:
        raise _bad(f"'{name}' of a tree's nodes is of another type")
    return found


def _order(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    feature: NDArray[np.int64],
    threshold: NDArray[np.float64],
    value: NDArray[np.float64],
) -> _Nodes:
    """A tree in pre-order; Rejected if a child, a feature or a number of it cannot be."""
    nodes, leaf = len(left), left == _NO_CHILD
    if not len(value) == nodes >= 1:
        raise _bad("a tree of the model has no nodes, or not one value for each")
    if ((right == _NO_CHILD) != leaf).any():
        raise _bad("a node of the model has one child only")
    children = np.concatenate([left[~leaf], right[~leaf]])
    if ((children < 1) | (children >= nodes)).any():
        raise _bad("a tree of the model has a child that is not there")
    if len(children) != nodes - 1 or len(np.unique(children)) != nodes - 1:
        raise _bad("a tree of the model has nodes that are not in it, or twice")
    if (feature[~leaf] < 0).any():
        raise _bad("a node of the model tests a feature that is not there")
    if np.isnan(threshold[~leaf]).any() or not np.isfinite(value[leaf]).all():
        raise _bad("a threshold or value of the model is not a number: train it anew")
    order = _preorder(left, right)
    place = np.empty_like(order)
    place[order] = np.arange(nodes)
    return _Nodes(
        feature=np.where(leaf, -1, feature)[order],
        threshold=threshold[order],
        right=np.where(leaf, 0, place[np.where(leaf, 0, right)])[order],
        value=value[order],
    )


def _preorder(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nodes in the order of a walk that takes the left child first."""
    to_left, to_right = left.tolist(), right.tolist()
    order, waiting = [], [0]
    while waiting:  # ends: no node is the child of two, and the root is nobody's
        node = waiting.pop()
        order.append(node)
        if to_left[node] != _NO_CHILD:
            waiting += (to_right[node], to_left[node])
    if len(order) != len(to_left):
        raise _bad("a tree of the model has nodes that are not in it, or twice")
    return np.array(order, np.int64)


def _find_leaves(
    nodes: _Nodes, roots: NDArray[np.int64], x: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Leaf of each row in each tree ``(tree, row)``: all step down one level at a time."""
    at = np.repeat(roots[:, np.newaxis], len(x), axis=1)
    row = np.broadcast_to(np.arange(len(x)), at.shape)
    for _ in range(MAX_OPEN):
        moving = nodes.feature[at] >= 0
        if not moving.any():
            return at
        node = at[moving]
        goes_left = x[row[moving], nodes.feature[node]] <= nodes.threshold[node]
        at[moving] = np.where(goes_left, node + 1, nodes.right[node])
    raise _bad(f"a tree of the model has more than {MAX_OPEN} levels")


def _assemble(ensemble: Ensemble, names: tuple[str, ...]) -> Forest:
    nodes = ensemble.nodes
    leaf = nodes.feature < 0
    if int(nodes.feature.max()) >= len(names):
        raise _bad("a node of the model tests a feature that is not there")
    cuts, offsets, ranks = _rank(nodes.feature[~leaf], floor32(nodes.threshold[~leaf]), len(names))
    leaves, indices = np.unique(nodes.value[leaf], return_inverse=True)
    if len(leaves) > MAX_CUTS + 1 or int(np.diff(offsets).max()) > MAX_CUTS:
        raise _bad("the model has too many different cuts or leaves: train a smaller one")
    rank = np.empty(len(leaf), np.uint16)
    rank[~leaf] = ranks
    rank[leaf] = indices
    forest = Forest(
        features=names,
        kind=ensemble.kind,
        baseline=ensemble.baseline,
        cuts=cuts,
        offsets=offsets,
        roots=ensemble.roots.astype(np.int32),
        feature=np.where(leaf, LEAF, nodes.feature).astype(np.uint8),
        rank=rank,
        right=nodes.right.astype(np.int32),
        leaves=leaves,
        digest="",
    )
    problem = check_forest(forest)
    if problem:
        raise _bad(f"the model cannot be converted: {problem}")
    return forest


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
