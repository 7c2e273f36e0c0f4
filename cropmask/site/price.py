"""What computing costs: CPU hours at a price."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from cropmask.contract import ENV_CPU_HOUR_PRICE, WORKER_CPUS
from cropmask.errors import Misconfigured

DEFAULT_DOLLARS: Final = 0.05
"""About what an hour of one general-purpose AWS vCPU with 4 GB costs on demand; spot is less."""


@dataclass(frozen=True, slots=True)
class Price:
    """Price of an hour of one CPU."""

    dollars: float = DEFAULT_DOLLARS
    is_default: bool = True
    """Whether nobody named one."""
    setting: str = field(default=ENV_CPU_HOUR_PRICE, compare=False)
    """Where it is named."""

    @classmethod
    def parse(cls, text: str | None, setting: str = ENV_CPU_HOUR_PRICE) -> Price:
        """Price of a configured text, the default without one; Misconfigured if it is no price."""
        if text is None:
            return cls()
        try:
            dollars = float(text)
        except ValueError:
            dollars = math.nan
        if not 0 <= dollars < math.inf:
            raise Misconfigured(
                f"{setting} is '{text}': it must be dollars for an hour of one CPU, "
                f"such as {DEFAULT_DOLLARS}"
            )
        return cls(dollars, is_default=False, setting=setting)

    def of(self, cpu_seconds: float) -> float:
        """Dollars for so many seconds of one CPU."""
        return cpu_seconds / 3600 * self.dollars

    @property
    def short(self) -> str:
        """Dollars, and whether anybody said so."""
        return f"${self.dollars:g}{' (default price)' if self.is_default else ''}"

    def __str__(self) -> str:
        source = f"default; set {self.setting}" if self.is_default else self.setting
        return f"${self.dollars:g} per CPU hour ({source})"


def occupied_seconds(seconds: float | None, threads: int | None) -> float:
    """CPU seconds that an attempt kept from others: its wall time on each of its CPUs.

    An attempt that died before it could say how many it had counts with those of a worker.
    """
    return (seconds or 0.0) * (threads or WORKER_CPUS)
