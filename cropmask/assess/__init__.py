"""Numbers with intervals: from a sample of labeled places to accuracies and areas.

Imports the vocabulary and, for what touches the world, rooms below; the modules of arithmetic
(``intervals``, ``matrix``, ``accuracy``, ``area``, ``size``) import numpy and the errors only.
No pixel is mapped here, and no figure is made up where the design cannot carry it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cropmask.assess.accuracy import (
        Accuracy,
        MapComparison,
        assess_accuracy,
        compare_maps,
    )
    from cropmask.assess.area import AreaEstimate, estimate_area, estimate_areas_by_domain
    from cropmask.assess.intervals import Estimated
    from cropmask.assess.matrix import Confusion, count_labels, count_matrix
    from cropmask.assess.size import allocate, sample_size

__all__ = [
    "Accuracy",
    "AreaEstimate",
    "Confusion",
    "Estimated",
    "MapComparison",
    "allocate",
    "assess_accuracy",
    "compare_maps",
    "count_labels",
    "count_matrix",
    "estimate_area",
    "estimate_areas_by_domain",
    "sample_size",
]

_HOMES = {
    "Accuracy": "accuracy",
    "AreaEstimate": "area",
    "Confusion": "matrix",
    "Estimated": "intervals",
    "MapComparison": "accuracy",
    "allocate": "size",
    "assess_accuracy": "accuracy",
    "compare_maps": "accuracy",
    "count_labels": "matrix",
    "count_matrix": "matrix",
    "estimate_area": "area",
    "estimate_areas_by_domain": "area",
    "sample_size": "size",
}
"""Where the names live that are loaded on first use."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the name stands for)
    if name not in _HOMES:
        raise AttributeError(f"module 'cropmask.assess' has no attribute '{name}'")
    found = getattr(import_module(f"cropmask.assess.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
