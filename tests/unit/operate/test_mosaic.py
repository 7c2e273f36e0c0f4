"""A quick look of a region: what is in it, where, and in which colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo import cog_validate

from cropmask.errors import Rejected
from cropmask.grid import AFRICA_10, MOSAIC_RESOLUTIONS, Tile
from cropmask.operate import mosaic
from cropmask.operate.mosaic import MAX_PIXELS, make_grid, make_mosaic
from cropmask.product import FILTERED, HISTORY, MASK, PROB, SERIES_BANDS, Band
from cropmask.results.figure import encode_figure, paint_band
from cropmask.store.folder import FolderStore
from tests.results import EASTERN, YEAR, made_up_map, put_files, put_result
from tests.years import PERIOD, draw_prob, draw_truth, put_simple_series

SOUTH, NORTH, EAST, EMPTY = Tile(215, 75), Tile(215, 76), Tile(216, 75), Tile(216, 76)
REGION = (SOUTH, NORTH, EAST, EMPTY)
OUTSIDE = Tile(220, 75)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    store = FolderStore(tmp_path_factory.mktemp("results"))
    for seed, tile in enumerate((SOUTH, NORTH, EAST, OUTSIDE)):
        put_result(store, tile, seed=seed)
    return store


def look(store: FolderStore, path: Path, band: Band, meters: int) -> NDArray[np.uint8]:
    made = make_mosaic(store, EASTERN, YEAR, band, REGION, path, meters=meters)
    assert (made.mapped, made.tiles, made.unreadable) == (3, 4, ())
    with rasterio.open(made.cog) as raster:
        assert (raster.crs.to_epsg(), raster.nodata) == (6933, 255)
        assert raster.bounds == (*SOUTH.bounds[:2], *EMPTY.bounds[2:])
        return raster.read(1)


def test_at_native_size_it_is_the_tiles_side_by_side(store: FolderStore, tmp_path: Path) -> None:
    pixels = look(store, tmp_path / "a.tif", MASK, 100)
    maps = [made_up_map(seed).mask for seed in range(3)]
    nothing = np.full((960, 960), 255, np.uint8)
    expected = np.block([[maps[1], nothing], [maps[0], maps[2]]])
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("meters", [200, 400, 1600])
def test_classes_are_never_averaged(store: FolderStore, tmp_path: Path, meters: int) -> None:
    pixels = look(store, tmp_path / "a.tif", FILTERED, meters)
    assert set(np.unique(pixels)) == {0, 1, 255}
    # Rectangles of 4 km: every pixel lies in one of them, so nothing is a matter of majority.
    step = meters // 100
    expected = made_up_map(0).filtered[::step, ::step]
    edge = 960 // step
    assert (pixels[edge:, :edge] == expected).mean() > 0.97
    assert (pixels[:edge, edge:] == 255).all()


def test_probabilities_are_means(store: FolderStore, tmp_path: Path) -> None:
    pixels = look(store, tmp_path / "a.tif", PROB, 800)[120:, :120].astype(float)
    blocks = made_up_map(0).prob.astype(float).reshape(120, 8, 120, 8)
    blocks[blocks == 255] = np.nan
    with np.errstate(all="ignore"):
        known = ~np.isnan(blocks).all(axis=(1, 3))
        expected = np.nanmean(np.where(known[:, None, :, None], blocks, 0), axis=(1, 3))
    assert ((pixels == 255) == ~known).all()
    assert np.abs(pixels - expected)[known].max() <= 2


def test_a_valid_cog_and_a_plain_picture_where_matplotlib_is_not_installed(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic, "has_matplotlib", lambda: False)
    made = make_mosaic(store, EASTERN, YEAR, FILTERED, REGION, tmp_path / "m.tif", meters=200)
    assert cog_validate(made.cog, strict=True)[0]
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(made.picture) as png:
        colors = png.read()
    with rasterio.open(made.cog) as raster:
        pixels = raster.read(1)
    assert colors.shape == (4, *pixels.shape)
    crop = next(c.color for c in FILTERED.classes if c.name == "crop")
    assert (colors[:, pixels == 1] == np.array(crop)[:, None]).all()
    assert (colors[3][pixels == 255] == 0).all()
    assert (colors[3][pixels == 0] == 255).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.png", "m.tif"]
    assert not made.is_drawn


@pytest.mark.parametrize("band", [MASK, PROB], ids=lambda band: band.name)
def test_a_picture_with_title_and_legend(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, band: Band
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from matplotlib.legend import Legend

    drawn = []
    monkeypatch.setattr(
        mosaic, "encode_figure", lambda *words: drawn.append(words[0]) or encode_figure(*words)
    )
    made = make_mosaic(store, EASTERN, YEAR, band, REGION, tmp_path / "m.tif", meters=200)
    assert made.is_drawn
    (figure,) = drawn
    texts = [text.get_text() for text in figure.texts]
    assert texts[:2] == ["Cropland 2019, Eastern Africa", f"{band.title} ({band.name})"]
    assert texts[-3:-1] == ["3 of 4 tiles", "Pixels of 200 m"]
    (legend,) = figure.findobj(Legend)
    classes = ["Cropland", "Not cropland"] if band is MASK else []
    assert [text.get_text() for text in legend.get_texts()] == [*classes, "No data"]
    with rasterio.open(made.cog) as raster:
        expected = paint_band(raster.read(1), band)
        if band is MASK:
            assert raster.colormap(1)[1] == (0, 255, 0, 255)
    pixels = figure.axes[0].images[0].get_array()
    assert pixels.shape[1] == expected.shape[1]  # rows are fewer: a tile is wider than high
    assert not np.ma.is_masked(pixels)
    assert colors_of(np.asarray(pixels)) <= colors_of(expected)


def colors_of(pixels: NDArray[np.uint8]) -> set[int]:
    """Different colors of a picture ``(y, x, RGBA)``."""
    assert (pixels.dtype, pixels.shape[2]) == (np.uint8, 4)
    return set(np.unique(np.ascontiguousarray(pixels).view(np.uint32)).tolist())


def test_a_series_has_its_own_bands_and_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    drawn = []
    monkeypatch.setattr(
        mosaic, "encode_figure", lambda *words: drawn.append(words[0]) or encode_figure(*words)
    )
    store, path = FolderStore(tmp_path / "own"), tmp_path / "m.tif"
    made = put_simple_series(store, EASTERN, SOUTH, draw_prob(draw_truth()))
    for band in SERIES_BANDS:
        make_mosaic(store, EASTERN.series, PERIOD, band, [SOUTH], path, meters=100)
        with rasterio.open(path) as raster:
            assert (raster.dtypes[0], raster.nodata) == (band.dtype, band.nodata)
            np.testing.assert_array_equal(raster.read(1), made[band.name])
    titles = {figure.texts[0].get_text() for figure in drawn}
    assert titles == {"Change of cropland 2019 to 2024, A made-up region"}
    for band, figure in zip(SERIES_BANDS, drawn, strict=True):
        shown = colors_of(np.asarray(figure.axes[0].images[0].get_array()))
        assert shown <= colors_of(paint_band(made[band.name], band))
        assert band is HISTORY or len(shown) > 2


def test_a_tile_without_an_item_is_not_shown(store: FolderStore, tmp_path: Path) -> None:
    own = FolderStore(tmp_path / "own")
    put_result(own, SOUTH)
    put_result(own, EAST)
    put_files(own, [NORTH])  # finished, but its files are no rasters
    for entry in own.list():
        if "x216y075" in entry.key and entry.key.endswith(".stac-item.json"):
            own.remove(entry.key)
    made = make_mosaic(own, EASTERN, YEAR, MASK, REGION, tmp_path / "m.tif", meters=800)
    assert (made.mapped, made.unreadable) == (1, (NORTH,))


def test_what_is_made_up_says_so(tmp_path: Path) -> None:
    own = FolderStore(tmp_path / "own")
    put_result(own, SOUTH)
    assert not make_mosaic(own, EASTERN, YEAR, MASK, [SOUTH], tmp_path / "m.tif").synthetic
    title = b'{"title": "SYNTHETIC crop mask", "attribution": "An Agency, MIT"}'
    own.put("crop_mask_eastern/collection.json", title, "application/json")
    made = make_mosaic(own, EASTERN, YEAR, MASK, [SOUTH], tmp_path / "m.tif")
    assert made.synthetic
    with rasterio.open(made.cog) as raster:
        assert raster.tags()["TIFFTAG_IMAGEDESCRIPTION"].startswith("SYNTHETIC crop_mask_eastern")
        assert raster.tags()["TIFFTAG_COPYRIGHT"] == "An Agency, MIT"


def test_nothing_finished(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no tile of crop_mask_eastern in 2019--P1Y is finished"):
        make_mosaic(FolderStore(tmp_path), EASTERN, YEAR, MASK, REGION, tmp_path / "m.tif")
    assert not list(tmp_path.iterdir())


@given(
    st.sets(
        st.builds(Tile, st.integers(0, AFRICA_10.columns - 1), st.integers(0, AFRICA_10.rows - 1)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([None, *MOSAIC_RESOLUTIONS]),
)
def test_a_grid_holds_every_tile_once(tiles: set[Tile], meters: int | None) -> None:
    grid = make_grid(tiles, meters)
    height, width = grid.geobox.shape
    assert (height, width) == (grid.rows * grid.edge, grid.columns * grid.edge)
    corners = set()
    for tile in tiles:
        window = grid.window(tile)
        assert 0 <= window.col_off <= width - grid.edge
        assert 0 <= window.row_off <= height - grid.edge
        corners.add((window.row_off, window.col_off))
        x, y = grid.geobox.affine @ (window.col_off, window.row_off)
        assert (x, y) == pytest.approx((tile.bounds[0], tile.bounds[3]))
    assert len(corners) == len(tiles)
    assert meters or max(height, width) <= MAX_PIXELS or grid.meters == MOSAIC_RESOLUTIONS[-1]
