"""Make the pictures of the documentation with the software itself.

Run ``.venv/bin/python docs/make_figures.py [FOLDER OF THE HESBAYE SCENE]``. Each picture shows,
from left to right: Sentinel-2 in natural color (January to June, July to December), ``prob``,
``mask`` and ``filtered`` in the published colors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from cropmask.core.strips import Strip
from cropmask.grid import Tile, geobox
from cropmask.pixels.layers import open_layers
from cropmask.product import BANDS, PROB, Band
from cropmask.region import load_region
from cropmask.site.site import Site, open_site
from cropmask.task import Period, Task
from cropmask.tile.job import prepare
from cropmask.tile.run import run_tile

FIGURES: Final = Path(__file__).parent / "figures"
GROUND: Final = (58, 58, 58)
NOTHING: Final = (255, 255, 255)
Picture = NDArray[np.uint8]


def natural_color(strips: list[Strip], half: int) -> Picture:
    """Red, green and blue ``(y, x, 3)`` stretched between percentiles; white where nodata."""
    raw = np.concatenate(
        [(strip.first, strip.second)[half].reflectance[[2, 1, 0]] for strip in strips], axis=1
    ).astype(np.float32)
    seen = raw[0] > 0
    low, high = np.percentile(raw[:, seen], (1, 99))
    picture = np.clip((raw - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    picture[:, ~seen] = 255
    return np.moveaxis(picture, 0, -1)


def painted(values: NDArray[np.uint8], band: Band) -> Picture:
    """A band in its published colors ``(y, x, 3)``, on gray ground; white where nodata."""
    table = np.full((256, 3), NOTHING, np.uint8)
    table[:2] = GROUND
    for known in band.classes:
        if known.color[3]:
            table[known.value] = known.color[:3]
    if band is PROB:
        stops = [value for value, _ in band.ramp]
        for channel in range(3):
            levels = [color[channel] for _, color in band.ramp]
            table[:101, channel] = np.interp(np.arange(101), stops, levels)
    return table[values]


def put_picture(path: Path, pictures: list[Picture], scale: int) -> None:
    """Write pictures side by side as a PNG, each pixel ``scale`` wide."""
    gap = np.full((pictures[0].shape[0], max(1, 8 // scale), 3), 255, np.uint8)
    row = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
    row = row.repeat(scale, axis=0).repeat(scale, axis=1)
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(
            path, "w", driver="PNG", count=3, dtype="uint8", height=row.shape[0], width=row.shape[1]
        ) as png,
    ):
        png.write(np.moveaxis(row, -1, 0))


def draw(task: Task, site: Site, name: str, window: tuple[slice, slice], scale: int) -> None:
    """Map a tile and draw a window of it."""
    result = run_tile(task, site)
    job = prepare(task, site)
    box = geobox(task.tile, site.resolution)
    with open_layers(
        job.sources,
        box,
        boundary=job.basis.boundary,
        limits=job.basis.region.limits,
        options=site.read,
    ) as layers:
        strips = list(layers.strips(box.shape[0]))
    pictures = [natural_color(strips, half)[window] for half in (0, 1)]
    for band in (BANDS[1], BANDS[0], BANDS[2]):
        with rasterio.open(result.item.replace(".stac-item.json", f"_{band.name}.tif")) as raster:
            pictures.append(painted(raster.read(1)[window], band))
    put_picture(FIGURES / name, pictures, scale)


def draw_demo(output: Path) -> None:
    """Part of the made-up world at 20 m."""
    site = open_site({}, {"output": str(output), "resolution": "20"})
    task = Task(Tile(10, 20), "eastern", Period.parse("2019"))
    draw(task, site, "demo.png", (slice(1900, 2300), slice(2100, 2500)), 1)


def draw_hesbaye(output: Path, scene: Path) -> None:
    """A real square kilometer in Belgium with northern's model: far from where it was trained."""
    northern = load_region("northern").model("forest")
    layers = scene / "ancillary"
    region = output / "region.toml"
    region.write_text(
        f"""
name = "hesbaye"
title = "Hesbaye"
version = "1.0.0"
boundary = "{layers / "boundary.geojson"}"
[models.forest]
file = "{northern.file}"
sha256 = "{northern.sha256}"
[ancillary]
rain_first_half = "{layers / "rain_jan_jun.tif"}"
rain_second_half = "{layers / "rain_jul_dec.tif"}"
slope = "{layers / "slope_percent.tif"}"
steepness = "{layers / "slope_percent.tif"}"
elevation = "{layers / "elevation.tif"}"
"""
    )
    site = open_site({}, {"catalog": str(scene), "output": str(output)})
    task = Task(Tile(186, 136), str(region), Period.parse("2021"))
    left, _, _, top = task.tile.bounds
    row, column = round((top - 5_666_430) / 10), round((513_190 - left) / 10)
    draw(task, site, "hesbaye.png", (slice(row, row + 77), slice(column, column + 142)), 2)


def main() -> None:
    """Make all pictures that can be made here."""
    FIGURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as output:
        draw_demo(Path(output))
        if len(sys.argv) > 1:
            draw_hesbaye(Path(output), Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()
