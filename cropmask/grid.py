"""The tiling ``africa_10``: names of tiles and their geoboxes.

EPSG:6933 (equal area, meters), square tiles of 96 000 m, ``y`` grows north.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from odc.geo.geobox import GeoBox

from cropmask.errors import Rejected

CRS: Final = "EPSG:6933"
EPSG: Final = 6933
RESOLUTIONS: Final = (10, 20, 60, 100)
"""Pixel sizes in meters; each divides a tile evenly."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """A regular grid of square tiles."""

    crs: str
    left: float
    """Left edge of column 0, meters."""
    bottom: float
    """Bottom edge of row 0, meters."""
    size: float
    """Edge of a tile, meters."""
    columns: int
    rows: int


AFRICA_10: Final = TileGrid(CRS, -17_376_000.0, -7_392_000.0, 96_000.0, 362, 154)
"""Digital Earth Africa's grid, extended so that indices of the whole CRS are positive."""

_NAMES = re.compile(r"\s*(?:[xX](\d{1,3})[yY](\d{1,3})|(\d{1,3})\s*,\s*(\d{1,3}))\s*")


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile of :data:`AFRICA_10`; prints as ``x215y075``."""

    x: int
    """Column, grows east."""
    y: int
    """Row, grows north."""

    @classmethod
    def parse(cls, text: str) -> Tile:
        """Tile of a name: ``x10y20``, ``x010y020`` or ``10,20``.

        Raises
        ------
        Rejected
            If the text is no such name, or lies off the grid.
        """
        match = _NAMES.fullmatch(text)
        if match is None:
            raise Rejected(
                f"'{text}' is not a tile name: write it like x215y075 or 215,75", reason="bad tile"
            )
        x, y = (int(group) for group in match.groups() if group is not None)
        if x >= AFRICA_10.columns or y >= AFRICA_10.rows:
            raise Rejected(
                f"tile x{x:03d}y{y:03d} is off the grid: columns are 0 to "
                f"{AFRICA_10.columns - 1}, rows 0 to {AFRICA_10.rows - 1}",
                reason="bad tile",
            )
        return cls(x, y)

    def __str__(self) -> str:
        return f"x{self.x:03d}y{self.y:03d}"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(left, bottom, right, top)`` in meters of EPSG:6933."""
        left = AFRICA_10.left + AFRICA_10.size * self.x
        bottom = AFRICA_10.bottom + AFRICA_10.size * self.y
        return left, bottom, left + AFRICA_10.size, bottom + AFRICA_10.size


def geobox(tile: Tile, resolution: int = 10) -> GeoBox:
    """Pixel grid of a tile, north up.

    Parameters
    ----------
    tile
        The tile.
    resolution
        Pixel size in meters: one of :data:`RESOLUTIONS`.

    Raises
    ------
    Rejected
        If the pixel size does not divide a tile as published.
    """
    if resolution not in RESOLUTIONS:
        known = ", ".join(map(str, RESOLUTIONS))
        raise Rejected(
            f"resolution {resolution} m is not offered: choose one of {known}",
            reason="bad resolution",
        )
    return GeoBox.from_bbox(tile.bounds, CRS, resolution=resolution, tight=True)
