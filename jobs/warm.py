"""Compile the kernels into the package, for every level of processors that this one can run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cropmask.core.seed import SEED
from cropmask.core.target import find_targets


def main() -> None:
    """Fill the folder that a fresh cache starts from."""
    for target in find_targets():
        settings = {"NUMBA_CPU_NAME": target.name, "NUMBA_CPU_FEATURES": target.features}
        subprocess.run(
            # -I: the installed package, not one in the working folder, whose path is another key.
            [sys.executable, "-I", "-c", "from cropmask.core.warm import warm; warm()"],
            env={**os.environ, **settings, "NUMBA_CACHE_DIR": str(SEED)},
            check=True,
        )
        print(f"kernels for {target.name} in {SEED}")  # noqa: T201 (a command)
    size = sum(file.stat().st_size for file in Path(SEED).rglob("*") if file.is_file())
    print(f"{size / 1e6:.1f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
