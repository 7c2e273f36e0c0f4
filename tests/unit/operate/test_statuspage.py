"""The page of a run: what it says, and what it looks like in a browser."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import rasterio
import shapely
from rasterio.errors import NotGeoreferencedWarning

from cropmask.fleet.records import State
from cropmask.grid import Tile, tile_polygon
from cropmask.operate.status import RunStatus, make_run_status, tile_statuses
from cropmask.operate.statuspage import COLORS, Surroundings, make_status_page
from cropmask.queue.protocol import Counts
from cropmask.site.price import Price
from tests.browser import browse, needs_chromium
from tests.runs import START, make_attempt, make_run

TILES = tuple(Tile(200 + i % 6, 70 + i // 6) for i in range(36))
OUTSIDE = Tile(206, 70)
PENDING = {False: "#c5ccd6", True: "#465062"}
MEASURE = """<script>for (const g of document.querySelectorAll("g[data-tile]")) {
const r = g.querySelector("rect").getBoundingClientRect();
g.setAttribute("data-box", [r.x, r.y, r.width, r.height].join(" ")) }</script>"""
HOSTILE = '"><script>document.title = "owned"</script>'


@pytest.fixture(scope="module")
def standing() -> RunStatus:
    record = make_run(TILES, unchanged=1)
    wanted = [State.SUCCEEDED] * 12 + [State.SKIPPED] * 4 + [State.FAILED] * 3 + [State.INVALID] * 2
    attempts = [
        make_attempt(record, tile, state, 3 * i, i, seconds=50.0, threads=2)
        for i, (tile, state) in enumerate(zip(TILES, wanted, strict=False))
    ]
    attempts[-1] = make_attempt(
        record, TILES[20], State.INVALID, 60, 20, seconds=1.0, reason=HOSTILE, error=HOSTILE
    )
    attempts += [make_attempt(record, TILES[21 + i], State.PROCESSING, 118, 30 + i) for i in (0, 1)]
    keys = [found.key for found in attempts]
    now = START + timedelta(minutes=120)
    tiles = tile_statuses(keys, TILES)
    return make_run_status(record, tiles, keys, {found.key: found for found in attempts}, now)


@pytest.fixture(scope="module")
def page(standing: RunStatus) -> str:
    tiles = (*TILES, OUTSIDE)
    around = Surroundings(
        Price(0.1, is_default=False), Counts(9, 2, 1, 3), region_tiles=tiles, reload_seconds=10
    )
    return make_status_page(standing, around)


class Elements(HTMLParser):
    """Attributes of every element, in the order of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        return iter(self.found)


def test_nothing_comes_from_outside(page: str) -> None:
    for tag, attributes in Elements(page):
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not {"src", "href"} & set(attributes)
    assert "url(" not in page
    assert "@import" not in page


