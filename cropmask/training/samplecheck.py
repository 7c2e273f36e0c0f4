"""What is doubtful about samples: rows that repeat or contradict each other, and leaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

_AT_ONCE: Final = 2**22
"""Distances that are in memory at once."""
_DECIMALS: Final = 7
"""Of degrees: places that differ by less than a centimeter are one."""
_WGS84: Final = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class Repeats:
    """Rows that are alike in something."""

    groups: int
    """Number of values that several rows have."""
    rows: int
    """Rows beyond the first of each group."""
    contradictions: int
    """Groups that hold both classes."""
    examples: tuple[tuple[int, ...], ...] = ()
    """Rows, from 0, of the first groups: of those that contradict, if there are any."""


def find_repeats(
    values: NDArray[np.generic], labels: NDArray[np.uint8], examples: int = 5
) -> Repeats:
    """Rows with exactly the same values ``(row, value)``, and whether their classes differ."""
    _, of_row, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    of_row = of_row.reshape(-1)
    crop = np.bincount(of_row, labels, len(counts))
    several = counts > 1
    both = several & (crop > 0) & (crop < counts)
    shown = np.flatnonzero(both if both.any() else several)[:examples]
    return Repeats(
        int(several.sum()),
        int((counts[several] - 1).sum()),
        int(both.sum()),
        tuple(tuple(map(int, np.flatnonzero(of_row == group))) for group in shown),
    )


def round_places(lon_lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees ``(row, 2)`` as places are compared."""
    return np.round(lon_lat, _DECIMALS) + 0.0  # no negative zero


def find_nearest(
    places: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Meters on the ellipsoid to the nearest of other places, and which one it is, ``(row,)``.

    Both are degrees ``(row, 2)``. The nearest is found on a sphere, so of two that are equally far
    within half a percent it may be the second.
    """
    targets = _on_sphere(others)
    found = np.empty(len(places), np.int64)
    step = max(1, _AT_ONCE // len(others))
    for start in range(0, len(places), step):
        some = _on_sphere(places[start : start + step])
        found[start : start + step] = _nearest_of(some, targets)
    _, _, meters = _WGS84.inv(*places.T, *others[found].T)
    return np.asarray(meters, np.float64), found


def _on_sphere(lon_lat: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(lon_lat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _nearest_of(some: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.intp]:
    # Differences, not products: these could not tell places apart that are meters apart.
    squares = np.zeros((len(some), len(targets)))
    for axis in range(3):
        squares += (some[:, axis, np.newaxis] - targets[:, axis]) ** 2
    found: NDArray[np.intp] = squares.argmin(axis=1)
    return found


@dataclass(frozen=True, slots=True)
class Leak:
    """How near samples are to points that are to judge the map."""

    points: int
    """Validation points."""
    near_meters: float
    near: int
    """Samples nearer than that to any of them."""
    near_points: int
    """Validation points that have a sample nearer than that."""
    nearest_meters: float
    median_meters: float
    examples: tuple[tuple[int, int, float], ...]
    """Row of a sample, row of a validation point, and meters: the nearest ones."""


def find_leak(
    places: NDArray[np.float64],
    validation: NDArray[np.float64],
    near_meters: float,
    examples: int = 5,
) -> Leak:
    """Nearness of samples to validation points, both in degrees ``(row, 2)``."""
    meters, nearest = find_nearest(places, validation)
    backwards, _ = find_nearest(validation, places)
    order = np.argsort(meters, kind="stable")[:examples]
    return Leak(
        len(validation),
        near_meters,
        int((meters < near_meters).sum()),
        int((backwards < near_meters).sum()),
        float(meters.min()),
        float(np.median(meters)),
        tuple((int(row), int(nearest[row]), float(meters[row])) for row in order),
    )
