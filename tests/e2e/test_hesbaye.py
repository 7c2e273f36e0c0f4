"""A real Sentinel-2 GeoMAD, from items to COGs, against plain numpy and scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.warp import Resampling, reproject

import cropmask
from cropmask.cli.main import cropmask as cropmask_command
from cropmask.core.engine import predict
from cropmask.core.features import FEATURES, features
from cropmask.core.strips import Strip
from cropmask.grid import Tile, geobox
from cropmask.modelfile.model import load_forest
from cropmask.pixels.layers import open_layers
from cropmask.region.region import load_region
from cropmask.site.site import open_site
from cropmask.sources.boundary import load_boundary
from cropmask.task import Period, Task
from cropmask.tile.job import prepare
from cropmask.tile.run import TileResult, run_tile
from cropmask.training.samples import load_samples
from tests.shareddata import SHARED, needs_shared, shared

REPOSITORY = Path(__file__).parents[2]
SCENE = SHARED / "hesbaye"
TASK_TILE = "x186y136"
ROWS, COLUMNS = 77, 142

pytestmark = needs_shared("hesbaye")


@pytest.fixture(scope="module")
def region_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A region of one square kilometer with northern's model: data, no code."""
    northern = load_region("northern").model("forest")
    layers = SCENE / "ancillary"
    path = tmp_path_factory.mktemp("region") / "region.toml"
    path.write_text(
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
    return path


def task(region_file: Path) -> Task:
    return Task(Tile.parse(TASK_TILE), str(region_file), Period.parse("2021--P1Y"))


@pytest.fixture(scope="module")
def result(region_file: Path, tmp_path_factory: pytest.TempPathFactory) -> TileResult:
    options = {"catalog": str(SCENE), "output": str(tmp_path_factory.mktemp("out"))}
    return run_tile(task(region_file), open_site({}, options))


def read(path: Path) -> NDArray[np.float64]:
    with rasterio.open(path) as raster:
        return raster.read(1).astype(np.float64)


def resampled(path: Path, resampling: Resampling) -> NDArray[np.float64]:
    """A layer on the scene's own grid, by GDAL."""
    out = np.full((ROWS, COLUMNS), np.nan)
    band = SCENE / "x186/y136/2021-01--P6M/gm_s2_semiannual_x186y136_2021-01--P6M_B02.tif"
    with rasterio.open(band) as grid, rasterio.open(path) as raster:
        source = raster.read(1).astype(np.float64)
        if raster.nodata is not None:
            source[source == raster.nodata] = np.nan
        if resampling is Resampling.bilinear:  # rain alone is filled, with the window's mean
            source[np.isnan(source)] = np.nanmean(source)
        reproject(
            source, out, src_transform=raster.transform, src_crs=raster.crs,
            dst_transform=grid.transform, dst_crs=grid.crs, resampling=resampling, tolerance=0,
        )  # fmt: skip
    return out


def plain_features() -> NDArray[np.float64]:
    """The 33 features ``(33, y, x)`` by the published formulas, in plain numpy float64."""
    planes: dict[str, NDArray[np.float64]] = {}
    keys = {
        "blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir_1": "B11",
        "swir_2": "B12", "red_edge_1": "B05", "red_edge_2": "B06", "red_edge_3": "B07",
    }  # fmt: skip
    for season, start, rain in (("S1", "01", "jan_jun"), ("S2", "07", "jul_dec")):
        stem = f"x186/y136/2021-{start}--P6M/gm_s2_semiannual_x186y136_2021-{start}--P6M"
        band = {name: read(SCENE / f"{stem}_{key}.tif") / 10_000 for name, key in keys.items()}
        band = {name: np.where(values == 0, np.nan, values) for name, values in band.items()}
        mads = {name: read(SCENE / f"{stem}_{name}.tif") for name in ("SMAD", "EMAD", "BCMAD")}
        with np.errstate(all="ignore"):
            band["sdev"] = -np.log(mads["SMAD"])
            band["bcdev"] = -np.log(mads["BCMAD"])
            band["edev"] = -np.log(mads["EMAD"] / 10_000)
            nir, red, blue = band["nir"], band["red"], band["blue"]
            band["NDVI"] = (nir - red) / (nir + red)
            band["LAI"] = 3.618 * 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1) - 0.118
            band["MNDWI"] = (band["green"] - band["swir_1"]) / (band["green"] + band["swir_1"])
        band["rain"] = resampled(SCENE / f"ancillary/rain_{rain}.tif", Resampling.bilinear)
        planes |= {f"{name}_{season}": values for name, values in band.items()}
    planes["slope"] = resampled(SCENE / "ancillary/slope_percent.tif", Resampling.nearest)
    out = np.array([planes[name] for name in FEATURES])
    out[~np.isfinite(out)] = 0
    return out


