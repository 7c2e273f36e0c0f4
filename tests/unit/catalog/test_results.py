"""The catalog of results: every item linked, whoever writes meanwhile, and nothing done twice."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rustac
from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry import shape

from cropmask.catalog.build import build_results
from cropmask.catalog.check import verify_catalog
from cropmask.catalog.schemas import Schemas
from cropmask.catalog.search import Index, Query
from cropmask.catalog.thumbnails import draw_results
from cropmask.core.cropmap import CropMap
from cropmask.grid import Tile
from cropmask.product import RECIPES
from cropmask.region.attribution import Attribution, Provider
from cropmask.remote.fetch import ReadOptions
from cropmask.results.finder import make_place
from cropmask.results.itemcache import load_item
from cropmask.results.publish import put_dataset
from cropmask.stac.collection import make_collection
from cropmask.stac.statistics import AREAS
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.task import Task
from cropmask.testing.store import MemoryStore
from tests.demo_run import EASTERN, STATISTICS, WESTERN, put_item
from tests.results import COLLECTION, make_facts
from tests.stac_validation import assert_valid

PRODUCT = "crop_mask_eastern"
REGIONS = ("my_valley", "eastern")


def load(store: Store, key: str) -> dict:
    return json.loads(store.get(key))


def linked(store: Store, product: str = PRODUCT) -> set[str]:
    links = load(store, f"{product}/collection.json")["links"]
    return {f"{product}/{link['href'][2:]}" for link in links if link["rel"] == "item"}


def test_items_are_linked_and_summed_up():
    store = MemoryStore()
    keys = {put_item(store, tile) for tile in EASTERN}
    other = put_item(store, WESTERN, "western")
    built = build_results(store)
    assert built.collections == {PRODUCT: 2, "crop_mask_western": 1}
    assert linked(store) == keys
    assert linked(store, "crop_mask_western") == {other}
    collection = load(store, f"{PRODUCT}/collection.json")
    assert_valid(collection)
    total = collection["cropmask:statistics"]["2019--P1Y"]
    assert total["tiles"] == 2
    assert total["mapped_hectares"] == 2 * STATISTICS.mapped_hectares
    assert total["crop_percent"] == 20.0
    assert collection["extent"]["temporal"]["interval"] == [
        ["2019-01-01T00:00:00Z", "2019-12-31T23:59:59.999999Z"]
    ]
    boxes = [load(store, key)["bbox"] for key in sorted(keys)]
    west, east = boxes
    assert west[2] == pytest.approx(east[0])
    assert collection["extent"]["spatial"]["bbox"] == [[west[0], west[1], east[2], east[3]]]
    assert collection["summaries"]["gsd"] == [100]


def test_the_root_links_products_and_models():
    store = MemoryStore()
    put_item(store)
    store.put("catalog.json", b'{"links": [{"rel": "child", "href": "./mine/x.json"}]}', "")
    build_results(store)
    root = load(store, "catalog.json")
    assert_valid(root)
    children = [link["href"] for link in root["links"] if link["rel"] == "child"]
    assert children == [
        f"./{PRODUCT}/collection.json",
        "./crop_mask_models/collection.json",
        "./mine/x.json",
    ]
    models = linked(store, "crop_mask_models")
    assert len(models) == len(RECIPES)
    for key in models:
        item = load(store, key)
        assert_valid(item)
        for asset in item["assets"].values():
            assert store.exists(f"{key.rpartition('/')[0]}/{asset['href'][2:]}")


def test_everything_that_is_linked_is_there():
    store = MemoryStore()
    put_item(store)
    build_results(store)
    for link in load(store, "catalog.json")["links"]:
        if "://" not in link["href"]:
            assert store.exists(link["href"][2:]), link
    for asset in load(store, f"{PRODUCT}/collection.json")["assets"].values():
        key = asset["href"].removeprefix("../")
        key = f"{PRODUCT}/{key[2:]}" if key.startswith("./") else key
        assert store.exists(key), asset


def test_a_second_build_reads_and_writes_nothing():
    store = MemoryStore()
    for tile in EASTERN:
        put_item(store, tile)
    first = build_results(store)
    assert (first.read, first.written > 10) == (2, True)
    second = build_results(store)
    assert (second.read, second.written) == (0, 0)


def test_only_what_is_new_or_changed_is_read():
    store = MemoryStore()
    for tile in EASTERN:
        put_item(store, tile)
    build_results(store)
    put_item(store, EASTERN[0], statistics=replace(STATISTICS, mapped_hectares=1.0))
    put_item(store, Tile(220, 75))
    built = build_results(store)
    assert built.read == 2
    total = load(store, f"{PRODUCT}/collection.json")["cropmask:statistics"]["2019--P1Y"]
    assert (total["tiles"], total["mapped_hectares"]) == (3, 2 * 460_800.0 + 1.0)


def test_an_item_that_was_removed_is_no_longer_linked():
    store = MemoryStore()
    gone, stays = (put_item(store, tile) for tile in EASTERN)
    build_results(store)
    store.remove(gone)
    build_results(store)
    assert linked(store) == {stays}


def test_a_product_whose_last_item_was_removed_promises_nothing():
    store = MemoryStore()
    stays = put_item(store)
    gone = put_item(store, WESTERN, "western")
    build_results(store)
    store.remove(gone)
    build_results(store)
    assert linked(store) == {stays}
    collection = load(store, "crop_mask_western/collection.json")
    assert_valid(collection)
    assert (linked(store, "crop_mask_western"), collection.get("cropmask:statistics")) == (
        set(),
        None,
    )
    for asset in collection["assets"].values():
        key = asset["href"].removeprefix("../").replace("./", "crop_mask_western/")
        assert store.exists(key), asset
    assert not store.exists("crop_mask_western/items.parquet")
    assert build_results(store).written == 0
    put_item(store, WESTERN, "western")
    build_results(store)
    assert linked(store, "crop_mask_western") == {gone}


def test_without_items_nothing_is_written(tmp_path):
    built = build_results(FolderStore(tmp_path / "a-typing-error"))
    assert (built.collections, built.written) == ({}, 0)
    assert not (tmp_path / "a-typing-error").exists()


class Hiding(MemoryStore):
    """A listing made before the last items came, as when two builds overlap."""

    hidden: frozenset[str] = frozenset()

    def list(self, prefix=""):
        return (entry for entry in super().list(prefix) if entry.key not in self.hidden)


def test_a_build_with_an_old_listing_keeps_the_links_of_another():
    store = Hiding()
    keys = {put_item(store, tile) for tile in EASTERN}
    build_results(store)
    store.hidden = frozenset(sorted(keys)[:1])
    build_results(store)
    assert linked(store) == keys


def test_builds_beside_writers_link_everything_in_the_end(tmp_path):
    store = FolderStore(tmp_path)
    rows = (70, 71)
    tiles = [[Tile(200 + column, row) for column in range(10)] for row in rows]
    writers = [
        threading.Thread(target=lambda row=row: [put_item(store, tile) for tile in row])
        for row in tiles
    ]
    for writer in writers:
        writer.start()
    before: set[str] = set()
    while any(writer.is_alive() for writer in writers):
        if build_results(store, parquet=False).collections:
            now = linked(store)
            assert before <= now, "a link to an item that is there was lost"
            before = now
    build_results(store)
    assert len(linked(store)) == sum(map(len, tiles))


def test_what_is_no_item_is_named_and_left_out():
    store = MemoryStore()
    good = put_item(store)
    bad = good.replace("x221", "x001")
    store.put(bad, b"{", "")
    foreign = good.replace("x221", "x002")
    store.put(foreign, b'{"type": "Feature", "properties": {}}', "")
    built = build_results(store)
    assert built.unusable == (bad, foreign)
    assert linked(store) == {good}


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"nonsense",
        lambda whole: whole[:-9],
        lambda whole: whole[:20] + b"\xff" * 40 + whole[60:],  # zlib's own error
        lambda _: gzip.compress(b"[" * 100_000),
        lambda _: gzip.compress(bytes(64 << 20)),
    ],
)
def test_a_damaged_cache_is_made_again(damage):
    store = MemoryStore()
    put_item(store)
    build_results(store)
    cache = f"_catalog/{PRODUCT}.jsonl.gz"
    store.put(cache, damage(store.get(cache)), "")
    assert build_results(store).read == 1
    assert build_results(store).read == 0


def test_a_region_of_ones_own_keeps_the_title_that_the_worker_gave_it():
    store = MemoryStore()
    key = put_item(store, region="my_valley", version="2.0.0")
    known = make_collection("My Valley", _product("my_valley"), (1.0, 2.0, 3.0, 4.0))
    store.put("crop_mask_my_valley/collection.json", json.dumps(known).encode(), "")
    build_results(store)
    collection = load(store, "crop_mask_my_valley/collection.json")
    assert_valid(collection)
    assert collection["title"] == "Cropland extent, My Valley"
    assert linked(store, "crop_mask_my_valley") == {key}
    assert store.exists("crop_mask_my_valley/crop_mask_my_valley.odc-product.yaml")


def test_license_and_providers_are_those_of_the_region_and_of_the_items():
    store = MemoryStore()
    agency = Provider(name="An Agency", roles=("producer",))
    owed = Attribution("ODbL-1.0", None, (agency,), (2019,))
    put_item(store, region="my_valley", attribution=owed)
    put_item(store, attribution=owed)
    build_results(store)
    mine, theirs = (load(store, f"crop_mask_{name}/collection.json") for name in REGIONS)
    for found in (mine, theirs):
        assert_valid(found)
    line = "An Agency, ODbL-1.0. Contains modified Copernicus Sentinel data 2019"
    assert (mine["license"], mine["attribution"]) == ("ODbL-1.0", line)
    assert [provider["name"] for provider in mine["providers"]] == ["An Agency"]
    # The region file's word goes first, whoever is named there too.
    assert theirs["license"] == "CC-BY-4.0"
    names = [provider["name"] for provider in theirs["providers"]]
    assert names == ["Digital Earth Africa", "An Agency"]
    definition = store.get("crop_mask_my_valley/crop_mask_my_valley.odc-product.yaml").decode()
    assert "license: ODbL-1.0" in definition
    assert b"Credit: An Agency, ODbL-1.0." in store.get("services/ows_crop_mask_cfg.py")
    layers = load(store, "services/terria.json")["catalog"][0]["members"]
    assert {"name": "License", "content": "ODbL-1.0, credit: An Agency"} in layers[-1]["info"]


def test_items_of_two_licenses_have_none_together():
    store = MemoryStore()
    for tile, name in zip(EASTERN, ("MIT", "CC0-1.0"), strict=True):
        put_item(store, tile, region="my_valley", attribution=Attribution(name))
    build_results(store)
    assert load(store, "crop_mask_my_valley/collection.json")["license"] == "other"


def _product(region):
    from cropmask.product import Product

    return Product(region, "2.0.0")


def test_synthetic_results_say_so_everywhere():
    store = MemoryStore()
    put_item(store, synthetic=True)
    build_results(store)
    assert load(store, "catalog.json")["title"].startswith("SYNTHETIC")
    collection = load(store, f"{PRODUCT}/collection.json")
    assert collection["title"].startswith("SYNTHETIC")
    (link,) = (link for link in collection["links"] if link["rel"] == "item")
    assert link["title"].startswith("SYNTHETIC")
    (layer,) = load(store, "services/terria.json")["catalog"][0]["members"]
    assert layer["name"].startswith("SYNTHETIC")
    assert b"'title': 'SYNTHETIC Cropland extent" in store.get("services/ows_crop_mask_cfg.py")


def test_the_table_of_statistics_is_that_of_the_items():
    store = MemoryStore()
    put_item(store)
    build_results(store)
    (row,) = csv.DictReader(io.StringIO(store.get(f"{PRODUCT}/statistics.csv").decode()))
    assert (row["tile"], row["period"], row["crop_percent"]) == ("x221y075", "2019--P1Y", "20.0")
    assert {name: float(row[name]) for name in AREAS} == {
        name: getattr(STATISTICS, name) for name in AREAS
    }


def test_the_parquet_holds_every_item_with_addresses(tmp_path):
    store = FolderStore(tmp_path)
    keys = sorted(put_item(store, tile) for tile in EASTERN)
    build_results(store)
    found = rustac.read_sync(str(tmp_path / PRODUCT / "items.parquet"))["features"]
    assert [item["id"] for item in found] == [load(store, key)["id"] for key in keys]
    for item, key in zip(found, keys, strict=True):
        folder = (tmp_path / key).parent
        assert item["assets"]["mask"]["href"].startswith(f"{folder}/crop_mask_eastern_")
        assert item["properties"]["proj:epsg"] == 6933


def put_map(store, tile, valid):
    """A dataset of real rasters at 100 m that are nodata outside of ``valid`` (y, x)."""
    prob = np.where(valid, 80, 255).astype(np.uint8)
    mask = np.where(valid, 1, 255).astype(np.uint8)
    facts = make_facts(tile, statistics=STATISTICS)
    place = make_place(facts.product, Task(tile, "eastern", facts.period))
    put_dataset(store, place, facts, CropMap(mask, prob, mask), COLLECTION)
    return place.item


def scattered():
    """Two corners of a tile."""
    valid = np.zeros((960, 960), bool)
    valid[100:200, :50] = valid[800:, 700:] = True
    return valid


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A tile that is mapped in two corners, and its whole neighbor."""
    store = FolderStore(tmp_path_factory.mktemp("mapped"))
    keys = put_map(store, EASTERN[0], scattered()), put_map(store, EASTERN[1], np.ones((960, 960)))
    build_results(store)
    return store, keys


