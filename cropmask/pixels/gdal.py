"""Rasters behind GDAL: which formats it may open, its settings, and threads that live inside them.

GDAL reads files of ours and TIFFs; it never reaches the network: bytes from there come through
:mod:`cropmask.remote.ranges`.
"""

from __future__ import annotations

import errno
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from xml.etree import ElementTree as ET

import rasterio
from rasterio._err import CPLE_BaseError, CPLE_OutOfMemoryError
from rasterio.enums import Interleaving
from rasterio.errors import (
    NotGeoreferencedWarning,
    RasterioDeprecationWarning,
    RasterioError,
)
from rasterio.io import FilePath
from rasterio.session import DummySession

from cropmask.errors import CropmaskError, Interrupted, Reason, Rejected
from cropmask.pixels.header import ReadSpan, find_header_fault, is_cut
from cropmask.pixels.resample import Window
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import ReadOptions, check_local, load_bytes, load_span
from cropmask.remote.ranges import ALWAYS, RemoteFile, RemoteFiles, WantedSpan
from cropmask.remote.retries import count_retries

T = TypeVar("T")

_FAILURES: Final = (RasterioError, CPLE_BaseError, OSError)
"""What GDAL's failures look like in Python."""
_ROUNDS: Final = 3
"""Tries to make sense of a remote file, each of bytes that are fetched anew."""
_VRT: Final = re.compile(rb"\s*<VRTDataset")
_LENT: Final = {
    "VRTDataset": {"rasterXSize", "rasterYSize"},
    "SRS": set(),
    "GeoTransform": set(),
    "Metadata": set(),
    "MDI": {"key"},
    "VRTRasterBand": {"dataType", "band", "blockXSize", "blockYSize"},
    "NoDataValue": set(),
    "SimpleSource": set(),
    "SourceFilename": {"relativeToVRT"},
    "SourceBand": set(),
    "SrcRect": {"xOff", "yOff", "xSize", "ySize"},
    "DstRect": {"xOff", "yOff", "xSize", "ySize"},
}
"""Elements and attributes of the VRT files of made-up worlds, which lend whole pixels of TIFFs."""
_MOST_BLOCKS: Final = 1 << 20
_VALUE_BYTES: Final = {
    name: int(re.sub(r"\D", "", name)) // 8
    for name in "uint8 int8 uint16 int16 uint32 int32 float32 uint64 int64 float64".split()
}

log = logging.getLogger(__name__)

# The warper says so of its own arrays in memory, whose grid it is told in the call.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=r"rasterio\.warp")

warnings.filterwarnings("ignore", "FilePath is supplanted", RasterioDeprecationWarning)


