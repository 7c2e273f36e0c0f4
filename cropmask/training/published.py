"""Figures that Digital Earth Africa published for its cropland maps, to print beside ours.

Sources: the training notebooks of the crop-mask repository (cross-validation) and the cropland
extent map specifications (independent validation), both CC BY 4.0 by Digital Earth Africa.
"""

from __future__ import annotations

from typing import Final, Literal

from cropmask.training.figures import Value


class CrossValidation(Value):
    """Printed figures of one cross-validation; only figures of the same kind compare."""

    kind: Literal["random", "spatial"]
    design: str
    """Folds, as ``5x5`` for five outer and five inner ones, or the cluster distance."""
    balanced_accuracy: float
    f1: float
    auc: float


class Independent(Value):
    """Validation of the published map against points that were not used to make it."""

    points: int
    overall_percent: float
    producer_percent: float
    """Share of crop points that are mapped as crop."""
    user_percent: float
    """Share of points mapped as crop that are crop."""
    f1: float
    band: Literal["mask", "filtered"] = "mask"


class PublishedFigures(Value):
    """All that was published of one region."""

    cross_validations: tuple[CrossValidation, ...]
    independent: Independent


def _random(design: str, accuracy: float, f1: float, auc: float) -> CrossValidation:
    return CrossValidation(kind="random", design=design, balanced_accuracy=accuracy, f1=f1, auc=auc)


def _spatial(design: str, accuracy: float, f1: float, auc: float) -> CrossValidation:
    return CrossValidation(
        kind="spatial", design=design, balanced_accuracy=accuracy, f1=f1, auc=auc
    )


def _points(
    count: int,
    overall: float,
    producer: float,
    user: float,
    f1: float,
    band: Literal["mask", "filtered"] = "mask",
) -> Independent:
    return Independent(
        points=count,
        overall_percent=overall,
        producer_percent=producer,
        user_percent=user,
        f1=f1,
        band=band,
    )


PUBLISHED_FIGURES: Final[dict[str, PublishedFigures]] = {
    "eastern": PublishedFigures(
        cross_validations=(
            _spatial("500 km", 0.52, 0.46, 0.535),
            _spatial("500 km, production run", 0.55, 0.47, 0.579),
        ),
        independent=_points(300, 90.3, 81.0, 89.0, 0.85),
    ),
    "western": PublishedFigures(
        cross_validations=(_spatial("600 km", 0.60, 0.42, 0.694),),
        independent=_points(298, 83.6, 74.2, 75.0, 0.75),
    ),
    "northern": PublishedFigures(
        cross_validations=(
            _spatial("750 km", 0.55, 0.34, 0.660),
            _random("5x5", 0.82, 0.77, 0.926),
        ),
        independent=_points(300, 94.0, 90.0, 91.8, 0.91, "filtered"),
    ),
    "sahel": PublishedFigures(
        cross_validations=(_random("5x5", 0.82, 0.77, 0.916),),
        independent=_points(288, 87.9, 70.5, 87.3, 0.78),
    ),
    "southern": PublishedFigures(
        cross_validations=(_random("7x5", 0.78, 0.73, 0.882),),
        independent=_points(162, 86.4, 67.4, 84.6, 0.75),
    ),
    "southeast": PublishedFigures(
        cross_validations=(_random("7x5", 0.77, 0.74, 0.857),),
        independent=_points(134, 87.3, 89.4, 77.8, 0.83),
    ),
    "central": PublishedFigures(
        cross_validations=(_random("7x5", 0.84, 0.81, 0.921),),
        independent=_points(145, 88.3, 84.4, 79.2, 0.82),
    ),
    "indian_ocean": PublishedFigures(
        cross_validations=(_random("7x5", 0.86, 0.84, 0.935),),
        independent=_points(150, 90.7, 76.0, 95.0, 0.84),
    ),
}
"""By region; a region of one's own has none."""
