"""Arithmetic on arrays: features, forests, segmentation, votes, and the map of a whole tile.

Imports numpy and numba, the errors and the product's names, and nothing else.
No file, no address and no document: arrays come in, arrays go out.
"""

from cropmask.core.seed import seed_cache
from cropmask.core.target import set_target

set_target()  # before anything is compiled
seed_cache()
