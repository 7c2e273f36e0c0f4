"""One whole run on a part of a tile, as a process of its own: see :mod:`benchmarks.tile`.

Reads 24 COGs and the layers beside them, maps, writes three COGs, as ``cropmask-job`` does, and
imports no more than that. It has as many CPUs as computing threads, where the system can do that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from benchmarks.measure import Result, StageClock, answer
from cropmask.core.mapper import LAST_BAND, map_crops
from cropmask.core.strips import Layers, Strip
from cropmask.grid import Tile, geobox
from cropmask.machine.limits import keep_heap_small, release_heap
from cropmask.modelfile.model import load_forest
from cropmask.pixels.layers import TileLayers, open_layers
from cropmask.product import BANDS
from cropmask.region.region import Ancillary, Limits
from cropmask.results.cog import write_cog
from cropmask.sources.boundary import load_boundary
from cropmask.sources.search import find_sources
from cropmask.task import Period

BLOCK = 512
"""Edge of the blocks of the COGs; parts begin at one where they can."""

_BANDS = {band.name: band for band in BANDS}


@dataclass(slots=True)
class TimedLayers:
    """Layers that remember when their first strip was there."""

    layers: Layers
    first: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.layers.shape

    @property
    def pixel_area_m2(self) -> float:
        """Area of a pixel."""
        return self.layers.pixel_area_m2

    def strips(self, rows: int) -> Iterator[Strip]:
        """The same strips."""
        for strip in self.layers.strips(rows):
            self.first = self.first or time.time()
            yield strip

    def excluded(self) -> NDArray[np.uint8]:
        """The same causes."""
        return self.layers.excluded()


def find_part(request: Result) -> GeoBox:
    """Square part of the tile, near its middle."""
    edge = request["edge"]
    whole = geobox(Tile.parse(request["tile"]), request["resolution"])
    size = whole.shape[0]
    if not 0 < edge <= size:
        raise SystemExit(f"an edge of {edge} pixels does not fit a tile of {size}")
    start = min(round((size - edge) / 2 / BLOCK) * BLOCK, size - edge)
    return whole[start : start + edge, start : start + edge]


def open_part(request: Result, box: GeoBox) -> TileLayers:
    """Layers of a part of the tile."""
    sources = find_sources(
        request["catalog"],
        Tile.parse(request["tile"]),
        Period.year_of(request["year"]),
        Ancillary.model_validate(request["ancillary"]),
    )
    boundary = load_boundary(Path(request["boundary"]))
    return open_layers(sources, box, boundary=boundary, limits=Limits())


def keep_cpus(count: int) -> None:
    """Leave this process so many of its CPUs; without an effect where that is not to be had."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def run(request: Result) -> Result:
    """Map one part; the request names inputs, edge, model and threads."""
    keep_cpus(request["threads"])
    keep_heap_small()
    clock = StageClock()
    box, threads = find_part(request), request["threads"]
    forest = load_forest(Path(request["model"]))

    @contextmanager
    def stage(name: str) -> Iterator[Callable[[float], None]]:
        clock(name)
        release_heap()
        yield lambda _share: None
        clock(name)

    with TemporaryDirectory(prefix="cropmask-bench-") as folder:

        def write(name: str, band: NDArray[np.uint8]) -> None:
            path, last = Path(folder) / f"{name}.tif", name == LAST_BAND
            write_cog(path, band, box, _BANDS[name], threads=threads if last else 1)

        with open_part(request, box) as opened:
            layers = TimedLayers(opened)
            clock("start")
            crop_map, statistics = map_crops(
                layers, forest, threads=threads, stages=stage, sink=write, beside=threads > 1
            )
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    if "save" in request:
        np.savez(request["save"], mask=crop_map.mask, filtered=crop_map.filtered)
    return {
        "stages": clock.stages,
        "first_strip": layers.first - request["launched"],
        "bytes": size,
        "mapped_hectares": statistics.mapped_hectares,
    }


if __name__ == "__main__":
    answer(run(json.loads(sys.argv[1])))
