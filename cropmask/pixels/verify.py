"""Files against the checksums that their items declare.

GDAL does not notice bytes that were overwritten inside a compressed block: what comes out are wrong
pixels. So local files are compared before anything is computed from them, and remote ones as their
bytes arrive: all of them before anything is published.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.pixels.header import ReadSpan, find_header_fault
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import ReadOptions, Verify, check_local, load_span
from cropmask.remote.ranges import RemoteFile, corrupt
from cropmask.sources.bands import BandSource

_KINDS: Final = {
    "1114": "sha1",
    "1220": "sha256",
    "1340": "sha512",
    "d50110": "md5",
}
"""Multihash prefixes, in hexadecimal digits: what kind of hash, and how long it is."""
_CHUNK_BYTES: Final = 8 << 20

log = logging.getLogger(__name__)


def verify_files(
    bands: Iterable[BandSource], options: ReadOptions, *, is_whole: bool = True
) -> int:
    """Compare local files with the sizes and checksums that their items declare.

    Files that are read in part (``is_whole`` is false) only where the options ask for it.

    Raises Rejected if a file is not the one that its item describes, or no raster; Interrupted if
    it is shorter than its item says, or cannot be read.
    """
    if not _is_wanted(options, is_whole=is_whole):
        return 0
    declared = [
        band
        for band in bands
        if not is_remote(band.href) and (band.checksum is not None or band.size is not None)
    ]
    with ThreadPoolExecutor(options.threads, thread_name_prefix="verify") as pool:
        for _ in pool.map(lambda band: _compare(band, options), declared):
            pass
    return len(declared)


def expect_file(
    file: RemoteFile, band: BandSource, options: ReadOptions, *, is_whole: bool
) -> None:
    """Compare the size of a remote file with its item's, and have its bytes compared as they come.

    Files that are read in part (``is_whole`` is false) only where the options ask for it. Raises as
    :func:`verify_files`.
    """
    if options.verify is Verify.NONE:
        return
    _compare_size(band, file.size, file.read)
    kind, expected = _parse(band)
    if kind is not None and _is_wanted(options, is_whole=is_whole):
        file.expect(kind, expected)


def _is_wanted(options: ReadOptions, *, is_whole: bool) -> bool:
    """Whether all bytes of a file are compared, though it may be read in part."""
    return options.verify is Verify.ALL or (is_whole and options.verify is Verify.READ)


def _compare(band: BandSource, options: ReadOptions) -> None:
    size = check_local(band.href, options).st_size
    read = partial(load_span, band.href, options)
    _compare_size(band, size, read)
    kind, expected = _parse(band)
    if kind is None:
        return
    digest = hashlib.new(kind, usedforsecurity=False)
    for start in range(0, size, _CHUNK_BYTES):
        digest.update(read(start, min(_CHUNK_BYTES, size - start)))
    if digest.hexdigest() != expected:
        raise corrupt(band.href, kind, digest.hexdigest(), expected)


def _compare_size(band: BandSource, size: int, read: ReadSpan) -> None:
    if band.size is None or size == band.size:
        return
    fault = find_header_fault(size, read) if size < band.size else None
    if size < band.size and fault is None:
        raise Interrupted(
            f"{band.href} has {size} of {band.size} bytes: it is cut short, or still being "
            "written; check it, then try again",
            reason=Reason.TRUNCATED_INPUT,
        )
    what = (
        f"is not the file that its item describes: it {fault}"
        if fault
        else f"has {size} bytes, its item says {band.size}"
    )
    raise Rejected(
        f"{band.href} {what}: fetch the file again, or correct its item",
        reason=Reason.CORRUPT_INPUT,
    )


def _parse(band: BandSource) -> tuple[str | None, str]:
    """Kind and digest of a multihash in hexadecimal digits; None if there is none that is known."""
    text = (band.checksum or "").lower()
    for prefix, kind in _KINDS.items():
        length = 2 * hashlib.new(kind, usedforsecurity=False).digest_size
        if text.startswith(prefix) and len(text) == len(prefix) + length:
            return kind, text[len(prefix) :]
    if text:
        log.warning("%s has a checksum of an unknown kind: it is not verified", band.href)
    return None, ""
