"""A STAC document as a plain HTML page: no script, no network, nothing to install."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

from cropmask.product import ALL_BANDS, hex_color
from cropmask.results.html import Html, join, make_page, make_policy, make_table, tag
from cropmask.stac.collection import AREA_SUMS
from cropmask.stac.facts import Document
from cropmask.stac.links import is_web_href, key_of_href

_SHOWN: Final = frozenset({"child", "item", "parent", "root", "derived_from", "related"})
_COLOR: Final = re.compile("[0-9A-Fa-f]{6}")
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2733; background: #fff }
a { color: #0b5cad } img { max-width: 24rem; background: #eef1f4 }
svg { outline: 1px solid #9aa5b0 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { text-align: left; vertical-align: top;
  padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #dde3e8 }
pre { white-space: pre-wrap; font: inherit } .cards { display: flex; flex-wrap: wrap; gap: 1rem }
@media (prefers-color-scheme: dark) { body { color: #dfe6ee; background: #14191f }
  a { color: #7fb8ff } td, th { border-color: #333c46 } img { background: #333c46 } }
"""
PAGE_POLICY: Final = f"{make_policy(_STYLE)}; frame-ancestors 'none'"
"""What a web browser may do on these pages."""


def make_document_page(key: str, document: Document, *, pages: str, files: str) -> str:
    """HTML of a catalog, collection or item, of which nothing is trusted.

    What has not the form that STAC asks for is left out. ``pages`` and ``files`` say where this
    server has pages and files.
    """
    properties = document.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    title = _text(
        properties.get("title") or document.get("title") or document.get("id") or "no title"
    )
    body = _body(key, document, properties, pages, files)
    return make_page(title, _STYLE, tag("h1", title), *body)


def _body(
    key: str, document: Document, properties: Document, pages: str, files: str
) -> Iterator[Html]:
    assets = _dicts(document.get("assets"))
    for name, asset in assets.items():
        place = _find_place(key, asset.get("href"), files)
        if place is not None and place.startswith(files) and "thumbnail" in _list(asset, "roles"):
            yield tag("p", tag("img", src=place, alt=name))
    description = properties.get("description") or document.get("description")
    if description:
        yield tag("pre", _text(description))
    legend = tuple(_list_legend(document, properties, assets))
    if legend:
        yield tag("h2", "Legend")
        yield make_table(legend)
    links = [link for link in _list(document, "links") if isinstance(link, dict)]
    shown = [link for link in links if _text(link.get("rel")) in _SHOWN]
    if shown:
        yield tag("h2", "Links")
        yield tag("ul", *(tag("li", *_link(key, link, pages, files)) for link in shown))
    if assets:
        yield tag("h2", "Files")
        yield make_table(
            (
                _anchor(name, _find_place(key, asset.get("href"), files), asset.get("href")),
                _text(asset.get("title", "")),
            )
            for name, asset in assets.items()
        )
    figures = {**properties, **_dicts({AREA_SUMS: document.get(AREA_SUMS)})}
    if figures:
        yield tag("h2", "Properties")
        yield make_table((name, _text(value)) for name, value in _flat(figures))


def _list_legend(
    document: Document, properties: Document, assets: dict[str, Document]
) -> Iterator[tuple[str, Html]]:
    """Titles of assets and what their colors mean, as far as the document says it."""
    renders = _dicts(properties.get("renders") or document.get("renders"))
    for name, asset in (_dicts(document.get("item_assets")) | assets).items():
        said = _list(asset, "classification:classes")
        classes = [_describe_class(found) for found in said if isinstance(found, dict)]
        if shown := (*classes, *_draw_ramp(renders.get(name, {}))):
            yield _text(asset.get("title") or name), tag("td", *shown)


def _describe_class(found: Document) -> Html:
    hint = found.get("color_hint")
    color = f"#{hint}" if isinstance(hint, str) and _COLOR.fullmatch(hint) else "none"
    words = _text(found.get("title") or found.get("name") or found.get("value"))
    return join((_swatches([color], 16), " ", words, tag("br")))


def _draw_ramp(render: Document) -> Iterator[Html]:
    """The ramp of a band of ours between the values at its ends."""
    name, scale = render.get("colormap_name"), _list(render, "rescale")
    ramp = next((band.ramp for band in ALL_BANDS if band.ramp_name and band.ramp_name == name), ())
    if ramp and scale and isinstance(scale[0], list) and len(scale[0]) == 2:
        colors = [hex_color(color) for _, color in ramp]
        yield join((_text(scale[0][0]), " ", _swatches(colors, 12), " ", _text(scale[0][1])))


def _swatches(colors: Sequence[str], width: int) -> Html:
    """Colors side by side."""
    drawn = (
        tag("rect", x=width * number, width=width, height=12, fill=color)
        for number, color in enumerate(colors)
    )
    return tag("svg", *drawn, width=width * len(colors), height=12)


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


def _list(document: Document, name: str) -> list[Any]:
    found = document.get(name)
    return found if isinstance(found, list) else []


def _find_place(key: str, href: object, files: str, pages: str | None = None) -> str | None:
    """Where a web browser finds what an address leads to; None if it must not be followed."""
    if not isinstance(href, str):
        return None
    if is_web_href(href):
        return href
    target = key_of_href(key, href)
    if target is None:
        return None
    return (
        f"{pages if pages and target.endswith('.json') else files}{quote(target, errors='replace')}"
    )


def _anchor(text: str, place: str | None, href: object) -> Html:
    """A link, or where there must be none, its text and address as texts."""
    if place is None:
        return join((text, ": ", _text(href)))
    return tag("a", text, href=place)


def _link(key: str, link: Document, pages: str, files: str) -> Iterator[str]:
    rel, href = _text(link.get("rel")), link.get("href")
    yield f"{rel}: "
    yield _anchor(_text(link.get("title") or rel), _find_place(key, href, files, pages), href)
