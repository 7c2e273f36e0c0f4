"""Bands and figures of a series, from what is known of each pixel's years; block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.core.series import (
    GAIN,
    LOSS,
    STABLE_CROP,
    STABLE_OTHER,
    UNCERTAIN,
    SeriesModel,
    SmoothedYears,
    mix_neighbors,
    smooth_years,
)
from cropmask.product import (
    CHANGE_CLASS,
    FLICKERS,
    HISTORY,
    MOST_SERIES,
    NODATA,
    NODATA_16,
    SERIES_BANDS,
)

SeriesPixels = Mapping[str, NDArray[np.uint8] | NDArray[np.uint16]]
"""Pixels ``(y, x)`` of the bands of a series, by name."""


@dataclass(frozen=True, slots=True)
class SeriesStatistics:
    """Figures of one tile of a series; areas in hectares, counted from the map and thus biased."""

    mapped_hectares: float
    """Area that has data in some year."""
    crop_hectares: float
    """Crop in the last year, given all years."""
    stable_other_hectares: float
    stable_crop_hectares: float
    gain_hectares: float
    loss_hectares: float
    uncertain_hectares: float
    flicker_hectares: float
    """Pixels with at least one flicker, of whatever class."""

    @property
    def figures(self) -> dict[str, float | None]:
        """All of them by name, as an item has them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def means(self) -> dict[str, float | None]:
        """Means of bands: a series has none."""
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class YearsBlock:
    """Rows of all years, with a row on either side."""

    prob: NDArray[np.uint8]
    """``(year, y, x)``: over 50 where the yearly mask is crop, 255 for no data."""
    evidence: NDArray[np.uint8]
    """``(year, 1 + y + 1, x)``: percentages, 255 for no data; one row less at an edge of the
    map."""
    above: int
    """Rows of ``evidence`` before the block: 0 or 1."""


class SeriesMapper:
    """Makes bands of blocks of years, and counts what they hold.

    ``mixes`` says whether evidence is mixed with that of neighbors.
    """

    def __init__(self, model: SeriesModel, first_year: int, *, mixes: bool) -> None:
        self._model = model
        self._mixes = mixes
        self._first_year = first_year
        self._classes = np.zeros(256, np.int64)
        self._crop = 0
        self._flickers = 0

    def map(self, block: YearsBlock) -> SeriesPixels:
        """Bands of a block.

        Parameters
        ----------
        block
            Rows of all years.

        Returns
        -------
        SeriesPixels
            All of :data:`~cropmask.product.SERIES_BANDS`.

        Raises
        ------
        ValueError
            If it has more years than a pixel has room for.
        """
        years, rows = block.prob.shape[:2]
        if years > MOST_SERIES:
            raise ValueError(f"{years} years: a pixel has room for {MOST_SERIES}")
        inner = slice(block.above, block.above + rows)
        mixed = block.evidence[:, inner].copy()
        if self._mixes:
            for one, out in zip(block.evidence, mixed, strict=True):
                out[:] = mix_neighbors(one[inner], one[: block.above], one[inner.stop :])
        # A pixel has data in a year only if both know it.
        mixed[block.prob == NODATA] = NODATA
        prob = np.where(mixed == NODATA, np.uint8(NODATA), block.prob)
        found = smooth_years(prob, self._model, evidence=mixed)
        pixels = make_series_bands(found, years, self._first_year)
        self._count(pixels, years)
        return pixels

    def _count(self, pixels: SeriesPixels, years: int) -> None:
        history = pixels[HISTORY.name]
        for kinds, states, flickers in zip(
            pixels[CHANGE_CLASS.name], history, pixels[FLICKERS.name], strict=True
        ):
            self._classes += np.bincount(kinds, minlength=256)
            known = states != NODATA_16
            self._crop += int(np.count_nonzero((states >> (years - 1) & 1)[known]))
            self._flickers += int(np.count_nonzero(flickers[known]))

    def statistics(self, pixel_area_m2: float) -> SeriesStatistics:
        """Figures of the blocks so far.

        Parameters
        ----------
        pixel_area_m2
            Area of a pixel in square meters.

        Returns
        -------
        SeriesStatistics
            Areas, in hectares.
        """

        def hectares(pixels: int) -> float:
            return round(pixels * pixel_area_m2 / 10_000, 4)

        by_class = [hectares(int(number)) for number in self._classes]
        return SeriesStatistics(
            mapped_hectares=hectares(int(self._classes[:NODATA].sum())),
            crop_hectares=hectares(self._crop),
            stable_other_hectares=by_class[STABLE_OTHER],
            stable_crop_hectares=by_class[STABLE_CROP],
            gain_hectares=by_class[GAIN],
            loss_hectares=by_class[LOSS],
            uncertain_hectares=by_class[UNCERTAIN],
            flicker_hectares=hectares(self._flickers),
        )


def make_series_bands(found: SmoothedYears, years: int, first_year: int) -> SeriesPixels:
    """Bands of what is known of pixels.

    Parameters
    ----------
    found
        What :func:`~cropmask.core.series.smooth_years` has found.
    years
        Number of years.
    first_year
        Year of the first one: of a season, that in which it begins.

    Returns
    -------
    SeriesPixels
        All of :data:`~cropmask.product.SERIES_BANDS`; nodata where no year has data.
    """
    shape = found.kind.shape
    observed = np.where(found.kind == NODATA, np.uint8(NODATA), found.observed)
    words = np.empty((4, *shape), np.uint16)
    _name_years(found.path, found.kind, found.changed, years, first_year, words)
    history, first, last, changed = words
    pixels: dict[str, NDArray[np.uint8] | NDArray[np.uint16]] = {
        CHANGE_CLASS.name: found.kind,
        HISTORY.name: history,
        "years": found.years_in_crop,
        "first": first,
        "last": last,
        "changed": changed,
        FLICKERS.name: found.flickers,
        "observed": observed,
    }
    return {band.name: pixels[band.name] for band in SERIES_BANDS}


_NONE: Final = 0
"""Stands for no year."""


@njit(cache=True, nogil=True, error_model="numpy")
def _name_years(
    path: NDArray[np.uint32],
    kind: NDArray[np.uint8],
    changed: NDArray[np.uint8],
    years: int,
    first_year: int,
    words: NDArray[np.uint16],
) -> None:
    """History, first and last year in crop, and year of change of every pixel."""
    rows, columns = kind.shape
    for y in range(rows):
        for x in range(columns):
            if kind[y, x] == NODATA:
                words[:, y, x] = NODATA_16
                continue
            bits = path[y, x]
            first, last = _NONE, _NONE
            for year in range(years):
                if (bits >> np.uint32(year)) & np.uint32(1):
                    last = first_year + year
                    if first == _NONE:
                        first = last
            at = changed[y, x]
            words[0, y, x] = bits
            words[1, y, x] = first
            words[2, y, x] = last
            words[3, y, x] = _NONE if at == NODATA else first_year + at
