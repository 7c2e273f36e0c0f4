"""Strips and masks of small true worlds, against the arrays they were made from."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from cropmask.core.strips import DEVIATION, REFLECTANCE, Exclusion, Layers, Strip
from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.grid import Tile, geobox
from cropmask.pixels import rasters, sampled
from cropmask.pixels.layers import TileLayers, open_layers
from cropmask.pixels.resample import Window
from cropmask.region.region import Ancillary, Limits
from cropmask.remote.fetch import ReadOptions
from cropmask.sources.boundary import load_boundary
from cropmask.sources.search import find_sources
from cropmask.task import Period
from tests.shareddata import SHARED, needs_shared
from tests.worlds import TILE, World, make_world, write_cog

SIZE = (300, 200)
OFFSET = (1000, 2000)
EVERYWHERE = shapely.box(*TILE.bounds)
ANY_COVER = Limits(min_coverage_percent=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("layers") / "w", size=SIZE, offset=OFFSET)


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copied(tmp_path / "w")


def part_of_tile(rows: slice, columns: slice, resolution: int = 10) -> GeoBox:
    """Some pixels of the tile, so that tests need not fill all 92 million."""
    return geobox(TILE, resolution)[rows, columns]


BOX = part_of_tile(slice(950, 1350), slice(1980, 2250))
INSIDE = (slice(50, 350), slice(20, 220))
"""Where the world's window lies in BOX."""


def opened(
    world: World,
    box: GeoBox = BOX,
    limits: Limits = ANY_COVER,
    window: Window | None = None,
    **layers: Any,
) -> TileLayers:
    ancillary = world.ancillary.model_copy(update=layers)
    sources = find_sources(str(world.catalog), world.tile, world.period, ancillary)
    boundary = shapely.box(*box.boundingbox.bbox)
    return open_layers(sources, box, boundary=boundary, limits=limits, window=window)


def joined(strips: list[Strip]) -> dict[str, NDArray[Any]]:
    """All arrays of consecutive strips, put together along the rows."""
    arrays = [
        {
            "first": strip.first.reflectance,
            "first deviation": strip.first.deviation,
            "second": strip.second.reflectance,
            "second deviation": strip.second.deviation,
            "rain": strip.rain,
            "slope": strip.slope,
        }
        for strip in strips
    ]
    return {key: np.concatenate([part[key] for part in arrays], axis=-2) for key in arrays[0]}


def read_all(layers: TileLayers, rows: int) -> dict[str, NDArray[Any]]:
    strips = list(layers.strips(rows))
    heights = [strip.shape[0] for strip in strips]
    assert [strip.row for strip in strips] == [sum(heights[:i]) for i in range(len(heights))]
    assert sum(heights) == layers.shape[0]
    assert max(heights) <= rows
    return joined(strips)


def test_strips_equal_the_arrays_written(made: World):
    with opened(made) as layers:
        interface: Layers = layers
        assert interface.shape == BOX.shape == (400, 270)
        assert interface.pixel_area_m2 == 100
        got = read_all(layers, 128)
    for name, half in zip(("first", "second"), made.halves, strict=True):
        assert got[name].dtype == np.uint16
        assert got[f"{name} deviation"].dtype == np.float32
        np.testing.assert_array_equal(got[name][:, *INSIDE], half.reflectance)
        np.testing.assert_array_equal(got[f"{name} deviation"][:, *INSIDE], half.deviation)
        outside = np.ones(BOX.shape, bool)
        outside[INSIDE] = False
        assert (got[name][:, outside] == 0).all()
        assert np.isnan(got[f"{name} deviation"][:, outside]).all()


def test_band_order_is_that_of_the_features(made: World):
    with opened(made) as layers:
        strip = next(layers.strips(400))
    for index, name in enumerate(REFLECTANCE):
        with rasterio.open(made.band_file(1, name)) as file:
            np.testing.assert_array_equal(strip.second.reflectance[index][INSIDE], file.read(1))
    for index, name in enumerate(DEVIATION):
        with rasterio.open(made.band_file(0, name)) as file:
            np.testing.assert_array_equal(strip.first.deviation[index][INSIDE], file.read(1))


