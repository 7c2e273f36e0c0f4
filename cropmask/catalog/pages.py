"""A STAC document as a plain HTML page: no script, no network, nothing to install."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from html import escape
from typing import Any, Final

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
    """HTML of a catalog, collection or item.

    Parameters
    ----------
    key
        Key of the document below the root of the catalog.
    document
        The document.
    pages, files
        Where pages and files are served.
    """
    properties = document.get("properties") or {}
    title = str(properties.get("title") or document.get("title") or document.get("id"))
    body = "\n".join(_body(key, document, properties, pages, files))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _body(
    key: str, document: Document, properties: Document, pages: str, files: str
) -> Iterator[str]:
    assets = _dicts(document.get("assets"))
    for name, asset in assets.items():
        if "thumbnail" in (asset.get("roles") or ()):
            yield f'<p><img src="{_place(key, asset, files)}" alt="{escape(name)}"></p>'
    description = properties.get("description") or document.get("description")
    if description:
        yield f"<pre>{escape(str(description))}</pre>"
    links = [link for link in document.get("links", ()) if link.get("rel") in _SHOWN]
    if links:
        yield "<h2>Links</h2><ul>"
        yield from (f"<li>{_link(key, link, pages, files)}</li>" for link in links)
        yield "</ul>"
    if assets:
        yield "<h2>Files</h2><table>"
        yield from (
            f'<tr><td><a href="{_place(key, asset, files)}">{escape(name)}</a></td>'
            f"<td>{escape(str(asset.get('title', '')))}</td></tr>"
            for name, asset in assets.items()
        )
        yield "</table>"
    figures = {**properties, **_dicts({"cropmask:statistics": document.get("cropmask:statistics")})}
    if figures:
        yield "<h2>Properties</h2><table>"
        yield from (
            f"<tr><td>{escape(name)}</td><td>{escape(_text(value))}</td></tr>"
            for name, value in _flat(figures)
        )
        yield "</table>"


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


def _target(key: str, href: str) -> str | None:
    """Key of an address inside of the catalog; None outside."""
    if "://" in href or href.startswith("/"):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(key), href))
    return None if target.startswith("../") else target


def _place(key: str, asset: Document, files: str) -> str:
    href = str(asset.get("href"))
    target = _target(key, href)
    return escape(href if target is None else f"{files}{target}", quote=True)


def _link(key: str, link: Document, pages: str, files: str) -> str:
    href, rel = str(link.get("href")), str(link.get("rel"))
    title = str(link.get("title") or rel)
    target = _target(key, href)
    address = href
    if target is not None:
        address = f"{pages if target.endswith('.json') else files}{target}"
    return f'{escape(rel)}: <a href="{escape(address, quote=True)}">{escape(title)}</a>'
