"""Predictions and features of datasets that the user has loaded: the job's pixels, or a no."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import assign_crs, wrap_xr
from pyproj import Transformer

import cropmask
from cropmask.core.engine import predict as predict_rows
from cropmask.core.features import FEATURES
from cropmask.core.forest import Forest
from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import GridWindow
from cropmask.modelfile.model import load_forest
from cropmask.pixels.datasets import LoadedInputs, parse_halves
from cropmask.region.region import load_region
from cropmask.site.site import Site, open_site
from cropmask.tile.arrays import _classify
from tests.demo_run import EASTERN, RESOLUTION, Results
from tests.worlds import ASSET_KEYS

EDGE = 120
"""Pixels of the windows that real loaders load."""
LAYERS = {"rain_first_half": 400.0, "rain_second_half": 300.0, "slope": 2.5}


@pytest.fixture(scope="module")
def site(results: Results) -> Site:
    options = {"catalog": results.world, "output": results.folder, "models": results.models}
    return open_site({}, {**options, "resolution": RESOLUTION})


@pytest.fixture(scope="module")
def window(results: Results) -> GridWindow:
    """Pixels on both sides of the border of two tiles, as many as possible of them mapped."""
    west, east = (GridWindow.of_tile(tile, RESOLUTION) for tile in EASTERN)
    seen = [read_job(results, tile, "prob") != 255 for tile in EASTERN]
    rows = seen[0][:, -EDGE // 2 :].sum(axis=1) * seen[1][:, : EDGE // 2].sum(axis=1)
    top = int(np.convolve(rows, np.ones(EDGE), "valid").argmax())
    return GridWindow(west.row + top, east.column - EDGE // 2, EDGE, EDGE, RESOLUTION)


def items_of(results: Results) -> tuple[list[pystac.Item], list[pystac.Item]]:
    """Items of both tiles, by half-year."""
    found = pystac.Catalog.from_file(str(results.world)).get_items(recursive=True)
    ours = [item for item in found if item.properties["odc:region_code"] in map(str, EASTERN)]
    first = [item for item in ours if item.datetime.month == 1]
    return first, [item for item in ours if item not in first]


def read_job(results: Results, tile: cropmask.Tile, band: str) -> NDArray[np.uint8]:
    (path,) = results.folder.glob(f"crop_mask_eastern/**/*{tile}*_{band}.tif")
    with rasterio.open(path) as raster:
        return raster.read(1)


def job_pixels(results: Results, window: GridWindow, band: str) -> NDArray[np.uint8]:
    """The job's pixels of a window, from the files of both tiles."""
    out = np.full((window.rows, window.columns), 255, np.uint8)
    for tile in EASTERN:
        whole = GridWindow.of_tile(tile, RESOLUTION)
        part = window.within(whole)
        out[part.seen_from(window)] = read_job(results, tile, band)[part.seen_from(whole)]
    return out


def load_halves(results: Results, window: GridWindow, **options: Any) -> tuple[xr.Dataset, ...]:
    """Both half-years as odc-stac loads them: with an axis of one time."""
    return tuple(
        odc.stac.load(items, geobox=window.geobox, groupby="solar_day", **options)
        for items in items_of(results)
    )


def assert_as_the_job(crops: xr.Dataset, results: Results, window: GridWindow) -> None:
    for band in ("mask", "prob"):
        ours, job = crops[band].values, job_pixels(results, window, band)
        mapped = job != 255
        assert mapped.mean() > 0.3
        assert_array_equal(ours[mapped], job[mapped])
    assert crops["prob"].where(crops["prob"] != 255).std() > 5


CHUNKS = {"x": 50, "y": 77}


@pytest.mark.parametrize("chunks", [None, CHUNKS], ids=["numpy", "dask"])
def test_pixels_are_those_of_the_job_across_tiles(
    results: Results, site: Site, window: GridWindow, chunks: dict[str, int] | None
) -> None:
    first, second = load_halves(results, window, chunks=chunks)
    crops = cropmask.predict(first, second, "eastern", site=site)
    assert crops.odc.geobox == window.geobox
    assert crops["prob"].chunks == first["B02"].isel(time=0).chunks
    assert_as_the_job(crops.compute(), results, window)
    for band in crops.values():
        assert (band.dims, band.dtype, band.odc.nodata) == (("y", "x"), np.uint8, 255)
    assert crops.attrs["region"] == "eastern"
    assert crops.odc.crs == "EPSG:6933"
    assert crops["mask"].attrs["flag_meanings"] == "non_crop crop"
    xr.testing.assert_equal(crops["x"], first["x"])


