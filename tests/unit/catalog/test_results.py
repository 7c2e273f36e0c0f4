"""The catalog of results: every item linked, whoever writes meanwhile, and nothing done twice."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
from dataclasses import replace

import pytest
import rustac

from cropmask.catalog.build import build_results
from cropmask.grid import Tile
from cropmask.stac.collection import make_collection
from cropmask.stac.statistics import AREAS
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.testing.store import MemoryStore
from tests.demo_run import EASTERN, STATISTICS, WESTERN, put_item
from tests.stac_validation import assert_valid

PRODUCT = "crop_mask_eastern"


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
    assert len(models) == 2
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
