"""What the object filter costs: CPU seconds, nanoseconds a pixel, peak resident memory.

    python -m benchmarks.segmentation [--quick] [--edges 1000,2400,9600] [--noise 0.02]

A made-up scene of fields (blocks of parcels with their own NDVI in each half-year, slopes and
noise within them, patches of nodata) goes through stretch, segmentation and vote. Each size
runs in a process of its own, so that the peak is its own; kernels are compiled before.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import (
    Result,
    answer,
    make_parser,
    numbers,
    put_results,
    run_module,
    show,
    table,
)
from cropmask.core.segment import segment
from cropmask.core.stretch import NODATA_NDVI, stretch
from cropmask.core.vote import majority
from cropmask.machine.limits import find_resident_memory

BLOCK = 400
EDGES = (1000, 2400, 9600)
LAND = np.array(
    [
        [1500, 1400],
        [1800, 2600],
        [2600, 4800],
        [3400, 6200],
        [5200, 3000],
        [6000, 5800],
        [7400, 7200],
        [-800, -900],
    ]
)
"""NDVI x 10 000 in the two half-years of bare soil, fields, grass, forest and water."""


def make_scene(edge: int, *, seed: int = 0, noise: float = 0.02) -> NDArray[np.int16]:
    """NDVI ``(2, y, x)`` of a scene of fields, int16 x 10 000, nodata -32768."""
    ndvi = np.empty((2, edge, edge), np.int16)
    for top in range(0, edge, BLOCK):
        for left in range(0, edge, BLOCK):
            rng = np.random.default_rng((seed, top, left))
            rows, columns = min(BLOCK, edge - top), min(BLOCK, edge - left)
            ndvi[:, top : top + rows, left : left + columns] = _make_block(rng, noise)[
                :, :rows, :columns
            ]
    return ndvi


def _make_block(rng: np.random.Generator, noise: float) -> NDArray[np.int16]:
    y, x = np.mgrid[0:BLOCK, 0:BLOCK].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    along = np.cos(turn) * x + np.sin(turn) * y + 2 * BLOCK
    across = np.cos(turn) * y - np.sin(turn) * x + 2 * BLOCK
    row = (across / rng.uniform(8, 40)).astype(np.int64)
    shift = rng.uniform(0, 60, row.max() + 1)[row]
    length = rng.uniform(10, 60, row.max() + 1)[row]
    parcel = row * 1000 + ((along + shift) / length).astype(np.int64)
    _, parcel = np.unique(parcel, return_inverse=True)
    parcel = parcel.reshape(BLOCK, BLOCK)
    count = int(parcel.max()) + 1
    base = LAND[rng.integers(0, len(LAND), count)].T + rng.normal(0, 300, (2, count))
    slope = rng.normal(0, 2, (2, 2, count))
    block = base[:, parcel] + slope[0][:, parcel] * (x % 50) + slope[1][:, parcel] * (y % 50)
    block += rng.normal(0, 10_000 * noise, block.shape)
    block = np.clip(np.rint(block), -10_000, 10_000)
    if rng.random() < 0.2:
        size, corner = rng.integers(20, 200), rng.integers(0, 200, 2)
        hole = (slice(None), *(slice(at, at + size) for at in corner))
        block[hole] = NODATA_NDVI
    return block.astype(np.int16)


def _timed(work: Callable[..., NDArray[Any]], *arrays: NDArray[Any]) -> tuple[NDArray[Any], float]:
    start = time.process_time()
    result = work(*arrays)
    return result, time.process_time() - start


def run(edge: int, noise: float) -> Result:
    """Measure one size in this process; kernels are compiled before."""
    _compile()
    ndvi = make_scene(edge, noise=noise)
    valid = ndvi[0] != NODATA_NDVI
    crop = (ndvi[1] > 4000).astype(np.uint8)
    colors, stretching = _timed(stretch, ndvi)
    del ndvi
    before = find_resident_memory()[1]
    labels, segmenting = _timed(segment, colors, valid)
    after = find_resident_memory()[1]
    _, voting = _timed(majority, labels, crop)
    return {
        "mpx": valid.size / 1e6,
        "stretch": stretching,
        "segment": segmenting,
        "vote": voting,
        "peak_before": before,
        "peak_after": after,
        "segments": int(labels.max()),
    }


def _compile() -> None:
    ndvi = make_scene(64)
    majority(segment(stretch(ndvi), ndvi[0] != NODATA_NDVI), np.zeros((64, 64), np.uint8))


def measure(edges: Sequence[int] = EDGES, *, noise: float = 0.02) -> Result:
    """CPU seconds and memory of every size."""
    runs = []
    for edge in edges:
        used = run_module("benchmarks.segmentation", {"edge": edge, "noise": noise})
        runs.append({"edge": edge, **used.answer, "peak": used.peak})
    return {"noise": noise, "runs": runs}


def report(found: Result) -> str:
    """Table of the sizes."""
    rows, per_pixel = [], []
    for run_ in found["runs"]:
        total = run_["stretch"] + run_["segment"] + run_["vote"]
        per_pixel.append(1000 * total / run_["mpx"])
        rows.append(
            (
                f"{run_['mpx']:.2f}",
                *(f"{run_[stage]:.2f}" for stage in ("stretch", "segment", "vote")),
                f"{total:.2f}",
                f"{per_pixel[-1]:.0f}",
                f"{run_['peak_before'] / 1e6:.0f}",
                f"{run_['peak_after'] / 1e6:.0f}",
                run_["segments"],
            )
        )
    head = (
        "Mpx",
        "stretch CPU s",
        "segment CPU s",
        "vote CPU s",
        "all CPU s",
        "ns a pixel",
        "peak MB before",
        "after",
        "segments",
    )
    spread = 100 * (max(per_pixel) / min(per_pixel) - 1)
    return (
        "Each size in a process of its own, one thread.\n\n"
        + table(head, rows)
        + f"\n\nCost of a pixel: {spread:.0f} percent between the cheapest and the dearest size."
    )


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--edges", type=numbers, help="edges of square scenes, pixels")
    parser.add_argument("--noise", type=float, default=0.02, help="sd of the noise, in NDVI")
    options = parser.parse_args()
    edges = options.edges or ((500, 1000) if options.quick else EDGES)
    found = show("Segmentation", lambda: measure(edges, noise=options.noise), report)
    put_results(options.output, {"segmentation": found})


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        asked = json.loads(sys.argv[1])
        answer(run(asked["edge"], asked["noise"]))
    else:
        main()
