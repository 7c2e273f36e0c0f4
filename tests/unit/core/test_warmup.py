"""Warming compiles what a tile needs: afterwards neither kind of model compiles anything."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY

PROGRAM = '''
import sys, threading
import numpy as np
from numba.core.dispatcher import Dispatcher
from cropmask.core.mapper import map_crops
from cropmask.core.warmup import warm_kernels
from cropmask.modelfile.model import load_forest
from cropmask.region.region import load_region
from cropmask.core.strips import Half, Strip
from tests.scenes import SceneLayers, make_scene

class Layers(SceneLayers):
    """As files give them: each strip in memory of its own."""

    def strips(self, rows):
        for s in super().strips(rows):
            halves = [Half(*map(np.ascontiguousarray, (h.reflectance, h.deviation)))
                      for h in (s.first, s.second)]
            yield Strip(s.row, *halves, *map(np.ascontiguousarray, (s.rain, s.slope)))

def compiled():
    modules = [m for m in list(sys.modules.values()) if m.__name__.startswith("cropmask.core")]
    kernels = {v for m in modules for v in vars(m).values() if isinstance(v, Dispatcher)}
    return {str(kernel): len(kernel.signatures) for kernel in kernels}

warm_kernels()
before = compiled()
assert threading.active_count() == 1
assert sum(before.values()) > 15
for recipe in ("forest", "boosted", "robust"):
    model = load_region("eastern").model(recipe)
    scene = make_scene()
    forest = load_forest(model.file, model.sha256)
    map_crops(Layers(scene.whole, scene.cause), forest, need_both=True, rows=32)
assert compiled() == before, set(compiled().items()) - set(before.items())
'''


def test_nothing_is_left_to_compile_after_warming() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
