"""Where results go: a folder, an S3 bucket, or memory; one Protocol for the three.

Keys are relative, with forward slashes: ``crop_mask_eastern/1-0-0/x215/y075/...``. Whatever
the place, a key holds a whole object or nothing: no reader ever sees half of one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from uuid import uuid4

from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.io.fetch import Absent
from cropmask.io.localfiles import PART, folders_removed_after, part_of, sync_folder, told

__all__ = ["Absent", "Entry", "FolderStore", "MemoryStore", "Store", "StoreOptions", "open_store"]

_PROBE: Final = "cropmask-write-check"

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


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
    """Whether to read a public bucket without credentials."""
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

    def get(self, key: str) -> bytes:
        """Content of a key; :class:`Absent` if it holds nothing."""
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


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """Store of an address; nothing is touched yet.

    Parameters
    ----------
    url
        A folder (which need not exist) or ``s3://bucket/prefix``.
    options
        How to reach S3.

    Raises
    ------
    Misconfigured
        If the address is neither.
    """
    scheme, _, rest = url.rpartition("://")
    if scheme == "s3":
        from cropmask.io.s3 import S3Store  # boto3 takes a while: only where it is needed

        bucket, _, prefix = rest.partition("/")
        return S3Store(bucket, prefix, options or StoreOptions())
    if scheme not in ("", "file") or not rest.strip() or "\0" in rest:
        raise Misconfigured(
            f"results cannot be written to '{url}': give a folder or s3://bucket/prefix"
        )
    return FolderStore(Path(rest))


def checked_key(key: str) -> str:
    """The key, if it stays below its root.

    Raises
    ------
    Rejected
        If it is empty, absolute, or steps out.
    """
    parts = key.split("/")
    if not all(parts) or {".", ".."} & set(parts) or re.search(r"[\x00-\x1f\\]", key):
        raise Rejected(f"'{key}' is not a key of a store: give a relative path", reason="bad key")
    return key


class FolderStore:
    """Results below a folder; files are written whole, synced, and then given their name."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root.expanduser()))  # noqa: PTH100 (keeps symlinks)

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def uri(self, key: str) -> str:
        """Absolute path of a key."""
        return str(self._path(key))

    def exists(self, key: str) -> bool:
        """Whether the key is a file."""
        path = self._path(key)
        with told(path, "read"):
            try:
                return stat.S_ISREG(path.stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def get(self, key: str) -> bytes:
        """Content of a file."""
        path = self._path(key)
        with told(path, "read"):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise Absent(f"{path} does not exist", reason="absent") from None

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:  # noqa: ARG002
        """Write a file under a temporary name beside it, then rename it over the key."""
        path = self._path(key)
        with told(path, "written"), part_of(path, source) as part:
            part.replace(path)
            sync_folder(path.parent)

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:  # noqa: ARG002
        """Write a file under a temporary name, then link it to the key, which must be free."""
        path = self._path(key)
        with told(path, "written"), part_of(path, data) as part:
            try:
                os.link(part, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                raise Misconfigured(
                    f"{path.parent} is on a file system without hard links, which cannot tell "
                    "two writers apart: write to a local disk, NFS or s3://"
                ) from None
            sync_folder(path.parent)
            return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Files below the folder, except those being written."""
        with told(self.root, "listed"):
            keys = sorted(_walk(self.root, prefix))
        for key in keys:
            with told(self.root / key, "read"), contextlib.suppress(FileNotFoundError):
                facts = (self.root / key).stat()
                yield Entry(key, facts.st_size, f"{facts.st_mtime_ns:x}-{facts.st_size:x}")

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Names of folders."""
        folder = self._path(prefix.rstrip("/")) if prefix else self.root
        with told(folder, "listed"):
            try:
                with os.scandir(folder) as found:
                    return tuple(sorted(entry.name for entry in found if entry.is_dir()))
            except (FileNotFoundError, NotADirectoryError):
                return ()

    def remove(self, key: str) -> None:
        """Delete a file; folders stay."""
        path = self._path(key)
        with told(path, "removed"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def check_writable(self) -> None:
        """Write and link a small file; folders made for it are removed again."""
        # Named like a part, so that what a killed process leaves is removed in time.
        key = f".{_PROBE}-{uuid4().hex}{PART}"
        try:
            with folders_removed_after(self.root):
                if not self.put_if_absent(key, b"", "text/plain"):
                    raise Interrupted(f"{self.root} cannot be checked: {key} exists already")
                self.remove(key)
        except Misconfigured as error:
            raise Misconfigured(str(error).replace(f"/{key}", "")) from None


class MemoryStore:
    """Results in memory, for tests and dry runs: the laws of the others, nothing on disk."""

    def __init__(self, *, writable: bool = True) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._writable = writable

    def uri(self, key: str) -> str:
        """``memory://`` and the key."""
        return f"memory://{checked_key(key)}"

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        with self._lock:
            return checked_key(key) in self._objects

    def get(self, key: str) -> bytes:
        """Content of a key."""
        with self._lock:
            try:
                return self._objects[checked_key(key)]
            except KeyError:
                raise Absent(f"{self.uri(key)} does not exist", reason="absent") from None

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:  # noqa: ARG002
        """Keep a copy of the bytes, or of the file's bytes."""
        self._refuse()
        if isinstance(source, Path):
            with told(source, "read"):
                source = source.read_bytes()
        with self._lock:
            self._objects[checked_key(key)] = source

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:  # noqa: ARG002
        """Keep the bytes if the key is free."""
        self._refuse()
        with self._lock:
            if checked_key(key) in self._objects:
                return False
            self._objects[key] = data
            return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Objects by key."""
        with self._lock:
            found = sorted((key, data) for key, data in self._objects.items())
        for key, data in found:
            if key.startswith(prefix):
                yield Entry(key, len(data), sha256(data).hexdigest())

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """First words of keys below a prefix."""
        below = (entry.key.removeprefix(prefix) for entry in self.list(prefix))
        return tuple(sorted({key.partition("/")[0] for key in below if "/" in key}))

    def remove(self, key: str) -> None:
        """Forget a key."""
        self._refuse()
        with self._lock:
            self._objects.pop(checked_key(key), None)

    def check_writable(self) -> None:
        """Refuse if made to be read-only."""
        self._refuse()

    def _refuse(self) -> None:
        if not self._writable:
            raise Misconfigured("memory:// cannot be written: the store is read-only")


def _walk(root: Path, prefix: str) -> Iterator[str]:
    folder_of_prefix = prefix.rpartition("/")[0]
    start = root / checked_key(folder_of_prefix) if folder_of_prefix else root

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for folder, _, names in os.walk(start, onerror=refuse):
        for name in names:
            key = str(PurePosixPath(Path(folder, name).relative_to(root)))
            if key.startswith(prefix) and not name.endswith(PART):
                yield key
