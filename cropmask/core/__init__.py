"""Pixels: arrays in, arrays out; numpy and numba only."""

from cropmask.core.seed import seed_cache
from cropmask.core.target import set_target

set_target()  # before anything is compiled
seed_cache()
