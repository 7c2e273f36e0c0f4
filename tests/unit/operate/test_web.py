"""The folder of a web map: what is in its archives, and what it refuses."""

from __future__ import annotations

import json
import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread
from pmtiles.reader import MemorySource, Reader
from pyproj import Transformer

from cropmask.cli.web import web
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import CRS, Tile
from cropmask.operate.web import find_web_product, make_web
from cropmask.operate.webfigures import choose_series, parse_change, parse_districts
from cropmask.product import Product
from cropmask.results.webtiles import TILE_PIXELS, deepest_zoom
from cropmask.store.folder import FolderStore
from cropmask.task import Period
from tests.results import EASTERN, made_up_map, put_files, put_result
from tests.years import draw_prob, draw_truth, put_simple_series

TILES = (Tile(215, 75), Tile(216, 76))
METERS = 200


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Files of a few letters in place of the code of others."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name in ("maplibre-gl.js", "maplibre-gl.css", "pmtiles.js", "LICENSE.txt"):
        (folder / name).write_text(f"/* {name} */")
    return folder


def make(results: FolderStore, folder: Path, library: Path) -> dict[str, bytes]:
    """All files of a map."""
    product = find_web_product(results, None)
    output = FolderStore(folder)
    make_web(results, output, product, library, meters=METERS, progress=lambda *_: None)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(
    folder: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, dict[str, bytes]]:
    """What the command prints, and all files that it makes."""
    monkeypatch.setattr("cropmask.catalog.mappage.ensure_map_library", lambda *_: library)
    words = ["--results", str(folder / "results"), "--output", str(folder / "map")]
    done = CliRunner().invoke(web, words, catch_exceptions=False)
    return done.stdout, {path.name: path.read_bytes() for path in (folder / "map").iterdir()}


@pytest.fixture
def results(tmp_path: Path) -> FolderStore:
    """Two tiles that touch at a corner."""
    store = FolderStore(tmp_path / "results")
    for tile in TILES:
        put_result(store, tile, seed=tile.x)
    return store


def test_a_pixel_of_a_tile_is_that_of_the_map_and_bytes_are_repeatable(
    results: FolderStore, library: Path, tmp_path: Path
) -> None:
    files = make(results, tmp_path / "a", library)
    assert make(results, tmp_path / "b", library) == files
    assert make(results, tmp_path / "a", library) == files, "over what was there"
    reader = Reader(MemorySource(files["prob_2019--P1Y.pmtiles"]))
    zoom = deepest_zoom(METERS)
    assert reader.header()["max_zoom"] == zoom
    to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
    rng = np.random.default_rng(1)
    checked = 0
    for tile in TILES:
        west, south, _, _ = tile.bounds
        prob = made_up_map(tile.x).prob
        # In the middle of the rectangles, of 40 pixels of 100 m, that have one value.
        for row, column in rng.integers(0, 24, (40, 2)):
            x, y = west + 4000 * column + 2000, south + 96_000 - 4000 * row - 2000
            found = value_at(reader, zoom, *to_degrees.transform(x, y))
            expected = int(prob[40 * row + 20, 40 * column + 20])
            # The nodata edge of the made-up map ends within a rectangle.
            assert found == expected
            checked += expected != 255
    assert checked > 60
    outside = to_degrees.transform(TILES[1].bounds[0] + 48_000, TILES[0].bounds[1] + 48_000)
    assert value_at(reader, zoom, *outside) in (None, 255)


def value_at(reader: Reader, zoom: int, longitude: float, latitude: float) -> int | None:
    """Value of a place, by the formulas of web maps."""
    across = (longitude + 180) / 360 * 2**zoom
    angle = math.radians(latitude)
    down = (1 - math.log(math.tan(angle) + 1 / math.cos(angle)) / math.pi) / 2 * 2**zoom
    data = reader.get(zoom, int(across), int(down))
    if data is None:
        return None
    most = 2 ** data[24] - 1  # by the bits of a value
    pixels = np.rint(imread(BytesIO(data), format="png") * most).astype(int)
    assert pixels.shape == (TILE_PIXELS, TILE_PIXELS)
    return int(pixels[int(down % 1 * TILE_PIXELS), int(across % 1 * TILE_PIXELS)])


