"""A quick look of a region, from the overviews of the results that are there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.grid import AFRICA_10, CRS, MOSAIC_RESOLUTIONS, Tile
from cropmask.machine.stages import ShareDone
from cropmask.pixels.gdal import GdalRaster, open_reading_threads
from cropmask.product import COG_TYPE, NODATA, Band, Product
from cropmask.remote.fetch import ReadOptions
from cropmask.results.cog import copy_cog, open_raw, read_reduced, write_picture
from cropmask.results.figure import (
    MAP_PIXELS,
    Panel,
    encode_figure,
    has_matplotlib,
    make_figure,
    measure,
    paint_band,
)
from cropmask.results.finder import (
    Dataset,
    find_collection,
    find_finished,
    is_synthetic,
    key_beside,
)
from cropmask.stac.collection import title_of_region
from cropmask.stac.facts import MADE_UP, Document, mark_title, suffix_of
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.task import Period

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PIXELS: Final = 5000
"""Pixels of the longest edge, if no pixel size is asked for."""
QUICK_LOOK: Final = "quick look: "
"""Is in the description of every such file."""
_BATCH: Final = 64
"""Tiles that are in memory at the same time."""

log = logging.getLogger(__name__)
_TilePixels = tuple[Tile, "NDArray[Any] | None"]


@dataclass(frozen=True, slots=True)
class MosaicGrid:
    """Pixel grid of a mosaic: whole tiles, north up."""

    meters: int
    """Pixel size."""
    west: int
    """Column of the westernmost tiles."""
    north: int
    """Row of the northernmost tiles."""
    columns: int
    """Tiles across."""
    rows: int

    @property
    def edge(self) -> int:
        """Pixels of a tile's edge."""
        return int(AFRICA_10.size) // self.meters

    @property
    def geobox(self) -> GeoBox:
        """Its geobox."""
        left, _, _, top = Tile(self.west, self.north).bounds
        right, bottom = left + self.columns * AFRICA_10.size, top - self.rows * AFRICA_10.size
        return GeoBox.from_bbox((left, bottom, right, top), CRS, resolution=self.meters, tight=True)

    def window(self, tile: Tile) -> Window:
        """Where a tile is."""
        row, column = self.north - tile.y, tile.x - self.west
        return Window(column * self.edge, row * self.edge, self.edge, self.edge)


@dataclass(frozen=True, slots=True)
class Mosaic:
    """What was made."""

    cog: Path
    picture: Path
    grid: MosaicGrid
    mapped: int
    """Tiles of the region that are in it."""
    tiles: int
    """Tiles of the region."""
    unreadable: tuple[Tile, ...]
    """Finished tiles that could not be read; they are left out."""
    synthetic: bool
    """Whether it shows the made-up world."""
    is_drawn: bool
    """Whether the picture has title and legend, for which matplotlib must be installed."""


def make_grid(
    tiles: Iterable[Tile],
    meters: int | None = None,
    most: int = MAX_PIXELS,
    sizes: Sequence[int] = MOSAIC_RESOLUTIONS,
) -> MosaicGrid:
    """Grid over tiles; by default the finest of at most ``most`` pixels an edge, of ``sizes``."""
    found = tuple(tiles)
    if not found:
        raise Rejected("the region has no tile: look at its boundary", reason=Reason.NO_TILES)
    west, north = min(tile.x for tile in found), max(tile.y for tile in found)
    columns = max(tile.x for tile in found) - west + 1
    rows = north - min(tile.y for tile in found) + 1
    grids = [MosaicGrid(size, west, north, columns, rows) for size in sizes]
    if meters is not None:
        return next(grid for grid in grids if grid.meters == meters)
    fitting = (grid for grid in grids if max(grid.geobox.shape) <= most)
    return next(fitting, grids[-1])


def make_mosaic(
    store: Store,
    product: Product,
    period: Period,
    band: Band,
    tiles: Iterable[Tile],
    path: Path,
    *,
    meters: int | None = None,
    options: ReadOptions | None = None,
    progress: ShareDone = lambda _share: None,
) -> Mosaic:
    """Write a COG and a PNG beside it of what is finished; the rest is nodata.

    Of each tile only the overview nearest to the asked pixel size, one of
    :data:`~cropmask.grid.MOSAIC_RESOLUTIONS`, is read, and few tiles are in memory at the same
    time. ``tiles`` of the region say how large the picture is.

    Raises Rejected if none of them is finished; Misconfigured and Interrupted if results cannot be
    read, or the files cannot be written.
    """
    wanted = set(tiles)
    grid = make_grid(wanted, meters)
    finished = find_finished(store, product, str(period))
    datasets = [dataset for dataset in finished if dataset.tile in wanted]
    if not datasets:
        raise Rejected(
            f"no tile of {product.name} in {period} is finished in {store.uri(product.folder)}",
            reason=Reason.NO_RESULTS,
        )
    name = suffix_of(band.name)
    datasets = [each for each in datasets if any(file.endswith(name) for file in each.entries)]
    if not datasets:
        raise Rejected(
            f"no finished tile of {product.name} in {period} has band '{band.name}': map them with "
            f"--bands +{band.name}",
            reason=Reason.NO_RESULTS,
        )
    collection = find_collection(store, product.name)
    synthetic = is_synthetic(collection)
    tags = {"TIFFTAG_IMAGEDESCRIPTION": _describe(product, period, band, synthetic)}
    credit = str((collection or {}).get("attribution") or "")
    if credit:
        tags["TIFFTAG_COPYRIGHT"] = credit
    with TemporaryDirectory(prefix="cropmask-") as temporary:
        folder = Path(temporary)
        cog, picture = folder / "mosaic.tif", folder / "mosaic.png"
        unreadable = write_mosaic(store, datasets, band, grid, cog, tags, options, progress)
        if has_matplotlib():
            facts = [f"{len(datasets) - len(unreadable):,} of {len(wanted):,} tiles"]
            facts += [f"Pixels of {grid.meters} m", *([MADE_UP] if synthetic else [])]
            figure = _draw(cog, band, grid, _title(product, period, collection), facts, credit)
            picture.write_bytes(encode_figure(figure, "png", path.stem))
        else:
            write_picture(picture, _read_small(cog, band, grid), band)
        place = FolderStore(path.parent)
        place.put(path.name, cog, COG_TYPE)
        place.put(path.with_suffix(".png").name, picture, "image/png")
    return Mosaic(
        path,
        path.with_suffix(".png"),
        grid,
        len(datasets) - len(unreadable),
        len(wanted),
        unreadable,
        synthetic,
        has_matplotlib(),
    )


