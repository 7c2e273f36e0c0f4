"""The documents of a STAC API, made from the catalog of results."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

from cropmask.catalog.documents import find_stac
from cropmask.catalog.search import Index, Page, Query, can_be_searched
from cropmask.catalog.static import CHILD
from cropmask.contract import VERSION
from cropmask.product import MODELS
from cropmask.results.itemcache import StoredItems, load_items
from cropmask.stac.assets import STAC_VERSION
from cropmask.stac.collection import ROOT_KEY
from cropmask.stac.facts import Document
from cropmask.stac.links import (
    ITEM_TYPE,
    is_local_href,
    is_web_href,
    key_of_href,
    make_absolute,
    make_link,
)
from cropmask.store.folder import confine
from cropmask.store.protocol import Store

AssetPlaces = Literal["place", "server"]
"""Whether assets are named where they are, or on this server."""

REFRESH_SECONDS: Final = 10.0
"""How old the index may be when it is asked."""
FILES_PATH: Final = "/files/"
"""Where this server has the catalog's files."""
CONFORMS: Final = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",
)
OPENAPI_TYPE: Final = "application/vnd.oai.openapi+json;version=3.0"
_OWN: Final = frozenset({"self", "root", "parent", "collection", "item", "child", "items"})
"""Relations whose links are replaced by those of this server."""


