"""A STAC document as a plain HTML page: no script, no network, nothing to install."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from typing import Any, Final

from cropmask.results.html import Html, make_page, make_table, tag
from cropmask.stac.collection import AREA_SUMS
from cropmask.stac.facts import Document

_SHOWN: Final = frozenset({"child", "item", "parent", "root", "derived_from", "related"})
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2733; background: #fff }
a { color: #0b5cad } img { max-width: 24rem; background: #eef1f4 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { text-align: left; vertical-align: top;
  padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #dde3e8 }
pre { white-space: pre-wrap; font: inherit } .cards { display: flex; flex-wrap: wrap; gap: 1rem }
@media (prefers-color-scheme: dark) { body { color: #dfe6ee; background: #14191f }
  a { color: #7fb8ff } td, th { border-color: #333c46 } img { background: #333c46 } }
"""


def make_document_page(key: str, document: Document, *, pages: str, files: str) -> str:
    """HTML of a catalog, collection or item, of which nothing is trusted.

    ``pages`` and ``files`` say where this server has pages and files.
    """
    properties = document.get("properties") or {}
    title = str(properties.get("title") or document.get("title") or document.get("id"))
    body = _body(key, document, properties, pages, files)
    return make_page(title, _STYLE, tag("h1", title), *body)


def _body(
    key: str, document: Document, properties: Document, pages: str, files: str
) -> Iterator[Html]:
    assets = _dicts(document.get("assets"))
    places = {name: _place(key, str(each.get("href")), files) for name, each in assets.items()}
    for name, asset in assets.items():
        if "thumbnail" in (asset.get("roles") or ()):
            yield tag("p", tag("img", src=places[name], alt=name))
    description = properties.get("description") or document.get("description")
    if description:
        yield tag("pre", str(description))
    links = [link for link in document.get("links", ()) if link.get("rel") in _SHOWN]
    if links:
        yield tag("h2", "Links")
        yield tag("ul", *(tag("li", *_link(key, link, pages, files)) for link in links))
    if assets:
        yield tag("h2", "Files")
        yield make_table(
            (tag("a", name, href=places[name]), str(asset.get("title", "")))
            for name, asset in assets.items()
        )
    figures = {**properties, **_dicts({AREA_SUMS: document.get(AREA_SUMS)})}
    if figures:
        yield tag("h2", "Properties")
        yield make_table((name, _text(value)) for name, value in _flat(figures))


def _flat(properties: Document, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in properties.items():
        if name == "renders" or name == "description":
            continue
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name} / ")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _dicts(value: Any) -> dict[str, Document]:  # noqa: ANN401 (any JSON value)
    known = value if isinstance(value, dict) else {}
    return {name: each for name, each in known.items() if isinstance(each, dict)}


def _place(key: str, href: str, files: str, pages: str | None = None) -> str:
    """Where this server has what an address in a document leads to."""
    if "://" in href or href.startswith("/"):
        return href
    target = posixpath.normpath(posixpath.join(posixpath.dirname(key), href))
    if target.startswith("../"):  # outside of the catalog
        return href
    return f"{pages if pages and target.endswith('.json') else files}{target}"


def _link(key: str, link: Document, pages: str, files: str) -> Iterator[str]:
    rel = str(link.get("rel"))
    yield f"{rel}: "
    address = _place(key, str(link.get("href")), files, pages)
    yield tag("a", str(link.get("title") or rel), href=address)
