"""HTML pages that need no other file, written so that no text of others becomes markup."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from typing import Final

_VOID: Final = frozenset({"br", "img", "link", "meta"})
"""Elements without content, which have no end tag."""


class Html(str):
    """Markup; every other text is escaped where it is put into an element."""

    __slots__ = ()


def join(parts: Iterable[str]) -> Html:
    """Texts and markup one after another, the texts escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def tag(name: str, /, *content: str, **attributes: object) -> Html:
    """An element of texts, which are escaped, and markup.

    Attributes that are None are left out; ``class_`` is ``class``, ``data_x`` is ``data-x``.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    end = "" if name in _VOID else f"</{name}>"
    return Html(f"<{name}{words}>{join(content)}{end}")


def make_table(rows: Iterable[Iterable[str]], heads: Iterable[str] = ()) -> Html:
    """A table of texts and markup; a cell that is a whole ``td`` stays as it is."""
    body = join(tag("tr", *map(_cell, row)) for row in rows)
    head = join(tag("th", text) for text in heads)
    parts = (tag("thead", tag("tr", head)), tag("tbody", body)) if head else (tag("tbody", body),)
    return tag("table", *parts)


def _cell(content: str) -> Html:
    is_whole = isinstance(content, Html) and content.startswith("<td")
    return Html(content) if is_whole else tag("td", content)


def make_page(
    title: str,
    style: str,
    *body: str,
    heading: str = "",
    lang: str = "en",
    script: str = "",
    pictures: str = "'self'",
    more: str = "",
) -> str:
    """A whole page, on which nothing runs but its own ``script``.

    ``heading`` is more for its ``head``; ``pictures`` says where they may be from, as a content
    security policy does, and ``more`` are further directives of it.
    """
    policy = make_policy(style, script, pictures, more)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        heading,
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(style)),
    )
    code = (tag("script", Html(script)),) if script else ()
    page = f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body, *code), lang=lang)}\n"
    # JSON may hold half a character, which no encoding has.
    return page.encode("utf-8", "replace").decode("utf-8")


def make_policy(style: str, script: str = "", pictures: str = "'self'", more: str = "") -> str:
    """Content security policy of a page: its own style, its own script if any, and pictures."""
    code = f"script-src {_digest(script)}; " if script else ""
    return (
        f"default-src 'none'; style-src {_digest(style)}; {code}img-src {pictures}; "
        f"{more}{'; ' if more else ''}base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
