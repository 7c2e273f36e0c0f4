"""Other programs read the same pixels from a published item, and draw the published colors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
from rio_tiler.io import Reader
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cropmask.product import BANDS, FILTERED, GROUND, MASK, PROB
from tests.demo_run import EASTERN, RESOLUTION, Results

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def item(results: Results) -> pystac.Item:
    (path,) = (path for path in results.items() if str(EASTERN[1]) in path.name)
    found = pystac.Item.from_file(str(path))
    found.make_asset_hrefs_absolute()
    return found


def pixels(item: pystac.Item, band: str) -> Any:
    with rasterio.open(item.assets[band].href) as raster:
        return raster.read(1)


def test_odc_stac(item):
    data = odc.stac.load([item], bands=[band.name for band in BANDS]).isel(time=0)
    assert data.odc.geobox.resolution.x == RESOLUTION
    for band in BANDS:
        assert (data[band.name].dtype, data[band.name].nodata) == ("uint8", 255)
        np.testing.assert_array_equal(data[band.name].values, pixels(item, band.name))


def test_stackstac(item):
    stackstac = pytest.importorskip("stackstac")
    left, bottom, right, top = EASTERN[1].bounds
    data = stackstac.stack(
        [item.to_dict()],
        assets=[band.name for band in BANDS],
        epsg=6933,
        resolution=RESOLUTION,
        bounds=(left, bottom, right, top),
        dtype="uint8",
        fill_value=np.uint8(255),
        rescale=False,
        xy_coords="center",
    ).compute()
    for number, band in enumerate(BANDS):
        np.testing.assert_array_equal(data.values[0, number], pixels(item, band.name))


def colors_of(item: pystac.Item, band: str) -> dict[int, tuple[int, ...]]:
    """Colors as the item's ``renders`` give them."""
    known = item.properties["renders"][band]["colormap"]
    return {int(value): tuple(bytes.fromhex(code[1:])) for value, code in known.items()}


def test_titiler_knows_the_ramp_by_its_name(item):
    """What ``renders`` says of probabilities draws the published colors."""
    from rio_tiler.colormap import cmap

    said = item.properties["renders"]["prob"]
    with Reader(item.assets["prob"].href) as raster:
        part = raster.part(EASTERN[1].bounds, bounds_crs="EPSG:6933", dst_crs="EPSG:6933")
    values = pixels(item, "prob")
    part.rescale(said["rescale"])
    drawn = part.apply_colormap(cmap.get(said["colormap_name"])).array.data
    for value, color in PROB.palette.items():
        here = values == value
        if here.any():
            assert np.abs(drawn[:, here].T.astype(int) - color[:3]).max() <= 10, value


@pytest.mark.parametrize("band", [MASK, FILTERED], ids=lambda band: band.name)
def test_rio_tiler_reads_and_draws(item, band):
    with Reader(item.assets[band.name].href) as raster:
        part = raster.part(EASTERN[1].bounds, bounds_crs="EPSG:6933", dst_crs="EPSG:6933")
    values = pixels(item, band.name)
    np.testing.assert_array_equal(part.array.data[0], values)
    np.testing.assert_array_equal(part.array.mask[0], values == 255)
    colors = colors_of(item, band.name)
    drawn = part.apply_colormap(colors)
    for value, color in colors.items():
        here = values == value
        if here.any():
            assert {tuple(c) for c in drawn.array.data[:, here].T} == {color[:3]}


@pytest.mark.parametrize("own", [False, True], ids=["of the item", "of the file"])
def test_titiler_serves_a_tile_in_the_published_colors(item, own):
    titiler = pytest.importorskip("titiler.core.factory")
    from fastapi import FastAPI

    app: Starlette = FastAPI()
    app.include_router(titiler.TilerFactory().router)
    west, south, east, north = item.bbox
    colors = {str(v): list(c) for v, c in colors_of(item, "filtered").items()}
    with TestClient(app) as client:
        answer = client.get(
            f"/bbox/{west},{south},{west + (east - west) / 4},{north}/256x256.png",
            params={"url": item.assets["filtered"].href}
            | ({} if own else {"colormap": json.dumps(colors)}),
        )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with rasterio.MemoryFile(answer.content) as file, file.open() as picture:
        drawn = picture.read()
    shown = drawn[3] > 0
    # A color table of a file has no transparent classes.
    assert {tuple(c) for c in drawn[:3, shown].T} == {(255, 255, 0)} | (
        {GROUND[:3]} if own else set()
    )
    assert 0 < shown.mean() < 1


def test_the_example_of_the_docs_runs(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output").symlink_to(results.folder)
    text = (Path(__file__).parents[2] / "docs/map-services.md").read_text()
    code = text.split("```python\nimport json")[1].split("```")[0]
    exec(compile("import json" + code, "docs/map-services.md", "exec"), {})
    with rasterio.open(tmp_path / "x221y075.png") as picture:
        assert picture.count == 4
