"""How the arrays of a forest are coded in a file, and the laws they must keep.

Nothing here trusts its input: every function states a problem in a few words instead of
failing in numpy, and looks at an index before using it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.forest import LEAF, LEAST_THRESHOLD, Forest
from cropmask.core.formulas import Formula, parse_formula
from cropmask.core.program import make_program
from cropmask.errors import Rejected

MAX_TREES: Final = 5000
MAX_NODES: Final = 8_000_000
MAX_CUTS: Final = 65_535
"""Most cuts of one feature, so that every rank of a value fits 16 bits."""
MAX_TREE_LEAVES: Final = 1 << 15
"""Most leaves of one tree: the engine numbers them in 15 bits."""
MAX_OPEN: Final = 1000
"""Most right subtrees that wait while a tree is walked: what a walker's stack must hold."""

_SIGN: Final = np.uint32(0x8000_0000)


def right_children(
    feature: NDArray[np.uint8], trees: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Right children and roots, as in :class:`Forest`, of trees in pre-order.

    All that is needed is where the leaves are. ValueError if the nodes are not exactly this number
    of trees, or one of them is too large or deep.
    """
    # In pre-order, a node's right subtree begins behind the leaf that ends its left one. So inner
    # nodes and leaves pair up like brackets, and one cumulative sum finds all pairs.
    nodes = len(feature)
    if not 1 <= trees <= nodes <= MAX_NODES:
        raise ValueError("the number of its trees does not fit its nodes")
    leaf = feature == LEAF
    open_after = np.cumsum(np.where(leaf, -1, 1), dtype=np.int32)
    # A tree ends at the leaf that closes more than its tree opened: at every new minimum.
    least = np.minimum.accumulate(np.minimum(open_after, 0))
    ends = np.flatnonzero(np.diff(least, prepend=np.int32(0)))
    if len(ends) != trees or ends[-1] != nodes - 1:
        raise ValueError("its nodes are not whole trees")
    if int(np.diff(ends, prepend=-1).max()) >= 2 * MAX_TREE_LEAVES:
        raise ValueError(f"a tree of it has more than {MAX_TREE_LEAVES} leaves")
    roots = np.concatenate([[0], ends[:-1] + 1]).astype(np.int32)
    # Brackets: an inner node opens level 1, 2, ... of its tree, a leaf closes it; ends close 0.
    level = open_after + np.repeat(np.arange(trees, dtype=np.int32), np.diff(ends, prepend=-1))
    level += leaf
    if int(level.max()) > MAX_OPEN:
        raise ValueError("its trees are too deep")
    order = np.argsort(level.astype(np.uint16), kind="stable")[trees:]
    right = np.zeros(nodes, np.int32)
    right[order[0::2]] = order[1::2] + 1
    return right, roots


def encode_cuts(cuts: NDArray[np.float32], offsets: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Cuts as steps from one to the next of the same feature, in units in the last place."""
    # Cuts ascend, so the steps are small numbers, whose high bytes are mostly 0 and compress away.
    steps = _ordered(cuts)
    firsts = offsets[:-1][np.diff(offsets) > 0]
    coded = np.diff(steps, prepend=np.uint32(0))
    coded[firsts] = steps[firsts]
    return coded


def decode_cuts(
    steps: NDArray[np.uint32], counts: NDArray[np.uint32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Cuts and offsets of :class:`Forest` from steps and the number of cuts of each feature.

    ValueError if the numbers are not those of a forest's cuts.
    """
    if len(counts) and int(counts.max()) > MAX_CUTS:
        raise ValueError("a feature of it has too many cuts")
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    if offsets[-1] != len(steps):
        raise ValueError("the number of its cuts is not the one declared")
    total = np.cumsum(steps, dtype=np.uint64)
    before = np.concatenate([np.zeros(1, np.uint64), total])[offsets[:-1]]
    ordered = total - np.repeat(before, counts)
    if len(ordered) and int(ordered.max()) > 0xFFFF_FFFF:
        raise ValueError("its cuts are not numbers")
    return _from_ordered(ordered.astype(np.uint32)), offsets.astype(np.int32)


def check_values(forest: Forest) -> str | None:
    """What is wrong with the values of a forest's arrays, or None; structure is not looked at."""
    return (
        _check_features(forest)
        or _check_cuts(forest)
        or _check_nodes(forest)
        or _check_leaves(forest)
    )


def check_forest(forest: Forest) -> str | None:
    """What is wrong with a forest, or None if it keeps every law of :class:`Forest`."""
    dtypes = {
        "cuts": np.float32,
        "offsets": np.int32,
        "roots": np.int32,
        "feature": np.uint8,
        "rank": np.uint16,
        "right": np.int32,
        "leaves": np.float64,
    }
    for name, dtype in dtypes.items():
        array = getattr(forest, name)
        if array.dtype != dtype or array.ndim != 1:
            return f"'{name}' is not a row of {np.dtype(dtype).name}"
    if not len(forest.feature) == len(forest.rank) == len(forest.right):
        return "its nodes have not all a feature, a rank and a right child"
    try:
        right, roots = right_children(forest.feature, len(forest.roots))
    except ValueError as error:
        return str(error)
    if not np.array_equal(right, forest.right) or not np.array_equal(roots, forest.roots):
        return "a child of its trees is not where pre-order has it"
    return check_values(forest)


def _check_features(forest: Forest) -> str | None:
    known: dict[Formula, str] = {}
    try:
        for text in forest.features:
            formula = parse_formula(text)
            if formula in known:
                return f"its features '{known[formula]}' and '{text}' are the same"
            known[formula] = text
        make_program([(f, found) for f, found in enumerate(known) if not found.is_published])
    except Rejected as error:
        return str(error)
    return None if 1 <= len(known) < LEAF else "its features are not 1 to 254 different ones"


def _check_cuts(forest: Forest) -> str | None:
    count = len(forest.features)
    offsets, cuts = forest.offsets, forest.cuts
    counts = np.diff(offsets)
    if len(offsets) != count + 1 or offsets[0] != 0 or offsets[-1] != len(cuts):
        return "its cuts are not those of its features"
    if int(counts.min()) < 0 or int(counts.max()) > MAX_CUTS:
        return "a feature of it has too many cuts"
    if not np.isfinite(cuts).all():
        return "its cuts are not all numbers"
    rises = np.diff(cuts) > 0
    borders = offsets[1:-1]
    rises[borders[(borders > 0) & (borders < len(cuts))] - 1] = True
    return None if rises.all() else "the cuts of a feature do not ascend"


def _check_nodes(forest: Forest) -> str | None:
    leaf = forest.feature == LEAF
    feature = forest.feature[~leaf]
    if len(feature) and int(feature.max()) >= len(forest.features):
        return "a node tests a feature that is not there"
    if (forest.rank[~leaf] >= np.diff(forest.offsets)[feature]).any():
        return "a node tests a cut that is not there"
    if int(forest.rank[leaf].max()) >= len(forest.leaves):
        return "a leaf has a value that is not there"
    return None


def _check_leaves(forest: Forest) -> str | None:
    leaves = forest.leaves
    if not 1 <= len(leaves) <= MAX_CUTS + 1:
        return "the number of its leaf values is out of range"
    if not np.isfinite(leaves).all() or not (np.diff(leaves) > 0).all():
        return "its leaf values are not ascending numbers"
    if not np.isfinite(forest.baseline):
        return "its baseline is not a number"
    if not LEAST_THRESHOLD <= forest.threshold <= 1 - LEAST_THRESHOLD:
        return f"its threshold is not from {LEAST_THRESHOLD} to {1 - LEAST_THRESHOLD}"
    if forest.kind == "vote" and (leaves[0] < 0 or leaves[-1] > 1 or forest.baseline != 0):
        return "its leaf values are not shares of crop"
    return None


def _ordered(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned integers in the order of the values; one more is the next representable value."""
    bits = values.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.uint32, copy=False)


def _from_ordered(ordered: NDArray[np.uint32]) -> NDArray[np.float32]:
    bits: NDArray[Any] = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered)
    return bits.astype(np.uint32, copy=False).view(np.float32)
