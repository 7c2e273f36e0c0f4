"""Exact inference of tree ensembles held as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

LEAF: Final = 255
"""Value of :attr:`Forest.feature` that marks a leaf."""
LEAST_THRESHOLD: Final = 0.01
"""A threshold lies from here to as far below 1: percentages must tell both sides apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A tree ensemble as plain arrays; nodes of all trees in pre-order.

    A node's left child is the next node; ``right`` holds the other one. A feature value goes
    left when its rank, the number of the feature's cuts that are strictly below it, is at most
    the node's ``rank``: the same as ``value <= cuts[offsets[feature] + rank]``.
    """

    features: tuple[str, ...]
    """Features in order, each a text of :mod:`cropmask.core.formulas`; at most 254."""
    kind: Literal["vote", "logit"]
    """``vote``: the probability is the mean of the leaves (random forest). ``logit``: it is the
    logistic function of ``baseline`` plus the sum of the leaves (gradient boosting)."""
    baseline: float
    """Added to the sum of the leaves of a ``logit`` ensemble; 0 for ``vote``."""
    cuts: NDArray[np.float32]
    """Thresholds, strictly ascending within each feature, rounded *down* from float64.

    A float32 value is at most a float64 threshold exactly when it is at most the largest float32
    that is not above it. Rounded to the nearest, votes would change on one pixel in twenty.
    """
    offsets: NDArray[np.int32]
    """``(features + 1,)``: cuts of feature f are ``cuts[offsets[f]:offsets[f + 1]]``."""
    roots: NDArray[np.int32]
    """``(trees,)``: index of each tree's first node, ascending, the first 0."""
    feature: NDArray[np.uint8]
    """``(nodes,)``: feature of an inner node, :data:`LEAF` of a leaf."""
    rank: NDArray[np.uint16]
    """``(nodes,)``: rank of an inner node's cut; index into ``leaves`` of a leaf."""
    right: NDArray[np.int32]
    """``(nodes,)``: right child of an inner node, always greater than its left child; 0 of a
    leaf."""
    leaves: NDArray[np.float64]
    """Distinct values of the leaves, ascending."""
    digest: str
    """SHA-256 of the model file, or empty for a forest that comes from no file."""
    threshold: float = 0.5
    """A pixel is crop where its probability is strictly over it; one half as published."""


def move_odds(p: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Probabilities of any shape with their odds moved such that a threshold becomes one half.

    ``p (1 - t) / (p (1 - t) + t (1 - p))``: what Bayes' rule makes of a vote when the classes that
    balance at the threshold are taken as equally frequent. The order stays; one half changes
    nothing.
    """
    if threshold == 0.5:
        return p
    crop, other = p * (1 - threshold), threshold * (1 - p)
    return np.asarray(crop / (crop + other))
