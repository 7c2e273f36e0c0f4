"""Features as expressions: what they cost beside the published ones, in the same run.

    python -m benchmarks.expressions [--quick] [--samples eastern.txt] [--output expressions.json]

A boosted model is fitted on forty expressions (normalized differences, fractions and contrasts of
the half-years) and mapped beside the boosted published one. Its map is first found to be
scikit-learn's on features computed in plain numpy. Contestants take turns, so noise of the machine
meets all of them: the ranks of a scene, with and without their search, then parts of the demo tile
as whole processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from benchmarks.inputs import ensure_inputs, find_resolution
from benchmarks.measure import SAMPLES, Result, make_parser, put_results, run_module, show, table
from benchmarks.models import DEMO_SAMPLES, draw_samples, draw_scene
from cropmask.core._packets import EDGE, find_active, rank_packets
from cropmask.core.engine import BLOCK_PACKETS, make_engine, make_scratch, percent
from cropmask.core.features import FEATURES, observed
from cropmask.core.forest import Forest
from cropmask.core.formulas import compute_features, compute_rows
from cropmask.core.mapper import StripClassifier
from cropmask.core.program import RANK
from cropmask.core.ranker import Ranker, make_ranker
from cropmask.core.strips import REFLECTANCE, Strip
from cropmask.modelfile.model import read_model, write_model
from cropmask.region.region import load_region
from cropmask.training.fit import BOOSTED, convert, make_probes, probe_rows
from cropmask.training.samples import load_samples

QUICK: Final[dict[str, Any]] = {"rounds": 2, "edge": 600}
"""Arguments of :func:`measure` for a first look."""
TREES: Final = 150


def make_expressions() -> tuple[str, ...]:
    """Forty features without a level of reflectance or rain."""
    pairs = ("nir,red_edge_1", "nir,swir_1", "nir,swir_2", "swir_1,swir_2", "red,green")
    pairs += ("red,blue", "swir_1,red", "swir_2,red", "red_edge_3,red_edge_1")
    pairs += ("red_edge_2,red_edge_1",)

    def pair(names: str, half: str) -> str:
        return "nd({}_{half},{}_{half})".format(*names.split(","), half=half)

    def total(half: str) -> str:
        return f"sum({','.join(f'{name}_{half}' for name in REFLECTANCE)})"

    halves = ("S1", "S2")
    found = [pair(names, half) for half in halves for names in pairs]
    found += [f"nd(sum(swir_1_{h},red_{h}),sum(nir_{h},blue_{h}))" for h in halves]
    found += [f"difference({pair(names, 'S1')},{pair(names, 'S2')})" for names in pairs]
    found += [
        f"{operation}({name}_S1,{name}_S2)"
        for name in ("NDVI", "MNDWI")
        for operation in ("maximum", "minimum")
    ]
    found += [f"ratio(nir_{half},{total(half)})" for half in halves]
    found += ["log(ratio(raw_bcdev_S1,raw_bcdev_S2))", "log(maximum(raw_edev_S1,raw_edev_S2))"]
    return tuple(found)


def fit_expressions(samples: Path, names: tuple[str, ...]) -> tuple[Any, Forest, Any]:
    """A boosted model on expressions: as scikit-learn and as we hold it, and its probes."""
    if samples.exists():
        known = load_samples(samples)
        x, labels = known.compute(names), known.labels
    else:
        rows, labels = draw_samples(DEMO_SAMPLES)
        x = compute_rows(names, FEATURES, rows)
    arguments: dict[str, Any] = {**BOOSTED, "max_iter": TREES}
    with threadpool_limits(1, user_api="openmp"):
        estimator = HistGradientBoostingClassifier(**arguments).fit(x, labels)
    return estimator, convert(estimator, names), make_probes(estimator, x[probe_rows(labels)])


def check_exact(estimator: Any, forest: Forest, strip: Strip) -> int:  # noqa: ANN401
    """Pixels of a scene, whose labels are found to be scikit-learn's."""
    with np.errstate(all="ignore"):
        x = compute_features(forest.features, strip).reshape(len(forest.features), -1).T
    crop = estimator.predict_proba(x)[:, 1].reshape(strip.shape) > 0.5
    seen = observed(strip.first) | observed(strip.second)
    with ThreadPoolExecutor(1) as pool:
        found = StripClassifier(forest).percent(strip, pool)
    assert np.array_equal(found != 255, seen), "other pixels are classified"
    assert np.array_equal((found > 50)[seen], crop[seen]), "labels differ from scikit-learn's"
    return int(seen.sum())


