"""All benchmarks in one run, on the machine that they are printed with.

    python -m benchmarks [--quick] [--only forest,tile] [--output results.json]

forest        inference on one core against scikit-learn's same model, beside other engines
segmentation  the object filter from 1 to 92 million pixels
expressions   features as expressions beside the published ones
files         size of the model files, and how long they take to load
reference     the published way in xarray, dask and scikit-learn, beside ours
tile          whole processes from 24 COGs to 3 COGs, their growth and their cost
network       a tile over http and from a bucket, beside local files
operating     the folder queue and the records of attempts, by their number

Leave the machine alone meanwhile: the full run takes 20 to 35 minutes on two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import expressions, files, forest, network, operating, reference, segmentation, tile
from benchmarks.inputs import ensure_inputs, find_resolution
from benchmarks.measure import (
    SAMPLES,
    Result,
    describe_machine,
    make_parser,
    put_results,
    show,
    table,
)
from benchmarks.models import fit_models

NAMES = (
    "forest",
    "expressions",
    "segmentation",
    "files",
    "reference",
    "tile",
    "network",
    "operating",
)
SIZES: dict[bool, dict[str, dict[str, Any]]] = {
    False: {name: {} for name in NAMES},
    True: {
        "forest": forest.QUICK,
        "expressions": expressions.QUICK,
        "segmentation": {"edges": (500, 1000)},
        "files": {"rounds": 1},
        "reference": {"edges": (300, 600)},
        "tile": {"edges": (600, 1200)},
        "network": network.QUICK,
        "operating": operating.QUICK,
    },
}
"""Arguments of the benchmarks, by whether the run is a quick one."""


def main() -> None:
    """Measure what is asked for and print it."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", default=",".join(NAMES), help="some of the benchmarks")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="published training samples")
    parser.add_argument("--resolution", type=int, help="meters of the demo world; default 10")
    tile.add_price(parser)
    options = parser.parse_args()
    chosen = [name for name in NAMES if name in options.only.split(",")]
    print(f"# Benchmarks\n\n{table(('Machine', ''), describe_machine().items())}", flush=True)
    resolution = find_resolution(options.resolution, quick=options.quick)
    if {"reference", "tile", "expressions"} & set(chosen):
        ensure_inputs(resolution)
    models = fit_models(options.samples) if {"forest", "reference"} & set(chosen) else None
    price = tile.find_price(options)
    sizes = SIZES[options.quick]
    work: dict[str, tuple[str, Callable[[], Result], Callable[[Result], str]]] = {
        "forest": (
            "Forest: one core against scikit-learn",
            lambda: forest.measure(models, **sizes["forest"]),
            forest.report,
        ),
        "expressions": (
            "Expressions beside the published features",
            lambda: expressions.measure(
                options.samples, **{"resolution": resolution, **sizes["expressions"]}
            ),
            expressions.report,
        ),
        "segmentation": (
            "Segmentation",
            lambda: segmentation.measure(**sizes["segmentation"]),
            segmentation.report,
        ),
        "files": ("Model files", lambda: files.measure(**sizes["files"]), files.report),
        "reference": (
            "The published way beside ours",
            lambda: reference.measure(models, resolution=resolution, **sizes["reference"]),
            reference.report,
        ),
        "tile": (
            "Whole tile, growth and cost",
            lambda: tile.measure(resolution=resolution, price=price, **sizes["tile"]),
            tile.report,
        ),
        "network": (
            "Network",
            lambda: network.measure(**{"resolution": resolution, **sizes["network"]}),
            network.report,
        ),
        "operating": (
            "Queue and records",
            lambda: operating.measure(**sizes["operating"]),
            operating.report,
        ),
    }
    found = {}
    for name in chosen:
        found[name] = show(*work[name])
        put_results(options.output, found)
    if {"reference", "tile"} <= found.keys():
        whole = reference.compare_whole(found["reference"], found["tile"])
        print(f"## Whole tile against the published way\n\n{whole}")


if __name__ == "__main__":
    main()
