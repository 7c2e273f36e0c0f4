"""Where results go: a folder, an S3 bucket, or memory; one Protocol for the three.

Keys are relative, with forward slashes: ``crop_mask_eastern/1-1-0/x215/y075/...``. Whatever
the place, a key holds a whole object or nothing: no reader ever sees half of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cropmask.errors import Reason, Rejected
from cropmask.remote.fetch import Absent

__all__ = ["Absent", "Entry", "Store", "StoreOptions"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Opaque: the same etag means the same content, another one may or may not."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How to reach S3; a folder needs none of it."""

    endpoint_url: str | None = None
    """Address of an object store other than AWS, such as ``http://127.0.0.1:9000``."""
    acl: str | None = None
    """Canned ACL of written objects, such as ``bucket-owner-full-control``."""
    unsigned: bool = False
    """Whether to read a public bucket without credentials where there are none."""
    requester_pays: bool = False
    """Whether to pay for requests to a requester-pays bucket."""
    attempts: int = 6
    """Tries of one request before the error is reported; waits grow between them."""


class Store(Protocol):
    """A place of results.

    All methods raise :class:`~cropmask.errors.Misconfigured` where the place refuses
    (permission, credentials, no such bucket) and :class:`~cropmask.errors.Interrupted` where
    it fails (disk full, connection, server error). Neither ever passes for "absent".
    """

    def uri(self, key: str) -> str:
        """Path or address of a key, as GDAL and people open it."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        ...

    def find(self, key: str) -> Entry | None:
        """What a listing says of the object of a key; None if it holds nothing."""
        ...

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """Content of a key, or of a span of it; :class:`Absent` if it holds nothing.

        ``span`` is the first byte and the number of bytes, at least one, all within the object.
        """
        ...

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:
        """Write bytes, or the file at a path, in place of whatever the key held."""
        ...

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        """Write only if the key holds nothing; of several writers exactly one gets True.

        After a lost connection a writer may get False for an object of its own: whoever gets
        False compares contents.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Objects whose key begins with ``prefix``, sorted by key."""
        ...

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Names of what is one level below, sorted, without going through what they hold.

        ``prefix`` is empty or ends with a slash. A folder that holds nothing may be among them.
        """
        ...

    def remove(self, key: str) -> None:
        """Delete a key; one that holds nothing is no error."""
        ...

    def check_writable(self) -> None:
        """Write an object and delete it; leaves nothing behind.

        Raises
        ------
        Misconfigured
            If the place cannot be written to.
        """
        ...


def store_place(store: Store) -> str:
    """Folder or address of a store, as options of commands name it."""
    return store.uri("x").removesuffix("/x")


def checked_key(key: str) -> str:
    """The key, if it stays below its root.

    Raises
    ------
    Rejected
        If it is empty, absolute, or steps out.
    """
    parts = key.split("/")
    if not all(parts) or {".", ".."} & set(parts) or re.search(r"[\x00-\x1f\\]", key):
        raise Rejected(
            f"'{key}' is not a key of a store: give a relative path", reason=Reason.BAD_VALUE
        )
    return key
