"""The processor's level, and that every level gives the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cropmask.core.cpulevel import ARM, X86, choose_cpu_level

PROGRAM = """
import hashlib
from dataclasses import replace
import numba
from cropmask.core.formulas import NAMES
from cropmask.core.mapper import map_crops
from cropmask.modelfile.model import load_forest
from cropmask.region.region import load_region
from tests.scenes import make_scene
print(numba.config.CPU_NAME)
models = load_region("indian_ocean").models
forests = [load_forest(models[recipe].file) for recipe in ("forest", "boosted", "robust")]
texts = tuple(f"sum({name},nd({name},LAI_S2),ratio(LAI_S1,slope))" for name in NAMES[:33])
for forest in (*forests, replace(forests[1], features=texts)):
    result, _ = map_crops(make_scene(), forest)
    bands = (result.mask, result.prob, result.filtered)
    print(hashlib.sha256(b"".join(band.tobytes() for band in bands)).hexdigest())
"""


def test_the_best_level_of_a_processor() -> None:
    v4, v3 = X86
    everything = dict.fromkeys(v4.needs, True)
    assert choose_cpu_level("x86_64", everything) == v4
    assert choose_cpu_level("x86_64", {**everything, "avx512bw": False}) == v3
    assert choose_cpu_level("x86_64", {**everything, "avx2": False}) is None
    assert choose_cpu_level("aarch64", {}) == ARM
    assert choose_cpu_level("riscv64", {}) is None


def run(environ: dict[str, str]) -> list[str]:
    """Bands' digests in a process of its own; the usual cache keeps the kernels of each level."""
    repository = Path(__file__).parents[3]
    environ = {**os.environ, **environ}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=repository, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.slow
def test_every_level_gives_the_same_bits() -> None:
    chosen = run({})
    plain = run({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""})
    assert plain[0] == "generic"
    assert chosen[0] != "generic"
    assert chosen[1:] == plain[1:]
