"""Results in memory; see :mod:`cropmask.store.protocol` for the laws that it keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from cropmask.errors import Misconfigured, Reason
from cropmask.remote.fetch import Absent
from cropmask.remote.localfiles import translate_os_errors
from cropmask.store.protocol import Entry, checked_key


class MemoryStore:
    """Results in memory, for tests and dry runs: the laws of the others, nothing on disk.

    Parameters
    ----------
    writable
        Whether writing works, or is refused.

    Examples
    --------
    >>> store = MemoryStore()
    >>> store.put("a/note.txt", b"maize", "text/plain")
    >>> store.get("a/note.txt")
    b'maize'
    >>> store.folders()
    ('a',)
    """

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

    def find(self, key: str) -> Entry | None:
        """Size and digest of an object."""
        with self._lock:
            data = self._objects.get(checked_key(key))
        return None if data is None else _entry(key, data)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """Content of a key."""
        with self._lock:
            try:
                data = self._objects[checked_key(key)]
            except KeyError:
                raise Absent(f"{self.uri(key)} does not exist", reason=Reason.ABSENT) from None
        return data if span is None else data[span[0] : sum(span)]

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:  # noqa: ARG002
        """Keep a copy of the bytes, or of the file's bytes."""
        self._refuse()
        if isinstance(source, Path):
            with translate_os_errors(source, "read"):
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
                yield _entry(key, data)

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


def _entry(key: str, data: bytes) -> Entry:
    return Entry(key, len(data), sha256(data).hexdigest())
