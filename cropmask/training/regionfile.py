"""Naming a new model in a region file, with everything else in it left as it was."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from cropmask.errors import Misconfigured
from cropmask.modelfile.container import replace_file
from cropmask.product import Recipe
from cropmask.region import REGION_FILE, models_folder


def find_region_file(region: str, models: Path | None = None) -> Path:
    """Path of the region file that ``load_region`` reads for the same words."""
    path = Path(region)
    return path if path.suffix == ".toml" else (models or models_folder()) / region / REGION_FILE


def model_table(recipe: Recipe, file: str, sha256: str) -> str:
    """The lines of a region file that name a model."""
    return f'[models.{recipe}]\nfile = "{file}"\nsha256 = "{sha256}"\n'


def set_model(text: str, recipe: Recipe, file: str, sha256: str) -> str:
    """Text of a region file with its model table of a recipe set; nothing else changes.

    Raises
    ------
    Misconfigured
        If the file writes its models in another way than as ``[models.RECIPE]`` tables.
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

    Raises
    ------
    Misconfigured
        If the folder belongs to an installed package or cannot be written to.
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
    """Name a model in a folder's region file; False if the folder has none.

    Raises
    ------
    Misconfigured
        If the region file cannot be edited.
    """
    path = folder / REGION_FILE
    if not path.is_file():
        return False
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"region file {path} cannot be read: {error}") from None
    replace_file(path, set_model(text, recipe, file, sha256).encode())
    return True
