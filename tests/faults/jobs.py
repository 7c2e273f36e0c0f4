"""A tile that is quick to map, and a program that maps it and dies on demand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely

from cropmask.region.region import load_region
from cropmask.store.protocol import Store
from tests.conftest import REPOSITORY
from tests.worlds import World, make_world

LABEL = "crop_mask_tiny_x215y075_2019--P1Y"
ITEM = f"crop_mask_tiny/1-0-0/x215/y075/2019--P1Y/{LABEL}.stac-item.json"
SIZE = (48, 64)
OFFSET = (100, 200)
RESOLUTION = 100
KILLED = -9
PROBE = ".cropmask-write-check"


def make_tiny(folder: Path) -> World:
    """A window of a tile with GeoMAD, layers, and a region that is just this window."""
    world = make_world(folder, resolution=RESOLUTION, size=SIZE, offset=OFFSET)
    left, _, _, top = world.tile.bounds
    x, y = left + OFFSET[1] * RESOLUTION, top - OFFSET[0] * RESOLUTION
    window = shapely.box(x, y - SIZE[0] * RESOLUTION, x + SIZE[1] * RESOLUTION, y)
    boundary = {
        "type": "Feature",
        "crs": {"type": "name", "properties": {"name": "EPSG:6933"}},
        "properties": {},
        "geometry": json.loads(shapely.to_geojson(window)),
    }
    (folder / "boundary.geojson").write_text(json.dumps(boundary))
    model = load_region("eastern").model("boosted")
    lines = [
        'name = "tiny"\ntitle = "Tiny"\nversion = "1.0.0"\nboundary = "boundary.geojson"',
        f'[models.boosted]\nfile = {json.dumps(str(model.file))}\nsha256 = "{model.sha256}"',
        "[ancillary]",
        *(f"{k} = {json.dumps(Path(v).relative_to(folder).as_posix())}" for k, v in layers(world)),
    ]
    (folder / "region.toml").write_text("\n".join(lines))
    return world


def layers(world: World) -> list[tuple[str, str]]:
    """Names and paths of the layers beside GeoMAD."""
    return [(name, str(path)) for name, path in world.ancillary.model_dump().items()]


def words_of(world: World, output: str, *, catalog: str | None = None) -> list[str]:
    """Command line of the job; the output comes last."""
    return [
        *("--catalog", catalog or str(world.catalog), "--region", f"{world.folder}/region.toml"),
        *("--tile", "x215y075", "--resolution", str(RESOLUTION), "--model", "boosted"),
        *("--threads", "1", "--log-format", "json", "--output", output),
    ]


@dataclass
class Jobs:
    """The program that starts jobs."""

    process: subprocess.Popen[str]
    world: World
    folder: Path

    def run(self, output: str, *, kill: int | None = None, half: bool = False) -> int:
        """Run one job into a place; its exit code, or minus the signal that ended it."""
        (self.folder / "log").unlink(missing_ok=True)
        order: dict[str, Any] = {
            "words": words_of(self.world, output),
            "kill": kill,
            "half": half,
            "log": str(self.folder / "log"),
            "output": str(self.folder / "said"),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the program ended"
        return int(answer)

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.communicate()  # closes its pipes, and waits

    @property
    def steps(self) -> list[str]:
        """What the last job did to the store, step by step."""
        return (self.folder / "log").read_text().splitlines()

    @property
    def said(self) -> str:
        """What the last job printed."""
        return (self.folder / "said").read_text()


def start_jobs(world: World, folder: Path, environ: dict[str, str]) -> Jobs:
    """Start the program; end it with ``.close()``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CROPMASK_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killer"],
        cwd=REPOSITORY,
        env={**kept, "CROPMASK_CONFIG": os.devnull, "TMPDIR": str(folder), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Jobs(process, world, folder)


def contents(store: Store) -> dict[str, bytes]:
    """Everything that a reader of results may see."""
    return {entry.key: store.get(entry.key) for entry in store.list()}


def check_unfinished(store: Store, whole: dict[str, bytes]) -> None:
    """After a kill: no key holds a part of anything, and an item stands for all of its files."""
    found = contents(store)
    for key in found.keys() - {PROBE}:
        assert found[key] == whole[key], f"{key} is not as it must be"
    if ITEM in found:
        assert found == whole, "an item without all of its files"
