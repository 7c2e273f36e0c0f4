"""Map the made-up tile by every recipe; print the digest of each file that was read or written.

Two processors do the same where the output is the same: ``python jobs/digests.py FOLDER [METERS]``,
into a folder that is empty, by the same path on both, since items name their inputs.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from cropmask.product import RECIPES, Recipe
from cropmask.site.site import open_site
from cropmask.task import Period, Task
from cropmask.testing.world.demoworld import DEMO_TILE
from cropmask.tile.run import run_tile

MAPS: dict[str, tuple[Recipe, str | None]] = {
    **{recipe: (recipe, None) for recipe in RECIPES},
    "extras": ("boosted", "+calibrated,+spread,+dissimilarity"),
}
"""Recipe and extra bands, by folder."""


def main(folder: Path, meters: int = 60) -> None:
    """Fill the folder and print."""
    folder.mkdir(parents=True, exist_ok=True)
    task = Task(DEMO_TILE, "eastern", Period.parse("2019"))
    for name, (recipe, bands) in MAPS.items():
        options = {"cache": folder / "world", "output": folder / name, "resolution": meters}
        run_tile(task, open_site(os.environ, {**options, "bands": bands}), recipe=recipe)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{digest}  {path.relative_to(folder)}")  # noqa: T201 (a command)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
