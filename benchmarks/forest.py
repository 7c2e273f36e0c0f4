"""Inference on one core: our engine against scikit-learn's predict_proba, in the same run.

    python -m benchmarks.forest [--quick] [--samples eastern.txt] [--output forest.json]

The published Eastern forest (500 trees) and the boosted model are fitted, converted, and run on a
parcel scene: windows of the demo tile at 10 m. Nothing is printed before labels are found equal
and probabilities within 1e-6. Contestants take turns, so noise of the machine meets all of them.
Only pixels with GeoMAD count, and scikit-learn gets only those. ``shuffled`` is the worst case of
our engine: the same pixels at random places, so that neighbors have nothing in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.measure import SAMPLES, Result, make_parser, put_results, show, table
from benchmarks.models import Fitted, Models, draw_scene, fit_models
from cropmask.core._packets import EDGE, find_active, put_pixels, rank_packets
from cropmask.core.engine import (
    BLOCK_PACKETS,
    Engine,
    Packets,
    make_engine,
    make_scratch,
    percent,
    score,
)
from cropmask.core.features import features, observed
from cropmask.core.mapper import ClassifiedPixels, StripClassifier, classify_layers
from cropmask.core.ranker import make_ranker
from cropmask.core.strips import Half, Strip
from cropmask.product import RECIPES

BASELINE = "scikit-learn forest"
TOLERANCE = 1e-6
QUICK = {"rows": 8, "rounds": 3}
"""Arguments of :func:`measure` for a first look."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Packets of a scene, ranked and ready to walk."""

    top: int
    left: int
    packets: Packets
    active: NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class SceneLayers:
    """A scene as the layers of a tile; nothing is masked."""

    scene: Strip
    pixel_area_m2: float = 100.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.scene.shape

    def strips(self, rows: int) -> Iterator[Strip]:
        """The whole scene at once, however many rows are asked for."""
        assert rows >= self.shape[0]
        yield self.scene

    def excluded(self) -> NDArray[np.uint8]:
        """No cause anywhere."""
        return np.zeros(self.shape, np.uint8)


