"""Exact inference of a :class:`~cropmask.core.forest.Forest`, sixty-four pixels at a time.

Neighboring pixels take nearly the same way through a tree. So a *packet* of 64 pixels walks a
tree together: a node's compare gives a 64-bit mask of the pixels that go left, and only children
with pixels left are visited. Many packets walk the same tree level by level (a wave), so that no
step waits for the one before and no branch has to be guessed.

Measured on real pixels: some 60 nodes are visited per tree and packet, where 64 pixels one by one
would visit 790. Pixels without likeness to their neighbors lose that, not the exactness.

Votes are counted as integers and leaf values are added as float64 in the order of the trees, so
the result is that of scikit-learn bit by bit, whatever the packets, blocks or threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core._packets import count_reached
from cropmask.core._simd import GROUP, LANES
from cropmask.core._walk import (
    ENTRY_BYTES,
    GROUP_ENTRY_BYTES,
    IN_REGISTERS,
    Masks,
    count_votes,
    sum_leaves,
)
from cropmask.core.forest import LEAF, Forest, move_odds
from cropmask.core.ranker import make_buckets
from cropmask.errors import Reason, Rejected

BLOCK_PACKETS: Final = 128
"""Packets that walk together: their ranks stay in the second-level cache."""

Wave = NDArray[np.uint16]
Packets = NDArray[Any]
"""Ranks ``(group, row, lane)``, uint8 or uint16; a group has the lanes of its packets, 64 each."""

MAX_TREE_NODES: Final = 1 << 15
"""A child has 15 bits of a word."""
PERCENT_BUCKETS: Final = 1 << 10
MAX_FEATURES: Final = 254
"""A feature's row times 64 has 14 bits of a word, and 255 marks a leaf in a model file."""
_BYTE: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A forest laid out for walking; make it once with :func:`make_engine`."""

    words: NDArray[np.uint64]
    """Inner nodes of all trees, each one load: 16 bits rank, 14 bits 64 times the number of the
    feature's row, 15 bits left and 15 bits right child (inner node or leaf number in the tree),
    then four flags: left is inner, right is inner, right is a crop leaf, left is a crop leaf."""
    roots: NDArray[np.int64]
    """``(trees + 1,)``: first word of each tree."""
    leaf_values: NDArray[np.float64]
    """Values of all leaves, tree by tree, then as many zeros as a walk may look at beyond them;
    empty when every leaf is pure and votes are counted."""
    leaf_starts: NDArray[np.int64]
    """``(trees + 1,)``: first leaf value of each tree."""
    features: int
    baseline: float
    percent_cuts: NDArray[np.float64]
    """``(100,)``: a score of at least ``percent_cuts[k]`` has a rounded percentage over ``k``."""
    percent_search: tuple[NDArray[np.float64], np.float64, np.float64, NDArray[np.uint16]]
    """The same cuts closed by infinity, and :func:`~cropmask.core.ranker.make_buckets` of them."""
    percents: NDArray[np.uint8]
    """``(trees + 1,)``: percentage of each number of votes."""
    lane: np.dtype[Any]
    """Type of ranks and leaf numbers in packets: a byte where all of them fit."""

    @property
    def counts_votes(self) -> bool:
        """Whether scores are numbers of votes, else sums of leaf values."""
        return self.leaf_values.size == 0

    @property
    def packet_rows(self) -> int:
        """Rows of lanes of a packet: one of its own, one per feature."""
        return self.features + 1

    @property
    def group(self) -> int:
        """Packets that lie side by side in a row, and walk as one."""
        return 1 if self.counts_votes else GROUP


def make_engine(forest: Forest) -> Engine:
    """Lay out a forest for walking; Rejected if its trees or features do not fit a word."""
    if len(forest.features) > MAX_FEATURES:
        raise Rejected(
            f"a model of {len(forest.features)} features is too wide: at most {MAX_FEATURES}",
            reason=Reason.BAD_MODEL,
        )
    inner = forest.feature != LEAF
    tree = np.repeat(
        np.arange(forest.roots.size), np.diff(forest.roots, append=forest.feature.size)
    )
    number = np.where(inner, _number(inner, tree, forest), _number(~inner, tree, forest))
    if number.max(initial=0) >= MAX_TREE_NODES:
        raise Rejected(
            f"a tree of the model is too large: at most {MAX_TREE_NODES} inner nodes or leaves",
            reason=Reason.BAD_MODEL,
        )
    # Trees that were grown to the end have pure leaves: each tree votes, the probability is votes
    # by trees exactly, and a leaf needs no number but one bit.
    votes = forest.kind == "vote" and bool(np.isin(forest.leaves, (0.0, 1.0)).all())
    leaves = np.bincount(tree[~inner], minlength=forest.roots.size)
    # A rank may be as large as the number of cuts: one more than the ranks of nodes.
    fits = max(np.diff(forest.offsets).max() + 1, leaves.max()) <= _BYTE
    lane: np.dtype[Any] = np.dtype(np.uint8 if fits and not votes else np.uint16)
    words, roots = _words(forest, inner, tree, number)
    values = forest.leaves[forest.rank[~inner]]
    beyond = np.zeros(max(int(leaves.max()), IN_REGISTERS))
    cuts = _percent_cuts(forest, votes)
    return Engine(
        words=words,
        roots=roots,
        leaf_values=np.empty(0) if votes else np.append(values, beyond),
        leaf_starts=np.concatenate(([0], np.cumsum(leaves))).astype(np.int64),
        features=len(forest.features),
        baseline=forest.baseline,
        percent_cuts=cuts,
        percent_search=(np.append(cuts, np.inf), *make_buckets(cuts, PERCENT_BUCKETS)),
        percents=np.searchsorted(cuts, np.arange(roots.size), side="right").astype(np.uint8),
        lane=lane,
    )


def _number(
    chosen: NDArray[np.bool_], tree: NDArray[np.int64], forest: Forest
) -> NDArray[np.int64]:
    """Number of each chosen node among the chosen nodes of its tree."""
    running: NDArray[np.int64] = np.cumsum(chosen) - chosen
    return np.asarray(running - running[forest.roots][tree], np.int64)


def _words(
    forest: Forest, inner: NDArray[np.bool_], tree: NDArray[np.int64], number: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    # Nodes stay in pre-order: an inner left child is the next word, mostly on the same cache line.
    crop = ~inner & (forest.leaves[np.where(inner, 0, forest.rank)] == 1.0)
    nodes = np.flatnonzero(inner)
    left, right = nodes + 1, forest.right[nodes]
    words = (
        _bits(forest.rank[nodes], 0)
        | _bits((forest.feature[nodes].astype(np.int64) + 1) * LANES, 16)
        | _bits(number[left], 30)
        | _bits(number[right], 45)
        | _bits(inner[left], 60)
        | _bits(inner[right], 61)
        | _bits(crop[right], 62)
        | _bits(crop[left], 63)
    )
    sizes = np.bincount(tree[nodes], minlength=forest.roots.size)
    # A tree of a single leaf gets one inner node whose children are both that leaf, so that no
    # walk has to ask whether a root is a leaf: its rank is over any, and all pixels go left.
    bare = np.flatnonzero(sizes == 0)
    leaf_is_crop = crop[forest.roots[bare]]
    lone = _bits(np.full(bare.size, 0xFFFF), 0) | _bits(np.full(bare.size, LANES), 16)
    lone |= _bits(leaf_is_crop, 62) | _bits(leaf_is_crop, 63)
    firsts = np.concatenate(([0], np.cumsum(sizes)))
    words = np.insert(words, firsts[bare], lone)
    roots = np.concatenate(([0], np.cumsum(np.maximum(sizes, 1))))
    return np.ascontiguousarray(words), roots.astype(np.int64)


def _bits(values: NDArray[np.generic], shift: int) -> NDArray[np.uint64]:
    return np.asarray(values).astype(np.uint64) << np.uint64(shift)


def _percent_cuts(forest: Forest, votes: bool) -> NDArray[np.float64]:
    """Smallest scores whose percentage rounds to 1, 2 ... 100, clamped around one half.

    Percentages are rounded half to even, of odds moved such that the threshold is one half; a
    score is over 50 exactly when the label is crop.
    """
    # Comparing scores with cuts moves the logistic function and the rounding out of the pixels,
    # and takes the decision at one half where scikit-learn takes it: strictly over, never at a tie.
    trees, threshold = forest.roots.size, forest.threshold
    halves = move_odds((np.arange(100) + 0.5) / 100, 1 - threshold)  # moved back
    if forest.kind == "logit":
        cuts = np.array([math.log(p / (1 - p)) for p in halves])
        if threshold == 0.5:
            crop = float(np.nextafter(0.0, 1.0))  # a logit of exactly 0 is a tie, not crop
        else:
            near = math.log(threshold / (1 - threshold))
            crop = _first(lambda score: 1 / (1 + math.exp(-score)) > threshold, near)
    elif votes:
        shares = np.arange(trees + 1) / trees
        percents = np.rint(100 * move_odds(shares, threshold))
        cuts = np.searchsorted(percents, np.arange(1, 101)).astype(np.float64)
        crop = float(np.searchsorted(shares, threshold, side="right"))
    else:
        cuts = np.array([_first_percent(k, trees, threshold, halves[k]) for k in range(100)])
        crop = _first(lambda score: score / trees > threshold, threshold * trees)
    cuts[:50] = np.minimum(cuts[:50], crop)
    cuts[50] = crop
    cuts[51:] = np.maximum(cuts[51:], crop)
    return cuts


def _first_percent(over: int, trees: int, threshold: float, near: float) -> float:
    """Smallest sum of leaf values whose percentage is over one; ``near`` is its mean, nearly."""

    def is_over(score: float) -> bool:
        share = move_odds(np.array(score / trees), threshold)
        return bool(np.rint(100 * share) > over)

    return _first(is_over, near * trees)


def _first(holds: Callable[[float], bool], near: float) -> float:
    """Smallest score for which something holds, a few steps of rounding from a near one."""
    while holds(near):
        near = math.nextafter(near, -math.inf)
    while not holds(near):
        near = math.nextafter(near, math.inf)
    return near


def make_scratch(engine: Engine, packets: int = BLOCK_PACKETS) -> tuple[Packets, Wave]:
    """Working memory of one thread: ``packets`` packets, whole groups, and the two waves."""
    group = engine.group
    rows = aligned((packets // group, engine.packet_rows, group * LANES), engine.lane)
    # A wave has at most one entry per pixel; two more absorb the unconditional stores.
    entry = ENTRY_BYTES if group == 1 else GROUP_ENTRY_BYTES
    wave = aligned((2 * (packets * LANES + 2) * (entry // 2),), np.dtype(np.uint16))
    return rows, wave


def aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
    """Memory that begins where a cache line does."""
    size = math.prod(shape) * kind.itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(kind).reshape(shape)


def score(engine: Engine, packets: Packets, active: Masks, wave: Wave) -> NDArray[Any]:
    """Scores ``(packet, lane)`` of ranked packets: numbers of votes, or sums of leaf values."""
    shape = active.size, LANES
    if engine.counts_votes:
        votes = aligned(shape, np.dtype(np.uint16))
        count_votes(engine.words, engine.roots, packets, active, wave, votes)
        return votes
    sums = aligned(shape, np.dtype(np.float64))
    leaves = engine.leaf_values, engine.leaf_starts, engine.baseline
    sum_leaves(engine.words, engine.roots, *leaves, packets, active, wave, sums)
    return sums


def percent(engine: Engine, packets: Packets, active: Masks, wave: Wave) -> NDArray[np.uint8]:
    """Probability in percent ``(packet, lane)`` of ranked packets, over 50 exactly for crop."""
    scores = score(engine, packets, active, wave)
    if engine.counts_votes:
        return np.asarray(engine.percents[scores])
    reached = np.empty(scores.shape, np.uint8)
    count_reached(*engine.percent_search, scores, reached)
    return reached


def predict(forest: Forest, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probability of crop of rows of features, as scikit-learn's ``predict_proba(x)[:, 1]``.

    Parameters
    ----------
    x
        ``(row, feature)`` in the order of ``forest.features``; values that are not finite count
        as 0.

    Returns
    -------
    NDArray[np.float64]
        ``(row,)``, 0 to 1.
    """
    engine = make_engine(forest)
    packets, wave = make_scratch(engine)
    scores = np.empty(x.shape[0])
    clean = np.where(np.isfinite(x), x, np.float32(0)).astype(np.float32)
    for start in range(0, x.shape[0], BLOCK_PACKETS * LANES):
        rows = clean[start : start + BLOCK_PACKETS * LANES]
        active = pack_rows(forest, rows, packets)
        lanes = score(engine, packets, active, wave).reshape(-1)
        scores[start : start + rows.shape[0]] = lanes[: rows.shape[0]]
    if forest.kind == "logit":
        return logistic(scores)
    return np.asarray(scores / forest.roots.size)


def logistic(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic function of each score ``(row,)``, as scikit-learn has it to the last bit."""
    # numpy's exponential differs from the C library's, which scikit-learn uses, in the last bit.
    most = 709.78  # its exponential is still a number
    return np.array([1 / (1 + math.exp(-s)) if s > -most else 0.0 for s in scores.tolist()])


def pack_rows(forest: Forest, rows: NDArray[np.float32], packets: Packets) -> NDArray[np.uint64]:
    """Fill packets with the ranks of rows of features; returns the masks of their lanes."""
    groups, _, lanes = packets.shape
    groups = min(groups, -(-rows.shape[0] // lanes))
    ranks = np.zeros((groups * lanes, rows.shape[1]), packets.dtype)
    for f in range(rows.shape[1]):
        cuts = forest.cuts[forest.offsets[f] : forest.offsets[f + 1]]
        ranks[: rows.shape[0], f] = np.searchsorted(cuts, rows[:, f])
    packets[:groups, 1:] = ranks.reshape(groups, lanes, -1).transpose(0, 2, 1)
    return np.full(groups * lanes // LANES, ~np.uint64(0))
