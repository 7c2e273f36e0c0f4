"""Bands beside the published ones: tables of the probability, and likeness to training samples.

Tables cost nothing. Dissimilarity is computed once for each cell of pixels, from the classified
pixel of it that is nearest to its middle, whatever strips the pixels come in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.applicability import Applicability, find_dissimilarity, know_land
from cropmask.core.cropmap import mean_percent, sum_counts
from cropmask.core.formulas import compute_features
from cropmask.core.strips import Half, Strip
from cropmask.product import (
    CALIBRATED,
    DISSIMILARITY,
    LIKE,
    MOST_UNLIKE,
    NODATA,
    SPREAD,
)

_NO_PIXEL: Final = 255
"""Rank of a cell without a classified pixel so far."""
_CHUNK: Final = 4096
"""Cells that a thread computes at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Extras:
    """What bands beside the published ones are computed from."""

    tables: Mapping[str, NDArray[np.uint8]] = field(default_factory=lambda: MappingProxyType({}))
    """By band, ``(101,)``: its value for every percentage of ``prob``."""
    known: Applicability | None = None
    """Of the model, if dissimilarity is wanted."""
    cell: int = 1
    """Pixels of the edge of a cell that has one dissimilarity, at most 15."""

    @property
    def names(self) -> tuple[str, ...]:
        """Bands in the order in which they are made."""
        return (*self.tables, *((DISSIMILARITY.name,) if self.known is not None else ()))


NO_EXTRAS: Final = Extras()


def make_spread_table() -> NDArray[np.uint8]:
    """Spread of the vote for every percentage: 0 where all agree, 100 where halves do not."""
    return (100 - np.abs(2 * np.arange(101) - 100)).astype(np.uint8)


