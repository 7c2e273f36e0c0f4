"""Folds against plain loops over pairs of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.errors import Rejected
from cropmask.region.region import load_region
from cropmask.training.folds import (
    TERRAIN,
    buffered_folds,
    grouped_folds,
    join_duplicates,
    place_groups,
    random_folds,
    terrain_groups,
)
from cropmask.training.samples import load_coordinates, load_samples
from tests.shareddata import shared
from tests.unit.training.tables import make_samples


def places(rows: int, km: float = 800) -> np.ndarray:
    return np.random.default_rng(3).uniform(0, km * 1000, (rows, 2))


def test_random_folds_are_the_published_ones() -> None:
    from sklearn.model_selection import KFold

    expected = KFold(n_splits=7, shuffle=True, random_state=0).split(np.zeros(100))
    for (train, test), (a, b) in zip(random_folds(100, 7), expected, strict=True):
        np.testing.assert_array_equal(train, a)
        np.testing.assert_array_equal(test, b)


def test_no_two_places_of_a_group_lie_farther_apart_than_said() -> None:
    xy = places(200)
    groups = place_groups(xy, 100)
    for number in np.unique(groups):
        mine = xy[groups == number]
        distances = [np.hypot(*(a - b)) for a in mine for b in mine]
        assert max(distances) <= 100_000


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda x: len(set(x)) > 1),
    st.integers(2, 7),
    st.integers(0, 5),
)
def test_whole_groups_are_held_out_once(numbers: list[int], count: int, seed: int) -> None:
    groups = np.array(numbers)
    folds = grouped_folds(groups, count, seed)
    assert len(folds) == min(count, len(set(numbers)))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(groups)))
    for train, test in folds:
        assert len(test) > 0
        assert sorted([*train, *test]) == list(range(len(groups)))
        assert not set(groups[train]) & set(groups[test])
    largest = int(np.bincount(groups).max())
    sizes = [len(test) for _, test in folds]
    assert max(sizes) - min(sizes) <= largest
    for (train, test), (a, b) in zip(folds, grouped_folds(groups, count, seed), strict=True):
        assert (train.tolist(), test.tolist()) == (a.tolist(), b.tolist())


def test_another_seed_shuffles_groups() -> None:
    groups = np.arange(50)
    tests = {tuple(grouped_folds(groups, 5, seed)[0][1]) for seed in range(10)}
    assert len(tests) == 10


def test_a_buffer_drops_exactly_what_is_near() -> None:
    xy = places(150)
    groups = place_groups(xy, 100)
    dropped = 0
    plain = grouped_folds(groups, 4, 7)
    for (train, test), (all_train, all_test) in zip(
        buffered_folds(xy, groups, 4, 7, km=50), plain, strict=True
    ):
        assert test.tolist() == all_test.tolist()
        expected = [
            row for row in all_train if min(np.hypot(*(xy[row] - xy[t])) for t in test) > 50_000
        ]
        assert train.tolist() == expected
        dropped += len(all_train) - len(train)
    assert dropped > 0


def test_duplicates_lie_in_one_group() -> None:
    x = make_samples(40).features.copy()
    x[7] = x[3]
    x[20] = x[3]
    groups = join_duplicates(x, np.arange(40) // 2)
    assert groups[7] == groups[3] == groups[20] == groups[2] == groups[6] == groups[21]
    assert len(np.unique(groups)) == 20 - 2
    assert sorted(np.unique(groups)) == list(range(18))
    np.testing.assert_array_equal(
        join_duplicates(make_samples(40).features, np.arange(40) // 2), np.arange(40) // 2
    )


def test_like_terrain_is_one_group() -> None:
    samples = make_samples(300)
    samples.features[:, samples.names.index("slope")] = 3.0
    groups = terrain_groups(samples)
    columns = [samples.names.index(name) for name in TERRAIN]
    for cell in np.unique(samples.features[:, columns], axis=0):
        same = (samples.features[:, columns] == cell).all(axis=1)
        assert len(np.unique(groups[same])) == 1
    assert len(np.unique(groups)) == 40


def test_one_group_is_refused() -> None:
    with pytest.raises(Rejected, match="one group"):
        grouped_folds(np.zeros(9, np.int64), 3, 0)


@pytest.mark.parametrize(
    ("region", "clusters"), [("eastern", 32), ("western", 18), ("northern", 31)]
)
def test_groups_of_places_are_the_published_ones(region: str, clusters: int) -> None:
    samples = load_samples(shared(f"training/{region}.txt"))
    xy = load_coordinates(shared(f"coordinates/{region}.txt"), len(samples.labels))
    distance = load_region(region).training.cluster_km
    assert distance is not None
    assert len(np.unique(place_groups(xy, distance))) == clusters
