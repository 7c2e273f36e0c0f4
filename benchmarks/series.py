"""A series of one tile as a process of its own: see :func:`benchmarks.years.measure_tile`.

Six yearly maps of made-up fields are published first, as ``cropmask-job`` publishes its own; what
is measured is all that ``cropmask series`` does with them, from opening the site to the item.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Result, answer
from cropmask.contract import VERSION
from cropmask.core.cropmap import CropMap, Statistics
from cropmask.grid import AFRICA_10, Tile
from cropmask.machine.limits import keep_heap_small
from cropmask.machine.stages import Stages
from cropmask.operate.fitseries import fit_region_series
from cropmask.region.region import Region, load_region
from cropmask.results.finder import make_place
from cropmask.results.publish import put_dataset
from cropmask.site.site import Site, open_site
from cropmask.stac.collection import make_collection
from cropmask.stac.facts import ItemFacts, ModelFacts
from cropmask.store.folder import FolderStore
from cropmask.task import Period, RunKey, Task
from cropmask.tile.series import run_series

REGION = "eastern"
TILE = Tile(215, 75)


def find_size(resolution: int) -> int:
    """Pixels of a tile's edge."""
    return int(AFRICA_10.size) // resolution


def put_years(folder: Path, period: Period, resolution: int, prob: NDArray[np.uint8]) -> None:
    """Publish a map of each year; ``prob`` ``(year, y, x)`` is repeated over the tile."""
    region, size = load_region(REGION), find_size(resolution)
    store = FolderStore(folder)
    collection = make_collection(region.title, region.product, (21.0, -12.0, 52.0, 18.0))
    times = -(-size // prob.shape[1])
    for year, values in zip(period.years, prob, strict=True):
        whole = np.tile(values, (times, times))[:size, :size]
        mask = (whole > 50).astype(np.uint8)
        place = make_place(region.product, Task(TILE, REGION, year))
        put_dataset(
            store,
            place,
            _make_facts(region, year, resolution),
            CropMap(mask, whole, mask),
            collection,
        )


def _make_facts(region: Region, year: Period, resolution: int) -> ItemFacts:
    return ItemFacts(
        product=region.product,
        tile=TILE,
        period=year,
        resolution=resolution,
        run_key=RunKey("a" * 64),
        as_of="2026-01-01T00:00:00Z",
        software=VERSION,
        model=ModelFacts("forest", "0" * 64),
        sources=(),
        statistics=Statistics(1.0, 1.0, 1.0, 50.0, *([0.0] * 7)),
        synthetic=True,
    )


def open_place(folder: Path, resolution: int, threads: int) -> Site:
    """The site whose results are there."""
    # No series reads a catalog; without one the site would be that of the demo world.
    given = {"catalog": folder / "catalog.json", "output": folder}
    return open_site({}, {**given, "resolution": resolution, "threads": threads})


def run(request: Result) -> Result:
    """Make the series of the tile; the request names folder, years, pixel size and threads."""
    keep_heap_small()
    site = open_place(Path(request["folder"]), request["resolution"], request["threads"])
    period = Period.of_task(request["period"])
    if request["fit"]:
        fit_region_series(site.region(REGION), period, site)
        return {}
    stages = Stages()
    result = run_series(Task(TILE, REGION, period), site, overwrite=True, stages=stages)
    return {
        "stages": {one.stage: one.cpu_seconds for one in stages.finish()},
        "state": result.state,
    }


if __name__ == "__main__":
    answer(run(json.loads(sys.argv[1])))
