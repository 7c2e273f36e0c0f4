"""Thumbnails of collections: small maps of regions and of results."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.io import MemoryFile

from cropmask.catalog.regions import CatalogRegion
from cropmask.grid import AFRICA_10, CRS, tile_polygon
from cropmask.product import FILTERED, GROUND, Rgba
from cropmask.results.cog import write_rgba
from cropmask.stac.item import ResultItem
from cropmask.stac.statistics import crop_share

PIXELS: Final = 360
"""Longest edge of a picture."""
_LAND: Final[Rgba] = (214, 214, 208, 255)
_SHADES: Final[tuple[Rgba, ...]] = tuple(
    (red, green, 92, 255)
    for red, green in ((196, 182), (150, 150), (220, 205), (128, 138), (178, 160))
)
_REGION: Final[Rgba] = (196, 172, 60, 255)
_LEGIBLE: Final = 24
"""Pixels of a tile from which its own picture says something."""
_BACK: Final[Rgba] = (246, 248, 250, 255)
_RAMP_END: Final = 60.0
"""Percent of cropland at which a tile has the full color."""


def draw_region(region: CatalogRegion, others: Iterable[CatalogRegion]) -> bytes:
    """PNG of a region with its neighbors, exactly over the region's box."""
    frame = _frame(region.boundary.bounds)
    pixels = _blank(frame)
    _fill(pixels, frame, [other.boundary for other in others], _LAND)
    _fill(pixels, frame, [region.boundary], _REGION)
    return _encode(pixels)


def draw_regions(regions: Sequence[CatalogRegion]) -> bytes:
    """PNG of all regions, told apart by shades."""
    shapes = [region.boundary for region in regions]
    frame = _frame(shapely.total_bounds(shapes))
    pixels = _blank(frame)
    for number, boundary in enumerate(shapes):
        _fill(pixels, frame, [boundary], _SHADES[number % len(_SHADES)])
    return _encode(pixels)


def wants_pictures(items: Sequence[ResultItem]) -> bool:
    """Whether tiles are large enough in the picture to show their own."""
    left, _, right, _ = shapely.total_bounds([tile_polygon(item.tile) for item in items])
    return bool(PIXELS * AFRICA_10.size / (right - left) >= _LEGIBLE)


def draw_results(
    region: CatalogRegion | None, items: Sequence[ResultItem], pictures: Mapping[str, bytes]
) -> bytes:
    """PNG of a product's tiles, exactly over their box: catalog browsers lay it over the map.

    Of several periods the last one of a tile is seen. ``pictures`` has thumbnails (PNG) by key of
    the item; a tile without one is the more yellow the more cropland it has.
    """
    frame = _frame(shapely.total_bounds([tile_polygon(item.tile) for item in items]))
    pixels = _blank(frame)
    _fill(pixels, frame, [region.boundary] if region else [], _LAND)
    for item in items:
        if item.key in pictures:
            _paste(pixels, frame, _box_of_picture(item), pictures[item.key])
        else:
            _fill(pixels, frame, [tile_polygon(item.tile)], _shade(crop_share(item)))
    return _encode(pixels)


def _box_of_picture(item: ResultItem) -> shapely.Polygon:
    """Where the thumbnail of an item is; over the tile if the item does not say it."""
    said, tile = item.assets.get("thumbnail", {}), tile_polygon(item.tile)
    try:
        (height, width), (a, _, left, _, e, top) = said["proj:shape"], said["proj:transform"][:6]
        place = shapely.box(left, top + e * height, left + a * width, top)
        inside = shapely.intersection(place, tile)
    except (KeyError, TypeError, ValueError, shapely.errors.ShapelyError):
        return tile
    return inside if shapely.area(inside) > 0 else tile


def _paste(pixels: NDArray[np.uint8], frame: GeoBox, box: shapely.Polygon, picture: bytes) -> None:
    inside = rasterize([box], out_shape=tuple(frame.shape), transform=frame.transform) == 1
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return
    part = pixels[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    with warnings.catch_warnings(), MemoryFile(picture) as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open() as raster:
            small = raster.read(out_shape=part.shape, resampling=Resampling.nearest)
    shown = small[3] > 0
    part[:, shown] = small[:, shown]


def _shade(percent: float | None) -> Rgba:
    """Between the color of other land and that of cropland."""
    if percent is None:
        return _LAND
    share = min(percent / _RAMP_END, 1.0)
    crop = FILTERED.classes[1].color[:3]
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(GROUND[:3], crop, strict=True))
    return red, green, blue, 255


def _frame(bounds: Iterable[float]) -> GeoBox:
    """Pixels that fill a box exactly; nearly square ones."""
    left, bottom, right, top = (float(value) for value in bounds)
    edge = max(right - left, top - bottom)
    width, height = (max(1, round(PIXELS * side / edge)) for side in (right - left, top - bottom))
    return GeoBox.from_bbox((left, bottom, right, top), CRS, shape=(height, width))


def _blank(frame: GeoBox) -> NDArray[np.uint8]:
    pixels = np.empty((4, *frame.shape), np.uint8)
    pixels[:] = np.array(_BACK, np.uint8)[:, np.newaxis, np.newaxis]
    return pixels


def _fill(
    pixels: NDArray[np.uint8], frame: GeoBox, shapes: Sequence[shapely.Geometry], color: Rgba
) -> None:
    if not shapes:
        return
    inside = rasterize(shapes, out_shape=tuple(frame.shape), transform=frame.transform)
    pixels[:, inside == 1] = np.array(color, np.uint8)[:, np.newaxis]


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    with TemporaryDirectory(prefix="cropmask-") as folder:
        path = Path(folder) / "picture.png"
        write_rgba(path, pixels)
        return path.read_bytes()
