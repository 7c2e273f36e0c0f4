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
from numpy.typing import NDArray
from pyproj import Transformer

from cropmask.catalog.mappage import map_library_folder
from cropmask.core.cropmap import CropMap
from cropmask.core.seriesmap import SeriesPixels
from cropmask.grid import CRS, Tile
from cropmask.operate.web import WebFigures, find_web_product, make_web
from cropmask.operate.webfigures import parse_change, parse_districts
from cropmask.results.finder import make_place
from cropmask.results.publish import put_dataset
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from cropmask.task import Period, Task
from tests.browser import needs_chromium
from tests.devtools import Page, open_page
from tests.e2e.test_browse import running
from tests.results import COLLECTION, EASTERN, made_up_map, make_facts
from tests.years import draw_prob, draw_truth, put_simple_series

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
AREA = {
    "regions": ["eastern"],
    "since": "2019--P1Y",
    "period": "2024--P1Y",
    "level": 0.9,
    "area": {
        "classes": ["stable other", "stable crop", "gain", "loss"],
        "hectares": {
            "estimate": [90_000, 50_000, 4321, 7654],
            "low": [80_000, 40_000, 3000, 6000],
            "high": [99_000, 60_000, 5000, 9000],
        },
    },
    "net_gain_hectares": {"estimate": -3333, "low": -5000, "high": -1000},
}


def put_year(store: FolderStore, tile: Tile, period: Period, share: int) -> None:
    """A tile on which what is crop grows from year to year."""
    prob = made_up_map(tile.x).prob
    mask = np.where(prob == 255, 255, prob > share).astype(np.uint8)
    facts = replace(make_facts(tile), period=period)
    place = make_place(EASTERN, Task(tile, EASTERN.region, period))
    put_dataset(store, place, facts, CropMap(mask, prob, mask), COLLECTION)


def put_even_series(store: FolderStore, period: Period) -> SeriesPixels:
    """A series of the first tile that is even within fields."""
    prob = draw_prob(draw_truth())[:, ::12, ::12].repeat(12, axis=1).repeat(12, axis=2)
    return put_simple_series(store, EASTERN, TILES[0], prob, period)


