"""Publishing a dataset: the item last, races, replacements and interruptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cropmask.core.cropmap import CropMap, Statistics
from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.grid import Tile
from cropmask.product import Product
from cropmask.results.finder import find_item, make_place
from cropmask.results.publish import put_catalogs, put_dataset
from cropmask.stac.collection import make_collection
from cropmask.stac.facts import ItemFacts, ModelFacts
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Entry
from cropmask.task import Period, RunKey, Task
from cropmask.testing.store import MemoryStore

PRODUCT = Product("eastern", "1.1.0")
TASK = Task(Tile(215, 75), "eastern", Period.parse("2019"))
PLACE = make_place(PRODUCT, TASK)
COLLECTION = make_collection("Eastern Africa", PRODUCT, (28.0, -12.0, 52.0, 18.0))


def make_facts(key: str = "a") -> ItemFacts:
    return ItemFacts(
        product=PRODUCT,
        tile=TASK.tile,
        period=TASK.period,
        resolution=100,
        run_key=RunKey(key * 64),
        as_of="2021-06-15T05:00:00Z",
        software="0.1.0",
        model=ModelFacts("forest", "0" * 64),
        sources=(),
        statistics=Statistics(1.0, 1.0, 1.0, 50.0, *([0.0] * 7)),
    )


@pytest.fixture(scope="module")
def crop_map() -> CropMap:
    prob = np.random.default_rng(0).integers(0, 101, (960, 960)).astype(np.uint8)
    prob[:, :100] = 255
    mask = np.where(prob == 255, 255, prob > 50).astype(np.uint8)
    return CropMap(mask, prob, mask)


class Diary(MemoryStore):
    """A store that remembers the order of its writes, and fails when told to."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__()
        self.writes: list[str] = []
        self._fail_at = fail_at

    def _note(self, key: str) -> None:
        if self._fail_at is not None and len(self.writes) >= self._fail_at:
            raise Interrupted("the disk is full")
        self.writes.append(key)

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:
        self._note(key)
        super().put(key, source, content_type)

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        self._note(key)
        return super().put_if_absent(key, data, content_type)

    def contents(self) -> dict[str, bytes]:
        entries: Iterator[Entry] = self.list()
        return {entry.key: self.get(entry.key) for entry in entries}


def test_the_item_comes_last(crop_map: CropMap) -> None:
    store = Diary()
    put_dataset(store, PLACE, make_facts(), crop_map, COLLECTION)
    assert store.writes[-1] == PLACE.item
    assert store.writes.index("catalog.json") == len(store.writes) - 2
    item = find_item(store, PLACE)
    assert item is not None
    files = {asset["href"].removeprefix("./") for asset in item.assets.values()}
    assert {PLACE.key(name) for name in files} <= set(store.contents())


def test_an_interruption_anywhere_is_healed_by_the_next_run(crop_map: CropMap) -> None:
    undisturbed = Diary()
    put_dataset(undisturbed, PLACE, make_facts(), crop_map, COLLECTION)
    for step in range(len(undisturbed.writes)):
        store = Diary(fail_at=step)
        with pytest.raises(Interrupted):
            put_dataset(store, PLACE, make_facts(), crop_map, COLLECTION)
        assert find_item(store, PLACE) is None
        store._fail_at = None
        put_dataset(store, PLACE, make_facts(), crop_map, COLLECTION)
        assert store.contents() == undisturbed.contents()


def test_the_loser_of_a_race_finds_equal_bytes(crop_map: CropMap) -> None:
    store = Diary()
    first = put_dataset(store, PLACE, make_facts(), crop_map, COLLECTION)
    assert put_dataset(store, PLACE, make_facts(), crop_map, COLLECTION) == first


