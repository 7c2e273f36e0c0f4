"""Writing made-up worlds to folders: documents, room for them, and errors in plain words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rasterio.errors import RasterioError

from cropmask.errors import Misconfigured


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def check_room(folder: Path, needed: int, what: str, advice: str) -> None:
    """Misconfigured if a folder's disk has less than ``needed`` bytes free."""
    if shutil.disk_usage(folder).free < needed:
        raise Misconfigured(f"{what} needs {needed / 1e9:.1f} GB in {folder}: {advice}")


@contextmanager
def translate_write_errors(failure: str, advice: str) -> Iterator[None]:
    """Turn what goes wrong with files and rasters into one line for whoever named the folder."""
    try:
        yield
    except (OSError, RasterioError) as error:
        raise Misconfigured(f"{failure}: {error}{advice}") from None
