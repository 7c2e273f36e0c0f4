"""How many points a sample needs, and how strata share them."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cropmask.assess.intervals import Reals
from cropmask.errors import Reason, Rejected

Allocation = Literal["proportional", "equal", "neyman"]
"""How strata share points: by their size, alike, or by size and how mixed they are (the least
error for the same number of points)."""
ALLOCATIONS: Final[tuple[Allocation, ...]] = ("proportional", "equal", "neyman")
MIN_PER_STRATUM: Final = 2
"""With fewer points the error of a stratum cannot be known."""


def sample_size(
    standard_error: float,
    pixels: ArrayLike,
    rates: ArrayLike,
    *,
    allocation: Allocation = "neyman",
) -> int:
    """Points that bring the standard error of a share down to a target.

    ``n = (sum W S)^2 / (SE^2 + sum W S^2 / N)`` with ``S = sqrt(rate (1 - rate))`` is equation 13
    of Olofsson et al. 2014 (Cochran 1977, equation 5.25), which supposes the best allocation; for
    another one, with the share ``a`` of the points in each stratum, ``sum W^2 S^2 / a`` stands in
    place of ``(sum W S)^2``.

    Parameters
    ----------
    standard_error
        Target, as a share: .01 for one percentage point.
    pixels
        Size of each stratum, ``(stratum,)``.
    rates
        What is expected of each stratum, ``(stratum,)``: the share that the map has right, for the
        error of overall accuracy; the share of crop, for that of the area of crop.
    allocation
        How the points are going to be allocated.

    Returns
    -------
    int
        Rounded up, at most all pixels.

    Raises
    ------
    Rejected
        If the target is not over 0, a rate is outside 0 to 1, or sizes are no sizes.
    """
    sizes = _read_sizes(pixels)
    deviations = _deviations(rates, sizes)
    if not (np.isfinite(standard_error) and 0 < standard_error < 1):
        raise _bad(f"a target of the standard error lies between 0 and 1, not at {standard_error}")
    weights = sizes / sizes.sum()
    wanted = _wanted(allocation, sizes, deviations)
    fractions = wanted / wanted.sum() if wanted.any() else weights
    needs = (weights * deviations) ** 2
    top = np.divide(needs, fractions, out=np.zeros_like(needs), where=needs > 0).sum()
    fpc = (weights * deviations**2).sum() / sizes.sum()
    # Rounding must not ask for one point more than the formula does.
    found = np.ceil(top / (standard_error**2 + fpc) - 1e-9)
    return int(min(max(found, 1), sizes.sum()))


def allocate(
    points: int,
    pixels: ArrayLike,
    *,
    allocation: Allocation = "proportional",
    rates: ArrayLike | None = None,
    minimum: int = MIN_PER_STRATUM,
) -> NDArray[np.int64]:
    """Give each stratum its points; they add up exactly, and no stratum gets more than its pixels.

    Parameters
    ----------
    points
        How many points there are.
    pixels
        Size of each stratum, ``(stratum,)``; one of size 0 gets no point.
    allocation
        ``proportional``, ``equal`` or ``neyman``.
    rates
        Expected rates by stratum, for ``neyman``; those of :func:`sample_size`.
    minimum
        What each stratum gets at least, if it has so many pixels.

    Returns
    -------
    NDArray[np.int64]
        Points by stratum ``(stratum,)``. Fractions go to the largest remainders, the first of equal
        ones first.

    Raises
    ------
    Rejected
        If there are more points than pixels, or too few for the minimum of each stratum.
    """
    sizes = _read_sizes(pixels)
    room = np.floor(sizes).astype(np.int64)
    least = np.minimum(room, int(minimum))
    if minimum < 0 or points < 1:
        raise _bad(f"{points} points with a minimum of {minimum} a stratum cannot be allocated")
    if points < least.sum():
        raise _bad(
            f"{points} points are too few for {int((room > 0).sum())} strata with at least "
            f"{minimum} each: draw {int(least.sum())} or more, or lower the minimum"
        )
    if points > room.sum():
        raise _bad(f"{points} points cannot be drawn from {int(room.sum())} pixels: draw fewer")
    deviations = np.ones_like(sizes)
    if allocation == "neyman":
        if rates is None:
            raise _bad("the allocation 'neyman' needs the rates that are expected of the strata")
        deviations = _deviations(rates, sizes)
    wanted = _wanted(allocation, sizes, deviations)
    # A stratum that needs no point takes what no other has room for.
    wanted = wanted / max(wanted.sum(), 1e-300) + 1e-12 * sizes / sizes.sum()
    return _round(_fill(points, wanted, least, room), points)


def expected_standard_error(pixels: ArrayLike, rates: ArrayLike, points: ArrayLike) -> float:
    """The standard error that an allocation is going to have, if rates are as expected.

    Parameters
    ----------
    pixels, rates
        Those of :func:`sample_size`.
    points
        Points by stratum, ``(stratum,)``.

    Returns
    -------
    float
        ``sqrt(sum W^2 S^2 / n)`` (Cochran 1977, equation 5.7, small sampled shares), as a share.
    """
    sizes = _read_sizes(pixels)
    deviations = _deviations(rates, sizes)
    counts = np.asarray(points, np.float64)
    needs = (sizes / sizes.sum() * deviations) ** 2
    if counts.shape != sizes.shape or (counts[needs > 0] <= 0).any():
        raise _bad("every stratum needs points: allocate them with a minimum")
    return float(np.sqrt(np.divide(needs, counts, out=np.zeros_like(needs), where=needs > 0).sum()))


def _wanted(allocation: str, sizes: Reals, deviations: Reals) -> Reals:
    """What strata share points by, before limits."""
    if allocation == "proportional":
        return sizes
    if allocation == "equal":
        return (sizes > 0).astype(np.float64)
    if allocation == "neyman":
        return sizes * deviations
    known = ", ".join(ALLOCATIONS)
    raise Rejected(f"there is no allocation '{allocation}': choose of {known}", reason=Reason.USAGE)


def _fill(points: int, wanted: Reals, least: NDArray[np.int64], room: NDArray[np.int64]) -> Reals:
    """Points in proportion to what is wanted, between limits: one factor makes them add up."""
    low, high = 0.0, 1.0
    while np.clip(high * wanted, least, room).sum() < points:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(middle * wanted, least, room).sum() < points:
            low = middle
        else:
            high = middle
    filled: Reals = np.clip(high * wanted, least, room)
    return filled


def _round(filled: Reals, points: int) -> NDArray[np.int64]:
    """Whole points: the largest remainders are rounded up, all others down."""
    found = np.floor(filled + 1e-9).astype(np.int64)
    order = np.argsort(-np.round(filled - found, 9), kind="stable")
    short = points - int(found.sum())
    for stratum in order[: max(short, 0)]:
        found[stratum] += 1
    return found


def _read_sizes(pixels: ArrayLike) -> Reals:
    sizes = np.asarray(pixels, np.float64)
    if sizes.ndim != 1 or not np.isfinite(sizes).all() or (sizes < 0).any() or not sizes.any():
        raise _bad("pixels must be one size a stratum, not negative, and not all of them 0")
    return sizes


def _deviations(rates: ArrayLike, sizes: Reals) -> Reals:
    found = np.asarray(rates, np.float64)
    if found.shape != sizes.shape:
        raise _bad(f"{found.size} rates are given for {sizes.size} strata: one is needed for each")
    if not ((found >= 0) & (found <= 1)).all():
        raise _bad("expected rates lie between 0 and 1")
    deviations: Reals = np.sqrt(found * (1 - found))
    return deviations


def _bad(message: str) -> Rejected:
    return Rejected(message, reason=Reason.BAD_VALUE)
