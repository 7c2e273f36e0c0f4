"""How often intervals of gain and loss of cropland hold the truth, of samples with change strata.

    python -m benchmarks.change [--quick] [--draws 10000] [--output change.json]

Lands whose change is known: one of fields that turn once and maps that err in patches of 4 x 4
pixels, without order, and the worlds of six years of ``benchmarks.years``, with and without fallow.
Strata are what two maps say together, as ``cropmask sample --since`` has them, and the classes of a
series with flicker. Samples are drawn without replacement, labeled without error, and estimated as
``cropmask area --change`` does it. Beside it: how many times the truth counts of pixels are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Result, make_parser, put_results, show, table
from benchmarks.years import World, draw_years, run_series
from cropmask.assess import allocate, estimate_areas_by_domain
from cropmask.assess.change import (
    CHANGE_NAMES,
    SERIES_NAMES,
    combine_classes,
    estimate_change,
    part_flicker,
)
from cropmask.assess.choices import METHODS, IntervalMethod
from cropmask.assess.intervals import Estimated
from cropmask.assess.matrix import Confusion
from cropmask.assess.size import ALLOCATIONS, Allocation
from cropmask.core.series import GAIN, LOSS
from cropmask.operate.sample import EXPECTED_CHANGE

DRAWS: Final = 10_000
POINTS: Final = (240, 400, 800)
MINIMUM: Final = 30
SEEDS: Final = 3
"""Worlds of years that are put together."""
YEARS: Final = 6
LARGER: Final = 10
"""How many times larger the land is than the world that was made, so that samples are small."""
QUICK: Final[dict[str, Any]] = {"draws": 1000, "points": (240,), "seeds": 1}
"""Arguments of :func:`measure` for a first look."""
FIGURES: Final = ("gain", "loss", "net")


@dataclass(frozen=True, slots=True)
class Land:
    """Land whose change is known, divided into strata."""

    name: str
    pixels: NDArray[np.int64]
    """``(stratum, true class of change)``."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels of each stratum."""
        return np.asarray(self.pixels.sum(1))

    @property
    def truth(self) -> dict[str, float]:
        """Pixels of gain and loss, and of gain less loss."""
        gain, loss = (float(self.pixels[:, change].sum()) for change in (GAIN, LOSS))
        return {"gain": gain, "loss": loss, "net": gain - loss}

    @property
    def bias(self) -> dict[str, float]:
        """How many times the true change the strata of gain and of loss are."""
        named = (("gain", GAIN), ("loss", LOSS))
        return {name: float(self.sizes[change] / self.truth[name]) for name, change in named}


def _count(
    strata: NDArray[np.integer], true: NDArray[np.integer], names: tuple[str, ...]
) -> NDArray[np.int64]:
    """Pixels ``(stratum, true class)``."""
    cells = strata.ravel().astype(np.int64) * len(CHANGE_NAMES) + true.ravel()
    counts = np.bincount(cells, minlength=len(names) * len(CHANGE_NAMES))
    return np.asarray(counts.reshape(len(names), -1))


def make_patches(seed: int = 4, edge: int = 60) -> Land:
    """Fields of which 2 % turn, and two maps that err on 10 % of the land, in patches."""
    rng = np.random.default_rng(seed)
    first = rng.random((edge, edge)) < 0.3
    true = [first, first ^ (rng.random((edge, edge)) < 0.02)]
    true = [each.repeat(16, 0).repeat(16, 1) for each in true]
    patches = (4 * edge, 4 * edge)
    wrong = [(rng.random(patches) < 0.1).repeat(4, 0).repeat(4, 1) for _ in true]
    maps = [each ^ error for each, error in zip(true, wrong, strict=True)]
    said, known = (combine_classes(*np.uint8(pair)) for pair in (maps, true))
    return Land("two maps, patches", 2 * _count(said, known, CHANGE_NAMES))


def make_worlds(fallow: float, seeds: int, edge: int = 256) -> tuple[Land, Land]:
    """Strata of two maps, and of the series, of worlds of years."""
    by_maps = np.zeros((len(CHANGE_NAMES), len(CHANGE_NAMES)), np.int64)
    by_series = np.zeros((len(SERIES_NAMES), len(CHANGE_NAMES)), np.int64)
    for seed in range(seeds):
        made = draw_years(seed, World(fallow=fallow), YEARS, edge)
        smoothed, _, _ = run_series(made.prob)
        true, maps = (
            combine_classes(*each[[0, -1]].astype(np.uint8)) for each in (made.use, made.prob > 50)
        )
        by_maps += _count(maps, true, CHANGE_NAMES)
        by_series += _count(part_flicker(smoothed.kind, smoothed.flickers), true, SERIES_NAMES)
    with_fallow = ", fallow" if fallow else ""
    return (
        Land(f"two maps{with_fallow}", LARGER * by_maps),
        Land(f"series{with_fallow}", LARGER * by_series),
    )


