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
from cropmask.store.protocol import Entry, Store, checked_key

_PROBE: Final = "cropmask-write-check"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system without hard links says when it is asked for one."""
_NOTHING: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""What a path says that leads to no file."""


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
        return self.find(key) is not None

    def find(self, key: str) -> Entry | None:
        """Size and time of a file, as its etag; devices, pipes and folders are none."""
        path = self._path(key)
        with translate_os_errors(path, "read"), _AbsentSuppressed():
            return _make_entry(key, self._real(path))
        return None

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """Content of a file."""
        path = self._path(key)
        with translate_os_errors(path, "read"), _AbsentSuppressed():
            real = self._real(path)
            if _make_entry(key, real) is not None:
                # A pipe that took its place meanwhile must not be waited for.
                with open(real, "rb", opener=_open_at_once) as file:
                    file.seek(span[0] if span else 0)
                    return file.read(span[1] if span else -1)
        raise Absent(f"{path} does not exist", reason=Reason.ABSENT)

    def _real(self, path: Path) -> str:
        """Where a file is opened."""
        return str(path)

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
            with translate_os_errors(self.root / key, "read"), _AbsentSuppressed():
                entry = self._listed(key)
                if entry is not None:
                    yield entry

    def _listed(self, key: str) -> Entry | None:
        """Entry of a key that was found below the root; there may be many."""
        return _make_entry(key, f"{self.root}/{key}")

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Names of folders."""
        folder = self._path(prefix.rstrip("/")) if prefix else self.root
        with translate_os_errors(folder, "listed"):
            try:
                with os.scandir(self._real(folder)) as found:
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


class ConfinedFolder(FolderStore):
    """A folder for readers that nobody knows: only what is really below it is there.

    Links that lead out of the folder hold nothing.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._real_root = os.path.realpath(self.root)

    def _real(self, path: Path) -> str:
        real = os.path.realpath(path, strict=True)
        if os.path.commonpath([real, self._real_root]) != self._real_root:
            raise FileNotFoundError(errno.ENOENT, "leads out of the folder")
        return real

    def _listed(self, key: str) -> Entry | None:
        path = f"{self.root}/{key}"
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        return self.find(key) if is_link else _make_entry(key, path)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Files below the folder."""
        folder = prefix.rpartition("/")[0]
        return super().list(prefix) if not folder or self._holds(folder) else iter(())

    def _holds(self, folder: str) -> bool:
        path = self._path(folder)
        with translate_os_errors(path, "listed"), _AbsentSuppressed():
            return bool(self._real(path))
        return False


def confine(store: Store) -> Store:
    """The same store for readers that nobody knows."""
    return ConfinedFolder(store.root) if isinstance(store, FolderStore) else store


def _make_entry(key: str, path: str) -> Entry | None:
    """What a listing says of a path; None if it is no file."""
    facts = os.stat(path)  # noqa: PTH116 (there may be many)
    if not stat.S_ISREG(facts.st_mode):
        return None
    return Entry(key, facts.st_size, f"{facts.st_mtime_ns:x}-{facts.st_size:x}")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


class _AbsentSuppressed:
    """Goes on where a path leads to nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        return isinstance(error, OSError) and error.errno in _NOTHING


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