def test_items_that_cover_a_part_of_their_tile_are_valid_in_every_form(mapped):
    store, keys = mapped
    documents = [load(store, key) for key in keys]
    assert [found["geometry"]["type"] for found in documents] == ["MultiPolygon", "Polygon"]
    for document in documents:
        assert_valid(document)
    table = rustac.read_sync(str(store.root / PRODUCT / "items.parquet"))["features"]
    for row, document in zip(table, documents, strict=True):
        # A column of both kinds is one of multipolygons.
        assert shape(row["geometry"]).equals(shape(document["geometry"]))
        assert list(row["bbox"]) == document["bbox"]
    checked = verify_catalog(str(store.root / "catalog.json"), ReadOptions(), Schemas(None))
    assert checked.rasters == 8
    assert [problem for problem in checked.problems if "crop_mask_models" not in str(problem)] == []


def test_a_search_finds_items_where_they_are_mapped(mapped):
    store, keys = mapped
    items = [load(store, key) for key in keys]
    index = Index([load(store, f"{PRODUCT}/collection.json")], items)
    west, south, east, north = items[0]["bbox"]

    def at(x, y):
        point = {
            "type": "Point",
            "coordinates": [west + x * (east - west), south + y * (north - south)],
        }
        return [item["id"] for item in index.search(Query.parse({"intersects": point})).items]

    assert at(0.01, 0.9) == at(0.9, 0.05) == [items[0]["id"]]
    assert at(0.5, 0.5) == []  # in the box of the item, where it has no data
    broken = [{**items[0], "geometry": {"type": "Polygon", "coordinates": "none"}}]
    (found,) = Index([], broken).search(Query.parse({"bbox": items[0]["bbox"]})).items
    assert found["id"] == items[0]["id"]