def write_mosaic(
    store: Store,
    datasets: Sequence[Dataset],
    band: Band,
    grid: MosaicGrid,
    path: Path,
    tags: Mapping[str, str] = MappingProxyType({}),
    options: ReadOptions | None = None,
    progress: ShareDone = lambda _share: None,
) -> tuple[Tile, ...]:
    """Write a COG of datasets side by side, from overviews; those that cannot be read are told.

    A file beside it, ``.raw``, is there meanwhile.
    """
    raw = path.with_suffix(".raw")
    unreadable = []
    with open_raw(raw, grid.geobox, band, tags, compress="DEFLATE") as raster:
        for done, (tile, pixels) in enumerate(_read_all(store, datasets, band, grid, options)):
            if pixels is None:
                unreadable.append(tile)
            else:
                raster.write(pixels, 1, window=grid.window(tile))
            progress((done + 1) / len(datasets))
    copy_cog(raw, path, band)
    raw.unlink()
    return tuple(unreadable)


def read_mosaic(
    store: Store, datasets: Sequence[Dataset], band: Band, grid: MosaicGrid, options: ReadOptions
) -> NDArray[np.uint8]:
    """Pixels ``(y, x)`` of datasets on a small grid, from overviews; the rest is nodata.

    Raises Interrupted if a tile cannot be read.
    """
    pixels = np.full(grid.geobox.shape, NODATA, np.uint8)
    for tile, found in _read_all(store, datasets, band, grid, options):
        if found is None:
            raise Interrupted(f"tile {tile} cannot be read now: try again")
        pixels[grid.window(tile).toslices()] = found
    return pixels


def _describe(product: Product, period: Period, band: Band, synthetic: bool) -> str:
    return mark_title(f"{product.name} {period}, {QUICK_LOOK}{band.title}", synthetic=synthetic)


def _draw(
    cog: Path, band: Band, grid: MosaicGrid, title: str, facts: Sequence[str], credit: str
) -> Figure:
    pixels = paint_band(_read_small(cog, band, grid), band)
    panel = Panel(f"{band.title} ({band.name})", pixels, band)
    return make_figure([panel], grid.geobox, title, facts=facts, credit=credit)


def _title(product: Product, period: Period, collection: Document | None) -> str:
    region = title_of_region(collection or {}) or product.region
    what = "Change of cropland" if product.is_series else "Cropland"
    return mark_title(f"{what} {period.words}, {region}", synthetic=is_synthetic(collection))


def _read_all(
    store: Store,
    datasets: Sequence[Dataset],
    band: Band,
    grid: MosaicGrid,
    options: ReadOptions | None,
) -> Iterator[_TilePixels]:
    """Pixels of every dataset, a batch at a time; None where they cannot be read."""
    settings = options or ReadOptions()
    suffix = suffix_of(band.name)
    ends = {each.tile: store.uri(key_beside(each.item_key, suffix)) for each in datasets}
    shape = (grid.edge, grid.edge)

    def read(dataset: Dataset) -> _TilePixels:
        href = ends[dataset.tile]
        try:
            with GdalRaster(href, settings) as raster:
                pixels = raster.use(lambda opened: read_reduced(opened, band, shape))
        except (Interrupted, Rejected) as error:
            log.warning("tile %s is left out: %s", dataset.tile, error)
            return dataset.tile, None
        return dataset.tile, pixels

    with open_reading_threads(settings) as pool:
        for start in range(0, len(datasets), _BATCH):
            yield from pool.map(read, datasets[start : start + _BATCH])


def _read_small(cog: Path, band: Band, grid: MosaicGrid) -> NDArray[Any]:
    with rasterio.open(cog) as raster:
        rows, columns = map(min, raster.shape, measure(grid.geobox).shape(MAP_PIXELS))
        return read_reduced(raster, band, (rows, columns))
