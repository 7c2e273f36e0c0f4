"""Figures in memory; see :class:`cropmask.machine.metrics.Metrics`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class MemoryMetrics:
    """Keeps the figures, for tests.

    Examples
    --------
    >>> metrics = MemoryMetrics()
    >>> metrics.add("TilesSucceeded", 1, region="eastern")
    >>> metrics.values
    [('TilesSucceeded', 1, 'eastern')]
    """

    values: list[tuple[str, float, str | None]] = field(default_factory=list)
    """Name, value, region."""

    def add(self, name: str, value: float, *, region: str | None) -> None:
        """Keep a value."""
        self.values.append((name, value, region))

    def flush_if_due(self) -> None:
        """Nothing to put."""

    def flush(self) -> None:
        """Nothing to put."""
