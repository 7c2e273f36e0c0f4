"""Accuracy of a map from labeled points, with intervals that know how the points were drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cropmask.assess.choices import LEVEL, IntervalMethod
from cropmask.assess.intervals import Estimated, Reals, check_method, normal_limits
from cropmask.assess.matrix import Confusion, Integers, Sizes, count_labels
from cropmask.assess.shares import estimate_difference, estimate_share


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """How right a map is; ``(...)`` are the domains, if there are any."""

    classes: tuple[str, ...]
    overall: Estimated
    """Share of the area whose class is right, ``(...)``."""
    producers: Estimated
    """Of a class in truth, the share that the map shows as it, ``(..., class)``."""
    users: Estimated
    """Of what the map shows as a class, the share that is it, ``(..., class)``."""
    f1: Estimated
    """Harmonic mean of the two, ``(..., class)``."""
    confusion: Confusion
    """What it was computed from."""


@dataclass(frozen=True, slots=True, eq=False)
class MapComparison:
    """Two maps on the same points."""

    first: Estimated
    """Overall accuracy of the first map."""
    second: Estimated
    difference: Estimated
    """First minus second."""
    only_first: Integers
    """Points at which only the first map is right."""
    only_second: Integers
    chi_square: Reals
    """McNemar's statistic, ``(b - c)^2 / (b + c)``: points count alike, whatever their stratum."""
    p_value: Reals
    """Exact two-sided probability of McNemar's test (binomial). It takes each point for an
    independent one: with plots or unequal weights the interval of the difference decides."""


def assess_accuracy(
    confusion: Confusion, *, method: IntervalMethod = "mover", level: float = LEVEL
) -> Accuracy:
    """Overall, producer's and user's accuracy and F1 with intervals by design.

    With strata that are the map's classes, these are the estimators and variances of Olofsson et
    al. 2014 (equations 1 to 7); with other strata those of Stehman 2014 (equations 2 to 27); with
    plots, ratios between plots. Sampled shares of strata are taken for small: there is no finite
    population correction.

    Parameters
    ----------
    confusion
        Of :func:`count_labels` or :func:`count_matrix`.
    method
        ``mover``, ``wilson`` or ``normal``.
    level
        Confidence of the intervals.

    Returns
    -------
    Accuracy
        NaN for a class that is not there, and for domains with fewer than two points in a stratum.

    Raises
    ------
    Rejected
        If there is no such method or level.
    """
    check_method(method, level)
    count = len(confusion.classes)
    same = np.eye(count, dtype=bool)
    map_is, truth_is = (
        np.broadcast_to(axis, (count, count, count))
        for axis in (same[:, :, None], same[:, None, :])
    )
    both, either = map_is & truth_is, map_is | truth_is
    whole = estimate_share(confusion, same, ~same, method, level)
    jaccard = estimate_share(confusion, both, either & ~both, method, level)
    return Accuracy(
        classes=confusion.classes,
        overall=whole,
        producers=estimate_share(confusion, both, truth_is & ~both, method, level),
        users=estimate_share(confusion, both, map_is & ~both, method, level),
        f1=_f1_of(jaccard),
        confusion=confusion,
    )


def compare_maps(
    first: ArrayLike,
    second: ArrayLike,
    reference: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    pixels: Sizes | None = None,
    plots: ArrayLike | None = None,
    domains: ArrayLike | None = None,
    method: IntervalMethod = "mover",
    level: float = LEVEL,
) -> MapComparison:
    """Compare the overall accuracy of two maps on the same points.

    Parameters
    ----------
    first, second, reference
        Class of each point, ``(point,)``.
    strata, pixels, plots, domains
        Those of :func:`count_labels`.
    method, level
        Those of :func:`assess_accuracy`.

    Returns
    -------
    MapComparison
        The difference with its interval by design, and McNemar's test.

    Raises
    ------
    Rejected
        If points are no sample, as :func:`count_labels` says.
    """
    check_method(method, level)
    for mapped in (first, second):
        count_labels(mapped, reference)  # says what is wrong with classes
    right = [np.asarray(mapped) == np.asarray(reference) for mapped in (first, second)]
    table = count_labels(
        *right, strata=strata, pixels=pixels, plots=plots, domains=domains, classes=(0, 1)
    )
    cells = np.eye(4, dtype=bool).reshape(2, 2, 2, 2)
    ones, twos = table.matrix[..., 1, 0], table.matrix[..., 0, 1]
    with np.errstate(invalid="ignore"):
        chi_square = np.where(ones + twos > 0, (ones - twos) ** 2 / (ones + twos), 0.0)
    return MapComparison(
        first=estimate_share(
            table, cells[1, 0] | cells[1, 1], cells[0, 0] | cells[0, 1], method, level
        ),
        second=estimate_share(
            table, cells[0, 1] | cells[1, 1], cells[0, 0] | cells[1, 0], method, level
        ),
        difference=estimate_difference(table, cells[1, 0], cells[0, 1], method, level),
        only_first=ones,
        only_second=twos,
        chi_square=chi_square,
        p_value=np.vectorize(_mcnemar, otypes=[np.float64])(ones, twos),
    )


def _f1_of(jaccard: Estimated) -> Estimated:
    """``2 J / (1 + J)`` of what both show in what one of them shows: it grows with J."""
    j, error = jaccard.estimate, jaccard.standard_error
    f1_error = 2 * error / (1 + j) ** 2
    if jaccard.method == "normal":
        f1 = 2 * j / (1 + j)
        limits = normal_limits(f1, f1_error, jaccard.level)
        return Estimated(f1, f1_error, *limits, jaccard.method, jaccard.level)
    f1, low, high = (2 * each / (1 + each) for each in (j, jaccard.low, jaccard.high))
    return Estimated(f1, f1_error, low, high, jaccard.method, jaccard.level)


def _mcnemar(ones: int, twos: int) -> float:
    """Two-sided probability of a split of disagreements at least as uneven, if each is a coin."""
    total, fewer = int(ones + twos), int(min(ones, twos))
    if total == 0:
        return 1.0
    steps = np.arange(1, fewer + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((total - steps + 1) / steps))])
    return min(1.0, 2 * float(np.exp(logs - total * np.log(2)).sum()))
