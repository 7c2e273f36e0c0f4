"""Windows of several tiles, side by side, as the layers of one grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from cropmask.core.strips import Exclusion, Half, Strip
from cropmask.pixels.layers import TileLayers, arrays_of, make_strip, read_ahead


@dataclass(frozen=True, slots=True, eq=False)
class TilePart:
    """Layers of a window of a tile, and where they are on the joined grid."""

    layers: TileLayers
    row: int
    column: int
    is_margin: bool = False
    """Whether it is only around what is mapped: nothing is known of its masks."""


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
        """:class:`Exclusion` of every pixel ``(y, x)``; OUTSIDE without a piece, and in margins."""
        causes = np.full(self._shape, Exclusion.OUTSIDE, np.uint8)
        for piece in self._pieces:
            if not piece.is_margin:
                height, width = piece.layers.shape
                target = causes[piece.row : piece.row + height, piece.column : piece.column + width]
                target[:] = piece.layers.excluded()
        return causes

    def _empty(self, start: int, stop: int, rows: int) -> Iterator[Strip]:
        for row in range(start, stop, rows):
            yield _clear(make_strip(row, min(rows, stop - row), self._shape[1]))

    def _row_of_pieces(self, pieces: list[TilePart], rows: int) -> Iterator[Strip]:
        """Each piece reads its columns into the arrays of the whole, so that nothing is copied."""
        top, height = pieces[0].row, pieces[0].layers.shape[0]
        is_full = sum(piece.layers.shape[1] for piece in pieces) == self._shape[1]

        def fill(row: int, count: int) -> Strip:
            strip = make_strip(row, count, self._shape[1])
            if not is_full:
                _clear(strip)
            begun = [piece.layers.fill(_columns(strip, piece)) for piece in pieces]
            for part in begun:
                part.result()
            return replace(strip, row=top + row)

        with ExitStack() as stack:
            for piece in pieces:
                stack.enter_context(piece.layers.reading())
            ahead = ThreadPoolExecutor(1, thread_name_prefix="joined")
            # Whoever stops early closes the layers, which ends what is being read: no wait here.
            stack.callback(ahead.shutdown, wait=False, cancel_futures=True)

            def submit(row: int, count: int) -> Future[Strip]:
                return ahead.submit(fill, row, count)

            yield from read_ahead(height, rows, submit)


def _clear(strip: Strip) -> Strip:
    """The strip, in which nothing was seen."""
    for pixels in arrays_of(strip):
        pixels[:] = 0 if pixels.dtype.kind == "u" else np.nan
    return strip


def _columns(strip: Strip, piece: TilePart) -> Strip:
    """A strip of the columns of a piece, whose arrays are parts of those of a wider one."""
    columns = slice(piece.column, piece.column + piece.layers.shape[1])

    def cut(half: Half) -> Half:
        return Half(half.reflectance[..., columns], half.deviation[..., columns])

    return Strip(
        strip.row,
        cut(strip.first),
        cut(strip.second),
        strip.rain[..., columns],
        strip.slope[..., columns],
    )
