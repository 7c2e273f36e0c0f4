"""Confidence intervals of shares: of one stratum, and of strata put together.

Everything works on whole arrays; where strata are put together they are the last axis. How often
each kind holds the truth is measured in ``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import exp, factorial
from statistics import NormalDist
from types import EllipsisType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cropmask.assess.choices import LEVEL, METHODS, IntervalMethod
from cropmask.errors import Reason, Rejected

Reals = NDArray[np.float64]

Limited = tuple[Reals, Reals, Reals]
"""A share by stratum with its lower and its upper limit, each ``(..., stratum)``."""

_FEW: Final = 2
_FEW_OF_MANY: Final = 3
_MANY: Final = 50
"""Up to two successes are few, of more than fifty points up to three: Brown, Cai, DasGupta 2001."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimated:
    """Figures and how sure they are, arrays of one shape; NaN where there is no figure."""

    estimate: Reals
    standard_error: Reals
    low: Reals
    """Lower limit of the interval."""
    high: Reals
    method: IntervalMethod
    level: float = LEVEL

    def at(self, *index: int | EllipsisType) -> Estimated:
        """One of the figures, or some of them: of a domain, of a class."""
        return self._with(lambda values: np.asarray(values[index]))

    def scaled(self, factor: ArrayLike) -> Estimated:
        """The same in another unit, such as hectares for shares."""
        return self._with(lambda values: values * np.asarray(factor, np.float64))

    def where(self, is_known: NDArray[np.bool_]) -> Estimated:
        """NaN where something is not known."""
        return self._with(lambda values: np.where(is_known, values, np.nan))

    def or_else(self, other: Estimated, is_ours: NDArray[np.bool_]) -> Estimated:
        """These figures where they are meant, and those of another estimate elsewhere."""
        return Estimated(
            np.where(is_ours, self.estimate, other.estimate),
            np.where(is_ours, self.standard_error, other.standard_error),
            np.where(is_ours, self.low, other.low),
            np.where(is_ours, self.high, other.high),
            self.method,
            self.level,
        )

    def _with(self, change: Callable[[Reals], Reals]) -> Estimated:
        return Estimated(
            change(self.estimate),
            change(self.standard_error),
            change(self.low),
            change(self.high),
            self.method,
            self.level,
        )


def check_method(method: str, level: float) -> None:
    """Reject what is no kind of interval, or no level of confidence."""
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise Rejected(f"there is no interval '{method}': choose of {known}", reason=Reason.USAGE)
    if not 0 < level < 1:
        raise Rejected(
            f"a level of confidence lies between 0 and 1, not at {level}: 0.95 is usual",
            reason=Reason.BAD_VALUE,
        )


