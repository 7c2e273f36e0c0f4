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
from cropmask.operate.web import find_web_product, make_web, parse_districts
from cropmask.product import Product
from cropmask.results.webtiles import TILE_PIXELS, deepest_zoom
from cropmask.store.folder import FolderStore
from tests.results import EASTERN, made_up_map, put_files, put_result

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
    pixels = np.rint(imread(BytesIO(data), format="png") * 255).astype(int)
    assert pixels.shape == (TILE_PIXELS, TILE_PIXELS)
    return int(pixels[int(down % 1 * TILE_PIXELS), int(across % 1 * TILE_PIXELS)])


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


def test_the_command_says_what_it_made(
    results: FolderStore, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cropmask.catalog.mappage.ensure_map_library", lambda *_: library)
    words = ["--results", str(tmp_path / "results"), "--output", str(tmp_path / "map")]
    done = CliRunner().invoke(web, words, catch_exceptions=False)
    first, *places = done.stdout.splitlines()
    assert first.startswith("crop_mask_eastern: filtered, mask, prob of 2019, pixels of 100 m, ")
    named = [Path(line.split(":")[0].split()[-1]) for line in places]
    assert named == [tmp_path / "map" / name for name in ("index.html", "offline.html")]
    assert all(path.is_file() for path in named)
    config = json.loads((tmp_path / "map" / "map.json").read_text())
    assert [layer["files"] for layer in config["layers"]] == [
        {"2019": f"{name}_2019--P1Y.pmtiles"} for name in ("filtered", "mask", "prob")
    ]
