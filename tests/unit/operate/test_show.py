"""``cropmask show``: what is drawn of a result, and what is said where something is missing."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from rasterio.windows import Window

from cropmask.cli.show import show
from cropmask.errors import Rejected
from cropmask.grid import Tile
from cropmask.operate.show import draw_result, find_result
from cropmask.product import FILTERED, MASK, PROB, Product, find_band
from cropmask.results.figure import GENERATOR, measure, paint_band, paint_natural
from cropmask.site.site import Site, open_site
from cropmask.store.folder import FolderStore
from tests.results import EASTERN, YEAR, made_up_map, put_derived_result, put_result
from tests.worlds import TILE, World, make_world
from tests.years import PERIOD, draw_prob, draw_truth, put_simple_series

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:odc")

PLACE = (34.2, -1.0)
"""In the window of the world that has GeoMAD."""
TITLE = "Cropland 2019, eastern, tile x215y075 at 34.3° E, 1.1° S"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(
        tmp_path_factory.mktemp("world") / "a", resolution=100, size=(500, 600), offset=(100, 200)
    )


@pytest.fixture(scope="module")
def item(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_derived_result(tmp_path_factory.mktemp("results"), world)


def site_of(item: Path, world: World | None = None) -> Site:
    catalog = {"catalog": str(world.catalog)} if world else {}
    return open_site({}, {"output": str(item.parents[5]), "cache": str(item.parents[5]), **catalog})


def pictures(figure: Any) -> list[NDArray[np.uint8]]:
    """Pixels of the panels; the ramp of the legend is none."""
    found = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    return [pixels for pixels in found if pixels.shape[0] > 1]


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_five_panels_with_title_and_legend(item: Path, world: World) -> None:
    drawn = draw_result(str(item), site_of(item, world))
    assert (drawn.title, drawn.not_shown) == (TITLE, None)
    words = texts(drawn.figure)
    assert words[:6] == [
        TITLE,
        "Sentinel-2, January to June 2019",
        "Sentinel-2, July to December 2019",
        "Crop probability (prob)",
        "Cropland mask (mask)",
        "Cropland mask, filtered by objects (filtered)",
    ]
    assert "Pixels of 100 m, model: forest" in words
    assert "100.0% of the mapped land is cropland (filtered)" in words
    # A tile at the equator is wider than high, so it is read in that proportion.
    assert {pixels.shape for pixels in pictures(drawn.figure)} == {(473, 630, 4)}


def test_colors_of_the_made_up_map(item: Path, world: World) -> None:
    """Golden numbers: how many pixels have which color."""
    _, _, prob, mask, filtered = pictures(draw_result(str(item), site_of(item, world)).figure)
    counts = [Counter(map(tuple, pixels.reshape(-1, 4).tolist())) for pixels in (mask, filtered)]
    nothing = (0, 0, 0, 0)
    assert counts[0] == {(112, 112, 112, 255): 126_018, (0, 255, 0, 255): 142_173, nothing: 29_799}
    assert counts[1] == {
        (112, 112, 112, 255): 126_018,
        (255, 255, 0, 255): 142_173,
        nothing: 29_799,
    }
    assert (prob[..., 3] == 0).sum() == 29_799
    crop, mapped = ((made_up_map().mask == 1).mean(), (made_up_map().mask != 255).mean())
    assert crop / mapped == pytest.approx(142_173 / (142_173 + 126_018), abs=0.005)
    # Over one half in prob is crop in the mask, but where pixels of both are mixed.
    is_crop = (mask == (0, 255, 0, 255)).all(axis=-1)
    assert (prob[is_crop, 0] > 187).mean() > 0.98


def test_a_window_at_full_size_is_every_pixel_as_it_is(item: Path, world: World) -> None:
    drawn = draw_result(str(item), site_of(item, world), place=PLACE, kilometers=20)
    first, second, *bands = pictures(drawn.figure)
    folder, label = item.parent, item.name.partition(".")[0]
    with rasterio.open(folder / f"{label}_mask.tif") as raster:
        row, column = raster.index(*_meters(PLACE))
        ground = measure(site_box(raster))
        reach = (round(10_000 / (ground.height / 960)), round(10_000 / (ground.width / 960)))
    window = Window(column - reach[1], row - reach[0], 2 * reach[1], 2 * reach[0])
    for pixels, band in zip(bands, (PROB, MASK, FILTERED), strict=True):
        with rasterio.open(folder / f"{label}_{band.name}.tif") as raster:
            np.testing.assert_array_equal(pixels, paint_band(raster.read(1, window=window), band))
    rows = slice(row - reach[0] - world.row, row + reach[0] - world.row)
    columns = slice(column - reach[1] - world.column, column + reach[1] - world.column)
    halves = [half.reflectance[[2, 1, 0], rows, columns] for half in world.halves]
    for pixels, expected in zip((first, second), paint_natural(halves), strict=True):
        np.testing.assert_array_equal(pixels, expected)
    assert not any("mapped land" in text for text in texts(drawn.figure))


def _meters(place: tuple[float, float]) -> tuple[float, float]:
    from pyproj import Transformer

    return Transformer.from_crs(4326, 6933, always_xy=True).transform(*place)


def site_box(raster: Any) -> Any:
    from odc.geo.geobox import GeoBox

    return GeoBox(raster.shape, raster.transform, raster.crs)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


TROUBLES: dict[str, tuple[Callable[[World], object], str]] = {
    "gone": (lambda world: world.items[0].unlink(), "does not exist"),
    "no JSON": (lambda world: world.items[0].write_text("<html>"), "is not JSON"),
    "no GeoMAD": (lambda world: world.edit_assets(0, B04=None), "has no band 'red'"),
    "a raster gone": (lambda world: world.band_file(1, "red").unlink(), "does not exist"),
    "a raster cut": (
        lambda world: world.band_file(1, "red").write_bytes(b"II*\0"),
        "ends within its header",
    ),
    "another year": (
        lambda world: world.edit_item(
            1, start_datetime="2020-07-01T00:00:00Z", end_datetime="2020-12-31T23:59:59Z"
        ),
        "links no GeoMAD of 2019-07--P6M",
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_without_geomad_there_are_three_panels_and_a_note(
    world: World, tmp_path: Path, name: str
) -> None:
    break_, words = TROUBLES[name]
    broken = world.copied(tmp_path / "world")
    item = put_derived_result(tmp_path / "results", broken)
    break_(broken)
    drawn = draw_result(str(item), site_of(item, broken))
    assert drawn.not_shown is not None
    assert words in drawn.not_shown
    assert len(pictures(drawn.figure)) == 3
    assert "GeoMAD is not shown: it cannot be read." in texts(drawn.figure)


def test_inputs_outside_of_what_is_named_are_not_followed(item: Path) -> None:
    """An item may name any file of this machine as its input."""
    drawn = draw_result(str(item), site_of(item))
    assert "outside of the catalog's folder" in str(drawn.not_shown)
    assert len(pictures(drawn.figure)) == 3


def test_what_is_made_up_says_so(item: Path, tmp_path: Path) -> None:
    copy = tmp_path / item.name
    for path in item.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    edit(copy, lambda found: found["properties"].update({"cropmask:synthetic": True}))
    drawn = draw_result(str(copy), site_of(item))
    assert drawn.title == f"SYNTHETIC {TITLE}"
    assert "SYNTHETIC: made from made-up inputs. Not a map of any place." in texts(drawn.figure)


def test_a_place_outside_is_refused(item: Path) -> None:
    with pytest.raises(Rejected, match=r"36\.8000° E, 1\.3000° S is not in the result"):
        draw_result(str(item), site_of(item), place=(36.8, -1.3))


def test_the_latest_result_of_a_tile_is_found(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for product in (EASTERN, Product("eastern", "1.10.0"), Product("eastern", "1.9.0")):
        put_result(store, TILE, product)
    site = open_site({}, {"output": str(tmp_path)})
    assert "/1-10-0/x215/y075/2019--P1Y/" in find_result(site, TILE)
    assert "/1-1-0/" in find_result(site, TILE, "eastern", YEAR)
    with pytest.raises(Rejected, match="of eastern in 2020--P1Y is in"):
        find_result(site, TILE, "eastern", YEAR.year_of("2020"))
    put_result(store, TILE, Product("central", "1.1.0"))
    with pytest.raises(Rejected, match="of central and eastern: name one with --region"):
        find_result(site, TILE)
    assert "crop_mask_central" in find_result(site, TILE, "central")
    with pytest.raises(Rejected, match="no finished result of tile x216y075 is in"):
        find_result(site, Tile(216, 75))


def run(*words: object) -> Result:
    return CliRunner().invoke(show, [str(word) for word in words], catch_exceptions=True)


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("x215y075", "map.png"), ("X215Y75", "map.PDF"), ("34.2,-1.0", "map.svg"), ("item", None),
    ],
)  # fmt: skip
def test_a_figure_is_written(
    item: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str,
    name: str | None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = ["--output", item.parents[5], "--catalog", world.catalog]
    words += ["--out", name] if name else []
    result = run(item if what == "item" else what, *words)
    assert result.exit_code == 0, result.output
    path = tmp_path / (name or "crop_mask_eastern_x215y075_2019--P1Y.png")
    assert GENERATOR.encode() in path.read_bytes()
    assert result.stdout.splitlines()[0] == TITLE
    assert result.stderr == ""
    assert run(item if what == "item" else what, *words).exit_code == 0  # ours may be replaced
    if what == "item":  # which says where it lies: no place for results needs to be named
        assert run(item, "--env", "prod", "--catalog", world.catalog).exit_code == 0
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_series_is_drawn_with_its_own_bands(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "a")
    made = put_simple_series(store, Product("eastern", "1.1.0"), TILE, draw_prob(draw_truth()))
    site = open_site({}, {"output": store.root})
    item = find_result(site, TILE, period=PERIOD)
    assert item == find_result(site, TILE, "eastern", PERIOD)
    drawn = draw_result(item, site)
    bands = [find_band(name) for name in ("class", "changed", "flickers")]
    for pixels, band in zip(pictures(drawn.figure), bands, strict=True):
        shown = np.unique(pixels.reshape(-1, 4), axis=0)
        own = np.unique(paint_band(made[band.name], band).reshape(-1, 4), axis=0)
        assert {*map(tuple, shown)} <= {*map(tuple, own)}
        assert len(shown) > 3
    assert "Year of change (changed)" in texts(drawn.figure)
    drawn.figure.canvas.draw()
    ends = [text.get_window_extent() for text in drawn.figure.texts]
    assert min(end.y0 for end in ends) >= 0  # nothing of a long legend is cut off
    assert "Flags: an area of change comes from a sample." in texts(drawn.figure)
    assert drawn.not_shown is None  # no half-year is asked for
    with pytest.raises(Rejected, match="no band 'mask': choose of class, history"):
        draw_result(item, site, bands=[MASK])
    result = run(
        "x215y075", "--period", "2019--P6Y", "--band", "first", "--output", store.root,
        "--out", tmp_path / "first.png",
    )  # fmt: skip
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("dashes", [(), ("--",)])
def test_a_place_in_the_west_is_no_option(tmp_path: Path, dashes: tuple[str, ...]) -> None:
    put_result(FolderStore(tmp_path / "a"), Tile(170, 86))
    words = ("--km", 5, "--out", tmp_path / "a.png", "--output", tmp_path / "a")
    result = run(*words, *dashes, "-10.4,7.2") if dashes else run("-10.4,7.2", *words)
    assert result.exit_code == 0, result.output
    assert "GeoMAD is not shown: " in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("x999y999",), "off the grid"),
        (("200,5",), "not a place in degrees"),
        (("1,2,3",), "does not exist"),
        (("x215y075", "--km", "5"), "--km is around a place"),
        (("1,2", "--km", "0"), "no number above 0"),
        (("x215y075", "--out", "map.gif"), "no .png, .pdf, .svg"),
        (("x215y075", "--otu", "map.gif"), "No such option"),
    ],
)
def test_misuse(words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)


def test_a_file_of_others_is_not_replaced(item: Path, tmp_path: Path) -> None:
    path = tmp_path / "thesis.pdf"
    path.write_bytes(b"years of work")
    result = run(item, "--out", path)
    assert "is no file of this kind that cropmask has written" in str(result.exception)
    assert path.read_bytes() == b"years of work"


def test_a_newcomer_is_told_what_to_install(
    item: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(item, "--out", tmp_path / "a.png")
    assert str(result.exception) == (
        "drawing a figure needs the package matplotlib: 'make setup' in a clone of cropmask brings "
        "it, elsewhere 'pip install matplotlib'"
    )
    assert not list(tmp_path.iterdir())
