"""Years of one place: the state of each year given all years, arrays in, arrays out.

A pixel is crop or other in each year (two states), and of one of several kinds, which it keeps:
places whose values are too high, or too low, in every year, since errors of maps repeat. Values of
a year are evidence of state and kind, a change of state between two years is rare, and a year
without data is evidence of nothing. The probability of a state given all years is that of the
forward-backward algorithm, the path the one of Viterbi (Abercrombie & Friedl 2016, IEEE TGRS 54,
703-713); kinds are an addition of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.product import NODATA

OTHER: Final = 0
CROP: Final = 1
MOST_YEARS: Final = 32
"""Years that the bits of a path have room for."""
MOST_KINDS: Final = 8
LEAST_EVIDENCE: Final = 1e-9
"""No value rules a state out; also, the product of :data:`MOST_YEARS` of them is a normal float."""

STABLE_OTHER: Final = 0
STABLE_CROP: Final = 1
GAIN: Final = 2
LOSS: Final = 3
UNCERTAIN: Final = 4
"""An end of the path is not sure, it changes more than once, or too few years have data."""

MIXED_METERS: Final = 10
"""Largest pixels whose neighbors help: those of larger ones are too often of other fields."""
SURE_PERCENT: Final = 60
LEAST_YEARS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class SeriesModel:
    """How values arise from states and kinds, and how often states change."""

    evidence: NDArray[np.float64]
    """``(kind, state, 101)``: probability of each percentage, from :data:`LEAST_EVIDENCE` up."""
    start: NDArray[np.float64]
    """``(kind, state)``: shares of the first year; their sum is 1."""
    gain: float
    """Share of other that is crop one year later."""
    loss: float
    """Share of crop that is other one year later."""

    def __post_init__(self) -> None:
        kinds = len(self.start)
        if not 1 <= kinds <= MOST_KINDS or self.evidence.shape != (kinds, 2, 101):
            raise ValueError(f"evidence is {self.evidence.shape} for shares of {self.start.shape}")
        if self.evidence.min() < LEAST_EVIDENCE or not np.isfinite(self.evidence).all():
            raise ValueError(f"evidence must be numbers from {LEAST_EVIDENCE} up")
        if not (0 < self.gain < 0.5 and 0 < self.loss < 0.5):
            raise ValueError("rates of change must be over 0 and under one half")
        if self.start.min() < 0 or abs(self.start.sum() - 1) > 1e-9:
            raise ValueError("shares of the first year must sum to 1")

    @property
    def rates(self) -> NDArray[np.float64]:
        """``(state, state one year later)``: their probabilities; rows sum to 1."""
        return np.array([[1 - self.gain, self.gain], [self.loss, 1 - self.loss]])

    @property
    def table(self) -> NDArray[np.float64]:
        """``(kind, state, 256)``: the evidence of each byte; of nodata and what is no percentage 1.

        1 for every state is evidence of nothing.
        """
        table = np.ones((*self.start.shape, 256))
        table[:, :, :101] = self.evidence
        return table


@dataclass(frozen=True, slots=True)
class SmoothedYears:
    """What is known of each pixel; 255, and no bit, where no year has data."""

    path: NDArray[np.uint32]
    """``(y, x)``: bit ``n`` is set where year ``n`` of the most probable path is crop."""
    crop: NDArray[np.uint8]
    """``(year, y, x)``: probability that a year is crop given all years, in percent, rounded."""
    kind: NDArray[np.uint8]
    """``(y, x)``: classes, :data:`STABLE_OTHER` to :data:`UNCERTAIN`."""
    years_in_crop: NDArray[np.uint8]
    """``(y, x)``: years of the path that are crop."""
    changed: NDArray[np.uint8]
    """``(y, x)``: position of the first year after the path's last change; 255 for no change."""
    flickers: NDArray[np.uint8]
    """``(y, x)``: changes between a year with data and the next in the yearly masks, that the path
    does not have between these two years."""
    observed: NDArray[np.uint8]
    """``(y, x)``: years with data."""


