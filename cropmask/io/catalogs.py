"""Where items are found: a STAC API, a static catalog, or a folder of items.

Each yields candidates; whether an item really is of the tile and period is decided by
its own properties, in :mod:`cropmask.io.items`.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Protocol

import pystac_client
import requests
from pyproj import Transformer
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from shapely.geometry import Point, mapping

from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.grid import CRS, Tile
from cropmask.io.fetch import (
    Absent,
    ReadOptions,
    find_names,
    is_remote,
    load_json,
    refuse,
    resolve,
    retry_policy,
)
from cropmask.io.items import Document, dicts_in, may_match, may_match_any
from cropmask.io.threads import map_threads
from cropmask.task import Period

_PAGE: Final = 100
_AT_ONCE: Final = 200
"""Documents of a static catalog that are in memory at the same time."""

# Servers that take a search by POST do not always say so.
warnings.filterwarnings("ignore", category=PystacClientWarning, module=__name__)


class Catalog(Protocol):
    """Any place that holds STAC items."""

    address: str

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[Document]:
        """Items of a collection that may be of a tile, and of a period unless it is None."""
        ...


def open_catalog(address: str, options: ReadOptions) -> Catalog:
    """Catalog of an address; what it is, the document there tells.

    Parameters
    ----------
    address
        Root of a STAC API, a static catalog, collection, item or items' collection (path,
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
    address = address.removeprefix("file://")
    is_folder = not is_remote(address) and os.path.isdir(address)  # noqa: PTH112 (never raises)
    if is_folder or (address.startswith("s3://") and not address.endswith("json")):
        return Folder(address, options)
    try:
        content = load_json(address, options)
    except Absent:
        raise Misconfigured(
            f"there is no catalog at {address}: give a STAC API, a catalog.json or collection.json,"
            " or a folder of items",
            reason="no catalog",
        ) from None
    except (Misconfigured, Interrupted):
        raise
    except Rejected as error:
        raise Misconfigured(f"the catalog {error}", reason="no catalog") from None
    if not isinstance(content, dict):
        raise Misconfigured(f"{address} is no STAC document", reason="no catalog")
    root = Document(content, address)
    if is_remote(address) and _is_api(root):
        return StacApi(address, options)
    return StaticCatalog(root, options)


def _is_api(root: Document) -> bool:
    classes = root.content.get("conformsTo")
    return any(link.get("rel") == "search" for link in root.links) or any(
        "item-search" in str(uri) for uri in (classes if isinstance(classes, list) else ())
    )


