import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasterio.features import geometry_mask
from rio_cogeo.cogeo import cog_validate

from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import Tile, geobox, tiles_within
from cropmask.sources.boundary import load_boundary
from cropmask.task import Period
from cropmask.testing.world import demoworld as module
from cropmask.testing.world.demoworld import (
    DEMO_PERIOD,
    ensure_world,
    is_complete,
    make_world,
    open_world,
)
from cropmask.testing.world.geomadstac import item_folder, item_name
from cropmask.testing.world.outline import write_outline
from cropmask.testing.world.rasters import ASSETS
from cropmask.testing.world.spectra import draw_half
from tests.unit.testing.conftest import TILES


def item_path(folder: Path, tile: Tile, half: Period) -> Path:
    return folder / item_folder(tile, half) / item_name(tile, half)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def small(monkeypatch):
    """Worlds that are quick to make: squares of 2 km."""

    def make(folder, **arguments):
        return make_world(folder, **(arguments | {"resolution": 100, "grain": 20}))

    monkeypatch.setattr(module, "make_world", make)


def test_the_same_bytes_twice(tmp_path):
    for name in ("a", "b"):
        make_world(tmp_path / name, resolution=100, grain=10, seed=3)
    first = contents(tmp_path / "a")
    assert len(first) == 24 + 2 + 2 + 7 + 1
    assert first == contents(tmp_path / "b")
    make_world(tmp_path / "c", resolution=100, grain=10, seed=4)
    assert sum(first[name] != digest for name, digest in contents(tmp_path / "c").items()) >= 31


def test_a_tile_is_the_same_in_any_world(world, tmp_path):
    make_world(tmp_path, tiles=TILES[1:], resolution=100, grain=2)
    alone = {name: digest for name, digest in contents(tmp_path).items() if "x011" in name}
    together = contents(world)
    assert len(alone) == 26
    assert all(together[name] == digest for name, digest in alone.items())


def test_pystac_reads_the_catalog(world):
    catalog = pystac.Catalog.from_file(world / "catalog.json")
    items = list(catalog.get_items(recursive=True))
    assert sorted(
        (i.properties["odc:region_code"], i.properties["start_datetime"]) for i in items
    ) == [(str(tile), str(half.interval[0])) for tile in TILES for half in DEMO_PERIOD.halves]
    assert all(title.startswith("SYNTHETIC") for title in (i.properties["title"] for i in items))
    (collection,) = catalog.get_children()
    assert collection.id == "gm_s2_semiannual"
    assert collection.title.startswith("SYNTHETIC")
    assert catalog.title.startswith("SYNTHETIC")
    west, south, east, north = collection.extent.spatial.bboxes[0]
    assert -171 < west < east < -168
    assert -49 < south < north < -47


def test_items_say_what_the_files_are(world):
    for tile in TILES:
        for half in DEMO_PERIOD.halves:
            path = item_path(world, tile, half)
            item = json.loads(path.read_text())
            assert item["stac_version"] == "1.1.0"
            box = geobox(tile, 100)
            properties = item["properties"]
            assert properties["proj:epsg"] == 6933
            assert properties["proj:code"] == "EPSG:6933"
            assert properties["proj:shape"] == list(box.shape)
            assert tuple(properties["proj:transform"]) == tuple(box.transform)[:6]
            assert set(item["assets"]) == set(ASSETS.values())
            for asset in item["assets"].values():
                file = path.parent / asset["href"]
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                assert asset["file:checksum"] == f"1220{digest}"
                assert asset["file:size"] == file.stat().st_size
                with rasterio.open(file) as raster:
                    assert raster.dtypes[0] == asset["data_type"]
                    assert raster.transform == box.transform
                    assert raster.shape == tuple(box.shape)
                    assert raster.crs.to_epsg() == 6933
                    assert float(asset["nodata"]) == raster.nodata or np.isnan(raster.nodata)


def test_item_documents_are_valid_core_stac(world):
    schemas = JsonSchemaSTACValidator()
    item = json.loads(item_path(world, TILES[0], DEMO_PERIOD.halves[0]).read_text())
    item["stac_extensions"] = []
    schemas.validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
    collection = json.loads((world / "gm_s2_semiannual" / "collection.json").read_text())
    schemas.validate_core(collection, pystac.STACObjectType.COLLECTION, "1.1.0")
    catalog = json.loads((world / "catalog.json").read_text())
    schemas.validate_core(catalog, pystac.STACObjectType.CATALOG, "1.1.0")