@cache
def normal_quantile(level: float) -> float:
    """How many standard errors an interval of a level reaches to each side; 1.96 for .95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def normal_limits(
    estimate: ArrayLike, standard_error: ArrayLike, level: float = LEVEL
) -> tuple[Reals, Reals]:
    """The estimate plus and minus standard errors, as most tools do: it may leave 0 to 1."""
    middle = np.asarray(estimate, np.float64)
    half = normal_quantile(level) * np.asarray(standard_error, np.float64)
    return middle - half, middle + half


def logit_limits(
    share: ArrayLike, standard_error: ArrayLike, level: float = LEVEL
) -> tuple[Reals, Reals]:
    """Limits on the scale of log odds, which stay inside 0 to 1.

    A share of 0 or 1 has no log odds: its limits are 0 and 1.
    """
    p, error = np.broadcast_arrays(
        np.asarray(share, np.float64), np.asarray(standard_error, np.float64)
    )
    inside = (p > 0) & (p < 1)
    safe = np.where(inside, p, 0.5)
    half = normal_quantile(level) * error / (safe * (1 - safe))
    odds = np.log(safe / (1 - safe))
    with np.errstate(over="ignore"):
        low, high = (1 / (1 + np.exp(-(odds + side * half))) for side in (-1, 1))
    outside = np.where(np.isnan(p), np.nan, 0.0)
    return np.where(inside, low, outside), np.where(inside, high, outside + 1)


def wilson_limits(
    share: ArrayLike, points: ArrayLike, level: float = LEVEL, *, corrected: bool = True
) -> tuple[Reals, Reals]:
    """Limits of Wilson's score interval of a share of points.

    Parameters
    ----------
    share
        Share of successes, 0 to 1.
    points
        How many points; a fraction where it is an effective number. 0 points say nothing: 0 to 1.
    level
        Confidence.
    corrected
        Whether limits of very few successes or failures are those of a Poisson count where these
        are farther, as Brown, Cai and DasGupta (2001, Statistical Science 16, 101-133, section
        4.1.1) advise: otherwise the interval misses a true share a little above 0 up to 17 times
        in 100.

    Returns
    -------
    tuple
        Lower and upper limits, in the shape of ``share`` and ``points`` together.
    """
    p, n = np.broadcast_arrays(np.asarray(share, np.float64), np.asarray(points, np.float64))
    z = normal_quantile(level)
    some = np.maximum(n, 1e-300)
    with np.errstate(over="ignore", invalid="ignore"):
        weight = some / (some + z * z)
        middle = p * weight + (1 - weight) / 2
        half = z * np.sqrt(
            np.maximum(p * (1 - p), 0) / some * weight**2 + ((1 - weight) / z) ** 2 / 4
        )
    low, high = middle - half, middle + half
    if corrected:
        low = np.minimum(low, _poisson_lower(p, some, level))
        high = np.maximum(high, 1 - _poisson_lower(1 - p, some, level))
    # Rounding must not put the share itself outside, or a limit beside 0 or 1.
    low = np.where(p <= 0, 0.0, np.clip(low, 0, p))
    high = np.where(p >= 1, 1.0, np.clip(high, p, 1))
    unknown = np.isnan(p)
    nothing = ~(n > 0) & ~unknown
    low, high = np.where(nothing, 0.0, low), np.where(nothing, 1.0, high)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def _poisson_lower(share: Reals, points: Reals, level: float) -> Reals:
    """Lower limit of a share from the count alone where it is small; 1 where it is not.

    Between whole counts, which effective numbers of points give, it is a straight line.
    """
    count = share * points
    few = np.where(points > _MANY, _FEW_OF_MANY, _FEW)
    table = [_poisson_mean(successes, level) for successes in range(_FEW_OF_MANY + 1)]
    limit = np.interp(count, range(len(table)), table)
    return np.where(count <= few + 1e-9, limit / points, 1.0)


@cache
def _poisson_mean(successes: int, level: float) -> float:
    """The mean of a Poisson count that stays below ``successes`` with probability ``level``."""
    low, high = 0.0, float(successes)
    for _ in range(100):
        mean = (low + high) / 2
        below = sum(mean**k / factorial(k) for k in range(successes)) * exp(-mean)
        low, high = (mean, high) if below > level else (low, mean)
    return low


def mover_sum(
    weights: ArrayLike, shares: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[Reals, Reals]:
    """Limits of a sum of independent shares from the limits of each: variance estimates recovered.

    ``L = S - sqrt(sum w^2 (p - l)^2)``, ``U = S + sqrt(sum w^2 (u - p)^2)``: Zou and Donner 2008
    (Statistics in Medicine 27, 1693-1702), equation 3.

    Parameters
    ----------
    weights
        Not negative, ``(..., stratum)``.
    shares, low, high
        A share by stratum with its limits, ``(..., stratum)``.

    Returns
    -------
    tuple
        Lower and upper limits ``(...)``.
    """
    w, p = np.asarray(weights, np.float64), np.asarray(shares, np.float64)
    total = (w * p).sum(-1)
    down = np.sqrt(((w * (p - np.asarray(low))) ** 2).sum(-1))
    up = np.sqrt(((w * (np.asarray(high) - p)) ** 2).sum(-1))
    return np.maximum(total - down, 0), np.minimum(total + up, w.sum(-1))


def mover_difference(
    weights: ArrayLike,
    one: Limited,
    two: Limited,
    opposition: ArrayLike,
) -> tuple[Reals, Reals]:
    """Limits of ``sum w (p - q)`` where p and q are shares of the same points.

    Zou and Donner 2008, equation 6, with the correlation of the two within a stratum.

    Parameters
    ----------
    weights
        ``(..., stratum)``.
    one, two
        Share, lower and upper limit of p, and of q.
    opposition
        Minus the correlation of the two, -1 to 1, ``(..., stratum)``.
    """
    w, k = np.asarray(weights, np.float64), np.asarray(opposition, np.float64)
    (p, p_low, p_high), (q, q_low, q_high) = one, two
    total = (w * (p - q)).sum(-1)
    down = _together(w, p - p_low, q_high - q, k)
    up = _together(w, p_high - p, q - q_low, k)
    return total - np.sqrt(down), total + np.sqrt(up)


def mover_share(
    weights: ArrayLike,
    one: Limited,
    two: Limited,
    opposition: ArrayLike,
) -> tuple[Reals, Reals]:
    """Limits of ``A / (A + B)`` with ``A = sum w p`` and ``B = sum w q`` of the same points.

    R lies inside while 0 lies within the limits of ``(1 - R) A - R B``: the ratio of Donner and Zou
    2012 (Statistical Methods in Medical Research 21, 347-359), solved for the share. Arguments are
    those of :func:`mover_difference`. 0 to 1 where both A and B are 0.
    """
    w, k = np.asarray(weights, np.float64), np.asarray(opposition, np.float64)
    (p, p_low, p_high), (q, q_low, q_high) = one, two
    a, b = (w * p).sum(-1), (w * q).sum(-1)
    up = _odds(a, b, (w, p_high - p, q - q_low, k))
    down = _odds(b, a, (w, q_high - q, p - p_low, k))
    high = np.where(np.isinf(up), 1.0, up / (1 + np.where(np.isinf(up), 0, up)))
    return 1 / (1 + down), high


def _together(weights: Reals, first: Reals, second: Reals, opposition: Reals) -> Reals:
    """Square of the distance that two parts of the same points make together."""
    squares = first**2 + second**2 + 2 * opposition * first * second
    total: Reals = (weights**2 * squares).sum(-1)
    return np.maximum(total, 0)


def _odds(a: Reals, b: Reals, distances: tuple[Reals, Reals, Reals, Reals]) -> Reals:
    """The upper limit of ``a / b``: the larger root of a quadratic equation, infinite if none."""
    weights, above, below, opposition = distances
    square = weights**2
    p, q = ((square * each**2).sum(-1) for each in (above, below))
    half = a * b + (square * opposition * above * below).sum(-1)
    leading = np.maximum(b * b - q, 0)
    # Where all of b may be nothing but chance, rounding leaves a little of the difference.
    leading = np.where(leading <= 1e-14 * b * b, 0.0, leading)
    root = np.sqrt(np.maximum(half * half - leading * (a * a - p), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (half + root) / leading
    return np.where(leading > 0, found, np.inf)
