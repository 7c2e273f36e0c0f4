"""Other engines for the same trees, on one thread; each is used where its packages are installed.

``make bench`` installs those of the dependency group ``peers`` that exist for this machine. A model
is given to a peer as exactly as it can hold it: thresholds are rounded down to float32 as ours
are, and votes are counted where the peer can count. What still differs is the peer's own rounding.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import Fitted
from cropmask.core.forest import LEAF, Forest

Predict = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Probability of crop ``(pixel,)`` of features ``(pixel, feature)``."""

MAX_COMPILED_NODES: Final = 50_000
"""The C code of more nodes takes a compiler longer than all of the benchmark."""


class Absent(Exception):
    """A peer cannot run a model here; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class _Trees:
    """Nodes of all trees, in the order of a forest's."""

    forest: Forest
    leaf: NDArray[np.bool_]
    threshold: NDArray[np.float32]
    """0 in leaves."""
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    """0 in inner nodes."""
    bounds: list[tuple[int, int]]
    """First node of each tree, and that of the next."""

    @classmethod
    def of(cls, forest: Forest) -> _Trees:
        leaf = forest.feature == LEAF
        inner = np.where(leaf, 0, forest.feature)
        cut = np.where(leaf, 0, forest.offsets[inner] + forest.rank)
        nodes = np.arange(len(leaf))
        ends = [*forest.roots[1:].tolist(), len(leaf)]
        return cls(
            forest,
            leaf,
            np.where(leaf, np.float32(0), forest.cuts[cut]),
            np.where(leaf, 0, nodes + 1),
            np.where(leaf, 0, forest.right).astype(np.int64),
            np.where(leaf, forest.leaves[np.where(leaf, forest.rank, 0)], 0.0),
            list(zip(forest.roots.tolist(), ends, strict=True)),
        )

    def probability(self, score: NDArray[Any]) -> NDArray[np.float64]:
        """Of what a peer makes of the leaves: their mean, or their sum."""
        values = np.asarray(score, np.float64).reshape(-1)
        if self.forest.kind == "vote":
            return values
        return 1 / (1 + np.exp(-(self.forest.baseline + values)))


def _open_onnxruntime(fitted: Fitted, _folder: Path) -> Predict:
    import onnx
    import onnxruntime

    trees, forest = _Trees.of(fitted.forest), fitted.forest
    tree = np.repeat(np.arange(len(trees.bounds)), [end - start for start, end in trees.bounds])
    first = forest.roots[tree]
    number = np.arange(len(tree)) - first
    leaves = np.flatnonzero(trees.leaf)
    node = onnx.helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="AVERAGE" if forest.kind == "vote" else "SUM",
        nodes_treeids=tree.tolist(),
        nodes_nodeids=number.tolist(),
        nodes_featureids=np.where(trees.leaf, 0, forest.feature).tolist(),
        nodes_modes=np.where(trees.leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values=trees.threshold.tolist(),
        nodes_truenodeids=np.where(trees.leaf, 0, trees.left - first).tolist(),
        nodes_falsenodeids=np.where(trees.leaf, 0, trees.right - first).tolist(),
        target_treeids=tree[leaves].tolist(),
        target_nodeids=number[leaves].tolist(),
        target_ids=[0] * len(leaves),
        target_weights=trees.value[leaves].tolist(),
    )
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        fitted.recipe,
        [onnx.helper.make_tensor_value_info("x", kind, [None, len(forest.features)])],
        [onnx.helper.make_tensor_value_info("y", kind, [None, 1])],
    )
    versions = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: trees.probability(session.run(None, {"x": x})[0])


def _open_lightgbm(fitted: Fitted, _folder: Path) -> Predict:
    import lightgbm

    trees, forest = _Trees.of(fitted.forest), fitted.forest
    booster = lightgbm.Booster(model_str=_make_lightgbm_text(trees))
    assert booster.num_trees() == len(forest.roots)
    share = 1 / len(forest.roots) if forest.kind == "vote" else 1.0
    return lambda x: trees.probability(share * booster.predict(x, raw_score=True, num_threads=1))


