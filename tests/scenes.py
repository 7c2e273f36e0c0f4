"""Made-up pixels with everything that can go wrong in them, for tests of the computation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cropmask.core.strips import Half, Strip


@dataclass
class SceneLayers:
    """Layers held in memory: the honest fake of raster files."""

    whole: Strip
    cause: NDArray[np.uint8]
    pixel_area_m2: float = 100.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.whole.shape

    def strips(self, rows: int) -> Iterator[Strip]:
        for row in range(0, self.shape[0], rows):
            part = slice(row, row + rows)
            first, second = (
                Half(half.reflectance[:, part], half.deviation[:, part])
                for half in (self.whole.first, self.whole.second)
            )
            yield Strip(row, first, second, self.whole.rain[:, part], self.whole.slope[part])

    def excluded(self) -> NDArray[np.uint8]:
        return self.cause


def parcels(shape: tuple[int, int], seed: int = 0, size: int = 12) -> NDArray[np.int64]:
    """Numbers of rectangular parcels ``(y, x)``."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    order = np.random.default_rng(seed).permutation(10_000)
    return order[((y // size) * 100 + x // size) % 10_000]


def make_half(shape: tuple[int, int], seed: int) -> Half:
    """Raw pixels of one half-year: parcels, noise, and every kind of bad value."""
    rng = np.random.default_rng(seed)
    parcel = parcels(shape, seed)
    level = rng.uniform(200, 4500, (10_000, 9))[parcel].transpose(2, 0, 1)
    raw = np.clip(level * rng.normal(1, 0.05, level.shape), 1, 60_000).astype(np.uint16)
    spread = rng.uniform(1.0, 7.0, (10_000, 3))[parcel].transpose(2, 0, 1)
    deviation = np.exp(-spread - rng.normal(0, 0.1, spread.shape)).astype(np.float32)
    deviation[1] *= 10_000
    raw[rng.random(raw.shape) < 0.003] = 0
    for value in (np.nan, 0.0, np.inf, -1.0, 1e-45, 5e-42, 2.0):
        deviation[rng.random(deviation.shape) < 0.002] = value
    return Half(raw, deviation)


def make_scene(shape: tuple[int, int] = (75, 90), seed: int = 0) -> SceneLayers:
    """A scene with a hole, half-missing pixels, unknown rain and slope, and masked pixels."""
    rng = np.random.default_rng(seed + 100)
    first, second = make_half(shape, seed), make_half(shape, seed + 1)
    first.reflectance[:, 10:20, 10:40] = 0
    first.deviation[:, 10:20, 10:40] = np.nan
    second.reflectance[:, 10:20, 30:60] = 0
    rain = rng.uniform(50, 1500, (2, 1, 1)) + rng.uniform(0, 30, (2, *shape))
    slope = rng.gamma(1.0, 8.0, shape)
    rain, slope = rain.astype(np.float32), slope.astype(np.float32)
    rain[0, :2] = np.nan
    slope[30, 5:9] = np.nan
    slope[31, 5:9] = np.inf
    cause = np.zeros(shape, np.uint8)
    cause[:, -7:] = 1
    cause[50:60, 20:30] = rng.integers(0, 6, (10, 10))
    return SceneLayers(Strip(0, first, second, rain, slope), cause)
