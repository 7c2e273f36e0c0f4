"""Results copied and deleted: what a target holds at every moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.errors import Interrupted
from cropmask.grid import Tile
from cropmask.operate.reconcile import reconcile
from cropmask.operate.transfer import CopyResult, CopyState, remove, sync
from cropmask.results.finder import check_item, find_datasets
from cropmask.stac.item import parse_item
from cropmask.stac.links import ITEM_TYPE
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.task import RunKey
from cropmask.testing.store import MemoryStore
from tests.results import EASTERN, YEAR, put_files, put_result

TILES = tuple(Tile(210 + i, 75) for i in range(3))
ITEM = ".stac-item.json"


class Frail(MemoryStore):
    """A store whose writes and deletions fail after so many of them, and that remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, str]] = []
        self.fail_at: int | None = None

    def _step(self, verb: str, key: str) -> None:
        if self.fail_at is not None and len(self.steps) >= self.fail_at:
            raise Interrupted("the line is cut")
        self.steps.append((verb, key))

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:
        self._step("put", key)
        super().put(key, source, content_type)

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        self._step("put", key)
        return super().put_if_absent(key, data, content_type)

    def remove(self, key: str) -> None:
        self._step("remove", key)
        super().remove(key)


def contents(store: Store) -> dict[str, bytes]:
    return {entry.key: store.get(entry.key) for entry in store.list()}


def copy(source: Store, target: Store, **more: bool) -> list[CopyResult]:
    return sync(source, target, EASTERN, find_datasets(source, EASTERN), **more)


def assert_no_item_without_its_files(store: Store) -> None:
    for dataset in find_datasets(store, EASTERN):
        if dataset.is_finished:
            item = parse_item(dataset.item_key, store.get(dataset.item_key))
            assert item is not None
            assert check_item(item, dataset) == ()


@pytest.fixture
def source() -> MemoryStore:
    store = MemoryStore()
    put_files(store, TILES)
    return store


def test_everything_arrives_the_item_last(source: MemoryStore) -> None:
    target = Frail()
    assert [one.fate for one in copy(source, target)] == [CopyState.COPIED] * 3
    assert contents(target) == contents(source)
    for tile in TILES:
        own = [key for _, key in target.steps if str(tile) in key]
        assert own[-1].endswith(ITEM)
        assert len(own) == 8


def test_catalogs_come_along(tmp_path: Path) -> None:
    source, target = MemoryStore(), FolderStore(tmp_path)
    put_result(source, TILES[0])
    copy(source, target)
    assert contents(target) == contents(source)
    assert target.exists("catalog.json")
    assert target.exists("crop_mask_eastern/collection.json")


def test_the_second_time_nothing_is_written(source: MemoryStore) -> None:
    target = Frail()
    copy(source, target)
    target.steps.clear()
    assert [one.fate for one in copy(source, target)] == [CopyState.SAME] * 3
    assert target.steps == []


@given(st.integers(0, 24), st.booleans())
def test_an_interruption_anywhere_is_healed_by_the_next_time(step: int, other_first: bool) -> None:
    source, target = MemoryStore(), Frail()
    put_files(source, TILES)
    if other_first:
        put_files(target, TILES[:1], run_key=RunKey("b" * 64), resolution=60)
    target.steps.clear()
    target.fail_at = step
    try:
        copy(source, target, overwrite=True)
    except Interrupted:
        assert_no_item_without_its_files(target)
    target.fail_at = None
    written = len(target.steps)
    copy(source, target, overwrite=True)
    assert contents(target) == contents(source)
    assert reconcile(target, EASTERN, YEAR, TILES, verify=True).is_ok
    assert len(target.steps) - written <= 25


def test_what_arrived_is_not_copied_again(source: MemoryStore) -> None:
    target = Frail()
    copy(source, target)
    for dataset in find_datasets(target, EASTERN):
        target.remove(dataset.item_key)
    target.steps.clear()
    copied = copy(source, target)
    assert [(one.fate, one.files) for one in copied] == [(CopyState.COPIED, 1)] * 3
    assert all(key.endswith(ITEM) for _, key in target.steps)


def test_a_file_of_another_result_is_not_mistaken(source: MemoryStore) -> None:
    target = MemoryStore()
    copy(source, target)
    (dataset,) = find_datasets(target, EASTERN, tiles=TILES[:1])
    mask = next(key.key for name, key in dataset.entries.items() if name.endswith("_mask.tif"))
    target.put(mask, b"X" * len(target.get(mask)), "")
    target.remove(dataset.item_key)
    copy(source, target)
    assert contents(target) == contents(source)


