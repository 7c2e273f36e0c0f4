"""One estimator for all figures: the share of one part of the area in two, from strata of points.

Overall accuracy is what is right in right and wrong; producer's accuracy of crop is crop on the map
in crop, user's accuracy the crop in what the map shows as crop, the area of a class its part in
everything. So each of them is ``A / (A + B)``, where A and B are sums over strata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.assess.choices import IntervalMethod
from cropmask.assess.intervals import (
    Estimated,
    Limited,
    Reals,
    mover_difference,
    mover_share,
    mover_sum,
    normal_limits,
    normal_quantile,
    wilson_limits,
)
from cropmask.assess.matrix import Confusion

Cells = NDArray[np.bool_]
"""Some cells of a confusion matrix, ``(map class, reference class)``, or of several figures,
``(figure, map class, reference class)``."""

_NOTHING = 1e-13
"""Variances of shares below this are rounding."""
_TRUSTED: Final = 10
"""Successes, and failures, from which on a variance between plots is taken as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The points in some cells, by stratum; arrays ``(..., stratum)``, or with figures before."""

    share: Reals
    variance: Reals
    points: Reals
    """Effective number of points that the share is of."""
    may_be: NDArray[np.bool_]
    """Whether the stratum can have such points at all."""

    def limits(self, method: IntervalMethod, level: float) -> Limited:
        """The share with its limits; a part that cannot be has none to either side."""
        low, high = wilson_limits(self.share, self.points, level, corrected=method == "mover")
        return self.share, low, np.where(self.may_be, high, self.share)


def estimate_share(
    confusion: Confusion, one: Cells, two: Cells, method: IntervalMethod, level: float
) -> Estimated:
    """The share of what lies in some cells in what lies in these and others.

    Parameters
    ----------
    confusion
        Points by stratum.
    one, two
        Cells of the part and of the rest; no cell is in both.
    method, level
        Those of :func:`cropmask.assess.assess_accuracy`.

    Returns
    -------
    Estimated
        ``(...)``, or ``(..., figure)``; NaN where nothing lies in any of the cells, or a stratum
        has too few points. The standard error is that of a ratio estimator (Cochran 1977, section
        6.11); if one and two are everything, of a stratified mean.
    """
    weights = _before_strata(confusion.weights, one)
    first, second = (_part_of(confusion, cells, level) for cells in (one, two))
    covariance = _covariance_of(confusion, one, two, first, second)
    part, rest = ((weights * each.share).sum(-1) for each in (first, second))
    both = part + rest
    is_known = (both > 0) & _before_strata(confusion.is_enough, one, ends=True)
    safe = np.where(both > 0, both, 1.0)
    share = part / safe
    r = share[..., None]
    spread = (1 - r) ** 2 * first.variance + r**2 * second.variance - 2 * r * (1 - r) * covariance
    error = np.sqrt(np.maximum((weights**2 * spread).sum(-1), 0)) / safe
    if method == "normal":
        low, high = normal_limits(share, error, level)
    elif _is_everything(confusion, one | two):
        low, high = mover_sum(weights, *first.limits(method, level))
    else:
        opposition = _opposition(first, second, covariance)
        ones, twos = (each.limits(method, level) for each in (first, second))
        low, high = mover_share(weights, ones, twos, opposition)
        low, high = _if_alone(confusion, one | two, (share, error), (low, high), method, level)
    return Estimated(share, error, low, high, method, level).where(is_known)


def estimate_difference(
    confusion: Confusion, one: Cells, two: Cells, method: IntervalMethod, level: float
) -> Estimated:
    """What lies in some cells minus what lies in others, as shares of the area, ``(...)``.

    Arguments are those of :func:`estimate_share`; the cells are those of one figure. Where sizes
    of domains are not known, it is the share of the domain's points by weight.
    """
    weights = confusion.weights
    first, second = (_part_of(confusion, cells, level) for cells in (one, two))
    covariance = _covariance_of(confusion, one, two, first, second)
    total = (weights * (first.share - second.share)).sum(-1)
    spread = first.variance + second.variance - 2 * covariance
    error = np.sqrt(np.maximum((weights**2 * spread).sum(-1), 0))
    if method == "normal":
        low, high = normal_limits(total, error, level)
    else:
        ones, twos = (each.limits(method, level) for each in (first, second))
        opposition = _opposition(first, second, covariance)
        low, high = mover_difference(weights, ones, twos, opposition)
    return Estimated(total, error, low, high, method, level).where(confusion.is_enough)


def _before_strata(values: NDArray, cells: Cells, *, ends: bool = False) -> NDArray:  # type: ignore[type-arg]
    """Values by stratum, or by domain if it ``ends`` there, that meet an axis of figures."""
    if cells.ndim == 2:
        return values
    return values[..., None] if ends else values[..., None, :]


def _part_of(confusion: Confusion, cells: Cells, level: float) -> _Part:
    share = _gather(confusion.shares, cells)
    units, points = (_before_strata(each, cells) for each in (confusion.units, confusion.points))
    seen = np.broadcast_to(confusion.counts.sum(-1, keepdims=True), confusion.counts.shape)
    may_be = _gather(seen, cells) > 0
    if confusion.covariance is None:
        variance = share * (1 - share) / np.maximum(points - 1, 1)
        return _Part(share, variance, np.broadcast_to(points, share.shape).astype(float), may_be)
    variance = _quadratic(confusion.covariance, cells, cells)
    variance = np.where(variance > _NOTHING, variance, 0.0)
    effective = _points_of_plots(share, variance, units, points, level)
    return _Part(share, variance, effective, may_be)


def _points_of_plots(
    share: Reals, variance: Reals, units: Reals, points: Reals, level: float
) -> Reals:
    """Effective number of points in plots: from one a plot to all of them.

    By the variance between plots, as Korn and Graubard (1998, Survey Methodology 24, 193-201) have
    it, with their factor for few plots. A variance of few successes or failures says little: the
    fewer, the more a plot counts as one point.
    """
    varies = variance > _NOTHING
    found = np.divide(share * (1 - share), variance, out=units + np.zeros_like(share), where=varies)
    found = np.clip(found, units, np.maximum(points, units))
    trust = np.minimum(found * np.minimum(share, 1 - share) / _TRUSTED, 1.0)
    # Student's t over the normal quantile, by its expansion.
    wider = 1 + (normal_quantile(level) ** 2 + 1) / (4 * np.maximum(units - 1, 1))
    return np.asarray(
        np.where(units < points, (units + (found - units) * trust) / wider**2, points)
    )


def _gather(values: NDArray, cells: Cells) -> NDArray:  # type: ignore[type-arg]
    """Sums over cells of arrays that end with strata, map classes and reference classes."""
    flat = values.reshape(*values.shape[:-2], -1)
    found = flat @ cells.reshape(*cells.shape[:-2], -1).T
    return found if cells.ndim == 2 else np.swapaxes(found, -1, -2)


def _quadratic(covariance: Reals, one: Cells, two: Cells) -> Reals:
    flat = [cells.reshape(*cells.shape[:-2], -1).astype(float) for cells in (one, two)]
    if one.ndim == 2:
        return np.asarray(np.einsum("...ij,i,j->...", covariance, *flat, optimize=True))
    found = np.einsum("...hij,ci,cj->...ch", covariance, *flat, optimize=True)
    return np.asarray(found)


def _covariance_of(
    confusion: Confusion, one: Cells, two: Cells, first: _Part, second: _Part
) -> Reals:
    if confusion.covariance is not None:
        return _quadratic(confusion.covariance, one, two)
    points = _before_strata(confusion.points, one)
    return np.asarray(-first.share * second.share / np.maximum(points - 1, 1))


def _opposition(first: _Part, second: _Part, covariance: Reals) -> Reals:
    """Minus the correlation of two parts; 1 where they are all of a stratum, else 0 if unknown."""
    scale = np.sqrt(first.variance * second.variance)
    whole = np.where(first.share + second.share > 1 - 1e-12, 1.0, 0.0)
    varies = scale > _NOTHING
    found = np.divide(-covariance, scale, out=whole.copy(), where=varies)
    return np.where(whole == 1, 1.0, np.clip(found, -1, 1))


def _is_everything(confusion: Confusion, cells: Cells) -> bool:
    """Whether cells hold all of each stratum, so that their share is a mean."""
    return bool(cells.all()) and np.array_equal(confusion.counts.sum((-1, -2)), confusion.points)


def _if_alone(
    confusion: Confusion,
    cells: Cells,
    estimate: tuple[Reals, Reals],
    limits: tuple[Reals, Reals],
    method: IntervalMethod,
    level: float,
) -> tuple[Reals, Reals]:
    """The limits; from one stratum only, those of a share of the points in the cells."""
    share, error = estimate
    is_alone = _before_strata((confusion.weights > 0).sum(-1) == 1, cells, ends=True)
    if not is_alone.any():
        return limits
    count = _before_strata((confusion.weights > 0), cells) * _gather(confusion.counts, cells)
    points = count.sum(-1).astype(np.float64)
    if confusion.covariance is not None:
        units = _before_strata(confusion.units.sum(-1), cells, ends=True)
        points = _points_of_plots(share, error**2, np.minimum(units, points), points, level)
    alone = wilson_limits(share, points, level, corrected=method == "mover")
    low, high = (np.where(is_alone, a, b) for a, b in zip(alone, limits, strict=True))
    return low, high


def effective_points(shares: Estimated, points: NDArray[np.int64]) -> Reals:
    """How many points, each drawn at random by itself, would give shares the same error.

    ``p (1 - p) / V``, by figure ``(..., figure)``; the points themselves where there is no error to
    compare with, NaN where there is no share.
    """
    p, variance = shares.estimate, shares.standard_error**2
    varies = variance > _NOTHING
    found = np.broadcast_to(points[..., None], p.shape).astype(np.float64)
    found = np.divide(p * (1 - p), variance, out=found, where=varies)
    return np.where(np.isnan(p), np.nan, found)
