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
from cropmask.core.series import GAIN, LOSS, STABLE_CROP, STABLE_OTHER
from cropmask.product import NODATA

CHANGE_NAMES: Final = ("stable other", "stable crop", "gain", "loss")
"""Classes of change in the order of their numbers: those of a series of years."""
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


@dataclass(frozen=True, slots=True, eq=False)
class ChangeEstimate:
    """Areas of change from a sample, and what two maps differ by."""

    area: AreaEstimate
    """By class of change; ``mapped_hectares`` is the difference of the maps."""
    net: Estimated
    """Hectares that cropland grew by: gain less loss."""

    def find_bias(self, change: int) -> tuple[float, float, float]:
        """How many times the estimate the difference of the maps is: so, at least, and at most.

        Infinite where the area, or the lower end of its interval, is 0.
        """
        area = self.area.hectares.at(change)
        ends = np.array([area.estimate, area.high, area.low], np.float64)
        mapped = float(self.area.mapped_hectares[change])
        times = np.divide(mapped, ends, out=np.full(3, np.inf), where=ends > 0)
        return float(times[0]), float(times[1]), float(times[2])


def estimate_change(area: AreaEstimate) -> ChangeEstimate:
    """Areas of change with their sum, of an area by class of change."""
    count = len(area.classes)
    gain, loss = np.zeros((2, count, count), np.bool_)
    gain[:, GAIN] = loss[:, LOSS] = True
    first = area.hectares
    net = estimate_difference(area.confusion, gain, loss, first.method, first.level)
    total: Reals = area.total_hectares
    return ChangeEstimate(area, net.scaled(total))
