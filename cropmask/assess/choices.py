"""What users choose of intervals and districts; loads nothing, so that help is quick."""

from __future__ import annotations

from typing import Final, Literal

IntervalMethod = Literal["mover", "wilson", "normal"]
"""How limits are found: ``mover`` puts the strata's Wilson limits together, with the correction
for few successes or failures; ``wilson`` does so without the correction; ``normal`` adds and
subtracts standard errors."""
METHODS: Final[tuple[IntervalMethod, ...]] = ("mover", "wilson", "normal")
LEVEL: Final = 0.95
"""Confidence of an interval where nobody says another."""
MIN_POINTS: Final = 20
"""Points, or plots, that a district needs for a number."""