def test_boosted_models_too(results: Results, site: Site, window: GridWindow) -> None:
    lazy, whole = (
        cropmask.predict(
            *load_halves(results, window, chunks=chunks), "eastern", site=site, model="boosted"
        ).compute()
        for chunks in (CHUNKS, None)
    )
    xr.testing.assert_identical(lazy, whole)
    forest = load_forest(load_region("eastern").model("boosted").file)
    features = cropmask.features(*load_halves(results, window), "eastern", site=site)
    rows = features.to_dataarray("feature").values.reshape(33, -1).T.copy()
    expected = 100 * predict_rows(forest, rows).reshape(EDGE, EDGE)
    seen = whole["prob"].values != 255
    assert seen.mean() > 0.3
    assert np.abs(whole["prob"].values - expected)[seen].max() <= 1


def test_pixels_of_stackstac_are_those_of_the_job(
    results: Results, site: Site, window: GridWindow
) -> None:
    stackstac = pytest.importorskip("stackstac")
    box = window.geobox

    def load(items: list[pystac.Item]) -> xr.DataArray:
        for item in items:
            item.make_asset_hrefs_absolute()
        stack = stackstac.stack(
            [item.to_dict() for item in items],
            assets=list(ASSET_KEYS.values()),
            epsg=6933,
            resolution=RESOLUTION,
            bounds=box.boundingbox.bbox,
            rescale=False,
            xy_coords="center",
        )
        return stackstac.mosaic(stack)  # float64, nodata NaN

    crops = cropmask.predict(*map(load, items_of(results)), "eastern", site=site)
    assert crops["prob"].chunks is not None
    assert_as_the_job(crops.compute(), results, window)


