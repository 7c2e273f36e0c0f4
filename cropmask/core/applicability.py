"""What land a model knows: its training samples as they lie in the space of its features.

Source: Meyer & Pebesma, Predicting into unknown space? Estimating the area of applicability of
spatial prediction models, Methods in Ecology and Evolution 12, 1620-1633, 2021, and the R package
CAST of the same authors. The dissimilarity of a pixel is its distance to the nearest training
sample by the mean distance of all pairs of samples; features are scaled by their standard
deviation and weighted by their importance to the model. It tells land that is unlike the samples,
not how doubtful a prediction is on land that is like them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core._nearest import Leaves, find_nearest, make_leaves

_CHUNK: Final = 256
"""Samples whose distances to all others are in memory at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Applicability:
    """The area of applicability of a model (Meyer & Pebesma 2021).

    Features that no tree uses are left out: their factor would be 0.
    """

    features: tuple[str, ...]
    """Names of the features, some of the model's, in its order."""
    center: NDArray[np.float64]
    """``(feature,)``: mean of the training samples."""
    factor: NDArray[np.float64]
    """``(feature,)``: the model's importance of the feature by its standard deviation, over 0."""
    samples: NDArray[np.float32]
    """``(row, feature)``: features of the training samples, not scaled; no row twice."""
    mean_distance: float
    """Mean distance of all pairs of training samples, scaled; over 0."""
    threshold: float
    """Dissimilarity up to which land is like the samples; over 0."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownLand:
    """Training samples made ready to be searched; make it once with :func:`know_land`."""

    applicability: Applicability
    leaves: Leaves


def know_land(applicability: Applicability) -> KnownLand:
    """Make the samples of a model ready to be searched."""
    return KnownLand(applicability, make_leaves(_scale(applicability, applicability.samples)))


def find_dissimilarity(
    known: KnownLand, values: NDArray[np.float32], most: float = np.inf
) -> NDArray[np.float64]:
    """Dissimilarity index of rows of features.

    Parameters
    ----------
    values
        ``(row, feature)`` in the order of the applicability's features, all finite.
    most
        What is farther is given as this: most of the search is spared on land far from all samples.

    Returns
    -------
    NDArray[np.float64]
        ``(row,)``; 0 at a training sample, 1 at the mean distance of two of them. From distances
        in float32: exact search, rounded in the seventh digit.
    """
    mean = known.applicability.mean_distance
    reach = np.float32(min((most * mean) ** 2, float(np.finfo(np.float32).max)))
    squared = find_nearest(known.leaves, _scale(known.applicability, values), reach)
    found = np.sqrt(squared.astype(np.float64)) / mean
    return np.asarray(np.where(squared >= reach, most, found))


def fit_applicability(
    features: Sequence[str],
    values: NDArray[np.float32],
    importance: NDArray[np.float64],
    folds: NDArray[np.int64],
) -> Applicability:
    """Fit the applicability of a model to its training samples.

    The threshold is the largest dissimilarity among the samples themselves that is no outlier: at
    most the third quartile and one and a half times the distance of the quartiles. A sample's
    nearest other is looked for outside its own fold, so that neighbors do not make land seem known.

    Parameters
    ----------
    features
        Names of the model's features.
    values
        ``(row, feature)``: features of the training samples, at least two different ones.
    importance
        ``(feature,)``: the model's importance of each feature, not negative; features of no
        importance, and those that are the same in all samples, are left out.
    folds
        ``(row,)``: fold of each sample, at least two different ones.

    Raises
    ------
    ValueError
        If samples, features or folds are too few to tell distances.
    """
    deviation = values.std(axis=0, dtype=np.float64, ddof=1) if len(values) > 1 else np.zeros(1)
    used = np.flatnonzero((importance > 0) & (deviation > 0))
    if not used.size or len(np.unique(folds)) < 2:
        raise ValueError("samples of two folds that differ are needed")
    center = values[:, used].mean(axis=0, dtype=np.float64)
    factor = importance[used] / deviation[used]
    scaled = (values[:, used] - center) * factor
    mean, nearest = _measure_distances(scaled, folds)
    low, high = np.quantile(nearest / mean, (0.25, 0.75))
    inside = nearest / mean <= high + 1.5 * (high - low)
    return Applicability(
        features=tuple(features[int(f)] for f in used),
        center=center,
        factor=factor,
        samples=np.unique(values[:, used], axis=0),
        mean_distance=mean,
        threshold=max(float((nearest / mean)[inside].max()), float(np.finfo(np.float32).tiny)),
    )


def _scale(applicability: Applicability, values: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled = (values.astype(np.float64) - applicability.center) * applicability.factor
    return np.ascontiguousarray(scaled, np.float32)


def _measure_distances(
    scaled: NDArray[np.float64], folds: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """Mean distance of all pairs, and of each sample ``(row,)`` to the nearest of another fold."""
    rows = len(scaled)
    nearest, total = np.empty(rows), 0.0
    lengths = (scaled**2).sum(axis=1)
    for start in range(0, rows, _CHUNK):
        some = slice(start, start + _CHUNK)
        # |a - b|^2 = |a|^2 + |b|^2 - 2 ab: a product of matrices, where differences would take
        # memory for every feature. What rounding leaves below 0 is 0.
        squared = lengths[some, np.newaxis] + lengths - 2 * scaled[some] @ scaled.T
        distance = np.sqrt(np.maximum(squared, 0))
        distance[np.arange(len(distance)), np.arange(start, start + len(distance))] = 0
        total += float(distance.sum())
        nearest[some] = np.where(folds[some, np.newaxis] == folds, np.inf, distance).min(axis=1)
    return total / (rows * (rows - 1)), nearest
