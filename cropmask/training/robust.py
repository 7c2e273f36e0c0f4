"""The robust recipe: features, learner and threshold that do best on places held out.

Levels of reflectance and rain let trees remember places; ratios of bands, and how they differ
between the half-years, mean the same elsewhere. Among a few candidates the one is taken that is
best on held-out groups of the samples, never on random rows, and its threshold is found there too.
All features are computed from stored reflectances and deviations, exactly as for pixels: a stored
index is a median of pixels' indices, and its difference to the index of the medians would tell the
size of a polygon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score

from cropmask.core.forest import move_odds
from cropmask.core.strips import DEVIATION
from cropmask.errors import Rejected
from cropmask.training.figures import GroupedBy
from cropmask.training.folds import GROUP_KM, SampleGroups, find_groups, grouped_folds
from cropmask.training.samples import Samples

SEED: Final = 1
INNER_FOLDS: Final = 3
"""Folds of groups that candidates are compared on."""
INNER_SEED: Final = 0
LEAD: Final = 0.01
"""Balanced accuracy by which a candidate must beat the one before it: ties go to the first."""
THRESHOLDS: Final = np.arange(20, 81) / 100
SMOOTH: Final = 5
"""Neighboring thresholds whose balanced accuracies are averaged: one alone has too much luck."""

CHOSEN: Final = "balanced accuracy on held-out groups"

Argument = str | int | float | bool | None

_PAIRS: Final = (
    ("nir", "red"),
    ("nir", "swir_1"),
    ("nir", "swir_2"),
    ("swir_1", "swir_2"),
    ("red", "green"),
    ("red", "blue"),
    ("swir_1", "red"),
    ("red_edge_3", "red_edge_1"),
    ("green", "swir_1"),
)


def _differences(half: str) -> list[str]:
    """Normalized differences of one half-year, the bare soil index last."""
    found = [f"nd({a}_{half}, {b}_{half})" for a, b in _PAIRS]
    return [*found, f"nd(sum(swir_1_{half}, red_{half}), sum(nir_{half}, blue_{half}))"]


_HALVES: Final = tuple(zip(_differences("S1"), _differences("S2"), strict=True))
_DEVIATIONS: Final = tuple(
    f"log({operation}(raw_{name}_S1, raw_{name}_S2))"
    for name in DEVIATION
    for operation in ("minimum", "maximum", "ratio")
)

CONTRASTS: Final = (
    *(f"{op}({a}, {b})" for op in ("maximum", "minimum", "difference") for a, b in _HALVES),
    *_DEVIATIONS,
    "slope",
)
"""Greater, lesser and difference of ten normalized differences over the half-years."""
HALVES: Final = (*(text for pair in _HALVES for text in pair), *_DEVIATIONS, "slope")
"""The same normalized differences of each half-year."""
WITH_RAIN: Final = (*CONTRASTS, "rain_S1", "rain_S2")

FEATURE_LISTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"contrasts": CONTRASTS, "halves": HALVES, "contrasts and rain": WITH_RAIN}
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A list of features and a learner that may become a region's robust model."""

    features: str
    """One of :data:`FEATURE_LISTS`."""
    learner: str
    settings: tuple[tuple[str, Argument], ...]

    def make_estimator(self) -> Any:  # noqa: ANN401
        """The learner, not yet fitted; the same one every time."""
        return _LEARNERS[self.learner](**dict(self.settings), random_state=SEED)


_LEARNERS: Final[Mapping[str, Callable[..., Any]]] = {
    "boosted trees": HistGradientBoostingClassifier,
    "extra trees": ExtraTreesClassifier,
}


def _boosted(features: str, leaves: int) -> Candidate:
    return Candidate(
        features,
        "boosted trees",
        (
            ("max_iter", 100),
            ("max_leaf_nodes", leaves),
            ("learning_rate", 0.1),
            ("early_stopping", False),
        ),
    )


CANDIDATES: Final = (
    _boosted("contrasts", 31),
    _boosted("contrasts", 16),
    _boosted("halves", 31),
    Candidate(
        "contrasts",
        "extra trees",
        (("n_estimators", 50), ("min_samples_leaf", 5), ("max_features", 0.5)),
    ),
    _boosted("contrasts and rain", 31),
)
"""All that are tried, least likely to remember places first; a later one needs a lead."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was found on held-out groups."""

    candidate: Candidate
    threshold: float
    """With the best balanced accuracy on held-out groups, unless another one was asked for."""
    scores: tuple[float, ...]
    """Balanced accuracy of each candidate at one half, in the order of :data:`CANDIDATES`."""
    score: float
    """Balanced accuracy of the chosen one at the threshold, on the groups that chose it: a bit
    too good."""
    crop_percent: float
    """Share of held-out samples that the threshold makes crop."""
    crop_percent_at_half: float
    by: str
    """What was held out: places, or land of like rain and slope."""
    threshold_by: str
    """:data:`CHOSEN`, or that it was asked for."""

    def hyperparameters(self) -> dict[str, Argument]:
        """What a model file says of the choice."""
        return {
            "learner": self.candidate.learner,
            "features": self.candidate.features,
            **dict(self.candidate.settings),
            "random_state": SEED,
            "candidates": len(CANDIDATES),
            "chosen_on": f"{INNER_FOLDS} folds of {self.by}",
            "threshold": self.threshold,
            "threshold_by": self.threshold_by,
            "held_out_crop_percent": self.crop_percent,
            "held_out_crop_percent_at_half": self.crop_percent_at_half,
        }


