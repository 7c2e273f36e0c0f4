"""One whole job, from its task to its item, as a process of its own: see :mod:`benchmarks.network`.

It takes the path of ``cropmask-job``: inputs are found, compared with their checksums and mapped,
and the dataset is published into a folder that is removed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rasterio

from benchmarks.measure import Result, answer
from benchmarks.part import keep_cpus
from cropmask.grid import Tile
from cropmask.machine.limits import keep_heap_small
from cropmask.region.region import load_region
from cropmask.site.site import open_site
from cropmask.task import Period, Task
from cropmask.tile.run import run_tile

REGION = "bench"


def write_region(folder: Path, request: Result) -> Path:
    """A region file that names the layers of the request; models are those of Eastern Africa."""
    model = load_region("eastern").model(request["recipe"])
    layers = {name: href for name, href in request["ancillary"].items() if href}
    lines = [
        f'name = "{REGION}"',
        'title = "Benchmark"',
        'version = "1.0.0"',
        f'boundary = "{request["boundary"]}"',
        f"[models.{request['recipe']}]",
        f'file = "{model.file}"',
        f'sha256 = "{model.sha256}"',
        "[ancillary]",
        *(f'{name} = "{href}"' for name, href in layers.items()),
    ]
    path = folder / "region.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(request: Result) -> Result:
    """Map a tile; the request names inputs, model, resolution and threads."""
    keep_cpus(request["threads"])
    keep_heap_small()
    with TemporaryDirectory(prefix="cropmask-bench-") as name:
        folder = Path(name)
        options: dict[str, Any] = {
            "catalog": request["catalog"],
            "output": str(folder / "output"),
            "resolution": request["resolution"],
            "threads": request["threads"],
            "region_files": str(write_region(folder, request)),
        }
        site = open_site(request.get("environment", {}), options)
        task = Task(Tile.parse(request["tile"]), REGION, Period.year_of(request["year"]))
        began = time.perf_counter()
        found = run_tile(task, site, recipe=request["recipe"])
        seconds = time.perf_counter() - began
        digest = hashlib.sha256()
        for path in sorted((folder / "output").rglob("*.tif")):
            with rasterio.open(path) as raster:
                digest.update(raster.read().tobytes())
    return {
        "seconds": seconds,
        "pixels": digest.hexdigest(),
        "stages": {use.stage: [use.wall_seconds, use.cpu_seconds] for use in found.stages},
    }


if __name__ == "__main__":
    answer(run(json.loads(sys.argv[1])))
