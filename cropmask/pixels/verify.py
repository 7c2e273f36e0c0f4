"""Files against the checksums that their items declare.

GDAL does not notice bytes that were overwritten inside a compressed block: what comes out are wrong
pixels. So whole files are compared before anything is computed from them.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.pixels.header import find_header_fault
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import ReadOptions, find_size, load_bytes
from cropmask.sources.bands import BandSource

_KINDS: Final = {
    "1114": "sha1",
    "1220": "sha256",
    "1340": "sha512",
    "d50110": "md5",
}
"""Multihash prefixes, in hexadecimal digits: what kind of hash, and how long it is."""
_CHUNK_BYTES: Final = 8 << 20
_ROUNDS: Final = 3
"""Readings of a remote file: one that broke off or came damaged is read again."""

log = logging.getLogger(__name__)


def verify_files(bands: Iterable[BandSource], options: ReadOptions) -> int:
    """Compare files with the sizes and checksums that their items declare.

    Raises Rejected if a file is not the one that its item describes, or no raster; Interrupted if
    it is shorter than its item says, or cannot be read.
    """
    declared = [band for band in bands if band.checksum is not None or band.size is not None]
    with ThreadPoolExecutor(options.threads, thread_name_prefix="verify") as pool:
        for problem in pool.map(lambda band: _problem_of(band, options), declared):
            if problem is not None:
                raise Rejected(
                    f"{problem}: fetch the file again, or correct its item",
                    reason=Reason.CORRUPT_INPUT,
                )
    return len(declared)


def _problem_of(band: BandSource, options: ReadOptions) -> str | None:
    """What is wrong with a file, looked at more than once if it came over a network."""
    rounds = _ROUNDS if is_remote(band.href) else 1
    problem = None
    for attempt in range(rounds):
        if attempt:
            time.sleep(options.retry_delay_seconds * 2**attempt)
        try:
            problem = _compare(band, options)
        except Interrupted:
            if attempt == rounds - 1:
                raise
            continue
        if problem is None:
            return None
    return problem


def _compare(band: BandSource, options: ReadOptions) -> str | None:
    kind, expected = _parse(band.checksum)
    size = find_size(band.href, options)
    if band.size is not None and size < band.size:
        if fault := find_header_fault(band.href, options):
            return f"{band.href} is not the file that its item describes: it {fault}"
        raise Interrupted(
            f"{band.href} has {size} of {band.size} bytes: it is cut short, or still being "
            "written; check it, then try again",
            reason=Reason.TRUNCATED_INPUT,
        )
    if band.size is not None and size != band.size:
        return f"{band.href} has {size} bytes, its item says {band.size}"
    if kind is None:
        if band.checksum is not None:
            log.warning("%s has a checksum of an unknown kind: it is not verified", band.href)
        return None
    digest = hashlib.new(kind, usedforsecurity=False)
    for start in range(0, size, _CHUNK_BYTES):
        span = (start, min(_CHUNK_BYTES, size - start))
        digest.update(load_bytes(band.href, options, span=span))
    if digest.hexdigest() != expected:
        return (
            f"{band.href} is not the file that its item describes: its {kind} is "
            f"{digest.hexdigest()[:12]}..., not {expected[:12]}..."
        )
    return None


def _parse(checksum: str | None) -> tuple[str | None, str]:
    """Kind and digest of a multihash in hexadecimal digits; None if it is another notation."""
    text = (checksum or "").lower()
    for prefix, kind in _KINDS.items():
        length = 2 * hashlib.new(kind, usedforsecurity=False).digest_size
        if text.startswith(prefix) and len(text) == len(prefix) + length:
            return kind, text[len(prefix) :]
    return None, ""
