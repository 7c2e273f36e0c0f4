"""A small model with all that extra bands need, made of a published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cropmask.core.applicability import Applicability
from cropmask.core.forest import Forest
from cropmask.modelfile.model import read_model, write_model

EASTERN = Path(__file__).parents[1] / "models" / "eastern" / "forest.cropmodel"
TABLE = (np.arange(101) ** 2 // 100).astype(np.uint8)
"""Calibrated percentages that are all but the vote."""


def make_known(forest: Forest, *, threshold: float = 0.05, rows: int = 60) -> Applicability:
    """Some features of a model, and samples of nowhere: cuts of its trees."""
    names = [name for name in forest.features if name.startswith(("nir", "red_S", "NDVI", "rain"))]
    rng = np.random.default_rng(5)
    samples = np.empty((rows, len(names)), np.float32)
    for column, name in enumerate(names):
        at = forest.features.index(name)
        cuts = forest.cuts[forest.offsets[at] : forest.offsets[at + 1]]
        samples[:, column] = rng.choice(cuts, rows)
    return Applicability(
        features=tuple(names),
        center=samples.mean(axis=0, dtype=np.float64),
        factor=1 / samples.std(axis=0, dtype=np.float64),
        samples=samples,
        mean_distance=3.0,
        threshold=threshold,
    )


def write_whole_model(path: Path, *, threshold: float = 0.8, table: bool = True) -> Path:
    """A model file that has a table of calibrated percentages and knows its samples."""
    model = read_model(EASTERN)
    known = make_known(model.forest, threshold=threshold)
    calibration = TABLE if table else None
    write_model(path, model.forest, model.manifest, model.probes, calibration, known)
    return path