def test_texts_of_others_are_texts(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_it_loads_itself_anew_only_while_the_run_goes_on(standing: RunStatus, page: str) -> None:
    assert '<meta http-equiv="refresh" content="10">' in page
    assert "refresh" not in make_status_page(standing, Surroundings(Price()))
    done = tuple(found for found in standing.tiles if found.state == "SUCCEEDED")
    over = make_run_status(standing.record, done, [], {}, standing.moment)
    assert "refresh" not in make_status_page(over, Surroundings(Price(), reload_seconds=10))


def test_what_is_made_up_says_so(standing: RunStatus, page: str) -> None:
    assert "<h1>crop_mask_eastern 2019--P1Y</h1>" in page
    made_up = make_status_page(standing, Surroundings(Price(), synthetic=True))
    assert "<h1>SYNTHETIC crop_mask_eastern 2019--P1Y</h1>" in made_up


def test_the_outline_of_the_region_is_drawn_where_it_is(standing: RunStatus) -> None:
    outline = shapely.union_all([tile_polygon(TILES[0]), tile_polygon(TILES[-1])])
    text = make_status_page(standing, Surroundings(Price(), outline=outline))
    drawn = re.findall(r'class="shore"[^>]* d="([^"]+)"', text)
    assert len(drawn) == 1
    rings = [
        {tuple(map(float, point.split(","))) for point in ring.split()}
        for ring in re.findall(r"M([^z]+)z", drawn[0])
    ]
    corners = [{(0.0, 50.0), (10.0, 50.0), (10.0, 60.0), (0.0, 60.0)}]
    corners += [{(50.0, 0.0), (60.0, 0.0), (60.0, 10.0), (50.0, 10.0)}]
    assert sorted(map(sorted, rings)) == sorted(map(sorted, corners))


@pytest.mark.parametrize("edge", [2, 40])
def test_the_outline_is_as_fine_and_as_thin_as_the_map_is_large(
    standing: RunStatus, edge: int
) -> None:
    west, south = tile_polygon(TILES[0]).bounds[:2]
    steps = [(west + 1500 * i, south + 1500 * (i % 2)) for i in range(64)]
    outline = shapely.Polygon([*steps, (west, south + 96_000)])  # a coast with teeth of 1.5 km
    tiles = (TILES[0], Tile(TILES[0].x + edge - 1, TILES[0].y))
    one = make_run_status(standing.record, standing.tiles[:1], [], {}, standing.moment)
    text = make_status_page(one, Surroundings(Price(), outline=outline, region_tiles=tiles))
    (drawn,) = re.findall(r'class="shore"[^>]* d="([^"]+)"', text)
    assert len(drawn.split()) == (66 if edge == 2 else 4)
    assert ('class="map few"' in text) == (edge == 2)
    assert re.search(r"\.shore \{[^}]*stroke-width: 1\.3px;[^}]*non-scaling-stroke", text)


def test_every_state_but_two_has_a_sign_of_its_own(standing: RunStatus, page: str) -> None:
    signs: dict[str, set[str]] = {}
    for drawn in re.findall(r"<g [^>]*data-state=.*?</g>", page):
        state = re.search(r'data-state="(\w+)"', drawn)
        sign = re.search(r'class="mark" d="([^"]+)"', drawn)
        assert state
        signs.setdefault(state[1], set()).add(sign[1] if sign else "")
    assert set(signs) == {found.state for found in standing.tiles}
    plain = [state for state, found in signs.items() if found == {""}]
    assert sorted(plain) == ["PENDING", "SUCCEEDED"], "a dark green and a gray, told by lightness"
    assert len(set.union(*signs.values())) == len(signs) - 1


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser(standing: RunStatus, page: str, tmp_path: Path, dark: bool) -> None:
    file, picture = tmp_path / "page.html", tmp_path / "page.png"
    # The page's own policy would not let the measuring script run.
    measured = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert measured != page
    file.write_text(measured.replace("</body>", f"{MEASURE}</body>"))
    dom = Elements(browse(file.as_uri(), picture, size=(1200, 1400), dark=dark))
    tiles = {a["data-tile"]: a for _, a in dom if "data-tile" in a}
    assert {name: a["data-state"] for name, a in tiles.items()} == {
        str(found.tile): found.state for found in standing.tiles
    }
    assert Counter(a["data-state"] for a in tiles.values()) == {
        "SUCCEEDED": 12,
        "SKIPPED": 4,
        "FAILED": 3,
        "INVALID": 2,
        "PROCESSING": 2,
        "PENDING": 13,
    }
    assert {a["data-count"] for _, a in dom if "data-count" in a} == {*standing.counts, "REST"}
    colors = {**COLORS, "PENDING": PENDING[dark]}
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(picture) as png:
        pixels = png.read()
    boxes = {}
    for name, attributes in tiles.items():
        x, y, width, height = boxes[name] = [float(v) for v in attributes["data-box"].split()]
        seen = pixels[:3, round(y + 0.15 * height), round(x + 0.5 * width)]
        expected = colors[attributes["data-state"]]
        assert "#{:02x}{:02x}{:02x}".format(*seen) == expected.lower(), name
    west, east = boxes["x200y070"], boxes["x205y070"]
    assert west[0] < east[0], "x grows to the right"
    assert boxes["x200y075"][1] < west[1], "north is up"


@needs_chromium
def test_no_script_runs_on_the_page(page: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"{MEASURE}</body>"))
    assert "data-box=" not in browse(file.as_uri())


@needs_chromium
def test_the_figures_are_readable_as_text(page: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page)
    text = re.sub(r"<style.*?</style>|<[^>]+>", " ", browse(file.as_uri()), flags=re.DOTALL)
    for words in ("16 of 36", "44% done", "2 in flight", "3 dead letters", "not in this run",
                  "what to do"):  # fmt: skip
        assert words in text, words
