"""Calibration: what share of land is crop where the map says so many percent.

Everything here is counted by percent: how many held-out samples the map would give each value of
``prob``, and how many of them are crop. No figure depends on the order of samples, and a table of
101 entries is all that a model file must hold.

The predictions are those of held-out groups. A forest is sure of what it was trained on, and
random folds are nearly that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cropmask.core.forest import move_odds
from cropmask.training.figures import Bin, Doubt, Method, Reliability, make_figure

BINS: Final = 15
"""Bins of equal mass, of the calibration error and the diagram."""
LEAST_GAIN: Final = 0.02
"""The table is used where it lowers the held-out calibration error by at least so much, and does
not raise the Brier score."""
LEVEL: Final = 0.9
"""Coverage of the sets of classes."""
LEAST_FOLDS: Final = 3
"""A fold to judge, one to choose by, and one to fit on."""
PERCENTS: Final = np.arange(101)
_Any = TypeVar("_Any")
_EDGE: Final = 0.005
"""0 percent stands for less than half a percent: logarithms begin there."""
_STEPS: Final = 100
"""Steps of Newton's method, which needs about ten."""
_DECIMALS: Final = 4

PercentCounts = NDArray[np.float64]
"""``(101, 2)``: samples of each percent of ``prob``, and how many of them are crop."""
Table = NDArray[np.uint8]
"""``(101,)``: percent for each percent of ``prob``, never falling."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What a model that never saw them says of the samples of one fold."""

    rows: NDArray[np.int64]
    crop: NDArray[np.float64]
    """``(row,)``: the model's own probability."""
    labels: NDArray[np.uint8]
    """``(row,)``: 1 crop, 0 not."""