def draw(land: Land, points: NDArray[np.int64], draws: int, seed: int = 1) -> Confusion:
    """Labeled points of many samples, each a domain; classes of the map do not matter."""
    rng = np.random.default_rng(seed)
    drawn = [
        rng.multivariate_hypergeometric(pixels, number, draws)
        for pixels, number in zip(land.pixels, points, strict=True)
    ]
    classes = len(CHANGE_NAMES)
    counts = np.zeros((draws, len(points), classes, classes), np.int64)
    counts[:, :, 0] = np.stack(drawn, 1)
    shape = counts.shape[:2]
    number = np.broadcast_to(points, shape)
    return Confusion(
        classes=CHANGE_NAMES,
        strata=tuple(map(str, range(len(points)))),
        domains=tuple(map(str, range(draws))),
        counts=counts,
        pixels=np.broadcast_to(land.sizes.astype(np.float64), shape),
        points=number,
        units=number,
        covariance=None,
        is_weighted=True,
    )


def _hold(found: Estimated, true: float) -> dict[str, float]:
    """Share of the samples whose interval holds the truth, lies above it, and below it."""
    above, below = float((found.low > true).mean()), float((found.high < true).mean())
    return {
        "coverage": 1 - above - below,
        "above": above,
        "below": below,
        "width": float((found.high - found.low).mean() / max(abs(true), 1)),
    }


def measure_design(
    land: Land, points: int, allocation: Allocation, draws: int
) -> dict[str, dict[IntervalMethod, dict[str, float]]]:
    """What becomes of the intervals of each figure, by method."""
    strata = np.arange(len(land.pixels))
    other, change = EXPECTED_CHANGE
    rates = np.where((strata >= GAIN) & (strata <= LOSS + 1), change, other)
    number = allocate(points, land.sizes, allocation=allocation, rates=rates, minimum=MINIMUM)
    drawn, truth = draw(land, number, draws), land.truth
    found: dict[str, dict[IntervalMethod, dict[str, float]]] = {name: {} for name in FIGURES}
    for method in METHODS:
        area = estimate_areas_by_domain(drawn, 1.0, method=method)
        figures = (
            area.hectares.at(..., GAIN),
            area.hectares.at(..., LOSS),
            estimate_change(area).net,
        )
        for name, each in zip(FIGURES, figures, strict=True):
            found[name][method] = _hold(each, truth[name])
    return found


def measure(
    *,
    draws: int = DRAWS,
    points: tuple[int, ...] = POINTS,
    seeds: int = SEEDS,
    edge: int = 256,
    fallow: tuple[float, ...] = (0.0, 0.15),
) -> Result:
    """Every land with every number of points and allocation."""
    lands = [make_patches(), *(land for each in fallow for land in make_worlds(each, seeds, edge))]
    return {
        "draws": draws,
        "bias": {land.name: land.bias for land in lands},
        "runs": [
            {
                "land": land.name,
                "points": number,
                "allocation": allocation,
                "figures": measure_design(land, number, allocation, draws),
            }
            for land, number, allocation in product(lands, points, ALLOCATIONS)
        ],
    }


def report(found: Result) -> str:
    """The tables of ``docs/statistics.md``."""
    return f"{_design_table(found)}\n\n{_bias_table(found)}"


def _design_table(found: Result) -> str:
    """A line for each land and number of points: the least and the most of the allocations."""
    runs: dict[tuple[str, int], list[Result]] = {}
    for run in found["runs"]:
        runs.setdefault((run["land"], run["points"]), []).append(run["figures"])
    rows = (
        (
            f"{land}, {points}",
            *(_range([each[name]["mover"]["coverage"] for each in alike]) for name in FIGURES),
            _range([each["gain"]["mover"]["below"] for each in alike]),
            _range([each["gain"]["mover"]["width"] for each in alike], 1),
            _range([each["gain"]["normal"]["coverage"] for each in alike]),
        )
        for (land, points), alike in runs.items()
    )
    head = (
        *("strata, points", "gain", "loss", "gain less loss"),
        *("gain: all of it below the truth", "width / truth", "gain, normal"),
    )
    return table(head, rows)


def _bias_table(found: Result) -> str:
    rows = (
        (name, f"{each['gain']:.2f}", f"{each['loss']:.2f}") for name, each in found["bias"].items()
    )
    return table(("strata of change counted / truth", "gain", "loss"), rows)


def _range(values: list[float], digits: int = 3) -> str:
    ends = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return " to ".join(end.removeprefix("0") if digits == 3 else end for end in ends)


def main() -> None:
    """Measure what is asked for and print it."""
    parser = make_parser(__doc__)
    parser.add_argument("--draws", type=int, help="samples of each design")
    options = parser.parse_args()
    sizes = dict(QUICK) if options.quick else {}
    if options.draws:
        sizes["draws"] = options.draws
    put_results(options.output, {"change": show("Change", lambda: measure(**sizes), report)})


if __name__ == "__main__":
    main()