def test_pictures_of_tiles_are_laid_where_they_belong(mapped, tmp_path):
    store, keys = mapped
    items = [load_item(store, key) for key in keys]
    pictures = dict(zip(keys, map(thumbnail_of(store), items), strict=True))
    (tmp_path / "p.png").write_bytes(draw_results(None, items, pictures))
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(tmp_path / "p.png") as file:
        yellow = (file.read([1, 2, 3]) == np.array([255, 255, 0])[:, None, None]).all(axis=0)
    edge = yellow.shape[1] // 2
    assert yellow[:, edge:].all()
    expected = scattered()[:: 960 // edge + 1, :: 960 // edge + 1]
    assert yellow[:, :edge].mean() == pytest.approx(expected.mean(), abs=0.02)
    assert not yellow[edge // 2, : edge // 2].any()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"proj:shape": 3, "proj:transform": [1]},
        {"proj:shape": [1, 2], "proj:transform": [1, 0, "x", 0, 1, 0]},
        {"proj:shape": [1, 2], "proj:transform": [math.nan] * 6},
        {"proj:shape": [1e300, 1e300], "proj:transform": [1e300, 0, 0, 0, -1e300, 0]},
        {"proj:shape": [10, 10], "proj:transform": [1, 0, 0, 0, -1, 0]},
    ],
)
def test_a_picture_that_does_not_say_where_it_is_fills_the_tile(mapped, said):
    store, keys = mapped
    item = load_item(store, keys[1])
    picture = thumbnail_of(store)(item)
    item.assets["thumbnail"] = {"href": "x", **said}
    drawn = draw_results(None, [item], {item.key: picture})
    assert drawn == draw_results(None, [load_item(store, keys[1])], {item.key: picture})


def thumbnail_of(store):
    return lambda item: store.get(item.key.replace(".stac-item.json", "_thumbnail.png"))
