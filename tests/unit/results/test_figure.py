"""Figures: true to the ground and to the pixel, with the words and colors of the product."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import Tile, geobox
from cropmask.product import BANDS, FILTERED, GROUND, MASK, NODATA, PROB, Band
from cropmask.results.figure import (
    FIGURE_KINDS,
    GENERATOR,
    PANEL_PIXELS,
    Panel,
    encode_figure,
    make_figure,
    measure,
    paint_band,
    paint_natural,
)

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:odc")

TILE = Tile(215, 75)
HOSTILE = "$\\frac{1}{ $x^$ \n<b>\x07\ud800 漢字 50 %"


def scene(box: GeoBox, seed: int = 0) -> dict[Band, NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    prob = rng.integers(0, 101, box.shape, dtype=np.uint8)
    prob[:5] = NODATA
    mask = np.where(prob == NODATA, NODATA, prob > 50).astype(np.uint8)
    return {PROB: prob, MASK: mask, FILTERED: mask}


def draw(box: GeoBox, title: str = "A map", bands: tuple[Band, ...] = BANDS, **more: Any) -> Any:
    values = scene(box)
    panels = [Panel(band.title, paint_band(values[band], band), band) for band in bands]
    return make_figure(panels, box, title, **more)


def texts(figure: Any) -> list[str]:
    """Every word of a figure that is seen."""
    found = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in found if text.get_text() and text.get_visible()]


def rendered(figure: Any) -> NDArray[np.uint8]:
    """Pixels ``(y, x, 4)`` of its PNG."""
    image = matplotlib.image.imread(BytesIO(encode_figure(figure, "png", "a")), format="png")
    return np.round(image * 255).astype(np.uint8)


@pytest.mark.parametrize("tile", [Tile(10, 20), TILE, Tile(190, 110), Tile(186, 136)])
def test_ground_is_measured_where_it_is(tile: Tile) -> None:
    ground = measure(geobox(tile, 100))
    # EPSG:6933 keeps areas; along the meridian the ends are simply the corners.
    assert ground.width * ground.height == pytest.approx(96_000**2, rel=2e-3)
    to_degrees = Transformer.from_crs(6933, 4326, always_xy=True)
    (west, south), (_, north) = (to_degrees.transform(*tile.bounds[i : i + 2]) for i in (0, 2))
    _, _, height = Geod(ellps="WGS84").inv(west, south, west, north)
    assert ground.height == pytest.approx(height, rel=2e-3)
    assert ground.span == pytest.approx(north - south)
    assert south < ground.latitude < north


def test_a_map_at_the_edge_of_the_world_is_drawn_and_one_beyond_it_refused() -> None:
    assert encode_figure(draw(geobox(Tile(0, 77), 100)), "png", "a")
    with pytest.raises(Rejected, match="beyond the world"):
        draw(geobox(Tile(181, 153), 100))


def test_a_square_kilometer_in_belgium_is_square() -> None:
    """The scene of the documentation, whose pixels are 142 x 77."""
    box = geobox(Tile(186, 136), 10)
    left, _, _, top = Tile(186, 136).bounds
    row, column = round((top - 5_666_430) / 10), round((513_190 - left) / 10)
    ground = measure(box[row : row + 77, column : column + 142])
    assert (ground.width, ground.height) == (
        pytest.approx(1040, abs=10),
        pytest.approx(1050, abs=10),
    )


@pytest.mark.parametrize("number", [1, 3, 5])
def test_every_pixel_is_drawn_as_it_is(number: int) -> None:
    """Panels read in the shape that is asked for are not resampled again."""
    box = geobox(TILE, 100)
    rows, columns = measure(box).shape(PANEL_PIXELS if number > 1 else 1500)
    values = np.random.default_rng(0).integers(0, 2, (rows, columns), dtype=np.uint8)
    panels = [Panel(str(i), paint_band(values, MASK), MASK) for i in range(number)]
    figure = make_figure(panels, box, "A map")
    picture = rendered(figure)
    shown = [
        axes for axes in figure.axes if axes.images and axes.images[0].get_array().shape[0] > 1
    ]
    assert len(shown) == number
    for axes in shown:
        x, y, width, height = axes.get_position().bounds
        left, top = round(x * picture.shape[1]), round((1 - y - height) * picture.shape[0])
        assert (round(height * picture.shape[0]), round(width * picture.shape[1])) == (
            rows,
            columns,
        )
        # The frame lies over the outermost pixels.
        inner = picture[top + 2 : top + rows - 2, left + 2 : left + columns - 2]
        np.testing.assert_array_equal(inner, panels[0].pixels[2:-2, 2:-2])


def test_colors_are_the_published_ones() -> None:
    values = np.array([[0, 1, 255]], np.uint8)
    assert paint_band(values, MASK).tolist() == [[list(GROUND), [0, 255, 0, 255], [0] * 4]]
    assert paint_band(values, FILTERED).tolist() == [[list(GROUND), [255, 255, 0, 255], [0] * 4]]
    steps = np.array([[0, 50, 51, 100, 255]], np.uint8)
    assert paint_band(steps, PROB).tolist() == [
        [[0, 0, 0, 255], [187, 55, 84, 255], [190, 58, 81, 255], [252, 254, 164, 255], [0] * 4]
    ]


def test_natural_color_has_one_stretch_for_both_halves_and_all_colors() -> None:
    first = np.arange(1, 101, dtype=np.uint16).reshape(1, 10, 10).repeat(3, axis=0)
    first[2] = 50
    second = first + np.uint16(100)
    second[1, 0, 0] = 0  # nodata in one band is nodata
    dry, wet = paint_natural([first, second])
    assert (dry.shape, dry.dtype) == ((10, 10, 4), np.uint8)
    seen = [*first.ravel(), *second.reshape(3, 100)[:, 1:].ravel()]
    low, high = np.quantile(seen, (0.01, 0.99))
    assert dry[0, 0].tolist() == [0, 0, round((50 - low) / (high - low) * 255), 255]
    assert wet[4, 9, 0] == round((150 - low) / (high - low) * 255)
    assert wet[9, 9].tolist() == [255, 255, round((150 - low) / (high - low) * 255), 255]
    assert wet[0, 0, 3] == 0
    assert (dry[..., 3] == 255).all()


def test_nothing_seen_is_transparent() -> None:
    nothing = np.zeros((3, 4, 5), np.uint16)
    assert all(not pixels.any() for pixels in paint_natural([nothing, nothing]))


def test_the_legend_has_every_class_once() -> None:
    figure = draw(geobox(TILE, 100), facts=["Pixels of 100 m"], credit="An Agency, CC-BY-4.0")
    (legend,) = figure.findobj(matplotlib.legend.Legend)
    entries = {
        text.get_text(): matplotlib.colors.to_hex(patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert entries == {
        "Cropland (mask)": "#00ff00",
        "Cropland (filtered)": "#ffff00",
        "Not cropland": "#707070",
        "No data": "#ffffff",
    }
    (ramp,) = (axes for axes in figure.axes if axes.get_xlabel())
    assert ramp.get_xlabel() == "Crop probability (percent)"
    assert ramp.get_xticks().tolist() == [0, 50, 100]
    expected = paint_band(np.arange(101, dtype=np.uint8)[np.newaxis], PROB)
    np.testing.assert_array_equal(ramp.images[0].get_array(), expected)
    words = texts(figure)
    for found in ("A map", *(band.title for band in BANDS), "Pixels of 100 m", "N"):
        assert found in words
    assert words[-1] == "An Agency, CC-BY-4.0" or "An Agency, CC-BY-4.0" in words


def test_one_map_has_its_own_legend() -> None:
    (legend,) = draw(geobox(TILE, 100), bands=(FILTERED,)).findobj(matplotlib.legend.Legend)
    assert [text.get_text() for text in legend.get_texts()] == [
        "Cropland", "Not cropland", "No data",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("edge", "words"), [(960, "20 km"), (60, "2 km"), (7, "200 m"), (1, "20 m")]
)
def test_the_scale_is_true(edge: int, words: str) -> None:
    box = geobox(TILE, 100)[:edge, :edge]
    figure = draw(box)
    assert words in texts(figure)
    number, unit = words.split()
    meters = float(number) * {"m": 1, "km": 1000}[unit]
    (bar,) = (axes for axes in figure.axes if axes.containers)
    panel = figure.axes[0]
    share = bar.get_position().width / panel.get_position().width
    assert share * measure(box).width == pytest.approx(meters)


def test_a_wide_map_says_where_its_scale_is_true() -> None:
    box = GeoBox.from_bbox((3e6, -1e6, 4e6, 2e6), "EPSG:6933", resolution=3200)
    assert "200 km at 4° N" in texts(draw(box, bands=(MASK,)))


def test_a_place_is_marked_where_it_is() -> None:
    box = geobox(TILE, 100)
    figure = draw(box, place=(34.5, -1.3))
    assert "34.5000° E, 1.3000° S" in texts(figure)
    x, y = Transformer.from_crs(4326, 6933, always_xy=True).transform(34.5, -1.3)
    left, bottom, right, top = TILE.bounds
    ground = measure(box)
    for axes in figure.axes[:3]:
        for line in axes.lines:
            (at,) = line.get_xydata()
            assert at[0] / ground.width == pytest.approx((x - left) / (right - left))
            assert at[1] / ground.height == pytest.approx((y - bottom) / (top - bottom))


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (3, 40)])
@pytest.mark.parametrize("bands", [(MASK,), BANDS])
def test_any_shape_has_room_for_its_legend(shape: tuple[int, int], bands: tuple[Band, ...]) -> None:
    box = geobox(TILE, 100)[: shape[0], : shape[1]]
    figure = draw(box, "W" * 150, bands, facts=["W" * 90] * 3, credit="W " * 400)
    figure.draw_without_rendering()
    whole = figure.bbox
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_text() and text.get_visible():
            seen = text.get_window_extent()
            assert whole.x0 <= seen.x0 <= seen.x1 <= whole.x1, text
            assert whole.y0 <= seen.y0 <= seen.y1 <= whole.y1, text


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_texts_of_others_are_texts(kind: Any) -> None:
    figure = draw(geobox(TILE, 100)[:50, :50], HOSTILE, facts=[HOSTILE], credit=HOSTILE)
    shown = "$\\frac{1}{ $x^$ <b>?? 漢字 50 %"
    assert texts(figure).count(shown) == 3
    assert GENERATOR.encode() in encode_figure(figure, kind, HOSTILE)


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_equal_maps_are_equal_bytes_whatever_a_user_has_set(kind: Any) -> None:
    box = geobox(TILE, 100)[:90, :90]
    first = encode_figure(draw(box, "A $map$"), kind, "A map")
    assert GENERATOR.encode() in first
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.facecolor": "red"}):
        assert encode_figure(draw(box, "A $map$"), kind, "A map") == first
        assert matplotlib.rcParams["font.size"] == 30


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Misconfigured, match="'pip install matplotlib'"):
        draw(geobox(TILE, 100))
