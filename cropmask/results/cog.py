"""Maps as files: cloud-optimized GeoTIFFs, the color overview, the thumbnail.

GDAL's COG driver writes them from a raster in memory; it needs a third of the memory of
rio-cogeo, which checks its work in the tests. No file holds a time or a machine's name, and the
number of threads does not show: equal pixels give equal bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError  # GDAL's own errors have no public name
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from cropmask.core.cropmap import CropMap, ValidArea
from cropmask.core.extras import is_unlike
from cropmask.errors import CropmaskError, Interrupted, Reason
from cropmask.product import FILTERED, NODATA, TRANSPARENT, Band, Rgba
from cropmask.remote.localfiles import translate_os_errors
from cropmask.stac.facts import FileFacts
from cropmask.stac.footprint import thumbnail_box

BLOCK: Final = 512
_COG: Final = {
    "driver": "COG",
    "COMPRESS": "DEFLATE",
    "LEVEL": "6",
    "BLOCKSIZE": str(BLOCK),
    "OVERVIEWS": "IGNORE_EXISTING",
    "BIGTIFF": "IF_SAFER",
}
_PLAIN: Final = Affine(2, 0, 0, 0, -2, 0)
"""Any transform but the identity, which rasterio warns of; a PNG holds none."""
_RGBA: Final = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)


def write_cog(
    path: Path,
    array: NDArray[np.uint8] | NDArray[np.uint16],
    box: GeoBox,
    band: Band,
    *,
    credit: str = "",
    threads: int = 1,
) -> None:
    """Write one band as a cloud-optimized GeoTIFF with overviews and, of classes, a color table.

    Overviews of classes are the most frequent class, of probabilities the mean; nodata counts for
    neither, and is what a pixel becomes that has nothing else below it. Pixels are ``(y, x)`` of
    the band's type, on the grid ``box``. The folder of ``path`` exists; nothing is left of the file
    after a failure. The bytes do not depend on how many ``threads`` compress.
    """
    whole = array[np.newaxis]
    with _translate_encoding_errors(path), _raster(whole, box, nodata=band.nodata) as raster:
        raster.set_band_description(1, band.name)
        raster.set_band_unit(1, band.unit)
        set_colors(raster, band)
        raster.update_tags(TIFFTAG_IMAGEDESCRIPTION=band.description)
        if credit:
            raster.update_tags(TIFFTAG_COPYRIGHT=credit)
        _save_band(raster, path, band, threads)


def _save_band(raster: Any, path: Path, band: Band, threads: int) -> None:  # noqa: ANN401 (as above)
    _save(
        raster,
        path,
        # Neighboring probabilities are alike, so their differences pack better; classes do not.
        PREDICTOR="NO" if band.classes else "YES",
        OVERVIEW_RESAMPLING=band.overview.upper(),
        NUM_THREADS=str(threads),
        **_COG,
    )


def write_visual(
    path: Path, pixels: NDArray[np.uint8], band: Band, box: GeoBox, small: GeoBox
) -> None:
    """Write a band of classes in its published colors as a small RGBA cloud-optimized GeoTIFF.

    A pixel of it is the most frequent class of the pixels below: what has a color is opaque,
    everything else transparent. ``small`` is its grid, ``box`` that of the map.
    """
    classes = _reduce(pixels, box, (small.height, small.width))
    pixels = paint_classes(classes, {found.value: found.color for found in band.classes})
    with _translate_encoding_errors(path), _raster(pixels, small) as raster:
        raster.colorinterp = _RGBA
        _save(raster, path, OVERVIEW_RESAMPLING="NEAREST", **_COG)


def write_thumbnail(
    path: Path,
    crop_map: CropMap,
    box: GeoBox,
    valid: ValidArea | None = None,
    likeness: Path | None = None,
) -> None:
    """Write a PNG of what is valid: filtered cropland on gray, nodata transparent.

    It fills :func:`~cropmask.stac.footprint.thumbnail_box`; ``box`` is the grid of the map.
    ``likeness`` is the file of the dissimilarity: what is outside the training data is pale.
    """
    classes = reduce_for_thumbnail(crop_map.filtered, box, valid)
    if likeness is None:
        write_picture(path, classes, FILTERED)
        return
    small = classes.shape
    rows, columns = (valid.rows, valid.columns) if valid else (slice(None), slice(None))
    with rasterio.open(likeness) as raster:
        window = Window.from_slices(
            (rows.start or 0, rows.stop or box.shape[0]),
            (columns.start or 0, columns.stop or box.shape[1]),
        )
        values = raster.read(1, window=window, out_shape=small, resampling=Resampling.nearest)
    painted = paint_classes(classes, FILTERED.opaque_palette)
    unlike = is_unlike(values) & (painted[3] > 0)
    painted[:3, unlike] = make_pale(painted[:3, unlike])
    write_rgba(path, painted)


def reduce_for_thumbnail(
    pixels: NDArray[np.uint8], box: GeoBox, valid: ValidArea | None
) -> NDArray[np.uint8]:
    """Classes ``(y, x)`` of what is valid, as many as a thumbnail has."""
    window = box
    if valid is not None:
        window = box[valid.rows, valid.columns]
        pixels = pixels[valid.rows, valid.columns]
    small = thumbnail_box(valid, box).shape
    times = small[0] // window.shape[0]
    if times > 1:
        return pixels.repeat(times, axis=0).repeat(times, axis=1)
    return _reduce(pixels, window, (small[0], small[1]))


def make_pale(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colors of any shape, three quarters of the way to white."""
    return np.asarray((colors.astype(np.uint16) + 3 * 255) // 4, np.uint8)


def set_colors(raster: Any, band: Band) -> None:  # noqa: ANN401 (rasterio is untyped)
    """Give a raster that is being written the band's color table, if it is one of classes.

    None for probabilities: GDAL would mix colors where it should mix values.
    """
    if band.classes:
        raster.write_colormap(1, {**band.opaque_palette, NODATA: TRANSPARENT})


@contextlib.contextmanager
def open_raw(
    path: Path, box: GeoBox, band: Band, tags: Mapping[str, str], **options: str
) -> Iterator[Any]:
    """A file to fill part by part, for :func:`copy_cog`; what is never written reads as nodata."""
    height, width = box.shape
    with (
        _translate_encoding_errors(path),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=1,
            height=height,
            width=width,
            dtype=band.dtype,
            nodata=band.nodata,
            crs=str(box.crs),
            transform=box.transform,
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            SPARSE_OK="TRUE",
            BIGTIFF="IF_SAFER",
            **options,
        ) as raster,
    ):
        raster.update_tags(**tags)
        set_colors(raster, band)
        yield raster


