"""Arithmetic on arrays: features, forests, segmentation, votes, and the map of a whole tile.

Imports numpy and numba, the errors and the product's names, and nothing else.
No file, no address and no document: arrays come in, arrays go out.
"""

from cropmask.core.cpulevel import set_cpu_level
from cropmask.core.kernelcache import seed_kernel_cache

set_cpu_level()  # before anything is compiled
seed_kernel_cache()
