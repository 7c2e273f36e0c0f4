"""Make the pictures of the documentation with the software itself, as ``cropmask show`` does.

Run ``.venv/bin/python docs/make_figures.py [FOLDER OF THE HESBAYE SCENE]``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cropmask import map_area
from cropmask.grid import Tile
from cropmask.operate.show import draw_result
from cropmask.region.region import load_region
from cropmask.results.figure import encode_figure
from cropmask.site.site import Site, open_site
from cropmask.task import Period, Task
from cropmask.tile.run import run_tile

FIGURES: Final = Path(__file__).parent / "figures"


def draw(task: Task, site: Site, name: str, place: tuple[float, float], kilometers: float) -> None:
    """Map a tile and draw a square around a place."""
    result = run_tile(task, site)
    drawn = draw_result(result.item, site, place=place, kilometers=kilometers)
    assert drawn.not_shown is None, drawn.not_shown
    (FIGURES / name).write_bytes(encode_figure(drawn.figure, "png", drawn.title))


def draw_demo(output: Path) -> None:
    """Part of the made-up world at 20 m."""
    site = open_site({}, {"output": str(output), "resolution": "20"})
    task = Task(Tile(10, 20), "eastern", Period.parse("2019"))
    draw(task, site, "demo.png", (-169.6614, -47.6825), 8)


def draw_area(output: Path) -> None:
    """The fields of the tutorial."""
    site = open_site({}, {"output": str(output)})
    box = (-169.7, -47.8, -169.6, -47.75)
    result = map_area(box, "2019", region="eastern", name="my-fields", site=site)
    drawn = draw_result(result.item, site)
    assert drawn.not_shown is None, drawn.not_shown
    (FIGURES / "area.png").write_bytes(encode_figure(drawn.figure, "png", drawn.title))


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
    draw(task, site, "hesbaye.png", (5.32615, 50.63323), 1.04)


def main() -> None:
    """Make all pictures that can be made here."""
    FIGURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as output:
        draw_demo(Path(output))
        draw_area(Path(output))
        if len(sys.argv) > 1:
            draw_hesbaye(Path(output), Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()
