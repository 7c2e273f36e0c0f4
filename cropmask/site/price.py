"""What computing costs: CPU hours at a price, which says when and where it was looked up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from cropmask.contract import ENV_CPU_HOUR_PRICE, WORKER_CPUS
from cropmask.errors import Misconfigured, one_line

DEFAULT_DOLLARS: Final = 0.05
"""Of an hour of one CPU, if nobody names a price."""
DEFAULT_DATE: Final = "2026-06-17"
"""When it was looked up."""
DEFAULT_SOURCE: Final = "about AWS on demand"
"""Of a general-purpose type with 4 GB a CPU, in us-east-1; spot is less."""
_EXAMPLE: Final = "0.034, 2026-11-20, spot c7i in af-south-1"


@dataclass(frozen=True, slots=True)
class Price:
    """Price of an hour of one CPU."""

    dollars: float = DEFAULT_DOLLARS
    is_default: bool = True
    """Whether nobody named one."""
    setting: str = field(default=ENV_CPU_HOUR_PRICE, compare=False)
    """Where it is named."""
    date: str | None = None
    """When it was looked up, as 2026-11-20; None if that was not said."""
    source: str | None = None
    """Of what, and where; None if that was not said."""

    @classmethod
    def parse(cls, text: str | None, setting: str = ENV_CPU_HOUR_PRICE) -> Price:
        """Price of a configured text, the default without one.

        The text is dollars, and where wanted the day on which they were looked up and of what::

            0.034, 2026-11-20, spot c7i in af-south-1

        Raises Misconfigured if it is no price.
        """
        if text is None:
            return cls()
        amount, _, rest = text.partition(",")
        day, _, source = rest.partition(",")
        try:
            dollars = float(amount)
            looked_up = date.fromisoformat(day.strip()).isoformat() if rest else None
        except ValueError:
            dollars, looked_up = math.nan, None
        if not 0 <= dollars < math.inf:
            raise Misconfigured(
                f"{setting} is '{text}': it must be dollars for an hour of one CPU, "
                f"such as {DEFAULT_DOLLARS}, or with date and source '{_EXAMPLE}'"
            )
        said = one_line(source) or None
        return cls(dollars, is_default=False, setting=setting, date=looked_up, source=said)

    def of(self, cpu_seconds: float) -> float:
        """Dollars for so many seconds of one CPU."""
        return cpu_seconds / 3600 * self.dollars

    @property
    def short(self) -> str:
        """Dollars, and whether anybody said so."""
        return f"${self.dollars:g}{' (default price)' if self.is_default else ''}"

    def __str__(self) -> str:
        if self.is_default:
            said = f"default of {DEFAULT_DATE}, {DEFAULT_SOURCE}; set {self.setting}"
        else:
            said = ", ".join(filter(None, (self.date, self.source)))
        return f"${self.dollars:g} per CPU hour ({said or self.setting})"


def occupied_seconds(seconds: float | None, threads: int | None) -> float:
    """CPU seconds that an attempt kept from others: its wall time on each of its CPUs.

    An attempt that died before it could say how many it had counts with those of a worker.
    """
    return (seconds or 0.0) * (threads or WORKER_CPUS)