def gdal_settings(options: ReadOptions) -> dict[str, Any]:
    """Every GDAL option that reading sets."""
    return {
        "GDAL_CACHEMAX": options.cache_mb * 2**20,
        # Neither looks for files beside a raster, nor believes what they say.
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_PAM_ENABLED": "NO",
        "GDAL_GEOREF_SOURCES": "INTERNAL",
        # No name is this one, so GDAL reaches no network, whatever a file says.
        "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    }


def open_reading_threads(options: ReadOptions) -> ThreadPoolExecutor:
    """Threads in which GDAL has our settings for as long as they live."""

    def enter() -> None:
        # Never left: leaving would put GDAL's large default cache back, for all threads.
        rasterio.Env(DummySession(), **gdal_settings(options)).__enter__()

    return ThreadPoolExecutor(options.threads, thread_name_prefix="read", initializer=enter)


@dataclass(frozen=True, slots=True)
class Part:
    """A window of a raster, and the rows of a tile that it is read for."""

    first: float
    """Row that it is read for first."""
    last: float
    """Row that it is read for last; :data:`~cropmask.remote.ranges.ALWAYS` to keep it."""
    window: Window


class GdalRaster:
    """A raster that stays open, and is opened again when reading from it fails.

    Used within a thread of :func:`open_reading_threads`, by one thread at a time.
    """

    def __init__(
        self,
        href: str,
        options: ReadOptions,
        files: RemoteFiles | None = None,
        level: int | None = None,
    ) -> None:
        self.href = href
        self._options = options
        self._own = RemoteFiles() if files is None else None
        self._level = level
        self._lock = threading.Lock()
        self._dataset: Any = None
        self._failures: list[BaseException] = []
        try:
            files = self._own or files
            self.remote = files.open(href, options) if files and is_remote(href) else None
            self._driver = "GTiff" if self.remote else _find_driver(href, options)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def use(self, action: Callable[[Any], T]) -> T:
        """Result of an action on the open dataset.

        Raises Rejected if the file is no raster that can be read, or exceeds a limit; Interrupted
        if its bytes do not come, or end too early; MemoryError if there is none left for them.
        """
        with self._lock:
            for attempt in range(_ROUNDS):
                try:
                    with self._telling():
                        return action(self._open())
                except _FAILURES as error:
                    self._close()
                    if _is_out_of_memory(error):
                        raise MemoryError(str(error)) from error  # not a fault of the raster
                    if self.remote is None or attempt == _ROUNDS - 1:
                        raise self._translate(error) from error
                    self._read_anew(error)
                except CropmaskError:
                    self._close()
                    raise
            raise AssertionError("unreachable")

    def want(self, parts: Iterable[Part]) -> None:
        """Fetch windows ahead of reading, if the raster is remote."""
        if self.remote is not None:
            self.remote.want(self.use(lambda dataset: [*_find_blocks(dataset, parts)]))

    def want_all(self) -> None:
        """Fetch the whole raster ahead of reading, if it is remote."""
        rows, columns = self.use(lambda dataset: dataset.shape)
        self.want([Part(0, ALWAYS, Window(0, 0, rows, columns))])

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()
            if self._own is not None:
                self._own.close()

    def _open(self) -> Any:  # noqa: ANN401 (rasterio is untyped)
        if self._dataset is None:
            words = {"driver": self._driver, "sharing": False}
            if self._level is not None:
                words["overview_level"] = self._level
            size, read = self._span_reader()
            fault = find_header_fault(size, read) if self._driver == "GTiff" else None
            if fault is not None:
                raise Rejected(
                    f"{self.href} is no raster, it {fault}: put the right file there, or correct "
                    "the item",
                    reason=Reason.NO_RASTER,
                )
            if self.remote is None:
                self._dataset = rasterio.open(self.href, **words)
            else:
                self._dataset = _open_remote(self.remote, self._failures, words)
            _check(self._dataset, self.href, self._options)
        return self._dataset

    def _close(self) -> None:
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Raise what fetching failed with, whatever GDAL makes of bytes that did not come."""
        self._failures.clear()
        try:
            yield
        except _FAILURES as error:
            if self._failures:
                raise self._failures[0] from error
            raise
        if self._failures:
            raise self._failures[0]

    def _read_anew(self, error: BaseException) -> None:
        """Forget the bytes of a file that GDAL cannot read: they may have come damaged."""
        assert self.remote is not None
        self.remote.doubt()
        log.warning("%s cannot be read (%s): fetching it again", self.href, error)
        count_retries()
        self.remote.forget()

    def _span_reader(self) -> tuple[int, ReadSpan]:
        """Bytes of the file, and what reads spans of it."""
        if self.remote is not None:
            return self.remote.size, self.remote.read
        size = check_local(self.href, self._options).st_size
        return size, partial(load_span, self.href, self._options)

    def _translate(self, error: BaseException) -> CropmaskError:
        """The error of ours that a failure of GDAL stands for: asked of the file itself."""
        try:
            ends_early = self._driver == "GTiff" and is_cut(*self._span_reader())
        except CropmaskError as known:
            return known
        if ends_early:
            return Interrupted(
                f"{self.href} cannot be read: it ends before its last block, so it is cut short, "
                "or still being written; check it, then try again",
                reason=Reason.TRUNCATED_INPUT,
            )
        cause = error.__cause__ or error.__context__
        detail = str(cause if isinstance(cause, CPLE_BaseError) else error)
        return Rejected(
            f"{self.href} cannot be read ({detail}), though all of it is there: it is damaged, or "
            "no raster of a kind that is known; put the right file there",
            reason=Reason.UNREADABLE_RASTER,
        )


@dataclass(slots=True, eq=False)
class _Handle:
    """A remote file as GDAL reads it, which cannot pass an exception on: it is kept instead."""

    file: RemoteFile
    failures: list[BaseException]
    path: str = "raster.tif"
    mode: str = "rb"
    at: int = 0

    @property
    def fs(self) -> Self:
        """What rasterio opens the file with once more, at another position."""
        return self

    def open(self, _path: str, _mode: str) -> _Handle:
        return _Handle(self.file, self.failures)

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.file.size)[whence]
        return self.at

    def read(self, count: int) -> bytes:
        try:
            content = self.file.read(self.at, count)
        except Exception as error:  # noqa: BLE001 (raised by whoever had GDAL read)
            self.failures.append(error)
            return b""
        self.at += len(content)
        return content


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether GDAL, or the system, had no memory: said by the error or by what it came from."""
    while error is not None:
        no_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
        if no_memory or isinstance(error, CPLE_OutOfMemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _open_remote(file: RemoteFile, failures: list[BaseException], words: dict[str, Any]) -> Any:  # noqa: ANN401
    # Not the newer "opener" of rasterio: it adds a handler for each file to a list that GDAL's
    # other threads read without a lock, and loses it where another thread closes the file.
    path = FilePath(_Handle(file, failures))
    try:
        return path.open(**words)
    finally:
        path.close()  # of the name only: nothing beside the file is ever found by it


def _find_driver(href: str, options: ReadOptions) -> str:
    """Format of a local file: TIFF, or a VRT that does no more than those of made-up worlds."""
    check_local(href, options)
    if not _VRT.match(load_span(href, options, 0, 64)):
        return "GTiff"
    for source in _find_lenders(href, options):
        if _VRT.match(load_span(source, options, 0, 64)):
            raise _refuse_vrt(href, f"borrows from {source}, which is another VRT")
        with GdalRaster(source, options) as raster:
            raster.use(lambda _dataset: None)
    return "VRT"


def _find_lenders(href: str, options: ReadOptions) -> set[str]:
    """Rasters that a VRT borrows pixels from."""
    text = load_bytes(href, options)
    try:
        if b"<!" in text:
            raise _refuse_vrt(href, "declares types of its own")
        elements = [*ET.fromstring(text).iter()]  # noqa: S314 (no types, so no entities)
    except (ET.ParseError, ValueError) as error:
        raise _refuse_vrt(href, f"is no XML: {error}") from None
    sources = set()
    zone = options.zone_of(href)
    for element in elements:
        unknown = element.attrib.keys() - _LENT.get(element.tag, set())
        if element.tag not in _LENT or unknown:
            raise _refuse_vrt(href, f"has {' '.join([element.tag, *sorted(unknown)])}")
        if element.tag == "SourceFilename":
            name = element.text or ""
            if element.get("relativeToVRT") != "1" or is_remote(name) or name.startswith("/"):
                raise _refuse_vrt(href, f"borrows from '{name}'")
            source = str((Path(href).parent / name).resolve())
            if zone.catalog != href:  # what the user names may lie anywhere
                zone.check(source, href)
            sources.add(source)
    return sources


def _refuse_vrt(href: str, what: str) -> Rejected:
    return Rejected(
        f"{href} is a VRT that {what}: only TIFFs are read, and the VRT files of made-up worlds",
        reason=Reason.WRONG_RASTER,
    )


def _check(dataset: Any, href: str, options: ReadOptions) -> None:  # noqa: ANN401
    """Raise Rejected if a raster leads to other files, or its blocks exceed a limit."""
    if dataset.tags(ns="OVERVIEWS"):
        raise Rejected(
            f"{href} keeps its overviews in another file: store them inside, as a COG does",
            reason=Reason.WRONG_RASTER,
        )
    rows, columns = dataset.block_shapes[0]
    bands = dataset.count if dataset.interleaving == Interleaving.pixel else 1
    size = _VALUE_BYTES.get(dataset.dtypes[0], 16)
    options.limits.check("block_bytes", rows * columns * bands * size, f"a block of {href}")


def _find_blocks(dataset: Any, parts: Iterable[Part]) -> Iterator[WantedSpan]:  # noqa: ANN401
    """Where the blocks of windows lie in the file, with the rows that they are read for."""
    height, width = dataset.block_shapes[0]
    parts = tuple(parts)
    if sum(part.window.pixels for part in parts) > _MOST_BLOCKS * height * width:
        return  # planning takes longer than asking for each block when it is read
    rows: dict[tuple[int, int], tuple[float, float]] = {}
    for part in parts:
        window = part.window
        if window.pixels == 0:
            continue
        for y in range(window.row // height, -(-(window.row + window.rows) // height)):
            for x in range(window.column // width, -(-(window.column + window.columns) // width)):
                first, last = rows.get((x, y), (part.first, part.last))
                rows[x, y] = min(first, part.first), max(last, part.last)
    for (x, y), (first, last) in rows.items():
        start = dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1)
        size = dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1)
        if start and size:  # else nothing is stored of it
            yield WantedSpan(int(start), int(start) + int(size), first, last)
