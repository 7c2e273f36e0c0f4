"""How a run stays below a memory limit: planned before it begins, watched while it runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from odc.geo.geobox import GeoBox

from cropmask.core.mapper import DEFAULT_ROWS
from cropmask.errors import Misconfigured, OutOfMemory, Reason
from cropmask.machine.limits import find_anonymous_memory
from cropmask.machine.stages import Progress, Stages, tell_nobody
from cropmask.product import DISSIMILARITY
from cropmask.tile.extras import cell_pixels

TILE_BYTES: Final = 13
"""Bytes per pixel of the arrays of a whole tile, at most."""
WORKSPACE_BYTES: Final = 4
"""Bytes per pixel of the largest of them, which may be in a file."""
ROW_BYTES: Final = 220
"""Bytes per pixel of the strips that are in memory at the same time."""
BASE_BYTES: Final = 250_000_000
"""Memory of the process before it reads a pixel: libraries, model, caches."""
LIKENESS_BYTES: Final = 50_000_000
"""Memory of training samples that are searched, and of the dissimilarity of all cells."""
CELL_BYTES: Final = 400
"""Bytes per cell of the pixels whose features are computed at the same time."""
MIN_ROWS: Final = 16
"""Lowest strips worth computing."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How a run stays below a memory limit."""

    rows: int
    """Rows of a strip."""
    on_disk: bool
    """Whether the largest array of the tile is kept in a temporary file."""


def plan_memory(box: GeoBox, memory: int | None, bands: Collection[str] = ()) -> Budget:
    """Rows of strips, and whether to use a file, so that a tile stays below a memory limit.

    ``bands`` are extra ones. Those that follow the probability need no more: each is written and
    forgotten before the mask is made, which takes as much.

    Raises Misconfigured if even the smallest strips with a file need more.
    """
    if memory is None:
        return Budget(DEFAULT_ROWS, on_disk=False)
    pixels, width = box.shape[0] * box.shape[1], box.shape[1]
    base, row_bytes = BASE_BYTES, ROW_BYTES
    if DISSIMILARITY.name in bands:
        base += LIKENESS_BYTES
        row_bytes += -(-CELL_BYTES // cell_pixels(round(abs(box.resolution.x))) ** 2)
    for on_disk in (False, True):
        whole = base + (TILE_BYTES - WORKSPACE_BYTES * on_disk) * pixels
        rows = (memory - whole) // (row_bytes * width)
        if rows >= MIN_ROWS:
            return Budget(int(min(rows, DEFAULT_ROWS)), on_disk)
    least = (whole + MIN_ROWS * row_bytes * width) / 1e9
    raise Misconfigured(
        f"{memory / 1e9:.1f} GB of memory is too little for {box.shape[0]} x {width} pixels: "
        f"give --memory {least + 0.05:.1f}GB or more, or a coarser --resolution",
        reason=Reason.TOO_LITTLE_MEMORY,
    )


def guard_memory(limit: int | None) -> None:
    """End a run that grew over its limit, before the kernel ends the whole container.

    Raises OutOfMemory if this process has more bytes that no file backs.
    """
    used = find_anonymous_memory()
    if limit is not None and used > limit:
        raise OutOfMemory(
            f"{used / 1e9:.2f} GB of memory in use while the limit is "
            f"{limit / 1e9:.2f} GB: give --memory more, or fewer --threads"
        )


def open_stages(memory: int | None, progress: Progress = tell_nobody) -> Stages:
    """Stages of a run that stays below a memory limit in bytes."""
    return Stages(progress, partial(guard_memory, memory))
