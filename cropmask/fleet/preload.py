"""What the process loads, once, that the children of a worker are forked from.

No thread outlives it, so what is forked from it is whole.
"""

from __future__ import annotations

import contextlib

from cropmask.core.warmup import warm_kernels

# What cannot be compiled here fails in an attempt, where somebody hears of it.
with contextlib.suppress(Exception):
    warm_kernels()
