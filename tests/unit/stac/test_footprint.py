"""Footprints: they hold every valid pixel, have few corners, and are plain GeoJSON."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import shape

from cropmask.core.cropmap import find_valid
from cropmask.grid import Tile, geobox
from cropmask.stac.facts import encode_json
from cropmask.stac.footprint import MAX_CORNERS, describe_footprint, thumbnail_box

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:odc")

TILES = [Tile(215, 75), Tile(186, 136), Tile(180, 20), Tile(200, 152)]
"""At the equator, in Europe, in the south, and near the pole, where pixels are long."""
EDGE = 960
Y, X = np.mgrid[:EDGE, :EDGE]
SHAPES: dict[str, NDArray[np.bool_]] = {
    "all": np.ones((EDGE, EDGE), bool),
    "diagonal": X + Y < EDGE,
    "disc": (X - 480) ** 2 + (Y - 480) ** 2 < 300**2,
    "ring": abs(np.hypot(X - 480, Y - 480) - 350) < 60,
    "wave": 480 + 120 * np.sin(X / 18) + 50 * np.sin(X / 4) > Y,
    "checkers": (X // 24 + Y // 24) % 2 == 0,
    "dust": np.random.default_rng(0).random((EDGE, EDGE)) < 1e-3,
    "little dust": np.random.default_rng(1).random((EDGE, EDGE)) < 1e-5,
    "two corners": ((X < 9) & (Y < 9)) | ((X > 940) & (Y > 900)),
    "one pixel": (X == 5) & (Y == 7),
    "a column": X == 480,
    "a scene": (X > 100) & (X < 243) & (Y > 100) & (Y < 178),
}


def band(valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(valid, 1, 255).astype(np.uint8)


def centers(valid: NDArray[np.bool_], tile: Tile) -> NDArray[Any]:
    """Centers of valid pixels in degrees, at most some thousands."""
    rows, columns = np.nonzero(valid)
    some = np.random.default_rng(0).permutation(len(rows))[:3000]
    transform = geobox(tile, 100).transform
    x = transform.c + transform.a * (columns[some] + 0.5)
    y = transform.f + transform.e * (rows[some] + 0.5)
    to_degrees = Transformer.from_crs(6933, 4326, always_xy=True)
    points: NDArray[Any] = shapely.points(*to_degrees.transform(x, y))
    return points


def check(valid: NDArray[np.bool_], tile: Tile) -> shapely.Geometry:
    """All that holds of every footprint."""
    box = geobox(tile, 100)
    found = describe_footprint(find_valid(band(valid)), box)
    area = shape(found["geometry"])
    assert area.is_valid
    assert shapely.get_num_coordinates(area) <= MAX_CORNERS
    assert shapely.covers(area, centers(valid, tile)).all()
    assert found["bbox"] == list(area.bounds)
    assert shapely.box(*describe_footprint(None, box)["bbox"]).covers(area)
    for part in shapely.get_parts(area):
        assert part.exterior.is_ccw
        assert not any(ring.is_ccw for ring in part.interiors)
    assert encode_json(found) == encode_json(describe_footprint(find_valid(band(valid)), box))
    return area


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("name", SHAPES)
def test_it_holds_every_valid_pixel_with_few_corners(name: str, tile: Tile) -> None:
    valid = SHAPES[name]
    area = check(valid, tile)
    # The box of a footprint is that of the pixels: the thumbnail fills it.
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    window = geobox(tile, 100)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    expected = window.geographic_extent.boundingbox.bbox
    assert area.bounds == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("name", "most"), [("diagonal", 0.62), ("disc", 0.95), ("ring", 0.75)])
def test_it_leaves_out_what_is_not_there(name: str, most: float) -> None:
    area = check(SHAPES[name], TILES[0])
    assert area.area < most * shapely.box(*area.bounds).area


def test_a_hole_worth_telling_stays() -> None:
    assert len(check(SHAPES["ring"], TILES[0]).interiors) == 1


@given(
    st.lists(st.tuples(*[st.integers(0, EDGE - 1)] * 2, *[st.integers(1, 400)] * 2), min_size=1),
    st.sampled_from(TILES),
)
@example(
    [(0, 38, 172, 1), (171, 0, 286, 1), (247, 19, 324, 1), (475, 57, 210, 1), (779, 19, 86, 1)],
    Tile(215, 75),
)
@settings(max_examples=60)
def test_it_holds_whatever_is_valid(fields: list[tuple[int, int, int, int]], tile: Tile) -> None:
    valid = np.zeros((EDGE, EDGE), bool)
    for row, column, height, width in fields:
        valid[row : row + height, column : column + width] = True
    check(valid, tile)


@pytest.mark.parametrize("valid", [np.ones((960, 960), bool), np.zeros((960, 960), bool)])
def test_all_or_nothing_is_the_box_of_the_tile(valid: NDArray[np.bool_]) -> None:
    box = geobox(TILES[0], 100)
    found = find_valid(band(valid))
    assert describe_footprint(found, box) == describe_footprint(None, box)
    assert thumbnail_box(found, box).boundingbox == pytest.approx(box.boundingbox)


@pytest.mark.parametrize("tile", [Tile(0, 0), Tile(361, 153), Tile(0, 77), Tile(181, 153)])
@pytest.mark.parametrize("name", SHAPES)
def test_it_stays_in_the_world_at_its_edges(name: str, tile: Tile) -> None:
    found = describe_footprint(find_valid(band(SHAPES[name])), geobox(tile, 100))
    west, south, east, north = found["bbox"]
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    assert shape(found["geometry"]).is_valid


def test_a_whole_tile_of_10_m_takes_little_time_and_memory() -> None:
    rng = np.random.default_rng(0)
    mask = np.full((9600, 9600), 255, np.uint8)
    mask[1000:, 300:9000] = rng.integers(0, 2, (8600, 8700), np.uint8)
    mask[rng.integers(0, 9600, 20_000), rng.integers(0, 9600, 20_000)] = 255
    tracemalloc.start()
    started = time.process_time()
    found = find_valid(mask)
    describe_footprint(found, geobox(TILES[0], 10))
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None
    assert (found.rows, found.columns) == (slice(1000, 9600), slice(300, 9000))
    assert seconds < 1  # 0.05 where nothing else runs
    assert peak < 8e6
