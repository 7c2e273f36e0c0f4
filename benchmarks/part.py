"""One whole run on a part of the demo tile, as a process of its own: see :mod:`benchmarks.tile`.

Reads 24 COGs and the layers beside them, maps, writes three COGs, as ``cropmask-job`` does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from benchmarks.measure import Result, StageClock, answer
from cropmask.core.mapper import map_crops
from cropmask.core.strips import Layers, Strip
from cropmask.demo.world import DEMO_PERIOD, DEMO_TILE, open_world
from cropmask.grid import geobox
from cropmask.io.boundary import load_boundary
from cropmask.io.cog import write_cog
from cropmask.io.layers import TileLayers, open_layers
from cropmask.io.models import load_forest
from cropmask.io.search import find_sources
from cropmask.product import BANDS
from cropmask.region import Limits

BLOCK = 512
"""Edge of the blocks of the COGs; parts begin at one."""

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


def find_part(resolution: int, edge: int) -> GeoBox:
    """Square part of the demo tile, near its middle."""
    whole = geobox(DEMO_TILE, resolution)
    size = whole.shape[0]
    if not 0 < edge <= size:
        raise SystemExit(f"an edge of {edge} pixels does not fit a tile of {size}")
    start = (size - edge) // 2 // BLOCK * BLOCK
    return whole[start : start + edge, start : start + edge]


def open_part(folder: Path, box: GeoBox) -> TileLayers:
    """Layers of a part of the demo tile."""
    world = open_world(folder)
    sources = find_sources(str(world.catalog), DEMO_TILE, DEMO_PERIOD, world.ancillary)
    return open_layers(sources, box, boundary=load_boundary(world.boundary), limits=Limits())


def run(request: dict[str, Any]) -> Result:
    """Map one part; the request names world, resolution, edge, model and threads."""
    clock = StageClock()
    box, threads = find_part(request["resolution"], request["edge"]), request["threads"]
    forest = load_forest(Path(request["model"]))
    with TemporaryDirectory(prefix="cropmask-bench-") as folder:

        def write(name: str, band: NDArray[np.uint8]) -> None:
            write_cog(Path(folder) / f"{name}.tif", band, box, _BANDS[name], threads=threads)

        with open_part(Path(request["world"]), box) as opened:
            layers = TimedLayers(opened)
            clock("start")
            crop_map, statistics = map_crops(
                layers, forest, threads=threads, progress=clock, sink=write
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