def smooth_years(
    prob: NDArray[np.uint8],
    model: SeriesModel,
    *,
    evidence: NDArray[np.uint8] | None = None,
    sure_percent: int = SURE_PERCENT,
    least_years: int = LEAST_YEARS,
) -> SmoothedYears:
    """States of every year given all years.

    Parameters
    ----------
    prob
        ``(year, y, x)``: percentages of yearly maps, over 50 where the yearly mask is crop; 255
        for no data.
    model
        How the evidence arises.
    evidence
        ``(year, y, x)``: percentages in place of ``prob``, such as those of
        :func:`mix_neighbors`; 255 exactly where ``prob`` is.
    sure_percent
        Probability, in percent, that the first and the last year each need for a class other
        than :data:`UNCERTAIN`.
    least_years
        Years with data that a class other than :data:`UNCERTAIN` needs.

    Returns
    -------
    SmoothedYears
        Of equally probable paths that of the first kind is taken, then one that is other in the
        last year, then one that changes early.

    Raises
    ------
    ValueError
        If there are no years, or more than :data:`MOST_YEARS`, or shapes differ.
    """
    years, *shape = prob.shape
    if not 1 <= years <= MOST_YEARS:
        raise ValueError(f"{years} years: give 1 to {MOST_YEARS}")
    seen = prob if evidence is None else evidence
    if seen.shape != prob.shape:
        raise ValueError(f"evidence is {seen.shape}, but prob is {prob.shape}")
    yearly = np.ascontiguousarray(prob).reshape(years, -1)
    values = np.ascontiguousarray(seen).reshape(years, -1)
    size = yearly.shape[1]
    path = np.zeros(size, np.uint32)
    crop = np.full((years, size), NODATA, np.uint8)
    found = np.full((5, size), NODATA, np.uint8)
    limits = (sure_percent / 100, least_years)
    _smooth(yearly, values, model.table, model.start, model.rates, limits, path, crop, found)
    classes, years_in_crop, changed, flickers, observed = found.reshape(5, *shape)
    return SmoothedYears(
        path.reshape(shape),
        crop.reshape(years, *shape),
        classes,
        years_in_crop,
        changed,
        flickers,
        observed,
    )


def uses_neighbors(meters: int) -> bool:
    """Whether pixels of so many meters are mixed with their neighbors, in fitting and mapping.

    In the made-up worlds of ``benchmarks.years`` it raises F1 of change from .67 to .75 where a
    field has 130 pixels, and lowers it from .66 to .63 with 32, and from .71 to .47 with 8.
    """
    return meters <= MIXED_METERS


