"""How often intervals of area and accuracy hold the truth, drawn again and again from made-up maps.

    python -m benchmarks.coverage [--quick] [--draws 10000] [--minimum 20] [--output coverage.json]

Every truth is a map of ten million pixels with the producer's and user's accuracy of one of the
eight published regions, at a share of crop of .02, .1, .3 or .5. A sample is drawn from it without
replacement, labeled without error and estimated as ``cropmask assess`` and ``cropmask area`` do it.
Then: strata that are not the map's classes (bands of its probability), plots of nine pixels, and
districts. What is printed for several truths is the mean, and the least and the most of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Result, make_parser, put_results, show, table
from cropmask.assess import (
    Estimated,
    allocate,
    assess_accuracy,
    count_labels,
    count_matrix,
    estimate_area,
    estimate_areas_by_domain,
)
from cropmask.assess.area import POST_STRATIFIED, REGRESSION
from cropmask.assess.choices import METHODS, IntervalMethod
from cropmask.assess.size import ALLOCATIONS, Allocation

SHARES: Final = (0.02, 0.1, 0.3, 0.5)
POINTS: Final = (50, 100, 300)
"""Points a stratum; other allocations share as many among both strata."""
DRAWS: Final = 10_000
MINIMUM: Final = 20
"""Points that each stratum gets at least."""
QUICK: Final[dict[str, Any]] = {"draws": 2000, "points": (50, 300)}
"""Arguments of :func:`measure` for a first look."""
PIXELS: Final = 10_000_000
ACCURACIES: Final = {
    "central": (38 / 45, 38 / 48),
    "eastern": (81 / 100, 81 / 91),
    "indian_ocean": (38 / 50, 38 / 40),
    "northern": (90 / 100, 90 / 98),
    "sahel": (62 / 88, 62 / 71),
    "southeast": (42 / 47, 42 / 54),
    "southern": (33 / 49, 33 / 39),
    "western": (72 / 97, 72 / 96),
}
"""Producer's and user's accuracy of crop, as published."""
DISTRICT_POINTS: Final = (300, 1000)
"""Points of all districts together."""
BANDS: Final = "bands of probability"
PLOTS: Final = "plots of nine"
WRONG: Final = "the same, taken for points"
MAIN: Final = ("area", "overall", "user's")
LEAST, MOST = 0.94, 0.97
"""What intervals of 95 % should hold."""
FIGURES: Final = ("area", "overall", "user's", "producer's", "F1")


@dataclass(frozen=True, slots=True)
class Truth:
    """A map of two classes and what is true: pixels by class of the map, and of reference."""

    pixels: NDArray[np.int64]
    """``(map class, reference class)``, crop last."""

    @property
    def mapped(self) -> NDArray[np.int64]:
        """Pixels by class of the map."""
        mapped: NDArray[np.int64] = self.pixels.sum(1)
        return mapped

    @property
    def figures(self) -> dict[str, float]:
        """What intervals should hold."""
        (_, missed), (wrong, right) = self.pixels / self.pixels.sum()
        return {
            "area": right + missed,
            "overall": 1 - missed - wrong,
            "user's": right / (right + wrong),
            "producer's": right / (right + missed),
            "F1": 2 * right / (2 * right + wrong + missed),
        }


def make_truth(share: float, producers: float, users: float) -> Truth:
    """A map with these accuracies of crop, where crop has this share of the area."""
    crop = round(PIXELS * share)
    right = round(crop * producers)
    mapped = round(right / users)
    return Truth(
        np.array([[PIXELS - mapped - (crop - right), crop - right], [mapped - right, right]])
    )


def draw(truth: Truth, points: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.int64]:
    """Confusion matrices ``(draw, map class, reference class)`` of samples of the map's classes."""
    rng = np.random.default_rng(seed)
    crops = rng.hypergeometric(truth.pixels[:, 1], truth.pixels[:, 0], points, (draws, 2))
    return np.stack([points - crops, crops], -1)


def find_coverage(
    truth: Truth, matrices: NDArray[np.int64], method: IntervalMethod
) -> dict[str, tuple[float, float]]:
    """Share of the draws whose interval holds the truth, and its mean width, by figure."""
    found = count_matrix(matrices, truth.mapped)
    accuracy = assess_accuracy(found, method=method)
    estimates = {
        "area": estimate_area(found, 1.0, method=method).shares,
        "overall": accuracy.overall,
        "user's": accuracy.users,
        "producer's": accuracy.producers,
        "F1": accuracy.f1,
    }
    return {
        name: _hold(each if name == "overall" else each.at(..., 1), truth.figures[name])
        for name, each in estimates.items()
    }


