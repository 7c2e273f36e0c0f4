"""Made-up samples, and trees walked one node at a time: slow, plain and independent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropmask.core.features import FEATURES
from cropmask.core.forest import LEAF, Forest
from cropmask.training.samples import Samples

REPOSITORY = Path(__file__).parents[3]


def make_samples(rows: int = 300, seed: int = 0) -> Samples:
    """Samples with a rule to learn, some noise, and rain that comes in cells."""
    random = np.random.default_rng(seed)
    x = random.normal(0.3, 0.2, (rows, len(FEATURES))).astype(np.float32)
    cells = random.integers(0, 40, rows)
    for name, step in (("rain_S1", 31), ("rain_S2", 17)):
        x[:, FEATURES.index(name)] = 100 + step * (cells % (step + 3))
    rule = x[:, FEATURES.index("NDVI_S2")] + 0.5 * x[:, FEATURES.index("NDVI_S1")]
    labels = (rule + random.normal(0, 0.1, rows) > 0.45).astype(np.uint8)
    return Samples(FEATURES, x, labels, f"{seed:064x}")


def put_samples(path: Path, samples: Samples, names: tuple[str, ...] = FEATURES) -> Path:
    """The samples as a text file, its columns in the order given."""
    order = [FEATURES.index(name) for name in names]
    lines = ["# " + " ".join(("Class", *names))]
    for label, row in zip(samples.labels, samples.features[:, order], strict=True):
        lines.append(" ".join([f"{label:.6f}", *(f"{value:.9g}" for value in row)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def walk(forest: Forest, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Crop probability of each row by the definition of :class:`Forest`."""
    scores = np.full(len(x), forest.baseline)
    for row, values in enumerate(x):
        for root in forest.roots:
            scores[row] += _leaf(forest, int(root), values)
    if forest.kind == "vote":
        return scores / len(forest.roots)
    return 1 / (1 + np.exp(-scores))


def _leaf(forest: Forest, node: int, values: NDArray[np.float32]) -> float:
    while forest.feature[node] != LEAF:
        feature = int(forest.feature[node])
        cut = forest.cuts[forest.offsets[feature] + int(forest.rank[node])]
        node = node + 1 if values[feature] <= cut else int(forest.right[node])
    return float(forest.leaves[forest.rank[node]])


def make_region_folder(folder: Path, name: str = "valley") -> Path:
    """A region of one's own, quick to fit; returns its region.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "boundary.geojson").write_text(
        '{"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]}'
    )
    text = (
        f'name = "{name}"\ntitle = "The valley"\nversion = "1.0.0"\n'
        'boundary = "boundary.geojson"  # ours\n'
        'training = { criterion = "entropy", trees = 12, folds = 3, cluster_km = 50 }\n'
    )
    path = folder / "region.toml"
    path.write_text(text)
    return path