def mix_neighbors(
    prob: NDArray[np.uint8], above: NDArray[np.uint8], below: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Mean of each pixel and its eight neighbors that have data, rounded, one half up.

    Parameters
    ----------
    prob
        ``(y, x)``: percentages, 255 for no data, which stays.
    above, below
        ``(row, x)``: the row of pixels on either side, or none at an edge of the map.
    """
    whole = np.concatenate([above, prob, below])
    padded = np.pad(whole, 1, constant_values=NODATA)
    first = 1 + len(above)
    mixed = np.empty_like(prob)
    _mix(padded, first, mixed)
    return mixed


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(padded: NDArray[np.uint8], first: int, mixed: NDArray[np.uint8]) -> None:
    rows, columns = mixed.shape
    for y in range(rows):
        for x in range(columns):
            if padded[first + y, 1 + x] == NODATA:
                mixed[y, x] = NODATA
                continue
            total, count = 0, 0
            for row in range(first + y - 1, first + y + 2):
                for column in range(x, x + 3):
                    value = padded[row, column]
                    if value != NODATA:
                        total += value
                        count += 1
            mixed[y, x] = (2 * total + count) // (2 * count)


@njit(cache=True, nogil=True, error_model="numpy")
def _smooth(
    yearly: NDArray[np.uint8],
    values: NDArray[np.uint8],
    table: NDArray[np.float64],
    start: NDArray[np.float64],
    rates: NDArray[np.float64],
    limits: tuple[float, int],
    path: NDArray[np.uint32],
    crop: NDArray[np.uint8],
    found: NDArray[np.uint8],
) -> None:
    sure, least_years = limits
    years, size = values.shape
    ahead = np.empty((years, 2))
    share = np.empty((years, 2))
    best = np.empty((years, 2), np.uint8)
    for pixel in range(size):
        observed = 0
        for year in range(years):
            observed += yearly[year, pixel] != NODATA
        if observed == 0:
            found[4, pixel] = 0
            continue
        if pixel > 0 and _is_same(values, pixel) and _is_same(yearly, pixel):
            path[pixel] = path[pixel - 1]
            crop[:, pixel] = crop[:, pixel - 1]
            found[:, pixel] = found[:, pixel - 1]
            continue
        share[:] = 0.0
        most = -1.0
        for kind in range(len(start)):
            _add_shares(values, pixel, table[kind], start[kind], rates, ahead, share)
            bits, chance = _find_path(values, pixel, table[kind], start[kind], rates, best)
            if chance > most:
                most, path[pixel] = chance, bits
        for year in range(years):
            percent = 100 * share[year, 1] / (share[year, 0] + share[year, 1])
            crop[year, pixel] = int(percent + 0.5)
        found[4, pixel] = observed
        _describe(yearly, pixel, path[pixel], found)
        ends = min(_sureness(share, path[pixel], 0), _sureness(share, path[pixel], years - 1))
        if ends < sure or observed < least_years:
            found[0, pixel] = UNCERTAIN


@njit(cache=True, nogil=True, error_model="numpy")
def _is_same(values: NDArray[np.uint8], pixel: int) -> bool:
    differ = 0
    for year in range(len(values)):
        differ += values[year, pixel] != values[year, pixel - 1]
    return differ == 0


@njit(cache=True, nogil=True, error_model="numpy")
def _add_shares(
    values: NDArray[np.uint8],
    pixel: int,
    table: NDArray[np.float64],
    start: NDArray[np.float64],
    rates: NDArray[np.float64],
    ahead: NDArray[np.float64],
    share: NDArray[np.float64],
) -> None:
    """Add, for one kind, the probability of each state of each year together with all values."""
    years = len(values)
    first = values[0, pixel]
    ahead[0, 0] = start[0] * table[0, first]
    ahead[0, 1] = start[1] * table[1, first]
    for year in range(1, years):
        value = values[year, pixel]
        other, crop = ahead[year - 1, 0], ahead[year - 1, 1]
        ahead[year, 0] = (other * rates[0, 0] + crop * rates[1, 0]) * table[0, value]
        ahead[year, 1] = (other * rates[0, 1] + crop * rates[1, 1]) * table[1, value]
    other, crop = 1.0, 1.0
    for year in range(years - 1, -1, -1):
        share[year, 0] += ahead[year, 0] * other
        share[year, 1] += ahead[year, 1] * crop
        value = values[year, pixel]
        later_other, later_crop = other * table[0, value], crop * table[1, value]
        other = rates[0, 0] * later_other + rates[0, 1] * later_crop
        crop = rates[1, 0] * later_other + rates[1, 1] * later_crop


@njit(cache=True, nogil=True, error_model="numpy")
def _find_path(
    values: NDArray[np.uint8],
    pixel: int,
    table: NDArray[np.float64],
    start: NDArray[np.float64],
    rates: NDArray[np.float64],
    best: NDArray[np.uint8],
) -> tuple[np.uint32, float]:
    """The most probable path of one kind as bits, and its probability together with all values."""
    years = len(values)
    first = values[0, pixel]
    other, crop = start[0] * table[0, first], start[1] * table[1, first]
    for year in range(1, years):
        value = values[year, pixel]
        # What stays is preferred to what changes, where both are equally probable.
        stayed, came = other * rates[0, 0], crop * rates[1, 0]
        best[year, 0] = came > stayed
        remained, left = crop * rates[1, 1], other * rates[0, 1]
        best[year, 1] = not left > remained
        other = max(stayed, came) * table[0, value]
        crop = max(remained, left) * table[1, value]
    state = 1 if crop > other else 0
    chance = max(crop, other)
    bits = np.uint32(0)
    for year in range(years - 1, -1, -1):
        if state == 1:
            bits |= np.uint32(1) << np.uint32(year)
        if year > 0:
            state = best[year, state]
    return bits, chance


@njit(cache=True, nogil=True, error_model="numpy")
def _sureness(share: NDArray[np.float64], bits: np.uint32, year: int) -> float:
    """Probability that a year is as the path says."""
    state = (bits >> np.uint32(year)) & np.uint32(1)
    return float(share[year, state] / (share[year, 0] + share[year, 1]))


@njit(cache=True, nogil=True, error_model="numpy")
def _describe(
    yearly: NDArray[np.uint8], pixel: int, bits: np.uint32, found: NDArray[np.uint8]
) -> None:
    """Class, years in crop, last change and flickers of a path."""
    years = len(yearly)
    in_crop, changes, changed, flickers = 0, 0, NODATA, 0
    before, known = 0, -1
    for year in range(years):
        state = int((bits >> np.uint32(year)) & np.uint32(1))
        in_crop += state
        if year > 0 and state != before:
            changes += 1
            changed = year
        before = state
        value = yearly[year, pixel]
        if value == NODATA:
            continue
        if known >= 0 and (yearly[known, pixel] > 50) != (value > 50):
            then = int((bits >> np.uint32(known)) & np.uint32(1))
            flickers += then == state
        known = year
    if changes > 1:
        found[0, pixel] = UNCERTAIN
    elif changes == 1:
        found[0, pixel] = GAIN if before == 1 else LOSS
    else:
        found[0, pixel] = STABLE_CROP if before == 1 else STABLE_OTHER
    found[1, pixel] = in_crop
    found[2, pixel] = changed
    found[3, pixel] = flickers
