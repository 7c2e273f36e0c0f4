"""Draw the designs of ``designs.csv``: python tests/golden/survey/make_designs.py.

Strata, labels and plots at random; what R makes of them is computed by ``compute.R``.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

COUNT = 50
HERE = Path(__file__).parent


def main() -> None:
    """Write points, one a row: design, stratum, its pixels, map class, reference, plot."""
    rng = np.random.default_rng(14)
    with (HERE / "designs.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("design", "stratum", "pixels", "mapped", "reference", "plot"))
        for design in range(COUNT):
            classes = int(rng.integers(2, 5))
            strata = classes if design % 3 == 0 else int(rng.integers(1, 5))
            pixels = rng.integers(1000, 10_000_000, strata)
            for stratum in range(strata):
                # The first of three designs has the map's classes for strata; the last third
                # has plots of one to four points.
                is_clustered = design >= 2 * COUNT // 3
                for plot in range(int(rng.integers(4, 12))):
                    chance = rng.dirichlet(np.ones(classes))
                    for _ in range(int(rng.integers(1, 5)) if is_clustered else 1):
                        mapped = stratum if design % 3 == 0 else int(rng.choice(classes, p=chance))
                        right = rng.random() < 0.7
                        reference = mapped if right else int(rng.integers(0, classes))
                        name = f"{stratum}-{plot}"
                        out.writerow((design, stratum, pixels[stratum], mapped, reference, name))


if __name__ == "__main__":
    main()