def rank_blocks(fitted: Fitted, strip: Strip) -> list[Block]:
    """All packets of a scene as ranks."""
    engine, ranker = make_engine(fitted.forest), make_ranker(fitted.forest)
    tables = tuple(getattr(ranker, field.name) for field in fields(ranker))
    arrays = (
        strip.first.reflectance,
        strip.second.reflectance,
        strip.first.deviation,
        strip.second.deviation,
        strip.rain,
        strip.slope,
    )
    halves, ndvi = np.zeros(strip.shape, np.uint8), np.empty((2, *strip.shape), np.int16)
    blocks = []
    across = -(-strip.shape[1] // EDGE)
    for top in range(0, strip.shape[0], EDGE):
        for first in range(0, across, BLOCK_PACKETS):
            number = min(BLOCK_PACKETS, across - first)
            number = -(-number // engine.group) * engine.group
            active = np.empty(number, np.uint64)
            place = top, first * EDGE
            find_active(arrays[0], arrays[1], False, *place, active, halves, ndvi)
            packets = make_scratch(engine, number)[0]
            rank_packets(arrays, tables, *place, packets, active)
            blocks.append(Block(*place, packets, active))
    return blocks


def walk(engine: Engine, blocks: list[Block], wave: NDArray[np.uint16]) -> None:
    """Percentages of ranked packets: what scikit-learn does with features."""
    for block in blocks:
        percent(engine, block.packets, block.active, wave)


def classify(classifier: StripClassifier, strip: Strip, out: ClassifiedPixels) -> None:
    """Raw pixels to percentages, features included."""
    with ThreadPoolExecutor(1) as pool:
        classifier.classify(strip, out, pool)


def classify_scene(fitted: Fitted, strip: Strip) -> ClassifiedPixels:
    """The same through the door that a tile takes."""
    return classify_layers(SceneLayers(strip), fitted.forest, rows=strip.shape[0])


def shuffle(strip: Strip) -> Strip:
    """The same pixels at random places."""
    order = np.random.default_rng(0).permutation(strip.slope.size)

    def mix(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(*array.shape[:-2], -1)[..., order].reshape(array.shape)

    first, second = (
        Half(mix(half.reflectance), mix(half.deviation)) for half in (strip.first, strip.second)
    )
    return Strip(0, first, second, mix(strip.rain), mix(strip.slope))


def check_exact(fitted: Fitted, strip: Strip, blocks: list[Block], x: NDArray[Any]) -> Result:
    """Compare every pixel with scikit-learn; ``x`` (pixel, feature) holds all of them.

    Raises
    ------
    AssertionError
        If a label differs, or a probability by more than 1e-6.
    """
    theirs = fitted.estimator.predict_proba(x)[:, 1].reshape(strip.shape)
    engine = make_engine(fitted.forest)
    wave = make_scratch(engine)[1]
    scores = np.full(strip.shape, np.nan)
    for block in blocks:
        values = score(engine, block.packets, block.active, wave)
        put_pixels(values, block.active, block.top, block.left, scores)
    logit = fitted.forest.kind == "logit"
    ours = 1 / (1 + np.exp(-scores)) if logit else scores / fitted.forest.roots.size
    out = classify_scene(fitted, strip)
    seen = out.prob != 255
    flips = int(np.count_nonzero((out.prob > 50)[seen] != (theirs > 0.5)[seen]))
    worst = float(np.abs(ours - theirs)[seen].max())
    assert seen.any(), "the scene has no pixel to classify"
    assert np.array_equal(seen, ~np.isnan(ours)), "the two paths classify different pixels"
    assert flips == 0, f"{flips} labels of the {fitted.recipe} model differ from scikit-learn's"
    assert worst <= TOLERANCE, f"probabilities of {fitted.recipe} differ by {worst:g}"
    return {"pixels": int(seen.sum()), "flips": flips, "worst": worst}


def measure(
    models: Models, *, rows: int = 16, width: int = 1024, rounds: int = 5, seconds: float = 0.5
) -> Result:
    """Speeds in million pixels per CPU second.

    Parameters
    ----------
    models
        What to run.
    rows, width
        Size of each of the scene's eight windows.
    rounds
        How often every contestant runs, in turn.
    seconds
        Least CPU time of a turn; fast ones repeat.
    """
    strip = draw_scene(rows, width)
    mixed = shuffle(strip)
    x = np.ascontiguousarray(features(strip).reshape(33, -1).T)
    seen = (observed(strip.first) | observed(strip.second)).reshape(-1)
    pixels = int(seen.sum())
    contestants: dict[str, Callable[[], object]] = {}
    exact: Result = {}
    with threadpool_limits(1):
        for recipe in RECIPES:
            fitted = models.by_recipe[recipe]
            blocks = rank_blocks(fitted, strip)
            exact[recipe] = check_exact(fitted, strip, blocks, x)
            contestants |= _contestants(fitted, strip, blocks, x[seen])
            contestants |= _shuffled(fitted, rank_blocks(fitted, mixed))
        speeds = _race(contestants, pixels, rounds, seconds)
    return {
        "samples": models.samples,
        "trees": {recipe: len(fit.forest.roots) for recipe, fit in models.by_recipe.items()},
        "nodes": {recipe: len(fit.forest.feature) for recipe, fit in models.by_recipe.items()},
        "pixels": pixels,
        "rounds": rounds,
        "exact": exact,
        "speeds": {name: _spread(mine, speeds[BASELINE]) for name, mine in speeds.items()},
    }


def _contestants(
    fitted: Fitted, strip: Strip, blocks: list[Block], x: NDArray[Any]
) -> dict[str, Callable[[], object]]:
    engine, classifier = make_engine(fitted.forest), StripClassifier(fitted.forest)
    wave, out = make_scratch(engine)[1], classify_scene(fitted, strip)
    return {
        f"scikit-learn {fitted.recipe}": lambda: fitted.estimator.predict_proba(x),
        f"cropmask {fitted.recipe}, ranks to percent": lambda: walk(engine, blocks, wave),
        f"cropmask {fitted.recipe}, raw pixels to percent": lambda: classify(
            classifier, strip, out
        ),
    }


def _shuffled(fitted: Fitted, blocks: list[Block]) -> dict[str, Callable[[], object]]:
    engine = make_engine(fitted.forest)
    wave = make_scratch(engine)[1]
    name = f"cropmask {fitted.recipe}, ranks to percent, shuffled"
    return {name: lambda: walk(engine, blocks, wave)}


def _race(
    contestants: dict[str, Callable[[], object]], pixels: int, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Speed of each contestant in each round, in turn; million pixels per CPU second."""
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            began, turns, spent = time.process_time(), 0, 0.0
            while turns == 0 or spent < seconds:
                work()
                turns += 1
                spent = time.process_time() - began
            speeds[name].append(turns * pixels / spent / 1e6)
    return speeds


def _spread(mine: list[float], baseline: list[float]) -> Result:
    # Ratios within a round, since the machine may be faster in one round than in another.
    ratios = np.array(mine) / np.array(baseline)
    return {
        "mpx_s": [float(f(mine)) for f in (np.median, np.min, np.max)],
        "ratio": [float(f(ratios)) for f in (np.median, np.min, np.max)],
    }


def report(found: Result) -> str:
    """Table of the speeds."""
    rows = [
        (
            name,
            "{:.3f} ({:.3f} to {:.3f})".format(*speed["mpx_s"]),
            "{:.2f} ({:.2f} to {:.2f})".format(*speed["ratio"]),
        )
        for name, speed in found["speeds"].items()
    ]
    worst = max(check["worst"] for check in found["exact"].values())
    return (
        f"Fitted on {found['samples']}; {found['trees']['forest']} trees of "
        f"{found['nodes']['forest']} nodes, boosted {found['trees']['boosted']} of "
        f"{found['nodes']['boosted']}. Scene of {found['pixels'] / 1e6:.3f} Mpx; one thread, "
        f"CPU time, {found['rounds']} rounds in turn, median (least to most). All labels equal "
        f"scikit-learn's, probabilities within {worst:.1e}.\n\n"
        + table(("One core", "Mpx/s", f"times {BASELINE}"), rows)
    )


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="published training samples")
    options = parser.parse_args()
    sizes: dict[str, Any] = QUICK if options.quick else {}
    models = fit_models(options.samples)
    found = show("Forest", lambda: measure(models, **sizes), report)
    put_results(options.output, {"forest": found})


if __name__ == "__main__":
    main()