class _Io(StacApiIO):
    """Explorer writes a bare NaN, which only the standard library's reader takes."""

    def json_loads(self, txt: str, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        loaded: dict[str, Any] = json.loads(txt, *args, **kwargs)
        return loaded


class StacApi:
    """A STAC API, asked in the dialect that every server speaks: place, time, collection."""

    def __init__(self, address: str, options: ReadOptions) -> None:
        self.address = address
        self._options = options
        self._own = threading.local()

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[Document]:
        """Items over the tile's center; if there are none, over its box, neighbors included."""
        over_center = self._search(collection, period, intersects=_center(tile))
        if over_center:
            yield from over_center
        else:
            yield from self._search(collection, period, bbox=_bbox(tile))

    def _search(self, collection: str, period: Period | None, **where: Any) -> list[Document]:  # noqa: ANN401
        try:
            found = self._client().search(
                collections=[collection],
                datetime="/".join(period.interval) if period else None,
                limit=_PAGE,
                **where,
            )
            items = list(found.items_as_dicts())
        except APIError as error:
            if error.status_code:
                self._refuse(error.status_code, str(error))
            raise self._unreachable(error) from error
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        except ValueError as error:
            raise self._unreachable(error) from error
        documents = [Document(item, self.address) for item in items if isinstance(item, dict)]
        return [Document(it.content, _self_link(it) or self.address) for it in documents]

    def _client(self) -> pystac_client.Client:
        """Client of this thread: sessions are not made to be shared."""
        if not hasattr(self._own, "client"):
            patience = retry_policy(self._options)
            io = _Io(timeout=self._options.timeout_seconds, max_retries=patience)
            self._own.client = pystac_client.Client.open(self.address, stac_io=io)
        client: pystac_client.Client = self._own.client
        return client

    def _refuse(self, status: int, text: str) -> None:
        if status == 400:
            raise Misconfigured(
                f"the STAC API {self.address} refuses our search: {text[:200]}",
                reason="search refused",
            )
        if status == 404:
            raise Misconfigured(
                f"the STAC API {self.address} has no search: check the address",
                reason="no catalog",
            )
        refuse(str(status), self.address)

    def _unreachable(self, error: Exception) -> Interrupted:
        return Interrupted(
            f"the STAC API {self.address} cannot be reached ({type(error).__name__}): "
            "check the address, or try again later",
            reason="unreachable",
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

    def __init__(self, root: Document, options: ReadOptions) -> None:
        self.address = root.href
        self._root = root
        self._options = options

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[Document]:
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
    ) -> Iterator[Document]:
        """The same for several tiles, in one walk: each document is read once.

        It begins at the addresses in ``start``, else at the root. Those that were not read for
        their period alone are added to ``passed_over``.
        """
        walk = _Walk(collection, tiles, period, passed_over)
        seen: set[str] = set()
        # A list of our own: a chain of catalogs may be longer than Python's.
        waiting = [self._root.href] if start is None else list(start)
        while waiting:
            some, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            for document in self._load(some):
                if document.content.get("type") in ("Feature", "FeatureCollection"):
                    yield from items_in(document, collection)
                elif not self._is_other_collection(document, walk):
                    waiting += self._next(document, walk, seen)

    def _load(self, hrefs: Sequence[str]) -> list[Document]:
        if hrefs == [self._root.href]:
            return [self._root]
        if len(hrefs) == 1 or not is_remote(hrefs[0]):
            return [load_document(href, self._options) for href in hrefs]
        load = partial(load_document, options=self._options)
        return map_threads(load, hrefs)

    def _next(self, document: Document, walk: _Walk, seen: set[str]) -> Iterator[str]:
        """Addresses that a document links to, items first, that were not there before."""
        links = [link for link in document.links if link.get("rel") in ("child", "item")]
        for link in sorted(links, key=lambda link: link["rel"] == "child"):
            href = resolve(document.href, link["href"])
            if href in seen:
                continue
            seen.add(href)
            if href == self._root.href or not may_match_any(href, walk.tiles, None):
                continue
            if may_match_any(href, walk.tiles, walk.period):
                yield href
            elif walk.passed_over is not None:
                walk.passed_over.append(href)

    def _is_other_collection(self, document: Document, walk: _Walk) -> bool:
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

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[Document]:
        """Items in ``*.json`` files below the folder."""
        for name in self.names_of(tile):
            if may_match(name, tile, period):
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


def load_document(href: str, options: ReadOptions) -> Document:
    """A STAC document that a catalog names.

    Raises
    ------
    Rejected
        If it does not exist, or is none.
    Misconfigured, Interrupted
        As :func:`~cropmask.io.fetch.load_bytes`.
    """
    try:
        content = load_json(href, options)
    except Absent:
        raise Rejected(
            f"the catalog names {href}, which does not exist", reason="bad document"
        ) from None
    if not isinstance(content, dict):
        raise Rejected(f"{href} is no STAC document", reason="bad document")
    return Document(content, href)


def items_in(document: Document, collection: str) -> Iterator[Document]:
    """Items of a collection in a document: itself, or the features in it."""
    several = document.content.get("type") == "FeatureCollection"
    features = dicts_in(document.content, "features") if several else (document.content,)
    for feature in features:
        item = Document(feature, document.href)
        if feature.get("type") == "Feature" and item.collection in (None, collection):
            yield item


def _self_link(item: Document) -> str | None:
    return next((str(link["href"]) for link in item.links if link.get("rel") == "self"), None)


@lru_cache(maxsize=1)
def _to_degrees() -> Transformer:
    return Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)


def _center(tile: Tile) -> dict[str, Any]:
    left, bottom, right, top = tile.bounds
    point = Point(_to_degrees().transform((left + right) / 2, (bottom + top) / 2))
    return dict(mapping(point))


def _bbox(tile: Tile) -> list[float]:
    left, bottom, right, top = tile.bounds
    west, south = _to_degrees().transform(left, bottom)
    east, north = _to_degrees().transform(right, top)
    return [west, south, east, north]
