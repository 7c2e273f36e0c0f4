"""Results copied from one store to another, and deleted: the item last, and first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cropmask.errors import CropmaskError
from cropmask.machine.stages import CountDone
from cropmask.product import Product
from cropmask.remote.threads import map_threads
from cropmask.results.finder import (
    Dataset,
    check_item,
    find_collection,
    find_datasets,
    has_checksum,
    is_synthetic,
)
from cropmask.results.publish import put_catalogs
from cropmask.stac.item import parse_item
from cropmask.stac.links import ITEM_TYPE, media_type
from cropmask.store.protocol import Absent, Store


class CopyState(StrEnum):
    """What copying does, or did, with a dataset."""

    SAME = "same"
    """It is there already, with the same item and files of the same sizes."""
    COPIED = "copied"
    UNFINISHED = "unfinished"
    """It has no item yet: left for the next time."""
    OTHER = "other"
    """Another result is in its place, and may not be replaced."""
    DAMAGED = "damaged"
    """Its item and its files do not agree, or changed meanwhile: nothing was published."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What became of one dataset."""

    dataset: Dataset
    fate: CopyState
    files: int = 0
    """Files that were written, or would be."""
    bytes: int = 0
    note: str = ""


def sync(
    source: Store,
    target: Store,
    product: Product,
    datasets: Sequence[Dataset],
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: CountDone = lambda _done, _all: None,
) -> list[CopyResult]:
    """Copy datasets so that the target never has an item whose files are not there.

    Only finished datasets are copied. A file that the target has with the size and checksum that
    the item says is not copied again, so an interrupted copy goes on where it stopped; every
    other is compared with its checksum before it is written. Before another result is replaced
    (``overwrite``), all files are compared: a damaged source leaves the target as it is.
    """
    tiles = {dataset.tile for dataset in datasets}
    there = {(d.tile, d.period): d for d in find_datasets(target, product, tiles=tiles)}

    def copy(dataset: Dataset) -> CopyResult:
        known = there.get((dataset.tile, dataset.period))
        step = _Copy(source, target, dataset, known, overwrite=overwrite, dry_run=dry_run)
        return step.run()

    results = map_threads(copy, datasets, progress)
    if not dry_run and any(found.fate is CopyState.COPIED for found in results):
        _copy_catalogs(source, target, product)
    return results


@dataclass(frozen=True, slots=True)
class _Copy:
    """One dataset on its way."""

    source: Store
    target: Store
    dataset: Dataset
    known: Dataset | None
    """The same dataset as the target has it."""
    overwrite: bool
    dry_run: bool

    def run(self) -> CopyResult:
        """Copy it, if it is to be copied."""
        if not self.dataset.is_finished:
            return CopyResult(self.dataset, CopyState.UNFINISHED)
        try:
            text = self.source.get(self.dataset.item_key)
            item = parse_item(self.dataset.item_key, text)
            problems = check_item(item, self.dataset) if item else ("the item is damaged",)
            if item is None or problems:
                return self._damaged("; ".join(problems))
            return self._run(text, item.assets, self.dataset.names_of(item))
        except (Absent, _Changed) as error:
            return self._damaged(f"it changed meanwhile: {error}")

    def _damaged(self, note: str) -> CopyResult:
        return CopyResult(self.dataset, CopyState.DAMAGED, note=note)

    def _run(self, text: bytes, assets: Mapping[str, Any], names: Mapping[str, str]) -> CopyResult:
        have = self.known.entries if self.known else {}
        if self.known is not None and self.known.is_finished:
            sizes = {name: assets[asset]["file:size"] for asset, name in names.items()}
            is_same = self.target.get(self.dataset.item_key) == text
            if is_same and all(name in have and have[name].size == sizes[name] for name in sizes):
                return CopyResult(self.dataset, CopyState.SAME)
            if not is_same and not self.overwrite:
                return CopyResult(
                    self.dataset, CopyState.OTHER, note="use --overwrite to replace it"
                )
            if not self.dry_run:
                self._verify(assets, names)  # what is there stays, unless all of the other can come
                self.target.remove(self.dataset.item_key)
        written = [name for asset, name in names.items() if self._put(name, assets[asset])]
        size = sum(self.dataset.entries[name].size for name in written) + len(text)
        if not self.dry_run and not self.target.put_if_absent(
            self.dataset.item_key, text, ITEM_TYPE
        ):
            return self._damaged("another writer put an item there meanwhile")
        return CopyResult(self.dataset, CopyState.COPIED, len(written) + 1, size)

    def _verify(self, assets: Mapping[str, Any], names: Mapping[str, str]) -> None:
        for asset, name in names.items():
            self._load(name, assets[asset])

    def _load(self, name: str, asset: Mapping[str, Any]) -> bytes:
        data = self.source.get(self.dataset.entries[name].key)
        if not has_checksum(asset, data):
            raise _Changed(f"{name} has another checksum than its item says")
        return data

    def _put(self, name: str, asset: Mapping[str, Any]) -> bool:
        """Copy a file unless the target has it; whether it was copied, or would be."""
        here = self.dataset.entries[name]
        there = self.known.entries.get(name) if self.known else None
        is_like = there is not None and there.size == here.size
        if is_like and has_checksum(asset, self.target.get(here.key)):
            return False
        if self.dry_run:
            return True
        self.target.put(here.key, self._load(name, asset), media_type(name))
        return True


class _Changed(CropmaskError):
    """A file is not what its item says."""


def _copy_catalogs(source: Store, target: Store, product: Product) -> None:
    """Collection and root catalog that the copied items link to, where they are not yet."""
    collection = find_collection(source, product.name)
    if collection is not None:  # else 'cropmask catalog build' makes it
        put_catalogs(target, collection, synthetic=is_synthetic(collection))


def remove(
    store: Store,
    datasets: Iterable[Dataset],
    progress: CountDone = lambda _done, _all: None,
) -> int:
    """Delete datasets, each item first so that it never leads to nothing; count the files."""

    def delete(dataset: Dataset) -> int:
        for entry in dataset.item_first:
            store.remove(entry.key)
        return len(dataset.entries)

    return sum(map_threads(delete, list(datasets), progress))
