"""Whether a file can be a raster at all, told from its first bytes.

A file that is another one, or ends within its header, stays so however often it is read; one that
was not sent whole may come whole the next time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.errors import one_line

ReadSpan = Callable[[int, int], bytes]
"""Gives the bytes of a file from a position on, so many or fewer at its end."""

_MAGIC: Final = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
"""First bytes of a TIFF, and its byte order; a plus is the sign of a BigTIFF."""
_TYPE_BYTES: Final = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
"""Bytes of a value of each TIFF type."""
_NUMBERS: Final = {3: "u2", 4: "u4", 16: "u8"}
"""Types that places and sizes of blocks have."""
_BLOCKS: Final = ((273, 279), (324, 325))
"""Tags of places and sizes of blocks: strips, tiles."""
_MOST_BLOCKS: Final = 1 << 23
_SHOWN: Final = 24
"""First characters of another file that are shown."""


def find_header_fault(size: int, read: ReadSpan) -> str | None:
    """Why a file of so many bytes is no raster, as the end of a sentence; None if it may be one.

    Raises what ``read`` raises.
    """
    if size == 0:
        return "is empty"
    head = read(0, min(size, 64))
    if head.lstrip().startswith(b"<VRTDataset"):
        return None
    if head[:4] not in _MAGIC:
        shown = one_line(head.decode(errors="replace"))[:_SHOWN]
        return f"is no TIFF, but begins with '{shown}'"
    try:
        is_whole = all(entry.end <= size for entry in _entries(size, read, head))
    except struct.error:
        is_whole = False
    return None if is_whole else f"ends within its header, at byte {size}"


def is_cut(size: int, read: ReadSpan) -> bool:
    """Whether a TIFF with a whole header ends before the last of its blocks does."""
    head = read(0, min(size, 64))
    if head[:4] not in _MAGIC:
        return False
    entries = {entry.tag: entry for entry in _entries(size, read, head)}
    for places, sizes in _BLOCKS:
        if places in entries and sizes in entries:
            starts, lengths = (entries[tag].load(read) for tag in (places, sizes))
            if starts.shape == lengths.shape and starts.size:
                return bool((starts + lengths).max() > size)
    return False


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the first directory of a TIFF, and where its values are."""

    tag: int
    kind: int
    number: int
    start: int
    order: str

    @property
    def end(self) -> int:
        """Byte after its values."""
        size = _TYPE_BYTES[self.kind] if self.kind < len(_TYPE_BYTES) else 0
        return self.start + self.number * size

    def load(self, read: ReadSpan) -> NDArray[np.float64]:
        """Its values; none if they are no numbers of a reasonable count."""
        if self.kind not in _NUMBERS or self.number > _MOST_BLOCKS:
            return np.empty(0)
        content = read(self.start, self.end - self.start)
        return np.frombuffer(content, f"{self.order}{_NUMBERS[self.kind]}").astype(np.float64)


def _entries(size: int, read: ReadSpan, head: bytes) -> Iterator[_Entry]:
    """Entries of the first directory.

    Raises struct.error if the file ends within the directory.
    """
    order, is_big = _MAGIC[head[:4]], b"+" in head[:4]
    pointer, count = ("Q", "Q") if is_big else ("I", "H")
    form = struct.Struct(f"{order}HH{pointer}{8 if is_big else 4}s")
    (start,) = struct.unpack_from(f"{order}{pointer}", head, 8 if is_big else 4)
    first = struct.Struct(f"{order}{count}")

    def load(at: int, length: int) -> bytes:
        if at + length > size:
            raise struct.error
        return read(at, length)

    (number,) = first.unpack(load(start, first.size))
    body = load(start + first.size, number * form.size)
    for index, (tag, kind, values, place) in enumerate(form.iter_unpack(body)):
        at = start + first.size + (index + 1) * form.size - len(place)
        entry = _Entry(tag, kind, values, at, order)
        if entry.end - at > len(place):
            (at,) = struct.unpack_from(f"{order}{pointer}", place)
            entry = _Entry(tag, kind, values, at, order)
        yield entry