@pytest.fixture(scope="module")
def series(results: FolderStore) -> SeriesPixels:
    """The series of the first tile, over more years than there are maps of."""
    return put_even_series(results, Period.parse("2019--P6Y"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """Maps of two tiles and three years."""
    results = FolderStore(tmp_path_factory.mktemp("results"))
    for share, year in zip((80, 50, 20), YEARS, strict=True):
        for tile in TILES:
            put_year(results, tile, Period.parse(year), share)
    return results


@pytest.fixture(scope="module")
def folder(
    results: FolderStore, series: SeriesPixels, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A web map of all that, with districts and areas of change."""
    report, area = (tmp_path_factory.mktemp("figures") / name for name in ("report", "area"))
    report.write_text(json.dumps(REPORT))
    area.write_text(json.dumps(AREA))
    made = tmp_path_factory.mktemp("web")
    make_web(
        results,
        FolderStore(made),
        find_web_product(results, None),
        LIBRARY,
        figures=WebFigures((parse_districts(report),), parse_change(area, "eastern")),
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
    """Rows of the tables of a pixel: its years, and what became of it."""
    page.wait("!!document.querySelector('#pixel td')")
    rows = "[...document.querySelectorAll('#pixel tbody tr')]"
    return list(page.value(f"{rows}.map(row => [...row.cells].map(cell => cell.innerText))"))


def find_gain(series: SeriesPixels) -> tuple[int, int]:
    """Row and column amid pixels that all became cropland, and flickered equally often."""
    size, bands = 6, [series[name] for name in ("class", "history", "flickers")]
    blocks = [band.reshape(960 // size, size, -1, size) for band in bands]
    is_even = np.logical_and.reduce([np.ptp(each, axis=(1, 3)) == 0 for each in blocks])
    is_gain = is_even & (blocks[0][:, 0, :, 0] == 2) & (blocks[2][:, 0, :, 0] > 0)
    row, column = np.argwhere(is_gain)[0]
    return int(row) * size + size // 2, int(column) * size + size // 2


def point_at(row: int, column: int) -> str:
    """Latitude and longitude of a pixel of the first tile, as in a link."""
    left, _, _, top = TILES[0].bounds
    to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(left + 100 * column, top - 100 * row)
    return f"{latitude:.5f}/{longitude:.5f}"


@needs_chromium
@needs_library
def test_a_person_moves_through_years_and_asks_for_a_pixel(
    folder: Path, series: SeriesPixels
) -> None:
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
        assert [row[0] for row in rows] == [*map(str, range(2019, 2025)), rows[-1][0]]
        assert {row[1] for row in rows[3:6]} == {"not mapped"}
        assert page.text().count("North <b>") == 1, "names are text, not markup"
        page.see("1,234", "too few points", "95 % interval")
        choose(page, "layer", "prob", "change")
        page.see("percent, rounded")
        page.value("document.getElementById('swipe').click()")
        wait_until_drawn(page)
        page.wait("!!document.querySelector('#other.on canvas')")
        link = page.value("location.href")
        assert re.search(r"#map=[\d./-]+&layer=prob&year=2019&opacity=90&swipe=2020&split=50", link)
        look_at_change(page, series)
        assert page.errors == []


def look_at_change(page: Page, series: SeriesPixels) -> None:
    """Choose the layer of change, and ask for a pixel that became cropland."""
    page.see("-3,333", "90 % interval; not a count of flags")
    row, column = find_gain(series)
    choose(page, "layer", "change", "change")
    wait_until_drawn(page)
    page.see("A flag, no area", "2019 to 2024, all years together", "No longer cropland")
    for control in ("year", "swipe"):
        assert page.value(f"document.getElementById('{control}').disabled") is True
    assert not page.value("document.querySelector('#other.on')"), "one map, not two"
    assert 0.001 < colored_share(page, (0x21, 0x66, 0xAC)) < 0.02
    page.value(f"location.hash = '#map=12/{point_at(row, column)}&layer=change'")
    caption = "document.querySelector('#pixel caption').innerText"
    before = page.value(caption)
    page.click("Values at the center", "button")
    page.wait(f"{caption} !== {json.dumps(before)}")
    latitude, longitude = map(float, point_at(row, column).split("/"))
    assert page.value(caption) == f"At {-latitude:.4f}° S, {longitude:.4f}° E"
    see_all_columns(page)
    *years, change = pixel(page)
    bits = int(series["history"][row, column])
    states = ["Cropland" if bits >> at & 1 else "Not cropland" for at in range(6)]
    assert [each[-1] for each in years] == states
    facts = [int(series[name][row, column]) for name in ("changed", "flickers")]
    assert change == ["Became cropland", *map(str, facts)]
    choose(page, "layer", "mask", "change")
    page.wait("document.getElementById('year').disabled === false")


def see_all_columns(page: Page) -> None:
    """No table of a pixel is cut, whether the panel is beside the map or below it on a phone."""
    widest = "Math.max(...[...document.querySelectorAll('#pixel table')].map(e => e.offsetWidth))"
    for width in (1200, 800, 360):
        page.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        page.wait(f"innerWidth === {width}")
        room = page.value("document.getElementById('pixel').clientWidth")
        assert 200 < page.value(widest) <= room, width
    page.send("Emulation.clearDeviceMetricsOverride")


def see_map(page: Page) -> NDArray[np.float32]:
    """Red, green and blue of the map ``(y, x, color)``."""
    shot = page.send("Page.captureScreenshot", format="png")["data"]
    return np.asarray(imread(BytesIO(b64decode(shot)), format="png")[50:-50, :800, :3])


def crop_share(page: Page) -> float:
    """Share of the map's pixels that are yellow, as the filtered crop is."""
    seen = see_map(page)
    return float(((seen[..., 0] > 0.8) & (seen[..., 1] > 0.8) & (seen[..., 2] < 0.4)).mean())


def colored_share(page: Page, color: tuple[int, int, int]) -> float:
    """Share of the map's pixels that have nearly a color, of which a tenth is the ground's."""
    away = np.abs(see_map(page) * 255 - np.array(color)).max(axis=-1)
    return float((away < 30).mean())


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
def test_seasons_are_called_by_both_of_their_years(tmp_path: Path) -> None:
    results, made = FolderStore(tmp_path / "results"), FolderStore(tmp_path / "map")
    for share, start in ((50, 2023), (20, 2024)):
        put_year(results, TILES[0], Period.parse(f"{start}-07--P1Y"), share)
    bands = put_even_series(results, Period.parse("2019-07--P6Y"))
    product = find_web_product(results, None)
    make_web(results, made, product, LIBRARY, meters=200, progress=lambda *_: None)
    row, column = find_gain(bands)
    with running("browse", tmp_path / "map", "--no-open") as address, open_page() as page:
        page.open(f"{address}/#map=12/{point_at(row, column)}&year=2023%2F24")
        wait_until_drawn(page)
        assert page.value("document.getElementById('year-shown').innerText") == "2023/24"
        page.click("Values at the center", "button")
        *years, change = pixel(page)
        names = ["2019/20", "2020/21", "2021/22", "2022/23", "2023/24", "2024/25"]
        assert [each[0] for each in years] == names
        assert [each[1] == "not mapped" for each in years] == [True] * 4 + [False] * 2
        assert change[1] == names[int(bands["changed"][row, column]) - 2019]
        see_all_columns(page)
        choose(page, "layer", "change", "change")
        page.see("2019/20 to 2024/25, all years together")
        assert "&year=2023%2F24&" in page.value("location.href")
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