def apply_table(table: NDArray[np.uint8], prob: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Values of a table for percentages of any shape; nodata stays."""
    whole = np.full(256, NODATA, np.uint8)
    whole[:101] = table
    values: NDArray[np.uint8] = whole[prob]
    return values


def make_percent(found: NDArray[np.float64], threshold: float) -> NDArray[np.uint8]:
    """Dissimilarities in percent of their threshold, rounded up: over 100 exactly over it."""
    inside = found <= threshold
    # What is far beyond is told apart no more.
    share = np.minimum(found / threshold, MOST_UNLIKE / 100)
    percent = np.ceil(100 * share).clip(0, MOST_UNLIKE)
    percent = np.where(inside, np.minimum(percent, LIKE), np.maximum(percent, LIKE + 1))
    whole: NDArray[np.uint8] = percent.astype(np.uint8)
    return whole


def is_unlike(dissimilarity: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where land is outside the training data, for values of the band of any shape."""
    return np.asarray((dissimilarity > LIKE) & (dissimilarity != NODATA))


class LikenessCells:
    """Dissimilarity of the cells of some layers, filled strip by strip."""

    def __init__(
        self, extras: Extras, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
    ) -> None:
        """Cells of nothing; ``origin`` is the first pixel's row and column in the cells' grid."""
        if extras.known is None or not 1 <= extras.cell <= 15:
            raise ValueError("cells need what the model knows, and 1 to 15 pixels")
        self._known, self._cell = know_land(extras.known), extras.cell
        self._row, self._column = (first % extras.cell for first in origin)
        rows = -(-(shape[0] + self._row) // self._cell)
        columns = -(-(shape[1] + self._column) // self._cell)
        self._values = np.full((rows, columns), NODATA, np.uint8)
        self._ranks = np.full((rows, columns), _NO_PIXEL, np.uint8)
        self._width = shape[1]
        self._order = _order_of_pixels(self._cell)

    def see(self, strip: Strip, prob: NDArray[np.uint8], pool: ThreadPoolExecutor) -> None:
        """Take the pixels of a strip; ``prob`` has its rows, nodata where not classified."""
        picks = [pick for pick in self._pick(strip.row, prob) if pick.shape[1]]
        if not picks:
            return
        cells_y, cells_x, rows, columns = np.concatenate(picks, axis=1)
        parts = np.array_split(np.arange(len(rows)), -(-len(rows) // _CHUNK))
        found = pool.map(lambda part: self._measure(strip, rows[part], columns[part]), parts)
        self._values[cells_y, cells_x] = np.concatenate([*found])

    def _pick(self, first: int, prob: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
        """Cells that get a better pixel, row of cells by row: their places, and the pixel's."""
        cell, top = self._cell, first + self._row
        columns = np.arange(self._values.shape[1])
        row = 0
        while row < len(prob):
            y, within = divmod(top + row, cell)
            rows = min(cell - within, len(prob) - row)
            # Ranks of the pixels of a row of cells, whole cells across: (y, cell, x).
            ranks = np.full((rows, len(columns) * cell), _NO_PIXEL, np.uint8)
            seen = prob[row : row + rows] != NODATA
            part = ranks[:, self._column : self._column + self._width]
            order = self._order[within : within + rows]
            every = np.tile(order, (1, len(columns)))[:, self._column :][:, : self._width]
            np.copyto(part, every, where=seen)
            cells = ranks.reshape(rows, len(columns), cell)
            by_cell = cells.transpose(1, 0, 2).reshape(len(columns), rows * cell)
            place = by_cell.argmin(axis=1)
            best = by_cell[columns, place]
            better = np.flatnonzero(best < self._ranks[y])
            self._ranks[y, better] = best[better]
            down, across = np.divmod(place[better], cell)
            x = better * cell + across - self._column
            yield np.stack([np.full(len(better), y), better, row + down, x])
            row += rows

    def _measure(
        self, strip: Strip, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        def thin(half: Half) -> Half:
            return Half(
                half.reflectance[:, rows, columns][:, np.newaxis],
                half.deviation[:, rows, columns][:, np.newaxis],
            )

        pixels = Strip(
            row=0,
            first=thin(strip.first),
            second=thin(strip.second),
            rain=strip.rain[:, rows, columns][:, np.newaxis],
            slope=strip.slope[rows, columns][np.newaxis],
        )
        known = self._known.applicability
        values = compute_features(known.features, pixels)[:, 0].T
        most = known.threshold * (MOST_UNLIKE + 1) / 100
        return make_percent(find_dissimilarity(self._known, values, most), known.threshold)

    def fill(
        self, prob: NDArray[np.uint8], rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.uint8]:
        """The band of some rows and columns, whose ``prob`` is given; nodata where that is."""
        top, left = rows.start or 0, columns.start or 0
        x = (np.arange(prob.shape[1]) + left + self._column) // self._cell
        band = np.empty_like(prob)
        last, line = -1, band[:0]
        for at, (row, percent) in enumerate(zip(band, prob, strict=True)):
            y = (at + top + self._row) // self._cell
            if y != last:
                last, line = y, self._values[y][x]
            np.copyto(row, line)
            row[percent == NODATA] = NODATA
        return band


def _order_of_pixels(cell: int) -> NDArray[np.uint8]:
    """Rank of each pixel of a cell ``(y, x)``: the nearer to the middle, the lower."""
    y, x = np.indices((cell, cell))
    away = (2 * y + 1 - cell) ** 2 + (2 * x + 1 - cell) ** 2
    ranks = np.empty(cell * cell, np.uint8)
    ranks[np.argsort(away.ravel(), kind="stable")] = np.arange(cell * cell)
    return ranks.reshape(cell, cell)


class ExtraFigures:
    """Figures of the extra bands of a map, band by band; areas in hectares."""

    def __init__(self, prob: NDArray[np.uint8], pixel_area_m2: float) -> None:
        """Of the final probability, uint8 ``(y, x)``."""
        self._prob = prob
        self._counts = sum_counts(prob)
        self._hectares = pixel_area_m2 / 10_000
        self.found: dict[str, float | None] = {}

    def add(self, name: str, band: NDArray[np.uint8], extras: Extras) -> None:
        """Figures of one more band."""
        if name in extras.tables:
            self.found[f"mean_{name}"] = mean_percent(self._counts, extras.tables[name])
            return
        unlike = crops = 0
        for row, percent in zip(band, self._prob, strict=True):
            outside = is_unlike(row)
            unlike += int(np.count_nonzero(outside))
            crops += int(np.count_nonzero(outside & (percent > 50)))
        self.found["unlike_hectares"] = round(unlike * self._hectares, 4)
        self.found["unlike_crop_hectares"] = round(crops * self._hectares, 4)


def make_tables(
    names: tuple[str, ...], calibration: NDArray[np.uint8] | None
) -> dict[str, NDArray[np.uint8]]:
    """Tables of the bands that are asked for; without a calibration that band is the vote."""
    vote = np.arange(101, dtype=np.uint8)
    known = {
        CALIBRATED.name: vote if calibration is None else calibration,
        SPREAD.name: make_spread_table(),
    }
    return {name: table for name, table in known.items() if name in names}
