"""Results as datasets: one item, or all tiles of a product put together, cropped to an area."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import shapely
import xarray as xr
from numpy.testing import assert_array_equal
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import mapping

import cropmask
from cropmask.errors import Reason, Rejected
from cropmask.grid import CRS, GridWindow, geobox
from cropmask.product import SERIES_BANDS, Product
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from cropmask.tile import open as opening
from tests.demo_run import EASTERN, RESOLUTION, WESTERN, Results
from tests.years import draw_prob, draw_truth, put_simple_series

WEST, EAST = (GridWindow.of_tile(tile, RESOLUTION) for tile in EASTERN)


def degrees(left: float, bottom: float, right: float, top: float) -> list[float]:
    transform = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True).transform
    (west, east), (south, north) = transform([left, right], [bottom, top])
    return [west, south, east, north]


def inside(window: GridWindow) -> list[float]:
    """Box in degrees that reaches the pixels of a window, and no other, however it is rounded."""
    left, bottom, right, top = window.geobox.boundingbox.bbox
    return degrees(left + 1, bottom + 1, right - 1, top - 1)


def load_with_odc_stac(results: Results, box: GeoBox) -> Any:
    """The same pixels by another program."""
    items = [pystac.Item.from_file(str(path)) for path in results.items() if "eastern" in path.name]
    bands = ["mask", "prob", "filtered"]
    return odc.stac.load(items, bands=bands, geobox=box, groupby="solar_day").isel(time=0)


def test_an_item_is_its_tile(results: Results) -> None:
    item = next(path for path in results.items() if str(EASTERN[0]) in path.name)
    found = cropmask.load(item)
    assert list(found) == ["mask", "prob", "filtered"]
    assert found.odc.geobox == geobox(EASTERN[0], RESOLUTION)
    with rasterio.open(str(item).replace(".stac-item.json", "_filtered.tif")) as raster:
        assert_array_equal(found["filtered"], raster.read(1))
    assert found.attrs["item"] == str(item)


def test_a_folder_is_the_mosaic_of_its_tiles(results: Results) -> None:
    found = cropmask.load(results.folder, region="eastern")
    assert found.odc.geobox == WEST.joined(EAST).geobox
    expected = load_with_odc_stac(results, found.odc.geobox)
    for name, band in found.items():
        assert (band.dims, band.dtype, band.odc.nodata) == (("y", "x"), np.uint8, 255)
        assert_array_equal(band, expected[name], err_msg=str(name))
        assert len(np.unique(band)) > 1
    assert found.attrs["collection"] == "crop_mask_eastern"
    assert found.attrs["title"] == "crop_mask_eastern 1.1.0 2019, 2 tiles"
    assert found["mask"].attrs["flag_meanings"] == "non_crop crop"


@pytest.fixture
def middle() -> GridWindow:
    """Pixels on both sides of the border of two tiles."""
    return GridWindow(WEST.row + 300, EAST.column - 45, 70, 80, RESOLUTION)


def test_a_box_in_degrees_crops_across_tiles(results: Results, middle: GridWindow) -> None:
    found = cropmask.load(results.folder, inside(middle), bands=["prob", "mask"], region="eastern")
    assert list(found) == ["prob", "mask"]
    assert found.odc.geobox == middle.geobox
    expected = load_with_odc_stac(results, middle.geobox)
    assert_array_equal(found["prob"], expected["prob"])
    assert len(np.unique(found["prob"])) > 5


def triangle_of(window: GridWindow) -> shapely.Polygon:
    """The lower left half of a window, in degrees."""
    west, south, east, north = degrees(*window.geobox.boundingbox.bbox)
    return shapely.Polygon([(west, south), (east, south), (west, north)])


def areas(shape: shapely.Polygon, folder: Path) -> dict[str, Any]:
    document = mapping(shape)
    file = folder / "area.geojson"
    file.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": document}))
    return {"file": file, "text": str(file), "geometry": shape, "object": document}


@pytest.mark.parametrize("kind", ["file", "text", "geometry", "object"])
def test_outside_a_polygon_is_nodata(
    results: Results, middle: GridWindow, tmp_path: Path, kind: str
) -> None:
    triangle = triangle_of(middle)
    found = cropmask.load(results.folder, areas(triangle, tmp_path)[kind], region="eastern")
    whole = load_with_odc_stac(results, found.odc.geobox)
    x, y = np.meshgrid(found["x"], found["y"])
    to_degrees = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True).transform
    within = shapely.contains_xy(triangle, *to_degrees(x, y))
    for name, band in found.items():
        assert_array_equal(band, np.where(within, whole[name], 255), err_msg=str(name))
    assert 0.4 < within.mean() < 0.6


def test_an_item_is_cropped_as_well(results: Results, middle: GridWindow) -> None:
    item = next(path for path in results.items() if str(EASTERN[1]) in path.name)
    found = cropmask.load(str(item), inside(middle))
    assert found.odc.geobox == middle.within(EAST).geobox
    assert_array_equal(found["prob"], cropmask.load(item)["prob"].sel(x=found["x"], y=found["y"]))
    assert found.attrs["item"] == str(item)


def test_the_map_of_an_area_is_an_item_as_well(
    results: Results, middle: GridWindow, tmp_path: Path
) -> None:
    options = {"catalog": results.world, "models": results.models, "output": tmp_path}
    site = open_site({}, {**options, "resolution": RESOLUTION, "threads": 1})
    result = cropmask.map_area(inside(middle), "2019", region="eastern", site=site)
    found = cropmask.load(result.item)
    assert found.odc.geobox == middle.geobox
    tiles = cropmask.load(results.folder, inside(middle), region="eastern")
    for name in ("mask", "prob"):
        assert_array_equal(found[name], tiles[name])
    with pytest.raises(Rejected, match="the map of an area below areas/ is loaded by its item"):
        cropmask.load(tmp_path)


def test_several_products_and_years_must_be_named(results: Results, tmp_path: Path) -> None:
    with pytest.raises(
        Rejected, match=r"results of eastern and western: name one, region='east"
    ) as no:
        cropmask.load(results.folder)
    assert no.value.reason is Reason.NO_RESULTS
    there = degrees(*geobox(WESTERN, RESOLUTION).boundingbox.bbox)
    assert cropmask.load(results.folder, there).attrs["collection"] == "crop_mask_western"
    copy = results.copied(tmp_path / "results").folder
    (year,) = (copy / "crop_mask_western/1-1-0").glob("*/*/2019--P1Y")
    other = shutil.copytree(year, year.with_name("2020--P1Y"))
    for file in other.iterdir():
        file.rename(file.with_name(file.name.replace("2019", "2020")))
    with pytest.raises(Rejected, match=r"of 2019--P1Y and 2020--P1Y: name one, period='2019--P1Y'"):
        cropmask.load(copy, region="western")
    named = cropmask.load(copy, region="western", period="2020")
    assert named.attrs["start_datetime"].startswith("2020-01-01")


def test_the_latest_version_is_loaded(results: Results, tmp_path: Path) -> None:
    copy = results.copied(tmp_path / "results").folder
    shutil.copytree(copy / "crop_mask_western/1-1-0", copy / "crop_mask_western/1-10-0")
    shutil.copytree(copy / "crop_mask_western/1-1-0", copy / "crop_mask_western/1-9-0")
    found = cropmask.load(copy, region="western")
    assert found.attrs["title"] == "crop_mask_western 1.10.0 2019, 1 tiles"


def test_an_unfinished_tile_is_not_loaded(results: Results, tmp_path: Path) -> None:
    copied = results.copied(tmp_path / "results")
    next(path for path in copied.items() if str(EASTERN[1]) in path.name).unlink()
    found = cropmask.load(copied.folder, region="eastern")
    assert found.odc.geobox == geobox(EASTERN[0], RESOLUTION)


def test_a_series_is_loaded_by_its_span_of_years(tmp_path: Path) -> None:
    store, product = FolderStore(tmp_path), Product("kivu", "1.0.0")
    probs = [draw_prob(draw_truth(seed=seed), seed) for seed in (1, 2)]
    made = {
        tile: put_simple_series(store, product, tile, prob)
        for tile, prob in zip(EASTERN, probs, strict=True)
    }
    found = cropmask.load(tmp_path, period="2019--P6Y")
    assert list(found) == [band.name for band in SERIES_BANDS]
    windows = [GridWindow.of_tile(tile, 100) for tile in EASTERN]
    whole = windows[0].joined(windows[1])
    for band in SERIES_BANDS:
        assert str(found[band.name].dtype) == band.dtype
        assert found[band.name].odc.nodata == band.nodata
        for tile, window in zip(EASTERN, windows, strict=True):
            assert_array_equal(found[band.name][window.seen_from(whole)], made[tile][band.name])
    item = next(tmp_path.glob(f"**/*{EASTERN[0]}*.stac-item.json"))
    one = cropmask.load(item, bands=["changed", "class"])
    assert_array_equal(one["changed"], made[EASTERN[0]]["changed"])
    corner = cropmask.load(item, triangle_of(windows[0]), bands=["changed"])["changed"].data
    assert corner[0, -1] == 65535
    # Two thirds down, well inside of the triangle.
    assert_array_equal(corner[640:, :200], made[EASTERN[0]]["changed"][640:, :200])
    with pytest.raises(Rejected, match="choose of class, history, years"):
        cropmask.load(item, bands=["mask"])
    with pytest.raises(Rejected, match="no finished tile in 2019 is in"):
        cropmask.load(tmp_path, period="2019")


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no results": ({"item_or_results": "nowhere"}, Rejected, "no finished tile is in nowhere"),
    "no item": ({"item_or_results": "nowhere/a.json"}, Rejected, "nowhere/a.json"),
    "no such band": ({"bands": ["crops"]}, Rejected, "choose of mask, prob, filtered"),
    "no such region": ({"region": "sahel"}, Rejected, "no finished tile of sahel is in"),
    "no such year": ({"period": "2001"}, Rejected, "no finished tile of eastern in 2001 is in"),
    "no year": ({"period": "19"}, Rejected, "'19' is not a period"),
    "an area elsewhere": (
        {"aoi": (0, 0, 1, 1)},
        Rejected,
        "no finished tile of eastern in the area",
    ),
    "no box": ({"aoi": (1, 1, 0, 0)}, Rejected, "no box: give"),
    "no area": ({"aoi": 3}, Rejected, "int is no area: give a GeoJSON file"),
    "no place": ({"item_or_results": None}, Rejected, "NoneType is no place of results"),
    "no file": ({"aoi": "nowhere.geojson"}, Rejected, "nowhere.geojson cannot be read"),
}


def test_an_item_and_a_band_by_itself(results: Results) -> None:
    path = str(results.items()[0])
    found = cropmask.load(pystac.Item.from_file(path), bands="mask")
    xr.testing.assert_identical(found, cropmask.load(path, bands=["mask"]))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_loaded_is_said_in_a_line(results: Results, case: str) -> None:
    given, kind, message = REFUSED[case]
    usual = {"item_or_results": results.folder}
    usual |= {} if "item_or_results" in given else {"region": "eastern"}
    with pytest.raises(kind, match=message):
        cropmask.load(**{**usual, **given})


def test_other_items_and_too_much_are_refused(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = results.copied(tmp_path / "results")
    (band,) = copied.folder.glob(f"**/*{EASTERN[0]}*_prob.tif")
    with rasterio.open(band) as raster:
        profile, pixels = raster.profile, raster.read()
    with rasterio.open(band, "w", **{**profile, "dtype": "uint16", "nodata": None}) as raster:
        raster.write(pixels.astype("uint16"))
    with pytest.raises(Rejected, match="no band 'prob', which is uint8"):
        cropmask.load(copied.folder, region="eastern", bands=["prob"])
    with rasterio.open(band, "w", **{**profile, "height": 400, "width": 400}) as raster:
        raster.write(pixels[:, :400, :400])
    with pytest.raises(Rejected, match="has another grid than the other bands"):
        cropmask.load(copied.folder, region="eastern", bands=["mask", "prob"])
    monkeypatch.setattr(opening, "MAX_BYTES", 1_000_000)
    with pytest.raises(Rejected, match="give an aoi or one of bands") as no:
        cropmask.load(results.folder, region="eastern")
    assert no.value.reason is Reason.OVER_LIMIT
