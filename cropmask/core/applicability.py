"""What land a model knows: its training samples as they lie in the space of its features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
