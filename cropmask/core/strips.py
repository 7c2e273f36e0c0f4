"""What a tile's inputs look like to the computation: strips of raw pixels.

Arrays only: nothing here knows where pixels come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

REFLECTANCE: Final = (
    "blue",
    "green",
    "red",
    "nir",
    "swir_1",
    "swir_2",
    "red_edge_1",
    "red_edge_2",
    "red_edge_3",
)
"""Order of the reflectance bands, as in the features."""

DEVIATION: Final = ("bcdev", "edev", "sdev")
"""Order of the deviation bands, as in the features."""


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """Raw GeoMAD pixels of one half-year."""

    reflectance: NDArray[np.uint16]
    """``(band, y, x)`` in the order of :data:`REFLECTANCE`; reflectance x 10 000, nodata 0."""
    deviation: NDArray[np.float32]
    """``(band, y, x)`` in the order of :data:`DEVIATION`; nodata NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Full-width rows of a tile."""

    row: int
    """First row of the strip in the tile, from the north."""
    first: Half
    """January to June."""
    second: Half
    """July to December."""
    rain: NDArray[np.float32]
    """``(half, y, x)`` in mm; NaN where unknown."""
    slope: NDArray[np.float32]
    """``(y, x)`` in percent; NaN where unknown."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.slope.shape[0], self.slope.shape[1]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Its arrays in the order in which compiled code takes them."""
        return (
            self.first.reflectance,
            self.second.reflectance,
            self.first.deviation,
            self.second.deviation,
            self.rain,
            self.slope,
        )


class Exclusion(IntEnum):
    """Why a pixel is nodata in the result; the first in this order counts."""

    NONE = 0
    OUTSIDE = 1
    PROTECTED = 2
    WATER = 3
    STEEP = 4
    HIGH = 5


class Layers(Protocol):
    """All inputs of one tile on one pixel grid."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the tile."""
        ...

    @property
    def pixel_area_m2(self) -> float:
        """Area of a pixel in square meters."""
        ...

    def strips(self, rows: int) -> Iterator[Strip]:
        """Strips from north to south of at most ``rows`` rows, each row exactly once."""
        ...

    def excluded(self) -> NDArray[np.uint8]:
        """:class:`Exclusion` of every pixel ``(y, x)``; 0 where the pixel is mapped."""
        ...
