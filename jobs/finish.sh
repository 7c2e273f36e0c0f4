#!/bin/sh
# Last step of building /app: what nobody runs goes, times become whole, kernels are compiled.
set -eu

# Tests of libraries, and stubs for compilers that the image does not have.
find /app/lib -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find /app/lib -name '*.pyi' -delete
rm -rf /app/lib/python3*/site-packages/numpy/_core/include

# numba's cache knows a source by its time, and an image keeps whole seconds only.
find /app -exec touch -h -d '2000-01-01 00:00:00 UTC' {} +
/app/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/lib || true
/app/bin/python jobs/warm.py
