import numpy as np
import pytest

from cropmask.grid import Tile
from cropmask.testing.world.landscape import (
    elevation_row,
    log_rain,
    make_sites,
    missing_row,
    protected_row,
    salt_of,
    water_row,
)
from cropmask.testing.world.noise import add_octaves, octaves_at


def rows_of(fill, tile: Tile, step: float = 400.0, seed: int = 0) -> np.ndarray:
    left, _, _, top = tile.bounds
    size = int(96_000 / step)
    out = np.empty((size, size))
    for r in range(size):
        fill(out[r], left + step / 2, step, top - (r + 0.5) * step, make_sites(tile, seed))
    return out


@pytest.mark.parametrize("tile", [Tile(10, 20), Tile(215, 75), Tile(0, 0), Tile(361, 153)])
@pytest.mark.parametrize("seed", [0, 7])
def test_every_tile_has_a_high_place_water_protected_land_and_gaps(tile, seed):
    assert 0 < (rows_of(elevation_row, tile, seed=seed) > 3600).mean() < 0.02
    assert 0.003 < (rows_of(water_row, tile, seed=seed) > 0.2).mean() < 0.1
    assert 0.005 < rows_of(protected_row, tile, seed=seed).mean() < 0.05
    missing = rows_of(missing_row, tile, seed=seed)
    assert 0 < (missing == 2).mean() < 0.005
    assert 0 < (missing == 1).mean() < 0.008


def test_water_is_a_share_of_the_year_with_a_shore_between():
    water = rows_of(water_row, Tile(10, 20), 100.0)
    assert water.min() == 0
    assert water.max() == 1
    assert ((water > 0.05) & (water < 0.95)).any()


def test_what_a_tile_has_stays_inside_it():
    # Rows of the tile next door, drawn with this tile's places, show none of them.
    sites = make_sites(Tile(10, 20))
    left, _, right, _ = Tile(11, 20).bounds
    other = make_sites(Tile(11, 20))
    edge = np.arange(Tile(10, 20).bounds[1] + 500, Tile(10, 20).bounds[3], 1_000.0)
    for fill in (elevation_row, water_row, protected_row, missing_row):
        for y in edge:
            mine, theirs = np.empty(10), np.empty(10)
            fill(mine, left - 500, 100.0, y, sites)
            fill(theirs, left - 500, 100.0, y, other)
            np.testing.assert_array_equal(mine, theirs)
    assert right > left


def test_a_row_and_a_place_agree():
    row = np.zeros(50)
    add_octaves(row, 1_000.0, 37.0, -5_000.0, 900.0, 4, 3)
    places = [octaves_at(1_000.0 + 37.0 * k, -5_000.0, 900.0, 4, 3) for k in range(50)]
    np.testing.assert_array_equal(row, places)
    assert np.abs(row).max() < 1.25
    assert row.std() > 0.05


def test_noise_is_smooth_and_centered():
    row = np.zeros(200_000)
    add_octaves(row, 0.0, 10.0, 0.0, 1_000.0, 1, 1)
    assert abs(row.mean()) < 0.03
    assert np.abs(np.diff(row)).max() < 0.05


def test_rain_is_plausible_and_differs_between_halves_and_seeds():
    places = [(x * 30_000.0, y * 30_000.0) for x in range(20) for y in range(20)]
    rain = np.exp([[log_rain(half, x, y, salt_of(0)) for x, y in places] for half in (0, 1)])
    assert rain.min() > 80
    assert rain.max() < 2500
    assert abs(np.corrcoef(rain)[0, 1]) < 0.5
    again = np.exp([log_rain(0, x, y, salt_of(1)) for x, y in places])
    assert abs(np.corrcoef(rain[0], again)[0, 1]) < 0.5