def _worker(
    forest: Forest, strip: Strip, ranker: Ranker, *, walks: bool = False
) -> Callable[[], None]:
    """Something that ranks all pixels of a scene, and may walk the trees."""
    engine = make_engine(forest)
    tables = tuple(getattr(ranker, field.name) for field in fields(ranker))
    packets, wave = make_scratch(engine)
    halves, ndvi = np.zeros(strip.shape, np.uint8), np.empty((2, *strip.shape), np.int16)
    active = np.empty(BLOCK_PACKETS, np.uint64)
    assert strip.shape[1] == BLOCK_PACKETS * EDGE, "one block is as wide as the scene"

    def work() -> None:
        for top in range(0, strip.shape[0], EDGE):
            find_active(*strip.arrays[:2], False, top, 0, active, halves, ndvi)
            rank_packets(strip.arrays, tables, top, 0, packets, active)
            if walks:
                percent(engine, packets, active, wave)

    return work


def _race(contestants: dict[str, Callable[[], None]], pixels: int, rounds: int) -> Result:
    """Least nanoseconds a pixel of each contestant, which take turns."""
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        work()
    for _ in range(rounds):
        for name, work in contestants.items():
            began = time.process_time()
            work()
            spent[name].append((time.process_time() - began) / pixels * 1e9)
    return {name: min(times) for name, times in spent.items()}


def measure(
    samples: Path = SAMPLES,
    *,
    rows: int = 64,
    rounds: int = 5,
    edge: int = 2400,
    resolution: int = 10,
) -> Result:
    """Nanoseconds a pixel of each step, and CPU seconds of whole processes.

    Parameters
    ----------
    samples
        Published samples; where there is no such file, pixels of the demo world stand in.
    rows
        Rows of each of the scene's eight windows.
    rounds
        How often each contestant runs, in turn.
    edge, resolution
        Size in pixels of the part of the demo tile, and of its pixels in meters.
    """
    names = make_expressions()
    estimator, forest, probes = fit_expressions(samples, names)
    file = load_region("eastern").model("boosted").file
    published = read_model(file)
    scene = draw_scene(rows)
    checked = check_exact(estimator, forest, scene)
    ranker, known = make_ranker(forest), make_ranker(published.forest)
    # Without features of other kinds, a program without its ranks is the evaluation alone.
    bare = replace(ranker, steps=ranker.steps[ranker.steps[:, 0] != RANK])
    steps = _race(
        {
            "published, ranks": _worker(published.forest, scene, known),
            "published, ranks and trees": _worker(published.forest, scene, known, walks=True),
            "expressions, evaluated": _worker(forest, scene, bare),
            "expressions, ranks": _worker(forest, scene, ranker),
            "expressions, ranks and trees": _worker(forest, scene, ranker, walks=True),
        },
        scene.slope.size,
        rounds,
    )
    request = {**ensure_inputs(resolution), "threads": 1}
    with TemporaryDirectory(prefix="cropmask-bench-") as folder:
        own = Path(folder) / "expressions.cropmodel"
        write_model(own, forest, published.manifest, probes)
        files = {"published": str(file), "expressions": str(own)}
        tiles: dict[str, list[float]] = {name: [] for name in files}
        for model in files.values():
            run_module("benchmarks.part", {**request, "model": model, "edge": 64})
        for _ in range(rounds):
            for name, model in files.items():
                asked = {**request, "model": model, "edge": edge}
                tiles[name].append(run_module("benchmarks.part", asked).cpu)
    return {
        "expressions": len(names),
        "used": int(np.count_nonzero(np.diff(forest.offsets))),
        "trees": len(forest.roots),
        "published_trees": len(published.forest.roots),
        "checked": checked,
        "ns": steps,
        "edge": edge,
        "resolution": resolution,
        "cpu": tiles,
    }


def report(found: Result) -> str:
    """A table of the steps, and one of whole processes."""
    ns, cpu = found["ns"], found["cpu"]
    steps = [(name, f"{value:.1f}") for name, value in ns.items()]
    base = min(cpu["published"])
    tiles = [(name, f"{min(times):.2f}", f"{min(times) / base:.2f}") for name, times in cpu.items()]
    each = ns["expressions, evaluated"] / max(found["used"], 1)
    return (
        f"Boosted, {found['trees']} trees on {found['used']} used of {found['expressions']} "
        f"expressions, beside the published features' {found['published_trees']} trees; labels of "
        f"{found['checked']} pixels are scikit-learn's on features in plain numpy. Steps include "
        "the search for active pixels.\n\n"
        + table(("Step, one thread", "CPU ns a pixel"), steps)
        + f"\n\nAn expression costs {each:.2f} ns a pixel to evaluate. A part of {found['edge']} "
        f"px of the demo tile at {found['resolution']} m, least of {len(cpu['published'])} runs in "
        "turn:\n\n" + table(("Whole process", "CPU s", "times published"), tiles)
    )


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="published training samples")
    parser.add_argument("--edge", type=int, help="edge of the part in pixels")
    parser.add_argument("--resolution", type=int, help="meters; default 10")
    options = parser.parse_args()
    sizes = dict(QUICK) if options.quick else {}
    sizes["resolution"] = find_resolution(options.resolution, quick=options.quick)
    if options.edge is not None:
        sizes["edge"] = options.edge
    found = show("Expressions", lambda: measure(options.samples, **sizes), report)
    put_results(options.output, {"expressions": found})


if __name__ == "__main__":
    main()
