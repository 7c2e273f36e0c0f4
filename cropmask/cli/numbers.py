"""Numbers on the command line, refused in one line that says what would be right."""

from __future__ import annotations

import math
from typing import Any

import click


class Whole(click.IntRange):
    """A whole number within bounds."""

    name = "number"

    def convert(
        self,
        value: Any,  # noqa: ANN401 (as click has it)
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Parse a number."""
        try:
            number: int = super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(
                f"'{value}' is no whole number {_say_bounds(self)}",
                param,
                ctx,
            )
        return number


class Number(click.FloatRange):
    """A finite number within bounds."""

    name = "number"

    def convert(
        self,
        value: Any,  # noqa: ANN401 (as click has it)
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Parse a number."""
        try:
            number: float = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            self.fail(
                f"'{value}' is no number {_say_bounds(self)}",
                param,
                ctx,
            )
        return number


def _say_bounds(bounds: Whole | Number) -> str:
    least, most, is_open = bounds.min, bounds.max, bounds.min_open
    if least is None:
        return "" if most is None else f"up to {most:,}"
    if most is None:
        return f"{'above' if is_open else 'of at least'} {least:,}"
    return f"{'above' if is_open else 'from'} {least:,} to {most:,}"