def _make_lightgbm_text(trees: _Trees) -> str:
    """A model file: inner nodes and leaves are numbered apart, leaves below zero."""
    names = trees.forest.features
    head = ["tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0"]
    head += [f"max_feature_idx={len(names) - 1}", "objective=regression"]
    head += [
        f"feature_names={' '.join(names)}",
        f"feature_infos={' '.join(['[0:1]'] * len(names))}",
    ]
    blocks = ["\n".join(head)]
    for index, (start, end) in enumerate(trees.bounds):
        part, leaf = slice(start, end), trees.leaf[start:end]
        number = np.where(leaf, -np.cumsum(leaf), np.cumsum(~leaf) - 1)
        lines = {
            "num_leaves": [leaf.sum()],
            "num_cat": [0],
            "split_feature": trees.forest.feature[part][~leaf],
            "threshold": trees.threshold[part][~leaf].astype(np.float64),
            "decision_type": np.zeros((~leaf).sum(), int),  # numbers only, none is missing
            "left_child": number[trees.left[part][~leaf] - start],
            "right_child": number[trees.right[part][~leaf] - start],
            "leaf_value": trees.value[part][leaf],
            "shrinkage": [1],
        }
        text = [
            f"{name}={' '.join(map(str, np.asarray(of).tolist()))}" for name, of in lines.items()
        ]
        blocks.append("\n".join([f"Tree={index}", *text]))
    return "\n\n".join([*blocks, "end of trees", ""])


def _open_tl2cgen(fitted: Fitted, folder: Path) -> Predict:
    import tl2cgen
    import treelite

    nodes = len(fitted.forest.feature)
    if nodes > MAX_COMPILED_NODES:
        raise Absent(f"{nodes} nodes as C are not compiled: more than {MAX_COMPILED_NODES}")
    if shutil.which("gcc") is None:
        raise Absent("there is no gcc")
    library = folder / f"{fitted.recipe}.so"
    tl2cgen.export_lib(treelite.sklearn.import_model(fitted.estimator), "gcc", library)
    predictor = tl2cgen.Predictor(library, nthread=1)

    def predict(x: NDArray[np.float32]) -> NDArray[Any]:
        found = predictor.predict(tl2cgen.DMatrix(x, dtype="float32"))
        return np.asarray(found).reshape(len(x), -1)[:, -1]

    return predict


def _open_gtil(fitted: Fitted, _folder: Path) -> Predict:
    import treelite

    model = treelite.sklearn.import_model(fitted.estimator)
    return lambda x: treelite.gtil.predict(model, x, nthread=1).reshape(len(x), -1)[:, -1]


def _open_onedal(fitted: Fitted, _folder: Path) -> Predict:
    import daal4py
    import treelite

    daal4py.daalinit(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a forest becomes a regression, as wanted
        model: Any = daal4py.mb.convert_model(treelite.sklearn.import_model(fitted.estimator))
    if fitted.forest.kind == "vote":
        return lambda x: model.predict(x).reshape(-1)
    return lambda x: model.predict_proba(x)[:, 1]


PEERS: Final[dict[str, tuple[str, Callable[[Fitted, Path], Predict]]]] = {
    "onnxruntime": ("onnxruntime", _open_onnxruntime),
    "LightGBM": ("lightgbm", _open_lightgbm),
    "tl2cgen": ("tl2cgen", _open_tl2cgen),
    "treelite GTIL": ("treelite", _open_gtil),
    "oneDAL": ("scikit-learn-intelex", _open_onedal),
}
"""The package that a peer comes with, and how it is given a model."""


def open_peers(fitted: Fitted, folder: Path) -> tuple[dict[str, Predict], dict[str, str]]:
    """Peers that can run a model here, with their versions, and why the others cannot.

    ``folder`` is for what they compile.
    """
    found, absent = {}, {}
    for name, (package, open_peer) in PEERS.items():
        try:
            label = f"{name} {version(package)}"
            found[label] = open_peer(fitted, folder)
        except ImportError:
            absent[name] = f"{package} is not installed"
        except Absent as error:
            absent[name] = str(error)
        except Exception as error:  # noqa: BLE001 (a peer that fails must not end the benchmark)
            absent[name] = f"it fails: {type(error).__name__}: {error}"
    return found, absent
