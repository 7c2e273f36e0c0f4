"""A random sample of the pixels of a map, by strata, without a region in memory.

Two passes: the first counts the pixels of every stratum, exactly; then each stratum's points are
chosen by their number in the order of regions, tiles, rows and columns; the second pass finds the
chosen ones, reading only strips that have any. Neither blocks nor threads nor the order in which
tiles are listed can change the choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from cropmask.assess.change import CHANGE_NAMES, SERIES_NAMES
from cropmask.assess.design import MAX_STRATA, SampledBand, SampleDesign
from cropmask.core.extras import is_unlike
from cropmask.errors import Reason, Rejected
from cropmask.product import CHANGE_CLASS, FLICKERS, NODATA

STRIP_ROWS: Final = 512
"""Rows that are read together: those of a block of the results."""
UNSEEN: Final = -1
"""Stratum of pixels that are not sampled."""
FLICKER: Final = "flicker"
"""Stands for a band of what changes more often than two maps differ, 1 where it does."""
OTHER, CROP = 0, 1
CLASS_NAMES: Final = ("other", "crop")
YEARLY: Final = ("mask", "filtered")
"""Bands of the map of a year whose values a sample has at its points."""
ELSEWHERE: Final = "elsewhere"
"""Land in no district."""

Bytes = NDArray[np.uint8]
Codes = NDArray[np.int32]
StripCounts: Final = np.int32
"""Type of the counts of a strip: those of all tiles are in memory at the same time."""
PixelCounts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class MapStrip:
    """Some rows of a tile ``(y, x)``, with rows above and below where edges need them."""

    bands: Mapping[str, Bytes]
    """By name, with ``halo`` rows on each side; nodata where there is no such row."""
    row: int
    """First row of the strip itself."""
    rows: int
    halo: int = 0
    districts: Codes | None = None
    """Number of the district of each pixel, :data:`UNSEEN` in none; without the halo."""

    def middle(self, name: str) -> Bytes:
        """A band without the halo."""
        return self.bands[name][self.halo : self.halo + self.rows]


@dataclass(frozen=True, slots=True)
class Stratifier:
    """What strata are made of; a pixel's stratum is one number of all parts."""

    band: SampledBand
    """Band whose classes are sampled, 1 crop, 0 not."""
    since: bool = False
    """Whether strata are classes of change, from an earlier map to a later one."""
    series: bool = False
    """Whether they are those of a series, which ``band`` has no part in."""
    edges: tuple[int, ...] = ()
    """Percentages of ``prob`` at which a stratum ends and the next begins, growing."""
    buffer: int = 0
    """Pixels around edges of the classes that are strata of their own; 0 for none."""
    unlike: bool = False
    """Whether land outside the training data is a stratum, by the band ``dissimilarity``."""
    districts: tuple[str, ...] = ()
    flicker: bool = False
    """Whether a change that the years between contradict is a stratum, of a sample of change."""

    @classmethod
    def of_design(cls, design: SampleDesign, districts: Sequence[str] = ()) -> Self:
        """What a sample was stratified by; ``districts`` are names, where these are strata."""
        return cls(
            design.band,
            design.since is not None,
            design.is_series,
            design.prob_edges,
            design.edge_pixels,
            "dissimilarity" in design.factors,
            tuple(districts) if "district" in design.factors else (),
            "flicker" in design.factors,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that are sampled, in the order of their numbers."""
        if self.series:
            return SERIES_NAMES
        return CHANGE_NAMES if self.since else CLASS_NAMES

    @property
    def is_change(self) -> bool:
        """Whether change is sampled."""
        return self.since or self.series

    @property
    def classes(self) -> str:
        """Band of the classes that are sampled."""
        return CHANGE_CLASS.name if self.series else self.band

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that are read to tell strata."""
        if self.series:
            return (self.classes, FLICKERS.name)
        more = (("prob",) if self.edges else ()) + (("dissimilarity",) if self.unlike else ())
        return (self.classes, *more)

    @property
    def bands_of_points(self) -> tuple[str, ...]:
        """These first, and the bands whose values a sample has at its points.

        A series has none of a year: its points have those of the last one where there is a map.
        """
        return self.bands if self.series else tuple(dict.fromkeys((*self.bands, *YEARLY)))

    @property
    def factors(self) -> tuple[str, ...]:
        """What strata differ by."""
        parts = {
            "change" if self.is_change else "class": True,
            "prob": bool(self.edges),
            "edge": self.buffer > 0,
            "dissimilarity": self.unlike,
            "flicker": self.flicker,
            "district": bool(self.districts),
        }
        return tuple(name for name, is_used in parts.items() if is_used)

    @property
    def names(self) -> tuple[tuple[str, int], ...]:
        """Name and class of every stratum, in the order of their numbers."""
        found: list[tuple[str, int]] = [(name, code) for code, name in enumerate(self.class_names)]
        for parts in self._parts:
            found = [(f"{name}, {part}", code) for part in parts for name, code in found]
        return tuple(found)

    @property
    def _parts(self) -> Iterator[tuple[str, ...]]:
        """Names of the values of every factor but the class."""
        if self.edges:
            ends = (0, *self.edges), (*(edge - 1 for edge in self.edges), 100)
            yield tuple(f"prob {low} to {high}" for low, high in zip(*ends, strict=True))
        if self.buffer:
            yield ("inside", "edge")
        if self.unlike:
            yield ("like the samples", "unlike the samples")
        if self.flicker:
            yield ("steady", "flicker")
        if self.districts:
            yield (*self.districts, ELSEWHERE)

    def code(self, strip: MapStrip) -> Codes:
        """Number of the stratum of every pixel ``(y, x)``, :data:`UNSEEN` for nodata."""
        classes = strip.middle(self.classes)
        code, scale = classes.astype(np.int32), len(self.class_names)
        for parts, values in zip(self._parts, self._values(strip), strict=True):
            code += np.multiply(values, scale, dtype=np.int32)
            scale *= len(parts)
        code[classes == NODATA] = UNSEEN
        return code

    def _values(self, strip: MapStrip) -> Iterator[NDArray[np.generic]]:
        if self.edges:
            yield np.digitize(np.arange(256), self.edges).astype(np.uint8)[strip.middle("prob")]
        if self.buffer:
            yield near_edges(strip.bands[self.band], self.buffer)[
                strip.halo : strip.halo + strip.rows
            ]
        if self.unlike:
            yield is_unlike(strip.middle("dissimilarity"))
        if self.flicker:
            yield strip.middle(FLICKER)
        if self.districts:
            assert strip.districts is not None
            yield np.where(strip.districts == UNSEEN, len(self.districts), strip.districts)

    def check(self) -> None:
        """Rejected if there are more strata than anybody can label, or those of one map only."""
        if self.since and self.buffer:
            raise Rejected(
                "edges are those of the classes of one map: a sample of change has none of its own",
                reason=Reason.BAD_VALUE,
            )
        if self.series and (self.edges or self.buffer or self.unlike or self.flicker):
            raise Rejected(
                "strata of a series are its classes, flicker among them, and districts: others are "
                "of the map of one year",
                reason=Reason.BAD_VALUE,
            )
        count = len(self.names)
        if count > MAX_STRATA:
            raise Rejected(
                f"{count:,} strata are more than {MAX_STRATA:,}: give fewer districts, or "
                "fewer factors",
                reason=Reason.OVER_LIMIT,
            )


def near_edges(classes: Bytes, pixels: int) -> NDArray[np.bool_]:
    """Whether another class is within so many rows and columns of each pixel ``(y, x)``.

    Nodata is no class and makes no edge.
    """
    is_crop, is_other = classes == CROP, classes == OTHER
    near_crop, near_other = (_dilate(each, pixels) for each in (is_crop, is_other))
    return np.asarray((is_crop & near_other) | (is_other & near_crop))


def _dilate(marked: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Pixels within so many rows and columns of a marked one."""
    for axis in (0, 1):
        grown = marked.copy()
        along, source = np.moveaxis(grown, axis, 0), np.moveaxis(marked, axis, 0)
        for shift in range(1, min(pixels, len(source) - 1) + 1):
            along[shift:] |= source[:-shift]
            along[:-shift] |= source[shift:]
        marked = grown
    return marked


def count_strips(strips: Iterator[MapStrip], stratifier: Stratifier) -> PixelCounts:
    """Pixels of each stratum of the strips of a tile, ``(strip, 1 + stratum)``; nodata first."""
    size = 1 + len(stratifier.names)
    counts = [
        np.bincount(stratifier.code(strip).reshape(-1) + 1, minlength=size) for strip in strips
    ]
    return np.array(counts, StripCounts).reshape(-1, size)


def choose_pixels(
    pixels: NDArray[np.int64], points: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], ...]:
    """Numbers of the pixels that are drawn of each stratum, sorted; all alike, none twice.

    ``pixels`` and ``points`` are ``(stratum,)``. Equal seeds choose equal pixels, whatever the
    other strata are given.
    """
    chosen = []
    for number, (size, count) in enumerate(zip(pixels.tolist(), points.tolist(), strict=True)):
        generator = np.random.default_rng([seed, number])
        chosen.append(np.sort(generator.choice(size, count, replace=False, shuffle=False)))
    return tuple(chosen)


@dataclass(frozen=True, slots=True)
class StripHits:
    """Chosen pixels of one strip of a tile: their numbers among those of the strip's strata."""

    tile: int
    strip: int
    stratum: NDArray[np.int64]
    """``(point,)``"""
    number: NDArray[np.int64]
    """``(point,)``: 0 is the first pixel of the stratum in the strip."""


def find_strips(
    counts: Sequence[PixelCounts], chosen: Sequence[NDArray[np.int64]]
) -> tuple[StripHits, ...]:
    """In which strips the chosen pixels lie, by the counts of each tile ``(strip, stratum)``."""
    tiles = np.array([each.sum(axis=0, dtype=np.int64) for each in counts])
    hits: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for stratum, numbers in enumerate(chosen):
        for tile, number in _split(tiles[:, stratum], numbers):
            strips = counts[tile][:, stratum].astype(np.int64)
            for strip, within in _split(strips, number):
                hits.setdefault((tile, strip), []).extend((stratum, at) for at in within.tolist())
    return tuple(
        StripHits(*place, *np.array(hits[place], np.int64).T.copy()) for place in sorted(hits)
    )


def _split(
    sizes: NDArray[np.int64], numbers: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Parts that have any of the numbers, sorted, with these counted from their first."""
    ends = np.cumsum(sizes)
    parts = np.searchsorted(ends, numbers, side="right")
    for part in np.unique(parts).tolist():
        yield part, numbers[parts == part] - (ends[part] - sizes[part])


def locate(codes: Codes, hits: StripHits) -> NDArray[np.int64]:
    """Row and column ``(point, 2)`` within a strip of its chosen pixels."""
    flat = codes.reshape(-1)
    found = np.empty(len(hits.number), np.int64)
    for stratum in np.unique(hits.stratum):
        mine = hits.stratum == stratum
        found[mine] = np.flatnonzero(flat == stratum)[hits.number[mine]]
    return np.stack(np.divmod(found, codes.shape[1]), axis=1)
