"""Windows of several tiles, side by side, as the layers of one grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from cropmask.core.strips import DEVIATION, REFLECTANCE, Exclusion, Half, Strip
from cropmask.pixels.layers import TileLayers


@dataclass(frozen=True, slots=True, eq=False)
class TilePart:
    """Layers of a window of a tile, and where they are on the joined grid."""

    layers: TileLayers
    row: int
    column: int


class JoinedLayers:
    """Layers of a grid that windows of tiles make up; where there is none, nothing was seen.

    Implements :class:`cropmask.core.strips.Layers`. Pieces in a row have the same rows.
    """

    def __init__(self, shape: tuple[int, int], pieces: Sequence[TilePart]) -> None:
        self._shape = shape
        self._pieces = sorted(pieces, key=lambda piece: (piece.row, piece.column))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self._shape

    @property
    def pixel_area_m2(self) -> float:
        """Area of a pixel in square meters."""
        return self._pieces[0].layers.pixel_area_m2

    def strips(self, rows: int) -> Iterator[Strip]:
        """Strips from north to south of at most ``rows`` rows, each row exactly once."""
        done = 0
        for row, group in groupby(self._pieces, lambda piece: piece.row):
            pieces = list(group)
            yield from self._empty(done, row, rows)
            yield from self._row_of_pieces(pieces, rows)
            done = row + pieces[0].layers.shape[0]
        yield from self._empty(done, self._shape[0], rows)

    def excluded(self) -> NDArray[np.uint8]:
        """:class:`Exclusion` of every pixel ``(y, x)``; OUTSIDE where there is no piece."""
        causes = np.full(self._shape, Exclusion.OUTSIDE, np.uint8)
        for piece in self._pieces:
            height, width = piece.layers.shape
            target = causes[piece.row : piece.row + height, piece.column : piece.column + width]
            target[:] = piece.layers.excluded()
        return causes

    def _empty(self, start: int, stop: int, rows: int) -> Iterator[Strip]:
        for row in range(start, stop, rows):
            yield _make_strip(row, min(rows, stop - row), self._shape[1])

    def _row_of_pieces(self, pieces: list[TilePart], rows: int) -> Iterator[Strip]:
        sources = [piece.layers.strips(rows) for piece in pieces]
        for strips in zip(*sources, strict=True):
            row = pieces[0].row + strips[0].row
            if strips[0].shape[1] == self._shape[1]:
                yield replace(strips[0], row=row)
                continue
            joined = _make_strip(row, strips[0].shape[0], self._shape[1])
            for piece, strip in zip(pieces, strips, strict=True):
                _paste(joined, strip, piece.column)
            yield joined


def _make_strip(row: int, rows: int, width: int) -> Strip:
    """Rows in which nothing was seen."""
    halves = [
        Half(
            np.zeros((len(REFLECTANCE), rows, width), np.uint16),
            np.full((len(DEVIATION), rows, width), np.nan, np.float32),
        )
        for _ in range(2)
    ]
    unknown = np.full((3, rows, width), np.nan, np.float32)
    return Strip(row, halves[0], halves[1], unknown[:2], unknown[2])


def _paste(target: Strip, strip: Strip, column: int) -> None:
    """Put the pixels of a strip into a wider one of the same rows."""
    for into, pixels in zip(_arrays(target), _arrays(strip), strict=True):
        into[..., column : column + strip.shape[1]] = pixels


def _arrays(strip: Strip) -> Iterator[NDArray[np.generic]]:
    for half in (strip.first, strip.second):
        yield half.reflectance
        yield half.deviation
    yield strip.rain
    yield strip.slope
