"""GDAL's settings, said once, and threads that live inside them."""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.session import AWSSession, DummySession, Session

from cropmask.errors import CropmaskError, Interrupted, Reason, Rejected
from cropmask.pixels.header import find_header_fault
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import ReadOptions
from cropmask.remote.retries import count_retries

T = TypeVar("T")

READ_FAILURES: Final = (RasterioError, CPLE_BaseError, OSError)
"""What GDAL's failures look like in Python."""

_ROUNDS: Final = 3
"""Openings of a remote raster; each is patient by itself through GDAL's own retries."""
_FINAL: Final = re.compile(
    r"response code: 40[1-4]|does not exist|Access ?Denied|URL rejected|AWS_SECRET_ACCESS_KEY"
)

log = logging.getLogger(__name__)

# The warper says so of its own arrays in memory, whose grid it is told in the call.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=r"rasterio\.warp")


def gdal_settings(options: ReadOptions) -> dict[str, Any]:
    """Every GDAL option that reading sets."""
    settings: dict[str, Any] = {
        "GDAL_CACHEMAX": options.cache_mb * 2**20,
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_HTTP_MAX_RETRY": str(options.retries),
        "GDAL_HTTP_RETRY_DELAY": str(options.retry_delay_seconds),
        "GDAL_HTTP_CONNECTTIMEOUT": f"{max(1, round(min(options.timeout_seconds, 10)))}",
        "GDAL_HTTP_TIMEOUT": f"{max(1, round(options.timeout_seconds))}",
        "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
        # GDAL remembers failed openings for the life of the process, unless told not to.
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    }
    if options.s3_endpoint:
        parts = urlsplit(
            options.s3_endpoint if "//" in options.s3_endpoint else f"https://{options.s3_endpoint}"
        )
        settings["AWS_S3_ENDPOINT"] = parts.netloc
        settings["AWS_HTTPS"] = "YES" if parts.scheme == "https" else "NO"
        settings["AWS_VIRTUAL_HOSTING"] = "FALSE"
    if options.s3_requester_pays:
        settings["AWS_REQUEST_PAYER"] = "requester"
    return settings


def open_reading_threads(options: ReadOptions, hrefs: Iterable[str]) -> ThreadPoolExecutor:
    """Threads in which GDAL has our settings for as long as they live, to read these rasters."""
    session: Session = DummySession()
    # This session looks for credentials, which a machine without S3 need not have.
    if any(href.startswith("s3://") for href in hrefs):
        session = AWSSession(aws_unsigned=options.s3_unsigned, region_name=options.s3_region)
    settings = gdal_settings(options)

    def enter() -> None:
        # Never left: leaving would put GDAL's large default cache back, for all threads.
        rasterio.Env(session, **settings).__enter__()

    return ThreadPoolExecutor(options.threads, thread_name_prefix="read", initializer=enter)


def read_with_retries(action: Callable[[], T], href: str, options: ReadOptions) -> T:
    """Result of reading from a raster, tried again where another try may help.

    Raises Absent if there is no such file; Rejected if access is denied, or it is no raster;
    Interrupted if it cannot be read: truncated, corrupt, or a server that keeps failing.
    """
    rounds = _ROUNDS if is_remote(href) else 1
    for attempt in range(rounds):
        try:
            return action()
        except READ_FAILURES as error:
            if attempt == rounds - 1 or _FINAL.search(str(error)):
                raise _translate_gdal_error(error, href, options) from error
            log.warning("%s failed (%s): trying again", href, error)
            count_retries()
            time.sleep(options.retry_delay_seconds * 2**attempt)
    raise AssertionError("unreachable")


def _translate_gdal_error(error: BaseException, href: str, options: ReadOptions) -> CropmaskError:
    """The error of ours that a failure of GDAL stands for: asked of the file itself."""
    try:
        fault = find_header_fault(href, options)
    except CropmaskError as known:
        return known
    if fault is not None:
        return Rejected(
            f"{href} is no raster, it {fault}: put the right file there, or correct the item",
            reason=Reason.NO_RASTER,
        )
    cause = error.__cause__ or error.__context__
    detail = str(cause if isinstance(cause, CPLE_BaseError) else error)
    return Interrupted(
        f"{href} cannot be read ({detail}): the file may be truncated or corrupt, "
        "or its server failing; check it, then try again",
        reason=Reason.UNREADABLE_RASTER,
    )