def copy_cog(source: Path, path: Path, band: Band, *, threads: int = 1) -> None:
    """Write a raster of one band as a cloud-optimized GeoTIFF, block by block."""
    with (
        _translate_encoding_errors(path),
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(source) as raster,
    ):
        _save_band(raster, path, band, threads)


def read_reduced(
    raster: Any,  # noqa: ANN401 (rasterio is untyped)
    band: Band,
    shape: tuple[int, int],
) -> NDArray[Any]:
    """A band ``(y, x)`` in so many pixels: of the overview that is just fine enough."""
    pixels: NDArray[Any] = raster.read(1, out_shape=shape, resampling=Resampling[band.overview])
    return pixels


def write_picture(path: Path, values: NDArray[Any], band: Band) -> None:
    """Write a band ``(y, x)`` as a PNG in its published colors; nodata is transparent.

    A class without a color is gray, so that it can be told from nodata.
    """
    write_rgba(path, paint_classes(values, band.opaque_palette))


def write_rgba(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a PNG of red, green, blue and opacity, uint8 ``(4, y, x)``."""
    with _translate_encoding_errors(path), _raster(pixels, None) as raster:
        raster.colorinterp = _RGBA
        _save(raster, path, driver="PNG", ZLEVEL="9")


def encode_gray(values: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """PNG of values ``(y, x)`` as they are, in one byte or two."""
    with _raster(values[np.newaxis], None) as raster, MemoryFile() as encoded:
        rasterio.shutil.copy(raster, encoded.name, driver="PNG", ZLEVEL="6")
        return bytes(encoded.getbuffer())


def load_file_facts(path: Path) -> FileFacts:
    """Name, size and digests of a written file."""
    digests = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    size = 0
    with translate_os_errors(path, "read"), path.open("rb") as file:
        while block := file.read(1 << 20):
            size += len(block)
            for digest in digests:
                digest.update(block)
    sha256, sha1 = (digest.hexdigest() for digest in digests)
    return FileFacts(path.name, size, sha256, sha1)


@contextlib.contextmanager
def _raster(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], box: GeoBox | None, nodata: int | None = None
) -> Iterator[Any]:
    """A raster in memory, ``(band, y, x)``; without a box it has pixel coordinates only."""
    count, height, width = pixels.shape
    dtype = str(pixels.dtype)
    is_known = dtype in ("uint8", "uint16")
    if not is_known or (box is not None and box.shape != (height, width)):
        raise ValueError(f"{dtype} {pixels.shape} does not fit bytes {box}")
    place = {} if box is None else {"crs": str(box.crs), "transform": box.transform}
    profile = {"count": count, "height": height, "width": width, "dtype": dtype}
    # rasterio deletes what it finds under the name of a new dataset: no path of a user's.
    name = f"/vsimem/{uuid4().hex}"
    with rasterio.Env(GDAL_PAM_ENABLED="NO"):
        raster = rasterio.open(
            name,
            "w+",
            driver="MEM",
            nodata=nodata,
            **{"transform": _PLAIN} | place,
            **profile,
        )
        with raster:
            raster.write(pixels)
            yield raster


def _save(raster: Any, path: Path, **options: str) -> None:  # noqa: ANN401 (rasterio is untyped)
    """Encode in memory, then write: GDAL does not report a disk that is full at the last bytes."""
    with MemoryFile() as encoded:
        rasterio.shutil.copy(raster, encoded.name, **options)
        with translate_os_errors(path, "written"):
            path.write_bytes(encoded.getbuffer())


def _reduce(classes: NDArray[np.uint8], box: GeoBox, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Fewer pixels, each the most frequent class below it; nodata only if all of them are."""
    if classes.shape == shape:
        return classes
    with _raster(classes[np.newaxis], box, nodata=NODATA) as raster:
        reduced: NDArray[np.uint8] = raster.read(1, out_shape=shape, resampling=Resampling.mode)
    return reduced


def paint_classes(
    classes: NDArray[np.uint8] | NDArray[np.uint16], colors: dict[int, Rgba]
) -> NDArray[np.uint8]:
    """Colors of classes, ``(4, y, x)``; what has no color is transparent."""
    table = np.zeros((np.iinfo(classes.dtype).max + 1, 4), np.uint8)
    for value, color in colors.items():
        table[value] = color
    return np.ascontiguousarray(np.moveaxis(table[classes], -1, 0))


@contextlib.contextmanager
def _translate_encoding_errors(path: Path) -> Iterator[None]:
    """Failed writes as errors of ours; no broken file is left behind."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise Interrupted(
            f"{path} cannot be encoded ({error.__cause__ or error}): see that there is space for "
            "it, and run again",
            reason=Reason.ENCODING,
        ) from None
    except CropmaskError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise
