"""Folds: which samples are held out together, and which ones a model may then be trained on.

Rows that lie together are alike, and a model that saw a neighbor of a held-out row has nearly seen
the row. So whole groups are held out: places within a distance of each other, or, where no
coordinates are known, land of like rain and slope.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.model_selection import GroupShuffleSplit, KFold

from cropmask.errors import Rejected
from cropmask.training.figures import GroupedBy
from cropmask.training.samples import Samples

GROUP_KM: Final = 100.0
"""Places of one group lie at most this far apart."""
BUFFER_KM: Final = 50.0
"""Training rows nearer than this to a held-out row are dropped."""
GROUPED_COUNT: Final = 5
"""Folds of whole groups."""
LEAST_PLACES: Final = 3
"""Groups of places, below which land of like rain and slope is held out instead."""
TERRAIN: Final = ("rain_S1", "rain_S2", "slope")
TERRAIN_GROUPS: Final = 60
SPATIAL_SPLITS: Final = 10
HELD_OUT: Final = 0.2
"""Share of the clusters that each split of the published distance holds out."""
SEED: Final = 1
"""Seed of the clusters, and of the splits of the published distance."""

SampleGroups = NDArray[np.int64]
"""``(row,)``: number of each row's group, from 0 without a gap."""
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows to train on, and rows held out; both ascending."""


def random_folds(rows: int, count: int) -> Iterator[Fold]:
    """The published folds: shuffled rows, seed 0. Duplicate rows are in several folds."""
    return iter(KFold(count, shuffle=True, random_state=0).split(np.zeros(rows)))


def place_groups(coordinates: NDArray[np.float64], km: float = GROUP_KM) -> SampleGroups:
    """Group ``(row,)`` of places: complete linkage, no two of a group farther apart than ``km``.

    ``coordinates`` is ``(row, 2)`` EPSG:6933 meters.
    """
    clustering = AgglomerativeClustering(
        n_clusters=None, linkage="complete", distance_threshold=km * 1000
    )
    return np.asarray(clustering.fit_predict(coordinates), np.int64)


def terrain_groups(samples: Samples) -> SampleGroups:
    """Group ``(row,)`` of like rain in both half-years and like slope: a stand-in for place.

    Rain comes from cells of about 5 km, so neighbors share it; every sample has it, whether or
    not its place is known. But groups are no places: one may be spread over a region, and two may
    touch, so what is trained on may lie nearer to what is held out than with groups of places.
    """
    columns = [samples.names.index(name) for name in TERRAIN]
    terrain = samples.features[:, columns].astype(np.float64)
    deviation = terrain.std(0)
    standard = (terrain - terrain.mean(0)) / np.where(deviation > 0, deviation, 1.0)
    count = min(TERRAIN_GROUPS, len(np.unique(standard, axis=0)))
    found = KMeans(count, n_init=10, random_state=SEED).fit_predict(standard)
    return np.asarray(found, np.int64)


def join_duplicates(features: NDArray[np.float32], groups: SampleGroups) -> SampleGroups:
    """SampleGroups joined until exact duplicate rows of features lie in one group."""
    _, same = np.unique(features, axis=0, return_inverse=True)
    rows, same = len(groups), same.ravel()
    first = int(groups.max()) + 1
    size = first + int(same.max()) + 1
    links = coo_matrix((np.ones(rows, np.int8), (groups, first + same)), shape=(size, size))
    _, parts = connected_components(links, directed=False)
    _, joined = np.unique(parts[groups], return_inverse=True)
    return np.asarray(joined.ravel(), np.int64)


def find_groups(
    samples: Samples, coordinates: NDArray[np.float64] | None
) -> tuple[SampleGroups, GroupedBy]:
    """SampleGroups to hold out whole: places if they are known and far enough apart, else terrain.

    Exact duplicate rows lie in one group.
    """
    if coordinates is not None:
        places = join_duplicates(samples.features, place_groups(coordinates))
        if len(np.unique(places)) >= LEAST_PLACES:
            return places, "place"
    terrain = join_duplicates(samples.features, terrain_groups(samples))
    if len(np.unique(terrain)) < 2:
        raise Rejected("all samples have the same rain and slope: they make no groups to hold out")
    return terrain, "terrain"


def grouped_folds(groups: SampleGroups, count: int, seed: int) -> list[Fold]:
    """Folds of whole groups, of about equal size; another seed shuffles the groups otherwise.

    At most as many folds as there are groups; Rejected if there is only one.
    """
    numbers, sizes = np.unique(groups, return_counts=True)
    if len(numbers) < 2:
        raise Rejected("all samples are of one group: there is none to hold out")
    count = min(count, len(numbers))
    held = np.zeros(count, np.int64)
    fold_of = np.empty(len(numbers), np.int64)
    for index in np.random.default_rng(seed).permutation(len(numbers)):
        fold = int(np.argmin(held))
        fold_of[index] = fold
        held[fold] += sizes[index]
    fold_of_row = fold_of[np.searchsorted(numbers, groups)]
    return [
        (np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold))
        for fold in range(count)
    ]


def buffered_folds(
    coordinates: NDArray[np.float64],
    groups: SampleGroups,
    count: int,
    seed: int,
    km: float = BUFFER_KM,
) -> list[Fold]:
    """The folds of :func:`grouped_folds` without training rows within ``km`` of a held-out row."""
    return [
        (train[~_near(coordinates[train], coordinates[test], km)], test)
        for train, test in grouped_folds(groups, count, seed)
    ]


def spatial_folds(groups: SampleGroups) -> Iterator[Fold]:
    """Ten splits that each hold out a fifth of the groups, as published for the distance."""
    splitter = GroupShuffleSplit(SPATIAL_SPLITS, test_size=HELD_OUT, random_state=SEED)
    return iter(splitter.split(np.zeros(len(groups)), groups=groups))


def _near(places: NDArray[np.float64], others: NDArray[np.float64], km: float) -> NDArray[np.bool_]:
    """``(row,)`` of places: whether one of the others lies within ``km``."""
    if not len(places):
        return np.zeros(0, np.bool_)
    distance, _ = cKDTree(others).query(places)
    return np.asarray(distance <= km * 1000)
