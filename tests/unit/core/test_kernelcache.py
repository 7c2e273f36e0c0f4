from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cropmask.core.cpulevel import ARM, X86, find_cpu_levels
from cropmask.core.kernelcache import seed_kernel_cache

V3 = dict.fromkeys(X86[1].needs, True)
V4 = dict.fromkeys(X86[0].needs, True)


def filled(folder: Path) -> Path:
    (folder / "kernels").mkdir(parents=True)
    (folder / "kernels" / "walk.nbc").write_bytes(b"code")
    return folder


def test_a_fresh_cache_starts_from_the_seed(tmp_path: Path) -> None:
    seed, cache = filled(tmp_path / "seed"), tmp_path / "a" / "cache"
    assert seed_kernel_cache(seed, str(cache))
    assert (cache / "kernels" / "walk.nbc").read_bytes() == b"code"
    assert [entry.name for entry in cache.parent.iterdir()] == ["cache"]


def test_an_empty_folder_is_filled_and_a_used_one_is_left_alone(tmp_path: Path) -> None:
    seed, cache = filled(tmp_path / "seed"), tmp_path / "cache"
    cache.mkdir()
    assert seed_kernel_cache(seed, str(cache))
    (cache / "kernels" / "walk.nbc").write_bytes(b"newer")
    assert not seed_kernel_cache(seed, str(cache))
    assert (cache / "kernels" / "walk.nbc").read_bytes() == b"newer"


def test_without_a_seed_or_a_folder_nothing_happens(tmp_path: Path) -> None:
    assert not seed_kernel_cache(tmp_path / "none", str(tmp_path / "cache"))
    assert not seed_kernel_cache(filled(tmp_path / "seed"), "")
    assert not (tmp_path / "cache").exists()


def test_what_cannot_be_written_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not seed_kernel_cache(filled(tmp_path / "seed"), str(tmp_path / "file" / "cache"))


def test_levels_of_processors_include_all_that_one_can_run() -> None:
    assert find_cpu_levels("x86_64", V4 | V3) == X86
    assert find_cpu_levels("x86_64", V3) == X86[1:]
    assert find_cpu_levels("x86_64", {}) == ()
    assert find_cpu_levels("arm64", {}) == (ARM,)


def test_a_seeded_cache_spares_compiling(tmp_path: Path) -> None:
    """What one process compiled, another loads from a copy: no kernel is compiled again."""
    code = (
        "import sys; from pathlib import Path\n"
        "from cropmask.core import kernelcache\n"
        "if len(sys.argv) > 1: assert kernelcache.seed_kernel_cache(Path(sys.argv[1]))\n"
        "from cropmask.core.vote import majority_of\n"
    )
    code = (
        "import sys; from pathlib import Path\n"
        "from cropmask.core.kernelcache import seed_kernel_cache\n"
        "if len(sys.argv) > 1: assert seed_kernel_cache(Path(sys.argv[1]))\n"
        "import numpy as np\n"
        "from cropmask.core import stretch\n"
        "kernels = [k for k in vars(stretch).values() if hasattr(k, 'stats')]\n"
        "stretch.stretch(np.full((40, 40), 100, np.int16))\n"
        "hits = sum(sum(k.stats.cache_hits.values()) for k in kernels)\n"
        "misses = sum(sum(k.stats.cache_misses.values()) for k in kernels)\n"
        "print(hits, misses)\n"
    )

    def run(cache: Path, *arguments: str) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        hits, misses = done.stdout.split()
        return int(hits), int(misses)

    hits, misses = run(tmp_path / "first")
    assert hits == 0
    assert misses > 0
    assert run(tmp_path / "second", str(tmp_path / "first")) == (misses, 0)
