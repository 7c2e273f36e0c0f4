"""Expected tiles against objects, items and checksums."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cropmask.grid import Tile
from cropmask.operate.reconcile import Finding, Reconciliation, TileCheck, reconcile
from cropmask.results.finder import find_datasets
from cropmask.testing.store import MemoryStore
from tests.results import EASTERN, YEAR, put_files, put_result

TILES = tuple(Tile(210 + i % 3, 75 + i // 3) for i in range(6))
ELSEWHERE = Tile(1, 1)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    put_files(store, TILES)
    return store


def check(store: MemoryStore, **more: bool) -> Reconciliation:
    return reconcile(store, EASTERN, YEAR, TILES, **more)


def not_ok(found: Reconciliation) -> list[TileCheck]:
    return [check for check in found.checks if check.finding is not Finding.OK]


def key_of(tile: Tile, end: str) -> str:
    folder = EASTERN.dataset_folder(str(tile), str(YEAR))
    return f"{folder}/{EASTERN.file_name(str(tile), str(YEAR), end)}"


def edit(store: MemoryStore, tile: Tile, **properties: object) -> None:
    key = key_of(tile, ".stac-item.json")
    item = json.loads(store.get(key))
    item.update(properties)
    store.put(key, json.dumps(item).encode(), "")


@pytest.mark.parametrize("verify", [False, True])
def test_a_complete_store_is_ok(store: MemoryStore, verify: bool) -> None:
    found = check(store, verify=verify)
    assert found.is_ok
    assert found.counts == {**dict.fromkeys(Finding, 0), Finding.OK: 6}
    assert len(found.ways) == 1


def test_real_datasets_are_ok() -> None:
    store = MemoryStore()
    put_result(store, TILES[0])
    assert reconcile(store, EASTERN, YEAR, TILES[:1], verify=True).is_ok


def test_losing_any_one_file_is_one_finding(store: MemoryStore) -> None:
    keys = [entry.key for entry in store.list()]
    assert len(keys) == 6 * 8
    for key in keys:
        data = store.get(key)
        store.remove(key)
        found = not_ok(check(store))
        assert len(found) == 1, key
        finding = Finding.PARTIAL if key.endswith(".stac-item.json") else Finding.MISMATCH
        assert found[0].finding is finding
        assert str(found[0].tile) in key
        store.put(key, data, "")
    assert check(store).is_ok


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.data())
def test_each_tile_has_one_finding(data: st.DataObject) -> None:
    store = MemoryStore()
    put_files(store, data.draw(st.sets(st.sampled_from((*TILES, ELSEWHERE)))))
    lost = data.draw(st.sets(st.sampled_from([e.key for e in store.list()] or ["none"])))
    for key in lost:
        store.remove(key)
    found = check(store)
    tiles = [check.tile for check in found.checks]
    assert tiles == sorted(set(tiles))
    assert set(TILES) <= set(tiles)
    assert sum(found.counts.values()) == len(tiles)
    broken = {key.split("/")[-1][18:26] for key in lost}
    there = {str(dataset.tile) for dataset in find_datasets(store, EASTERN) if dataset.entries}
    for one in found.checks:
        name = str(one.tile)
        whole = name in there and name not in broken and one.tile in TILES
        assert (one.finding is Finding.OK) == whole


def test_nothing_there(store: MemoryStore) -> None:
    found = reconcile(store, EASTERN, YEAR, (*TILES, ELSEWHERE))
    assert not_ok(found) == [TileCheck(ELSEWHERE, Finding.MISSING, ("no file is there",))]


def test_results_outside_the_region(store: MemoryStore) -> None:
    put_files(store, [ELSEWHERE])
    found = not_ok(check(store))
    assert [(one.tile, one.finding) for one in found] == [(ELSEWHERE, Finding.ORPHAN)]


def test_other_years_and_versions_do_not_count(store: MemoryStore) -> None:
    from cropmask.product import Product
    from cropmask.task import Period

    put_files(store, [ELSEWHERE], Product("eastern", "2.0.0"))
    put_files(store, [ELSEWHERE], period=Period.parse("2020"))
    assert check(store).is_ok


def test_a_changed_byte_is_found_by_verifying(store: MemoryStore) -> None:
    key = key_of(TILES[0], "_mask.tif")
    data = bytearray(store.get(key))
    data[0] ^= 1
    store.put(key, bytes(data), "")
    assert check(store).is_ok
    found = not_ok(check(store, verify=True))
    assert found[0].problems == (
        f"{key.rpartition('/')[2]} has another checksum than the item says",
    )


def test_another_size_is_found_at_once(store: MemoryStore) -> None:
    store.put(key_of(TILES[0], "_prob.tif"), b"short", "")
    (found,) = not_ok(check(store))
    assert found.finding is Finding.MISMATCH
    assert "has 5 bytes, the item says" in found.problems[0]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"id": 5}', b"[" * 100_000, b"\xff"])
def test_an_item_that_cannot_be_read(store: MemoryStore, text: bytes) -> None:
    store.put(key_of(TILES[0], ".stac-item.json"), text, "")
    (found,) = not_ok(check(store))
    assert (found.finding, found.problems) == (
        Finding.MISMATCH,
        ("the item is not one of ours, or damaged",),
    )


def test_an_item_of_another_tile(store: MemoryStore) -> None:
    store.put(
        key_of(TILES[0], ".stac-item.json"), store.get(key_of(TILES[1], ".stac-item.json")), ""
    )
    (found,) = not_ok(check(store))
    assert found.problems[0].startswith("the item is that of another dataset")


def test_an_item_that_lacks_an_asset(store: MemoryStore) -> None:
    edit(store, TILES[0], assets={})
    (found,) = not_ok(check(store))
    assert "the item has no asset 'mask'" in found.problems


def test_two_ways_are_told(store: MemoryStore) -> None:
    put_files(store, TILES[:1], resolution=10)
    found = check(store)
    assert found.is_ok
    assert [(made.resolution, number) for made, number in found.ways.items()] == [(100, 5), (10, 1)]


def test_other_files_do_no_harm(store: MemoryStore) -> None:
    key = key_of(TILES[0], "_mask.tif.aux.xml")
    store.put(key, b"", "")
    found = check(store)
    assert found.is_ok
    assert found.strays == (key,)
