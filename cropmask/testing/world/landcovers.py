"""Land covers of the made-up world: statistics of real samples, as arrays.

The statistics are those of clusters of Digital Earth Africa's training samples (CC BY 4.0); see
``docs/make_demo_statistics.py``. The samples only say crop or not: the names of the
non-crop covers describe their spectra.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropmask.testing.world.noise import Floats

STATISTICS_FILE: Final = Path(__file__).with_name("statistics.json")


class Covers(NamedTuple):
    """All covers; spectra are natural logs of 12 bands of the first, then the second half-year.

    The 12 bands are the nine reflectances and the three deviation features (minus a log), in the
    order of the features.
    """

    crop: NDArray[np.bool_]
    """``(cover,)``"""
    drawn: NDArray[np.bool_]
    """``(cover,)``: whether parcels draw it by rain; water, wetland and settlement have places."""
    weight: Floats
    """``(cover,)``: number of samples."""
    mean: Floats
    """``(cover, 24)``"""
    factors: Floats
    """``(cover, factor, 24)``: directions of variation, as long as their deviation."""
    rest: Floats
    """``(cover, 24)``: deviation beyond the factors."""
    rain_mean: Floats
    """``(cover, 2)``: log of mm."""
    rain_deviation: Floats
    """``(cover, 2)``"""
    forest: int
    bare: int
    wetland: int
    settlement: int
    water: int


@cache
def load_covers() -> Covers:
    """Covers of the statistics that come with the package."""
    return make_covers(json.loads(STATISTICS_FILE.read_text(encoding="utf-8")))


def make_covers(statistics: dict[str, Any]) -> Covers:
    """Covers of a statistics document."""
    covers = statistics["covers"]

    def column(key: str) -> Floats:
        return np.array([cover[key] for cover in covers], dtype=np.float64)

    names = [cover["name"] for cover in covers]
    placed = {"water", "wetland", "settlement"}
    return Covers(
        crop=np.array([cover["crop"] for cover in covers], dtype=np.bool_),
        drawn=np.array([name not in placed for name in names], dtype=np.bool_),
        weight=column("samples"),
        mean=column("mean"),
        factors=column("factors"),
        rest=column("rest"),
        rain_mean=column("rain_mean"),
        rain_deviation=column("rain_deviation"),
        forest=names.index("forest"),
        bare=names.index("bare"),
        wetland=names.index("wetland"),
        settlement=names.index("settlement"),
        water=names.index("water"),
    )
