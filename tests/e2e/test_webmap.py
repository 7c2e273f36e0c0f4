"""The web map of three years in headless Chromium: from a server, and from a disk."""

from __future__ import annotations

import json
import re
import shutil
import time
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cropmask.catalog.mappage import map_library_folder
from cropmask.core.cropmap import CropMap
from cropmask.grid import Tile
from cropmask.operate.web import find_web_product, make_web, parse_districts
from cropmask.results.finder import make_place
from cropmask.results.publish import put_dataset
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from cropmask.task import Period, Task
from tests.browser import needs_chromium
from tests.devtools import Page, open_page
from tests.e2e.test_browse import running
from tests.results import COLLECTION, EASTERN, made_up_map, make_facts

LIBRARY = map_library_folder(open_site().cache)
needs_library = pytest.mark.skipif(
    not LIBRARY.is_dir(), reason="MapLibre is not in the cache: run 'cropmask web'"
)
YEARS = ("2019", "2020", "2021")
TILES = (Tile(215, 75), Tile(216, 75))
REPORT = {
    "mark": "cropmask report",
    "level": 0.95,
    "origin": {"period": "2020--P1Y"},
    "districts": [
        {"name": "North <b>", "hectares": {"estimate": 1234.4, "low": 1000, "high": 1500}},
        {"name": "South", "hectares": {"estimate": None, "low": None, "high": None}},
    ],
}


def put_year(store: FolderStore, tile: Tile, period: Period, share: int) -> None:
    """A tile on which what is crop grows from year to year."""
    prob = made_up_map(tile.x).prob
    mask = np.where(prob == 255, 255, prob > share).astype(np.uint8)
    facts = replace(make_facts(tile), period=period)
    place = make_place(EASTERN, Task(tile, EASTERN.region, period))
    put_dataset(store, place, facts, CropMap(mask, prob, mask), COLLECTION)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web map of two tiles and three years, with districts."""
    results = FolderStore(tmp_path_factory.mktemp("results"))
    for share, year in zip((80, 50, 20), YEARS, strict=True):
        for tile in TILES:
            put_year(results, tile, Period.parse(year), share)
    report = tmp_path_factory.mktemp("report") / "report.json"
    report.write_text(json.dumps(REPORT))
    made = tmp_path_factory.mktemp("web")
    make_web(
        results,
        FolderStore(made),
        find_web_product(results, None),
        LIBRARY,
        reports=[parse_districts(report)],
        meters=200,
        progress=lambda *_: None,
    )
    return made


def wait_until_drawn(page: Page) -> None:
    page.wait("document.body.dataset.idle")


def choose(page: Page, control: str, value: object, event: str = "input") -> None:
    """Set a control as a person does."""
    page.value("delete document.body.dataset.idle")
    page.value(
        f"(e => {{ e.value = {json.dumps(str(value))}; e.dispatchEvent(new Event('{event}')); }})"
        f"(document.getElementById('{control}'))"
    )


def pixel(page: Page) -> list[list[str]]:
    """Rows of the table of a pixel."""
    page.wait("!!document.querySelector('#pixel td')")
    rows = "[...document.querySelectorAll('#pixel tbody tr')]"
    return list(page.value(f"{rows}.map(row => [...row.cells].map(cell => cell.innerText))"))


@needs_chromium
@needs_library
def test_a_person_moves_through_years_and_asks_for_a_pixel(folder: Path) -> None:
    # Beside the page, a first view reads some tiles of overviews: 0.05 MB were measured.
    assert (folder / "index.html").stat().st_size < 1_300_000
    with running("browse", folder, "--no-open") as address, open_page() as page:
        page.open(f"{address}/")
        page.see("Cropland, Eastern Africa", "drawn with MapLibre")
        wait_until_drawn(page)
        assert page.value("document.getElementById('year-shown').innerText") == "2021"
        assert crop_share(page) > 0.1
        last = crop_share(page)
        choose(page, "year", 0)
        wait_until_drawn(page)
        assert page.value("document.getElementById('year-shown').innerText") == "2019"
        assert 0 < crop_share(page) < last / 2, "less was crop in the first year"
        for kind in ("mousePressed", "mouseReleased"):
            page.send(
                "Input.dispatchMouseEvent", type=kind, x=300, y=450, button="left", clickCount=1
            )
        caption = "document.querySelector('#pixel caption').innerText"
        rows = pixel(page)
        clicked = page.value(caption)
        page.click("Values at the center", "button")
        page.wait(f"{caption} !== {json.dumps(clicked)}")
        assert [row[0] for row in rows] == list(YEARS)
        assert page.text().count("North <b>") == 1, "names are text, not markup"
        page.see("1,234", "too few points", "95 % interval")
        choose(page, "layer", "prob", "change")
        page.see("percent, rounded")
        page.value("document.getElementById('swipe').click()")
        wait_until_drawn(page)
        page.wait("!!document.querySelector('#other.on canvas')")
        link = page.value("location.href")
        assert re.search(r"#map=[\d./-]+&layer=prob&year=2019&opacity=90&swipe=2020&split=50", link)
        assert page.errors == []


def crop_share(page: Page) -> float:
    """Share of the map's pixels that are yellow, as the filtered crop is."""
    shot = page.send("Page.captureScreenshot", format="png")["data"]
    seen = imread(BytesIO(b64decode(shot)), format="png")[50:-50, :900, :3]
    return float(((seen[..., 0] > 0.8) & (seen[..., 1] > 0.8) & (seen[..., 2] < 0.4)).mean())


@needs_chromium
@needs_library
def test_a_disk_a_phone_and_a_shared_link(folder: Path) -> None:
    shared = "#map=9/-1.1/34.4&layer=mask&year=2020&opacity=50"
    with open_page(size=(500, 900)) as page:
        page.open(f"{(folder / 'index.html').as_uri()}{shared}")
        page.wait("location.pathname.endsWith('offline.html')")
        wait_until_drawn(page)
        assert page.value("document.getElementById('layer').value") == "mask"
        assert page.value("document.getElementById('year-shown').innerText") == "2020"
        assert page.value("document.documentElement.scrollWidth") <= 500
        page.value("document.querySelector('#map canvas').focus()")
        for kind in ("keyDown", "keyUp"):
            page.send("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter")
        first, *_ = pixel(page)
        assert first[0] == "2019"
        assert set(first[1:3]) <= {"Cropland", "Not cropland"}
        assert "version 1.1.0" in page.text()
        assert page.errors == []


@needs_chromium
@needs_library
def test_a_server_runs_no_program_of_the_folder(folder: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "web"
    shutil.copytree(folder, hostile)
    for name in ("index.html", "offline.html"):
        (hostile / name).write_text("<script>window.owned = 1</script>")
    config = json.loads((hostile / "map.json").read_text())
    config["title"] = "</script><script>window.owned = 1</script><img src=x onerror='owned = 1'>"
    (hostile / "map.json").write_text(json.dumps(config))
    with running("browse", hostile, "--no-open") as address, open_page() as page:
        page.open(f"{address}/")
        page.see("<img src=x")
        wait_until_drawn(page)
        assert page.value("typeof window.owned") == "undefined"
        page.open(f"{address}/offline.html")
        time.sleep(0.3)
        assert page.value("typeof window.owned") == "undefined"
