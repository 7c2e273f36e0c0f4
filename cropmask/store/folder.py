"""Results in a folder of a local disk, or of one that is mounted like it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

from cropmask.errors import Interrupted, Misconfigured, Reason
from cropmask.remote.fetch import Absent
from cropmask.remote.localfiles import (
    PART,
    folders_removed_after,
    part_of,
    sync_folder,
    translate_os_errors,
)
from cropmask.store.protocol import Entry, checked_key

_PROBE: Final = "cropmask-write-check"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system without hard links says when it is asked for one."""


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
        with translate_os_errors(path, "read"):
            try:
                return stat.S_ISREG(path.stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def get(self, key: str) -> bytes:
        """Content of a file."""
        path = self._path(key)
        with translate_os_errors(path, "read"):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise Absent(f"{path} does not exist", reason=Reason.ABSENT) from None

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:  # noqa: ARG002
        """Write a file under a temporary name beside it, then rename it over the key."""
        path = self._path(key)
        with translate_os_errors(path, "written"), part_of(path, source) as part:
            part.replace(path)
            sync_folder(path.parent)

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:  # noqa: ARG002
        """Write a file under a temporary name, then link it to the key, which must be free."""
        path = self._path(key)
        with translate_os_errors(path, "written"), part_of(path, data) as part:
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
        with translate_os_errors(self.root, "listed"):
            keys = sorted(_walk(self.root, prefix))
        for key in keys:
            with (
                translate_os_errors(self.root / key, "read"),
                contextlib.suppress(FileNotFoundError),
            ):
                facts = os.stat(f"{self.root}/{key}")  # noqa: PTH116 (there may be many)
                yield Entry(key, facts.st_size, f"{facts.st_mtime_ns:x}-{facts.st_size:x}")

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Names of folders."""
        folder = self._path(prefix.rstrip("/")) if prefix else self.root
        with translate_os_errors(folder, "listed"):
            try:
                with os.scandir(folder) as found:
                    return tuple(sorted(entry.name for entry in found if entry.is_dir()))
            except (FileNotFoundError, NotADirectoryError):
                return ()

    def remove(self, key: str) -> None:
        """Delete a file; folders stay."""
        path = self._path(key)
        with (
            translate_os_errors(path, "removed"),
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
        ):
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


def _walk(root: Path, prefix: str) -> Iterator[str]:
    folder_of_prefix = prefix.rpartition("/")[0]
    start = root / checked_key(folder_of_prefix) if folder_of_prefix else root

    def skip_absent(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for folder, _, names in os.walk(start, onerror=skip_absent):
        inside = Path(folder).relative_to(root).as_posix()
        for name in names:
            key = name if inside == "." else f"{inside}/{name}"
            if key.startswith(prefix) and not name.endswith(PART):
                yield key
