"""A catalog looked through once answers as the catalog itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cropmask.errors import Rejected
from cropmask.grid import Tile
from cropmask.region.region import Ancillary
from cropmask.remote.fetch import ReadOptions
from cropmask.sources import catalogs
from cropmask.sources.bands import GEOMAD
from cropmask.sources.catalogs import Catalog, open_catalog
from cropmask.sources.gather import Gathered, Listed, gather
from cropmask.sources.matching import is_of_tile
from cropmask.sources.search import find_sources
from cropmask.task import Period
from tests.regions import YEAR, RegionWorld, block, make_region
from tests.servers import serve_files

TILES = block(3, 2)
OPTIONS = ReadOptions()
LAYERS = Ancillary(rain_first_half="a", rain_second_half="b", slope="c")


@pytest.fixture
def world(tmp_path: Path) -> RegionWorld:
    return make_region(tmp_path / "world", TILES, without=TILES[:1], years=(2018, 2019))


def ids(catalog: Catalog, tile: Tile, period: Period | None) -> set[str]:
    items = catalog.find_items(GEOMAD, tile, period)
    return {str(item.content["id"]) for item in items if is_of_tile(item, tile)}


def outcome(catalog: Catalog, tile: Tile) -> str:
    try:
        return repr(find_sources(catalog, tile, YEAR, LAYERS))  # nodata may be NaN
    except Rejected as error:
        return str(error)


def assert_same(plain: Catalog, quick: Catalog) -> None:
    for tile in (*TILES, Tile(1, 1)):
        assert ids(plain, tile, None) == ids(quick, tile, None)
        assert outcome(plain, tile) == outcome(quick, tile)


@pytest.mark.parametrize("place", ["catalog.json", "gm_s2_semiannual/collection.json", "."])
def test_gathered_answers_are_those_of_the_catalog(world: RegionWorld, place: str) -> None:
    catalog = open_catalog(str(world.folder / place), OPTIONS)
    quick = gather(catalog, [(GEOMAD, YEAR)], TILES)
    assert isinstance(quick, Listed if place == "." else Gathered)
    assert_same(catalog, quick)


def test_items_in_one_document_and_without_tiles_in_their_paths(world: RegionWorld) -> None:
    items = [json.loads(path.read_text()) for path in world.items.rglob("*.stac-item.json")]
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = "/somewhere.tif"
    together = world.folder / "all.json"
    together.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    catalog = open_catalog(str(together), OPTIONS)
    assert_same(catalog, gather(catalog, [(GEOMAD, YEAR)], TILES))


def test_an_item_that_says_no_tile_is_asked_for_its_center(world: RegionWorld) -> None:
    path = world.item_file(TILES[1], 0)
    item = json.loads(path.read_text())
    left, bottom, right, top = TILES[1].bounds
    del item["properties"]["odc:region_code"]
    item["properties"]["proj:transform"] = [10, 0, left, 0, -10, top]
    item["properties"]["proj:shape"] = [int(top - bottom) // 10, int(right - left) // 10]
    path.write_text(json.dumps(item))
    catalog = open_catalog(str(world.catalog), OPTIONS)
    quick = gather(catalog, [(GEOMAD, YEAR)], TILES)
    assert item["id"] in ids(quick, TILES[1], YEAR)
    assert_same(catalog, quick)


def test_a_broken_document_is_the_matter_of_its_tile(world: RegionWorld) -> None:
    world.item_file(TILES[1], 0).write_text("{")
    catalog = open_catalog(str(world.catalog), OPTIONS)
    quick = gather(catalog, [(GEOMAD, YEAR)], TILES)
    assert "is not JSON" in outcome(quick, TILES[1])
    assert outcome(quick, TILES[2]) == outcome(catalog, TILES[2])


def test_every_document_is_read_once_over_http(world: RegionWorld) -> None:
    with serve_files(world.folder) as server:
        catalog = open_catalog(f"{server.url}/catalog.json", OPTIONS)
        quick = gather(catalog, [(GEOMAD, YEAR)], TILES)
        for tile in TILES[1:]:
            find_sources(quick, tile, YEAR, LAYERS)
        paths = [path for _, path in server.requests]
    assert len(paths) == len(set(paths)) == 2 + 2 * (len(TILES) - 1)


def test_a_walk_goes_on_beyond_what_is_read_at_once(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogs, "_AT_ONCE", 3)
    catalog = open_catalog(str(world.catalog), OPTIONS)
    assert_same(catalog, gather(catalog, [(GEOMAD, YEAR)], TILES))


def test_of_another_year_nothing_is_read_twice(world: RegionWorld) -> None:
    """A region planned for a year that it does not have: each tile says what it has."""
    with serve_files(world.folder) as server:
        catalog = open_catalog(f"{server.url}/catalog.json", OPTIONS)
        quick = gather(catalog, [(GEOMAD, Period.parse("2015"))], TILES)
        for tile in TILES[1:]:
            with pytest.raises(Rejected, match=r"has 2018-01--P6M, .*, 2019-07--P6M"):
                find_sources(quick, tile, Period.parse("2015"), LAYERS)
        paths = [path for _, path in server.requests]
    assert len(paths) == len(set(paths)) == 2 + 4 * (len(TILES) - 1)
