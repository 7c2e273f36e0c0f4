"""Change of cropland between two years: its classes, and how far off the difference of maps is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.assess.area import AreaEstimate
from cropmask.assess.intervals import Estimated, Reals
from cropmask.assess.shares import estimate_difference
from cropmask.core.series import GAIN, LOSS, STABLE_CROP, STABLE_OTHER, UNCERTAIN
from cropmask.product import NODATA

CHANGE_NAMES: Final = ("stable other", "stable crop", "gain", "loss")
"""Classes of change in the order of their numbers: those of a series of years."""
FLICKERING: Final = UNCERTAIN + 1
"""What a series says is stable, where a yearly map once said something else."""
SERIES_NAMES: Final = (*CHANGE_NAMES, "uncertain", "flicker")
"""Strata of a series: its classes, and :data:`FLICKERING`."""
_CODES: Final = np.full((256, 256), NODATA, np.uint8)
_CODES[:2, :2] = [[STABLE_OTHER, GAIN], [LOSS, STABLE_CROP]]


def combine_classes(since: NDArray[np.integer], until: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Class of change of the classes of two years, any shape; nodata where one of them has none."""
    return np.asarray(_CODES[since, until])


def find_flicker(years: Sequence[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Where classes of years, first to last, change more often than their two ends differ.

    A year without data contradicts nothing; the ends have data wherever it matters.
    """
    known, changes = years[0].copy(), np.zeros(years[0].shape, np.uint8)
    for classes in years[1:]:
        is_seen = classes != NODATA
        changes += is_seen & (classes != known)
        known = np.where(is_seen, classes, known)
    return np.asarray(changes > (years[0] != years[-1]))


def part_flicker(classes: NDArray[np.uint8], flickers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Strata of the classes of a series: what is stable and flickers is one of its own."""
    is_stable = (classes == STABLE_OTHER) | (classes == STABLE_CROP)
    parted = is_stable & (flickers > 0) & (flickers != NODATA)
    return np.where(parted, np.uint8(FLICKERING), classes)


def flag_changes(strata: NDArray[np.integer]) -> NDArray[np.int64]:
    """Class of change of the strata of a series: none but gain and loss are flagged as one."""
    return np.where(np.asarray(strata) > LOSS, STABLE_OTHER, strata).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class ChangeEstimate:
    """Areas of change from a sample, and what maps say."""

    area: AreaEstimate
    """By class of change; ``mapped_hectares`` is the difference of the maps, or what a series
    flags."""
    net: Estimated
    """Hectares that cropland grew by: gain less loss."""

    def find_bias(
        self, change: int, mapped: float, compared: float | None = None
    ) -> tuple[float, float, float]:
        """How many times the estimate a count of pixels is: so, at least, and at most.

        Infinite where the area, or the lower end of its interval, is 0. Where ``compared`` hectares
        were counted of all, it is so many times by share.
        """
        area = self.area.hectares.at(change)
        ends = np.array([area.estimate, area.high, area.low], np.float64)
        whole = float(self.area.total_hectares)
        mapped *= whole / (compared or whole)
        times = np.divide(mapped, ends, out=np.full(3, np.inf), where=ends > 0)
        return float(times[0]), float(times[1]), float(times[2])


@dataclass(frozen=True, slots=True, eq=False)
class MappedChange:
    """Hectares by class of change ``(class,)`` by counting pixels: biased, each of them."""

    difference: Reals | None
    """Of the first map and the last, where both have data; None where no tile has both."""
    flags: Reals | None = None
    """Of a series; None where there is none."""


def estimate_change(area: AreaEstimate) -> ChangeEstimate:
    """Areas of change with their sum, of an area by class of change."""
    count = len(area.classes)
    gain, loss = np.zeros((2, count, count), np.bool_)
    gain[:, GAIN] = loss[:, LOSS] = True
    first = area.hectares
    net = estimate_difference(area.confusion, gain, loss, first.method, first.level)
    total: Reals = area.total_hectares
    return ChangeEstimate(area, net.scaled(total))
