"""Areas against the runs of their tiles: the same pixels, across borders of tiles and regions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from cropmask.errors import CropmaskError, Rejected
from cropmask.grid import GridWindow, Tile
from cropmask.site.site import Site, open_site
from cropmask.sources.boundary import load_area, load_boundary
from cropmask.store.folder import FolderStore
from cropmask.task import Period, Task
from cropmask.tile import area as area_module
from cropmask.tile.area import MAX_PIXELS, AreaJob, load_area_task, prepare_area, run_area
from cropmask.tile.run import TileResult, run_tile
from tests.demo_run import EASTERN, RESOLUTION, YEAR, Results
from tests.servers import serve_files
from tests.stac_validation import assert_valid

BORDER = EASTERN[1].bounds[0]
"""Meters of EPSG:6933: where the two neighbors meet."""
SOUTH = EASTERN[0].bounds[1]
ACROSS = shapely.Polygon(
    [
        (BORDER - 6_200, SOUTH + 40_150),
        (BORDER + 3_950, SOUTH + 42_000),
        (BORDER + 2_000, SOUTH + 52_333),
        (BORDER - 1_000, SOUTH + 47_000),
        (BORDER - 5_000, SOUTH + 51_000),
    ]
)
"""A field across the border of two tiles, in meters."""


def in_degrees(polygon: shapely.Geometry) -> shapely.Geometry:
    project = pyproj.Transformer.from_crs(6933, "OGC:CRS84", always_xy=True)
    return shapely.transform(polygon, lambda at: np.column_stack(project.transform(*at.T)))


def site_of(results: Results, output: Path, resolution: int = RESOLUTION, **more: object) -> Site:
    options = {
        "catalog": results.world,
        "output": output,
        "models": results.models,
        "resolution": resolution,
        "threads": 2,
    }
    return open_site({}, {**options, **more})


def map_one(
    area: object, year: Period, site: Site, *, overwrite: bool = False, **words: Any
) -> TileResult:
    return run_area(load_area_task(area, year, **words), site, overwrite=overwrite)


def prepare_one(area: object, year: Period, site: Site, **words: Any) -> AreaJob:
    return prepare_area(load_area_task(area, year, **words), site)


def read(result: TileResult, band: str) -> tuple[NDArray[np.uint8], rasterio.Affine]:
    item = Path(result.item)
    href = json.loads(item.read_text())["assets"][band]["href"]
    with rasterio.open(item.parent / href) as raster:
        return raster.read(1), raster.transform


def expected_of(
    tiles: dict[Tile, TileResult], band: str, window: GridWindow, polygons: shapely.Geometry
) -> NDArray[np.uint8]:
    """Pixels of whole tiles in a window, nodata outside of polygons, without any code of areas."""
    whole = np.full((window.rows, window.columns), 255, np.uint8)
    left, top = window.geobox.transform.c, window.geobox.transform.f
    for result in tiles.values():
        pixels, at = read(result, band)
        row, column = round((top - at.f) / at.a), round((at.c - left) / at.a)
        for y in range(max(row, 0), min(row + len(pixels), window.rows)):
            first, last = max(column, 0), min(column + len(pixels), window.columns)
            if first < last:
                whole[y, first:last] = pixels[y - row, first - column : last - column]
    outside = geometry_mask([polygons], whole.shape, window.geobox.transform)
    whole[outside] = 255
    return whole


@pytest.mark.parametrize(("resolution", "recipe"), [(100, "forest"), (60, "boosted")])
def test_mask_and_prob_are_those_of_the_tiles(
    results: Results, tmp_path: Path, resolution: int, recipe: str
) -> None:
    site = site_of(results, tmp_path / "out", resolution)
    area = map_one(in_degrees(ACROSS), YEAR, site, recipe=recipe)
    # At 100 m the tiles are there.
    output = results.folder if resolution == RESOLUTION else tmp_path / "out"
    whole = site_of(results, output, resolution)
    tiles = {tile: run_tile(Task(tile, "eastern", YEAR), whole, recipe=recipe) for tile in EASTERN}
    polygons = load_area(in_degrees(ACROSS))
    window = GridWindow.around(polygons.bounds, resolution)
    for band in ("prob", "mask"):
        wanted = expected_of(tiles, band, window, polygons)
        assert 0.2 < (wanted != 255).mean() < 0.9
        assert len(np.unique(wanted)) > 2
        np.testing.assert_array_equal(read(area, band)[0], wanted)
    assert read(area, "prob")[1] == window.geobox.transform
    filtered, wanted = read(area, "filtered")[0], expected_of(tiles, "filtered", window, polygons)
    np.testing.assert_array_equal(filtered == 255, wanted == 255)
    assert (filtered == wanted).mean() > 0.9


def split_region(results: Results, folder: Path) -> Path:
    """Two regions of different models that overlap: ``aaa`` in the west, ``bbb`` in the east."""
    for name, source, left, right in (
        ("aaa", "eastern", -20_000, 1_000),
        ("bbb", "western", -1_500, 20_000),
    ):
        shutil.copytree(results.models / source, folder / name)
        box = shapely.box(BORDER + left, SOUTH + 30_000, BORDER + right, SOUTH + 70_000)
        file = folder / name / "region.toml"
        text = file.read_text().replace(f'name = "{source}"', f'name = "{name}"')
        boundary = next(line for line in text.splitlines() if line.startswith("boundary"))
        file.write_text(text.replace(boundary, 'boundary = "own.geojson"'))
        (folder / name / "own.geojson").write_text(shapely.to_geojson(in_degrees(box)))
    return folder


def test_each_pixel_is_of_its_region_and_overlaps_of_the_first(
    results: Results, tmp_path: Path
) -> None:
    models = split_region(results, tmp_path / "models")
    site = site_of(results, tmp_path / "out", models=models)
    area = map_one(in_degrees(ACROSS), YEAR, site)
    polygons = load_area(in_degrees(ACROSS))
    window = GridWindow.around(polygons.bounds, 100)
    tiles = {
        name: {tile: run_tile(Task(tile, name, YEAR), site) for tile in EASTERN}
        for name in ("aaa", "bbb")
    }
    for band in ("prob", "mask"):
        first, second = (expected_of(tiles[name], band, window, polygons) for name in tiles)
        assert ((first != 255) & (second != 255) & (first != second)).any() or band == "mask"
        np.testing.assert_array_equal(read(area, band)[0], np.where(first != 255, first, second))
    item = json.loads(Path(area.item).read_text())
    assert sorted(item["properties"]["cropmask:models"]) == ["crop_mask_aaa", "crop_mask_bbb"]
    alone = map_one(in_degrees(ACROSS), YEAR, site, region="bbb", name="alone")
    np.testing.assert_array_equal(
        read(alone, "prob")[0], expected_of(tiles["bbb"], "prob", window, polygons)
    )


def test_a_boundary_that_is_only_touched_is_no_part(results: Results, tmp_path: Path) -> None:
    models = split_region(results, tmp_path / "models")
    west = json.loads((models / "aaa" / "own.geojson").read_text())
    # What is left of the area after the first region touches the same boundary again.
    (models / "bbb" / "own.geojson").write_text(json.dumps(west))
    site = site_of(results, tmp_path / "out", models=models)
    wide = shapely.box(BORDER - 1_000, SOUTH + 40_000, BORDER + 3_000, SOUTH + 42_000)
    job = prepare_one(in_degrees(wide), YEAR, site)
    assert [part.basis.region.name for part in job.parts] == ["aaa"]
    result = map_one(in_degrees(wide), YEAR, site)
    assert result.statistics["outside_hectares"] == pytest.approx(400, abs=10)
    assert result.models == {"aaa": "forest"}


def test_a_region_elsewhere_is_not_asked_for_a_model(results: Results, tmp_path: Path) -> None:
    models = split_region(results, tmp_path / "models")
    file = models / "aaa" / "region.toml"
    first, _, second = file.read_text().partition("[models.boosted]")
    file.write_text(first + second[second.index("[models.forest]") :])
    (models / "aaa" / "own.geojson").write_text(
        shapely.to_geojson(shapely.box(-10.0, 5.0, -9.0, 6.0))
    )
    site = site_of(results, tmp_path / "out", models=models)
    job = prepare_one(in_degrees(ACROSS), YEAR, site, recipe="boosted")
    assert [part.basis.region.name for part in job.parts] == ["bbb"]


@pytest.fixture(scope="module")
def small(results: Results, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, TileResult]:
    """A finished area within one tile."""
    site = site_of(results, tmp_path_factory.mktemp("area") / "out")
    return site, map_one(in_degrees(SQUARE), YEAR, site, name="my-field")


SQUARE = shapely.box(BORDER - 30_000, SOUTH + 40_000, BORDER - 26_000, SOUTH + 45_000)


def test_the_item_says_where_the_area_is(small: tuple[Site, TileResult]) -> None:
    site, result = small
    item = json.loads(Path(result.item).read_text())
    assert_valid(item)
    assert Path(result.item).is_relative_to(Path(site.output) / "areas" / "my-field" / str(YEAR))
    assert shapely.equals_exact(
        shapely.geometry.shape(item["geometry"]).normalize(), in_degrees(SQUARE).normalize(), 1e-8
    )
    assert "collection" not in item
    for asset in item["assets"].values():
        assert (Path(result.item).parent / asset["href"]).is_file()
    assert result.open().prob.shape == (50, 40)
    assert result.open("mask").odc.crs.epsg == 6933


def test_figures_add_up_to_the_area(small: tuple[Site, TileResult]) -> None:
    figures = dict(small[1].statistics)
    names = ("mapped", "missing", "protected", "water", "steep", "high", "outside")
    assert sum(figures[f"{name}_hectares"] for name in names) == pytest.approx(2_000)
    prob = read(small[1], "prob")[0]
    assert figures["crop_hectares"] == np.count_nonzero((prob > 50) & (prob != 255))
    assert figures["mean_probability"] == pytest.approx(prob[prob != 255].mean(), abs=1e-4)


def test_the_same_area_is_done_once(small: tuple[Site, TileResult]) -> None:
    site, result = small
    before = Path(result.item).read_bytes()
    again = map_one(in_degrees(SQUARE), YEAR, site, name="my-field")
    assert (again.state, again.statistics) == ("SKIPPED", result.statistics)
    with pytest.raises(Rejected, match="with another model: use --overwrite"):
        map_one(in_degrees(SQUARE), YEAR, site, name="my-field", recipe="boosted")
    with pytest.raises(Rejected, match="with another area: use --overwrite"):
        map_one(in_degrees(SQUARE.buffer(-100)), YEAR, site, name="my-field")
    assert Path(result.item).read_bytes() == before
    redone = map_one(in_degrees(SQUARE), YEAR, site, name="my-field", overwrite=True)
    assert redone.state == "SUCCEEDED"
    assert Path(result.item).read_bytes() == before
    # A file that is gone is made again.
    next(Path(result.item).parent.glob("*_prob.tif")).unlink()
    assert map_one(in_degrees(SQUARE), YEAR, site, name="my-field").state == "SUCCEEDED"
    assert Path(result.item).read_bytes() == before


def test_threads_change_no_byte(small: tuple[Site, TileResult], tmp_path: Path) -> None:
    site, result = small
    other = replace(site, threads=1, output=str(tmp_path / "out"))
    again = map_one(in_degrees(SQUARE), YEAR, other, name="my-field")
    for file in Path(result.item).parent.iterdir():
        assert (Path(again.item).parent / file.name).read_bytes() == file.read_bytes()


def test_over_a_network_the_pixels_are_the_same(
    results: Results, small: tuple[Site, TileResult], tmp_path: Path
) -> None:
    world = results.world.parent
    with serve_files(world) as server:
        remote = site_of(results, tmp_path / "out", catalog=f"{server.url}/catalog.json")
        again = map_one(in_degrees(SQUARE), YEAR, remote, name="my-field")
    for band in ("prob", "mask", "filtered"):
        np.testing.assert_array_equal(read(again, band)[0], read(small[1], band)[0])


def test_every_way_to_name_an_area_is_the_same(results: Results, tmp_path: Path) -> None:
    site = site_of(results, tmp_path / "out")
    geometry = in_degrees(SQUARE)
    document = json.loads(shapely.to_geojson(geometry))
    file = tmp_path / "My Field.geojson"
    file.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": document}))
    jobs = [
        prepare_one(area, YEAR, site)
        for area in (geometry, document, file, str(file), geometry.bounds)
    ]
    # A box becomes the same polygon up to the order of its corners.
    assert len({job.task.digest for job in jobs[:4]}) == 1
    assert {job.window for job in jobs} == {jobs[0].window}
    assert jobs[2].task.name.startswith("my-field-")
    assert jobs[0].task.name.startswith("area-")


@pytest.mark.parametrize(
    ("area", "kind", "words"),
    [
        ((0.0, 1.0, 2.0), Rejected, "is no box"),
        ((10, 5, 9, 6), Rejected, "is no box"),
        ((float("nan"), 5, 9, 6), Rejected, "is no box"),
        (3, Rejected, "int is no area"),
        ({"type": "Point", "coordinates": [0, 0]}, Rejected, "no polygon"),
        ({"type": "Polygon", "coordinates": [[["a"]]]}, Rejected, "cannot be read"),
        ("nowhere.geojson", Rejected, "cannot be read"),
        ((-10.0, -60.0, -9.0, -59.0), Rejected, "outside every region"),
        ((0.0, 0.0, 30.0, 30.0), Rejected, f"and {MAX_PIXELS:,} are mapped as one"),
        ((38.0, 0.0, 41.9, 0.1), Rejected, "reaches 5 tiles"),
        ((39.0, 1.0, 39.0000001, 1.0000001), Rejected, "give a larger one"),
    ],
)
def test_what_is_no_area_to_map(
    results: Results,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    area: object,
    kind: type[CropmaskError],
    words: str,
) -> None:
    monkeypatch.setattr(area_module, "MAX_TILES", 4)
    site = site_of(results, tmp_path / "out", resolution=20)
    with pytest.raises(kind, match=words):
        map_one(area, YEAR, site)
    assert not [*tmp_path.rglob("*.tif")]


@pytest.mark.parametrize("name", ["", "../up", "Big", "a" * 61, "a b"])
def test_what_cannot_name_an_area(results: Results, tmp_path: Path, name: str) -> None:
    with pytest.raises(Rejected, match="cannot name an area"):
        map_one(in_degrees(SQUARE), YEAR, site_of(results, tmp_path), name=name)


def test_areas_leave_catalogs_of_products_alone(
    results: Results, small: tuple[Site, TileResult]
) -> None:
    from cropmask.results.finder import find_products

    assert find_products(FolderStore(Path(small[0].output))) == ()


def test_a_boundary_may_be_an_area(results: Results, tmp_path: Path) -> None:
    file = tmp_path / "square.geojson"
    file.write_text(shapely.to_geojson(in_degrees(SQUARE)))
    assert load_area(file).equals(load_boundary(file))
