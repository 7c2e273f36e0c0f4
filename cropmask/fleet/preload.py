"""What the forkserver loads, once: children of a worker are forked from it.

No thread outlives the loading, so what is forked from it is whole.
"""

from __future__ import annotations

import contextlib

import cropmask.fleet.compute
import cropmask.sources.api
import cropmask.store.s3  # noqa: F401
from cropmask.core.warmup import warm_kernels

# What cannot be compiled here fails in an attempt, where somebody hears of it.
with contextlib.suppress(Exception):
    warm_kernels()