@pytest.mark.parametrize(("resolution", "rows"), [(10, 1), (10, 37), (10, 129), (60, 37)])
def test_strip_height_changes_no_byte(made: World, resolution: int, rows: int):
    box = BOX if resolution == 10 else part_of_tile(slice(150, 240), slice(300, 420), 60)
    with opened(made, box) as layers:
        expected = read_all(layers, 64)
        if rows == 1:
            head = [strip for strip, _ in zip(layers.strips(1), range(55), strict=False)]
            got = joined(head)
            expected = {key: values[..., :55, :] for key, values in expected.items()}
        else:
            got = read_all(layers, rows)
    assert (got["first"] > 0).any()
    for key, values in expected.items():
        assert got[key].tobytes() == values.tobytes(), key


@pytest.mark.parametrize("shift", [0.0, 0.37])
def test_resampled_blocks_are_cut_the_same_for_every_height(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: float
):
    world = make_world(tmp_path, size=(240, 240), offset=(600, 600), shift=shift, holes=0.02)
    resolution = 10 if shift else 20
    start = 590 if shift else 290
    box = part_of_tile(slice(start, start + 80), slice(start, start + 80), resolution)
    # Blocks far lower than the box, so that strips and blocks cross in every way.
    monkeypatch.setattr(rasters, "_BLOCK_PIXELS", box.shape.x * 31)
    with opened(world, box) as layers:
        kinds = {type(rows) for rows in layers._bands.values()}
        assert kinds == {rasters.ResampledRows}
        expected = read_all(layers, box.shape.y)
        for rows in (30, 47):
            got = read_all(layers, rows)
            for key, values in expected.items():
                assert got[key].tobytes() == values.tobytes(), (key, rows)
    assert (expected["second"] > 0).any()


@pytest.mark.parametrize("resolution", [20, 60])
def test_coarse_pixels_are_averages_of_the_fine(tmp_path: Path, resolution: int):
    world = make_world(tmp_path, size=(720, 720), offset=(1200, 1200), smooth=True, holes=0)
    factor = resolution // 10
    start = 1200 // factor
    count = 720 // factor
    box = part_of_tile(slice(start, start + count), slice(start, start + count), resolution)
    with opened(world, box) as layers:
        got = read_all(layers, 17)
    fine = world.halves[0].reflectance.astype(float)
    means = fine.reshape(9, count, factor, count, factor).mean(axis=(2, 4))
    inner = (slice(None), slice(2, -2), slice(2, -2))
    difference = np.abs(got["first"].astype(float) - means)[inner]
    # The waves of the scene have amplitudes of 1000 and more.
    assert difference.max() < 60
    assert np.abs(difference).mean() < 15
    deviation = world.halves[0].deviation.astype(float)
    means = deviation.reshape(3, count, factor, count, factor).mean(axis=(2, 4))
    np.testing.assert_allclose(got["first deviation"][inner], means[inner], atol=0.01)


def test_shifted_grid_is_interpolated(tmp_path: Path):
    world = make_world(tmp_path, size=(120, 120), offset=(1200, 1200), shift=0.5, holes=0)
    with opened(world, part_of_tile(slice(1200, 1320), slice(1200, 1320))) as layers:
        got = read_all(layers, 50)["first"]
    values = world.halves[0].reflectance.astype(float)
    # A pixel of the tile lies between four of the source.
    expected = (
        values[:, :-1, :-1] + values[:, 1:, :-1] + values[:, :-1, 1:] + values[:, 1:, 1:]
    ) / 4
    np.testing.assert_allclose(got[:, 1:120, 1:120], expected, atol=1.01)


def test_raster_that_reaches_over_the_tile(tmp_path: Path):
    world = make_world(tmp_path, size=(40, 50), offset=(-10, -20))
    with opened(world, part_of_tile(slice(0, 60), slice(0, 70))) as layers:
        got = read_all(layers, 7)
    np.testing.assert_array_equal(
        got["first"][:, :30, :30], world.halves[0].reflectance[:, 10:, 20:]
    )
    assert (got["first"][:, 30:] == 0).all()
    assert (got["first"][:, :, 30:] == 0).all()


