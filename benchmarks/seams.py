"""Seamless tiles: pixels that differ from the joint segmentation, and what that costs.

    python -m benchmarks.seams [--quick] [--resolution 20] [--recipes boosted,forest] [--rounds 1]

Four neighbors of made-up land, whose fields join, are mapped tile by tile: as published, and with
shared colors and a margin. Each tile is a process of its own. Then all four are segmented as one
image with the same colors, and the pixels of `filtered` are compared.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from benchmarks.measure import Result, answer, make_parser, put_results, run_module, show, table
from cropmask.core.mapper import map_crops
from cropmask.grid import GridWindow, Tile
from cropmask.modelfile.model import read_model
from cropmask.operate.fitcolors import fit_region_colors
from cropmask.region.region import load_region
from cropmask.remote.ranges import RemoteFiles
from cropmask.site.site import Site, open_site
from cropmask.task import Task
from cropmask.testing.world.demoworld import DEMO_PERIOD, make_world, open_world
from cropmask.tile.job import prepare
from cropmask.tile.run import run_tile
from cropmask.tile.seam import open_joined, require_colors

TILES: Final = (Tile(213, 77), Tile(214, 77), Tile(213, 76), Tile(214, 76))
"""North-west, north-east, south-west, south-east."""
REGION: Final = "eastern"
COARSE: Final = 100
"""Pixel size at which only the way is tried: its land is made of squares, which is quick."""
WAYS: Final = ("per tile", "seamless")


def open_way(folder: Path, resolution: int, way: str, recipe: str) -> Site:
    """Where the tiles are mapped in one way."""
    return open_site(
        {},
        {
            "catalog": folder / "world" / "catalog.json",
            "models": folder / "models",
            "output": folder / f"{way} {recipe}",
            "resolution": resolution,
            "threads": 2,
            "seamless": way == "seamless",
        },
    )


def run(request: Result) -> Result:
    """Map one tile; its CPU seconds, wall seconds and peak are those of the process."""
    folder, way, recipe = Path(request["folder"]), request["way"], request["recipe"]
    site = open_way(folder, request["resolution"], way, recipe)
    task = Task(Tile.parse(request["tile"]), REGION, DEMO_PERIOD)
    result = run_tile(task, site, recipe=recipe, overwrite=True)
    return {"item": result.item}


def measure(
    folder: Path,
    resolution: int = 10,
    recipes: Sequence[str] = ("boosted", "forest"),
    rounds: int = 1,
) -> Result:
    """Map four tiles in both ways, in turn, and all of them as one."""
    world = folder / "world" / "catalog.json"
    if not world.exists():
        grain = 8 if resolution == COARSE else 1
        make_world(
            folder / "world", tiles=TILES, resolution=resolution, period=DEMO_PERIOD, grain=grain
        )
        _write_region(folder / "models" / REGION, world)
    runs = []
    for recipe in recipes:
        site = open_way(folder, resolution, "seamless", recipe)
        fit_region_colors(site.region(REGION), DEMO_PERIOD, site, overwrite=True)
        lines = {way: _take_turns(folder, resolution, recipe, way) for way in WAYS}
        for _ in range(rounds - 1):
            for way in WAYS:
                again = _take_turns(folder, resolution, recipe, way)
                lines[way] = [min(pair, key=_cpu) for pair in zip(lines[way], again, strict=True)]
        joint = filter_jointly(site, recipe)
        for way in WAYS:
            found = _join([line["item"] for line in lines[way]])
            runs.append(
                {
                    "recipe": recipe,
                    "way": way,
                    "cpu": sum(map(_cpu, lines[way])),
                    "wall": sum(line["wall"] for line in lines[way]),
                    "peak": max(line["peak"] for line in lines[way]),
                    "pixels": int(np.count_nonzero(found != 255)),
                    "differ": int(np.count_nonzero(found != joint)),
                }
            )
    return {"resolution": resolution, "runs": runs}


def _write_region(folder: Path, world: Path) -> None:
    """The region as it is, but for its layers: those of the world."""
    shutil.copytree(load_region(REGION).boundary.parent, folder)
    layers = open_world(world.parent).ancillary.model_dump(exclude_none=True)
    named = "".join(f"{key} = {json.dumps(value)}\n" for key, value in layers.items())
    with (folder / "region.toml").open("a") as file:
        file.write(f"\n[ancillary]\n{named}")


def _take_turns(folder: Path, resolution: int, recipe: str, way: str) -> list[Result]:
    lines = []
    for tile in TILES:
        request = {
            "folder": str(folder),
            "resolution": resolution,
            "recipe": recipe,
            "way": way,
            "tile": str(tile),
        }
        used = run_module("benchmarks.seams", request)
        lines.append({"cpu": used.cpu, "wall": used.wall, "peak": used.peak, **used.answer})
    return lines


def _cpu(line: Result) -> float:
    return float(line["cpu"])


def filter_jointly(site: Site, recipe: str) -> NDArray[np.uint8]:
    """`filtered` of all four tiles as one image ``(y, x)``, with the colors that they share."""
    jobs = [prepare(Task(tile, REGION, DEMO_PERIOD), site, recipe=recipe) for tile in TILES]  # type: ignore[arg-type]
    basis = jobs[0].basis
    fitted = require_colors(site, basis.region, DEMO_PERIOD)
    assert fitted is not None
    windows = [GridWindow.of_tile(tile, site.resolution) for tile in TILES]
    whole = reduce(GridWindow.joined, windows)
    model = read_model(basis.model.file, basis.model.sha256)
    with ExitStack() as stack:
        files = {tile: stack.enter_context(RemoteFiles()) for tile in TILES}
        inputs = stack.enter_context(
            open_joined(
                {job.task.tile: job.sources for job in jobs},
                whole,
                whole,
                boundary=basis.boundary,
                limits=basis.region.limits,
                files_of=files.__getitem__,
            )
        )
        crop_map, _ = map_crops(
            inputs.layers,
            model.forest,
            need_both=basis.region.limits.require_both_halves,
            threads=2,
            colors=fitted.colors,
        )
    return crop_map.filtered


def _join(items: Sequence[str]) -> NDArray[np.uint8]:
    parts = []
    for item in items:
        document = json.loads(Path(item).read_text())
        with rasterio.open(Path(item).parent / document["assets"]["filtered"]["href"]) as file:
            parts.append(file.read(1))
    return np.block([parts[:2], parts[2:]])


def report(found: Result) -> str:
    """The table."""
    base = {run["recipe"]: run for run in found["runs"] if run["way"] == WAYS[0]}
    rows = [
        (
            f"{run['recipe']}, {run['way']}",
            f"{run['differ']:,} of {run['pixels']:,}",
            f"{run['cpu']:.1f}",
            f"{run['cpu'] / base[run['recipe']]['cpu']:.3f}",
            f"{run['wall']:.1f}",
            f"{run['wall'] / base[run['recipe']]['wall']:.3f}",
            f"{run['peak'] / 1e9:.2f}",
        )
        for run in found["runs"]
    ]
    head = (
        "Four tiles",
        "pixels of `filtered` that differ from the joint image",
        "CPU s",
        "times per tile",
        "wall s",
        "times per tile",
        "peak GB",
    )
    return (
        f"Four tiles at {found['resolution']} m, a process each, 2 threads.\n\n{table(head, rows)}"
    )


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("seams"), help="world and results")
    parser.add_argument("--resolution", type=int, help="meters; default 10, 60 if --quick")
    parser.add_argument("--recipes", default="boosted,forest")
    parser.add_argument("--rounds", type=int, default=1, help="rounds, of which the least counts")
    options = parser.parse_args()
    resolution = options.resolution or (60 if options.quick else 10)
    words: dict[str, Any] = {"recipes": options.recipes.split(","), "rounds": options.rounds}
    found = show("Seams", lambda: measure(options.folder, resolution, **words), report)
    put_results(options.output, {"seams": found})


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        answer(run(json.loads(sys.argv[1])))
    else:
        main()
