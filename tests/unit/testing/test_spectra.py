import numpy as np
import pytest

from cropmask.core.features import features as features_of
from cropmask.core.strips import Strip
from cropmask.grid import Tile
from cropmask.testing.world.landcovers import load_covers, make_covers
from cropmask.testing.world.landscape import elevation_row, log_rain, make_sites, missing_row
from cropmask.testing.world.spectra import MIXED, draw_covers, draw_half, draw_truth
from docs.make_demo_statistics import (
    encode_statistics,
    make_statistics,
    read_samples,
    spectra,
)
from tests.shareddata import needs_shared, shared

TILE = Tile(10, 20)
EASTERN = "training/eastern.txt"


def test_the_same_pixels_twice_and_in_strips_of_any_height():
    whole = draw_half(TILE, 100, 0, 0, 90)
    for rows in (1, 7, 64):
        parts = [draw_half(TILE, 100, 0, row, rows) for row in range(0, 90, rows)]
        reflectance = np.concatenate([part.reflectance for part in parts], axis=1)[:, :90]
        deviation = np.concatenate([part.deviation for part in parts], axis=1)[:, :90]
        np.testing.assert_array_equal(reflectance, whole.reflectance)
        np.testing.assert_array_equal(deviation, whole.deviation)


def test_seeds_and_halves_differ():
    first = draw_half(TILE, 100, 0, 0, 20).reflectance
    assert (first != draw_half(TILE, 100, 1, 0, 20).reflectance).mean() > 0.8
    assert (first != draw_half(TILE, 100, 0, 0, 20, seed=1).reflectance).mean() > 0.8


def test_pixels_are_what_geomad_holds():
    half = draw_half(TILE, 100, 0, 0, 960)
    assert half.reflectance.dtype == np.uint16
    assert half.reflectance.shape == (9, 960, 960)
    assert half.deviation.dtype == np.float32
    seen = half.reflectance[0] > 0
    assert (half.reflectance > 0).all(axis=0).sum() == seen.sum()
    np.testing.assert_array_equal(np.isfinite(half.deviation).all(axis=0), seen)
    assert half.reflectance.max() <= 10_000
    bcdev, edev, sdev = (values[seen] for values in half.deviation)
    # The ranges that the real samples have.
    assert 0.9 < np.median(-np.log(bcdev)) < 5.3
    assert 0.3 < np.median(-np.log(edev / 10_000)) < 4.5
    assert 2.3 < np.median(-np.log(sdev)) < 9.9


def test_missing_images_are_nodata_in_the_right_half():
    first, second = (draw_half(TILE, 100, half, 0, 960).reflectance[0] == 0 for half in (0, 1))
    left, _, _, top = TILE.bounds
    missing = np.empty((960, 960))
    for r in range(960):
        missing_row(missing[r], left + 50, 100.0, top - (r + 0.5) * 100, make_sites(TILE))
    np.testing.assert_array_equal(first, missing == 2)
    np.testing.assert_array_equal(second, missing >= 1)
    assert (second & ~first).sum() > 1000


def test_resolutions_show_the_same_land():
    # Every third pixel of 20 m has its center where a pixel of 60 m has it.
    coarse = draw_covers(TILE, 60, 0, 200)
    fine = draw_covers(TILE, 20, 0, 600)[1::3, 1::3]
    np.testing.assert_array_equal(coarse, fine)
    first = draw_half(TILE, 60, 0, 0, 50).reflectance
    np.testing.assert_array_equal(first, draw_half(TILE, 20, 0, 0, 150).reflectance[:, 1::3, 1::3])


def test_neighbors_join_without_a_seam():
    # Fields that cross the border look the same on both sides.
    west = draw_half(TILE, 20, 0, 0, 400)
    east = draw_half(Tile(11, 20), 20, 0, 0, 400)
    covers = [draw_covers(tile, 20, 0, 400) for tile in (TILE, Tile(11, 20))]

    def change(left: np.ndarray, right: np.ndarray) -> float:
        return float(np.median(np.abs(left.astype(float) - right)))

    across = change(west.reflectance[3, :, -1], east.reflectance[3, :, 0])
    inside = change(west.reflectance[3, :, -2], west.reflectance[3, :, -1])
    assert across < 1.5 * inside
    joined = (covers[0][:, -1] == covers[1][:, 0]).mean()
    assert joined > (covers[0][:, -3] == covers[0][:, -2]).mean() - 0.05
    assert joined > 0.85