def seen_twice() -> NDArray[np.bool_]:
    """Where both half-years have GeoMAD, from the files."""
    halves = [
        np.any([read(path) != 0 for path in SCENE.glob(f"x186/y136/2021-{month}--P6M/*_B*.tif")
                if "BCMAD" not in path.name], axis=0)
        for month in ("01", "07")
    ]  # fmt: skip
    return halves[0] & halves[1]


def scene_window() -> tuple[slice, slice]:
    left, _, _, top = Tile.parse(TASK_TILE).bounds
    row, column = round((top - 5_666_430) / 10), round((513_190 - left) / 10)
    return slice(row, row + ROWS), slice(column, column + COLUMNS)


def band(result: TileResult, name: str) -> NDArray[np.uint8]:
    with rasterio.open(result.item.replace(".stac-item.json", f"_{name}.tif")) as raster:
        return raster.read(1)


def our_features(region_file: Path, tmp_path: Path) -> NDArray[np.float32]:
    options = {"catalog": str(SCENE), "output": str(tmp_path)}
    job = prepare(task(region_file), open_site({}, options))
    rows, columns = scene_window()
    with open_layers(
        job.sources,
        geobox(job.task.tile),
        boundary=job.basis.boundary,
        limits=job.basis.region.limits,
    ) as layers:
        parts = []
        for strip in layers.strips(512):
            if strip.row < rows.stop and strip.row + strip.shape[0] > rows.start:
                inside = slice(max(rows.start - strip.row, 0), rows.stop - strip.row)
                parts.append(features(cut(strip, inside, columns)))
    return np.concatenate(parts, axis=1)


def cut(strip: Strip, rows: slice, columns: slice) -> Strip:
    def half(number: int) -> object:
        raw = (strip.first, strip.second)[number]
        return type(raw)(raw.reflectance[:, rows, columns], raw.deviation[:, rows, columns])

    return Strip(0, half(0), half(1), strip.rain[:, rows, columns], strip.slope[rows, columns])


def test_features_of_every_pixel(region_file: Path, tmp_path: Path) -> None:
    ours, plain = our_features(region_file, tmp_path), plain_features()
    assert ours.shape == plain.shape == (33, ROWS, COLUMNS)
    for name, a, b in zip(FEATURES, ours, plain, strict=True):
        assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=name)


def test_mask_and_probability_of_every_pixel(result: TileResult) -> None:
    from sklearn.ensemble import RandomForestClassifier

    samples = np.loadtxt(shared("training/northern.txt"))
    forest = RandomForestClassifier(
        300, criterion="gini", max_features="log2", random_state=1, n_jobs=2
    ).fit(samples[:, 1:].astype(np.float32), samples[:, 0])
    x = plain_features().reshape(33, -1).T.astype(np.float32)
    p = forest.predict_proba(x)[:, 1].reshape(ROWS, COLUMNS)
    mask, prob = (band(result, name)[scene_window()] for name in ("mask", "prob"))
    seen = prob != 255
    assert_array_equal(seen, seen_twice())
    assert seen.mean() > 0.9
    assert_array_equal(mask[seen], (p > 0.5)[seen])
    assert np.abs(prob[seen] - 100 * p[seen]).max() <= 1


@pytest.mark.parametrize("chunks", [None, {"x": 64, "y": 48}], ids=["numpy", "dask"])
def test_predict_gives_the_pixels_of_the_job(
    result: TileResult, region_file: Path, tmp_path: Path, chunks: dict[str, int] | None
) -> None:
    """GeoMAD as odc-stac loads it, and rain and slope of the site."""
    halves = [
        odc.stac.load([pystac.Item.from_file(str(path))], chunks=chunks)
        for path in sorted(SCENE.glob("x186/y136/*/*.stac-item.json"))
    ]
    site = open_site({}, {"catalog": str(SCENE), "output": str(tmp_path)})
    crops = cropmask.predict(*halves, str(region_file), site=site)
    assert crops.odc.geobox == geobox(Tile.parse(TASK_TILE))[scene_window()]
    assert (crops["prob"].chunks is None) == (chunks is None)
    for name in ("prob", "mask"):
        assert_array_equal(crops[name].values, band(result, name)[scene_window()])
    assert len(np.unique(crops["prob"])) > 50


def test_outside_the_scene_is_nodata(result: TileResult) -> None:
    rows, columns = scene_window()
    for name in ("mask", "prob", "filtered"):
        values = band(result, name)
        values[rows, columns] = 255
        assert (values == 255).all()


def test_the_item_says_what_could_not_be_masked(result: TileResult) -> None:
    properties = json.loads(Path(result.item).read_text())["properties"]
    assert set(properties["cropmask:masks_not_applied"]) == {"protected_areas", "water"}
    assert properties["odc:region_code"] == TASK_TILE
    assert properties["start_datetime"].startswith("2021-01-01")
    assert properties["cropmask:synthetic"] is False
    figures = properties["cropmask:statistics"]
    mask = band(result, "mask")
    assert figures["crop_hectares"] == np.count_nonzero(mask == 1) / 100
    assert figures["mapped_hectares"] == np.count_nonzero(mask != 255) / 100


