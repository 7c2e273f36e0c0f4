"""The published way beside ours: the same part of a tile, the same forest, in the same run.

    python -m benchmarks.reference [--quick] [--edges 600,1200] [--output reference.json]

Both run as processes of their own on one thread, from the same COGs to three COGs. A whole tile
the published way does not fit a common machine, so its cost is extrapolated from the difference
between the smallest and the largest size: what every further pixel takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np

from benchmarks.inputs import ensure_inputs, find_resolution
from benchmarks.measure import (
    SAMPLES,
    Result,
    Usage,
    make_parser,
    numbers,
    put_results,
    run_module,
    show,
    table,
    threads_text,
)
from benchmarks.models import Models, fit_models
from benchmarks.tile import TILE_MPX
from cropmask.modelfile.model import ModelManifest, write_model
from cropmask.training.fit import make_probes

EDGES = (600, 1200)
WAYS = ("published", "cropmask")
MODULES = {"published": "benchmarks.published", "cropmask": "benchmarks.part"}


def measure(models: Models, edges: Sequence[int] = EDGES, *, resolution: int = 10) -> Result:
    """Usage of both ways at every size, how alike their maps are, and a whole tile extrapolated.

    Parameters
    ----------
    models
        Their forest is used.
    edges
        Two sizes or more, in pixels.
    resolution
        Pixel size of the demo world in meters.
    """
    edges = sorted(edges)
    inputs = ensure_inputs(resolution)
    with TemporaryDirectory(prefix="cropmask-bench-") as name:
        folder = Path(name)
        _put_models(folder, models)
        request = {
            **inputs,
            "threads": 1,
            "estimator": str(folder / "forest.joblib"),
            "model": str(folder / "forest.cropmodel"),
        }
        run_module(MODULES["cropmask"], {**request, "edge": 64})
        runs = [_run_both({**request, "edge": edge}, folder) for edge in edges]
    return {
        "samples": models.samples,
        "resolution": resolution,
        "runs": runs,
        "tile": {way: _extrapolate(runs, way) for way in WAYS},
    }


def _put_models(folder: Path, models: Models) -> None:
    """One forest, as scikit-learn and as a model file."""
    fitted = models.by_recipe["forest"]
    joblib.dump(fitted.estimator, folder / "forest.joblib")
    manifest = ModelManifest(
        region=None,
        recipe="forest",
        estimator=type(fitted.estimator).__name__,
        hyperparameters={},
        software={},
        training=None,
    )
    probes = make_probes(fitted.estimator, np.zeros((1, len(fitted.forest.features)), np.float32))
    write_model(folder / "forest.cropmodel", fitted.forest, manifest, probes)


def _run_both(request: Result, folder: Path) -> Result:
    used: dict[str, Usage] = {}
    maps = {}
    for way in WAYS:
        saved = folder / f"{way}-{request['edge']}.npz"
        used[way] = run_module(MODULES[way], {**request, "save": str(saved)})
        with np.load(saved) as bands:
            maps[way] = {band: bands[band] for band in bands}
    return {
        "edge": request["edge"],
        "mpx": request["edge"] ** 2 / 1e6,
        **{
            way: {"cpu": usage.cpu, "wall": usage.wall, "peak": usage.peak, **usage.answer}
            for way, usage in used.items()
        },
        # The same forest gives the same mask; objects depend on where the k-means begins.
        "equal": {
            band: float(np.mean(maps["published"][band] == maps["cropmask"][band]))
            for band in ("mask", "filtered")
        },
    }


def _extrapolate(runs: list[Result], way: str) -> Result:
    """CPU and peak of a whole tile: the largest size and a straight line from there."""
    small, large = runs[0], runs[-1]
    line = {}
    for key in ("cpu", "peak"):
        slope = (large[way][key] - small[way][key]) / (large["mpx"] - small["mpx"])
        line[f"{key}_per_mpx"] = slope
        line[key] = large[way][key] + slope * (TILE_MPX - large["mpx"])
    return line


def report(found: Result) -> str:
    """Both ways side by side, and the whole tile."""
    rows: list[tuple[object, ...]] = []
    for run in found["runs"]:
        theirs, ours = run["published"], run["cropmask"]
        rows.append((f"{run['edge']} px, {run['mpx']:.2f} Mpx, measured", *_beside(theirs, ours)))
    tile = found["tile"]
    # Our memory begins with caches that fill and then stay: a line through small sizes misleads.
    whole = _beside(tile["published"], tile["cropmask"])
    rows.append((f"whole tile, {TILE_MPX} Mpx, EXTRAPOLATED", *whole[:4], "", ""))
    head = ("One thread", "published CPU s", "ours", "ratio", "published peak GB", "ours", "ratio")
    equal = found["runs"][-1]["equal"]
    lines = [
        f"Forest fitted on {found['samples']}; demo tile at {found['resolution']} m; whole "
        f"processes. Same mask in {100 * equal['mask']:.4f} percent of the pixels, same filtered "
        f"in {100 * equal['filtered']:.2f} percent.",
        table(head, rows),
        "The last line is a straight line through the sizes above: every further Mpx takes "
        f"{tile['published']['cpu_per_mpx']:.2f} CPU s and "
        f"{tile['published']['peak_per_mpx'] / 1e6:.0f} MB the published way, "
        f"{tile['cropmask']['cpu_per_mpx']:.2f} CPU s ours. Our memory does not grow in a line; "
        "`benchmarks.tile` measures it at the full size.",
        _stages(found),
    ]
    return "\n\n".join(lines)


def _beside(theirs: Result, ours: Result) -> tuple[str, ...]:
    return (
        f"{theirs['cpu']:.1f}",
        f"{ours['cpu']:.1f}",
        f"{theirs['cpu'] / ours['cpu']:.1f}",
        f"{theirs['peak'] / 1e9:.2f}",
        f"{ours['peak'] / 1e9:.2f}",
        f"{theirs['peak'] / ours['peak']:.1f}",
    )


def _stages(found: Result) -> str:
    run = found["runs"][-1]
    parts = [
        f"{way}: "
        + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in run[way]["stages"].items())
        for way in WAYS
    ]
    return f"CPU seconds at {run['edge']} px. " + "; ".join(parts) + "."


def compare_whole(found: Result, tile: Result) -> str:
    """The published whole tile, extrapolated, against our forest as the tile benchmark found it."""
    theirs = found["tile"]["published"]
    rows = [
        (f"{run['recipe']}, {threads_text(run['threads'])}", *_beside(theirs, run))
        for run in tile["runs"]
        if run["recipe"] == "forest" and abs(run["mpx"] - TILE_MPX) < 1
    ]
    if not rows:
        return "No whole tile was measured in this run."
    head = (
        "Ours measured",
        "published CPU s",
        "ours",
        "ratio",
        "published peak GB",
        "ours",
        "ratio",
    )
    return "The published forest at a whole tile is EXTRAPOLATED.\n\n" + table(head, rows)


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--edges", type=numbers, help="two edges or more, in pixels")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="published training samples")
    parser.add_argument("--resolution", type=int, help="meters; default 10")
    options = parser.parse_args()
    resolution = find_resolution(options.resolution, quick=options.quick)
    edges = options.edges or ((300, 600) if options.quick else EDGES)
    models = fit_models(options.samples)
    found = show("Published way", lambda: measure(models, edges, resolution=resolution), report)
    put_results(options.output, {"reference": found})


if __name__ == "__main__":
    main()
