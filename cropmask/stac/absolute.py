"""Documents with addresses instead of relative paths."""

from __future__ import annotations

import posixpath
import re
from typing import TypeGuard

from cropmask.stac.assets import make_link, type_of
from cropmask.stac.facts import Document

_KINDS = ("Catalog", "Collection", "Feature")
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:|^/")


def join(base: str, href: str) -> str:
    """``href`` as written in the document at ``base``, as an address of its own.

    Parameters
    ----------
    base
        Absolute path or address (``s3://``, ``https://``, ``file://``) of the document.
    href
        Absolute, or relative to the document.
    """
    if _ADDRESS.match(href):
        return href
    scheme, sign, rest = base.rpartition("://")
    folder = rest.rpartition("/")[0]
    return f"{scheme}{sign}{posixpath.normpath(posixpath.join(folder, href))}"


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

    Parameters
    ----------
    document
        Item, collection or catalog.
    href
        Absolute path or address of it.
    canonical
        Where its original is, if that is another place.
    """
    links = [
        {**link, "href": join(href, str(link["href"]))}
        for link in document.get("links", ())
        if link.get("rel") not in ("self", "canonical")
    ]
    own = [make_link("self", href, type_of(href))]
    if canonical is not None:
        own.append(make_link("canonical", canonical, type_of(canonical)))
    changed = {**document, "links": [*own, *links]}
    if "assets" in document:
        changed["assets"] = {
            key: {**asset, "href": join(href, str(asset["href"]))}
            for key, asset in document["assets"].items()
        }
    return changed