def _hold(estimate: Estimated, true: float) -> tuple[float, float]:
    known = ~np.isnan(estimate.estimate)
    held = (estimate.low <= true + 1e-9) & (true <= estimate.high + 1e-9)
    return float(held[known].mean()), float((estimate.high - estimate.low)[known].mean())


def draw_bands(share: float, points: int, draws: int, seed: int) -> Drawn:
    """Samples from four bands of probability, where the object filter moved some of the classes."""
    weights = np.array([1 - 2.2 * share, 0.7 * share, 0.7 * share, 0.8 * share])
    crop = np.array([0.02 * share, 0.2, 0.55, 0.0])
    crop[3] = (share - weights[:3] @ crop[:3]) / weights[3]
    mapped = np.array([0.0, 0.1, 0.9, 1.0])
    cells = np.stack([np.stack([1 - mapped, mapped], -1)] * 2, -1)
    cells = cells * np.stack([1 - crop, crop], -1)[:, None, :]
    rng = np.random.default_rng(seed)
    strata = np.tile(np.repeat(np.arange(4), points), draws)
    maps = rng.random(strata.size) < mapped[strata]
    truths = rng.random(strata.size) < crop[strata]
    return Drawn(weights, cells, strata, maps, truths, np.arange(draws).repeat(4 * points), None)


