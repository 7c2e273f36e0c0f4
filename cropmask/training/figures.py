"""Validation figures as values: ours, and those that were published of the same regions."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

PUBLISHED_FILE: Final = Path(__file__).with_name("published.toml")


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
