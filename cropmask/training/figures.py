"""Validation figures as values: ours, and those that were published of the same regions."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

PUBLISHED_FILE: Final = Path(__file__).with_name("published_accuracy.toml")


class Value(BaseModel):
    """A frozen document."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Value):
    """A figure over folds."""

    mean: float
    sd: float
    """Standard deviation over the folds (population), not a confidence interval."""

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.sd:.3f}"


FIGURE_DECIMALS: Final = 4


def make_figure(values: Iterable[float]) -> Figure:
    """Mean and standard deviation of one value a fold."""
    numbers = np.fromiter(values, np.float64)
    return Figure(
        mean=round(float(numbers.mean()), FIGURE_DECIMALS),
        sd=round(float(numbers.std()), FIGURE_DECIMALS),
    )


Kind = Literal["random", "grouped", "buffered", "spatial"]
GroupedBy = Literal["place", "terrain", "rain"]
"""What makes rows one group: a distance, like rain and slope, or (in old cards) like rain."""


class Coordinates(Value):
    """A 5-nearest-neighbor that knows nothing but where a sample lies.

    What it scores on some folds is what nearness alone gives away there.
    """

    accuracy: Figure
    balanced_accuracy: Figure


class Scores(Value):
    """One cross-validation of a recipe.

    ``random`` folds hold out single rows, whose neighbors stay in the training set: an upper
    bound. ``grouped`` folds hold out whole groups, ``buffered`` ones also drop the training rows
    around them, ``spatial`` ones hold out groups of the published distance: nearer to land that
    nobody visited. Figures of different kinds must not be ranked against each other.
    """

    kind: Kind
    folds: int
    groups: int | None
    """Number of groups; None where single rows are held out."""
    by: GroupedBy | None = None
    """What makes a group; None where single rows are held out."""
    km: float | None = None
    """Places of a group lie at most this far apart; None where groups are no places."""
    buffer_km: float | None = None
    """Training rows within this distance of a held-out row were dropped."""
    balanced_accuracy: Figure
    f1: Figure
    auc: Figure
    brier: Figure
    """Of the model's own probability, whose odds are not moved."""
    coordinates_only: Coordinates | None = None
    """The baseline on the same folds; None where the samples have no coordinates."""


Method = Literal["isotonic", "beta", "logistic"]


class Bin(Value):
    """Held-out samples of like ``prob``: one row of a reliability diagram. All in percent."""

    prob: float
    """Mean of ``prob``."""
    calibrated: float
    """Mean of what tables that were fitted on other folds make of it."""
    crop: float
    """Share that is crop."""


class Reliability(Value):
    """How well ``prob`` is a frequency on held-out groups, and whether a table mends it.

    Calibrated figures are nested: the table of each fold was chosen and fitted on the others.
    """

    method: Method
    """The best one, by Brier score on held-out folds."""
    used: bool
    """Whether the model file has the table."""
    groupings: int
    folds: int
    samples: int
    ece: float
    """Expected calibration error of ``prob``, 15 bins of equal mass, mean over the groupings."""
    ece_calibrated: float
    worst: float
    """The error in the worst fold."""
    worst_calibrated: float
    brier: float
    """Of ``prob`` as it is in the map."""
    brier_calibrated: float
    bins: tuple[Bin, ...]
    table: tuple[int, ...] | None = None
    """Percent for each percent of ``prob``, if it is used."""


class Doubt(Value):
    """How much is known of held-out groups, and whether a close vote finds errors."""

    level: float
    """Coverage that the sets of classes are made for."""
    coverage: Figure
    """Share of samples whose class is in their set, over folds of held-out groups."""
    worst_coverage: float
    single: Figure
    """Share of samples whose set is a single class."""
    margin_auc: Figure | None
    """ROC AUC of the closeness of the vote for the samples that are classified wrongly; None if no
    fold has any."""


class Validation(Value):
    """All cross-validations of one recipe on one set of samples."""

    random: Scores
    grouped: Scores
    buffered: Scores | None = None
    """None where the samples have no coordinates, or lie too near to each other."""
    spatial: Scores | None = None
    """None where the samples have no coordinates, or the region names no distance."""
    calibration: Reliability | None = None
    """None where there are too few groups."""
    doubt: Doubt | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_old_card(cls, document: Any) -> Any:  # noqa: ANN401 (whatever is in a file)
        # Before there were groups of places: clusters of like rain, the baseline on random folds.
        if not isinstance(document, dict) or "coordinates_only" not in document:
            return document
        known = {key: value for key, value in document.items() if key != "coordinates_only"}
        only = document["coordinates_only"]
        if isinstance(known.get("random"), dict):
            known["random"] = {**known["random"], "coordinates_only": only}
        for kind, by in (("grouped", "rain"), ("spatial", "place")):
            if isinstance(known.get(kind), dict):
                known[kind] = {"by": by, **known[kind]}
        return known

    @property
    def scores(self) -> tuple[Scores, ...]:
        """The cross-validations that were made."""
        made = (self.random, self.grouped, self.buffered, self.spatial)
        return tuple(scores for scores in made if scores is not None)


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


@cache
def load_published() -> dict[str, PublishedFigures]:
    """Published figures by region; a region of one's own has none."""
    tables = tomllib.loads(PUBLISHED_FILE.read_text(encoding="utf-8"))
    return {name: PublishedFigures.model_validate(table) for name, table in tables.items()}