def test_bands_hold_the_drawn_pixels_in_valid_cogs(tmp_path):
    # One band of each kind at full detail, so with overviews.
    make_world(tmp_path, resolution=100)
    folder = tmp_path / item_folder(TILES[0], DEMO_PERIOD.halves[1])
    drawn = draw_half(TILES[0], 100, 1, 0, 960)
    for name, expected in (("nir", drawn.reflectance[3]), ("sdev", drawn.deviation[2])):
        (path,) = folder.glob(f"*_{ASSETS[name]}.tif")
        valid, errors, warnings = cog_validate(path)
        assert (valid, errors, warnings) == (True, [], [])
        with rasterio.open(path) as raster:
            np.testing.assert_array_equal(raster.read(1), expected)
            assert raster.overviews(1) == [2]
            assert raster.block_shapes == [(512, 512)]
    assert not list(tmp_path.rglob(".*"))


def test_layers_reach_every_mask_inside_the_boundary(world):
    layers = open_world(world).ancillary
    boundary = load_boundary(open_world(world).boundary)

    def read(href) -> np.ndarray:
        with rasterio.open(href) as raster:
            assert raster.crs.to_epsg() == 6933
            assert raster.bounds == (*TILES[0].bounds[:2], *TILES[1].bounds[2:])
            assert raster.shape == (480, 960)
            return raster.read(1)

    with rasterio.open(layers.slope) as raster:
        outside = geometry_mask([boundary], raster.shape, raster.transform)
    assert 0.01 < outside.mean() < 0.25
    for corner in (outside[:8, :8], outside[-8:, :8], outside[:8, -8:], outside[-8:, -8:]):
        assert corner.all()
    causes = {
        "protected": read(layers.protected_areas) != 0,
        "water": read(layers.water) > 0.2,
        "steep": read(layers.steepness) > 50,
        "high": read(layers.elevation) > 3600,
    }
    for name, found in causes.items():
        for half in (slice(0, 480), slice(480, 960)):
            assert (found & ~outside)[:, half].any(), name
        assert found.mean() < 0.1, name
    np.testing.assert_array_equal(read(layers.slope), read(layers.steepness))
    assert np.isfinite(read(layers.water)).all()


def test_slope_is_the_steepness_of_the_elevation(world):
    layers = open_world(world).ancillary
    with rasterio.open(layers.elevation) as elevation, rasterio.open(layers.slope) as slope:
        ground, found = elevation.read(1).astype(float), slope.read(1)
    north, east = np.gradient(ground, 200.0)
    assert np.median(np.abs(100 * np.hypot(east, north) - found)[1:-1, 1:-1]) < 0.3


def test_rain_covers_the_tiles_and_lacks_lakes(world):
    box = geobox(TILES[0], 100).extent.to_crs("EPSG:4326").boundingbox
    other = geobox(TILES[1], 100).extent.to_crs("EPSG:4326").boundingbox
    tiles_in_degrees = (box.left, box.bottom, other.right, box.top)
    layers = open_world(world).ancillary
    for href in (layers.rain_first_half, layers.rain_second_half):
        with rasterio.open(href) as raster:
            assert raster.crs.to_epsg() == 4326
            assert raster.res == pytest.approx((0.05, 0.05))
            rain = raster.read(1)
            left, bottom, right, top = raster.bounds
        west, south, east, north = tiles_in_degrees
        assert left < west - 0.05
        assert right > east + 0.05
        assert bottom < south - 0.05
        assert top > north + 0.05
        assert 2 <= np.isnan(rain).sum() < 0.1 * rain.size
        assert 50 < np.nanmin(rain) < np.nanmax(rain) < 3000


