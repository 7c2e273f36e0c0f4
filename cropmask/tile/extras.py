"""Extra bands of a tile: what of its model they need, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cropmask.core.extras import NO_EXTRAS, Extras, make_tables
from cropmask.errors import Reason, Rejected
from cropmask.modelfile.model import Model
from cropmask.product import CELL_METERS, DISSIMILARITY
from cropmask.region.region import write_training

Calibration = Literal["table", "vote", "unknown"]
"""Where the band of calibrated percentages is from: a table of the model; the vote itself, found
as good by whoever trained the model; or that of an imported model, of which nothing is known."""


def make_extras(model: Model, names: Sequence[str], resolution: int) -> Extras:
    """What some extra bands are computed from; Rejected if the model has not what they need."""
    if not names:
        return NO_EXTRAS
    check_extras(model, names)
    return Extras(
        tables=make_tables(tuple(names), model.calibration),
        known=model.applicability if DISSIMILARITY.name in names else None,
        cell=cell_pixels(resolution),
    )


def check_extras(model: Model, names: Sequence[str]) -> None:
    """Raise Rejected if a model has not what some extra bands need."""
    if DISSIMILARITY.name in names and model.applicability is None:
        made, what = model.manifest, "imported"
        other = "use a model that was trained here"
        if made.source is None and made.region is not None:
            what = made.recipe
            other = f"train it anew: '{write_training('train', made.region, made.recipe)}'"
        raise Rejected(
            f"the {what} model does not hold its training samples, so band "
            f"'{DISSIMILARITY.name}' cannot be made: leave it out, or {other}",
            reason=Reason.NO_APPLICABILITY,
        )


def cell_pixels(resolution: int) -> int:
    """Pixels of the edge of a cell that has one dissimilarity."""
    return max(1, CELL_METERS // resolution)


def find_calibration(model: Model) -> Calibration:
    """Where calibrated percentages of a model are from."""
    if model.calibration is not None:
        return "table"
    return "vote" if model.manifest.source is None else "unknown"
