"""Facts of the grid africa_10, names of tiles, geoboxes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from cropmask.errors import Rejected
from cropmask.grid import AFRICA_10, CRS, RESOLUTIONS, GridWindow, Tile, geobox

TILES = st.builds(Tile, st.integers(0, AFRICA_10.columns - 1), st.integers(0, AFRICA_10.rows - 1))


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("x215y075", (3264000, -192000, 3360000, -96000)),
        ("x010y020", (-16416000, -5472000, -16320000, -5376000)),
        ("x000y000", (-17376000, -7392000, -17280000, -7296000)),
    ],
)
def test_bounds_are_the_published_ones(name, bounds):
    assert Tile.parse(name).bounds == bounds


def test_the_demo_tile_lies_in_the_open_south_pacific():
    left, bottom, right, top = Tile(10, 20).bounds
    to_degrees = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True)
    lon, lat = to_degrees.transform((left + right) / 2, (bottom + top) / 2)
    assert lon == pytest.approx(-169.6, abs=0.1)
    assert lat == pytest.approx(-47.75, abs=0.1)


def test_the_grid_covers_the_whole_projection():
    from_degrees = Transformer.from_crs("OGC:CRS84", CRS, always_xy=True)
    east, north = from_degrees.transform(180, 90)
    first, last = Tile(0, 0).bounds, Tile(AFRICA_10.columns - 1, AFRICA_10.rows - 1).bounds
    assert first[0] <= -east < first[2]
    assert first[1] <= -north < first[3]
    assert last[0] < east <= last[2]
    assert last[1] < north <= last[3]


def test_rows_grow_north_and_columns_east():
    here, north, east = Tile(215, 75).bounds, Tile(215, 76).bounds, Tile(216, 75).bounds
    assert north[1] == here[3]
    assert east[0] == here[2]


@pytest.mark.parametrize(
    "text", ["x10y20", "x010y020", "10,20", "X10Y20", " 10 , 20 ", "010,020", "x010y20\n"]
)
def test_accepted_names_print_padded(text):
    assert str(Tile.parse(text)) == "x010y020"


@pytest.mark.parametrize(
    "text",
    [
        *("", "x10", "y20", "10", "10,", "10 20", "x10y20z", "x-1y20", "-1,20", "x1.5y2"),
        *("x0010y0020", "x10,y20", "10;20", "x10y20 x11y20", "../x10y20", "eastern"),
    ],
)
def test_other_names_are_refused_in_one_line(text):
    with pytest.raises(Rejected, match="is not a tile name: write it like x215y075") as caught:
        Tile.parse(text)
    assert "\n" not in str(caught.value)
    assert caught.value.reason == "bad tile"


@pytest.mark.parametrize("text", ["x362y000", "x000y154", "999,999"])
def test_tiles_off_the_grid_are_refused(text):
    with pytest.raises(Rejected, match="is off the grid: columns are 0 to 361, rows 0 to 153"):
        Tile.parse(text)


@given(TILES)
def test_names_round_trip(tile):
    assert Tile.parse(str(tile)) == tile
    assert Tile.parse(f"{tile.x},{tile.y}") == tile
    assert len(str(tile)) == 8


@pytest.mark.parametrize(("resolution", "pixels"), [(10, 9600), (20, 4800), (60, 1600), (100, 960)])
def test_geoboxes_have_the_published_shape_and_affine(resolution, pixels):
    box = geobox(Tile(215, 75), resolution)
    assert box.shape == (pixels, pixels)
    assert box.crs == "EPSG:6933"
    assert box.affine[:6] == (resolution, 0, 3264000, 0, -resolution, -96000)


@given(TILES, st.sampled_from(RESOLUTIONS))
def test_geoboxes_fill_their_tile_exactly(tile, resolution):
    assert tuple(geobox(tile, resolution).boundingbox) == tile.bounds


@pytest.mark.parametrize("resolution", [0, -10, 1, 30, 96000])
def test_other_resolutions_are_refused(resolution):
    with pytest.raises(Rejected, match="is not offered: choose one of 10, 20, 60, 100"):
        geobox(Tile(1, 1), resolution)


WINDOWS = st.builds(
    GridWindow,
    st.integers(0, 90_000),
    st.integers(0, 200_000),
    st.integers(1, 30_000),
    st.integers(1, 30_000),
    st.just(10),
)


@given(WINDOWS, st.floats(-0.004, 0.004), st.floats(-0.004, 0.004))
def test_a_window_is_found_by_its_geobox(window, right, down):
    assert GridWindow.of_box(window.geobox) == window
    assert GridWindow.of_box(window.geobox.translate_pix(right, down)) == window
    assert GridWindow.of_box(window.geobox.translate_pix(0.3, 0)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda box: box.zoom_to(resolution=30),
        lambda box: box.zoom_to(resolution=10.01),
        lambda box: box.to_crs("EPSG:4326"),
        lambda box: box.rotate(20),
        lambda box: box.flipy(),
        lambda box: box.translate_pix(-5_000_000, 0),
        lambda box: box.translate_pix(0, 5_000_000),
    ],
)
def test_other_grids_have_no_window(change):
    assert GridWindow.of_box(change(geobox(Tile(215, 75)))) is None


@given(WINDOWS)
def test_the_tiles_of_a_window_hold_all_of_it(window):
    parts = [GridWindow.of_tile(tile, 10).within(window) for tile in window.tiles]
    assert sum(part.pixels for part in parts) == window.pixels
    assert all(part.pixels for part in parts)
    assert window.tiles == tuple(sorted(window.tiles))


@given(WINDOWS, WINDOWS)
def test_joined_windows_hold_both_and_no_more(one, other):
    both = one.joined(other)
    assert (one.within(both), other.within(both)) == (one, other)
    for inner in (
        both.part(0, 0, both.rows - 1, both.columns),
        both.part(1, 0, both.rows - 1, 9**6),
    ):
        assert one.within(inner) != one or other.within(inner) != other
