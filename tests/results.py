"""Made-up results for tests: whole datasets with an item, quickly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cropmask.core.cropmap import CropMap, Statistics
from cropmask.grid import Tile
from cropmask.product import Product
from cropmask.results.finder import make_place
from cropmask.results.publish import put_dataset
from cropmask.stac.collection import make_collection
from cropmask.stac.facts import (
    FileFacts,
    ItemFacts,
    ModelFacts,
    Source,
    encode_json,
    find_assets,
)
from cropmask.stac.item import make_item
from cropmask.stac.links import ITEM_TYPE
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.task import Period, RunKey, Task
from tests.worlds import TILE, World

EASTERN = Product("eastern", "1.1.0")
YEAR = Period.parse("2019")
COLLECTION = make_collection("Eastern Africa", EASTERN, (28.0, -12.0, 52.0, 18.0))


def make_facts(tile: Tile, product: Product = EASTERN, **more: Any) -> ItemFacts:
    words = {
        "product": product,
        "tile": tile,
        "period": YEAR,
        "resolution": 100,
        "run_key": RunKey("a" * 64),
        "as_of": "2021-06-15T05:00:00Z",
        "software": "0.1.0",
        "model": ModelFacts("forest", "0" * 64),
        "sources": (),
        "statistics": Statistics(1.0, 1.0, 1.0, 50.0, *([0.0] * 7)),
    }
    return ItemFacts(**{**words, **more})


def put_files(store: Store, tiles: Iterable[Tile], product: Product = EASTERN, **more: Any) -> None:
    """Datasets whose files hold a few letters; items are true about them."""
    for tile in tiles:
        put_facts(store, make_facts(tile, product, **more))


def put_facts(store: Store, facts: ItemFacts, *, item_only: bool = False) -> None:
    """One such dataset, or its item alone."""
    place = make_place(facts.product, Task(facts.tile, facts.product.region, facts.period))
    files = {}
    for asset in find_assets(facts.data_bands):
        data = f"{asset} of {facts.tile}".encode()
        name = facts.file_name(asset)
        if not item_only:
            store.put(place.key(name), data, "text/plain")
        files[asset] = FileFacts(
            name, len(data), hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest()
        )
    store.put(place.item, encode_json(make_item(facts, files)).encode(), ITEM_TYPE)


@cache
def made_up_map(seed: int = 0) -> CropMap:
    """960 x 960 pixels: rectangles of crop, a nodata edge in the west, probabilities."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 101, (24, 24)).astype(np.uint8)
    prob = coarse.repeat(40, axis=0).repeat(40, axis=1)
    prob[:, :96] = 255
    mask = np.where(prob == 255, 255, prob > 50).astype(np.uint8)
    return CropMap(mask, prob, mask)


def put_result(store: Store, tile: Tile, product: Product = EASTERN, seed: int = 0) -> None:
    """A dataset of real rasters at 100 m."""
    place = make_place(product, Task(tile, product.region, YEAR))
    put_dataset(store, place, make_facts(tile, product), made_up_map(seed), COLLECTION)


def put_derived_result(
    folder: Path, world: World, tile: Tile = TILE, product: Product = EASTERN
) -> Path:
    """A dataset of real rasters that says it is derived from a world; the file of its item."""
    sources = tuple(Source(path.name, str(path), path.name) for path in world.items)
    place = make_place(product, Task(tile, product.region, YEAR))
    facts = make_facts(tile, product, sources=sources)
    put_dataset(FolderStore(folder), place, facts, made_up_map(), COLLECTION)
    return folder / place.item
