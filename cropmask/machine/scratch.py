"""Folders for temporary files that do not outlive whoever needed them, however it died."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cropmask.errors import Interrupted, Reason

_PREFIX: Final = "cropmask-worker-"
_LOCK: Final = ".lock"


@contextlib.contextmanager
def open_scratch(base: Path | None = None) -> Iterator[Path]:
    """A folder of this process, after those of processes that were killed are removed.

    Raises Interrupted if it cannot be made.
    """
    base = base or Path(tempfile.gettempdir())
    _remove_abandoned(base)
    try:
        folder, lock = _make_locked(base)
    except OSError as error:
        raise _no_room(base, error) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        _remove_abandoned(base)  # what an orphan still wrote to when we began


def _make_locked(base: Path) -> tuple[Path, int]:
    """A new folder and its lock, which ends with this process, even if it is killed."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)  # another process that starts took it for abandoned before it was locked


@contextlib.contextmanager
def open_folder(scratch: Path) -> Iterator[Path]:
    """A folder of one attempt; removed with everything in it.

    Raises Interrupted if it cannot be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="attempt-", dir=scratch))
    except OSError as error:
        raise _no_room(scratch, error) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _no_room(folder: Path, error: OSError) -> Interrupted:
    return Interrupted(
        f"no temporary folder can be made in {folder} ({error.strerror}): free some space, or "
        "set TMPDIR to another disk",
        reason=Reason.DISK,
    )


def _remove_abandoned(base: Path) -> None:
    """Remove folders whose process holds their lock no more."""
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_lock_last(folder)
            finally:
                os.close(lock)


def _remove_lock_last(folder: Path) -> None:
    """Remove a folder; one in which an orphan still writes stays known by its lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _LOCK:
            path.unlink(missing_ok=True)
    if [path.name for path in folder.iterdir()] == [_LOCK]:
        shutil.rmtree(folder, ignore_errors=True)
