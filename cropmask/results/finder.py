"""Where datasets are in a store, and which are there: one by its task, all by one listing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cropmask.errors import Reason, Rejected
from cropmask.grid import Tile
from cropmask.product import FAMILY, Product
from cropmask.stac.facts import (
    MULTIHASH_SHA256,
    SYNTHETIC_MARK,
    Document,
    find_assets,
    item_id,
    suffixes_of,
)
from cropmask.stac.item import ResultItem, parse_item
from cropmask.stac.links import ITEM_SUFFIX
from cropmask.store.protocol import Absent, Entry, Store
from cropmask.task import Period, Task

_BELOW: Final = re.compile(r"(?P<x>x\d{3})/(?P<y>y\d{3})/(?P<period>[^/]+)/(?P<name>[^/]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the dataset of a task is in a store."""

    folder: str
    item: str
    """Key of the item."""

    def key(self, name: str) -> str:
        """Key of a file of the dataset."""
        return f"{self.folder}/{name}"


def key_beside(item_key: str, suffix: str) -> str:
    """Key of a file whose name differs from its item's in the end only, such as ``_mask.tif``."""
    return f"{item_key.removesuffix(ITEM_SUFFIX)}{suffix}"


def make_place(product: Product, task: Task) -> Place:
    """Keys of the dataset of a task."""
    tile, period = str(task.tile), str(task.period)
    folder = product.dataset_folder(tile, period)
    return Place(folder, f"{folder}/{product.item_name(tile, period)}")