def vote_percent(crop: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """What ``prob`` of the map would be: odds moved, rounded, over 50 exactly for crop."""
    percent = np.rint(100 * move_odds(crop, threshold))
    sided = np.where(crop > threshold, np.maximum(percent, 51), np.minimum(percent, 50))
    return np.asarray(sided.astype(np.int64))


def count_by_percent(held: HeldOut, threshold: float) -> PercentCounts:
    """Samples and crop samples of each percent of ``prob``."""
    percent = vote_percent(held.crop, threshold)
    return np.stack(
        [
            np.bincount(percent, minlength=101),
            np.bincount(percent[held.labels == 1], minlength=101),
        ],
        axis=1,
    ).astype(np.float64)


def calibrate(groupings: Sequence[Sequence[HeldOut]], threshold: float) -> Reliability | None:
    """Choose, fit and judge a table on held-out groups.

    ``groupings`` are folds of whole groups, for each of several ways to put the groups into folds;
    the odds of ``prob`` are moved to the threshold of the model. None if a grouping has fewer than
    :data:`LEAST_FOLDS` folds, or all samples one class.
    """
    counts = [[count_by_percent(fold, threshold) for fold in folds] for folds in groupings]
    every = _sum([fold for folds in counts for fold in folds])
    if min(map(len, counts)) < LEAST_FOLDS or not 0 < every[:, 1].sum() < every[:, 0].sum():
        return None
    nested = [
        [nested_table(_others(folds, index), threshold) for index in range(len(folds))]
        for folds in counts
    ]
    raw = [_pool(folds, [PERCENTS] * len(folds)) for folds in counts]
    mended = [_pool(folds, tables) for folds, tables in zip(counts, nested, strict=True)]
    ece, ece_calibrated = (
        float(np.mean([calibration_error(*p) for p in q])) for q in (raw, mended)
    )
    flat = [fold for folds in counts for fold in folds]
    tables = [table for some in nested for table in some]
    # The difference of the figures as they are printed: a reader can check the decision.
    gain = round(round(ece, _DECIMALS) - round(ece_calibrated, _DECIMALS), _DECIMALS)
    brier, brier_calibrated = (
        round(_mean_brier(flat, some), _DECIMALS) for some in ([PERCENTS] * len(flat), tables)
    )
    used = gain >= LEAST_GAIN and brier_calibrated <= brier
    method = choose_method(flat, threshold)
    table = make_table(method, every, threshold)
    return Reliability(
        method=method,
        used=used,
        groupings=len(groupings),
        folds=len(flat),
        samples=int(every[:, 0].sum()) // len(groupings),
        ece=round(ece, _DECIMALS),
        ece_calibrated=round(ece_calibrated, _DECIMALS),
        worst=_worst(flat, [PERCENTS] * len(flat)),
        worst_calibrated=_worst(flat, tables),
        brier=brier,
        brier_calibrated=brier_calibrated,
        bins=_diagram(flat, tables),
        table=tuple(int(value) for value in table) if used else None,
    )


def make_table(method: Method, counts: PercentCounts, threshold: float) -> Table:
    """Table of 101 percentages, fitted on counts of held-out samples.

    The odds of ``prob`` are moved back to the model's own vote before anything is fitted.
    """
    # Percentages of prob are half a percent wide at both ends, and never quite 0 or 1.
    moved = np.clip(PERCENTS / 100, _EDGE, 1 - _EDGE)
    vote = move_odds(moved, 1 - threshold)
    share = _FITS[method](vote, counts)
    table = np.clip(np.rint(100 * share), 0, 100)
    return np.maximum.accumulate(table).astype(np.uint8)


def choose_method(folds: Sequence[PercentCounts], threshold: float) -> Method:
    """The method with the least Brier score on folds that each table was not fitted on."""

    def score(method: Method) -> float:
        tables = [
            make_table(method, _sum(_others(folds, index)), threshold)
            for index in range(len(folds))
        ]
        return round(_mean_brier(folds, tables), 12)

    return min(_FITS, key=score)  # the first of equals


def nested_table(folds: Sequence[PercentCounts], threshold: float) -> Table:
    """Table for a fold that is not among these."""
    return make_table(choose_method(folds, threshold), _sum(folds), threshold)


def calibration_error(
    value: NDArray[np.float64], samples: NDArray[np.float64], crop: NDArray[np.float64]
) -> float:
    """Expected calibration error with 15 bins of equal mass.

    ``value`` are percentages, ``samples`` and ``crop`` how many have each, and how many of these
    are crop. Samples of equal value that lie across the edge of a bin are shared in proportion.
    """
    mass, said, found = _bin(value, samples, value * samples, 100 * crop)
    return float(np.abs(said - found).sum() / mass.sum() / 100)


def measure_doubt(groupings: Sequence[Sequence[HeldOut]], threshold: float) -> Doubt | None:
    """Sets of classes that miss one in ten, by split-conformal prediction, and errors by margin.

    The limit of each fold is from the other folds of its grouping; None if none has others.
    """
    covered, single, margins = [], [], []
    for folds in groupings:
        for index, fold in enumerate(folds):
            others = [1 - _true_class(other) for other in _others(folds, index)]
            if not others:
                continue
            limit = conformal_limit(np.concatenate(others), LEVEL)
            crop, other = 1 - fold.crop <= limit, fold.crop <= limit
            covered.append(float(np.mean(np.where(fold.labels == 1, crop, other))))
            single.append(float(np.mean(crop != other)))
            close = 0.5 - np.abs(move_odds(fold.crop, threshold) - 0.5)
            wrong = (fold.crop > threshold) != (fold.labels == 1)
            if wrong.any() and not wrong.all():
                margins.append(rank_auc(close, wrong))
    if not covered:
        return None
    return Doubt(
        level=LEVEL,
        coverage=make_figure(covered),
        worst_coverage=round(min(covered), _DECIMALS),
        single=make_figure(single),
        margin_auc=make_figure(margins) if margins else None,
    )


def conformal_limit(scores: NDArray[np.float64], level: float) -> float:
    """Score that at least ``level`` of exchangeable ones do not exceed; infinite if too few."""
    rank = int(np.ceil((len(scores) + 1) * level))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else np.inf


def rank_auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive sample has a greater score than another one, ties half."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place.ravel()]
    some = int(positive.sum())
    return float((rank[positive].sum() - some * (some + 1) / 2) / (some * (len(score) - some)))


def _true_class(held: HeldOut) -> NDArray[np.float64]:
    return np.where(held.labels == 1, held.crop, 1 - held.crop)


def _others(folds: Sequence[_Any], index: int) -> list[_Any]:
    return [fold for other, fold in enumerate(folds) if other != index]


def _sum(folds: Sequence[PercentCounts]) -> PercentCounts:
    return np.asarray(np.sum(folds, axis=0))


def _isotonic(vote: NDArray[np.float64], counts: PercentCounts) -> NDArray[np.float64]:
    """Pooled neighbors that fall; straight lines over percentages that no sample has."""
    seen = np.flatnonzero(counts[:, 0])
    blocks: list[list[float]] = []  # samples, crop, percentages
    for samples, crop in counts[seen]:
        blocks.append([samples, crop, 1])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] >= blocks[-1][1] * blocks[-2][0]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    share = np.concatenate([np.full(int(size), crop / n) for n, crop, size in blocks])
    return np.asarray(np.interp(vote, vote[seen], share))


