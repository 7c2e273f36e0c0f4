"""Seeding numba's cache of compiled kernels, where a container image brings them.

An image's files cannot be written, and numba reads only a cache that it can write: the kernels of
the image are copied, once, to the folder that numba is told to use.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import numba.core.config

_numba: Any = numba.core.config  # its settings are made at run time

SHIPPED_KERNELS: Final = Path(__file__).resolve().parents[1] / "_data" / "kernels"
"""Where the build of an image puts compiled kernels."""


def seed_kernel_cache(seed: Path = SHIPPED_KERNELS, cache: str | None = None) -> bool:
    """Copy the kernels in ``seed`` into numba's folder, if that is named and empty; whether it was.

    ``cache`` is what ``NUMBA_CACHE_DIR`` names, unless given. What cannot be written is left for
    numba to complain about.
    """
    named = _numba.CACHE_DIR if cache is None else cache
    if not named or not seed.is_dir() or Path(named) == seed:
        return False
    target = Path(named)
    if target.is_dir() and any(target.iterdir()):
        return False
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside, then renamed: another process sees the whole cache or none.
        beside = Path(tempfile.mkdtemp(prefix=".kernels-", dir=target.parent))
        try:
            shutil.copytree(seed, beside, dirs_exist_ok=True)
            beside.replace(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return True
    return False
