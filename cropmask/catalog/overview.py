"""Small maps of regions, as thumbnails of collections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from cropmask.catalog.regions import KnownRegion
from cropmask.grid import CRS, Tile
from cropmask.io.cog import write_rgba
from cropmask.product import FILTERED, Rgba
from cropmask.stac.gathered import Linked, crop_share
from cropmask.tiling import tile_polygon

PIXELS: Final = 360
"""Longest edge of a picture."""
_MARGIN: Final = 0.04
_LAND: Final[Rgba] = (214, 214, 208, 255)
_REGION: Final[Rgba] = (150, 150, 142, 255)
_NO_CROP: Final = (58, 58, 58)
_BACK: Final[Rgba] = (246, 248, 250, 255)
_RAMP_END: Final = 60.0
"""Percent of cropland at which a tile has the full color."""

Box = tuple[float, float, float, float]


def draw_region(known: KnownRegion, others: Iterable[KnownRegion]) -> bytes:
    """PNG of a region among the others; with no other it fills the frame."""
    shapes = [other.boundary for other in others]
    frame = _frame(shapely.total_bounds(shapes))
    pixels = _blank(frame)
    _fill(pixels, frame, shapes, _LAND)
    _fill(pixels, frame, [known.boundary], _opaque_crop())
    return _encode(pixels)


def draw_results(known: KnownRegion | None, found: Sequence[Linked]) -> bytes:
    """PNG of a product's tiles, the more yellow the more cropland, on their region."""
    tiles = [(Tile.parse(each.tile), crop_share(each)) for each in found]
    boxes = [tile_polygon(tile) for tile, _ in tiles]
    here = shapely.union_all(boxes)
    land = [known.boundary] if known and known.boundary.intersects(here) else []
    frame = _frame(shapely.total_bounds([*boxes, *land]))
    pixels = _blank(frame)
    _fill(pixels, frame, land, _REGION)
    for box, (_, share) in zip(boxes, tiles, strict=True):
        _fill(pixels, frame, [box], _shade(share))
    return _encode(pixels)


def _opaque_crop() -> Rgba:
    return FILTERED.classes[1].color


def _shade(percent: float | None) -> Rgba:
    """Between the color of other land and that of cropland."""
    if percent is None:
        return _LAND
    share = min(percent / _RAMP_END, 1.0)
    red, green, blue = (
        round(a + (b - a) * share) for a, b in zip(_NO_CROP, _opaque_crop()[:3], strict=True)
    )
    return red, green, blue, 255


def _frame(bounds: Iterable[float]) -> GeoBox:
    left, bottom, right, top = (float(value) for value in bounds)
    edge = max(right - left, top - bottom)
    margin = _MARGIN * edge
    resolution = (edge + 2 * margin) / PIXELS
    box = (left - margin, bottom - margin, right + margin, top + margin)
    return GeoBox.from_bbox(box, CRS, resolution=resolution, tight=True)


def _blank(frame: GeoBox) -> NDArray[np.uint8]:
    pixels = np.empty((4, *frame.shape), np.uint8)
    pixels[:] = np.array(_BACK, np.uint8)[:, np.newaxis, np.newaxis]
    return pixels


def _fill(
    pixels: NDArray[np.uint8], frame: GeoBox, shapes: Sequence[shapely.Geometry], color: Rgba
) -> None:
    if not shapes:
        return
    inside = rasterize(
        shapes, out_shape=tuple(frame.shape), transform=frame.transform, all_touched=True
    )
    pixels[:, inside == 1] = np.array(color, np.uint8)[:, np.newaxis]


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    with TemporaryDirectory(prefix="cropmask-") as folder:
        path = Path(folder) / "picture.png"
        write_rgba(path, pixels)
        return path.read_bytes()