def test_tiles_far_apart_and_a_boundary_of_ones_own(tmp_path):
    own = tmp_path / "own.geojson"
    own.write_text('{"type": "FeatureCollection", "features": []}')
    tiles = (Tile(210, 80), Tile(214, 83), Tile(210, 80))
    world = tmp_path / "w"
    make_world(
        world, tiles=tiles, resolution=100, grain=20, boundary=own, period=Period.parse("2021")
    )
    assert (world / "boundary.geojson").read_text() == own.read_text()
    items = list(world.rglob("*.stac-item.json"))
    assert len(items) == 4
    assert all("/2021-0" in str(path) for path in items)
    layers = open_world(world).ancillary
    with rasterio.open(layers.elevation) as raster:
        assert raster.shape == (4 * 48, 5 * 48)
        ground = raster.read(1)
    assert (ground[:48, -48:] > 0).all()
    assert (ground[-48:, :48] > 0).all()
    assert (ground[:48, :48] == -32768).all()


def test_progress_goes_from_nothing_to_all(tmp_path):
    told = []
    make_world(tmp_path, resolution=100, grain=20, progress=told.append)
    assert told == sorted(told)
    assert told[0] < 0.1
    assert told[-1] == 1.0
    assert len(told) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tiles": ()}, "at least one tile"),
        ({"resolution": 30}, "resolution 30 m is not offered"),
        ({"resolution": 100, "grain": 7}, "does not divide"),
        ({"resolution": 100, "grain": 0}, "does not divide"),
    ],
)
def test_what_cannot_be_made_is_said(tmp_path, arguments, message):
    with pytest.raises(Rejected, match=message):
        make_world(tmp_path / "w", **arguments)
    assert not (tmp_path / "w").exists()


def test_the_cache_is_filled_once(tmp_path, small):
    told = []
    found = ensure_world(tmp_path, 100, progress=told.append)
    assert found.catalog == tmp_path / "demo-v1" / "100m" / "catalog.json"
    assert found.boundary.is_file()
    for href in found.ancillary.model_dump().values():
        assert Path(href).is_file()
    assert told[-1] == 1.0
    stamp = found.catalog.stat().st_mtime_ns
    again = ensure_world(tmp_path, 100, progress=lambda _: pytest.fail("made again"))
    assert again == found
    assert found.catalog.stat().st_mtime_ns == stamp


def test_a_world_that_lost_or_changed_a_file_is_made_again(tmp_path, small):
    found = ensure_world(tmp_path, 100)
    folder = found.catalog.parent
    before = contents(folder)
    found.boundary.unlink()
    assert not is_complete(folder)
    ensure_world(tmp_path, 100)
    (folder / "ancillary" / "elevation.tif").write_bytes(b"cut")
    assert not is_complete(folder)
    ensure_world(tmp_path, 100)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["100m"]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(folder, **_):
        (folder / "half").mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "make_world", fail)
    with pytest.raises(Misconfigured, match=r"No space left on device.*CROPMASK_CACHE"):
        ensure_world(tmp_path, 100)
    assert list((tmp_path / "demo-v1").iterdir()) == []


def test_builders_at_once_are_harmless(tmp_path, small, monkeypatch):
    # All of them finish building before any of them renames.
    together = threading.Barrier(3)
    move = module._move

    def wait_and_move(part, folder):
        together.wait(timeout=60)
        move(part, folder)

    monkeypatch.setattr(module, "_move", wait_and_move)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(ensure_world(tmp_path, 100)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len({str(found) for found in results}) == 1
    assert is_complete(tmp_path / "demo-v1" / "100m")
    assert [path.name for path in (tmp_path / "demo-v1").iterdir()] == ["100m"]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(Misconfigured, match="CROPMASK_CACHE") as caught:
        ensure_world(blocked, 100)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})()
    )
    with pytest.raises(Misconfigured, match=r"needs 5\.5 GB"):
        ensure_world(tmp_path, 10)


def test_only_offered_resolutions(tmp_path):
    with pytest.raises(Rejected, match="resolution 50 m"):
        ensure_world(tmp_path, 50)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "tiles", [[Tile(10, 20)], [Tile(100, 60), Tile(101, 60)], [Tile(200, 70), Tile(201, 71)]]
)
def test_the_island_lies_in_its_tiles_only(tiles, tmp_path):
    write_outline(tmp_path / "boundary.geojson", tiles)
    boundary = load_boundary(tmp_path / "boundary.geojson")
    assert set(tiles_within(boundary)) == set(tiles)
    assert shapely.area(boundary) > 0.8 * len(tiles) * 96_000**2
