"""The page of a report: what it says, that it needs no other file, and that it is two sheets."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cropmask.assess.language import languages, load_language
from cropmask.assess.report import encode_report
from cropmask.assess.reportpage import MARK, MOST_PRINTED, encode_districts, make_report_page
from tests.browser import needs_chromium, print_pdf
from tests.devtools import open_page
from tests.reports import HEADING, make_drawn, make_report, without_districts


class Reader(HTMLParser):
    """Elements of a page, and the text in each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def make_page(code: str = "en", count: int = 12) -> str:
    report = make_report(count)
    return make_report_page(report, make_drawn(count), load_language(code), "report.json")


def test_a_season_is_called_by_both_of_its_years() -> None:
    report = make_report()
    of_season = replace(report, origin=replace(report.origin, period="2019-07--P1Y"))
    page = make_report_page(of_season, make_drawn(), load_language("en"), "report.json")
    assert f"Cropland in {report.region_title}, 2019/20" in page
    assert f"Cropland in {report.region_title}, 2019<" in make_page()


@pytest.mark.parametrize("code", languages())
def test_a_page_asks_for_nothing(code: str) -> None:
    page = make_page(code)
    found = Reader(page)
    for tag, attributes in found.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "action", "poster", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, name, value)
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert "@import" not in page
    assert "url(" not in page
    assert str(MARK) in page
    assert found.elements[0] == ("html", {"lang": code})


def test_the_sentence_says_area_and_interval_rounded_alike() -> None:
    text = " ".join(Reader(make_page()).texts)
    assert "Cropland covers 2,360,000 hectares; with 95 % confidence, between 2,100,000 and" in text
    assert "24.6 % (21.9 to 27.5 %) of the 9,596,000 hectares" in text
    assert "2,710,000 hectares, 15.0 % above the estimate" in text
    french = " ".join(Reader(make_page("fr")).texts)
    assert "couvrent 2\u202f360\u202f000 hectares" in french
    assert "95\u00a0%" in french


def test_names_of_others_are_no_markup() -> None:
    page = make_page()
    assert "<b>Tharaka</b>" not in page
    assert any("<b>Tharaka</b> & Nithi" in text for text in Reader(page).texts)


def test_a_district_with_too_few_points_has_no_number() -> None:
    page = make_page()
    rows = re.findall(r"<tr><td>District 0</td>(.*?)</tr>", page)
    assert len(rows) == 1
    assert "too few points" in rows[0]
    numbers = re.findall(r"data-v=\"([^\"]+)\"", rows[0])
    assert len(numbers) == 3  # points, biased count of pixels, land that is not mapped
    assert "nan" not in page.partition("<main>")[2]


def test_csv_is_for_programs_and_runs_in_none() -> None:
    districts = make_report().districts
    rows = list(csv.DictReader(io.StringIO(encode_districts(districts))))
    assert [float(row["crop_ha"]) for row in rows if row["crop_ha"]] == [
        each.hectares.estimate for each in districts if each.hectares.is_known
    ]
    assert {row["estimator"] for row in rows if not row["crop_ha"]} == {"too few points"}
    assert not any(row["district"].startswith(("=", "+", "-", "@")) for row in rows)
    assert f"'{HEADING}" in {row["district"] for row in rows}
    link = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', make_page())
    assert link is not None
    assert base64.b64decode(link[1]).decode("utf-8-sig") == encode_districts(districts)


def test_json_has_all_figures_and_no_nan() -> None:
    report = make_report()
    document = json.loads(json.dumps(encode_report(report), allow_nan=False))
    assert document["hectares"]["estimate"] == report.hectares.estimate
    assert document["mapped_hectares"] == 9_596_000.0
    assert document["districts"][2]["hectares"]["estimate"] is None
    assert document["origin"]["run_keys"] == dict(report.origin.run_keys)
    assert document["labels"]["left_out"] == {"unsure": 3, "tie": 2}


def test_equal_reports_are_equal_bytes() -> None:
    assert make_page() == make_page()


def test_method_is_ten_lines_at_most() -> None:
    report = replace(make_report(), has_plots=True)
    for code in languages():
        page = make_report_page(report, make_drawn(), load_language(code), "report.json")
        method = page.partition('id="method"')[2].partition("</ol>")[0]
        assert 8 <= method.count("<li>") <= 10


def test_without_crop_or_districts_there_is_still_a_page() -> None:
    report = without_districts(make_report(0))
    none = replace(report.hectares, estimate=0.0, low=0.0, high=120_000.0)
    page = make_report_page(
        replace(report, hectares=none, share=replace(report.share, estimate=0.0, low=0.0)),
        make_drawn(0),
        load_language("en"),
        "report.json",
    )
    assert "Cropland covers 0 hectares; with 95 % confidence, between 0 and 120,000" in page
    assert 'id="districts"' not in page
    assert not math.isnan(none.low)


@needs_chromium
@pytest.mark.parametrize(("code", "count"), [("en", 12), ("fr", MOST_PRINTED + 150)])
def test_a_page_is_two_sheets_of_paper(code: str, count: int, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(make_page(code, count), encoding="utf-8")
    assert print_pdf(page.as_uri(), tmp_path / "report.pdf") == 2


@needs_chromium
def test_a_click_sorts_the_districts_and_nothing_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(make_page(), encoding="utf-8")
    first = "document.querySelector('table.sortable tbody tr').cells[0].textContent"
    last = first.replace("tbody tr'", "tbody tr:last-child'")
    with open_page() as page:
        page.open(file.as_uri())
        page.wait(f"{first} === '<b>Tharaka</b> & Nithi'")
        page.click("cropland, ha", "th button")
        page.wait(f"{first} === 'District 9'")
        page.wait(f"['District 0', 'District 4', 'District 8'].includes({last})")
        page.click("district", "th button")
        page.wait(f"{first} === {json.dumps(HEADING)} || {first} === '<b>Tharaka</b> & Nithi'")
        assert page.value("document.querySelector('image').getBBox().width") > 900
        assert page.errors == []
