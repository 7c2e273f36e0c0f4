"""The made-up region: real tile positions, borrowed pixels, synthetic all the way through."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner

from cropmask.cli.main import cropmask
from cropmask.contract import ExitCode
from cropmask.core.strips import REFLECTANCE
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import Tile, geobox, tiles_within
from cropmask.pixels.gdal import open_reading_threads
from cropmask.pixels.rasters import GridRows, Raster, open_rows
from cropmask.region.region import Region, load_region
from cropmask.remote.fetch import ReadOptions
from cropmask.site.site import open_site
from cropmask.sources.boundary import load_boundary
from cropmask.sources.search import Sources, find_sources
from cropmask.task import Period, Task
from cropmask.testing.world.rasters import ASSETS
from cropmask.testing.world.regionfiles import find_truth
from cropmask.testing.world.regionworld import RegionWorld, _pick_block, make_region_world
from cropmask.tile.run import run_tile

EASTERN = load_region("eastern")
OUTLINE = load_boundary(EASTERN.boundary)
YEAR = Period.parse("2021")
TILES = (Tile(215, 75), Tile(215, 76), Tile(220, 80))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> RegionWorld:
    folder = tmp_path_factory.mktemp("made") / "world"
    return make_region_world(folder, EASTERN, OUTLINE, tiles=TILES[::-1], period=YEAR, scenes=2)


def region_of(world: RegionWorld) -> Region:
    return load_region("eastern", world.models)


def sources_of(world: RegionWorld, tile: Tile) -> Sources:
    ancillary = region_of(world).ancillary
    assert ancillary is not None
    return find_sources(str(world.catalog), tile, YEAR, ancillary)


def test_the_region_is_the_real_one_cut_to_the_tiles(world: RegionWorld):
    made = region_of(world)
    assert (made.name, made.version, made.limits) == ("eastern", EASTERN.version, EASTERN.limits)
    for recipe, ref in made.models.items():
        assert ref.sha256 == EASTERN.models[recipe].sha256
        assert hashlib.sha256(ref.file.read_bytes()).hexdigest() == ref.sha256
    assert made.title == "Eastern Africa (made up)"
    assert world.tiles == TILES
    boundary = load_boundary(made.boundary)
    assert tiles_within(boundary) == TILES
    whole = load_boundary(EASTERN.boundary)
    assert shapely.area(shapely.difference(boundary, whole)) == pytest.approx(0, abs=1)


def test_every_tile_is_read_on_its_own_grid_and_shows_its_scene(world: RegionWorld):
    options = ReadOptions()
    seen = {}
    for tile in TILES:
        sources = sources_of(world, tile)
        for half in (sources.first, sources.second):
            assert half.synthetic
            assert set(half.bands) == set(ASSETS)
        with open_reading_threads(options) as pool:

            def read(name: str, tile: Tile = tile, sources: Sources = sources) -> np.ndarray:
                band = sources.second.bands[name]
                rows = open_rows(Raster(band.href, options), band, geobox(tile, 100))
                assert isinstance(rows, GridRows)
                out = np.empty((960, 960), "uint16" if name in REFLECTANCE else "float32")
                rows.read_rows(0, out)
                return out

            seen[tile] = {name: pool.submit(read, name).result() for name in ("red", "sdev")}
    scenes = {}
    for path in sorted((world.catalog.parent / "scenes").glob("*2021-07--P6M_*.tif")):
        with rasterio.open(path) as scene:
            scenes[path.name[17:25], path.name[-8:-4]] = scene.read(1)
    for pixels in seen.values():
        assert np.count_nonzero(pixels["red"]) > 2000
        assert any(
            np.array_equal(pixels["red"], scenes[place, "_B04"])
            and np.array_equal(pixels["sdev"], scenes[place, "SMAD"], equal_nan=True)
            for place in ("x010y020", "x011y020")
        )
    assert not np.array_equal(seen[TILES[0]]["red"], seen[TILES[1]]["red"]), "neighbors differ"


def test_checksums_are_those_of_the_files_and_follow_the_scene(world: RegionWorld):
    for path in world.catalog.parent.rglob("*.stac-item.json"):
        item = json.loads(path.read_text())
        assert item["properties"]["title"].startswith("SYNTHETIC")
        assert item["properties"]["odc:producer"] == "synthetic"
        for asset in item["assets"].values():
            content = (path.parent / asset["href"]).read_bytes()
            assert asset["file:size"] == len(content)
            assert asset["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"
            with rasterio.open(path.parent / asset["href"]) as raster:
                source = next(name for name in raster.files if name.endswith(".tif"))
                checksum = raster.tags()["source_checksum"]
            assert checksum == f"1220{hashlib.sha256(Path(source).read_bytes()).hexdigest()}"


def test_terrain_is_that_of_the_scene(world: RegionWorld):
    ancillary = region_of(world).ancillary
    assert ancillary is not None
    for name in ("slope", "water", "elevation", "protected_areas", "steepness"):
        with rasterio.open(getattr(ancillary, name)) as layer:
            tiles = {}
            for tile in TILES:
                window = layer.window(*tile.bounds)
                tiles[tile] = layer.read(1, window=window)
                assert np.count_nonzero(tiles[tile]) > 100
            outside = layer.read(1, window=layer.window(*Tile(217, 78).bounds), masked=True)
        assert outside.mask.all() or not outside.any()
        assert not np.array_equal(tiles[TILES[0]], tiles[TILES[1]])


def test_a_tile_is_mapped_and_says_that_it_is_synthetic(world: RegionWorld, tmp_path: Path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(world.catalog.parent, moved)
    options = {
        "catalog": moved / "catalog.json",
        "models": moved / "models",
        "output": tmp_path / "output",
        "resolution": 100,
    }
    task = Task(TILES[0], "eastern", YEAR)
    result = run_tile(task, open_site({}, options), recipe="boosted")
    assert result.state == "SUCCEEDED"
    assert result.synthetic
    item = json.loads(Path(result.item).read_text())
    assert item["properties"]["title"].startswith("SYNTHETIC ")
    assert item["properties"]["cropmask:synthetic"] is True
    statistics = item["properties"]["cropmask:statistics"]
    assert 0.02 < statistics["crop_hectares"] / statistics["mapped_hectares"] < 0.9
    collection = json.loads((tmp_path / "output/crop_mask_eastern/collection.json").read_text())
    assert collection["title"].startswith("SYNTHETIC ")
    assert run_tile(task, open_site({}, options), recipe="boosted").state == "SKIPPED"


def test_nothing_is_left_of_a_world_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(Misconfigured, match="not empty"):
        make_region_world(tmp_path / "used", EASTERN, OUTLINE, period=YEAR)
    with pytest.raises(Rejected, match=r"x010y020.*cropmask tiles --region eastern"):
        make_region_world(tmp_path / "a", EASTERN, OUTLINE, tiles=[Tile(10, 20)], period=YEAR)
    with pytest.raises(Rejected, match="scenes"):
        make_region_world(tmp_path / "a", EASTERN, OUTLINE, period=YEAR, scenes=0)

    def fail(share: float) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Misconfigured, match="No space left"):
        make_region_world(
            tmp_path / "a", EASTERN, OUTLINE, tiles=TILES[:1], period=YEAR, scenes=1, progress=fail
        )
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_command_prints_the_options_to_use(tmp_path: Path):
    words = ["demo", "--region", "eastern", "--output", str(tmp_path / "a world"), "--scenes", "1"]
    done = CliRunner().invoke(cropmask, [*words, "--limit", "2", "--period", "2020"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("SYNTHETIC Eastern Africa: 2 made-up tiles at 100 m, ")
    assert f"--catalog '{tmp_path}/a world/catalog.json' --models '{tmp_path}/a world/models'" in (
        done.output
    )
    assert len(list((tmp_path / "a world").rglob("*2020-01--P6M.stac-item.json"))) == 2
    again = CliRunner().invoke(cropmask, words)
    assert isinstance(again.exception, Misconfigured)
    bad = CliRunner().invoke(cropmask, [*words, "--tiles", "x1"])
    assert bad.exit_code == ExitCode.USAGE


@pytest.mark.slow
def test_seasons_are_made_as_years_are(tmp_path: Path) -> None:
    """Fields change as from year to year, and look the same by half-year."""
    lands = {}
    for span in ("2019-2020", "2019/20-2020/21"):
        folder = tmp_path / str(Period.of_span(span))
        words = ["demo", "--region", "eastern", "--output", str(folder), "--years", span]
        done = CliRunner().invoke(cropmask, [*words, "--limit", "1", "--scenes", "1"])
        assert done.exit_code == 0, done.output
        period = Period.of_span(span)
        assert f"--period {period.years[0]} " in done.output
        lands[span] = {year.start.year: read_land(folder, year) for year in period.years}
    years, seasons = lands.values()
    for year, (use, halves) in years.items():
        np.testing.assert_array_equal(seasons[year][0], use)
        for mine, other in zip(seasons[year][1], halves, strict=True):
            np.testing.assert_array_equal(mine, other)
    assert (years[2019][0] != years[2020][0]).any()
    with pytest.raises(
        Misconfigured, match=r"these seasons with 'cropmask demo --years 2019/20-20"
    ):
        find_truth(folder, Period.parse("2030-07--P1Y"))


def read_land(folder: Path, year: Period) -> tuple[np.ndarray, list[np.ndarray]]:
    """What fields are used for, and red light from January to June and from July to December."""
    with rasterio.open(find_truth(folder, year)) as raster:
        use = raster.read(1)
    halves = []
    for half in year.order_halves("calendar"):
        (path,) = folder.rglob(f"*{half}_B04.vrt")
        with rasterio.open(path) as raster:
            halves.append(raster.read(1))
    return use, halves


def test_a_limited_region_is_a_compact_block() -> None:
    tiles = tiles_within(load_boundary(EASTERN.boundary))
    chosen = _pick_block(tiles, 20)
    assert len(chosen) == 20
    assert set(chosen) <= set(tiles)
    columns, rows = ({getattr(tile, axis) for tile in chosen} for axis in "xy")
    assert max(columns) - min(columns) <= 4
    assert max(rows) - min(rows) <= 4
    assert _pick_block(tiles[:3], 20) == tiles[:3]
