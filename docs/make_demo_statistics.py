"""Print the statistics that the made-up world is drawn from, for one file of training samples.

``python docs/make_demo_statistics.py eastern.txt > statistics.json``

A developer's tool, never run by the package: needs scikit-learn. Only cluster means, factors
and deviations are kept, no sample.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cropmask.errors import Rejected

CREDIT: Final = "Digital Earth Africa"

CLUSTERS: Final = 24
"""Clusters of each class, crop and non-crop."""
FACTORS: Final = 3
"""Directions of the spectra's variation that a cluster keeps; the rest is noise by band."""
SMALLEST: Final = 30
"""A cluster of fewer samples keeps deviations by band only."""

_HALVES: Final = (0, 16)
_RAIN: Final = (15, 31)
_SLOPE: Final = 32
_Floats = NDArray[np.float64]


def read_samples(path: Path) -> tuple[NDArray[np.bool_], _Floats]:
    """Crop or not ``(row,)`` and the 33 features ``(row, feature)`` of a training file."""
    table = np.loadtxt(path, ndmin=2)
    if table.shape[1] != 34:
        raise Rejected(f"{path} has {table.shape[1]} columns: expected the class and 33 features")
    return table[:, 0] > 0.5, table[:, 1:]


def spectra(features: _Floats) -> _Floats:
    """Natural logarithms that the world draws, ``(row, 24)``.

    For each half-year the log of the nine reflectances, then the three deviation features (minus
    a log already), in the order of the features.
    """
    parts = []
    for start in _HALVES:
        parts += [np.log(features[:, start : start + 9]), features[:, start + 9 : start + 12]]
    return np.hstack(parts)


def make_statistics(crop: NDArray[np.bool_], features: _Floats) -> dict[str, Any]:
    """Statistics of the samples' clusters as a JSON document."""
    logs, rain = spectra(features), np.log(features[:, _RAIN])
    steep = np.log1p(features[:, _SLOPE : _SLOPE + 1])
    # Rain counts as much as all bands together: a cluster then is a landscape somewhere.
    space = np.hstack(
        [logs / logs.std(0), 3.2 * rain / rain.std(0), steep / steep.std(0)],
    )
    covers = []
    for is_crop in (True, False):
        rows = np.flatnonzero(crop == is_crop)
        labels = _clusters(space[rows])
        covers += [
            _cover(is_crop, logs[rows[labels == k]], rain[rows[labels == k]])
            for k in range(CLUSTERS)
        ]
    _name(covers)
    return {
        "description": (
            f"Cluster statistics of {len(crop)} training samples: natural logs of reflectances and "
            "deviation features of two half-years, log of rain in mm"
        ),
        "credit": f"{CREDIT}, CC BY 4.0",
        "covers": covers,
    }


def encode_statistics(statistics: dict[str, Any]) -> str:
    """Statistics as JSON text, one cover a line."""
    head = {key: value for key, value in statistics.items() if key != "covers"}
    lines = ",\n  ".join(json.dumps(cover, allow_nan=False) for cover in statistics["covers"])
    return f'{json.dumps(head, indent=1)[:-2]},\n "covers": [\n  {lines}\n ]\n}}\n'


def _clusters(space: _Floats) -> NDArray[np.int32]:
    from sklearn.cluster import KMeans

    labels: NDArray[np.int32] = KMeans(CLUSTERS, n_init=10, random_state=0).fit_predict(space)
    return labels


def _cover(crop: bool, logs: _Floats, rain: _Floats) -> dict[str, Any]:
    centered = logs - logs.mean(0)
    factors = np.zeros((FACTORS, logs.shape[1]))
    if len(logs) >= SMALLEST:
        _, strengths, directions = np.linalg.svd(centered, full_matrices=False)
        factors = directions[:FACTORS] * strengths[:FACTORS, None] / np.sqrt(len(logs))
        factors *= np.where(factors.sum(1, keepdims=True) < 0, -1, 1)
    rest = np.sqrt(np.maximum(centered.var(0) - (factors**2).sum(0), 0))
    return {
        "name": "",
        "crop": crop,
        "samples": len(logs),
        "mean": _rounded(logs.mean(0)),
        "factors": [_rounded(row) for row in factors],
        "rest": _rounded(rest),
        "rain_mean": _rounded(rain.mean(0)),
        "rain_deviation": _rounded(np.maximum(rain.std(0), 0.05)),
    }


def _rounded(values: _Floats) -> list[float]:
    return [round(float(value), 3) for value in values]


def _name(covers: list[dict[str, Any]]) -> None:
    """Name non-crop covers by the look of their mean spectra; the samples only say crop or not."""
    others = [cover for cover in covers if not cover["crop"]]
    mean = np.array([cover["mean"] for cover in others])
    blue, green, red, nir, swir = (
        (np.exp(mean[:, b]) + np.exp(mean[:, 12 + b])) / 2 for b in (0, 1, 2, 3, 4)
    )
    green_share, wetness = (nir - red) / (nir + red), (green - swir) / (green + swir)
    free = np.ones(len(others), dtype=bool)
    for name, score in (
        ("water", wetness),
        ("forest", green_share),
        ("bare", -green_share),
        ("settlement", blue - green_share / 4),
        ("wetland", -swir),
    ):
        best = int(np.argmax(np.where(free, score, -np.inf)))
        others[best]["name"], free[best] = name, False
    for number, index in enumerate(np.flatnonzero(free), start=1):
        others[index]["name"] = f"grassland {number}"
    for number, cover in enumerate((c for c in covers if c["crop"]), start=1):
        cover["name"] = f"crop {number}"


def main() -> None:
    """Read the samples named on the command line, print the statistics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("samples", type=Path, help="training samples: class and 33 features a row")
    crop, features = read_samples(parser.parse_args().samples)
    sys.stdout.write(encode_statistics(make_statistics(crop, features)))


if __name__ == "__main__":
    main()