def test_a_grid_of_ones_own_has_layers_of_the_site_too(
    results: Results, site: Site, window: GridWindow
) -> None:
    """On another CRS no job has these pixels: rain and slope are those at the pixels' centers."""
    box = window.geobox
    other = GeoBox.from_bbox(
        box.geographic_extent.boundingbox, "EPSG:4326", resolution=0.002, tight=True
    )
    first, second = (
        odc.stac.load(items, geobox=other, groupby="solar_day").isel(time=0)
        for items in items_of(results)
    )
    found = cropmask.features(first, second, "eastern", site=site)
    assert found["slope"].dims == ("latitude", "longitude")
    near = cropmask.features(*load_halves(results, window), "eastern", site=site)
    middle = {"latitude": other.shape.y // 2, "longitude": other.shape.x // 2}
    there = found.isel(middle)
    (x,), (y,) = _to_meters(float(there.longitude), float(there.latitude))
    at = near.sel(x=x, y=y, method="nearest")
    assert_allclose(float(there["rain_S1"]), float(at["rain_S1"]), rtol=1e-3)
    assert float(there["rain_S1"]) > 0
    lazy = cropmask.features(
        first.chunk({"latitude": 40, "longitude": 30}), second, "eastern", site=site
    )
    xr.testing.assert_identical(lazy.compute(), found)


def _to_meters(longitude: float, latitude: float) -> tuple[list[float], list[float]]:
    transform = Transformer.from_crs(4326, 6933, always_xy=True).transform
    x, y = transform([longitude], [latitude])
    return list(x), list(y)


# Below: small datasets that hold any numbers.

BOX = GeoBox.from_bbox((3_700_000, 100_000, 3_700_300, 100_200), "EPSG:6933", resolution=10)


def make_half(seed: int, names: Mapping[str, str] | None = None) -> xr.Dataset:
    """Plausible GeoMAD with holes, as odc-stac would load it."""
    rng = np.random.default_rng(seed)
    planes: dict[str, NDArray[Any]] = {
        band: rng.integers(200, 5000, BOX.shape).astype(np.uint16) for band in REFLECTANCE
    }
    planes |= {band: rng.uniform(0.001, 0.4, BOX.shape).astype(np.float32) for band in DEVIATION}
    planes["edev"] *= 3000
    planes["blue"] //= 5  # as on land, where the denominator of the leaf area index is not 0
    hole = rng.random(BOX.shape) < 0.1
    for band, values in planes.items():
        values[hole] = 0 if band in REFLECTANCE else np.nan
    names = names or {}
    return xr.Dataset(
        {
            names.get(band, band): wrap_xr(
                values, BOX, nodata=0 if band in REFLECTANCE else float("nan")
            )
            for band, values in planes.items()
        }
    )


def make_layer(seed: int, low: float, high: float) -> xr.DataArray:
    values = np.random.default_rng(seed).uniform(low, high, BOX.shape).astype(np.float32)
    values[3, 4] = np.nan
    return wrap_xr(values, BOX)


@pytest.fixture
def first() -> xr.Dataset:
    return make_half(1)


@pytest.fixture
def second() -> xr.Dataset:
    return make_half(2)


def predict(first: Any, second: Any, **layers: Any) -> xr.Dataset:
    return cropmask.predict(first, second, "eastern", **{**LAYERS, **layers})


def plain_features(half: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """The published formulas of one half-year, in float64."""
    band = {name: half[name].values.astype(float) / 10_000 for name in REFLECTANCE}
    band = {name: np.where(values == 0, np.nan, values) for name, values in band.items()}
    mads = {name: half[name].values.astype(float) for name in DEVIATION}
    with np.errstate(all="ignore"):
        nir, red, blue = band["nir"], band["red"], band["blue"]
        return band | {
            "sdev": -np.log(mads["sdev"]),
            "bcdev": -np.log(mads["bcdev"]),
            "edev": -np.log(mads["edev"] / 10_000),
            "NDVI": (nir - red) / (nir + red),
            "LAI": 3.618 * 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1) - 0.118,
            "MNDWI": (band["green"] - band["swir_1"]) / (band["green"] + band["swir_1"]),
        }


@pytest.mark.parametrize("chunks", [None, {"x": 11, "y": 8}], ids=["numpy", "dask"])
def test_features_are_the_published_formulas(
    first: xr.Dataset, second: xr.Dataset, chunks: dict[str, int] | None
) -> None:
    rain, slope = (make_layer(3, 100, 900), make_layer(4, 100, 900)), make_layer(5, 0, 60)
    halves = [half.chunk(chunks) if chunks else half for half in (first, second)]
    found = cropmask.features(
        *halves, rain_first_half=rain[0], rain_second_half=rain[1], slope=slope
    )
    assert tuple(found) == FEATURES
    plain = {
        f"{name}_{season}": values
        for season, half, layer in (("S1", first, rain[0]), ("S2", second, rain[1]))
        for name, values in {**plain_features(half), "rain": layer.values}.items()
    } | {"slope": slope.values}
    for name, values in found.items():
        expected = np.where(np.isfinite(plain[name]), plain[name], 0)
        assert (values.dims, values.dtype) == (("y", "x"), np.float32)
        assert (values.chunks is None) == (chunks is None)
        assert_allclose(values.values, expected, rtol=2e-5, atol=2e-5, err_msg=name)
    assert found.odc.geobox == BOX
    assert found["rain_S1"].attrs["units"] == "mm"


@pytest.mark.parametrize("chunks", [None, {"y": 7, "x": 9}])
def test_features_may_be_expressions(
    first: xr.Dataset, second: xr.Dataset, chunks: dict[str, int] | None
) -> None:
    names = ("nd(nir_S1,red_S1)", "slope", "log(maximum(raw_bcdev_S1, raw_bcdev_S2))")
    known = cropmask.features(first, second, **LAYERS)
    if chunks:
        first, second = first.chunk(chunks), second.chunk(chunks)
    found = cropmask.features(first, second, names=names, **LAYERS)
    assert tuple(found) == names
    ndvi, slope, largest = (found[name].values for name in names)
    assert_array_equal(ndvi, known["NDVI_S1"].values)
    assert_array_equal(slope, known["slope"].values)
    both = (known["bcdev_S1"].values != 0) & (known["bcdev_S2"].values != 0)
    least = np.minimum(known["bcdev_S1"].values, known["bcdev_S2"].values)
    assert both.any()
    assert_array_equal(largest[both], -least[both])
    with pytest.raises(Rejected, match="'moon'"):
        cropmask.features(first, second, names=("moon",), **LAYERS)


def test_the_forest_sees_these_features(first: xr.Dataset, second: xr.Dataset) -> None:
    """The percentages are those of the features, pixel by pixel."""
    crops = predict(first, second)
    rows = cropmask.features(first, second, **LAYERS).to_dataarray("feature").values
    forest = load_forest(load_region("eastern").model("forest").file)
    expected = predict_rows(forest, rows.reshape(33, -1).T.copy()).reshape(BOX.shape)
    seen = (first["red"].values > 0) & (second["red"].values > 0)
    assert_array_equal(crops["prob"].values == 255, ~seen)
    assert_array_equal(crops["mask"].values[seen] == 1, (expected > 0.5)[seen])
    assert np.abs(crops["prob"].values - 100 * expected)[seen].max() <= 1


NAMINGS: dict[str, dict[str, str]] = {
    "assets": dict(ASSET_KEYS),
    "stac": {"swir_1": "swir16", "swir_2": "swir22", "red_edge_1": "rededge071", "nir": "nir_1"},
    "small": {"sdev": "smad", "edev": "emad", "bcdev": "bcmad"},
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_bands_by_other_names(first: xr.Dataset, second: xr.Dataset, naming: str) -> None:
    expected = predict(first, second)
    renamed = [half.rename(NAMINGS[naming]) for half in (first, second)]
    xr.testing.assert_identical(predict(*renamed), expected)


def to_float(half: xr.Dataset, dtype: str) -> xr.Dataset:
    """Everything in one float type, nodata NaN, as stackstac and mask_and_scale give it."""
    return half.assign(
        {band: half[band].where(half[band] != 0).astype(dtype) for band in REFLECTANCE}
        | {band: half[band].astype(dtype) for band in DEVIATION}
    )


def to_signed(half: xr.Dataset) -> xr.Dataset:
    def change(band: xr.DataArray) -> xr.DataArray:
        found = band.astype("int16").where(band != 0, np.int16(-999))
        return found.assign_attrs(nodata=-999)

    return half.assign({band: change(half[band]) for band in REFLECTANCE})


def to_filled(half: xr.Dataset) -> xr.Dataset:
    """Deviations whose nodata is a number, said as CF does."""
    filled = {
        band: half[band].fillna(-9999.0).assign_attrs(nodata=None, _FillValue=-9999.0)
        for band in DEVIATION
    }
    return half.assign(filled)


FORMS: dict[str, Callable[[xr.Dataset], Any]] = {
    "float32": lambda half: to_float(half, "float32"),
    "float64": lambda half: to_float(half, "float64"),
    "int16 with another nodata": to_signed,
    "int32": lambda half: half.assign({band: half[band].astype("int32") for band in REFLECTANCE}),
    "deviations with a number as nodata": to_filled,
    "one time": lambda half: half.expand_dims(time=[np.datetime64("2019-01-01")]),
    "bands as an axis": lambda half: to_float(half, "float64").to_dataarray("band"),
    "axes the other way": lambda half: half.transpose("x", "y"),
    "more variables": lambda half: half.assign(count=half["red"] * 0, nir08=half["nir"]),
    "coordinates off by a rounding": lambda half: half.assign_coords(x=half.x * (1 + 1e-14)),
    "the scale that is meant": lambda half: half.map(
        lambda band: band.assign_attrs(scale_factor=1e-4) if band.dtype == "uint16" else band,
        keep_attrs=True,
    ),
    "lazy": lambda half: half.chunk({"x": 7}),
    "CRS in the attributes alone": lambda half: half.drop_vars("spatial_ref").map(
        lambda band: band.drop_attrs().assign_attrs(crs="epsg:6933")
    ),
}


@pytest.mark.filterwarnings("ignore:grid_mapping=spatial_ref is not pointing:UserWarning")
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_same_pixels(first: xr.Dataset, second: xr.Dataset, form: str) -> None:
    expected = predict(first, second)
    for halves in (
        (FORMS[form](first), second),
        (first, FORMS[form](second)),
        (FORMS[form](first), FORMS[form](second)),
    ):
        found = predict(*halves).compute()
        assert_array_equal(found["prob"], expected["prob"])
        assert_array_equal(found["mask"], expected["mask"])
        assert found.odc.crs == "EPSG:6933"


def test_layers_as_arrays_numbers_and_lazy_arrays(first: xr.Dataset, second: xr.Dataset) -> None:
    rain = make_layer(3, 100, 900)
    expected = predict(first, second, rain_first_half=rain)["prob"]
    assert not np.array_equal(expected, predict(first, second)["prob"])
    for other in (
        rain.chunk({"y": 3}),
        rain.expand_dims(band=[1]),
        rain.fillna(-9999).assign_attrs(nodata=-9999),
        rain.astype("float64"),
    ):
        assert_array_equal(predict(first, second, rain_first_half=other)["prob"], expected)
    even = xr.full_like(rain, 400.0)
    assert_array_equal(
        predict(first, second, rain_first_half=even)["prob"], predict(first, second)["prob"]
    )


def test_a_model_file_needs_no_region(first: xr.Dataset, second: xr.Dataset) -> None:
    file = load_region("eastern").model("boosted").file
    expected = cropmask.predict(first, second, "eastern", model="boosted", **LAYERS)
    for model in (file, str(file)):
        found = cropmask.predict(first, second, model=model, **LAYERS)
        assert_array_equal(found["prob"], expected["prob"])
        assert found.attrs["model_sha256"] == load_forest(file).digest


def test_one_half_year_is_enough_where_the_region_says_so(
    first: xr.Dataset, second: xr.Dataset, tmp_path: Path
) -> None:
    eastern = load_region("eastern")
    model = eastern.model()
    file = tmp_path / "region.toml"
    file.write_text(
        f'name = "mine"\ntitle = "Mine"\nversion = "1.0.0"\nboundary = "{eastern.boundary}"\n'
        f'[models.forest]\nfile = "{model.file}"\nsha256 = "{model.sha256}"\n'
        "[limits]\nrequire_both_halves = false\n"
    )
    either = cropmask.predict(first, second, str(file), **LAYERS)["prob"].values == 255
    assert_array_equal(either, (first["red"].values == 0) & (second["red"].values == 0))


class Counting:
    """A source of pixels that counts the blocks that are asked for, and the largest of them."""

    def __init__(self) -> None:
        self.blocks = 0
        self.largest = 0

    def __call__(self, block: NDArray[Any]) -> NDArray[Any]:
        self.blocks += 1
        self.largest = max(self.largest, block.size)
        return block


def test_halves_that_are_exchanged_are_refused(first: xr.Dataset, second: xr.Dataset) -> None:
    early, late = (
        half.expand_dims(time=[np.datetime64(day, "ns")])
        for half, day in ((first, "2019-01-01"), (second, "2019-07-01"))
    )
    xr.testing.assert_identical(predict(early, late).prob, predict(first, second).prob)
    with pytest.raises(Rejected, match="give January to June first"):
        predict(late, early)


@pytest.mark.parametrize("order", ["calendar", "season"])
def test_the_halves_of_a_season_are_given_as_the_region_orders_them(
    first: xr.Dataset, second: xr.Dataset, tmp_path: Path, order: str
) -> None:
    file = tmp_path / "region.toml"
    shutil.copytree(load_region("eastern").boundary.parent, tmp_path, dirs_exist_ok=True)
    file.write_text(f'half_years = "{order}"\n{file.read_text()}')
    days = {"calendar": ("2021-01-01", "2020-07-01"), "season": ("2020-07-01", "2021-01-01")}
    early, late = (
        half.expand_dims(time=[np.datetime64(day, "ns")])
        for half, day in zip((first, second), days[order], strict=True)
    )
    expected = predict(first, second).prob
    xr.testing.assert_identical(cropmask.predict(early, late, str(file), **LAYERS).prob, expected)
    with pytest.raises(Rejected, match=r"first_half is of 202.*: exchange them"):
        cropmask.predict(late, early, str(file), **LAYERS)


def test_rain_of_a_site_is_that_of_the_half_year(
    results: Results, site: Site, window: GridWindow
) -> None:
    plain = [half.isel(time=0, drop=True) for half in load_halves(results, window)]
    late, early = (
        half.assign_coords(time=np.datetime64(day, "ns"))
        for half, day in zip(plain, ("2020-07-01", "2021-01-01"), strict=True)
    )
    folder = results.models / "eastern"
    text = (folder / "region.toml").read_text()
    file = folder / "season.toml"
    file.write_text(f'half_years = "season"\n{text}')
    year = cropmask.features(*plain, str(file), site=site)
    season = cropmask.features(late, early, str(file), site=site)
    file.unlink()
    assert_array_equal(season.rain_S1, year.rain_S2)
    assert_array_equal(season.rain_S2, year.rain_S1)
    assert_array_equal(season.blue_S1, year.blue_S1)
    assert (year.rain_S1 != year.rain_S2).any()


def test_lazy_arrays_are_read_block_by_block(first: xr.Dataset, second: xr.Dataset) -> None:
    count = Counting()

    def lazy(half: xr.Dataset) -> xr.Dataset:
        chunked = half.chunk({"x": 10, "y": 10})  # 3 by 2 blocks
        return chunked.map(
            lambda band: band.copy(
                data=band.data.map_blocks(count, dtype=band.dtype, meta=band.data._meta)
            ),
            keep_attrs=True,
        )

    crops = predict(lazy(first), lazy(second))
    features = cropmask.features(lazy(first), lazy(second), **LAYERS)
    assert count.blocks == 0
    corner = {"x": slice(0, 10), "y": slice(0, 10)}
    with dask.config.set(scheduler="synchronous"):
        prob = crops["prob"].isel(corner).compute()
        assert (count.blocks, count.largest) == (24, 100)
        features["NDVI_S1"].isel(corner).compute()
        assert (count.blocks, count.largest) == (48, 100)
    assert_array_equal(prob, predict(first, second)["prob"].isel(corner))


def test_bands_may_have_different_chunks(first: xr.Dataset, second: xr.Dataset) -> None:
    mixed = first.chunk({"x": 10})
    mixed["red"] = mixed["red"].chunk({"x": 7, "y": 5})
    mixed["nir"] = first["nir"]
    found = predict(mixed, second.chunk({"y": 4}))
    xr.testing.assert_identical(found.compute(), predict(first, second))


def test_what_is_sent_to_other_machines_works_there(first: xr.Dataset, second: xr.Dataset) -> None:
    forest: Forest = load_forest(load_region("eastern").model().file)
    grid, bands = parse_halves(first, second)
    inputs = LoadedInputs(grid, bands, (400.0, 300.0, 2.5))
    work = partial(_classify, maker=inputs.strip_maker, forest=forest, need_both=True, threads=2)
    classify = pickle.loads(pickle.dumps(work))
    found = classify(*(band.values for band in inputs.arrays))
    assert_array_equal(found, predict(first, second)["prob"])


# What is refused, and how it is said.


def with_values(half: xr.Dataset, change: Callable[[Any], Any], *bands: str) -> xr.Dataset:
    return half.assign({band: change(half[band]).assign_attrs(half[band].attrs) for band in bands})


def moved(half: xr.Dataset, **by: float) -> xr.Dataset:
    return half.assign_coords({axis: half[axis] + offset for axis, offset in by.items()})


REFUSED: dict[str, tuple[Callable[[xr.Dataset], Any], str, Reason]] = {
    "a band is missing": (
        lambda half: half.drop_vars("sdev"),
        r"second_half has no band 'sdev' \(SMAD\): its variables are blue, green",
        Reason.MISSING_BAND,
    ),
    "a band is misspelled": (
        lambda half: half.rename(red_edge_1="rededge_1"),
        r"has no band 'red_edge_1' \(B05\): did you mean 'rededge_1'\? "
        r"\.rename\({'rededge_1': 'red_edge_1'}\)",
        Reason.MISSING_BAND,
    ),
    "two are": (
        lambda half: half.rename(red="B4", sdev="SMADS"),
        r"no bands 'red' \(B04\), 'sdev' \(SMAD\): did you mean 'B4' and 'SMADS'\?",
        Reason.MISSING_BAND,
    ),
    "the narrow infrared": (
        lambda half: half.rename(nir="nir08"),
        r"has no band 'nir' \(B08\): 'nir08' is the narrow near infrared, another band",
        Reason.MISSING_BAND,
    ),
    "numbers for names": (
        lambda half: (
            to_float(half, "float32").to_dataarray("band").assign_coords(band=range(1, 13))
        ),
        "its bands are numbered: give them their names",
        Reason.MISSING_BAND,
    ),
    "a band by two names": (
        lambda half: half.assign(B02=half["blue"]),
        "band 'blue' 2 times, as blue and B02: drop all but one",
        Reason.DOUBLED_BAND,
    ),
    "no dataset": (
        lambda half: half["red"].values,
        "second_half is a numpy.ndarray: give an xarray.Dataset of the 12 bands",
        Reason.BAD_VALUE,
    ),
    "shares of 1": (
        lambda half: with_values(half, lambda band: band / 10_000, *REFLECTANCE),
        "reflectances of second_half reach 0.5, so they are shares of 1: give them as GeoMAD "
        "stores them, x 10 000",
        Reason.WRONG_RASTER,
    ),
    "logarithms of deviations": (
        lambda half: with_values(half, lambda band: -np.log(band), "sdev"),
        r"band 'sdev' of second_half reaches 6\.\d+: give it as GeoMAD stores it, a share of 1, "
        "and not its logarithm",
        Reason.WRONG_RASTER,
    ),
    "edev divided": (
        lambda half: with_values(half, lambda band: band / 10_000, "edev"),
        "band 'edev' of second_half reaches 0.12: give it as GeoMAD stores it, the distance of "
        "stored reflectances, x 10 000",
        Reason.WRONG_RASTER,
    ),
    "whole deviations": (
        lambda half: with_values(half, lambda band: band.fillna(0).astype("uint16"), "sdev"),
        "band 'sdev' of second_half holds uint16, where deviations are fractions: load it as float",
        Reason.WRONG_RASTER,
    ),
    "bytes": (
        lambda half: with_values(half, lambda band: (band // 40).astype("uint8"), "red"),
        "band 'red' of second_half holds uint8, which cannot hold reflectances x 10 000",
        Reason.WRONG_RASTER,
    ),
    "a scale that is not applied": (
        lambda half: half.assign(red=half["red"].assign_attrs(scale_factor=2e-4, add_offset=-0.1)),
        "band 'red' of second_half has scale 0.0002 and offset -0.1, which are not applied",
        Reason.WRONG_RASTER,
    ),
    "a nodata that nothing says": (
        lambda half: with_values(
            half, lambda band: band.astype("int16").where(band != 0, np.int16(-999)), "red"
        ),
        "band 'red' of second_half has the value -999, which is no reflectance",
        Reason.WRONG_RASTER,
    ),
    "too large a number": (
        lambda half: with_values(half, lambda band: band.astype("float32") * 100, "red"),
        "which is no reflectance x 10 000",
        Reason.WRONG_RASTER,
    ),
    "several times": (
        lambda half: xr.concat([half, half], dim="time"),
        r"has 2 places along 'time', where one is needed: choose one with \.isel\(time=0\)",
        Reason.WRONG_RASTER,
    ),
    "no CRS": (
        lambda half: (
            half.drop_vars("spatial_ref")
            .assign_coords(x=half.x.values, y=half.y.values)
            .map(lambda band: band.drop_attrs())
        ),
        r"second_half has no CRS: give it one, such as \.odc\.assign_crs\('EPSG:6933'\)",
        Reason.WRONG_CRS,
    ),
    "another CRS": (
        lambda half: assign_crs(
            half.drop_vars("spatial_ref").map(lambda band: band.drop_attrs()), "EPSG:32636"
        ),
        "second_half is on another grid than first_half: its CRS is EPSG:32636, not EPSG:6933; "
        "load both on one grid",
        Reason.WRONG_RASTER,
    ),
    "another shape": (
        lambda half: half.isel(x=slice(0, 20)),
        r"it has 20 x 20 pixels \(rows x columns\), not 20 x 30",
        Reason.WRONG_RASTER,
    ),
    "a shift": (
        lambda half: moved(half, x=30.0),
        "its corners lie up to 3 pixels away;",
        Reason.WRONG_RASTER,
    ),
    "corners of pixels": (
        lambda half: moved(half, x=-5.0, y=5.0),
        r"lie up to 0.5 pixels away \(stackstac names corners of pixels unless xy_coords='center'",
        Reason.WRONG_RASTER,
    ),
    "another pixel size": (
        lambda half: half.assign_coords(x=float(half.x[0]) + 9.0 * np.arange(30)),
        "its corners lie up to",
        Reason.WRONG_RASTER,
    ),
    "upside down": (
        lambda half: half.isel(y=slice(None, None, -1)),
        "corners",
        Reason.WRONG_RASTER,
    ),
    "no coordinates": (
        lambda half: half.drop_vars(["x", "y"]),
        r"has no axes y and x with coordinates \(its dimensions are y, x\)",
        Reason.WRONG_RASTER,
    ),
    "other axes": (
        lambda half: half.drop_vars(["x", "y"]).rename(x="a", y="b"),
        r"has no axes y and x with coordinates \(its dimensions are b, a\)",
        Reason.WRONG_RASTER,
    ),
    "irregular": (
        lambda half: half.assign_coords(x=half.x + np.random.default_rng(0).uniform(0, 9, 30)),
        "grid",
        Reason.WRONG_RASTER,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:grid_mapping=spatial_ref is not pointing:UserWarning")
def test_what_is_wrong_with_a_half_year_is_said_in_a_line(
    first: xr.Dataset, second: xr.Dataset, case: str
) -> None:
    change, message, reason = REFUSED[case]
    with pytest.raises(Rejected, match=message) as caught:
        predict(first, change(second))
    assert caught.value.reason is reason
    with pytest.raises(Rejected) as caught:
        cropmask.features(first, change(second), **LAYERS)
    assert caught.value.reason is reason


@pytest.mark.parametrize("case", ["shares of 1", "edev divided", "a nodata that nothing says"])
def test_wrong_units_of_lazy_arrays_are_found_when_they_are_computed(
    first: xr.Dataset, second: xr.Dataset, case: str
) -> None:
    change, message, reason = REFUSED[case]
    crops = predict(first, change(second).chunk({"x": 16}))
    with pytest.raises(Rejected, match=message) as caught:
        crops.compute()
    assert caught.value.reason is reason


WRONG_LAYERS: dict[str, tuple[Any, str]] = {
    "another grid": (
        make_layer(1, 0, 9).isel(x=slice(2, 20)),
        "slope is on another grid than first_half: it has 20 x 18 pixels",
    ),
    "text": ("steep", "slope is a builtins.str: give a number, or an xarray.DataArray"),
    "an array": (np.zeros(BOX.shape), "slope is a numpy.ndarray: give a number"),
    "NaN": (float("nan"), "slope is nan: give a finite number"),
    "two times": (
        make_layer(1, 0, 9).expand_dims(time=2),
        "slope has 2 places along 'time'",
    ),
    "dates": (make_layer(1, 0, 9).astype("datetime64[s]"), "slope holds datetime64"),
}


@pytest.mark.parametrize("case", WRONG_LAYERS)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_what_is_wrong_with_a_layer_is_said_in_a_line(
    first: xr.Dataset, second: xr.Dataset, case: str
) -> None:
    layer, message = WRONG_LAYERS[case]
    with pytest.raises(Rejected, match=message):
        predict(first, second, slope=layer)


def test_layers_that_nothing_gives(first: xr.Dataset, second: xr.Dataset, site: Site) -> None:
    message = "the features rain_second_half, slope are not given: give each as a number or"
    with pytest.raises(Rejected, match=message) as caught:
        cropmask.predict(first, second, "eastern", rain_first_half=400)
    assert caught.value.reason is Reason.NO_LAYER
    with pytest.raises(Rejected, match=r"region='\.\.\.' and site=cropmask.open_site\(\)"):
        cropmask.features(first, second, site=site)


def test_layers_that_do_not_cover_the_bands(site: Site) -> None:
    far = [half.assign_coords(x=half.x - 9_000_000) for half in (make_half(1), make_half(2))]
    far = [assign_crs(half.drop_vars("spatial_ref"), "EPSG:6933") for half in far]
    with pytest.raises(Misconfigured, match="does not cover the bands") as caught:
        cropmask.predict(*far, "eastern", site=site)
    assert caught.value.reason is Reason.NO_LAYER


def test_models_and_regions_that_are_not_there(
    first: xr.Dataset, second: xr.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(Rejected, match=r"name it, such as region='eastern' \(there are central, "):
        cropmask.predict(first, second, **LAYERS)
    with pytest.raises(Rejected, match="unknown region 'easter': did you mean 'eastern'"):
        cropmask.predict(first, second, "easter", **LAYERS)
    with pytest.raises(Rejected, match="has no 'trees' model"):
        cropmask.predict(first, second, "eastern", model="trees", **LAYERS)
    with pytest.raises(Misconfigured, match=r"no\.cropmodel"):
        cropmask.predict(first, second, model=tmp_path / "no.cropmodel", **LAYERS)
