"""Repeats, contradictions and leaks, against the plainest ways to find them."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Geod

from cropmask.training.samplecheck import find_leak, find_nearest, find_repeats, round_places


def test_repeats_and_contradictions_are_exact() -> None:
    values = np.array([[1, 2], [3, 4], [1, 2], [1, 2], [3, 4], [5, 6], [5, 6.5]], np.float32)
    labels = np.array([1, 0, 1, 0, 0, 1, 0], np.uint8)
    found = find_repeats(values, labels)
    assert (found.groups, found.rows, found.contradictions) == (2, 3, 1)
    assert found.examples == ((0, 2, 3),)
    clean = find_repeats(values[4:], labels[4:])
    assert (clean.groups, clean.rows, clean.contradictions, clean.examples) == (0, 0, 0, ())
    same = find_repeats(values[[1, 4]], labels[[1, 4]])
    assert (same.rows, same.contradictions, same.examples) == (1, 0, ((0, 1),))


def test_places_are_compared_within_a_centimeter() -> None:
    places = np.array([[36.00000001, -0.00000001], [36, 0], [36.000001, 0]])
    assert find_repeats(round_places(places), np.array([1, 0, 0], np.uint8)).contradictions == 1


@pytest.mark.parametrize("many", [1, 40, 3000])
def test_the_nearest_is_the_nearest(many: int) -> None:
    random = np.random.default_rng(many)
    places = random.uniform((-20, -35), (50, 37), (300, 2))
    others = random.uniform((-20, -35), (50, 37), (many, 2))
    meters, nearest = find_nearest(places, others)
    geod = Geod(ellps="WGS84")
    for row in range(0, 300, 30):
        point = np.broadcast_to(places[row], others.shape)
        _, _, every = geod.inv(*point.T, *others.T)
        assert meters[row] == pytest.approx(every[nearest[row]])
        assert meters[row] <= every.min() * 1.006


def test_a_leak_has_its_distance_in_meters() -> None:
    validation = np.array([[36.0, 0.0], [40.0, 5.0]])
    places = np.array([[36.0, 0.001], [36.0, 0.001], [37.0, 0.0], [40.0, 5.0]])
    found = find_leak(places, validation, 500)
    assert (found.points, found.near, found.near_points) == (2, 3, 2)
    assert found.nearest_meters == 0
    assert [entry[:2] for entry in found.examples] == [(3, 1), (0, 0), (1, 0), (2, 0)]
    assert found.examples[1][2] == pytest.approx(110.574, abs=0.01)  # of latitude at the equator
    none = find_leak(places[2:3], validation, 500)
    assert (none.near, none.near_points) == (0, 0)
    assert none.nearest_meters == pytest.approx(111_319.5, abs=0.1)  # a degree of longitude there
