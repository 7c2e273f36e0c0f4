"""Which processor numba compiles for: a level that many CPUs share, so that its cache travels.

By default numba ties compiled code to the exact model of the processor, and an image that was
warmed on one machine compiles again on the next. The levels of x86-64 lose nothing that counts
here; every level gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from platform import machine
from typing import Any, Final

import llvmlite.binding as llvm
import numba.core.config

_numba: Any = numba.core.config  # its settings are made at run time


@dataclass(frozen=True, slots=True)
class CpuLevel:
    """A level of processors as LLVM knows it."""

    name: str
    needs: tuple[str, ...]
    """Features that a processor must have."""
    tuning: str = ""
    """How to use them."""

    @property
    def features(self) -> str:
        """Features in LLVM's notation."""
        return ",".join(
            [f"+{name}" for name in self.needs] + ([self.tuning] if self.tuning else [])
        )


_V3: Final = (
    *("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16", "avx", "avx2"),
    *("bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
)
_V4: Final = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

X86: Final = (
    # One comparison of 64 pixels wants the whole width, which LLVM would not use by itself.
    CpuLevel("x86-64-v4", _V3 + _V4, "-prefer-256-bit"),
    CpuLevel("x86-64-v3", _V3),
)
"""Best first: processors with AVX-512, then all since about 2013 (AMD 2015)."""

ARM: Final = CpuLevel("generic", ("neon",))


def choose_cpu_level(architecture: str, host: dict[str, bool]) -> CpuLevel | None:
    """Best level of a processor with these features; None to compile for exactly this one.

    ``architecture`` is what ``platform.machine`` names it.
    """
    if architecture in ("aarch64", "arm64"):
        return ARM
    if architecture in ("x86_64", "AMD64"):
        for level in X86:
            if all(host.get(feature, False) for feature in level.needs):
                return level
    return None


def find_cpu_levels(
    architecture: str | None = None, host: dict[str, bool] | None = None
) -> tuple[CpuLevel, ...]:
    """Every level that a processor can run, best first; default this processor."""
    architecture = architecture or machine()
    host = dict(llvm.get_host_cpu_features()) if host is None else host
    best = choose_cpu_level(architecture, host)
    if best is None or best is ARM:
        return () if best is None else (best,)
    return X86[X86.index(best) :]


def set_cpu_level() -> CpuLevel | None:
    """Tell numba to compile for this processor's level, unless its own settings name one."""
    level = choose_cpu_level(machine(), dict(llvm.get_host_cpu_features()))
    if level is not None and _numba.CPU_NAME is None and _numba.CPU_FEATURES is None:
        _numba.CPU_NAME, _numba.CPU_FEATURES = level.name, level.features
    return level


def has_feature(name: str) -> bool:
    """Whether the processors that numba compiles for are known to have a feature of LLVM's."""
    return f"+{name}" in (_numba.CPU_FEATURES or "").split(",")
