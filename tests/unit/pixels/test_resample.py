"""Positions and values in other rasters, against GDAL's warper at tolerance 0."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.warp import Resampling, reproject

from cropmask.grid import Tile, geobox
from cropmask.pixels.resample import (
    Projector,
    Window,
    bilinear_window,
    fill_with_mean,
    nearest_window,
    sample_bilinear,
    sample_nearest,
)

BOX = geobox(Tile(215, 75), 60)[200:260, 500:570]


def source_over(box: GeoBox, crs: str, cell: float, shift: float, margin: int = 3) -> GeoBox:
    """A grid of another CRS that covers a box with some cells to spare."""
    left, bottom, right, top = box.boundingbox.bbox
    corners = Transformer.from_crs(box.crs.proj, crs, always_xy=True).transform(
        [left, right, left, right], [top, top, bottom, bottom]
    )
    x = min(corners[0]) - (margin + shift) * cell
    y = max(corners[1]) + (margin + shift) * cell
    columns = int((max(corners[0]) - min(corners[0])) / cell) + 2 * margin + 2
    rows = int((max(corners[1]) - min(corners[1])) / cell) + 2 * margin + 2
    return GeoBox((rows, columns), Affine(cell, 0, x, 0, -cell, y), crs)


def warped(cells: NDArray, source: GeoBox, box: GeoBox, how: Resampling) -> NDArray:
    out = np.full(box.shape, np.nan, cells.dtype)
    reproject(
        cells,
        out,
        src_transform=source.transform,
        src_crs=str(source.crs),
        dst_transform=box.transform,
        dst_crs=str(box.crs),
        resampling=how,
        tolerance=0,
        src_nodata=np.nan,
        dst_nodata=np.nan,
    )
    return out


def ours_nearest(cells: NDArray, source: GeoBox, box: GeoBox, row: int, rows: int) -> NDArray:
    at = Projector(source, box).positions(row, rows)
    window = nearest_window(at).clipped(*source.shape)
    part = cells[
        window.row : window.row + window.rows, window.column : window.column + window.columns
    ]
    return sample_nearest(part, window, at, np.nan)


def ours_bilinear(cells: NDArray, source: GeoBox, box: GeoBox, row: int, rows: int) -> NDArray:
    projector = Projector(source, box)
    window = bilinear_window(projector.outline())
    assert window == window.clipped(*source.shape), "the test's source must cover the box"
    part = cells[
        window.row : window.row + window.rows, window.column : window.column + window.columns
    ]
    return sample_bilinear(part.astype(float), window, projector.positions(row, rows))


GRIDS = [("EPSG:4326", 0.05), ("EPSG:4326", 1 / 3600), ("EPSG:6933", 45.0), ("EPSG:3857", 100.0)]
WARPED = [*GRIDS, ("EPSG:32736", 90.0)]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(WARPED), st.floats(0, 0.99), st.integers(0, 2**16))
def test_nearest_is_gdals_except_on_borders(grid: tuple[str, float], shift: float, seed: int):
    source = source_over(BOX, *grid, shift)
    cells = np.random.default_rng(seed).random(source.shape).astype(np.float32)
    ours = ours_nearest(cells, source, BOX, 0, BOX.shape.y)
    theirs = warped(cells, source, BOX, Resampling.nearest)
    at = Projector(source, BOX).positions(0, BOX.shape.y)
    to_border = [np.abs(axis - np.round(axis)) for axis in (at.x, at.y)]
    # GDAL's and pyproj's transverse Mercator differ by some millimeters.
    close = 1e-5 if at.x.shape[0] == 1 else 1e-3
    clear = (to_border[0] > close) & (to_border[1] > close)
    np.testing.assert_array_equal(ours[clear], theirs[clear])
    assert np.isfinite(ours).all()


@settings(max_examples=15, deadline=None)
@given(
    # GDAL widens its kernel where it shrinks; only where it enlarges is bilinear the same.
    st.sampled_from([("EPSG:4326", 0.05), ("EPSG:4326", 0.001), ("EPSG:6933", 300.0)]),
    st.floats(0, 0.99),
    st.integers(0, 2**16),
)
def test_bilinear_is_gdals(grid: tuple[str, float], shift: float, seed: int):
    source = source_over(BOX, *grid, shift)
    cells = np.random.default_rng(seed).uniform(0, 1000, source.shape).astype(np.float32)
    ours = ours_bilinear(cells, source, BOX, 0, BOX.shape.y)
    np.testing.assert_allclose(ours, warped(cells, source, BOX, Resampling.bilinear), atol=2e-2)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(WARPED), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_strips_of_any_height_give_the_same_bytes(grid: tuple[str, float], heights: list[int]):
    source = source_over(BOX, *grid, 0.3)
    cells = np.random.default_rng(1).random(source.shape).astype(np.float32)
    for sample in (ours_nearest, ours_bilinear):
        whole = sample(cells, source, BOX, 0, BOX.shape.y)
        row = 0
        for height in heights:
            rows = min(height, BOX.shape.y - row)
            if rows:
                np.testing.assert_array_equal(
                    sample(cells, source, BOX, row, rows), whole[row : row + rows]
                )
            row += rows


@pytest.mark.parametrize(("crs", "cell"), GRIDS)
def test_axes_equal_the_full_projection(crs: str, cell: float):
    source = source_over(BOX, crs, cell, 0.4)
    at = Projector(source, BOX).positions(10, 7)
    assert at.x.shape == (1, BOX.shape.x)
    assert at.y.shape == (7, 1)
    columns, rows = np.meshgrid(np.arange(BOX.shape.x) + 0.5, np.arange(10, 17) + 0.5)
    x, y = BOX.transform @ (columns, rows)
    x, y = Transformer.from_crs(BOX.crs.proj, crs, always_xy=True).transform(x, y)
    x, y = ~source.transform @ (x, y)
    np.testing.assert_allclose(np.broadcast_to(at.x, x.shape), x, atol=1e-6)
    np.testing.assert_allclose(np.broadcast_to(at.y, y.shape), y, atol=1e-6)


def test_columns_of_utm_depend_on_rows_too():
    source = source_over(BOX, "EPSG:32736", 90.0, 0.0)
    assert Projector(source, BOX).positions(0, 2).x.shape == (2, BOX.shape.x)


def test_outside_of_the_source_is_filled():
    source = GeoBox((2, 2), Affine(60, 0, BOX.boundingbox.left, 0, -60, BOX.boundingbox.top), 6933)
    cells = np.array([[1, 2], [3, 4]], np.float32)
    ours = ours_nearest(cells, source, BOX, 0, 4)
    np.testing.assert_array_equal(ours[:2, :2], cells)
    assert np.isnan(ours[2:]).all()
    assert np.isnan(ours[:, 2:]).all()


def test_bilinear_by_hand():
    left, top = BOX.boundingbox.left, BOX.boundingbox.top
    # Cells of 120 m whose centers lie at the tile's edges 0 m, 120 m ...
    source = GeoBox((4, 4), Affine(120, 0, left - 60, 0, -120, top + 60), 6933)
    cells = np.arange(16, dtype=float).reshape(4, 4)
    window = Window(0, 0, 4, 4)
    got = sample_bilinear(cells, window, Projector(source, BOX).positions(0, 2))
    # Pixel centers at 30 m and 90 m: a quarter and three quarters between centers.
    np.testing.assert_allclose(got[0, :3], [1.25, 1.75, 2.25])
    np.testing.assert_allclose(got[1, :3], [3.25, 3.75, 4.25])


def test_bilinear_with_nan_is_nan_only_where_it_weighs():
    left, top = BOX.boundingbox.left, BOX.boundingbox.top
    source = GeoBox((4, 40), Affine(120, 0, left - 60, 0, -120, top + 60), 6933)
    cells = np.zeros((4, 40))
    cells[0, 1] = np.nan
    got = sample_bilinear(cells, Window(0, 0, 4, 40), Projector(source, BOX).positions(0, 3))
    assert np.isnan(got[:2, :4]).all()
    assert np.isfinite(got[2]).all()
    assert np.isfinite(got[:, 4:]).all()


def test_gaps_take_the_mean():
    cells = np.array([[1.0, np.nan], [3.0, 5.0]])
    np.testing.assert_array_equal(fill_with_mean(cells), [[1, 3], [3, 5]])
    empty = np.full((2, 2), np.nan)
    assert np.isnan(fill_with_mean(empty)).all()


def test_windows_are_cut_at_the_edges():
    assert Window(-2, 3, 4, 9).clipped(10, 10) == Window(0, 3, 2, 7)
    assert Window(20, 0, 4, 4).clipped(10, 10).pixels == 0
