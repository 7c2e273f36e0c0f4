"""All items of a store in one look: listed each time, read only when new or changed.

What was read is kept beside the results, one compressed file per product, with the entity tag of
every item. It is a cache: when it is lost, all items are read again.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from cropmask.machine.stages import ShareDone
from cropmask.product import FAMILY
from cropmask.stac.gathered import Linked
from cropmask.store.protocol import Absent, Entry, Store

FOLDER: Final = "_catalog"
"""Folder of the cache in a store of results."""
ITEM_KEY: Final = re.compile(
    rf"({FAMILY}_[a-z0-9_]+)/[0-9-]+/x\d{{3}}/y\d{{3}}/[^/]+/[^/]+\.stac-item\.json"
)
_THREADS: Final = 16
_GZIP: Final = "application/gzip"


@dataclass(frozen=True, slots=True)
class Known:
    """An item as it was when it had this entity tag."""

    tag: str
    item: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mirror:
    """The items of a store."""

    products: Mapping[str, tuple[Linked, ...]]
    """Items by product, sorted by key."""
    read: int
    """Items that were read now."""
    unusable: tuple[str, ...]
    """Keys of files in the place of items that are none."""
    tags: Mapping[str, str] = field(repr=False)
    """Entity tag of every item."""

    def all(self) -> Iterator[Linked]:
        """Items of all products."""
        for found in self.products.values():
            yield from found

    def save(self, store: Store) -> None:
        """Keep what was read, for the next time."""
        if not self.read:
            return
        for product, found in self.products.items():
            lines = (
                json.dumps({"key": each.key, "tag": self.tags[each.key], "item": each.item})
                for each in found
                if each.key in self.tags
            )
            # Without a time in it, equal items are equal bytes.
            data = gzip.compress("\n".join(lines).encode(), compresslevel=6, mtime=0)
            store.put(f"{FOLDER}/{product}.jsonl.gz", data, _GZIP)


def load_items(
    store: Store,
    before: Mirror | None = None,
    progress: ShareDone = lambda _: None,
) -> Mirror:
    """Items of all products of a store.

    Parameters
    ----------
    store
        The results; workers may be writing to it.
    before
        What was found earlier; else the cache beside the results is used.
    progress
        Told the share that is read.

    Raises
    ------
    Misconfigured
        If the store refuses.
    Interrupted
        If it fails.
    """
    entries = [entry for entry in store.list(f"{FAMILY}_") if ITEM_KEY.fullmatch(entry.key)]
    known = _known_before(before) if before else _load_cache(store, entries)
    fresh = [entry for entry in entries if _is_new(entry, known)]
    found = {e.key: known[e.key].item for e in entries if not _is_new(e, known)}
    unusable = []
    for key, item in _read_all(store, fresh, progress):
        if item is None:
            unusable.append(key)
        elif item:
            found[key] = item
    products: dict[str, list[Linked]] = {}
    for key in sorted(found):
        products.setdefault(product_of(key), []).append(Linked(key, found[key]))
    return Mirror(
        products={product: tuple(items) for product, items in sorted(products.items())},
        read=len(fresh),
        unusable=tuple(sorted(unusable)),
        tags={entry.key: entry.etag for entry in entries if entry.key in found},
    )


def product_of(key: str) -> str:
    """Product that a key of an item belongs to."""
    return key.partition("/")[0]


def load_linked(store: Store, key: str) -> Linked | None:
    """One item; None if it is gone or is none."""
    item = _read(store, key)
    return Linked(key, item) if item else None


def _is_new(entry: Entry, known: Mapping[str, Known]) -> bool:
    return entry.key not in known or known[entry.key].tag != entry.etag


def _known_before(mirror: Mirror) -> dict[str, Known]:
    return {each.key: Known(mirror.tags[each.key], each.item) for each in mirror.all()}


def _load_cache(store: Store, entries: Iterable[Entry]) -> dict[str, Known]:
    known: dict[str, Known] = {}
    for product in sorted({product_of(entry.key) for entry in entries}):
        known |= _load_known(store, product)
    return known


def _load_known(store: Store, product: str) -> dict[str, Known]:
    try:
        lines = gzip.decompress(store.get(f"{FOLDER}/{product}.jsonl.gz")).decode().splitlines()
        documents = [json.loads(line) for line in lines]
        return {
            doc["key"]: Known(str(doc["tag"]), doc["item"])
            for doc in documents
            if _is_item(doc["item"])
        }
    except Absent:
        return {}
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return {}  # a damaged cache is no cache


def _read_all(
    store: Store, entries: Iterable[Entry], progress: ShareDone
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    keys = [entry.key for entry in entries]
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, (key, item) in enumerate(
            zip(keys, pool.map(lambda key: _read(store, key), keys), strict=True)
        ):
            progress(done / len(keys))
            yield key, item


def _read(store: Store, key: str) -> dict[str, Any] | None:
    """The item of a key; empty if it has gone, None if it is no item of ours."""
    try:
        item = json.loads(store.get(key))
    except Absent:
        return {}
    except (ValueError, RecursionError):
        return None
    return item if _is_item(item) else None


_FIELDS: Final = {
    "start_datetime": str,
    "end_datetime": str,
    "version": str,
    "gsd": int,
    "odc:region_code": str,
    "cropmask:synthetic": bool,
    "cropmask:resolution": int,
    "cropmask:statistics": dict,
    "cropmask:model": dict,
}
"""Properties that the catalog is made from, and their types."""


def _is_item(item: Any) -> bool:  # noqa: ANN401 (any JSON value)
    if not isinstance(item, dict) or item.get("type") != "Feature":
        return False
    properties, box = item.get("properties"), item.get("bbox")
    return (
        isinstance(properties, dict)
        and isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, int | float) for value in box)
        and isinstance(item.get("assets"), dict)
        and isinstance(item.get("links"), list)
        and all(type(properties.get(name)) is kind for name, kind in _FIELDS.items())
    )
