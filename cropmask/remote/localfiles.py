"""Files of ours on a local disk: written whole or not at all, and failures told in one line."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

from cropmask.errors import Interrupted, Misconfigured, Reason

PART: Final = ".cropmask-part"
"""Suffix of files being written; a killed process may leave one, which is no key."""
_STALE_SECONDS: Final = 86_400

_REFUSED: Final = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,  # a file where a folder is to be
        errno.EPERM,
        errno.EROFS,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def translate_os_errors(path: Path, verb: str) -> Iterator[None]:
    """Turn an OSError into one line: refused is Misconfigured, everything else Interrupted."""
    try:
        yield
    except OSError as error:
        if (full := find_full_disk(error, path, verb)) is not None:
            raise full from None
        why = error.strerror or str(error)
        if error.errno in _REFUSED:
            advice = "check it" if verb == "read" else "choose another folder"
            raise Misconfigured(
                f"{path} cannot be {verb}: {why}: {advice} or change its permissions"
            ) from None
        raise Interrupted(f"{path} cannot be {verb}: {why}", reason=Reason.DISK) from None


def find_full_disk(
    error: OSError, path: Path | None = None, verb: str = "written"
) -> Interrupted | None:
    """The error of ours that a full disk is, in one line; None if it is another failure."""
    if error.errno not in _FULL:
        return None
    return Interrupted(
        f"{path or error.filename or 'a file'} cannot be {verb}: {error.strerror}: free "
        "some space and run again",
        reason=Reason.DISK_FULL,
    )


@contextlib.contextmanager
def part_of(path: Path, source: bytes | Path) -> Iterator[Path]:
    """A whole and synced copy of the source beside ``path``; gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    part = path.with_name(f".{uuid4().hex}{PART}")
    try:
        with part.open("xb") as file:
            if isinstance(source, bytes):
                file.write(source)
            else:
                with translate_os_errors(source, "read"):
                    original = source.open("rb")
                with original:
                    shutil.copyfileobj(original, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


def remove_stale(folder: Path) -> None:
    """Remove parts that writers left which were killed a day ago or more."""
    for part in folder.glob(f".*{PART}"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()


def sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut; file systems that cannot are left alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folders_removed_after(root: Path) -> Iterator[None]:
    """Remove the folders again that are made down to ``root`` meanwhile, if nothing is in them."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
