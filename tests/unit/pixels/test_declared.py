"""Scale, offset and nodata of the file and of its item, on small true worlds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from cropmask.core.strips import DEVIATION, Exclusion
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import geobox
from cropmask.pixels.layers import TileLayers, open_layers
from cropmask.region.region import Limits, StacLayer
from cropmask.sources.search import find_sources
from tests.worlds import ASSET_KEYS, TILE, World, make_world, write_cog

NEAR = geobox(TILE, 10)[1000:1060, 2000:2080]
COARSE = geobox(TILE, 20)[500:530, 1000:1040]
SHIFTED = NEAR.translate_pix(0.4, 0.3)
LATER = (0.0001, -0.1)
"""Scale and offset since the processing baseline of 2022."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("declared") / "w", size=(60, 80))


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copied(tmp_path / "w")


def opened(world: World, box: GeoBox = NEAR, **layers: Any) -> TileLayers:
    ancillary = world.ancillary.model_copy(update=layers)
    sources = find_sources(str(world.catalog), world.tile, world.period, ancillary)
    boundary = shapely.box(*box.boundingbox.bbox)
    return open_layers(sources, box, boundary=boundary, limits=Limits(min_coverage_percent=0))


def read(world: World, box: GeoBox = NEAR, **layers: Any) -> dict[str, NDArray[Any]]:
    with opened(world, box, **layers) as inputs:
        strip = next(inputs.strips(box.shape.y))
    return {
        "reflectance": strip.first.reflectance,
        "deviation": strip.first.deviation,
        "rain": strip.rain,
        "slope": strip.slope,
    }


def rewrite(
    path: Path,
    values: Callable[[NDArray[Any]], NDArray[Any]] = lambda stored: stored,
    **changes: Any,
) -> None:
    """Write a raster again with other values, nodata or scaling."""
    with rasterio.open(path) as file:
        stored, grid, nodata, crs = file.read(1), file.transform, file.nodata, file.crs
    path.unlink()
    changed = values(stored).astype(changes.pop("dtype", stored.dtype))
    write_cog(path, changed, grid, **{"nodata": nodata, "crs": crs, **changes})