def _logistic(vote: NDArray[np.float64], counts: PercentCounts) -> NDArray[np.float64]:
    return _regress([np.log(vote) - np.log1p(-vote)], counts)


def _beta(vote: NDArray[np.float64], counts: PercentCounts) -> NDArray[np.float64]:
    """Kull, Silva Filho & Flach 2017: a map that the logistic one is a special case of."""
    return _regress([np.log(vote), -np.log1p(-vote)], counts)


_FITS: Final[
    Mapping[Method, Callable[[NDArray[np.float64], PercentCounts], NDArray[np.float64]]]
] = {
    "logistic": _logistic,
    "beta": _beta,
    "isotonic": _isotonic,
}
"""The simplest first."""


def _regress(columns: list[NDArray[np.float64]], counts: PercentCounts) -> NDArray[np.float64]:
    """Share of crop by logistic regression on rising columns, none with a slope below 0."""
    samples, crop = counts.T
    while True:
        x = np.stack([*columns, np.ones(101)], axis=1)
        weights = np.zeros(x.shape[1])
        for _ in range(_STEPS):
            share = _logistic_function(x @ weights)
            # A little weight of the prior keeps classes that part completely from infinity.
            slope = x.T @ (crop - samples * share) - 1e-3 * weights
            curve = (x * (samples * share * (1 - share))[:, None]).T @ x
            step = np.linalg.solve(curve + 1e-3 * np.eye(len(weights)), slope)
            weights = weights + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))
            if np.abs(step).max() < 1e-10:
                break
        slopes = weights[:-1]
        if (slopes >= 0).all():
            return _logistic_function(x @ weights)
        columns = _others(columns, int(np.argmin(slopes)))


def _logistic_function(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))))


def _pool(
    folds: Sequence[PercentCounts], tables: Sequence[NDArray[np.integer]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Percentages that tables make of folds: values, samples and crop samples of each."""
    counts = np.zeros((101, 2))
    for fold, table in zip(folds, tables, strict=True):
        np.add.at(counts, table, fold)
    return PERCENTS.astype(np.float64), counts[:, 0], counts[:, 1]


def _worst(folds: Sequence[PercentCounts], tables: Sequence[NDArray[np.integer]]) -> float:
    errors = (
        calibration_error(*_pool([fold], [table]))
        for fold, table in zip(folds, tables, strict=True)
    )
    return round(max(errors), _DECIMALS)


def _mean_brier(folds: Sequence[PercentCounts], tables: Sequence[NDArray[np.integer]]) -> float:
    value, samples, crop = _pool(folds, tables)
    share = value / 100
    return float((samples * share**2 - 2 * share * crop + crop).sum() / samples.sum())


def _diagram(folds: Sequence[PercentCounts], tables: Sequence[Table]) -> tuple[Bin, ...]:
    counts = _sum(folds)
    mended = _sum([f[:, 0] * t.astype(np.float64) for f, t in zip(folds, tables, strict=True)])
    value, samples = PERCENTS.astype(np.float64), counts[:, 0]
    mass, said, calibrated, crop = _bin(value, samples, value * samples, mended, 100 * counts[:, 1])
    return tuple(
        Bin(prob=round(a, 1), calibrated=round(b, 1), crop=round(c, 1))
        for a, b, c in np.stack([said / mass, calibrated / mass, crop / mass], axis=1).tolist()
    )


def _bin(
    value: NDArray[np.float64], samples: NDArray[np.float64], *sums: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Samples, and sums over them, in each of 15 bins of equal mass by value."""
    order = np.argsort(value, kind="stable")
    mass = np.concatenate([[0.0], np.cumsum(samples[order])])
    edges = np.linspace(0, mass[-1], BINS + 1)
    # A sum grows evenly with the mass of samples of equal value: its share lies on a line.
    keep = np.concatenate([[True], np.diff(mass) > 0])
    found = []
    for column in (samples, *sums):
        total = np.concatenate([[0.0], np.cumsum(column[order])])
        found.append(np.diff(np.interp(edges, mass[keep], total[keep])))
    return found