def rewrite(path: Path, **profile: Any) -> None:
    """Write a raster again with another profile; ``replace`` maps a value to another."""
    values = profile.pop("values", None)
    with rasterio.open(path) as file:
        pixels, old = file.read(1), file.profile
    path.unlink()
    pixels = pixels if values is None else values(pixels)
    nodata = profile.pop("nodata", old["nodata"])
    write_cog(
        path,
        pixels,
        profile.pop("transform", old["transform"]),
        crs=profile.pop("crs", old["crs"]),
        nodata=nodata,
    )


@pytest.mark.parametrize("resolution", [10, 20])
def test_other_nodata_becomes_ours(world: World, resolution: int):
    blue, sdev = world.band_file(0, "blue"), world.band_file(0, "sdev")
    rewrite(blue, nodata=65535, values=lambda v: np.where(v == 0, 65535, v).astype(np.uint16))
    rewrite(sdev, nodata=-9999, values=lambda v: np.where(np.isnan(v), np.float32(-9999), v))
    box = BOX if resolution == 10 else part_of_tile(slice(500, 600), slice(1000, 1100), 20)
    with opened(world, box) as layers:
        strip = next(layers.strips(400))
    bands = strip.first.reflectance[0], strip.first.deviation[DEVIATION.index("sdev")]
    assert not (bands[0] == 65535).any()
    assert not (bands[1] < 0).any()
    if resolution == 10:
        np.testing.assert_array_equal(bands[0][INSIDE], world.halves[0].reflectance[0])
        np.testing.assert_array_equal(bands[1][INSIDE], world.halves[0].deviation[2])


def test_raster_of_another_crs_or_type(world: World):
    rewrite(world.band_file(0, "red"), crs="EPSG:32736")
    with pytest.raises(Rejected, match=r"B04\.tif is in EPSG:32736: GeoMAD must be in EPSG:6933"):
        opened(world)
    rewrite(world.band_file(0, "red"), crs="EPSG:6933", values=lambda v: v.astype(np.float32))
    with pytest.raises(Rejected, match=r"B04\.tif holds float32, where GeoMAD has uint16"):
        opened(world)


