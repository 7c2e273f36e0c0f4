"""Links of STAC documents and their addresses, relative to the document or absolute."""

from __future__ import annotations

import posixpath
import re
from typing import Final, TypeGuard

from cropmask.product import COG_TYPE
from cropmask.remote.limits import is_nested_deeper
from cropmask.stac.facts import Document

JSON_TYPE: Final = "application/json"
ITEM_TYPE: Final = "application/geo+json"
ITEM_SUFFIX: Final = ".stac-item.json"
_TYPES: Final = {
    ".csv": "text/csv",
    ".json": JSON_TYPE,
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".qml": "text/xml",
    ".sld": "application/vnd.ogc.sld+xml",
    ".tif": COG_TYPE,
    ".yaml": "text/yaml",
    ".cropmodel": "application/octet-stream",
}
_KINDS: Final = ("Catalog", "Collection", "Feature")
_ABSOLUTE: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:|^/")
_WEB: Final = re.compile(r"(?:https?|s3)://[^/\s]", re.IGNORECASE)
_LOCAL: Final = re.compile(r"file:///|(?![A-Za-z][A-Za-z0-9+.-]*:|//)", re.IGNORECASE)
_NOT_IN_HREFS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|^\s|\s$")
"""What web browsers drop from an address, or read as something else, before they follow it."""
MAX_DOCUMENT_BYTES: Final = 16 << 20
"""Size of a document; a collection with links to 50 000 items has 10 MB."""
MAX_NESTING: Final = 64
"""Levels of objects and arrays in a document; the geometry of a boundary takes six."""


def media_type(name: str) -> str:
    """Media type of a file by its name."""
    if name.endswith(ITEM_SUFFIX):
        return ITEM_TYPE
    return _TYPES.get(f".{name.rpartition('.')[2]}", "text/plain")


def make_link(rel: str, href: str, kind: str = JSON_TYPE, title: str | None = None) -> Document:
    """A link; ``kind`` is the media type of what it leads to."""
    link = {"rel": rel, "href": href, "type": kind}
    return link | {"title": title} if title else link


def join_href(base: str, href: str) -> str:
    """``href`` as written in the document at ``base``, as an absolute path or address."""
    if _ABSOLUTE.match(href):
        return href
    scheme, sign, rest = base.rpartition("://")
    folder = rest.rpartition("/")[0]
    return f"{scheme}{sign}{posixpath.normpath(posixpath.join(folder, href))}"


def is_web_href(href: str) -> bool:
    """Whether an address is one of http(s) or s3, so that it may become a link for anybody."""
    return _WEB.match(href) is not None and _NOT_IN_HREFS.search(href) is None


def is_local_href(href: str) -> bool:
    """Whether an address is a path, absolute or relative, or ``file:///``."""
    return _LOCAL.match(href) is not None and _NOT_IN_HREFS.search(href) is None


def key_of_href(key: str, href: str) -> str | None:
    """Key that a relative address leads to, as written in the document of another key.

    None if it is not relative, leads out of the catalog, or is none that browsers agree about.
    """
    if not href or _ABSOLUTE.match(href) or _NOT_IN_HREFS.search(href):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(key), href))
    return None if target.startswith("..") or target == "." else target


def is_shallow(value: Document) -> bool:
    """Whether no object or array lies deeper than may be, so that code may call itself for each."""
    return not is_nested_deeper(value, MAX_NESTING)


def is_document(value: object) -> TypeGuard[Document]:
    """Whether a value has the form of a STAC document, as far as its links and assets are read."""
    if not isinstance(value, dict) or value.get("type") not in _KINDS:
        return False
    links, assets = value.get("links"), value.get("assets", {})
    return (
        isinstance(value.get("id"), str)
        and isinstance(links, list)
        and isinstance(assets, dict)
        and all(
            isinstance(each, dict) and isinstance(each.get("href"), str)
            for each in (*links, *assets.values())
        )
        and all(isinstance(link.get("rel"), str) for link in links)
    )


def make_absolute(document: Document, href: str, *, canonical: str | None = None) -> Document:
    """The same document with a ``self`` link and absolute addresses in links and assets.

    It is at ``href``; ``canonical`` is where its original is, if that is another place.
    """
    links = [
        {**link, "href": join_href(href, str(link["href"]))}
        for link in document.get("links", ())
        if link.get("rel") not in ("self", "canonical")
    ]
    own = [make_link("self", href, media_type(href))]
    if canonical is not None:
        own.append(make_link("canonical", canonical, media_type(canonical)))
    changed = {**document, "links": [*own, *links]}
    if "assets" in document:
        changed["assets"] = {
            key: {**asset, "href": join_href(href, str(asset["href"]))}
            for key, asset in document["assets"].items()
        }
    return changed
