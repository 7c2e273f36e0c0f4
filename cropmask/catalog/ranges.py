"""Files of a store in parts, as web readers ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cropmask.errors import Reason, Rejected
from cropmask.remote.fetch import Absent, ReadOptions, load_bytes
from cropmask.store.protocol import Store

CHUNK: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class OutOfRange(Rejected):
    """A range that has no byte of the file."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the range is outside of {size} bytes", reason=Reason.BAD_QUERY)
        self.size = size


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file."""

    uri: str
    first: int
    length: int
    total: int
    """Bytes of the whole file."""
    etag: str
    asked: bool
    """Whether a range was asked for, and not the whole file."""

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
        Value of the header; None for the whole file. Several ranges, and what is no range, are
        not honored: the whole file is the answer then.

    Returns
    -------
    Part or None
        None if there is no such file.

    Raises
    ------
    OutOfRange
        If no byte of the file is in the range.
    """
    entry = next((found for found in store.list(key) if found.key == key), None)
    if entry is None:
        return None
    span = _span(wanted, entry.size)
    first, length = span or (0, entry.size)
    return Part(store.uri(key), first, length, entry.size, entry.etag, asked=span is not None)


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(wanted or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        first, last = size - length, size - 1
    else:
        first = int(match[1])
        last = int(match[2]) if match[2] else max(first, size - 1)
        if last < first:
            return None
    if first >= size:
        raise OutOfRange(size)
    return first, min(last, size - 1) - first + 1


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


__all__ = ["Absent", "OutOfRange", "Part", "find_part", "load_part"]