def find_item(store: Store, place: Place) -> ResultItem | None:
    """Item of a finished dataset; None if there is none.

    Raises Rejected if what is there is no item of ours.
    """
    try:
        text = store.get(place.item)
    except Absent:
        return None
    item = parse_item(place.item, text)
    if item is None:
        raise Rejected(
            f"{store.uri(place.item)} is not an item of ours: remove it, or make it anew with "
            "--overwrite",
            reason=Reason.BAD_ITEM,
        )
    return item


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files of one tile and period, finished or not."""

    product: Product
    tile: Tile
    period: str
    entries: Mapping[str, Entry]
    """By file name, without the folder: those that a dataset has."""
    strays: tuple[str, ...] = ()
    """Keys of other files in its folder."""

    @property
    def file_names(self) -> dict[str, str]:
        """Names of its files by asset key, there or not; the item's is not among them.

        Those of extra bands are named where they are there.
        """
        names = _file_names(self.product, self.tile, self.period)
        always = find_assets(self.product.bands())
        return {
            asset: name for asset, name in names.items() if asset in always or name in self.entries
        }

    def names_of(self, item: ResultItem) -> dict[str, str]:
        """Names of the files that its item must have, by asset key."""
        names = _file_names(self.product, self.tile, self.period)
        return {asset: names[asset] for asset in find_assets(self.product.bands(item.bands))}

    @property
    def item_name(self) -> str:
        """Name of the item, there or not."""
        return self.product.item_name(str(self.tile), self.period)

    @property
    def item_key(self) -> str:
        """Key of the item, there or not."""
        folder = self.product.dataset_folder(str(self.tile), self.period)
        return f"{folder}/{self.item_name}"

    @property
    def is_finished(self) -> bool:
        """Whether the item is there."""
        return self.item_name in self.entries

    @property
    def item_first(self) -> tuple[Entry, ...]:
        """Files in the order in which they are deleted; reversed, that in which they are put."""
        item = self.item_name
        return tuple(
            sorted(
                self.entries.values(), key=lambda entry: (not entry.key.endswith(item), entry.key)
            )
        )

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(entry.size for entry in self.entries.values())


def _file_names(product: Product, tile: Tile, period: str) -> dict[str, str]:
    return {
        asset: product.file_name(str(tile), period, suffix)
        for asset, suffix in suffixes_of(product).items()
    }


def find_products(store: Store, family: str = FAMILY) -> tuple[Product, ...]:
    """Products of a family in their versions that have a folder in a store, sorted."""
    names = [name for name in store.folders("") if name.startswith(f"{family}_")]
    found = [
        Product(name.removeprefix(f"{family}_"), version.replace("-", "."), family)
        for name in names
        for version in store.folders(f"{name}/")
        if re.fullmatch(r"\d+-\d+-\d+", version)
    ]
    return tuple(sorted(found, key=lambda product: (product.name, product.version)))


def find_datasets(
    store: Store,
    product: Product,
    period: str | None = None,
    tiles: Iterable[Tile] | None = None,
) -> tuple[Dataset, ...]:
    """Datasets of a product, sorted by tile and period; of all periods and tiles by default.

    A few tiles are looked up one by one, else there is one listing.
    """
    wanted = None if tiles is None else set(tiles)
    root = f"{product.folder}/"
    prefixes = [root]
    if wanted is not None and len(wanted) <= 20:
        prefixes = [f"{root}{str(tile)[:4]}/{str(tile)[4:]}/" for tile in sorted(wanted)]
    found: dict[tuple[Tile, str], list[Entry]] = {}
    for prefix in prefixes:
        for entry in store.list(prefix):
            place = _parse(entry.key.removeprefix(root))
            if place is None or (period is not None and place[1] != period):
                continue
            if wanted is None or place[0] in wanted:
                found.setdefault(place, []).append(entry)
    return tuple(_dataset(product, *place, entries) for place, entries in sorted(found.items()))


def find_finished(
    store: Store,
    product: Product,
    period: str | None = None,
    tiles: Iterable[Tile] | None = None,
) -> tuple[Dataset, ...]:
    """Those of :func:`find_datasets` that are finished."""
    found = find_datasets(store, product, period, tiles)
    return tuple(dataset for dataset in found if dataset.is_finished)


def _parse(below: str) -> tuple[Tile, str] | None:
    match = _BELOW.fullmatch(below)
    if match is None:
        return None
    try:
        place = Tile.parse(match["x"] + match["y"]), str(Period.of_task(match["period"]))
    except Rejected:
        return None
    return place if place[1] == match["period"] else None


def _dataset(product: Product, tile: Tile, period: str, entries: list[Entry]) -> Dataset:
    known = {*_file_names(product, tile, period).values(), product.item_name(str(tile), period)}
    named = {entry.key.rpartition("/")[2]: entry for entry in entries}
    return Dataset(
        product,
        tile,
        period,
        {name: entry for name, entry in named.items() if name in known},
        tuple(sorted(entry.key for name, entry in named.items() if name not in known)),
    )


def find_json(store: Store, key: str) -> Document:
    """JSON object in a file of a store; empty if there is none, or it is something else."""
    try:
        found = json.loads(store.get(key))
    except (Absent, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def find_collection(store: Store, name: str) -> Document | None:
    """Collection of a product by its name; None if there is none, or it is something else."""
    collection = find_json(store, f"{name}/collection.json")
    return collection if isinstance(collection.get("title"), str) else None


def is_synthetic(collection: Document | None) -> bool:
    """Whether a collection says that its product shows the made-up world."""
    return collection is not None and str(collection["title"]).startswith(SYNTHETIC_MARK)


def check_item(item: ResultItem, dataset: Dataset) -> tuple[str, ...]:
    """What an item says that the files of its dataset do not confirm; empty if nothing."""
    problems = []
    if item.id != item_id(dataset.product, dataset.tile, Period.parse(dataset.period)):
        problems.append(f"the item is that of another dataset: {item.id}")
    for asset, name in dataset.names_of(item).items():
        said = item.assets.get(asset)
        if said is None:
            problems.append(f"the item has no asset '{asset}'")
        elif said["href"].rpartition("/")[2] != name:
            problems.append(f"asset '{asset}' leads to {said['href']}, not to {name}")
        elif name not in dataset.entries:
            problems.append(f"{name} is missing")
        elif said.get("file:size") != dataset.entries[name].size:
            there = dataset.entries[name].size
            problems.append(f"{name} has {there} bytes, the item says {said.get('file:size')}")
    return tuple(problems)


def has_checksum(asset: Mapping[str, Any], data: bytes) -> bool:
    """Whether a file is what an asset of an item says, by its SHA-256."""
    return asset.get("file:checksum") == f"{MULTIHASH_SHA256}{sha256(data).hexdigest()}"
