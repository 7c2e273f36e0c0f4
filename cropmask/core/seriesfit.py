"""How values of yearly maps arise from states, and how often states change: learned without labels.

The expectation-maximization algorithm for hidden Markov models (Baum et al. 1970, Annals of
Mathematical Statistics 41, 164-171), with kinds that a pixel keeps. Values of the same place are
alike in all years, errors included: without kinds, what repeats is taken for certainty, and what
flickers for change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.series import LEAST_EVIDENCE, SeriesModel

KINDS: Final = 3
FOLDS: Final = 20
_T95: Final = 2.093
"""Student's t at 97.5 % of as many degrees of freedom as there are folds, less one."""
_PERCENT: Final = np.arange(101)
_LOGIT: Final = np.log((_PERCENT + 0.5) / (100.5 - _PERCENT))
_SPREAD: Final = 0.9
"""Of the evidence at the beginning, in logits, around these means of other and crop:"""
_CENTER: Final = (-1.5, 1.5)
_KIND_STEP: Final = 0.8
"""Between kinds at the beginning, in logits."""
_SMOOTHING: Final = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
"""Percentages that are near each other are about equally probable."""
_DIGITS: Final = 7
"""To which figures are rounded, so that every processor has the same."""
_MOST_ROUNDS: Final = 200
_FOLD_ROUNDS: Final = 12
"""Rounds of a fold, which begins where all sequences ended."""
_SETTLED: Final = 1e-3
"""Relative change of a rate between rounds at which it is settled."""
_RATES: Final = (1e-5, 0.3)
"""Rates are kept between these."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of change a year, with its interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class FittedSeries:
    """A model of years and how well its rates are known."""

    model: SeriesModel
    gain: Rate
    loss: Rate
    sequences: int
    """Pixels that it was fitted on."""
    rounds: int


def fit_series(
    values: NDArray[np.uint8],
    groups: NDArray[np.integer],
    *,
    kinds: int = KINDS,
) -> FittedSeries:
    """Fit a model to years of many pixels.

    Parameters
    ----------
    values
        ``(year, pixel)``: percentages of yearly maps, 255 for no data.
    groups
        ``(pixel,)``: places, from 0 on; pixels of one are not independent of each other.
    kinds
        Kinds of pixels.

    Returns
    -------
    FittedSeries
        Intervals are of a jackknife on the logits of the rates: the places are dealt into
        :data:`FOLDS` parts, of which each is left out once.

    Raises
    ------
    ValueError
        If there are fewer places than parts, or fewer than two years.
    """
    places = np.unique(groups)
    if len(values) < 2 or len(places) < FOLDS:
        raise ValueError(f"{len(values)} years of {len(places)} places: give two, and {FOLDS}")
    sequences, position = np.unique(values, axis=1, return_inverse=True)
    fold = np.searchsorted(places, groups) % FOLDS
    weights = np.zeros((FOLDS, sequences.shape[1]))
    np.add.at(weights, (fold, position.ravel()), 1.0)
    whole = weights.sum(axis=0)
    model, rounds = _run(sequences, whole, _begin(kinds), _MOST_ROUNDS)
    parts = [_run(sequences, whole - left, model, _FOLD_ROUNDS)[0] for left in weights]
    gain = _rate(model.gain, [part.gain for part in parts])
    loss = _rate(model.loss, [part.loss for part in parts])
    return FittedSeries(model, gain, loss, values.shape[1], rounds)


def _begin(kinds: int) -> SeriesModel:
    offsets = _KIND_STEP * (np.arange(kinds) - (kinds - 1) / 2)
    centers = np.array(_CENTER)[None, :, None] + offsets[:, None, None]
    density = np.exp(-0.5 * ((_LOGIT - centers) / _SPREAD) ** 2)
    # Of percentages, not of logits.
    density /= (_PERCENT + 0.5) * (100.5 - _PERCENT)
    return _make_model(density, np.tile([0.7, 0.3], (kinds, 1)), 0.01, 0.02)


def _make_model(
    evidence: NDArray[np.float64], start: NDArray[np.float64], gain: float, loss: float
) -> SeriesModel:
    """A model of figures that are not scaled yet, rounded."""
    scaled = evidence / evidence.sum(axis=-1, keepdims=True)
    share = np.round(start / start.sum(), _DIGITS)
    low, high = _RATES
    return SeriesModel(
        np.maximum(np.round(scaled, _DIGITS), LEAST_EVIDENCE),
        share / share.sum(),
        round(float(np.clip(gain, low, high)), _DIGITS),
        round(float(np.clip(loss, low, high)), _DIGITS),
    )


def _run(
    sequences: NDArray[np.uint8], weights: NDArray[np.float64], model: SeriesModel, most: int
) -> tuple[SeriesModel, int]:
    """Rounds until the rates are settled."""
    rounds, moved = 0, 1.0
    while rounds < most and moved >= _SETTLED:
        before, model = model, _improve(sequences, weights, model)
        moved = max(abs(model.gain / before.gain - 1), abs(model.loss / before.loss - 1))
        rounds += 1
    return model, rounds


def _improve(
    sequences: NDArray[np.uint8], weights: NDArray[np.float64], model: SeriesModel
) -> SeriesModel:
    """One round: what is expected of states and changes, and the model that fits it."""
    table, rates = model.table, model.rates
    seen = [table[kind][:, sequences] for kind in range(len(table))]  # (state, year, sequence)
    ahead = [_go_ahead(one, start, rates) for one, start in zip(seen, model.start, strict=True)]
    scale = weights / sum(one[:, -1].sum(axis=0) for one in ahead)
    evidence, start = np.zeros(model.evidence.shape), np.zeros(model.start.shape)
    changes = np.zeros((2, 2))
    for kind, (found, chance) in enumerate(zip(seen, ahead, strict=True)):
        after = _go_back(found, rates)
        share = chance * after * scale
        start[kind] = share[:, 0].sum(axis=-1)
        for state in range(2):
            counts = np.bincount(sequences.ravel(), share[state].ravel(), minlength=256)
            evidence[kind, state] = _blur(counts[:101].astype(np.float64))
        later = found[:, 1:] * after[:, 1:] * scale
        changes += rates * np.einsum("ays,bys->ab", chance[:, :-1], later)
    gain, loss = changes[0, 1] / changes[0].sum(), changes[1, 0] / changes[1].sum()
    return _make_model(evidence + LEAST_EVIDENCE, start, gain, loss)


def _go_ahead(
    seen: NDArray[np.float64], start: NDArray[np.float64], rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``(state, year, sequence)``: probability of a state together with the values up to it."""
    ahead = np.empty_like(seen)
    ahead[:, 0] = start[:, None] * seen[:, 0]
    for year in range(1, seen.shape[1]):
        ahead[:, year] = (rates.T @ ahead[:, year - 1]) * seen[:, year]
    return ahead


def _go_back(seen: NDArray[np.float64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(state, year, sequence)``: probability of the values after it, given a state."""
    after = np.ones_like(seen)
    for year in range(seen.shape[1] - 2, -1, -1):
        after[:, year] = rates @ (seen[:, year + 1] * after[:, year + 1])
    return after


def _blur(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    half = len(_SMOOTHING) // 2
    return np.convolve(np.pad(counts, half, mode="reflect"), _SMOOTHING, "valid")


def _rate(value: float, parts: list[float]) -> Rate:
    """Interval of a jackknife on the logit."""
    whole, left = (np.log(np.divide(x, np.subtract(1, x))) for x in (value, parts))
    error = np.sqrt((FOLDS - 1) / FOLDS * ((left - left.mean()) ** 2).sum())
    low, high = (1 / (1 + np.exp(-(whole + sign * _T95 * error))) for sign in (-1, 1))
    return Rate(value, round(float(low), _DIGITS), round(float(high), _DIGITS))
