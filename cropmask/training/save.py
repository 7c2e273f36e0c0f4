"""Writing what training made: the model file, its card, and its name in the region file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cropmask.errors import CropmaskError
from cropmask.modelfile.model import SUFFIX, write_model
from cropmask.product import Recipe
from cropmask.region import Region
from cropmask.training.card import Card, load_card, make_card, make_model_card, put_card
from cropmask.training.figures import Validation
from cropmask.training.fit import Fitted, hyperparameters
from cropmask.training.regionfile import put_model_ref
from cropmask.training.samples import Samples


@dataclass(frozen=True, slots=True)
class Saved:
    """What was written."""

    file: Path
    sha256: str
    card: Card
    named: bool
    """Whether a region file beside the model names it now."""


def save(folder: Path, region: Region, fitted: Fitted) -> Saved:
    """Write a model and its card into a folder, and name it in the region file there.

    A validation that the card holds of the very same fit stays in it.

    Raises
    ------
    Misconfigured
        If something cannot be written.
    """
    recipe = fitted.manifest.recipe
    file = folder / f"{recipe}{SUFFIX}"
    old = load_card(folder)
    sha256 = write_model(file, fitted.forest, fitted.manifest, fitted.probes)
    card = make_card(region)
    if old is not None and old.region == region.name:
        card = card.model_copy(update={"models": old.models})
    entry = make_model_card(file, sha256, fitted.forest, fitted.manifest, card.models.get(recipe))
    card = card.with_model(recipe, entry)
    put_card(folder, card)
    return Saved(file, sha256, card, put_model_ref(folder, recipe, file.name, sha256))


def save_validation(
    folder: Path, region: Region, samples: Samples, recipe: Recipe, found: Validation
) -> tuple[Card, str | None]:
    """Put a validation into the card of the same fit; the reason when it is not put anywhere.

    Returns
    -------
    card, reason
        The card, changed if ``reason`` is None.
    """
    card = load_card(folder) or make_card(region)
    entry = card.models.get(recipe)
    if entry is None:
        return card, f"it has no {recipe} model"
    if entry.samples.sha256 != samples.sha256:
        return card, f"its {recipe} model was fitted on other samples"
    if entry.model.hyperparameters != hyperparameters(recipe, region.training):
        return card, f"its {recipe} model was fitted with other hyperparameters"
    changed = card.with_model(recipe, entry.model_copy(update={"validation": found}))
    try:
        put_card(folder, changed)
    except CropmaskError as error:
        return card, str(error)
    return changed, None
