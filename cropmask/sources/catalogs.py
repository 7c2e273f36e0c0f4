"""Where items are found: a STAC API, a static catalog, or a folder of items.

Each yields candidates; whether an item really is of the tile and period is decided by
its own properties, in :mod:`cropmask.sources.matching`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from cropmask.errors import Misconfigured, Reason, Rejected, doubt_address
from cropmask.grid import Tile
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import Absent, ReadOptions, find_names, load_json
from cropmask.remote.limits import SearchBudget
from cropmask.remote.threads import map_threads
from cropmask.sources.matching import StacFile, dicts_in, may_match, may_match_any
from cropmask.task import Period

_AT_ONCE: Final = 200
"""Documents of a static catalog that are in memory at the same time."""


_ROOTS: Final = ("Catalog", "Collection", "FeatureCollection")
_ADVICE: Final = "give a STAC API, a catalog.json or collection.json, or a folder of items"


class Catalog(Protocol):
    """Any place that holds STAC items."""

    address: str

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[StacFile]:
        """Items of a collection that may be of a tile, and of a period unless it is None."""
        ...


def open_catalog(address: str, options: ReadOptions) -> Catalog:
    """Catalog of an address; what it is, the document there tells.

    Parameters
    ----------
    address
        Root of a STAC API, a static catalog, collection or items' collection (path,
        http(s) or s3 address), or a folder or ``s3://`` prefix of items.
    options
        Credentials and patience.

    Raises
    ------
    Misconfigured
        If there is no catalog, or access is denied.
    Interrupted
        If it cannot be reached.
    """
    if doubt := doubt_address(address, ("s3", "http", "https", "file")):
        advice = "" if "?" in doubt else ": give a path, or an http(s):// or s3:// address"
        raise Misconfigured(f"'{address}' is no catalog{doubt}{advice}", reason=Reason.NO_CATALOG)
    address = address.removeprefix("file://")
    options = options.at(address)
    is_folder = not is_remote(address) and os.path.isdir(address)  # noqa: PTH112 (never raises)
    if is_folder or (address.startswith("s3://") and not address.endswith("json")):
        if is_folder and not any(Path(address).rglob("*.json")):
            raise Misconfigured(
                f"there is no STAC item below {address}: {_ADVICE}", reason=Reason.NO_CATALOG
            )
        return Folder(address, options)
    try:
        content = load_json(address, options)
    except Absent:
        raise Misconfigured(
            f"there is no catalog at {address}: {_ADVICE}", reason=Reason.NO_CATALOG
        ) from None
    except Rejected as error:
        raise Misconfigured(
            f"the catalog cannot be used: {error}; {_ADVICE}", reason=Reason.NO_CATALOG
        ) from None
    root = _parse_root(content, address, options)
    if is_remote(address) and _is_api(root):
        from cropmask.sources.api import StacApi  # takes a second to load, and is seldom needed

        return StacApi(address, options)
    return StaticCatalog(root, options)


def _parse_root(content: object, address: str, options: ReadOptions) -> StacFile:
    """The root of a catalog; Misconfigured if it is something else."""
    document = content if isinstance(content, dict) else {}
    root = StacFile(document, address, options.zone)
    if _is_api(root):
        return root
    if document.get("type") == "Feature":
        raise Misconfigured(
            f"{address} is one STAC item, and a map needs one of each half-year: {_ADVICE}",
            reason=Reason.NO_CATALOG,
        )
    # Catalogs before STAC 1.0 had no type.
    if document.get("type") not in _ROOTS and "stac_version" not in document:
        raise Misconfigured(f"{address} is no STAC document: {_ADVICE}", reason=Reason.NO_CATALOG)
    return root


def _is_api(root: StacFile) -> bool:
    classes = root.content.get("conformsTo")
    return any(link.get("rel") == "search" for link in root.links) or any(
        "item-search" in str(uri) for uri in (classes if isinstance(classes, list) else ())
    )


@dataclass(frozen=True, slots=True)
class _Walk:
    """What a walk through a static catalog looks for."""

    collection: str
    tiles: Container[Tile]
    period: Period | None
    passed_over: list[str] | None


class StaticCatalog:
    """JSON documents that link to each other; nothing is read that its path rules out."""

    def __init__(self, root: StacFile, options: ReadOptions) -> None:
        self.address = root.href
        self._root = root
        self._options = options

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[StacFile]:
        """Items of the documents that the root links to."""
        return self.find_all(collection, frozenset({tile}), period)

    def find_all(
        self,
        collection: str,
        tiles: Container[Tile],
        period: Period | None,
        *,
        start: Sequence[str] | None = None,
        passed_over: list[str] | None = None,
    ) -> Iterator[StacFile]:
        """The same for several tiles, in one walk: each document is read once.

        It begins at the addresses in ``start``, else at the root. Those that were not read for
        their period alone are added to ``passed_over``.
        """
        budget = SearchBudget(self._options.limits, self.address)
        walk = _Walk(collection, tiles, period, passed_over)
        seen: set[str] = set()
        # Lists of our own: a chain of catalogs may be longer than Python's.
        level = [self._root.href] if start is None else list(start)
        for depth in itertools.count():
            if not level:
                return
            budget.check_level(depth)
            following: list[str] = []
            for some in (level[i : i + _AT_ONCE] for i in range(0, len(level), _AT_ONCE)):
                for document in self._load(some, budget):
                    if document.content.get("type") in ("Feature", "FeatureCollection"):
                        yield from items_in(document, collection)
                    elif not self._is_other_collection(document, walk):
                        following += self._next(document, walk, seen)
            level = following

    def _load(self, hrefs: Sequence[str], budget: SearchBudget) -> Iterable[StacFile]:
        if hrefs == [self._root.href]:
            return [self._root]
        load = partial(load_document, options=self._options, count=budget.count_document)
        if len(hrefs) == 1 or not is_remote(hrefs[0]):
            return map(load, hrefs)
        return map_threads(load, hrefs)

    def _next(self, document: StacFile, walk: _Walk, seen: set[str]) -> Iterator[str]:
        """Addresses that a document links to, items first, that were not there before."""
        links = [link for link in document.links if link.get("rel") in ("child", "item")]
        for link in sorted(links, key=lambda link: link["rel"] == "child"):
            href = document.address_of(link["href"], f"link '{link['rel']}'")
            if href in seen:
                continue
            seen.add(href)
            if href == self._root.href or not may_match_any(href, walk.tiles, None):
                continue
            if may_match_any(href, walk.tiles, walk.period):
                yield href
            elif walk.passed_over is not None:
                walk.passed_over.append(href)

    def _is_other_collection(self, document: StacFile, walk: _Walk) -> bool:
        """Whether a collection below the root is not the one looked for."""
        return (
            document is not self._root
            and document.content.get("type") == "Collection"
            and document.content.get("id") != walk.collection
        )


class Folder:
    """A local folder or ``s3://`` prefix with items in files, linked or not."""

    def __init__(self, address: str, options: ReadOptions) -> None:
        self.address = address
        self.options = options

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[StacFile]:
        """Items in ``*.json`` files below the folder."""
        budget = SearchBudget(self.options.limits, self.address)
        for name in self.names_of(tile):
            if may_match(name, tile, period):
                budget.check_time()
                yield from items_in(load_document(name, self.options), collection)

    def names_of(self, tile: Tile) -> Sequence[str]:
        """Files that may be of a tile."""
        base = self.address.rstrip("/")
        if base.startswith("s3://"):
            # The layout of Digital Earth Africa's buckets spares a listing of the continent.
            name = str(tile)
            inside = find_names(f"{base}/{name[:4]}/{name[4:]}/", self.options, ".json")
            return inside or find_names(f"{base}/", self.options, ".json")
        return find_names(base, self.options, ".json")


def load_document(
    href: str, options: ReadOptions, count: Callable[[int], None] = lambda _bytes: None
) -> StacFile:
    """A STAC document that a catalog names.

    ``count`` is told its bytes. Raises Rejected if it does not exist, is none, or exceeds a limit.
    """
    try:
        content = load_json(href, options, count)
    except Absent:
        raise Rejected(
            f"the catalog names {href}, which does not exist", reason=Reason.BAD_DOCUMENT
        ) from None
    if not isinstance(content, dict):
        raise Rejected(f"{href} is no STAC document", reason=Reason.BAD_DOCUMENT)
    return StacFile(content, href, options.zone)


def items_in(document: StacFile, collection: str) -> Iterator[StacFile]:
    """Items of a collection in a document: itself, or the features in it."""
    several = document.content.get("type") == "FeatureCollection"
    features = dicts_in(document.content, "features") if several else (document.content,)
    for feature in features:
        item = StacFile(feature, document.href, document.zone)
        if feature.get("type") == "Feature" and item.collection in (None, collection):
            yield item
