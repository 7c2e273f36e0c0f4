"""Whether a file can be a raster at all, told from its first bytes.

A file that is another one, or ends within its header, stays so however often it is read; one that
was not sent whole may come whole the next time.
"""

from __future__ import annotations

import struct
from typing import Final

from cropmask.errors import one_line
from cropmask.remote.fetch import ReadOptions, find_size, load_bytes

_MAGIC: Final = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
"""First bytes of a TIFF, and its byte order; a plus is the sign of a BigTIFF."""
_TYPE_BYTES: Final = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
"""Bytes of a value of each TIFF type."""
_SHOWN: Final = 24
"""First characters of another file that are shown."""


def find_header_fault(href: str, options: ReadOptions) -> str | None:
    """Why a file is no raster, as the end of a sentence; None for one that may be.

    Raises what reading raises: Rejected if access is denied, Interrupted if it cannot be read now.
    """
    size = find_size(href, options)
    if size == 0:
        return "is empty"
    head = load_bytes(href, options, span=(0, min(size, 64)))
    if head.lstrip().startswith(b"<VRTDataset"):
        return None
    if head[:4] not in _MAGIC:
        shown = one_line(head.decode(errors="replace"))[:_SHOWN]
        return f"is no TIFF, but begins with '{shown}'"
    try:
        is_whole = _end_of_header(href, options, head, size) <= size
    except struct.error:
        is_whole = False
    return None if is_whole else f"ends within its header, at byte {size}"


def _end_of_header(href: str, options: ReadOptions, head: bytes, size: int) -> int:
    """Byte after the first directory of a TIFF and all values that it points to.

    Raises struct.error if the file ends within the directory itself.
    """
    order, is_big = _MAGIC[head[:4]], b"+" in head[:4]
    pointer, count = ("Q", "Q") if is_big else ("I", "H")
    entry = struct.Struct(f"{order}HH{pointer}{8 if is_big else 4}s")
    (start,) = struct.unpack_from(f"{order}{pointer}", head, 8 if is_big else 4)
    first = struct.Struct(f"{order}{count}")

    def load(at: int, length: int) -> bytes:
        if at + length > size:
            raise struct.error
        return load_bytes(href, options, span=(at, length))

    (number,) = first.unpack(load(start, first.size))
    body = load(start + first.size, number * entry.size)
    end = int(start) + first.size + len(body)
    for _tag, kind, values, place in entry.iter_unpack(body):
        length = values * (_TYPE_BYTES[kind] if kind < len(_TYPE_BYTES) else 0)
        if length > len(place):
            (at,) = struct.unpack_from(f"{order}{pointer}", place)
            end = max(end, int(at) + length)
    return end