def test_all_covers_appear():
    covers = draw_covers(TILE, 60, 0, 1600)
    load = load_covers()
    assert {load.water, load.wetland, load.settlement, load.forest, load.bare} < set(
        np.unique(covers)
    )
    assert len(set(np.unique(covers)) & set(np.flatnonzero(load.crop))) > 5
    assert 0.01 < (covers == MIXED).mean() < 0.08
    truth = draw_truth(TILE, 60, 0, 1600)
    assert set(np.unique(truth)) == {0, 1, MIXED}
    assert 0.2 < (truth == 1).mean() < 0.7


def test_fields_are_as_long_as_real_ones():
    covers = draw_covers(TILE, 10, 3000, 100)
    changes = (np.diff(covers.astype(int), axis=1) != 0).mean()
    mean_chord_m = 10 / changes
    # Squares of 2 and 20 ha have edges of 140 and 450 m; neighbors may share a cover.
    assert 140 < mean_chord_m < 600


def test_statistics_are_sound():
    covers = load_covers()
    assert covers.mean.shape == (48, 24)
    assert covers.factors.shape == (48, 3, 24)
    assert covers.crop.sum() == 24
    assert np.isfinite(covers.mean).all()
    assert (covers.rain_deviation > 0).all()
    wet = np.exp(covers.mean[covers.water])
    assert wet[1] > wet[4]


@needs_shared(EASTERN)
def test_statistics_come_from_the_samples():
    crop, features = read_samples(shared(EASTERN))
    covers = load_covers()
    logs = spectra(features)
    for is_crop in (True, False):
        chosen = covers.crop == is_crop
        assert covers.weight[chosen].sum() == (crop == is_crop).sum()
        mean = np.average(covers.mean[chosen], axis=0, weights=covers.weight[chosen])
        np.testing.assert_allclose(mean, logs[crop == is_crop].mean(0), atol=2e-3)


@needs_shared(EASTERN)
def test_statistics_are_made_again_from_fewer_samples():
    pytest.importorskip("sklearn")
    crop, features = read_samples(shared(EASTERN))
    document = make_statistics(crop[::3], features[::3])
    assert "CC BY 4.0" in document["credit"]
    assert "Digital Earth Africa" in document["credit"]
    text = encode_statistics(document)
    assert text.count("\n") == 54
    assert make_covers(document).mean.shape == (48, 24)


@needs_shared(EASTERN)
def test_a_forest_of_the_samples_sees_the_made_up_land_as_land():
    ensemble = pytest.importorskip("sklearn.ensemble")
    crop, features = read_samples(shared(EASTERN))
    forest = ensemble.RandomForestClassifier(100, criterion="entropy", random_state=1, n_jobs=1)
    forest.fit(features.astype(np.float32), crop)
    every, step = 20, 100
    left, _, _, top = TILE.bounds
    sites = make_sites(TILE)
    right: dict[bool, list[bool]] = {False: [], True: []}
    for row in range(0, 960, every):
        y = top - (row + 0.5) * step
        ground = np.empty((3, 962))
        for k in range(3):
            elevation_row(ground[k], left - step / 2, float(step), y + (1 - k) * step, sites)
        rise = np.hypot(ground[1, 2:] - ground[1, :-2], (ground[2] - ground[0])[1:-1])
        rain = [
            [[np.exp(log_rain(half, left + (c + 0.5) * step, y, sites.salt)) for c in range(960)]]
            for half in (0, 1)
        ]
        strip = Strip(
            row=row,
            first=draw_half(TILE, step, 0, row, 1),
            second=draw_half(TILE, step, 1, row, 1),
            rain=np.array(rain, np.float32),
            slope=(100 * rise / (2 * step)).astype(np.float32)[np.newaxis],
        )
        table = features_of(strip)[:, 0].T
        truth = draw_truth(TILE, step, row, 1)[0]
        seen = strip.first.reflectance[0, 0] > 0
        for is_crop in (False, True):
            picked = np.flatnonzero(seen & (truth == is_crop))[::7]
            right[is_crop] += list(forest.predict(table[picked]) == is_crop)
    assert np.mean(right[False] + right[True]) >= 0.80
    assert np.mean(right[True]) > 0.7
    assert np.mean(right[False]) > 0.7
