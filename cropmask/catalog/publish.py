"""A copy of a catalog whose addresses are absolute, below one base."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cropmask.catalog.build import encode_parquet, refuse_other_catalog
from cropmask.catalog.static import PRODUCTS
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.site.commands import PLAIN_COMMANDS, write_build
from cropmask.stac.collection import PARQUET, ROOT_KEY
from cropmask.stac.datacube import make_products_csv
from cropmask.stac.facts import Document, encode_json
from cropmask.stac.links import is_document, make_absolute, media_type
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store, store_place

_DATA: Final = (".tif", ".sha1", ".odc-metadata.yaml")
"""Files of datasets, which are taken along only if that is asked for."""
_DEFINITION: Final = ".odc-product.yaml"


@dataclass(slots=True)
class PublishedCatalog:
    """What was published."""

    documents: int = 0
    """STAC documents with absolute addresses."""
    files: int = 0
    """Other files."""
    items: dict[str, list[Document]] = field(default_factory=dict)
    """Items by product."""
    definitions: dict[str, str] = field(default_factory=dict)
    """Addresses of product definitions."""


def publish_catalog(
    source: Store,
    target: Store,
    base_url: str,
    *,
    data: bool = False,
    progress: Progress = tell_nobody,
) -> PublishedCatalog:
    """Write a catalog, with results or without, to another place, with every address absolute.

    They are below ``base_url``, where its files will be found, such as
    ``https://data.example.org/maps``, ``s3://bucket/prefix`` or ``file:///folder``. With ``data``
    rasters are taken along; else they must be there already.
    """
    base = base_url.rstrip("/")
    if "://" not in base:
        raise Misconfigured(
            f"'{base_url}' is no address: give one like https://data.example.org/cropmask, "
            "s3://bucket/prefix or file:///folder"
        )
    if source.uri(ROOT_KEY) == target.uri(ROOT_KEY):
        raise Misconfigured("a catalog cannot be published onto itself: name another --output")
    if not source.exists(ROOT_KEY):
        build = write_build(store_place(source))
        raise Misconfigured(
            f"there is no catalog at {source.uri(ROOT_KEY)}: run '{build}'",
            reason=Reason.NO_CATALOG,
        )
    refuse_other_catalog(target)
    result = PublishedCatalog()
    keys = [entry.key for entry in source.list() if not entry.key.startswith(("_", "."))]
    for done, key in enumerate(keys):
        progress("publish", done / len(keys))
        _publish_one(source, target, f"{base}/{key}", key, data=data, result=result)
    for product, items in result.items.items():
        if f"{product}/{PARQUET}" in keys:
            key = f"{product}/{PARQUET}"
            target.put(key, encode_parquet(items), media_type(key))
    if result.definitions:
        text = make_products_csv(result.definitions).encode()
        target.put(PRODUCTS, text, media_type(PRODUCTS))
    progress("publish", 1.0)
    return result


def _publish_one(
    source: Store, target: Store, href: str, key: str, *, data: bool, result: PublishedCatalog
) -> None:
    if key == PRODUCTS or key.endswith(f"/{PARQUET}"):
        return  # made anew
    if key.endswith(_DATA) and not data:
        return
    content = source.get(key)
    try:
        document = _parse(key, content)
    except (ValueError, RecursionError):
        look = PLAIN_COMMANDS.line("catalog check", store_place(source))
        raise Rejected(f"{key} is not JSON: '{look}' says more") from None
    if document is not None:
        document = _bring_in(source, target, key, document)
        document = make_absolute(document, href)
        if document["type"] == "Feature":
            result.items.setdefault(key.partition("/")[0], []).append(document)
        content = encode_json(document).encode()
        result.documents += 1
    else:
        result.files += 1
    if key.endswith(_DEFINITION):
        result.definitions[posixpath.basename(key).removesuffix(_DEFINITION)] = href
    target.put(key, content, media_type(key))


def _parse(key: str, content: bytes) -> Document | None:
    """The STAC document of a file; None if it is another kind of file."""
    if not key.endswith(".json"):
        return None
    document = json.loads(content)
    return document if is_document(document) else None


def _bring_in(source: Store, target: Store, key: str, document: Document) -> Document:
    """The same document, with files from outside of the catalog copied beside it."""
    if not isinstance(source, FolderStore) or "assets" not in document:
        return document
    folder = posixpath.dirname(key)
    assets = {}
    for name, asset in document["assets"].items():
        href = str(asset["href"])
        outside = posixpath.normpath(posixpath.join(folder, href)).startswith("../")
        if outside and "://" not in href:
            path = Path(source.uri(key)).parent / href
            copy = f"{folder}/{path.name}"
            target.put(copy, path, media_type(copy))
            asset = {**asset, "href": f"./{path.name}"}
        assets[name] = asset
    return {**document, "assets": assets}