def test_an_unfinished_dataset_waits(source: MemoryStore) -> None:
    (dataset,) = find_datasets(source, EASTERN, tiles=TILES[:1])
    source.remove(dataset.item_key)
    target = MemoryStore()
    assert [one.fate for one in copy(source, target)] == [
        CopyState.UNFINISHED,
        CopyState.COPIED,
        CopyState.COPIED,
    ]
    assert not [key for key in contents(target) if str(TILES[0]) in key]


def test_another_result_is_kept_unless_told_otherwise(source: MemoryStore) -> None:
    target = MemoryStore()
    put_files(target, TILES[:1], run_key=RunKey("b" * 64))
    before = contents(target)
    assert next(one.fate for one in copy(source, target)) is CopyState.OTHER
    assert {key: contents(target)[key] for key in before} == before
    assert next(one.fate for one in copy(source, target, overwrite=True)) is CopyState.COPIED
    assert contents(target) == contents(source)


@pytest.mark.parametrize("data", [b"X", b"mask of x21Xy075"])
def test_a_damaged_dataset_is_not_published(source: MemoryStore, data: bytes) -> None:
    (dataset,) = find_datasets(source, EASTERN, tiles=TILES[:1])
    mask = next(e.key for name, e in dataset.entries.items() if name.endswith("_mask.tif"))
    source.put(mask, data, "")
    target = MemoryStore()
    copied = copy(source, target)
    assert copied[0].fate is CopyState.DAMAGED
    assert "_mask.tif" in copied[0].note
    assert not target.exists(dataset.item_key)
    assert_no_item_without_its_files(target)


@pytest.mark.parametrize("suffix", ["_filtered.tif", "_mask.tif", ".sha1"])
def test_a_damaged_dataset_replaces_nothing(source: MemoryStore, suffix: str) -> None:
    (dataset,) = find_datasets(source, EASTERN, tiles=TILES[:1])
    key = next(e.key for name, e in dataset.entries.items() if name.endswith(suffix))
    source.put(key, b"X" * dataset.entries[key.rpartition("/")[2]].size, "")
    target = Frail()
    put_files(target, TILES[:1], run_key=RunKey("b" * 64))
    before = contents(target)
    target.steps.clear()
    copied = copy(source, target, overwrite=True)
    assert [one.fate for one in copied] == [CopyState.DAMAGED, CopyState.COPIED, CopyState.COPIED]
    assert "another checksum" in copied[0].note
    assert not [key for _, key in target.steps if str(TILES[0]) in key]
    assert {key: contents(target)[key] for key in before} == before


class Overwritten(MemoryStore):
    """A source in which a dataset is computed anew while it is copied."""

    def get(self, key: str) -> bytes:
        if key.endswith("_prob.tif"):
            put_files(self, TILES[:1], run_key=RunKey("c" * 64), resolution=10)
            super().put(key, b"other pixels", "")
        return super().get(key)


def test_a_source_that_changes_meanwhile_is_not_published() -> None:
    source, target = Overwritten(), MemoryStore()
    put_files(source, TILES[:1])
    assert [one.fate for one in copy(source, target)] == [CopyState.DAMAGED]
    assert_no_item_without_its_files(target)


def test_a_dry_run_says_the_same_and_writes_nothing(source: MemoryStore) -> None:
    target = Frail()
    put_files(target, TILES[:1])
    target.steps.clear()
    planned = copy(source, target, dry_run=True)
    assert target.steps == []
    done = copy(source, target)
    assert [(p.fate, p.files, p.bytes) for p in planned] == [
        (d.fate, d.files, d.bytes) for d in done
    ]


def test_deleting_takes_the_item_first_and_nothing_else() -> None:
    store = Frail()
    put_files(store, TILES)
    other = "crop_mask_eastern/1-1-0/x210/y075/2019--P1Y/notes.txt"
    store.put(other, b"", "text/plain")
    store.put("crop_mask_eastern/collection.json", b"{}", ITEM_TYPE)
    before = contents(store)
    store.steps.clear()
    assert remove(store, find_datasets(store, EASTERN, tiles=TILES[:2])) == 16
    for tile in TILES[:2]:
        own = [key for _, key in store.steps if str(tile) in key]
        assert own[0].endswith(ITEM)
    gone = set(before) - set(contents(store))
    assert len(gone) == 16
    assert other not in gone
    assert all(str(TILES[2]) not in key for key in gone)


def test_deleting_is_resumable() -> None:
    store = Frail()
    put_files(store, TILES)
    store.steps.clear()
    store.fail_at = 5
    with pytest.raises(Interrupted):
        remove(store, find_datasets(store, EASTERN))
    assert_no_item_without_its_files(store)
    store.fail_at = None
    remove(store, find_datasets(store, EASTERN))
    assert contents(store) == {}
