"""Bodies of answers, unpacked as they arrive and never beyond a limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from cropmask.errors import Interrupted, Reason, Rejected

_CHUNK: Final = 64 * 1024
_GZIP: Final = b"\x1f\x8b"
_EITHER: Final = 32 + zlib.MAX_WBITS
"""Gzip or zlib, as the first bytes tell."""


def read_body(read: Callable[[int], bytes], packing: str, most: int, href: str) -> bytes:
    """Body of an answer, of which no more than ``most`` bytes and a little are ever unpacked.

    ``read`` gives the next bytes, none at the end; ``packing`` is what the answer says of its
    encoding. A body that is longer comes back longer than ``most``, cut. Raises Rejected if it is
    packed in a way that nobody asked for; Interrupted if it ends before its end, or cannot be
    unpacked.
    """
    parts: list[bytes] = []
    size = 0
    for part in _unpack(iter(lambda: read(_CHUNK), b""), packing.strip().lower(), href):
        parts.append(part)
        size += len(part)
        if size > most:
            break
    return b"".join(parts)


def _unpack(chunks: Iterator[bytes], packing: str, href: str) -> Iterator[bytes]:
    if packing in ("", "identity"):
        yield from chunks
    elif packing in ("gzip", "x-gzip", "deflate"):
        try:
            yield from _inflate(chunks, href)
        except zlib.error as error:
            raise Interrupted(
                f"{href} is no whole {packing} ({error}): try again later",
                reason=Reason.UNREACHABLE,
            ) from None
    else:
        raise Rejected(
            f"{href} is packed as '{packing}', which nobody asked for: serve it plain or as gzip",
            reason=Reason.BAD_DOCUMENT,
        )


def _inflate(chunks: Iterator[bytes], href: str) -> Iterator[bytes]:
    engine = zlib.decompressobj(_EITHER)
    for number, chunk in enumerate(chunks):
        if number == 0 and chunk[:2] != _GZIP and not _is_zlib(chunk):
            engine = zlib.decompressobj(-zlib.MAX_WBITS)  # some servers leave the header out
        left = chunk
        while left:
            yield engine.decompress(left, _CHUNK)
            left = engine.unconsumed_tail
            if engine.eof:
                left = engine.unused_data
                if not left.startswith(_GZIP):
                    break  # whatever follows the end, as all readers of gzip pass it over
                engine = zlib.decompressobj(_EITHER)
    yield engine.flush()
    if not engine.eof:
        raise Interrupted(f"{href} broke off: try again later", reason=Reason.UNREACHABLE)


def _is_zlib(chunk: bytes) -> bool:
    return len(chunk) > 1 and chunk[0] & 0x0F == 8 and int.from_bytes(chunk[:2], "big") % 31 == 0