class Robust:
    """A fitted robust model."""

    def __init__(self, chosen: Chosen, estimator: Any) -> None:  # noqa: ANN401
        self.chosen = chosen
        self.estimator = estimator

    @property
    def names(self) -> tuple[str, ...]:
        """Features that it takes."""
        return FEATURE_LISTS[self.chosen.candidate.features]

    def crop(self, samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability of crop of rows; its odds are moved such that the threshold is one half."""
        found = self.estimator.predict_proba(samples.compute(self.names)[rows])[:, 1]
        return move_odds(np.asarray(found, np.float64), self.chosen.threshold)


def groups_of(
    samples: Samples, coordinates: NDArray[np.float64] | None
) -> tuple[SampleGroups, str]:
    """Groups that are held out whole, and what they are in words."""
    groups, by = find_groups(samples, coordinates)
    return groups, describe_groups(by)


def describe_groups(by: GroupedBy) -> str:
    """What groups are, in words."""
    return f"places of {GROUP_KM:g} km" if by == "place" else "land of like rain and slope"


def choose(
    samples: Samples,
    groups: SampleGroups,
    by: str,
    rows: NDArray[np.int64] | None = None,
    threshold: float | None = None,
) -> Chosen:
    """The best candidate on held-out groups of some rows, and its threshold, unless one is given.

    ``groups`` are ``(row,)`` of all samples, and ``by`` says what they are; of ``rows`` all others
    are not looked at. Raises Rejected if they make no folds with both classes.
    """
    rows = np.arange(len(samples.labels)) if rows is None else rows
    labels = samples.labels[rows]
    folds = [
        (train, test)
        for train, test in grouped_folds(groups[rows], INNER_FOLDS, INNER_SEED)
        if len(np.unique(labels[train])) == len(np.unique(labels[test])) == 2
    ]
    if not folds:
        raise Rejected("no fold of held-out groups has both classes: more samples are needed")
    tables = {name: samples.compute(texts)[rows] for name, texts in FEATURE_LISTS.items()}
    scores: list[float] = []
    best, held = 0, [np.empty(0)]
    for place, candidate in enumerate(CANDIDATES):
        x = tables[candidate.features]
        found = [
            candidate.make_estimator().fit(x[train], labels[train]).predict_proba(x[test])[:, 1]
            for train, test in folds
        ]
        scores.append(_score(found, folds, labels, 0.5))
        if place == 0 or scores[place] > scores[best] + LEAD:
            best, held = place, found
    threshold_by = CHOSEN if threshold is None else "asked for"
    if threshold is None:
        threshold = _best_threshold(held, folds, labels)
    crop = np.concatenate(held)
    return Chosen(
        CANDIDATES[best],
        threshold,
        tuple(round(score, 4) for score in scores),
        round(_score(held, folds, labels, threshold), 4),
        _percent(crop > threshold),
        _percent(crop > 0.5),
        by,
        threshold_by,
    )


def fit_robust(
    samples: Samples,
    groups: SampleGroups,
    by: str,
    rows: NDArray[np.int64] | None = None,
    threshold: float | None = None,
) -> Robust:
    """Choose on some rows and fit on all of them; a threshold that is given is taken instead."""
    rows = np.arange(len(samples.labels)) if rows is None else rows
    chosen = choose(samples, groups, by, rows, threshold)
    estimator = chosen.candidate.make_estimator()
    x = samples.compute(FEATURE_LISTS[chosen.candidate.features])
    return Robust(chosen, estimator.fit(x[rows], samples.labels[rows]))


def _best_threshold(held: list[Any], folds: list[Any], labels: NDArray[np.uint8]) -> float:
    curve = np.array([_score(held, folds, labels, float(t)) for t in THRESHOLDS])
    padded = np.pad(curve, SMOOTH // 2, mode="edge")
    smooth = np.convolve(padded, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
    return float(THRESHOLDS[int(np.argmax(np.round(smooth, 9)))])


def _score(held: list[Any], folds: list[Any], labels: NDArray[np.uint8], threshold: float) -> float:
    return float(
        np.mean(
            [
                balanced_accuracy_score(labels[test], crop > threshold)
                for crop, (_, test) in zip(held, folds, strict=True)
            ]
        )
    )


def _percent(found: NDArray[np.bool_]) -> float:
    return round(100 * float(np.mean(found)), 1)
