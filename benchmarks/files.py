"""Model files: their size, and how long it takes to load one.

    python -m benchmarks.files [--rounds 5] [--output files.json]

Loading checks the SHA-256 and every index of a file, as a run does. Files are in the page cache.
"""

from __future__ import annotations

import time

from benchmarks.measure import Result, make_parser, put_results, show, table
from cropmask.modelfile.model import load_forest
from cropmask.region.region import load_region, region_names

ROUNDS = 5


def measure(rounds: int = ROUNDS) -> Result:
    """Bytes, trees and milliseconds of every model."""
    files = []
    for name in region_names():
        for recipe, model in load_region(name).models.items():
            times = []
            for _ in range(rounds + 1):
                start = time.perf_counter()
                forest = load_forest(model.file, model.sha256)
                times.append(1000 * (time.perf_counter() - start))
            files.append(
                {
                    "region": name,
                    "recipe": recipe,
                    "trees": len(forest.roots),
                    "bytes": model.file.stat().st_size,
                    # The first one imports what unpacks it.
                    "milliseconds": times[1:],
                }
            )
    return {"files": files}


def report(found: Result) -> str:
    """One line a model."""
    rows = [
        (
            f"{file['region']}, {file['recipe']}",
            file["trees"],
            f"{file['bytes'] / 1000:.0f}",
            f"{min(file['milliseconds']):.1f} to {max(file['milliseconds']):.1f}",
        )
        for file in found["files"]
    ]
    return table(("Model", "trees", "kB", "ms to load"), rows)


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    found = show("Model files", lambda: measure(options.rounds), report)
    put_results(options.output, {"files": found})


if __name__ == "__main__":
    main()
