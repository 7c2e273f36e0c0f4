"""Inference on one core: our engine against scikit-learn's predict_proba, in the same run.

    python -m benchmarks.forest [--quick] [--samples eastern.txt] [--output forest.json]

The published Eastern forest (500 trees) and the boosted model are fitted, converted, and run on a
made-up parcel scene, windows of the demo tile at 10 m, and on real Sentinel-2 pixels where they are
there. Nothing is printed before our labels are found equal and probabilities within 1e-6. Other
engines run beside ours where they are installed (:mod:`benchmarks.peers`). Every ratio is to
scikit-learn's same model on the same pixels. Contestants take turns, so noise of the machine meets
all of them. Only pixels with GeoMAD count, and the others get only those. ``shuffled`` is the worst
case of our engine: the same pixels at random places, so that neighbors have nothing in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.measure import SAMPLES, SHARED, Result, make_parser, put_results, show, table
from benchmarks.models import Fitted, Models, draw_scene, fit_models, load_real_scene
from benchmarks.peers import Predict, open_peers
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

BASELINE = "scikit-learn"
REAL = SHARED / "hesbaye"
"""A real GeoMAD of a square kilometer."""
TOLERANCE = 1e-6
QUICK = {"width": 512, "rounds": 3}
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
    halves, ndvi = np.zeros(strip.shape, np.uint8), np.empty((2, *strip.shape), np.int16)
    blocks = []
    across = -(-strip.shape[1] // EDGE)
    for top in range(0, strip.shape[0], EDGE):
        for first in range(0, across, BLOCK_PACKETS):
            number = min(BLOCK_PACKETS, across - first)
            number = -(-number // engine.group) * engine.group
            active = np.empty(number, np.uint64)
            place = top, first * EDGE
            find_active(*strip.arrays[:2], False, *place, active, halves, ndvi)
            packets = make_scratch(engine, number)[0]
            rank_packets(strip.arrays, tables, *place, packets, active)
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


def find_scenes(rows: int, width: int, real: Path = REAL) -> dict[str, Strip]:
    """Scenes by name: made up, real if it is there, and each with its pixels at random places."""
    scenes = {"made-up": draw_scene(rows, width)}
    found = load_real_scene(real)
    if found is not None:
        scenes["real"] = found
    return {
        name: strip
        for scene, plain in scenes.items()
        for name, strip in ((scene, plain), (f"{scene}, shuffled", shuffle(plain)))
    }


def measure(
    models: Models,
    *,
    rows: int = 8,
    width: int = 1024,
    rounds: int = 5,
    seconds: float = 0.5,
    real: Path = REAL,
) -> Result:
    """Speeds in million pixels per CPU second, and ratios to scikit-learn's same model.

    Parameters
    ----------
    models
        What to run.
    rows, width
        Size of each of the made-up scene's eight windows.
    rounds
        How often every contestant runs, in turn.
    seconds
        Least CPU time of a turn; fast ones repeat.
    real
        Folder of the real scene, which is left out where it is absent.
    """
    scenes = find_scenes(rows, width, real)
    found: Result = {}
    with threadpool_limits(1), TemporaryDirectory(prefix="cropmask-bench-") as folder:
        for recipe in models.by_recipe:
            fitted = models.by_recipe[recipe]
            peers, absent = open_peers(fitted, Path(folder))
            found[recipe] = {
                "trees": len(fitted.forest.roots),
                "nodes": len(fitted.forest.feature),
                "absent": absent,
                "scenes": {
                    name: _measure_scene(fitted, peers, strip, rounds, seconds)
                    for name, strip in scenes.items()
                },
            }
    missing = None if "real" in scenes else str(real)
    return {"samples": models.samples, "rounds": rounds, "missing": missing, "recipes": found}


def _measure_scene(
    fitted: Fitted, peers: dict[str, Predict], strip: Strip, rounds: int, seconds: float
) -> Result:
    x = np.ascontiguousarray(features(strip).reshape(33, -1).T)
    blocks = rank_blocks(fitted, strip)
    exact = check_exact(fitted, strip, blocks, x)
    x = x[(observed(strip.first) | observed(strip.second)).reshape(-1)]
    theirs = fitted.estimator.predict_proba(x)[:, 1]
    engine, classifier = make_engine(fitted.forest), StripClassifier(fitted.forest)
    wave, out = make_scratch(engine)[1], classify_scene(fitted, strip)
    contestants: dict[str, Callable[[], object]] = {
        BASELINE: lambda: fitted.estimator.predict_proba(x),
        "cropmask, ranks to percent": lambda: walk(engine, blocks, wave),
        "cropmask, raw pixels to percent": lambda: classify(classifier, strip, out),
        **{name: partial(predict, x) for name, predict in peers.items()},
    }
    speeds = _race(contestants, len(x), rounds, seconds)
    flips = {
        name: int(np.count_nonzero((predict(x) > 0.5) != (theirs > 0.5)))
        for name, predict in peers.items()
    }
    return {
        **exact,
        "speeds": {
            name: {**_spread(mine, speeds[BASELINE]), "flips": flips.get(name, 0)}
            for name, mine in speeds.items()
        },
    }


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
    """A table of ratios for each model; then what could not be measured."""
    lines = [
        f"Fitted on {found['samples']}. One thread, CPU time, {found['rounds']} rounds in turn: "
        "times the speed of scikit-learn on the same model and the same pixels, median (least to "
        "most)."
    ]
    for recipe, model in found["recipes"].items():
        lines += _report_model(recipe, model)
    if found["missing"]:
        lines.append(f"No real pixels: {found['missing']} is not there.")
    return "\n\n".join(lines)


def _report_model(recipe: str, model: Result) -> list[str]:
    scenes = model["scenes"]
    plain = [scene for name, scene in scenes.items() if "shuffled" not in name]
    worst = max(scene["worst"] for scene in scenes.values())
    rows = []
    for name in scenes["made-up"]["speeds"]:
        speeds = [scene["speeds"][name] for scene in scenes.values()]
        cells = ["{:.3f} Mpx/s".format(speed["mpx_s"][0]) for speed in speeds]
        if name != BASELINE:
            cells = ["{:.2f} ({:.2f} to {:.2f})".format(*speed["ratio"]) for speed in speeds]
        rows.append((name, *cells, sum(scene["speeds"][name]["flips"] for scene in plain)))
    pixels = sum(scene["pixels"] for scene in plain)
    head = (f"{recipe}, {model['trees']} trees of {model['nodes']} nodes", *scenes)
    return [
        table((*head, f"labels of {pixels} that differ"), rows),
        f"Our probabilities are within {worst:.1e} of scikit-learn's.",
        *(f"Not measured: {name}, {why}." for name, why in model["absent"].items()),
    ]


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
