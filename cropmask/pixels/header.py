"""Whether a file can be a raster at all, told from its first bytes.

A file that is another one, or ends within its header, stays so however often it is read; one that
was not sent whole may come whole the next time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
_MOST_DIRECTORIES: Final = 100
_MOST_ENTRIES: Final = 1000
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _STRIP_ROWS = 256, 257, 322, 323, 278
_SAMPLES, _PLANES, _APART = 277, 284, 2
_SHOWN: Final = 24
"""First characters of another file that are shown."""


def find_header_fault(size: int, read: ReadSpan) -> str | None:
    """Why a file of so many bytes is no raster, as the end of a sentence; None if it may be one.

    Raises what ``read`` raises.
    """
    if size == 0:
        return "is empty"
    head = read(0, min(size, 64))
    if head[:4] not in _MAGIC:
        shown = one_line(head.decode(errors="replace"))[:_SHOWN]
        return f"is no TIFF, but begins with '{shown}'"
    try:
        for number, entries in enumerate(_directories(size, read, head)):
            if number == _MOST_DIRECTORIES:
                return f"has more than {_MOST_DIRECTORIES} directories, or they lead in a circle"
            if any(entry.end > size for entry in entries.values()):
                raise struct.error
            fault = _find_blocks_fault(entries, read)
            if fault is not None:
                return fault
    except struct.error:
        return f"ends within its header, at byte {size}"
    return None


def is_cut(size: int, read: ReadSpan) -> bool:
    """Whether a TIFF with a whole header ends before the last of its blocks does."""
    entries = next(_directories(size, read, read(0, min(size, 64))))
    for places, sizes in _BLOCKS:
        if places in entries and sizes in entries:
            starts, lengths = (entries[tag].load(read) for tag in (places, sizes))
            if starts.shape == lengths.shape and starts.size:
                return bool((starts + lengths).max() > size)
    return False


def _find_blocks_fault(entries: dict[int, _Entry], read: ReadSpan) -> str | None:
    """What is wrong with an image of a TIFF: GDAL takes blocks that are not listed for empty."""

    def value(tag: int, default: int) -> int:
        found = entries[tag].load(read) if tag in entries else np.empty(0)
        return int(found[0]) if found.size == 1 else default

    width, height = value(_WIDTH, 0), value(_HEIGHT, 0)
    across = value(_TILE_WIDTH, 0) if _TILE_WIDTH in entries else width
    down = value(_TILE_HEIGHT, 0) if _TILE_WIDTH in entries else value(_STRIP_ROWS, height)
    if not (width and height and across and down):
        return "has no pixels"
    planes = value(_SAMPLES, 1) if value(_PLANES, 1) == _APART else 1
    needed = -(-width // across) * -(-height // down) * planes
    listed = max((entries[tag].number for tag, _ in _BLOCKS if tag in entries), default=0)
    return f"lists {listed} of its {needed} blocks" if listed < needed else None


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a directory of a TIFF, and where its values are."""

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


def _directories(size: int, read: ReadSpan, head: bytes) -> Iterator[dict[int, _Entry]]:
    """Entries of each directory by tag.

    Raises struct.error if the file ends within one of them.
    """
    order, is_big = _MAGIC[head[:4]], b"+" in head[:4]
    pointer = struct.Struct(f"{order}{'Q' if is_big else 'I'}")
    count = struct.Struct(f"{order}{'Q' if is_big else 'H'}")
    form = struct.Struct(f"{order}HH{'Q8s' if is_big else 'I4s'}")

    def load(at: int, length: int) -> bytes:
        if at + length > size:
            raise struct.error
        return read(at, length)

    (start,) = pointer.unpack_from(head, 8 if is_big else 4)
    while start:
        (number,) = count.unpack(load(start, count.size))
        if number > _MOST_ENTRIES:
            raise struct.error
        first = start + count.size
        body = load(first, number * form.size)
        entries = {}
        for index, (tag, kind, values, place) in enumerate(form.iter_unpack(body)):
            entry = _Entry(kind, values, first + (index + 1) * form.size - len(place), order)
            if entry.end - entry.start > len(place):
                entry = replace(entry, start=pointer.unpack(place)[0])
            entries[tag] = entry
        yield entries
        (start,) = pointer.unpack(load(first + len(body), pointer.size))