def edit_asset(world: World, band: str, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(world.items[0].read_text())
    change(document["assets"][ASSET_KEYS[band]])
    world.items[0].write_text(json.dumps(document))


def add_thousand(stored: NDArray[Any]) -> NDArray[Any]:
    return np.where(stored > 0, stored + 1000, 0)


def in_raster_bands(asset: dict[str, Any]) -> None:
    asset["raster:bands"][0].update(scale=LATER[0], offset=LATER[1])


def in_bands(asset: dict[str, Any]) -> None:
    asset["bands"] = [{"raster:scale": LATER[0], "raster:offset": LATER[1]}]


def in_asset(asset: dict[str, Any]) -> None:
    asset.update({"raster:scale": LATER[0], "raster:offset": LATER[1]})


@pytest.mark.parametrize("box", [NEAR, COARSE])
@pytest.mark.parametrize(
    "said",
    [("file",), ("raster:bands",), ("bands",), ("asset",), ("file", "raster:bands")],
    ids=" and ".join,
)
def test_the_baseline_of_2022_gives_the_same_features(
    made: World, world: World, box: GeoBox, said: tuple[str, ...]
) -> None:
    scaling = LATER if "file" in said else None
    for band in ("blue", "nir"):
        rewrite(world.band_file(0, band), add_thousand, scaling=scaling)
        for place, change in (
            ("raster:bands", in_raster_bands),
            ("bands", in_bands),
            ("asset", in_asset),
        ):
            if place in said:
                edit_asset(world, band, change)
    expected, found = read(made, box), read(world, box)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert (expected["reflectance"] > 0).any()


@pytest.mark.parametrize("box", [NEAR, COARSE])
def test_a_dark_pixel_stays_a_pixel(world: World, box: GeoBox) -> None:
    blue = world.band_file(0, "blue")
    rewrite(blue, lambda stored: np.where(stored > 0, 500, 0), scaling=LATER)
    found = read(world, box)["reflectance"]
    assert set(np.unique(found[0])) == {0, 1}
    if box is NEAR:
        np.testing.assert_array_equal(found[0] == 0, found[1] == 0)


def test_reflectances_of_another_step(world: World) -> None:
    stored = np.arange(60 * 80).reshape(60, 80) * 13
    rewrite(world.band_file(0, "green"), lambda _: stored, scaling=(2.75e-5, -0.2))
    meant = np.clip(np.rint(stored * 0.275 - 2000), 1, None)
    meant[stored == 0] = 0
    np.testing.assert_array_equal(read(world)["reflectance"][1], meant)


def test_deviations_in_other_steps(made: World, world: World) -> None:
    rewrite(world.band_file(0, "sdev"), lambda stored: stored * 1000, scaling=(0.001, 0))
    rewrite(world.band_file(0, "edev"), scaling=(0.0001, 0))
    edit_asset(world, "bcdev", lambda asset: asset["raster:bands"][0].update(scale=0.5))
    expected, found = read(made)["deviation"], read(world)["deviation"]
    at = {name: DEVIATION.index(name) for name in DEVIATION}
    np.testing.assert_allclose(found[at["sdev"]], expected[at["sdev"]], rtol=1e-6)
    np.testing.assert_array_equal(found[at["edev"]], expected[at["edev"]])
    np.testing.assert_array_equal(found[at["bcdev"]], expected[at["bcdev"]] * np.float32(0.5))


def test_layers_in_their_own_unit(made: World, world: World) -> None:
    layers = {name: Path(str(path)) for name, path in world.ancillary.model_dump().items()}
    rewrite(layers["rain_first_half"], lambda rain: rain / 2 - 50, scaling=(2, 100))
    rewrite(layers["slope"], lambda slope: np.where(slope < 0, slope, slope * 4), scaling=(0.25, 0))
    expected, found = read(made), read(world)
    np.testing.assert_allclose(found["rain"], expected["rain"], rtol=1e-5)
    np.testing.assert_allclose(found["slope"], expected["slope"], rtol=1e-6)
    with opened(made) as inputs:
        excluded = inputs.excluded()
    assert Exclusion.WATER in excluded
    rewrite(
        layers["water"],
        lambda water: np.where(np.isnan(water), 65_535, np.rint(water * 50_000)),
        dtype=np.uint16,
        nodata=65_535,
        scaling=(1 / 50_000, 0),
    )
    rewrite(
        layers["elevation"],
        lambda meters: np.where(meters == -32_768, -32_768, meters - 3000),
        scaling=(1, 3000),
    )
    with opened(world) as inputs:
        np.testing.assert_array_equal(inputs.excluded(), excluded)


def test_a_layer_found_by_search_has_what_its_item_says(world: World, tmp_path: Path) -> None:
    left, _, _, top = TILE.bounds
    grid = Affine(6000, 0, left, 0, -6000, top)
    percent = np.full((16, 16), 21, np.uint8)
    percent[:, 8:] = 99  # nodata, as the item alone says
    write_cog(world.folder / "wofs" / "a.tif", percent, grid)
    document = json.loads(world.items[0].read_text())
    asset = {"href": "./a.tif", "bands": [{"nodata": 99, "raster:scale": 0.01}]}
    document |= {"id": "wofs", "collection": "wofs", "assets": {"frequency": asset}}
    (world.folder / "wofs" / "a.json").write_text(json.dumps(document))
    links = [{"rel": "item", "href": "./a.json"}]
    collection = {"type": "Collection", "id": "wofs", "links": links}
    (world.folder / "wofs" / "collection.json").write_text(json.dumps(collection))
    catalog = json.loads(world.catalog.read_text())
    catalog["links"].append({"rel": "child", "href": "./wofs/collection.json"})
    world.catalog.write_text(json.dumps(catalog))
    others = dict.fromkeys(("protected_areas", "steepness", "elevation"))
    water = StacLayer(collection="wofs", asset="frequency")
    whole = geobox(TILE, 100)
    with opened(world, whole, water=water, **others) as inputs:
        excluded = inputs.excluded()
    assert (excluded[:, :480] == Exclusion.WATER).all()
    assert (excluded[:, 480:] == Exclusion.NONE).all()


@pytest.mark.parametrize("box", [NEAR, COARSE])
def test_file_and_item_that_do_not_agree_are_refused(world: World, box: GeoBox) -> None:
    rewrite(world.band_file(0, "red"), scaling=(0.0001, 0))
    edit_asset(world, "red", in_bands)
    with pytest.raises(Rejected) as error:
        opened(world, box)
    assert str(error.value) == (
        f"{world.band_file(0, 'red')} has scale 0.0001 and offset 0, its item says scale 0.0001 "
        "and offset -0.1: correct one of them"
    )
    assert error.value.reason == "wrong raster"


@pytest.mark.parametrize(
    ("band", "scaling", "text"),
    [
        ("red", (0.0, 0.0), "a scale is a number from"),
        ("red", (math.nan, 0.0), "a scale is a number from"),
        ("red", (1e-4, math.inf), "a scale is a number from"),
        ("red", (1e-4, -1000.0), "reflectances from -1000 to -993"),
        ("red", (1.0, -0.1), "in steps of 1, where land has 0 to 1.6"),
        ("sdev", (-1.0, 0.0), "a scale is a number from"),
        ("edev", (1e-4, -0.1), "a deviation is a distance, which has no offset"),
    ],
)
def test_what_a_file_cannot_mean_is_refused(
    world: World, band: str, scaling: tuple[float, float], text: str
) -> None:
    rewrite(world.band_file(0, band), scaling=scaling)
    with pytest.raises(Rejected, match=text) as error:
        opened(world)
    assert str(error.value).startswith(f"{world.band_file(0, band)} cannot have scale")
    assert "\n" not in str(error.value)


def test_what_an_item_cannot_mean_is_refused_before_a_file_is_opened(world: World) -> None:
    edit_asset(world, "red", lambda asset: asset["raster:bands"][0].update(scale=0))
    with pytest.raises(Rejected, match=r"asset .B04. of item .* it cannot have scale 0"):
        find_sources(str(world.catalog), world.tile, world.period, world.ancillary)


def test_a_layer_with_a_scale_of_zero_is_refused(world: World) -> None:
    rewrite(Path(str(world.ancillary.water)), scaling=(0, 0))
    with pytest.raises(Misconfigured, match=r"water\.tif cannot have scale 0"):
        opened(world)


@pytest.mark.parametrize("box", [NEAR, SHIFTED])
@pytest.mark.parametrize(
    ("by_file", "by_item"), [(65_535, 0), (None, 65_535), (65_535, "nan"), (65_535, -9999)]
)
def test_nodata_of_the_file_goes_before_that_of_the_item(
    made: World,
    world: World,
    box: GeoBox,
    by_file: float | None,
    by_item: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = world.band_file(0, "blue")
    rewrite(path, lambda stored: np.where(stored == 0, 65_535, stored), nodata=by_file)
    edit_asset(world, "blue", lambda asset: asset["raster:bands"][0].update(nodata=by_item))
    found = read(world, box)["reflectance"][0]
    np.testing.assert_array_equal(found, read(made, box)["reflectance"][0])
    assert 0 in found
    told = "_B02.tif has nodata 65535, its item says 0: the file's counts" in caplog.text
    assert told == (by_file == 65_535 and by_item == 0)


def test_nodata_is_looked_for_before_the_scale_is_applied(world: World) -> None:
    def fill(stored: NDArray[Any]) -> NDArray[Any]:
        return np.where(stored == 0, 1700, stored)

    rewrite(world.band_file(0, "blue"), fill, nodata=1700, scaling=LATER)
    with rasterio.open(world.band_file(0, "blue")) as file:
        stored = file.read(1).astype(int)
    expected = np.where(stored == 1700, 0, np.clip(stored - 1000, 1, None))
    np.testing.assert_array_equal(read(world)["reflectance"][0], expected)


def test_complex_numbers_are_refused(world: World) -> None:
    slope = Path(str(world.ancillary.slope))
    rewrite(slope, dtype=np.complex64, nodata=None)
    with pytest.raises(Misconfigured, match="holds complex64, not numbers"):
        opened(world)