def test_a_series_is_a_layer_and_its_years_are_there_at_the_deepest_zoom(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = FolderStore(tmp_path / "results")
    put_result(results, TILES[0])
    bands = put_simple_series(results, EASTERN, TILES[0], draw_prob(draw_truth()))
    put_files(results, TILES[:1], EASTERN.series, period=Period.parse("2018--P6Y"))
    said, files = run(tmp_path, library, monkeypatch)
    assert "filtered, mask, prob of 2019, pixels of 100 m" in said
    assert "  change       2019 to 2024; also there: 2018-2023, for --series" in said
    layer = json.loads(files["map.json"])["layers"][-1]
    assert (layer["name"], layer["span"]) == ("change", "2019 to 2024")
    assert layer["values"]["2"] == "Became cropland"
    assert "most frequent class" not in layer["description"], "pixels are those of the results"
    zoom = deepest_zoom(100)
    to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
    left, _, _, top = TILES[0].bounds
    for key, band in (("file", "class"), ("history", "history"), ("flickers", "flickers")):
        reader = Reader(MemorySource(files[layer[key]]))
        assert reader.header()["min_zoom"] == (0 if band == "class" else zoom)
        near = []
        for row, column in np.random.default_rng(2).integers(100, 950, (40, 2)):
            place = to_degrees.transform(left + 100 * column + 50, top - 100 * row - 50)
            found = value_at(reader, zoom, *place)
            # From north to south a pixel of web maps is the nearest one, within one pixel.
            near.append(found in bands[band][row - 1 : row + 2, column].tolist())
        assert all(near), band


def test_the_longest_series_is_shown_the_newest_of_equal_ones(results: FolderStore) -> None:
    assert choose_series(results, EASTERN, None) is None
    six, newer, five = (Period.parse(text) for text in ("2018--P6Y", "2019--P6Y", "2021--P5Y"))
    with pytest.raises(Rejected, match=r"no series of 2018-2023: make it with 'cropmask series"):
        choose_series(results, EASTERN, six)
    for period in (newer, six, five):
        put_files(results, TILES[:1], EASTERN.series, period=period)
    chosen = choose_series(results, EASTERN, None)
    assert chosen is not None
    assert (chosen.period, set(chosen.others)) == (newer, {six, five})
    named = choose_series(results, EASTERN, five)
    assert named is not None
    assert [each.period for each in named.datasets] == [str(five)]
    with pytest.raises(Rejected, match=r"no series of 2010-2015: it has 2021-2025, 2018-2023, "):
        choose_series(results, EASTERN, Period.parse("2010--P6Y"))


def test_the_page_has_a_strict_policy_and_no_other_address(
    results: FolderStore, library: Path, tmp_path: Path
) -> None:
    page = make(results, tmp_path / "a", library)["index.html"].decode()
    policy = page.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    assert "default-src &#x27;none&#x27;" in policy
    assert "unsafe" not in policy
    assert "script-src &#x27;sha256-" in policy
    assert "http://" not in page + policy
    assert "https://" not in page


def test_what_it_refuses(results: FolderStore, library: Path, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="has no result to show"):
        find_web_product(FolderStore(tmp_path / "nothing"), None)
    put_files(results, TILES, Product("western", "1.1.0"))
    with pytest.raises(Rejected, match="2 regions: name one of them with --region: eastern, west"):
        find_web_product(results, None)
    assert find_web_product(results, "eastern") == EASTERN
    other = tmp_path / "site" / "index.html"
    other.parent.mkdir()
    other.write_text("<h1>Mine</h1>")
    with pytest.raises(Misconfigured, match=r"index.html is there, and is no page of 'cropmask w"):
        make_web(
            results,
            FolderStore(other.parent),
            EASTERN,
            library,
            progress=lambda *_: None,
        )
    assert [path.name for path in other.parent.iterdir()] == ["index.html"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"mark": "x"}', '{"mark": "cropmask report", "districts": [{"name": 1}]}']
)
def test_a_report_of_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(Misconfigured, match="is no file of 'cropmask report'"):
        parse_districts(path)


CHANGE = {
    "regions": ["eastern"],
    "since": "2019--P1Y",
    "period": "2024--P1Y",
    "level": 0.95,
    "area": {
        "classes": ["stable other", "stable crop", "gain", "loss"],
        "hectares": {key: [4, 3, 2, None] for key in ("estimate", "low", "high")},
    },
    "net_gain_hectares": {"estimate": 1, "low": -1, "high": 3},
}


def test_areas_of_change(tmp_path: Path) -> None:
    path = tmp_path / "change.json"
    path.write_text(json.dumps(CHANGE))
    found = parse_change(path, "eastern")
    assert (found.since, found.year, found.level) == ("2019", "2024", 0.95)
    estimates = {each["name"]: each["estimate"] for each in found.areas}
    assert estimates == {
        "Became cropland": 2,
        "No longer cropland": None,
        "Gain less loss": 1,
        "Cropland in both": 3,
        "Other in both": 4,
    }
    path.write_text(json.dumps({**CHANGE, "since": None, "period": "2019--P6Y"}))
    with pytest.raises(Misconfigured, match="is not what"):
        parse_change(path, "eastern")
    of_series = {key: value for key, value in CHANGE.items() if key != "since"}
    path.write_text(json.dumps({**of_series, "period": "2019--P6Y"}))
    assert parse_change(path, "eastern") == found
    with pytest.raises(Misconfigured, match="the area of eastern, not that of western alone"):
        parse_change(path, "western")
    area = {"classes": ["no crop", "crop"], "hectares": CHANGE["area"]["hectares"]}
    for other in ({**CHANGE, "area": area}, {**CHANGE, "area": None}, [], {**CHANGE, "level": "x"}):
        path.write_text(json.dumps(other))
        with pytest.raises(Misconfigured, match="is not what 'cropmask area --change --json'"):
            parse_change(path, "eastern")


def test_the_command_says_what_it_made(
    results: FolderStore, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, files = run(tmp_path, library, monkeypatch)
    first, *places = said.splitlines()
    assert first.startswith("crop_mask_eastern: filtered, mask, prob of 2019, pixels of 100 m, ")
    named = [Path(line.split(":")[0].split()[-1]) for line in places]
    assert named == [tmp_path / "map" / name for name in ("index.html", "offline.html")]
    assert {path.name for path in named} <= set(files)
    config = json.loads(files["map.json"])
    assert [layer["files"] for layer in config["layers"]] == [
        {"2019": f"{name}_2019--P1Y.pmtiles"} for name in ("filtered", "mask", "prob")
    ]