def test_missing_and_truncated_files(world: World):
    blue = world.band_file(1, "blue")
    content = blue.read_bytes()
    blue.unlink()
    with pytest.raises(Rejected, match=r"B02\.tif does not exist") as error:
        opened(world)
    assert error.value.exit_code == 3
    blue.write_bytes(content[:100])
    with pytest.raises(Rejected, match=r"B02\.tif is no raster, it ends within its header"):
        opened(world)
    blue.write_bytes(content[: len(content) * 2 // 3])
    with opened(world) as layers, pytest.raises(Interrupted) as broken:
        read_all(layers, 100)
    assert "2019-07--P6M_B02.tif cannot be read" in str(broken.value)
    assert "\n" not in str(broken.value)
    with opened(world, part_of_tile(slice(150, 240), slice(300, 420), 60)) as layers:
        # The overviews lie before the pixels, and are whole.
        read_all(layers, 100)
    blue.write_bytes(content[:4000])
    box = part_of_tile(slice(500, 700), slice(1000, 1100), 20)
    with opened(world, box) as layers, pytest.raises(Interrupted, match=r"B02\.tif cannot"):
        read_all(layers, 100)


def test_an_error_leaves_no_thread_behind(world: World):
    before = threading.active_count()
    blue = world.band_file(1, "blue")
    blue.write_bytes(blue.read_bytes()[:20_000])
    with opened(world) as layers, pytest.raises(Interrupted):
        read_all(layers, 10)
    layers.close()
    blue.unlink()
    with pytest.raises(Rejected):
        opened(world)
    assert threading.active_count() == before


def test_closing_in_the_middle(made: World):
    before = threading.active_count()
    with opened(made) as layers:
        strips = layers.strips(10)
        next(strips)
        next(strips)
    assert threading.active_count() == before
    with pytest.raises(ValueError, match="at least one row"), opened(made) as layers:
        next(layers.strips(0))


def test_reading_runs_at_most_one_strip_ahead(made: World, monkeypatch: pytest.MonkeyPatch):
    started: list[int] = []
    original = TileLayers._fill

    def count(self: TileLayers, strip: Strip) -> Strip:
        started.append(strip.row)
        return original(self, strip)

    monkeypatch.setattr(TileLayers, "_fill", count)
    with opened(made) as layers:
        for strip in layers.strips(40):
            assert max(started, default=0) <= strip.row + 40
    assert started == list(range(0, 400, 40))
    assert len(layers._rasters) == 24 + 7
    assert layers.pixel_bytes == 400 * 270 * (18 * 2 + 6 * 4 + 3 * 4)


def test_each_block_is_decoded_once(made: World, monkeypatch: pytest.MonkeyPatch):
    windows: list[tuple[str, int, int]] = []
    original = rasters.Raster.read

    def count(self: rasters.Raster, window: rasters.Window, out: Any = None) -> Any:
        windows.append((self.href, window.row, window.rows))
        return original(self, window, out)

    monkeypatch.setattr(rasters.Raster, "read", count)
    blue = str(made.band_file(0, "blue"))
    for rows in (33, 128, 400):
        windows.clear()
        with opened(made) as layers:
            read_all(layers, rows)
        mine = [window[1:] for window in windows if Path(window[0]) == Path(blue).resolve()]
        assert mine == [(0, 128), (128, 128), (256, 44)]


def test_coverage_is_counted_inside_the_region(made: World):
    left, _, _, top = TILE.bounds
    x, y = left + 20_000, top - 10_000
    scene = shapely.box(x, y - 3000, x + 2000, y)
    sources = find_sources(str(made.catalog), made.tile, made.period, made.ancillary)
    limits = Limits(min_coverage_percent=99)

    def opening(boundary: shapely.Geometry) -> None:
        open_layers(sources, BOX, boundary=boundary, limits=limits).close()

    opening(scene)
    opening(shapely.box(x + 5, y - 2000, x + 10, y - 5))
    # Far outside of the tile nothing is wanted.
    opening(shapely.union(scene, shapely.box(0, 0, 1e5, 1e5)))
    with pytest.raises(Rejected, match=r"covers 50\.0 percent of tile x215y075 inside the region"):
        open_layers(
            sources,
            geobox(TILE, 60),
            boundary=shapely.box(x, y - 3000, x + 4000, y),
            limits=limits,
        )
    with pytest.raises(Rejected, match="lies outside the region") as error:
        opening(shapely.box(0, 0, 10, 10))
    assert error.value.reason == "outside region"


def cells_at(path: str, box: GeoBox) -> NDArray[Any]:
    """Nearest cells of a raster on the tile's 600 m grid at all pixel centers, by hand."""
    with rasterio.open(path) as file:
        cells, grid = file.read(1), file.transform
    rows, columns = box.shape
    x = box.transform.c + (np.arange(columns) + 0.5) * box.transform.a
    y = box.transform.f + (np.arange(rows) + 0.5) * box.transform.e
    column = np.floor((x - grid.c) / grid.a).astype(int)
    row = np.floor((y - grid.f) / grid.e).astype(int)
    return cells[row][:, column]


@pytest.mark.parametrize("resolution", [10, 60])
def test_masks_in_their_order(made: World, resolution: int):
    box = geobox(TILE, 60)
    if resolution == 10:
        box = part_of_tile(slice(700, 1500), slice(1700, 2600))
    left, bottom, right, top = box.boundingbox.bbox
    boundary = shapely.Polygon([(left, top), (right, top), (left, bottom)])
    sources = find_sources(str(made.catalog), made.tile, made.period, made.ancillary)
    with open_layers(sources, box, boundary=boundary, limits=ANY_COVER) as layers:
        got = layers.excluded()
        assert layers.not_applied == {}
    layer = {
        name: cells_at(path, box)
        for name, path in made.ancillary.model_dump().items()
        if not name.startswith("rain")
    }
    causes = np.full(box.shape, Exclusion.NONE, np.uint8)
    outside = geometry_mask([boundary], box.shape, box.transform)
    with np.errstate(invalid="ignore"):
        conditions = [
            (Exclusion.HIGH, layer["elevation"] > 3600),
            (Exclusion.STEEP, layer["steepness"] > 50),
            (Exclusion.WATER, layer["water"] > np.float32(0.2)),
            (Exclusion.PROTECTED, layer["protected_areas"] == 7),
            (Exclusion.OUTSIDE, outside),
        ]
    for cause, where in conditions:
        causes[where] = cause
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, causes)
    assert set(np.unique(got)) == set(map(int, Exclusion))


def flat(path: Path, value: float, dtype: str, nodata: float | None) -> str:
    left, _, _, top = TILE.bounds
    grid = Affine(6000, 0, left, 0, -6000, top)
    write_cog(path, np.full((16, 16), value, dtype), grid, nodata=nodata)
    return str(path)


@pytest.mark.parametrize(
    ("name", "value", "dtype", "nodata", "cause"),
    [
        ("water", 0.2, "float32", np.nan, Exclusion.NONE),
        ("water", 0.2001, "float32", np.nan, Exclusion.WATER),
        ("water", np.nan, "float32", None, Exclusion.NONE),
        ("water", -9999, "float32", -9999, Exclusion.NONE),
        ("steepness", 50, "float32", -9999, Exclusion.NONE),
        ("steepness", 50.01, "float32", -9999, Exclusion.STEEP),
        ("elevation", 3600, "int16", -32768, Exclusion.NONE),
        ("elevation", 3601, "int16", -32768, Exclusion.HIGH),
        ("elevation", 9999, "int16", 9999, Exclusion.NONE),
        ("protected_areas", 1, "uint8", None, Exclusion.PROTECTED),
        ("protected_areas", 255, "uint8", 255, Exclusion.NONE),
        ("protected_areas", np.nan, "float32", None, Exclusion.NONE),
    ],
)
def test_limits_are_strict_and_nodata_never_masks(
    made: World,
    tmp_path: Path,
    name: str,
    value: float,
    dtype: str,
    nodata: float | None,
    cause: Exclusion,
):
    layers = dict.fromkeys(("water", "steepness", "elevation", "protected_areas"))
    layers[name] = flat(tmp_path / "flat.tif", value, dtype, nodata)  # type: ignore[assignment]
    with opened(made, part_of_tile(slice(1000, 1010), slice(2000, 2010)), **layers) as opened_:
        assert (opened_.excluded() == cause).all()


def test_masks_that_are_not_there_are_told(world: World, tmp_path: Path):
    Path(str(world.ancillary.water)).unlink()
    away = tmp_path / "away.tif"
    write_cog(away, np.ones((4, 4), np.uint8), Affine(600, 0, 0, 0, -600, 0))
    with opened(world, protected_areas=str(away), elevation=None) as layers:
        told = dict(layers.not_applied)
        assert Exclusion.WATER not in layers.excluded()
    assert told == {
        "protected_areas": f"{away} does not cover the tile",
        "water": f"{world.ancillary.water} does not exist",
        "elevation": "not configured for this region",
    }


def test_a_mask_that_cannot_be_read_is_an_error(world: World):
    water = Path(str(world.ancillary.water))
    water.write_bytes(water.read_bytes()[:-3000])
    whole, broken = (
        geobox(TILE, 100),
        pytest.raises(Interrupted, match=r"water\.tif cannot be read"),
    )
    with opened(world, whole) as layers, broken:
        layers.excluded()
    water.write_bytes(b"hello")
    # The configuration names it, no item.
    with pytest.raises(Misconfigured, match=r"water\.tif is no raster, it is no TIFF"):
        opened(world)


@pytest.mark.parametrize("name", ["rain_first_half", "rain_second_half", "slope"])
def test_features_must_be_there(made: World, name: str):
    with pytest.raises(Misconfigured, match=f"'{name}' is a feature of the model") as error:
        opened(made, **{name: "/nowhere.tif"})
    assert error.value.exit_code == 13


def test_slope_is_nearest_and_nan_where_unknown(made: World):
    with opened(made) as layers:
        got = read_all(layers, 64)["slope"]
    expected = cells_at(made.ancillary.slope, BOX)
    expected = np.where(expected == -9999, np.nan, expected)
    np.testing.assert_array_equal(got, expected)


def test_rain_is_filled_once_per_tile_and_bilinear(made: World):
    box = geobox(TILE, 100)
    with opened(made, box) as layers:
        got = read_all(layers, 333)["rain"]
    from pyproj import Transformer

    for half, path in enumerate((made.ancillary.rain_first_half, made.ancillary.rain_second_half)):
        with rasterio.open(path) as file:
            cells, grid = file.read(1).astype(float), file.transform
        columns, rows = np.meshgrid(np.arange(960) + 0.5, np.arange(960) + 0.5)
        x, y = box.transform @ (columns, rows)
        x, y = Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True).transform(x, y)
        x, y = (x - grid.c) / grid.a - 0.5, (y - grid.f) / grid.e - 0.5
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        window = cells[row.min() : row.max() + 2, column.min() : column.max() + 2]
        assert np.isnan(window).any()
        filled = np.where(np.isnan(cells), np.nanmean(window), cells)
        u, v = x - column, y - row
        expected = (
            filled[row, column] * (1 - u) * (1 - v)
            + filled[row, column + 1] * u * (1 - v)
            + filled[row + 1, column] * (1 - u) * v
            + filled[row + 1, column + 1] * u * v
        )
        np.testing.assert_allclose(got[half], expected, rtol=1e-5)


