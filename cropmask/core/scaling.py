"""Stored numbers in the units of the computation: a producer's scale and offset, applied once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.strips import DEVIATION, REFLECTANCE

_BRIGHTEST: Final = 1.6
"""Reflectance that no land exceeds: snow and glint included."""
_LEAST_SPAN: Final = 0.5
"""Reflectances that a file must be able to hold: desert in the near infrared."""
_COARSEST: Final = 0.01
"""Largest step between reflectances: whole percent."""
_MOST: Final = 1e6
"""Largest scale and offset that can be meant, and the inverse of the smallest scale."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What stored numbers mean: ``scale x stored + offset``; 1 and 0 say nothing."""

    scale: float = 1.0
    offset: float = 0.0

    def __str__(self) -> str:
        return f"scale {self.scale:.10g} and offset {self.offset:.10g}"

    def __bool__(self) -> bool:
        """Whether it says anything: GDAL reports 1 and 0 of a file without scale and offset."""
        return self != UNSCALED

    def equals(self, other: Scaling) -> bool:
        """Whether both mean the same, but for the rounding of float32."""
        return math.isclose(self.scale, other.scale, rel_tol=1e-6) and math.isclose(
            self.offset, other.offset, rel_tol=1e-6
        )


UNSCALED: Final = Scaling()
"""Nothing said."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file, or the item that names it, says of its stored numbers."""

    nodata: float | None = None
    """None if it does not say."""
    scaling: Scaling = UNSCALED


UNDECLARED: Final = Declared()
"""Nothing said."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How the computation keeps the numbers of a band or layer."""

    dtype: str
    fill: float
    """Nodata."""
    times: float = 1.0
    """What is kept for a physical value of 1."""
    is_distance: bool = False
    """Whether it is a distance between spectra, which has no offset."""


LAYER: Final = Kept("float32", math.nan)
"""Of every layer beside GeoMAD: in its own unit."""
KEPT: Final[Mapping[str, Kept]] = MappingProxyType(
    {name: Kept("uint16", 0.0, 10_000.0) for name in REFLECTANCE}
    | {name: Kept("float32", math.nan, 1.0, is_distance=True) for name in DEVIATION}
    # The Euclidean distance is that of stored reflectances.
    | {"edev": Kept("float32", math.nan, 10_000.0, is_distance=True)}
)
"""Of GeoMAD's bands, by name."""


def find_nonsense(scaling: Scaling, kept: Kept) -> str | None:
    """What cannot be meant by a scale and offset, in words; None if they can be."""
    scale, offset = scaling.scale, scaling.offset
    if not (1 / _MOST <= scale <= _MOST and abs(offset) <= _MOST):  # NaN is neither
        return f"a scale is a number from {1 / _MOST:g} to {_MOST:g}, an offset one up to {_MOST:g}"
    if not scaling:
        return None
    if kept.is_distance and offset:
        return "a deviation is a distance, which has no offset"
    if kept.dtype == "uint16":
        darkest, brightest = scale + offset, scale * np.iinfo(np.uint16).max + offset
        span = min(brightest, _BRIGHTEST) - max(darkest, 0)
        if scale > _COARSEST or span < _LEAST_SPAN:
            return (
                f"stored values would be reflectances from {darkest:.6g} to {brightest:.6g} in "
                f"steps of {scale:.6g}, where land has 0 to {_BRIGHTEST}"
            )
    return None


def is_as_kept(scaling: Scaling, kept: Kept) -> bool:
    """Whether stored numbers are what the computation keeps."""
    return not scaling or scaling.equals(Scaling(1 / kept.times))


def name_unusual(declared: Declared, kept: Kept) -> str:
    """Statements that change what is read, in words; empty if numbers are as they are kept."""
    nodata, words = declared.nodata, []
    if nodata is not None and not np.array_equal(nodata, kept.fill, equal_nan=True):
        words.append(f"nodata {nodata!r}")
    if not is_as_kept(declared.scaling, kept):
        words.append(f"scale {declared.scaling.scale!r} offset {declared.scaling.offset!r}")
    return " ".join(words)


def rescale(stored: NDArray[Any], scaling: Scaling, kept: Kept) -> NDArray[Any]:
    """Numbers as the computation keeps them, of stored ones of any shape.

    Reflectances are uint16: 0 is nodata and stays so, and no other becomes 0, however dark: it is
    at least 1. What is kept as float32 has been freed of nodata before; NaN stays NaN.
    """
    if kept.dtype == "uint16":
        return np.take(_make_table(scaling, kept.times), stored)
    values = stored.astype(np.float64) * (scaling.scale * kept.times) + scaling.offset * kept.times
    return np.asarray(values, np.float32)


@lru_cache(maxsize=64)
def _make_table(scaling: Scaling, times: float) -> NDArray[np.uint16]:
    """What is kept for each stored value ``(65536,)``."""
    values = np.arange(1 << 16) * (scaling.scale * times) + scaling.offset * times
    table = np.asarray(np.clip(np.rint(values), 1, np.iinfo(np.uint16).max), np.uint16)
    table[0] = 0
    return table