def test_another_result_is_not_replaced_by_accident(crop_map: CropMap) -> None:
    store = Diary()
    put_dataset(store, PLACE, make_facts("a"), crop_map, COLLECTION)
    before = list(store.writes)
    with pytest.raises(Rejected, match="--overwrite"):
        put_dataset(store, PLACE, make_facts("b"), crop_map, COLLECTION)
    assert store.writes == before, "no file of the refused result may replace one of the other"
    put_dataset(store, PLACE, make_facts("b"), crop_map, COLLECTION, overwrite=True)
    item = find_item(store, PLACE)
    assert item is not None
    assert item.run_key == "b" * 64


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_results_written_at_the_same_time_none_is_published(
    crop_map: CropMap, overwrite: bool
) -> None:
    """Files of both may lie among each other: an item would say that they are one result."""
    store = Diary()

    def be_late() -> None:
        put_dataset(store, PLACE, make_facts("a"), crop_map, COLLECTION)

    with pytest.raises(Interrupted, match="run one of them again"):
        put_dataset(
            store,
            PLACE,
            make_facts("b"),
            crop_map,
            COLLECTION,
            overwrite=overwrite,
            check=be_late,
        )
    assert find_item(store, PLACE) is None
    put_dataset(store, PLACE, make_facts("b"), crop_map, COLLECTION)
    item = find_item(store, PLACE)
    assert item is not None
    assert item.run_key == "b" * 64


def test_overwriting_takes_the_item_away_first(crop_map: CropMap) -> None:
    store = Diary()
    put_dataset(store, PLACE, make_facts("a"), crop_map, COLLECTION)
    store._fail_at = len(store.writes) + 2
    with pytest.raises(Interrupted):
        put_dataset(store, PLACE, make_facts("b"), crop_map, COLLECTION, overwrite=True)
    assert find_item(store, PLACE) is None


def test_a_check_before_the_item_keeps_it_out(crop_map: CropMap) -> None:
    def lost() -> None:
        raise Interrupted("the lease was lost")

    store = Diary()
    with pytest.raises(Interrupted, match="lease"):
        put_dataset(store, PLACE, make_facts(), crop_map, COLLECTION, check=lost)
    assert find_item(store, PLACE) is None


def test_a_second_region_joins_the_catalog() -> None:
    store = MemoryStore()
    put_catalogs(store, COLLECTION, synthetic=False)
    other = make_collection("Sahel", replace(PRODUCT, region="sahel"), (-18.0, 3.0, 52.0, 28.0))
    put_catalogs(store, other, synthetic=False)
    put_catalogs(store, COLLECTION, synthetic=False)
    links = json.loads(store.get("catalog.json"))["links"]
    children = [link["href"] for link in links if link["rel"] == "child"]
    assert children == ["./crop_mask_eastern/collection.json", "./crop_mask_sahel/collection.json"]


@pytest.mark.parametrize("text", [b"[]", b"nonsense", b'{"properties": {}}'])
def test_something_else_in_the_items_place(text: bytes) -> None:
    store = MemoryStore()
    store.put(PLACE.item, text, "application/geo+json")
    with pytest.raises(Rejected, match="not an item of ours"):
        find_item(store, PLACE)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"properties": {"cropmask:run_key": "a", "cropmask:statistics": {}, '
        b'"cropmask:model": 5}}',
        b'{"properties": {"cropmask:run_key": "a", "cropmask:model": {}}}',
    ],
)
def test_an_item_that_lacks_what_is_asked_of_it_is_refused(text: bytes) -> None:
    store = MemoryStore()
    store.put(PLACE.item, text, "application/json")
    with pytest.raises(Rejected, match="not an item of ours"):
        find_item(store, PLACE)


@pytest.mark.parametrize("text", [b"nonsense", b"[" * 100_000, b'{"links": [5]}', b"{}"])
def test_something_else_in_the_catalogs_place(text: bytes) -> None:
    store = MemoryStore()
    store.put("catalog.json", text, "application/json")
    with pytest.raises(Misconfigured, match="not a STAC catalog"):
        put_catalogs(store, COLLECTION, synthetic=False)


def test_a_folder_in_the_items_place_is_one_line(crop_map: CropMap, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    (tmp_path / PLACE.item).mkdir(parents=True)
    with pytest.raises(Misconfigured, match="remove what is in its place"):
        put_dataset(store, PLACE, make_facts(), crop_map, COLLECTION)
