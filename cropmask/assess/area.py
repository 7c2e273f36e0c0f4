"""Area of classes from labeled points, by the map's strata: the whole, and districts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cropmask.assess.choices import LEVEL, MIN_POINTS, IntervalMethod
from cropmask.assess.intervals import (
    Estimated,
    Reals,
    check_method,
    mover_sum,
    normal_limits,
    wilson_limits,
)
from cropmask.assess.matrix import Confusion, Integers, check_units
from cropmask.assess.shares import effective_points, estimate_share
from cropmask.errors import Reason, Rejected

STRATIFIED: Final = "stratified"
POST_STRATIFIED: Final = "post-stratified"
REGRESSION: Final = "regression"
TOO_FEW: Final = "too few points"

MIN_CELL_POINTS: Final = 5
"""Points that a district needs in each stratum to stand by itself; with fewer, its strata lean on
those of all districts."""


@dataclass(frozen=True, slots=True, eq=False)
class AreaEstimate:
    """Area by class of the reference; ``(...)`` are the domains, if there are any."""

    classes: tuple[str, ...]
    hectares: Estimated
    """``(..., class)``; NaN where there are too few points."""
    shares: Estimated
    """The same as shares of the area, ``(..., class)``."""
    mapped_hectares: Reals
    """Pixels of the map in hectares, ``(..., class)``: biased, with no interval. NaN if the sizes
    of the map's classes are not known."""
    total_hectares: Reals
    """Area that the strata stand for, ``(...)``."""
    points: Integers
    """Labeled points, ``(...)``."""
    effective_points: Reals
    """How many points drawn at random, each by itself, would say as much, ``(..., class)``."""
    estimators: NDArray[np.str_]
    """Where figures come from, ``(...)``: ``stratified``, ``post-stratified``, ``regression``, or
    ``too few points``."""
    confusion: Confusion
    """What it was computed from."""


def estimate_area(
    confusion: Confusion,
    hectares_per_pixel: float,
    *,
    mapped_pixels: ArrayLike | None = None,
    method: IntervalMethod = "mover",
    level: float = LEVEL,
) -> AreaEstimate:
    """Area of each class by the stratified estimator: Olofsson et al. 2014, equations 8 to 11.

    Parameters
    ----------
    confusion
        Of points with strata and their pixels, all of them together.
    hectares_per_pixel
        Area of what ``pixels`` counts: .01 for pixels of 10 m, 1 for hectares.
    mapped_pixels
        Pixels of the map by class ``(..., class)``, where strata are other than its classes.
    method, level
        Those of :func:`cropmask.assess.assess_accuracy`.

    Returns
    -------
    AreaEstimate
        Hectares by class with intervals, and what pixels count up to beside them.

    Raises
    ------
    Rejected
        If points have no strata: what they stand for is then not known.
    """
    check_method(method, level)
    size = _check_design(confusion, hectares_per_pixel)
    if confusion.domains is not None:
        raise _bad(
            "the points are by domain: estimate_areas_by_domain takes them, estimate_area those "
            "that were counted without domains"
        )
    shares = estimate_share(confusion, *_reference_cells(confusion), method, level)
    return _make(confusion, shares, size, mapped_pixels, np.array(STRATIFIED))


def estimate_areas_by_domain(
    confusion: Confusion,
    hectares_per_pixel: float,
    *,
    mapped_pixels: ArrayLike | None = None,
    method: IntervalMethod = "mover",
    level: float = LEVEL,
    min_points: int = MIN_POINTS,
) -> AreaEstimate:
    """Area of each class in each domain, such as a district, with the map as what is known of it.

    A domain with at least five points in each of its strata stands by itself (*post-stratified*:
    each stratum's part in it is estimated from the points in it). Where a stratum has fewer, its
    share is that of the domain's points and of the whole stratum's, mixed by how many of the points
    that it should have by its size are there: the dampened *regression* estimator on the map's
    strata of Drew, Singh and Choudhry (1982) and Saerndal and Hidiroglou (1989, Journal of the
    American Statistical Association 84, 266-275).

    Parameters
    ----------
    confusion
        Of points with domains, and with the pixels of each domain's part of each stratum.
    hectares_per_pixel, mapped_pixels, method, level
        Those of :func:`estimate_area`; ``mapped_pixels`` is ``(domain, class)``.
    min_points
        A domain with fewer points, or plots, gets no number.

    Returns
    -------
    AreaEstimate
        ``(domain, class)``; NaN with the estimator ``too few points`` where these are.

    Raises
    ------
    Rejected
        If domains, strata or their sizes are not known, or a stratum has fewer than two points.
    """
    check_method(method, level)
    size = _check_design(confusion, hectares_per_pixel)
    if confusion.domains is None:
        raise _bad("the points have no domains: count them with the district of each point")
    if not np.array_equal(confusion.counts.sum((-1, -2)), confusion.points):
        raise _bad(
            "the domains' parts of the strata are not known: give pixels by domain and stratum"
        )
    own = estimate_share(confusion, *_reference_cells(confusion), method, level)
    mixed = _regression(confusion, method, level)
    units = np.where(confusion.pixels > 0, confusion.units, MIN_CELL_POINTS)
    is_own = np.asarray((units >= MIN_CELL_POINTS).all(-1))
    is_enough = np.asarray(confusion.units.sum(-1) >= max(min_points, 2))
    estimators = np.where(is_enough, np.where(is_own, POST_STRATIFIED, REGRESSION), TOO_FEW)
    shares = own.or_else(mixed, is_own[:, None]).where(is_enough[:, None])
    return _make(confusion, shares, size, mapped_pixels, estimators)


