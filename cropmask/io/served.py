"""Files of a store in parts, as web readers ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cropmask.errors import Rejected
from cropmask.io.fetch import Absent, ReadOptions, load_bytes
from cropmask.io.store import Store

CHUNK: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file."""

    uri: str
    first: int
    length: int
    total: int
    """Bytes of the whole file."""
    etag: str

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the file."""
        return self.length == self.total

    @property
    def content_range(self) -> str:
        """Value of the header ``Content-Range``."""
        return f"bytes {self.first}-{self.first + self.length - 1}/{self.total}"


def find_part(store: Store, key: str, wanted: str | None) -> Part | None:
    """Part of a file that a ``Range`` header asks for.

    Parameters
    ----------
    store, key
        Where the file is.
    wanted
        Value of the header; None for the whole file. Of several ranges none is honored.

    Returns
    -------
    Part or None
        None if there is no such file.

    Raises
    ------
    Rejected
        If the range begins after the file's end.
    """
    entry = next((found for found in store.list(key) if found.key == key), None)
    if entry is None:
        return None
    first, length = _span(wanted, entry.size)
    return Part(store.uri(key), first, length, entry.size, entry.etag)


def _span(wanted: str | None, size: int) -> tuple[int, int]:
    match = _RANGE.fullmatch(wanted or "")
    if match is None or match[0] == "bytes=-":
        return 0, size
    if not match[1]:
        length = min(int(match[2]), size)
        return size - length, length
    first = int(match[1])
    last = min(int(match[2] or size - 1), size - 1)
    if first >= size or last < first:
        raise Rejected(f"range {wanted} is outside of {size} bytes", reason="bad range")
    return first, last - first + 1


def load_part(part: Part, options: ReadOptions) -> Iterator[bytes]:
    """Bytes of a part, in pieces.

    Raises
    ------
    Absent
        If the file has gone.
    """
    for start in range(part.first, part.first + part.length, CHUNK):
        length = min(CHUNK, part.first + part.length - start)
        yield load_bytes(part.uri, options, span=(start, length))


__all__ = ["Absent", "Part", "find_part", "load_part"]
