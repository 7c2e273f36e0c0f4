"""Resampled bands are odc-stac's, byte by byte: it is the reference that reads beside ours."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import pytest
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.loader import RioDriver, RioReader
from shapely.geometry import mapping

from cropmask.grid import CRS, EPSG, Tile, geobox
from cropmask.pixels.gdal import open_reading_threads
from cropmask.pixels.rasters import Raster
from cropmask.remote.fetch import ReadOptions
from tests.servers import serve_files
from tests.shareddata import SHARED, needs_shared
from tests.worlds import TILE, World, make_world, write_cog

OPTIONS = ReadOptions(threads=2)


def load_with_odc_stac(raster: Raster, box: GeoBox, nodata: float) -> NDArray[Any]:
    """The raster on another grid, as odc-stac makes it of an item that names the file."""
    own = raster.geobox
    item = pystac.Item(
        id="band",
        geometry=mapping(own.geographic_extent.geom),
        bbox=list(own.geographic_extent.boundingbox),
        datetime=datetime(2000, 1, 1, tzinfo=UTC),
        properties={
            "proj:code": CRS,
            "proj:epsg": EPSG,
            "proj:shape": list(own.shape),
            "proj:transform": list(own.transform)[:6],
        },
        stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        collection="geomad",  # without one odc-stac ignores its configuration
    )
    item.add_asset("band", pystac.Asset(raster.href, media_type="image/tiff", roles=["data"]))

    class Reader(RioReader):
        def read(self, cfg: Any, *where: Any, **how: Any) -> Any:
            return super().read(cfg.patch(src_nodata_override=nodata), *where, **how)

    class Driver(RioDriver):
        def open(self, src: Any, ctx: Any) -> Reader:
            return Reader(src, ctx)

    loaded = odc.stac.load(
        [item],
        bands=["band"],
        geobox=box,
        resampling="bilinear",
        dtype=raster.dtype,
        nodata=nodata,
        stac_cfg={"*": {"assets": {"*": {"data_type": raster.dtype, "nodata": nodata}}}},
        fail_on_error=True,
        driver=Driver(),
    )
    values: NDArray[Any] = loaded["band"].values[0]
    return values


def differences(path: Path, boxes: list[GeoBox], nodata: float) -> list[int]:
    """How many bytes differ in each box, also where the file comes over http."""

    def compare() -> list[int]:
        near = Raster(str(path), OPTIONS)
        found = []
        with serve_files(path.parent) as server:
            far = Raster(f"{server.url}/{path.name}", OPTIONS)
            for box in boxes:
                expected = load_with_odc_stac(near, box, nodata)
                for raster in (near, far):
                    got = raster.warp(box, nodata)
                    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
                    theirs, ours = (np.frombuffer(a.tobytes(), "u1") for a in (expected, got))
                    found.append(int((theirs != ours).sum()))
            far.close()
        near.close()
        return found

    with open_reading_threads(OPTIONS) as threads:
        return threads.submit(compare).result()


def blocks_of(window: World, resolution: float) -> list[GeoBox]:
    """Boxes inside, across the edge of, and beside what is written; one of them shifted."""
    whole = geobox(window.tile, 10)
    top, left = window.row, window.column
    (height, width), step = window.shape, resolution / 10
    corners = ((top + 20, left + 20), (top - 90, left - 50), (top + height - 70, left + width - 60))
    made = []
    for row, column in (*corners, (top - 900, left)):
        at = whole[row:, column:].zoom_to(resolution=resolution)
        made.append(at[: int(260 / step), : int(200 / step)])
    return [*made, made[0].translate_pix(0.4, 0.3)]


@pytest.fixture(scope="module", params=[0.0, 0.02, 0.37], ids=["aligned", "nearly", "shifted"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("odc") / "w"
    return make_world(folder, size=(500, 460), offset=(1200, 2400), shift=request.param)


@pytest.mark.parametrize("resolution", [10, 15, 20, 30, 60, 100, 5])
@pytest.mark.parametrize(("band", "nodata"), [("blue", 0.0), ("sdev", float("nan"))])
def test_a_made_world(made: World, resolution: float, band: str, nodata: float) -> None:
    path = made.band_file(0, band)
    assert not any(differences(path, blocks_of(made, resolution), nodata))


@pytest.mark.parametrize("nodata", [65535.0, 7.0])
def test_another_nodata(made: World, tmp_path: Path, nodata: float) -> None:
    values = made.halves[0].reflectance[0].copy()
    values[values == 0] = nodata
    grid = geobox(TILE, 10)[made.row :, made.column :].transform
    write_cog(tmp_path / "other.tif", values, grid, nodata=nodata)
    assert not any(differences(tmp_path / "other.tif", blocks_of(made, 60), nodata))


@needs_shared("hesbaye")
@pytest.mark.parametrize("resolution", [20, 60, 100])
@pytest.mark.parametrize("band", ["B04", "SMAD"])
def test_hesbaye(resolution: int, band: str) -> None:
    path = next((SHARED / "hesbaye").rglob(f"*_{band}.tif"))
    whole = geobox(Tile(186, 136), resolution)
    size = 65_536 // whole.shape.x + 200
    boxes = [whole[row : row + size, :] for row in range(0, whole.shape.y, size)]
    nodata = float("nan") if band == "SMAD" else 0.0
    assert not any(differences(path, boxes, nodata))