class Api:
    """A STAC API on a store of results; links out of a folder are not followed.

    The index is made anew when it is asked and older than ten seconds, so that results appear while
    workers write them; items that have not changed are not read again. ``assets`` says whether
    files are named on this server, for readers anywhere, or where they are (``file://``,
    ``s3://``), which is what an index of the Open Data Cube must keep.
    """

    def __init__(
        self,
        store: Store,
        *,
        assets: AssetPlaces = "server",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = confine(store)
        self._assets = assets
        self._clock = clock
        self._lock = threading.Lock()
        self._made: float | None = None
        self._stored: StoredItems | None = None
        self._keys: dict[tuple[str, str], str] = {}
        self._root: Document = {}
        self._index = Index((), ())

    def index(self) -> Index:
        """What is there now."""
        with self._lock:
            now = self._clock()
            if self._made is None or now - self._made > REFRESH_SECONDS:
                self._load()
                self._made = now
            return self._index

    def _load(self) -> None:
        self._stored = load_items(self._store, self._stored)
        found = [(item.key, item.document) for item in self._stored.all()]
        root = find_stac(self._store, ROOT_KEY) or {}
        names = sorted({*self._stored.products, *_linked_products(root)})
        places = {name: f"{name}/collection.json" for name in (*names, MODELS)}
        # What is damaged is left out; 'cropmask catalog check' names it.
        loaded = {name: find_stac(self._store, key) for name, key in places.items()}
        collections = {name: each for name, each in loaded.items() if each and each["id"] == name}
        found += self._load_models(places[MODELS], collections.get(MODELS) or {})
        found = [(key, item) for key, item in found if can_be_searched(item)]
        self._keys = {(str(i["collection"]), str(i["id"])): key for key, i in found}
        self._root = root
        self._index = Index(tuple(collections.values()), [item for _, item in found])

    def _load_models(self, where: str, collection: Document) -> Iterator[tuple[str, Document]]:
        for link in collection.get("links", ()):
            key = key_of_href(where, link["href"]) if link["rel"] == "item" else None
            item = find_stac(self._store, key) if key else None
            if key and item:
                yield key, item

    def _place(self, key: str) -> str:
        """Address of a file in the place of results, ``file://`` or ``s3://``."""
        uri = self._store.uri(key)
        return f"file://{uri}" if uri.startswith("/") else uri

    def landing(self, base: str) -> Document:
        """The first page; ``base`` is the address of this server."""
        collections = self.index().collections
        root = self._root
        children = (
            make_link("child", f"{base}/collections/{name}", title=str(found.get("title", name)))
            for name, found in collections.items()
        )
        return {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": str(root.get("id", "crop_mask")),
            "title": str(root.get("title", "Cropland extent")),
            "description": str(root.get("description", "Annual cropland extent")),
            "conformsTo": list(CONFORMS),
            "links": [
                make_link("self", f"{base}/"),
                make_link("root", f"{base}/"),
                make_link("conformance", f"{base}/conformance"),
                make_link("data", f"{base}/collections"),
                make_link("service-desc", f"{base}/api", OPENAPI_TYPE),
                *(
                    make_link("search", f"{base}/search", ITEM_TYPE) | {"method": method}
                    for method in ("GET", "POST")
                ),
                *children,
            ],
        }

    def collections(self, base: str) -> Document:
        """All collections."""
        return {
            "collections": [self.collection(base, name) for name in self.index().collections],
            "links": [make_link("self", f"{base}/collections"), make_link("root", f"{base}/")],
        }

    def collection(self, base: str, name: str) -> Document | None:
        """One collection."""
        found = self.index().collections.get(name)
        if found is None:
            return None
        key, own = f"{name}/collection.json", f"{base}/collections/{name}"
        return _with_links(
            make_absolute(self._readable(found, key), self._address(base, key)),
            make_link("self", own),
            make_link("root", f"{base}/"),
            make_link("parent", f"{base}/"),
            make_link("items", f"{own}/items", ITEM_TYPE),
        )

    def _address(self, base: str, key: str) -> str:
        """Address of a file for readers: in its place, or on this server."""
        on_server = f"{base}{FILES_PATH}{quote(key, errors='replace')}"
        return on_server if self._assets == "server" else self._place(key)

    def _readable(self, document: Document, key: str) -> Document:
        """The same document without addresses that its readers cannot, or must not, follow."""

        def keep(found: Document) -> bool:
            href = found["href"]
            if self._assets == "place" and is_local_href(href):
                return True
            return is_web_href(href) or key_of_href(key, href) is not None

        assets = {name: each for name, each in document.get("assets", {}).items() if keep(each)}
        links = [link for link in document["links"] if keep(link)]
        return {**document, "links": links} | ({"assets": assets} if "assets" in document else {})

    def item(self, base: str, collection: str, identity: str) -> Document | None:
        """One item."""
        found = self.index().item(collection, identity)
        return self._item(base, found) if found else None

    def _item(self, base: str, item: Document) -> Document:
        collection = f"{base}/collections/{_quote(item['collection'])}"
        key = self._keys[item["collection"], item["id"]]
        address = self._address(base, key)
        own = f"{collection}/items/{_quote(item['id'])}"
        return _with_links(
            make_absolute(self._readable(item, key), address, canonical=address),
            # An index keeps this address as the dataset's place, after this server has ended.
            make_link("self", address if self._assets == "place" else own, ITEM_TYPE),
            make_link("root", f"{base}/"),
            make_link("parent", collection),
            make_link("collection", collection),
        )

    def search(self, base: str, query: Mapping[str, Any], *, post: bool) -> Document:
        """A page of items that match a query; a query that cannot be read is Rejected."""
        page = self.index().search(Query.parse(query))
        return self._page(base, f"{base}/search", page, query, post=post)

    def items(self, base: str, name: str, query: Mapping[str, Any]) -> Document | None:
        """A page of the items of a collection."""
        if name not in self.index().collections:
            return None
        page = self.index().search(Query.parse({**query, "collections": [name]}))
        own = f"{base}/collections/{name}"
        document = self._page(base, f"{own}/items", page, query, post=False)
        document["links"].append(make_link("collection", own))
        return document

    def _page(
        self, base: str, address: str, page: Page, query: Mapping[str, Any], *, post: bool
    ) -> Document:
        links = [make_link("root", f"{base}/"), make_link("self", address, ITEM_TYPE)]
        if page.next_offset is not None:
            following = {**query, "token": str(page.next_offset)}
            if post:
                link = make_link("next", address, ITEM_TYPE)
                links.append(link | {"method": "POST", "body": following})
            else:
                words = {
                    key: value if isinstance(value, str) else json.dumps(value)
                    for key, value in following.items()
                }
                links.append(make_link("next", f"{address}?{urlencode(words)}", ITEM_TYPE))
        return {
            "type": "FeatureCollection",
            "features": [self._item(base, item) for item in page.items],
            "links": links,
            "numberMatched": page.matched,
            "numberReturned": len(page.items),
        }


def _quote(name: str) -> str:
    return quote(name, safe="", errors="replace")  # JSON may hold half a character


def _linked_products(root: Document) -> Iterator[str]:
    """Products of the root, also those that have no item."""
    for link in root.get("links", ()):
        match = CHILD.fullmatch(link["href"])
        if match and match[1] != MODELS:
            yield match[1]


def _with_links(document: Document, *links: Document) -> Document:
    others = [link for link in document["links"] if link["rel"] not in _OWN]
    return {**document, "links": [*links, *others]}


def make_openapi(base: str) -> Document:
    """A short description of this server, OpenAPI 3.0."""
    ok = {"responses": {"200": {"description": "JSON"}}}
    paths = (
        *("/", "/conformance", "/collections", "/collections/{collection}"),
        *("/collections/{collection}/items", "/collections/{collection}/items/{item}"),
    )
    return {
        "openapi": "3.0.3",
        "info": {"title": "Cropland extent: STAC API", "version": VERSION},
        "servers": [{"url": base}],
        "paths": {
            **{path: {"get": ok} for path in paths},
            "/search": {"get": ok, "post": ok},
        },
    }