def test_rain_without_any_value_stays_nan(
    made: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    empty = flat(tmp_path / "empty.tif", -1, "float32", -1)
    with opened(made, rain_first_half=empty) as layers:
        strip = next(layers.strips(400))
    assert np.isnan(strip.rain[0]).all()
    assert np.isfinite(strip.rain[1]).all()
    assert "'rain_first_half' has no value over tile x215y075" in caplog.text


def test_layers_in_utm(made: World, tmp_path: Path):
    """A CRS whose axes are not ours: rain and slope through the full projection."""
    box = part_of_tile(slice(1000, 1040), slice(2000, 2050))
    middle = box.to_crs("EPSG:32736").extent.boundingbox
    grid = Affine(100, 0, middle.left - 1000, 0, -100, middle.top + 1000)
    ramp = np.arange(60 * 60, dtype=np.float32).reshape(60, 60)
    write_cog(tmp_path / "utm.tif", ramp, grid, crs="EPSG:32736")
    utm = str(tmp_path / "utm.tif")
    with opened(made, box, rain_first_half=utm, slope=utm) as layers:
        got = read_all(layers, 13)
    from pyproj import Transformer

    columns, rows = np.meshgrid(np.arange(50) + 0.5, np.arange(40) + 0.5)
    x, y = box.transform @ (columns, rows)
    x, y = Transformer.from_crs("EPSG:6933", "EPSG:32736", always_xy=True).transform(x, y)
    x, y = ~grid @ (x, y)
    np.testing.assert_allclose(got["rain"][0], (y - 0.5) * 60 + x - 0.5, rtol=1e-5)
    np.testing.assert_array_equal(got["slope"], np.floor(y) * 60 + np.floor(x))


@pytest.mark.parametrize("resolution", [10, 20])
@pytest.mark.parametrize("utm", [False, True])
@pytest.mark.parametrize(
    "window", [(0, 0, 12, 30), (35, 17, 61, 40), (90, 100, 110, 35), (199, 134, 1, 1)]
)
def test_a_window_has_the_values_of_the_whole(
    made: World, tmp_path: Path, resolution: int, utm: bool, window: tuple[int, int, int, int]
):
    rows, columns = (slice(edge // resolution * 10, None) for edge in (95, 198))
    box = part_of_tile(rows, columns, resolution)[0:200, 0:135]
    layers: dict[str, str] = {}
    if utm:
        middle = box.to_crs("EPSG:32736").extent.boundingbox
        grid = Affine(100, 0, middle.left - 1000, 0, -100, middle.top + 1000)
        ramp = np.arange(80 * 80, dtype=np.float32).reshape(80, 80) % 60
        write_cog(tmp_path / "utm.tif", ramp, grid, crs="EPSG:32736")
        layers = {"rain_first_half": str(tmp_path / "utm.tif"), "slope": str(tmp_path / "utm.tif")}
    part = Window(*window)
    inside = (..., *part_slices(part))
    with opened(made, box, **layers) as whole:
        wanted, excluded = read_all(whole, 64), whole.excluded()
    with opened(made, box, window=part, **layers) as some:
        got = read_all(some, 7)
        np.testing.assert_array_equal(some.excluded(), excluded[inside])
    for name, values in got.items():
        np.testing.assert_array_equal(values, wanted[name][inside], err_msg=name)


def part_slices(window: Window) -> tuple[slice, slice]:
    return (
        slice(window.row, window.row + window.rows),
        slice(window.column, window.column + window.columns),
    )


def test_fine_layer_is_read_in_bounded_windows(made: World, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    original = rasters.Raster.read

    def count(self: rasters.Raster, window: rasters.Window, out: Any = None) -> Any:
        if "slope" in self.href:
            sizes.append(window.pixels)
        return original(self, window, out)

    box = part_of_tile(slice(0, 300), slice(0, 300), 60)
    with opened(made, box) as layers:
        expected = read_all(layers, 300)["slope"]
    monkeypatch.setattr(sampled, "_WINDOW_PIXELS", 200)
    monkeypatch.setattr(rasters.Raster, "read", count)
    with opened(made, box) as layers:
        np.testing.assert_array_equal(read_all(layers, 300)["slope"], expected)
    assert len(sizes) > 4
    assert max(sizes) <= 200


def test_options_bound_gdals_cache(made: World):
    sources = find_sources(str(made.catalog), made.tile, made.period, made.ancillary)
    options = ReadOptions(cache_mb=77, threads=2)
    limits = ANY_COVER
    with open_layers(sources, BOX, boundary=EVERYWHERE, limits=limits, options=options) as layers:
        read_all(layers, 100)
        inside = layers._threads.submit(rasterio.env.get_gdal_config, "GDAL_CACHEMAX").result()
        assert inside == 77 * 2**20
        settings = layers._threads.submit(rasterio.env.getenv).result()
        assert settings["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"


@needs_shared("hesbaye")
@pytest.mark.parametrize("whole", [False, True])
def test_hesbaye(whole: bool):
    """A real scene: every value on the tile's grid is the value in the file."""
    folder = SHARED / "hesbaye"
    ancillary = Ancillary(
        rain_first_half=str(folder / "ancillary" / "rain_jan_jun.tif"),
        rain_second_half=str(folder / "ancillary" / "rain_jul_dec.tif"),
        slope=str(folder / "ancillary" / "slope_percent.tif"),
        steepness=str(folder / "ancillary" / "slope_percent.tif"),
        elevation=str(folder / "ancillary" / "elevation.tif"),
    )
    tile = Tile(186, 136)
    sources = find_sources(str(folder / "collection.json"), tile, Period.parse("2021"), ancillary)
    boundary = load_boundary(folder / "ancillary" / "boundary.geojson")
    with rasterio.open(sources.first.bands["blue"].href) as file:
        left, _, _, top = tile.bounds
        row, column = round((top - file.transform.f) / 10), round((file.transform.c - left) / 10)
        height, width = file.shape
    box = geobox(tile)
    box = box[row - 100 : row + 300, :] if whole else box[row : row + height, column:]
    box = box if whole else box[:, :width]
    at = (slice(100, 100 + height), slice(column, column + width)) if whole else ...
    with open_layers(sources, box, boundary=boundary, limits=Limits()) as layers:
        got = read_all(layers, 111)
        excluded = layers.excluded()
        assert set(layers.not_applied) == {"protected_areas", "water"}
    for key, half in (("first", sources.first), ("second", sources.second)):
        for names, name in ((REFLECTANCE, key), (DEVIATION, f"{key} deviation")):
            for index, band in enumerate(names):
                with rasterio.open(half.bands[band].href) as file:
                    values = got[name][index][at]
                    np.testing.assert_array_equal(values, file.read(1))
    with rasterio.open(folder / "ancillary" / "slope_percent.tif") as file:
        np.testing.assert_array_equal(got["slope"][at], file.read(1))
    assert (excluded[at] == 0).all()
    if whole:
        assert (excluded == Exclusion.OUTSIDE).sum() == excluded.size - height * width
    assert np.isfinite(got["rain"]).all()


def test_item_without_data_types_reads_the_same(tmp_path: Path, made: World):
    bare = made.copied(tmp_path / "bare")
    for path in bare.items:
        document = json.loads(path.read_text())
        for asset in document["assets"].values():
            asset.pop("raster:bands")
        del document["collection"]
        path.write_text(json.dumps(document))
    box = part_of_tile(slice(150, 240), slice(300, 420), 60)
    with opened(made, box) as first, opened(bare, box) as second:
        expected, got = read_all(first, 90), read_all(second, 90)
    for key, values in expected.items():
        assert got[key].dtype == values.dtype
        assert got[key].tobytes() == values.tobytes()
