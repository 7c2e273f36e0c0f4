"""Validation figures as values: what is measured, and how certain it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


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


Kind = Literal["random", "grouped", "spatial"]


class Scores(Value):
    """One cross-validation of a recipe.

    ``random`` folds hold out single rows, whose neighbors stay in the training set: an upper
    bound. ``grouped`` folds hold out whole clusters of like rainfall, ``spatial`` ones whole
    clusters of places: nearer to land that nobody visited. Figures of different kinds must not
    be ranked against each other.
    """

    kind: Kind
    folds: int
    groups: int | None
    """Number of clusters; None where single rows are held out."""
    balanced_accuracy: Figure
    f1: Figure
    auc: Figure
    brier: Figure


class Coordinates(Value):
    """A 5-nearest-neighbor that knows nothing but where a sample lies, on random folds.

    What it scores is what random folds give away.
    """

    accuracy: Figure
    balanced_accuracy: Figure


class Validation(Value):
    """All cross-validations of one recipe on one set of samples."""

    random: Scores
    grouped: Scores
    spatial: Scores | None = None
    """None where the samples have no coordinates."""
    coordinates_only: Coordinates | None = None

    @property
    def scores(self) -> tuple[Scores, ...]:
        """The cross-validations that were made."""
        return tuple(s for s in (self.random, self.grouped, self.spatial) if s is not None)