def test_attribution_follows_the_data(result: TileResult) -> None:
    root = Path(result.item).parents[5]
    for path in root.rglob("*"):
        if path.is_file():
            assert b"Digital Earth Africa" not in path.read_bytes(), path
    properties = json.loads(Path(result.item).read_text())["properties"]
    line = "license MIT. Contains modified Copernicus Sentinel data 2021"
    assert (properties["license"], properties["attribution"]) == ("MIT", line)
    assert "providers" not in properties
    with rasterio.open(result.item.replace(".stac-item.json", "_mask.tif")) as raster:
        assert raster.tags()["TIFFTAG_COPYRIGHT"] == line
    collection = json.loads((root / "crop_mask_hesbaye/collection.json").read_text())
    assert collection["license"] == "MIT"
    assert collection["attribution"] == "license MIT. Contains modified Copernicus Sentinel data"
    assert "africa" not in " ".join(collection["keywords"])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_item_covers_the_scene_and_not_the_tile(result: TileResult) -> None:
    item = json.loads(Path(result.item).read_text())
    collection = json.loads((SCENE / "collection.json").read_text())
    expected = collection["extent"]["spatial"]["bbox"][0]
    assert_allclose(item["bbox"], expected, atol=2e-4)  # two pixels: not all of it has both halves
    properties = item["properties"]
    assert properties["proj:shape"] == [9600, 9600]
    assert properties["proj:bbox"] == list(Tile.parse(TASK_TILE).bounds)
    left, bottom, right, top = properties["proj:bbox"]
    assert [left, top] in properties["proj:geometry"]["coordinates"][0]
    assert [right, bottom] in properties["proj:geometry"]["coordinates"][0]
    thumbnail = item["assets"]["thumbnail"]
    with rasterio.open(result.thumbnail) as raster:
        assert list(raster.shape) == thumbnail["proj:shape"]
        assert 256 <= max(raster.shape) <= 512
        assert (raster.read(4) > 0).mean() > 0.9


def test_segments_vote_on_the_scene(result: TileResult) -> None:
    mask, filtered = band(result, "mask"), band(result, "filtered")
    assert_array_equal(mask == 255, filtered == 255)
    seen = mask != 255
    assert 0.5 < (mask == filtered)[seen].mean() < 1.0


def test_a_second_run_writes_the_same_bytes(
    region_file: Path, result: TileResult, tmp_path: Path
) -> None:
    """The first one with as many threads as is usual, the second one with one."""
    options = {"catalog": str(SCENE), "output": str(tmp_path), "threads": 1}
    run_tile(task(region_file), open_site({}, options))
    first = Path(result.item).parents[5]
    outputs = [
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (first, tmp_path)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 10


def test_the_scene_lies_in_no_region_of_africa() -> None:
    boundary = load_boundary(load_region("northern").boundary)
    from cropmask.grid import intersects

    assert not intersects(boundary, Tile.parse(TASK_TILE))


def test_samples_of_places_are_the_map_at_these_places(
    region_file: Path, result: TileResult, tmp_path: Path
) -> None:
    """Features of points, extracted by windows, give the probabilities of the mapped tile."""
    band = SCENE / "x186/y136/2021-01--P6M/gm_s2_semiannual_x186y136_2021-01--P6M_B02.tif"
    with rasterio.open(band) as raster:
        west, south, east, north = raster.bounds
    random = np.random.default_rng(0)
    xy = random.uniform((west - 200, south), (east, north), (300, 2))
    to_degrees = Transformer.from_crs("EPSG:6933", "OGC:CRS84", always_xy=True)
    degrees = np.column_stack(to_degrees.transform(*xy.T))
    points = tmp_path / "points.csv"
    lines = [f"{lon},{lat},{at % 2}" for at, (lon, lat) in enumerate(degrees)]
    points.write_text("\n".join(["lon,lat,class", *lines]) + "\n")
    words = ["--points", str(points), "--region", str(region_file), "--period", "2021"]
    words += ["--catalog", str(SCENE), "--out", str(tmp_path / "samples.txt"), "--json"]
    done = CliRunner().invoke(cropmask_command, ["samples", "extract", *words])
    found = json.loads(done.stdout)
    table = load_samples(tmp_path / "samples.txt")
    assert found["windows"] == 1
    assert found["pixels"] <= (ROWS + 40) * (COLUMNS + 40)
    assert 200 < found["rows"] == len(table.labels) < 300  # some lie beside the scene
    model = load_region("northern").model("forest")
    crop = predict(load_forest(model.file, model.sha256), table.features)
    item = Path(result.item)
    (prob,) = item.parent.glob("*_prob.tif")
    assert table.origins.coordinates is not None
    with rasterio.open(prob) as raster:
        mapped = np.array([value[0] for value in raster.sample(table.origins.coordinates)])
    inside = mapped != 255
    assert inside.sum() > 150
    assert_array_equal(mapped[inside] > 50, crop[inside] > 0.5)
    assert np.abs(mapped[inside] - 100 * crop[inside]).max() <= 1
