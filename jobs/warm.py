"""Compile the kernels into the package, for every level of processors that this one can run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cropmask.core.cpulevel import find_cpu_levels
from cropmask.core.kernelcache import SHIPPED_KERNELS

WARM_UP = "from cropmask.core.warmup import warm_kernels; warm_kernels()"


def main() -> None:
    """Fill the folder that a fresh cache starts from."""
    for processor in find_cpu_levels():
        settings = {"NUMBA_CPU_NAME": processor.name, "NUMBA_CPU_FEATURES": processor.features}
        subprocess.run(
            # -I: the installed package, not one in the working folder, whose path is another key.
            [
                sys.executable,
                "-I",
                "-c",
                WARM_UP,
            ],
            env={**os.environ, **settings, "NUMBA_CACHE_DIR": str(SHIPPED_KERNELS)},
            check=True,
        )
        print(f"kernels for {processor.name} in {SHIPPED_KERNELS}")  # noqa: T201 (a command)
    size = sum(file.stat().st_size for file in Path(SHIPPED_KERNELS).rglob("*") if file.is_file())
    print(f"{size / 1e6:.1f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
