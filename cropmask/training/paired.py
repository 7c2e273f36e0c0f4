"""Recipes compared on the same folds of the same groups, many times: the paired table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.metrics import balanced_accuracy_score

from cropmask.errors import Rejected
from cropmask.product import Recipe
from cropmask.region.region import Region
from cropmask.training.figures import GroupedBy, Value
from cropmask.training.fit import limit_threads, predict_held_out
from cropmask.training.folds import (
    BUFFER_KM,
    GROUP_KM,
    GROUPED_COUNT,
    Fold,
    SampleGroups,
    buffered_folds,
    find_groups,
    grouped_folds,
    join_duplicates,
    place_groups,
)
from cropmask.training.robust import CANDIDATES, describe_groups
from cropmask.training.samples import Samples

GROUPINGS: Final = 10
"""Ways to put groups into folds, each with a seed of its own."""
FIRST_SEED: Final = 2
"""Seeds 0 and 1 were looked at while the candidates of the robust recipe were drawn up."""
BASE: Final[Recipe] = "forest"
"""What the other recipes are compared with: the published method with a threshold of one half."""
LEVEL: Final = 0.95
DECIMALS: Final = 4


class Pair(Value):
    """One recipe against the published forest, on the same folds."""

    held_out: str
    """What the folds hold out."""
    recipe: Recipe
    groupings: int
    balanced_accuracy: float
    """Mean over folds and groupings, at the threshold that the recipe itself finds."""
    forest: float
    """The same of the published forest at one half."""
    difference: float
    low: float
    """Limits of a 95 % interval of the difference, Student's t over the groupings. The samples are
    the same in all of them: it says how much the folds' luck matters, not other samples'."""
    high: float
    wins: int
    """Groupings in which the recipe is better."""


@dataclass(frozen=True, slots=True)
class _Kind:
    held_out: str
    folds: Callable[[int], Sequence[Fold]]
    """Of a seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What recipes are compared on; make it once with :func:`plan_comparison`."""

    region: Region
    samples: Samples
    groups: SampleGroups
    kinds: tuple[_Kind, ...]
    groupings: int

    @property
    def count(self) -> int:
        """How many folds :func:`compare` goes through."""
        return self.groupings * GROUPED_COUNT * len(self.kinds)


def plan_comparison(
    region: Region,
    samples: Samples,
    coordinates: NDArray[np.float64] | None = None,
    groupings: int = GROUPINGS,
) -> Comparison:
    """Find the groups that are held out, in at least 2 ``groupings``; places need coordinates."""
    with limit_threads():
        groups, by = find_groups(samples, coordinates)
    kinds = tuple(_kinds(region, samples, coordinates, groups, by))
    return Comparison(region, samples, groups, kinds, groupings)


def compare(
    plan: Comparison,
    recipes: Sequence[Recipe],
    *,
    jobs: int = 1,
    done: Callable[[], object] = lambda: None,
) -> tuple[Pair, ...]:
    """Compare recipes with the published forest; the same input gives the same figures.

    The robust recipe chooses its features, learner and threshold anew from the training rows of
    every fold; ``forest`` takes part in any case, and is fitted once a fold. ``done`` is called
    after each fold; there are ``plan.count`` of them.
    """
    region, samples, groups = plan.region, plan.samples, plan.groups
    others = [recipe for recipe in dict.fromkeys(recipes) if recipe != BASE]

    def measure(fold: Fold) -> list[float] | None:
        train, test = fold
        labels = samples.labels
        found = None
        if len(np.unique(labels[train])) == len(np.unique(labels[test])) == 2:
            found = [
                float(
                    balanced_accuracy_score(
                        labels[test],
                        predict_held_out(region.training, samples, recipe, groups, train, test)
                        > 0.5,
                    )
                )
                for recipe in (BASE, *others)
            ]
        done()
        return found

    pairs: list[Pair] = []
    # The limit is one of each thread, so every thread sets its own.
    with limit_threads(), ThreadPoolExecutor(jobs, initializer=limit_threads) as pool:
        for kind in plan.kinds:
            folds = [kind.folds(seed) for seed in range(FIRST_SEED, FIRST_SEED + plan.groupings)]
            flat = iter(list(pool.map(measure, [fold for one in folds for fold in one])))
            rows = []
            for one in folds:
                scores = [score for score in (next(flat) for _ in one) if score is not None]
                if scores:
                    rows.append(np.mean(scores, axis=0))
            if len(rows) < 2:
                raise Rejected(f"folds of {kind.held_out} have too few of both classes")
            table = np.array(rows)
            pairs += [
                _pair(kind.held_out, r, table[:, 0], table[:, 1 + i]) for i, r in enumerate(others)
            ]
    return tuple(pairs)


def pair_rows(pairs: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    """Rows of a table, the head first."""
    yield ("held out", "recipe", "balanced accuracy", "forest", "difference", "95 %", "wins")
    for pair in pairs:
        yield (
            pair.held_out,
            pair.recipe,
            f"{pair.balanced_accuracy:.3f}",
            f"{pair.forest:.3f}",
            f"{pair.difference:+.3f}",
            f"{pair.low:+.3f} to {pair.high:+.3f}",
            f"{pair.wins} of {pair.groupings}",
        )


def pairs_text(pairs: Sequence[Pair]) -> str:
    """What the table is, in sentences."""
    text = (
        f"{pairs[0].groupings} groupings of {GROUPED_COUNT} folds; every recipe on the same folds, "
        "against the published forest with a threshold of one half. Interval: Student's t over the "
        "groupings, of the same samples."
    )
    if any(pair.recipe == "robust" for pair in pairs):
        text += (
            f" The robust recipe chose among {len(CANDIDATES)} candidates and moved its threshold "
            "in every fold anew, on groups of its training rows."
        )
    return text


def _kinds(
    region: Region,
    samples: Samples,
    coordinates: NDArray[np.float64] | None,
    groups: SampleGroups,
    by: GroupedBy,
) -> Iterator[_Kind]:
    yield _Kind(describe_groups(by), lambda seed: grouped_folds(groups, GROUPED_COUNT, seed))
    if coordinates is None or by != "place":
        return
    yield _Kind(
        f"places of {GROUP_KM:g} km, and {BUFFER_KM:g} km around them",
        lambda seed: buffered_folds(coordinates, groups, GROUPED_COUNT, seed),
    )
    km = region.training.cluster_km
    if km is not None:
        far = join_duplicates(samples.features, place_groups(coordinates, km))
        if len(np.unique(far)) >= GROUPED_COUNT:
            yield _Kind(
                f"places of {km:g} km", lambda seed: grouped_folds(far, GROUPED_COUNT, seed)
            )


def _pair(
    held_out: str, recipe: Recipe, base: NDArray[np.float64], found: NDArray[np.float64]
) -> Pair:
    difference = found - base
    count = len(difference)
    mean = float(difference.mean())
    half = float(student.ppf(0.5 + LEVEL / 2, count - 1) * difference.std(ddof=1) / np.sqrt(count))
    return Pair(
        held_out=held_out,
        recipe=recipe,
        groupings=count,
        balanced_accuracy=round(float(found.mean()), DECIMALS),
        forest=round(float(base.mean()), DECIMALS),
        difference=round(mean, DECIMALS),
        low=round(mean - half, DECIMALS),
        high=round(mean + half, DECIMALS),
        wins=int((difference > 0).sum()),
    )
