"""Markup is made of elements; texts of others stay texts."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.results.html import Html, join, make_page, make_table, tag

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


class Parsed(HTMLParser):
    """Elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXTS, TEXTS)
def test_any_text_is_a_text_and_any_value_a_value(text: str, value: str) -> None:
    found = Parsed(tag("p", text, title=value))
    assert found.elements == [("p", [("title", value)])]
    assert found.text == text


@given(st.lists(TEXTS))
def test_cells_are_texts(texts: list[str]) -> None:
    found = Parsed(make_table([texts]))
    assert [name for name, _ in found.elements] == ["table", "tbody", "tr"] + ["td"] * len(texts)
    assert found.text == "".join(texts)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tag("br"), "<br>"),
        (tag("p", class_="soft", id=None), '<p class="soft"></p>'),
        (tag("g", aria_label="a b", viewBox="0"), '<g aria-label="a b" viewBox="0"></g>'),
        (tag("p", tag("b", "<"), " & "), "<p><b>&lt;</b> &amp; </p>"),
        (join(("<", Html("<br>"))), "&lt;<br>"),
        (
            make_table([(tag("td", "1", class_="n"), tag("b"))], ("<", "")),
            "<table><thead><tr><th>&lt;</th><th></th></tr></thead>"
            '<tbody><tr><td class="n">1</td><td><b></b></td></tr></tbody></table>',
        ),
    ],
)
def test_markup_is_kept(made: Html, expected: str) -> None:
    assert made == expected


def test_a_text_that_looks_like_a_cell_is_none() -> None:
    assert make_table([["<td>"]]).count("<td>") == 1


def test_a_page_has_its_title_and_style() -> None:
    page = make_page("a < b", "b > i { color: red }", tag("h1", "a < b"))
    assert page.startswith('<!DOCTYPE html>\n<html lang="en"><head>')
    assert "<title>a &lt; b</title><style>b > i { color: red }</style>" in page
    assert "<body><h1>a &lt; b</h1></body></html>" in page