def _regression(confusion: Confusion, method: IntervalMethod, level: float) -> Estimated:
    """Shares ``(domain, class)`` whose strata lean on the whole stratum where points are few."""
    whole = _merge_domains(confusion)
    check_units(whole)
    sizes = whole.pixels
    part = np.divide(confusion.pixels, sizes, out=np.zeros(confusion.pixels.shape), where=sizes > 0)
    pooled = whole.shares.sum(-2)  # (stratum, class)
    direct = confusion.shares.sum(-2)  # (domain, stratum, class)
    expected = part * whole.points
    own = np.divide(confusion.points, expected, out=np.ones_like(part), where=expected > 0)
    own = np.minimum(own, 1.0)[..., None]
    share = own * direct + (1 - own) * pooled
    # Plots say less than their points: as much less as they do in the whole stratum.
    effect = _design_effect(confusion, pooled)
    points = np.maximum(np.maximum(confusion.points, expected)[..., None] / effect, 1e-9)
    variance = np.maximum(share * (1 - share), pooled * (1 - pooled)) / points
    weights = np.swapaxes(confusion.weights[..., None], -1, -2)
    share, variance, points = (np.swapaxes(each, -1, -2) for each in (share, variance, points))
    total = (weights * share).sum(-1)
    error = np.sqrt((weights**2 * variance).sum(-1))
    if method == "normal":
        low, high = normal_limits(total, error, level)
    else:
        limits = wilson_limits(share, points, level, corrected=method == "mover")
        low, high = mover_sum(weights, share, *limits)
    return Estimated(total, error, low, high, method, level)


def _design_effect(confusion: Confusion, pooled: Reals) -> Reals:
    """How many points of a plot say as much as one drawn by itself: at most all of them."""
    units, points = (each.sum(0) for each in (confusion.units, confusion.points))
    most = points / np.maximum(units, 1)
    return np.broadcast_to(np.maximum(most, 1.0)[:, None], pooled.shape)


def _merge_domains(confusion: Confusion) -> Confusion:
    return replace(
        confusion,
        domains=None,
        counts=confusion.counts.sum(0),
        pixels=confusion.pixels.sum(0),
        points=confusion.points.sum(0),
        units=confusion.units.sum(0),
        covariance=None,
    )


def _make(
    confusion: Confusion,
    shares: Estimated,
    hectares_per_pixel: float,
    mapped_pixels: ArrayLike | None,
    estimators: NDArray[np.str_],
) -> AreaEstimate:
    total = confusion.pixels.sum(-1) * hectares_per_pixel
    points = confusion.counts.sum((-1, -2, -3))
    mapped = _mapped_pixels(confusion, mapped_pixels) * hectares_per_pixel
    return AreaEstimate(
        classes=confusion.classes,
        hectares=shares.scaled(total[..., None]),
        shares=shares,
        mapped_hectares=mapped,
        total_hectares=total,
        points=points,
        effective_points=effective_points(shares, points),
        estimators=estimators,
        confusion=confusion,
    )


def _mapped_pixels(confusion: Confusion, mapped_pixels: ArrayLike | None) -> Reals:
    """Pixels by class of the map: those given, or the strata if they are the classes."""
    shape = (*confusion.pixels.shape[:-1], len(confusion.classes))
    if mapped_pixels is not None:
        found = np.asarray(mapped_pixels, np.float64)
        if found.shape != shape:
            raise _bad(f"mapped pixels must have the shape {shape}, not {found.shape}")
        return found
    if not _strata_are_classes(confusion):
        return np.full(shape, np.nan)
    order = [
        confusion.strata.index(name) if name in confusion.strata else -1
        for name in confusion.classes
    ]
    return np.where(np.array(order) >= 0, confusion.pixels[..., order], 0.0)


def _strata_are_classes(confusion: Confusion) -> bool:
    if not set(confusion.strata) <= set(confusion.classes):
        return False
    by_stratum = (
        confusion.counts.sum(-1).reshape(-1, len(confusion.strata), len(confusion.classes)).sum(0)
    )
    own = np.array([[a == b for b in confusion.classes] for a in confusion.strata])
    return not by_stratum[~own].any()


def _reference_cells(confusion: Confusion) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    count = len(confusion.classes)
    cells = np.broadcast_to(np.eye(count, dtype=bool)[:, None, :], (count, count, count))
    return cells, ~cells


def _check_design(confusion: Confusion, hectares_per_pixel: float) -> float:
    if not confusion.is_weighted:
        raise _bad(
            "an area needs to know what each point stands for: give the stratum of each point and "
            "the pixels of each stratum, as 'cropmask sample' writes them"
        )
    if not (np.isfinite(hectares_per_pixel) and hectares_per_pixel > 0):
        raise _bad(f"hectares per pixel must be over 0, not {hectares_per_pixel}")
    return float(hectares_per_pixel)


def _bad(message: str) -> Rejected:
    return Rejected(message, reason=Reason.BAD_VALUE)
