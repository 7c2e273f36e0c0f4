"""Writing what training made: the model file, its card, and its name in the region file."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropmask.errors import CropmaskError, Misconfigured
from cropmask.modelfile.container import replace_file
from cropmask.modelfile.model import SUFFIX, Fitted, write_model
from cropmask.product import Recipe
from cropmask.region.region import REGION_FILE, Region, model_table, models_folder
from cropmask.training.card import (
    Card,
    ModelCard,
    find_published,
    is_same_fit,
    load_card,
    make_card,
    make_model_card,
    put_card,
)
from cropmask.training.figures import Validation
from cropmask.training.fit import hyperparameters, recipe_features
from cropmask.training.robust import CHOSEN
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

    A validation that the card holds of the very same fit stays in it, and the table of calibrated
    percentages that it found goes into the model file if ``fitted`` has none.
    """
    recipe = fitted.manifest.recipe
    file = folder / f"{recipe}{SUFFIX}"
    old = load_card(folder)
    if fitted.calibration is None and old is not None and old.region == region.name:
        fitted = replace(fitted, calibration=_find_table(fitted, old.models.get(recipe)))
    sha256 = write_model(
        file,
        fitted.forest,
        fitted.manifest,
        fitted.probes,
        fitted.calibration,
        fitted.applicability,
    )
    card = make_card(region)
    if old is not None and old.region == region.name:
        card = card.model_copy(update={"models": old.models})
    entry = make_model_card(file, sha256, fitted.forest, fitted.manifest, card.models.get(recipe))
    card = card.with_model(recipe, entry)
    put_card(folder, card)
    return Saved(file, sha256, card, put_model_ref(folder, recipe, file.name, sha256))


def make_table(found: Validation) -> NDArray[np.uint8] | None:
    """Table of calibrated percentages for the model file; None if the raw vote is as good."""
    table = found.calibration and found.calibration.table
    return None if table is None else np.array(table, np.uint8)


def _find_table(fitted: Fitted, old: ModelCard | None) -> NDArray[np.uint8] | None:
    if (
        old is None
        or old.validation is None
        or not is_same_fit(fitted.forest, fitted.manifest, old)
    ):
        return None
    return make_table(old.validation)


def save_validation(
    folder: Path, region: Region, samples: Samples, recipe: Recipe, found: Validation
) -> tuple[Card, str | None]:
    """Put a validation into the card of the same fit; the card, and why it was not changed."""
    card = load_card(folder) or make_card(region)
    card = card.model_copy(update={"published": find_published(region)})
    entry = card.models.get(recipe)
    if entry is None:
        return card, f"it has no {recipe} model"
    if entry.samples is None or entry.samples.sha256 != samples.sha256:
        return card, f"its {recipe} model was fitted on other samples"
    if recipe == "robust":
        # All is chosen by the samples, but for a threshold that somebody asked for.
        if entry.model.hyperparameters.get("threshold_by") != CHOSEN:
            return card, "its robust model has a threshold that was not chosen on held-out groups"
        return _put_found(folder, card, recipe, entry, found)
    if entry.model.hyperparameters != hyperparameters(recipe, region.training):
        return card, f"its {recipe} model was fitted with other hyperparameters"
    made = (entry.model.threshold, entry.model.features)
    if made != (0.5, recipe_features(recipe)):
        return card, f"its {recipe} model has another threshold or other features"
    return _put_found(folder, card, recipe, entry, found)


def _put_found(
    folder: Path, card: Card, recipe: Recipe, entry: ModelCard, found: Validation
) -> tuple[Card, str | None]:
    changed = card.with_model(recipe, entry.model_copy(update={"validation": found}))
    try:
        put_card(folder, changed)
    except CropmaskError as error:
        return card, str(error)
    return changed, None


def find_region_file(region: str, models: Path | None = None) -> Path:
    """Path of the region file that ``load_region`` reads for the same words."""
    path = Path(region)
    return path if path.suffix == ".toml" else (models or models_folder()) / region / REGION_FILE


def set_model(text: str, recipe: Recipe, file: str, sha256: str) -> str:
    """Text of a region file with its model table of a recipe set; nothing else changes.

    Misconfigured if the file writes its models in another way than as ``[models.RECIPE]`` tables.
    """
    table = model_table(recipe, file, sha256)
    old = re.compile(rf"^\[models\.{recipe}\][^\n]*(?:\n[a-z0-9 ]+=[^\n]*)*(?:\n|$)", re.MULTILINE)
    added = f"{text.rstrip()}\n\n{table}"
    changed = old.sub(lambda _: table, text, count=1) if old.search(text) else added
    try:
        found = tomllib.loads(changed)["models"][recipe]
        before, after = tomllib.loads(text), tomllib.loads(changed)
    except (tomllib.TOMLDecodeError, KeyError):
        found, before, after = None, {}, {}
    for document in (before, after):
        document.get("models", {}).pop(recipe, None)
        if not document.get("models", True):
            del document["models"]
    if found != {"file": file, "sha256": sha256} or before != after:
        raise Misconfigured(
            f"{REGION_FILE} cannot be edited: write its models as tables like "
            f"'[models.{recipe}]' with 'file' and 'sha256', at its end"
        )
    return changed


def check_writable(folder: Path) -> None:
    """Refuse a folder that a model cannot be written to, before hours of fitting.

    Misconfigured if the folder belongs to an installed package or cannot be written to.
    """
    region_file = folder / REGION_FILE
    if "site-packages" in folder.resolve().parts:
        raise Misconfigured(
            f"{folder} belongs to the installed package: give --output FOLDER, or copy the folder "
            f"and name the copy with --region COPY/{REGION_FILE}"
        )
    near = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    blocked = not near.is_dir() or not os.access(near, os.W_OK)
    if blocked or (region_file.exists() and not os.access(region_file, os.W_OK)):
        raise Misconfigured(f"{folder} cannot be written to: give another folder with --output")


def put_model_ref(folder: Path, recipe: Recipe, file: str, sha256: str) -> bool:
    """Name a model in a folder's region file; False if the folder has none."""
    path = folder / REGION_FILE
    if not path.is_file():
        return False
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"region file {path} cannot be read: {error}") from None
    replace_file(path, set_model(text, recipe, file, sha256).encode())
    return True
