"""A file that is no raster is told from one that was not sent whole."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio._err import CPLE_AppDefinedError, CPLE_BaseError, CPLE_OutOfMemoryError
from rasterio.errors import RasterioIOError

from cropmask.errors import Interrupted, Rejected
from cropmask.pixels.gdal import GdalRaster, open_reading_threads
from cropmask.pixels.header import find_header_fault
from cropmask.pixels.rasters import Raster
from cropmask.remote.fetch import ReadOptions
from tests.servers import Fault, serve_files

QUICK = ReadOptions(retry_delay_seconds=0.01, retries=1, threads=2)


@pytest.fixture(params=[{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"driver": "COG"}])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """A raster with pixels, plain, BigTIFF, big-endian or a COG."""
    path = tmp_path / "made.tif"
    form = {"width": 700, "height": 700, "count": 1, "dtype": "uint16", "crs": "EPSG:6933"}
    options = {"driver": "GTiff", "transform": Affine(10, 0, 0, 0, -10, 0), **request.param}
    with rasterio.open(path, "w", **form, **options) as raster:
        raster.write(np.random.default_rng(1).integers(1, 9999, (1, 700, 700), np.uint16))
    return path.read_bytes()


def fault(path: Path, content: bytes) -> str | None:
    path.write_bytes(content)
    return find_header_fault(len(content), lambda at, count: content[at : at + count])


def test_a_raster_has_no_fault_also_where_pixels_are_missing(
    content: bytes, tmp_path: Path
) -> None:
    assert fault(tmp_path / "band.tif", content) is None
    # The directory of these lies before the pixels.
    assert fault(tmp_path / "band.tif", content[:-1000]) is None


@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 9, 15, 16, 17])
def test_one_cut_within_its_header_stays_so(content: bytes, tmp_path: Path, length: int) -> None:
    assert fault(tmp_path / "band.tif", content[:length]) is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello", "is no TIFF, but begins with 'hello'"),
        (b"<!DOCTYPE html><html><body>503</body></html>", "begins with '<!DOCTYPE html>"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG ?"),
        (b"\0" * 5000, "is no TIFF"),
        (b"II*\0" + b"\xff" * 5000, "ends within its header"),
        (b"II+\0" + b"\xff" * 5000, "ends within its header"),
    ],
)
def test_what_is_no_raster(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in str(fault(tmp_path / "band.tif", content))


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>not here</html>", b"II*\0\x08\0\0\0"])
@pytest.mark.parametrize("over_http", [False, True])
def test_opening_it_is_rejected_at_once(tmp_path: Path, content: bytes, over_http: bool) -> None:
    (tmp_path / "band.tif").write_bytes(content)
    with serve_files(tmp_path) as server:
        href = f"{server.url}/band.tif" if over_http else str(tmp_path / "band.tif")
        with open_reading_threads(QUICK) as threads, pytest.raises(Rejected) as caught:
            threads.submit(Raster, href, QUICK).result().close()
    assert caught.value.reason == "no raster"


def test_a_download_that_breaks_off_may_come_whole_the_next_time(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "band.tif").write_bytes(content)
    with serve_files(tmp_path) as server:
        server.faults.append(Fault("band", keep_bytes=10, methods=("GET",)))
        href = f"{server.url}/band.tif"
        with open_reading_threads(QUICK) as threads, pytest.raises(Interrupted):
            threads.submit(Raster, href, QUICK).result().close()
        server.faults.clear()
        with open_reading_threads(QUICK) as threads:
            threads.submit(Raster, href, QUICK).result().close()


def fail(cause: BaseException) -> None:
    """What rasterio makes of a failure within GDAL."""
    raise RasterioIOError("Read failed. See previous exception for details.") from cause


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (CPLE_OutOfMemoryError(3, 2, "cannot allocate 2092800 bytes"), MemoryError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError),
        (CPLE_AppDefinedError(3, 1, "TIFFReadEncodedTile() failed."), Rejected),
    ],
)
def test_that_memory_ran_out_is_not_the_fault_of_the_raster(
    content: bytes, tmp_path: Path, cause: CPLE_BaseError, expected: type[Exception]
) -> None:
    (tmp_path / "band.tif").write_bytes(content)
    with open_reading_threads(QUICK) as threads:
        raster = threads.submit(GdalRaster, str(tmp_path / "band.tif"), QUICK).result()
        with pytest.raises(expected):
            threads.submit(raster.use, lambda _dataset: fail(cause)).result()
        raster.close()
