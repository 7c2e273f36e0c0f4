"""The whole computation of a tile: layers and a forest in, a crop map out.

Per-pixel work streams through strips. Whole are only small integer arrays: the probability in
percent, the NDVI in ten-thousandths, then the segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from threading import local
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core._rank import EDGE, find_active, put_pixels, rank_packets
from cropmask.core.cropmap import CropMap, Statistics
from cropmask.core.engine import BLOCK_PACKETS, Engine, make_engine, make_scratch, percent
from cropmask.core.forest import Forest
from cropmask.core.ranks import Ranker, make_ranker
from cropmask.core.segment import segment
from cropmask.core.stretch import stretch
from cropmask.core.strips import Cause, Layers, Strip
from cropmask.core.vote import majority

NODATA: Final = 255
MIN_SEGMENT_M2: Final = 10_000.0
"""Smallest object: 1 ha, which is 100 pixels of 10 m."""

DEFAULT_ROWS: Final = 128
"""Rows of a strip; the result does not depend on it."""

Progress = Callable[[str, float], None]
"""Told the name of a stage and the share of it that is done, 0 to 1."""


def _quiet(_stage: str, _share: float) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """What the strips of a tile leave behind, all ``(y, x)``."""

    prob: NDArray[np.uint8]
    """Probability of crop in percent, over 50 exactly for crop; 255 where not classified."""
    ndvi: NDArray[np.int16]
    """NDVI x 10 000, ``(half, y, x)``; ``NODATA_NDVI`` where not classified."""
    halves: NDArray[np.uint8]
    """Number of half-years with GeoMAD."""


class Classifier:
    """A forest made ready to classify strips, with the working memory of each thread."""

    def __init__(self, forest: Forest, *, need_both: bool = False) -> None:
        self._engine: Engine = make_engine(forest)
        ranker: Ranker = make_ranker(forest)
        self._tables = tuple(getattr(ranker, field.name) for field in fields(ranker))
        self._need_both = need_both
        self._scratch = local()

    def classify(self, strip: Strip, out: Classified, pool: ThreadPoolExecutor) -> None:
        """Fill the strip's rows of ``out``; blocks of packets are shared among the threads."""
        rows = slice(strip.row, strip.row + strip.shape[0])
        part = Classified(out.prob[rows], out.ndvi[:, rows], out.halves[rows])
        arrays = (
            strip.first.reflectance,
            strip.second.reflectance,
            strip.first.deviation,
            strip.second.deviation,
            strip.rain,
            strip.slope,
        )
        blocks = _blocks(*strip.shape)
        for _ in pool.map(lambda block: self._classify_block(arrays, part, *block), blocks):
            pass

    def _classify_block(
        self, arrays: tuple[Any, ...], out: Classified, top: int, left: int, number: int
    ) -> None:
        packets, wave = self._memory()
        active = np.empty(number, np.uint64)
        find_active(arrays[0], arrays[1], self._need_both, top, left, active, out.halves, out.ndvi)
        if active.any():
            rank_packets(arrays, self._tables, top, left, packets, active)
            values = percent(self._engine, packets, active, wave)
            put_pixels(values, active, top, left, out.prob)

    def _memory(self) -> tuple[NDArray[np.uint16], ...]:
        if not hasattr(self._scratch, "memory"):
            self._scratch.memory = make_scratch(self._engine)
        memory: tuple[NDArray[np.uint16], ...] = self._scratch.memory
        return memory


