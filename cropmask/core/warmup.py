"""Every kernel called once, on next to nothing: what is compiled or loaded is then at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.features import FEATURES
from cropmask.core.forest import LEAF, Forest
from cropmask.core.mapper import map_crops
from cropmask.core.strips import DEVIATION, REFLECTANCE, Half, Strip

_SIZE: Final = 80
"""Edge of the made-up tile: more than a packet, less than anybody notices."""

_MANY: Final = 300
"""Cuts of a feature whose ranks do not fit a byte."""


@dataclass(frozen=True, slots=True)
class _Plain:
    """Fields, small ones among them, in two seasons, and a hole."""

    pixel_area_m2: float = 100.0

    @property
    def shape(self) -> tuple[int, int]:
        return _SIZE, _SIZE

    def strips(self, rows: int) -> Iterator[Strip]:
        for row in range(0, _SIZE, rows):
            height = min(rows, _SIZE - row)
            rain = np.full((2, height, _SIZE), 500, np.float32)
            slope = np.full((height, _SIZE), 3, np.float32)
            yield Strip(row, _half(height, 1), _half(height, 2), rain, slope)

    def excluded(self) -> NDArray[np.uint8]:
        return np.zeros(self.shape, np.uint8)


def _half(height: int, season: int) -> Half:
    field = np.arange(_SIZE) // 7 * 100 % 900
    reflectance = np.full((len(REFLECTANCE), height, _SIZE), 900 * season, np.uint16)
    reflectance[3] += (field + field[:height, None]).astype(np.uint16) * season
    reflectance[:, :3, :3] = 0
    deviation = np.full((len(DEVIATION), height, _SIZE), 0.02 * season, np.float32)
    return Half(reflectance, deviation)


def _forest(leaves: tuple[float, float], cuts: int) -> Forest:
    """One tree of one node; leaves of 0 and 1 are counted, others added."""
    offsets = np.full(len(FEATURES) + 1, cuts, np.int32)
    offsets[0] = 0
    return Forest(
        features=tuple(FEATURES),
        kind="vote",
        baseline=0.0,
        cuts=np.linspace(0.1, 0.2, cuts, dtype=np.float32),
        offsets=offsets,
        roots=np.zeros(1, np.int32),
        feature=np.array([0, LEAF, LEAF], np.uint8),
        rank=np.array([0, 0, 1], np.uint16),
        right=np.array([2, 0, 0], np.int32),
        leaves=np.array(leaves, np.float64),
        digest="",
    )


def warm_kernels() -> None:
    """Map a made-up tile with every kind of forest; no thread outlives it."""
    for leaves in ((0.0, 1.0), (0.25, 0.75)):
        for cuts in (1, _MANY):
            map_crops(_Plain(), _forest(leaves, cuts), rows=_SIZE // 2)
