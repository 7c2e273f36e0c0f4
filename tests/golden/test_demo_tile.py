"""The demo tile, byte for byte as the program made it before its rooms were moved."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
import rasterio

from cropmask.site.site import open_site
from cropmask.task import Period, Task
from cropmask.testing.world.demoworld import DEMO_TILE
from cropmask.tile.run import run_tile

GOLDEN = json.loads(Path(__file__).with_name("demo_tile.json").read_text())
"""Digests by recipe: of whole files, as this version of GDAL writes them, and of pixels."""


@pytest.fixture(scope="module", params=["forest", "boosted"])
def made(request, tmp_path_factory: pytest.TempPathFactory, demo_cache: Path):
    """Recipe, and the folder of its result."""
    folder = tmp_path_factory.mktemp(request.param)
    options = {"cache": demo_cache, "output": folder, "resolution": 60, "threads": 2}
    task = Task(DEMO_TILE, "eastern", Period.parse("2019"))
    run_tile(task, open_site({}, options), recipe=request.param)
    return request.param, folder


def test_pixels_are_those_of_before(made):
    recipe, folder = made
    found = {}
    for path in folder.rglob("*.tif"):
        with rasterio.open(path) as raster:
            found[path.name] = sha256(raster.read().tobytes()).hexdigest()
    assert found == GOLDEN[recipe]["pixels"]


@pytest.mark.skipif(
    rasterio.__gdal_version__ != GOLDEN["gdal"],
    reason=f"files are compared with those of GDAL {GOLDEN['gdal']}, which the lock file names",
)
def test_files_and_documents_are_those_of_before(made, demo_cache: Path):
    recipe, folder = made
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():  # the item names its inputs, which lie in another cache than before
            content = path.read_bytes().replace(str(demo_cache).encode(), b"CACHE")
            found[path.name] = sha256(content).hexdigest()
    assert found == GOLDEN[recipe]["files"]
