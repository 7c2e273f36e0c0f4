"""All items of a store: listed each time, read only when they are new or have changed.

What was read is kept beside the results, one compressed file per product, with the entity tag of
every item. It is a cache: when it is lost, all items are read again.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

from cropmask.machine.stages import ShareDone
from cropmask.product import FAMILIES
from cropmask.stac.item import ResultItem, parse_item, recognize_item
from cropmask.stac.links import MAX_DOCUMENT_BYTES
from cropmask.store.protocol import Absent, Store

CACHE_FOLDER: Final = "_catalog"
"""Folder of the cache in a store of results."""
ITEM_KEY: Final = re.compile(
    rf"((?:{'|'.join(FAMILIES)})_[a-z0-9_]+)/[0-9-]+/x\d{{3}}/y\d{{3}}/[^/]+/[^/]+\.stac-item\.json"
)
_THREADS: Final = 16
_CACHE_BYTES: Final = 1 << 30
"""Size of a product's cache when it is unpacked; 100 000 items have less."""
_GZIP: Final = "application/gzip"


@dataclass(frozen=True, slots=True)
class StoredItems:
    """The items of a store."""

    products: Mapping[str, tuple[ResultItem, ...]]
    """Items by product, sorted by key."""
    read: int
    """Items that were read now."""
    unusable: tuple[str, ...]
    """Keys of files in the place of items that are none."""
    tags: Mapping[str, str] = field(repr=False)
    """Entity tag of every item."""

    def all(self) -> Iterator[ResultItem]:
        """Items of all products."""
        for items in self.products.values():
            yield from items

    def save(self, store: Store) -> None:
        """Keep what was read, for the next time."""
        if not self.read:
            return
        for product, items in self.products.items():
            lines = (
                json.dumps({"key": item.key, "tag": self.tags[item.key], "item": item.document})
                for item in items
            )
            # Without a time in it, equal items are equal bytes.
            data = gzip.compress("\n".join(lines).encode(), compresslevel=6, mtime=0)
            store.put(f"{CACHE_FOLDER}/{product}.jsonl.gz", data, _GZIP)


_Tagged = dict[str, tuple[str, ResultItem]]
"""Entity tag and item, by key."""


def load_items(
    store: Store,
    before: StoredItems | None = None,
    progress: ShareDone = lambda _: None,
) -> StoredItems:
    """Items of all products of a store that workers may be writing to.

    ``before`` is what was found earlier; else the cache beside the results is used.
    """
    entries = [
        entry
        for family in FAMILIES
        for entry in store.list(f"{family}_")
        if ITEM_KEY.fullmatch(entry.key)
    ]
    known: _Tagged = {}
    if before is not None:
        known = {item.key: (before.tags[item.key], item) for item in before.all()}
    else:
        for product in sorted({entry.key.partition("/")[0] for entry in entries}):
            known |= _load_cache(store, product)
    items: dict[str, ResultItem] = {}
    fresh: list[str] = []
    unusable = [entry.key for entry in entries if entry.size > MAX_DOCUMENT_BYTES]
    for entry in (found for found in entries if found.size <= MAX_DOCUMENT_BYTES):
        tag, item = known.get(entry.key, (None, None))
        if item is not None and tag == entry.etag:
            items[entry.key] = item
        else:
            fresh.append(entry.key)
    for key, text in _read_all(store, fresh, progress):
        item = parse_item(key, text)
        if item is not None:
            items[key] = item
        else:
            unusable.append(key)
    products: dict[str, list[ResultItem]] = {}
    for key in sorted(items):
        products.setdefault(items[key].product, []).append(items[key])
    return StoredItems(
        products={product: tuple(found) for product, found in sorted(products.items())},
        read=len(fresh),
        unusable=tuple(sorted(unusable)),
        tags={entry.key: entry.etag for entry in entries if entry.key in items},
    )


def load_item(store: Store, key: str) -> ResultItem | None:
    """One item; None if it is gone or is none of ours."""
    text = _read(store, key)
    return None if text is None else parse_item(key, text)


def _load_cache(store: Store, product: str) -> _Tagged:
    known: _Tagged = {}
    try:
        data = store.get(f"{CACHE_FOLDER}/{product}.jsonl.gz")
        with gzip.open(BytesIO(data)) as lines:
            while line := lines.readline(MAX_DOCUMENT_BYTES):
                document = json.loads(line)
                item = recognize_item(document["key"], document["item"])
                if item is not None:
                    known[item.key] = (str(document["tag"]), item)
                if lines.tell() > _CACHE_BYTES:
                    return {}
    except (Absent, OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError):
        return {}  # a damaged cache is no cache
    return known


def _read_all(store: Store, keys: list[str], progress: ShareDone) -> Iterator[tuple[str, bytes]]:
    """Texts of items; one that has gone meanwhile is left out."""
    with ThreadPoolExecutor(_THREADS) as pool:
        texts = pool.map(lambda key: _read(store, key), keys)
        for done, (key, text) in enumerate(zip(keys, texts, strict=True)):
            progress(done / len(keys))
            if text is not None:
                yield key, text


def _read(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except Absent:
        return None
