"""The whole computation of a tile: layers and a forest in, a crop map out.

Per-pixel work streams through strips. Whole are only small integer arrays: the probability in
percent, the NDVI in ten-thousandths, then the segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from threading import local
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropmask.core._packets import EDGE, find_active, put_pixels, rank_packets
from cropmask.core.cropmap import CropMap, Statistics, statistics
from cropmask.core.engine import BLOCK_PACKETS, Engine, Packets, make_engine, make_scratch, percent
from cropmask.core.extras import NO_EXTRAS, ExtraFigures, Extras, LikenessCells, apply_table
from cropmask.core.forest import Forest
from cropmask.core.ranker import Ranker, make_ranker
from cropmask.core.segment import segment
from cropmask.core.sharedcolors import SharedColors
from cropmask.core.stretch import stretch
from cropmask.core.strips import Exclusion, Layers, Strip
from cropmask.core.vote import majority
from cropmask.product import NODATA

MIN_SEGMENT_M2: Final = 10_000.0
"""Smallest object: 1 ha, which is 100 pixels of 10 m."""

DEFAULT_ROWS: Final = 128
"""Rows of a strip; the result does not depend on it."""

LAST_BAND: Final = "filtered"
"""Band that is final when nothing else is left to compute."""

OpenStage = Callable[[str], AbstractContextManager[Callable[[float], None]]]
"""Opens a stage by its name: a ``with`` block that gives a function to tell the share done."""

Sink = Callable[[str, NDArray[np.uint8]], None]
"""Given the name of a band and its final pixels ``(y, x)``, which it must not change."""

Inner = tuple[slice, slice]
"""Rows and columns that are mapped; what is around them is a margin."""

WHOLE: Final = (slice(None), slice(None))
"""All rows and columns: there is no margin."""


@contextmanager
def _unwatched(_name: str) -> Iterator[Callable[[float], None]]:
    yield lambda _share: None


@dataclass(frozen=True, slots=True, eq=False)
class ClassifiedPixels:
    """What the strips of a tile leave behind."""

    prob: NDArray[np.uint8]
    """Probability of crop in percent ``(y, x)``, over 50 exactly for crop; 255 where not
    classified."""
    ndvi: NDArray[np.int16]
    """NDVI x 10 000, ``(half, y, x)``; ``NODATA_NDVI`` where not classified."""
    one_half: NDArray[np.uint8]
    """Pixels seen in one half-year only, 8 to a byte ``(y, ceil(x / 8))``, first bit highest."""


class _StripRows(NamedTuple):
    """Rows of the results of a tile, and the number of half-years seen in them."""

    prob: NDArray[np.uint8]
    ndvi: NDArray[np.int16]
    halves: NDArray[np.uint8]


class StripClassifier:
    """A forest made ready to classify strips, with the working memory of each thread."""

    def __init__(self, forest: Forest, *, need_both: bool = False) -> None:
        self._engine: Engine = make_engine(forest)
        ranker: Ranker = make_ranker(forest)
        self._tables = tuple(getattr(ranker, field.name) for field in fields(ranker))
        self._need_both = need_both
        self._scratch = local()

    def classify(self, strip: Strip, out: ClassifiedPixels, pool: ThreadPoolExecutor) -> None:
        """Fill the strip's rows of ``out``; blocks of packets are shared among the threads."""
        rows = slice(strip.row, strip.row + strip.shape[0])
        part = _StripRows(out.prob[rows], out.ndvi[:, rows], np.empty(strip.shape, np.uint8))
        blocks = _blocks(*strip.shape)
        for _ in pool.map(lambda block: self._classify_block(strip, part, *block), blocks):
            pass
        out.one_half[rows] = np.packbits(part.halves == 1, axis=1)

    def percent(self, strip: Strip, pool: ThreadPoolExecutor) -> NDArray[np.uint8]:
        """Probability of crop in percent ``(y, x)`` of one strip, as :class:`ClassifiedPixels`."""
        height, width = strip.shape
        out = ClassifiedPixels(
            prob=np.full((height, width), NODATA, np.uint8),
            ndvi=np.empty((2, height, width), np.int16),
            one_half=np.empty((height, -(-width // 8)), np.uint8),
        )
        self.classify(replace(strip, row=0), out, pool)
        return out.prob

    def _classify_block(
        self, strip: Strip, out: _StripRows, top: int, left: int, number: int
    ) -> None:
        packets, wave = self._memory()
        # Whole groups: the packets beyond the strip have no active pixel, and no walk meets them.
        active = np.empty(-(-number // self._engine.group) * self._engine.group, np.uint64)
        arrays = strip.arrays
        find_active(arrays[0], arrays[1], self._need_both, top, left, active, out.halves, out.ndvi)
        if active.any():
            rank_packets(arrays, self._tables, top, left, packets, active)
            values = percent(self._engine, packets, active, wave)
            put_pixels(values, active, top, left, out.prob)

    def _memory(self) -> tuple[Packets, NDArray[np.uint16]]:
        if not hasattr(self._scratch, "memory"):
            self._scratch.memory = make_scratch(self._engine)
        memory: tuple[Packets, NDArray[np.uint16]] = self._scratch.memory
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
    stages: OpenStage = _unwatched,
    workspace: NDArray[np.int32] | None = None,
    cells: LikenessCells | None = None,
) -> ClassifiedPixels:
    """Probability and NDVI of all pixels, strip by strip; parameters as of :func:`map_crops`.

    ``cells`` are told of all pixels that are classified.
    """
    height, width = layers.shape
    if workspace is None:
        workspace = np.empty((height, width), np.int32)
    out = ClassifiedPixels(
        prob=np.full((height, width), NODATA, np.uint8),
        ndvi=workspace.reshape(-1).view(np.int16).reshape(2, height, width),
        one_half=np.zeros((height, -(-width // 8)), np.uint8),
    )
    classifier = StripClassifier(forest, need_both=need_both)
    with (
        stages("classify") as tell,
        ThreadPoolExecutor(threads, thread_name_prefix="classify") as pool,
    ):
        for strip in layers.strips(rows):
            classifier.classify(strip, out, pool)
            if cells is not None:
                cells.see(strip, out.prob[strip.row : strip.row + strip.shape[0]], pool)
            tell((strip.row + strip.shape[0]) / height)
    return out


def map_crops(
    layers: Layers,
    forest: Forest,
    *,
    need_both: bool = False,
    rows: int = DEFAULT_ROWS,
    threads: int = 1,
    stages: OpenStage = _unwatched,
    workspace: NDArray[np.int32] | None = None,
    sink: Sink = lambda _name, _band: None,
    beside: bool = False,
    inner: Inner = WHOLE,
    extras: Extras = NO_EXTRAS,
    origin: tuple[int, int] = (0, 0),
    colors: SharedColors | None = None,
) -> tuple[CropMap, Statistics]:
    """Map the crops of one tile, or of the middle of some layers.

    Parameters
    ----------
    need_both
        Whether a pixel needs GeoMAD of both half-years, else of either.
    rows
        Rows of a strip; memory follows it, the result does not.
    threads
        Computing threads; the result does not depend on them.
    stages
        Opens the stages ``classify``, ``segment`` and ``mask``.
    workspace
        Contiguous memory ``(y, x)`` that will hold the NDVI, then the segments; default new
        memory. The largest array of a tile; it may be backed by a file.
    sink
        Given each band by its name as soon as it is final, from whatever thread finished it.
    beside
        Whether to finish the two bands by pixel while the image is segmented: faster with two
        processors, and more memory.
    inner
        Rows and columns that are mapped; default all. The rest is a margin, which only takes part
        in the segmentation.
    extras
        What bands beside the three are made of; they go to ``sink`` and nowhere else.
    origin
        Row and column of the first pixel in the grid of a tile: cells of several pixels are those
        of the tile.
    colors
        Those of the segmentation, if other tiles share them; default those of these layers.

    Returns
    -------
    tuple[CropMap, Statistics]
        Three bands uint8 ``(y, x)`` of the inner part, nodata 255 in all of them alike, and their
        figures.
    """
    if workspace is None:
        workspace = np.empty(layers.shape, np.int32)
    cells = LikenessCells(extras, layers.shape, origin) if extras.known is not None else None
    seen = classify_layers(
        layers,
        forest,
        need_both=need_both,
        rows=rows,
        threads=threads,
        stages=stages,
        workspace=workspace,
        cells=cells,
    )
    further = _FurtherBands(extras, cells, inner, layers.pixel_area_m2)
    prob, ndvi, inside = seen.prob, seen.ndvi, seen.prob[inner]
    one_half = _crop_bits(seen.one_half, prob.shape[1], inner)
    del seen
    smallest = max(1, round(MIN_SEGMENT_M2 / layers.pixel_area_m2))
    with ThreadPoolExecutor(3 if beside else 1, thread_name_prefix="finish") as pool:
        with stages("segment"):
            spreads = None if colors is None else colors.spreads
            painted, valid = stretch(ndvi, spreads=spreads), prob != NODATA
            votes = vote_pixels(prob) if beside else None
            finished = (
                _finish_pixels(pool, layers, inside, inner, sink, further) if beside else None
            )
            labels = segment(
                painted,
                valid,
                min_pixels=smallest,
                centers=None if colors is None else colors.table,
                out=workspace,
                threads=threads,
            )
            del painted, valid
            # Segments vote on what was classified, masked later or not: votes and valid pixels are
            # copied before the threads beside begin to mask the probability in place.
            filtered = majority(labels, vote_pixels(prob) if votes is None else votes)[inner]
            del votes
        with stages("mask"):
            excluded, written = finished or _finish_pixels(
                pool, layers, inside, inner, sink, further
            )
            why = excluded.result()
            _mask(filtered, why)
            last = pool.submit(sink, LAST_BAND, filtered)
            found = statistics(inside, filtered, why, one_half, layers.pixel_area_m2)
            mask = written.result()
            last.result()
    return CropMap(mask, inside, filtered), replace(found, extras=further.figures)


class _FurtherBands:
    """Makes the bands beside the three, one at a time, and keeps their figures only."""

    def __init__(
        self, extras: Extras, cells: LikenessCells | None, inner: Inner, pixel_area_m2: float
    ) -> None:
        self._extras, self._cells, self._inner = extras, cells, inner
        self._area = pixel_area_m2
        self.figures: dict[str, float | None] = {}

    def hand_on(self, prob: NDArray[np.uint8], sink: Sink) -> None:
        """Give all of them to a sink; ``prob`` is final."""
        if not self._extras.names:
            return
        figures = ExtraFigures(prob, self._area)
        for name in self._extras.names:
            if self._cells is not None and name not in self._extras.tables:
                band = self._cells.fill(prob, *self._inner)
            else:
                band = apply_table(self._extras.tables[name], prob)
            figures.add(name, band, self._extras)
            sink(name, band)
        self.figures = figures.found


def _crop_bits(bits: NDArray[np.uint8], width: int, inner: Inner) -> NDArray[np.uint8]:
    """Rows and columns of pixels that are 8 to a byte."""
    if inner == WHOLE:
        return bits
    rows, columns = inner
    cropped = [
        np.packbits(np.unpackbits(row, count=width)[columns]) for row in bits[rows]
    ]  # row by row: unpacked, all of them would be the largest array of a tile
    return np.array(cropped)


def vote_pixels(prob: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 crop, 0 not, 255 nodata, from percentages of any shape."""
    votes = (prob > 50).view(np.uint8)
    votes[prob == NODATA] = NODATA
    return votes


def _finish_pixels(
    pool: ThreadPoolExecutor,
    layers: Layers,
    prob: NDArray[np.uint8],
    inner: Inner,
    sink: Sink,
    further: _FurtherBands,
) -> tuple[Future[NDArray[np.uint8]], Future[NDArray[np.uint8]]]:
    """Mask ``prob`` in place, and hand on the two bands by pixel; gives exclusions and mask."""

    def exclude() -> NDArray[np.uint8]:
        why = layers.excluded()[inner]
        _mask(prob, why)
        return why

    def hand_on() -> NDArray[np.uint8]:
        excluded.result()
        sink("prob", prob)
        further.hand_on(prob, sink)
        mask = vote_pixels(prob)
        sink("mask", mask)
        return mask

    excluded = pool.submit(exclude)
    return excluded, pool.submit(hand_on)


def _mask(band: NDArray[np.uint8], excluded: NDArray[np.uint8]) -> None:
    """Set a band to nodata where it is excluded, without another array of its size."""
    for pixels, why in zip(band, excluded, strict=True):
        pixels[why != Exclusion.NONE] = NODATA