def draw_plots(share: float, points: int, draws: int, seed: int) -> Drawn:
    """Samples of plots of nine pixels that are alike: a third of the plots is of one kind."""
    weights = np.array([1 - share, share])
    crop = np.array([0.2 * share / (1 - share), 0.8])
    other = 0.15  # of a plot's pixels have the other class on the map
    rows = np.stack([1 - crop, crop], -1)
    cells = np.stack([rows * (1 - other), rows[::-1] * other], 1)
    cells[1] = cells[1, ::-1]
    rng = np.random.default_rng(seed)
    plots = draws * 2 * points
    strata = np.tile(np.repeat([0, 1], points), draws).repeat(9)
    maps = np.where(rng.random(plots * 9) < other, 1 - strata, strata)
    chance = rng.random(plots * 9)
    is_alike = (rng.random(plots) < 1 / 3).repeat(9)
    chance = np.where(is_alike, rng.random(plots).repeat(9), chance)
    by_draw = np.arange(draws).repeat(2 * points * 9)
    return Drawn(
        weights, cells, strata, maps, chance < crop[maps], by_draw, np.arange(plots).repeat(9)
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """Labeled points of many samples, and what is true of all of them."""

    weights: NDArray[np.float64]
    """Share of each stratum in the area."""
    cells: NDArray[np.float64]
    """What is true of each stratum, ``(stratum, map class, reference class)``."""
    strata: NDArray[np.int64]
    mapped: NDArray[Any]
    reference: NDArray[Any]
    draws: NDArray[np.int64]
    plots: NDArray[np.int64] | None

    def hold(self, method: IntervalMethod, with_plots: bool = True) -> dict[str, float]:
        """Share of the samples whose interval holds the truth, by figure."""
        sizes = np.tile(self.weights, (int(self.draws.max()) + 1, 1))
        found = count_labels(
            self.mapped.astype(int),
            self.reference.astype(int),
            strata=self.strata,
            pixels=sizes,
            domains=self.draws,
            plots=self.plots if with_plots else None,
        )
        truth = Truth(np.einsum("h,hmr->mr", self.weights, self.cells))
        accuracy = assess_accuracy(found, method=method)
        areas = estimate_areas_by_domain(found, 1.0, method=method).shares
        estimates = (
            areas.at(..., 1),
            accuracy.overall,
            accuracy.users.at(..., 1),
            accuracy.producers.at(..., 1),
            accuracy.f1.at(..., 1),
        )
        return {
            name: _hold(each, truth.figures[name])[0]
            for name, each in zip(FIGURES, estimates, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Districts:
    """Districts with their own share of crop and their own errors of the map."""

    pixels: NDArray[np.float64]
    """``(district, map class)``."""
    crop: NDArray[np.float64]
    """Share of crop in truth, ``(district, map class)``."""

    @property
    def truth(self) -> NDArray[np.float64]:
        """Share of crop by district."""
        shares: NDArray[np.float64] = (self.pixels * self.crop).sum(1) / self.pixels.sum(1)
        return shares


def make_districts(share: float, seed: int, count: int = 20) -> Districts:
    """Sizes by a factor of seven, shares of crop by more, accuracies by a few points of percent."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.3, 2, count) * 1e6
    crop = np.clip(share * rng.gamma(4, 1 / 4, count), 0.001, 0.6)
    producers, users = np.clip(0.8 + rng.normal(0, 0.05, (2, count)), 0.5, 0.95)
    mapped = crop * producers / users
    pixels = np.rint(size[:, None] * np.stack([1 - mapped, mapped], 1))
    return Districts(pixels, np.stack([crop * (1 - producers) / (1 - mapped), users], 1))


def measure_districts(draws: int, shares: tuple[float, ...]) -> list[Result]:
    """Coverage of the area of crop by district, and how wide intervals are, by estimator."""
    found = []
    for share, points in product(shares, DISTRICT_POINTS):
        rows = [
            row
            for seed in range(draws)
            for allocation in ("equal", "proportional")
            for row in _estimate_districts(
                make_districts(share, seed % 20), points, allocation, seed
            )
        ]
        for estimator in (POST_STRATIFIED, REGRESSION):
            chosen = [(held, width) for name, held, width in rows if name == estimator]
            if chosen:
                held, width = map(float, np.mean(chosen, axis=0))
                line = {"share": share, "points": points, "estimator": estimator}
                found.append({**line, "count": len(chosen), "coverage": held, "width": width})
    return found


def _estimate_districts(
    districts: Districts, points: int, allocation: Allocation, seed: int
) -> list[tuple[str, bool, float]]:
    """Estimator, whether the interval holds the truth, and its width, of each district."""
    rng = np.random.default_rng(seed)
    strata = districts.pixels.sum(0)
    allocated = allocate(points, strata, allocation=allocation, minimum=MINIMUM)
    of_stratum = districts.pixels / strata
    within = [rng.choice(len(of_stratum), n, p=of_stratum[:, h]) for h, n in enumerate(allocated)]
    mapped, district = np.repeat([0, 1], allocated), np.concatenate(within)
    crops = (rng.random(points) < districts.crop[district, mapped]).astype(int)
    sizes = {number: dict(enumerate(row)) for number, row in enumerate(districts.pixels)}
    found = estimate_areas_by_domain(
        count_labels(mapped, crops, strata=mapped, pixels=sizes, domains=district), 1.0
    )
    shares = found.shares.at(..., 1)
    held = (shares.low <= districts.truth) & (districts.truth <= shares.high)
    names, width = found.estimators.tolist(), shares.high - shares.low
    return list(zip(names, held.tolist(), width.tolist(), strict=True))


def measure_others(draws: int, points: tuple[int, ...], shares: tuple[float, ...]) -> list[Result]:
    """Coverage where strata are not classes, and where points come in plots."""
    found = []
    for share in shares:
        for each in points:
            bands = draw_bands(share, each, draws, 1)
            plots = draw_plots(share, each, draws, 2)
            lines = ((BANDS, bands, True), (PLOTS, plots, True), (WRONG, plots, False))
            for name, drawn, with_plots in lines:
                held = {method: drawn.hold(method, with_plots) for method in METHODS}
                line = {"design": name, "share": share, "points": each, "coverage": held}
                found.append(line)
    return found


def measure(
    *,
    draws: int = DRAWS,
    points: tuple[int, ...] = POINTS,
    shares: tuple[float, ...] = SHARES,
    minimum: int = MINIMUM,
) -> Result:
    """Coverage of every design, and of what is no plain design with fewer draws."""
    runs = [
        _measure_design(share, each, allocation, draws, minimum)
        for share in shares
        for each in points
        for allocation in ALLOCATIONS
    ]
    few = tuple(each for each in points if each <= 100)
    rarer = tuple(share for share in shares if share <= 0.3)
    return {
        "draws": draws,
        "minimum": minimum,
        "truths": len(ACCURACIES),
        "runs": runs,
        "others": measure_others(draws // 4, few, rarer),
        "districts": measure_districts(draws // 20, rarer),
    }


def _measure_design(
    share: float, points: int, allocation: Allocation, draws: int, minimum: int
) -> Result:
    found: dict[str, list[dict[str, tuple[float, float]]]] = {method: [] for method in METHODS}
    bias, omissions = [], []
    for seed, accuracies in enumerate(ACCURACIES.values()):
        truth = make_truth(share, *accuracies)
        rates = truth.pixels[:, 1] / truth.mapped
        allocated = allocate(
            2 * points, truth.mapped, allocation=allocation, rates=rates, minimum=minimum
        )
        matrices = draw(truth, allocated, draws, seed)
        for method in METHODS:
            found[method].append(find_coverage(truth, matrices, method))
        bias.append(truth.mapped[1] / truth.pixels[:, 1].sum() - 1)
        omissions.append(float(allocated[0] * rates[0]))
    return {
        "share": share,
        "points": points,
        "allocation": allocation,
        "omissions": [min(omissions), max(omissions)],
        "pixel_count_bias": [min(bias), max(bias)],
        "coverage": {
            method: {name: _summarize([one[name][0] for one in rows]) for name in FIGURES}
            for method, rows in found.items()
        },
        "width": {
            method: {name: float(np.mean([one[name][1] for one in rows])) for name in FIGURES}
            for method, rows in found.items()
        },
    }


def _summarize(values: list[float]) -> list[float]:
    return [float(np.mean(values)), min(values), max(values)]


def report(found: Result) -> str:
    """The tables of ``docs/statistics.md``."""
    return "\n\n".join(
        (_design_table(found), _summary_table(found), _others_table(found), _district_table(found))
    )


def _design_table(found: Result) -> str:
    """Coverage by design, of two kinds of interval."""
    pairs = [(name, method) for name in MAIN for method in ("mover", "normal")]
    rows = (
        (
            f"{run['share']:g}, {run['points']}, {run['allocation']}",
            "{:.1f} to {:.1f}".format(*run["omissions"]),
            *(_range_text(run["coverage"][method][name]) for name, method in pairs),
        )
        for run in found["runs"]
    )
    head = ("crop, points a stratum, allocation", "omissions expected")
    return table((*head, *(f"{name}, {method}" for name, method in pairs)), rows)


def _summary_table(found: Result) -> str:
    """How many designs hold what they should, by figure and kind of interval."""
    rows = []
    for name, method in product(FIGURES, METHODS):
        mean, least, most = zip(
            *(run["coverage"][method][name] for run in found["runs"]), strict=True
        )
        within = sum(LEAST <= each <= MOST for each in mean)
        share = f"{within} of {len(mean)}"
        limits = (
            f"{_short(min(mean))} to {_short(max(mean))}",
            _short(min(least)),
            _short(max(most)),
        )
        rows.append((f"{name}, {method}", share, *limits))
    head = ("figure, interval", "designs at .94 to .97", "means", "least of all", "most of all")
    return table(head, rows)


def _others_table(found: Result) -> str:
    rows = (
        (
            f"{run['design']}, {run['share']:g}, {run['points']}",
            *(_short(value) for value in run["coverage"]["mover"].values()),
            _short(min(run["coverage"]["normal"].values())),
        )
        for run in found["others"]
    )
    return table(
        ("design, share of crop, units a stratum", *FIGURES, "normal, worst of them"), rows
    )


def _district_table(found: Result) -> str:
    rows = (
        (
            f"{run['share']:g}, {run['points']} in 20 districts, {run['estimator']}",
            run["count"],
            _short(run["coverage"]),
            f"{run['width']:.2f}",
        )
        for run in found["districts"]
    )
    return table(("share of crop, points, estimator", "districts", "coverage", "width"), rows)


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _range_text(values: list[float]) -> str:
    mean, least, most = map(_short, values)
    return f"{mean} ({least}-{most})"


def main() -> None:
    """Measure what is asked for and print it."""
    parser = make_parser(__doc__)
    parser.add_argument("--draws", type=int, help="samples of each truth and design")
    parser.add_argument("--minimum", type=int, default=MINIMUM, help="points a stratum at least")
    options = parser.parse_args()
    sizes = {**(QUICK if options.quick else {}), "minimum": options.minimum}
    if options.draws:
        sizes["draws"] = options.draws
    put_results(options.output, {"coverage": show("Coverage", lambda: measure(**sizes), report)})


if __name__ == "__main__":
    main()