def _blocks(height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Top row, left column and number of packets of each block of a strip."""
    across = -(-width // EDGE)
    for top in range(0, height, EDGE):
        for first in range(0, across, BLOCK_PACKETS):
            yield top, first * EDGE, min(BLOCK_PACKETS, across - first)


def classify_layers(
    layers: Layers,
    forest: Forest,
    *,
    need_both: bool = False,
    rows: int = DEFAULT_ROWS,
    threads: int = 1,
    progress: Progress = _quiet,
) -> Classified:
    """Probability and NDVI of all pixels of a tile, strip by strip.

    Parameters
    ----------
    layers
        Inputs of the tile.
    forest
        The model.
    need_both
        Whether a pixel needs GeoMAD of both half-years, else of either.
    rows
        Rows of a strip; memory follows it, the result does not.
    threads
        Computing threads; the result does not depend on them.
    progress
        Told how far it is.
    """
    height, width = layers.shape
    out = Classified(
        prob=np.full((height, width), NODATA, np.uint8),
        ndvi=np.empty((2, height, width), np.int16),
        halves=np.zeros((height, width), np.uint8),
    )
    classifier = Classifier(forest, need_both=need_both)
    with ThreadPoolExecutor(threads, thread_name_prefix="classify") as pool:
        for strip in layers.strips(rows):
            classifier.classify(strip, out, pool)
            progress("classify", (strip.row + strip.shape[0]) / height)
    return out


def map_crops(
    layers: Layers,
    forest: Forest,
    *,
    need_both: bool = False,
    rows: int = DEFAULT_ROWS,
    threads: int = 1,
    progress: Progress = _quiet,
) -> tuple[CropMap, Statistics]:
    """Map the crops of one tile.

    Parameters are those of :func:`classify_layers`.

    Returns
    -------
    tuple[CropMap, Statistics]
        Three bands uint8 ``(y, x)``, nodata 255 in all of them alike, and their figures.
    """
    seen = classify_layers(
        layers, forest, need_both=need_both, rows=rows, threads=threads, progress=progress
    )
    prob, halves = seen.prob, seen.halves
    valid = prob != NODATA
    progress("segment", 0.0)
    colors = stretch(seen.ndvi)
    del seen
    smallest = max(1, round(MIN_SEGMENT_M2 / layers.pixel_area_m2))
    labels = segment(colors, valid, min_pixels=smallest)
    del colors
    progress("segment", 1.0)
    mask = np.where(valid, prob > 50, np.uint8(NODATA)).astype(np.uint8)
    # Segments vote on what was classified, masked later or not.
    filtered = majority(labels, mask)
    del labels, valid
    progress("mask", 0.0)
    cause = layers.excluded()
    for band in (mask, prob, filtered):
        band[cause != Cause.NONE] = NODATA
    result = CropMap(mask, prob, filtered)
    progress("mask", 1.0)
    return result, statistics(result, cause, halves, layers.pixel_area_m2)


def statistics(
    crop_map: CropMap,
    cause: NDArray[np.uint8],
    halves: NDArray[np.uint8],
    pixel_area_m2: float,
) -> Statistics:
    """Figures of a finished map.

    Parameters
    ----------
    crop_map
        The three bands.
    cause
        :class:`~cropmask.core.strips.Cause` of every pixel ``(y, x)``.
    halves
        Number of half-years with GeoMAD of every pixel ``(y, x)``.
    pixel_area_m2
        Area of a pixel.
    """
    by_prob = _histogram(crop_map.prob)[:101]
    by_cause = _histogram(cause)
    mapped = int(by_prob.sum())
    inside = cause == Cause.NONE

    def hectares(pixels: int | np.integer[Any]) -> float:
        return round(int(pixels) * pixel_area_m2 / 10_000, 4)

    return Statistics(
        mapped_hectares=hectares(mapped),
        crop_hectares=hectares(by_prob[51:].sum()),
        crop_filtered_hectares=hectares(np.count_nonzero(crop_map.filtered == 1)),
        mean_probability=round(float(by_prob @ np.arange(101)) / mapped, 4) if mapped else None,
        missing_hectares=hectares(np.count_nonzero(inside & (crop_map.prob == NODATA))),
        half_missing_hectares=hectares(np.count_nonzero((halves == 1) & (crop_map.prob != NODATA))),
        outside_hectares=hectares(by_cause[Cause.OUTSIDE]),
        protected_hectares=hectares(by_cause[Cause.PROTECTED]),
        water_hectares=hectares(by_cause[Cause.WATER]),
        steep_hectares=hectares(by_cause[Cause.STEEP]),
        high_hectares=hectares(by_cause[Cause.HIGH]),
    )


def _histogram(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count of each value; row by row, since bincount makes integers of 8 bytes of its input."""
    total = np.zeros(256, np.int64)
    for row in values:
        total += np.bincount(row, minlength=256)
    return total
