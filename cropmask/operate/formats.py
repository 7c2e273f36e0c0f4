"""Times and amounts as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from cropmask.errors import list_some


def format_duration(seconds: float) -> str:
    """``42 s``, ``7 min``, ``3 h 05 min`` or ``2 d 04 h``."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"


def format_moment(moment: datetime) -> str:
    """``2019-07-04 08:15 UTC``."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def format_bytes(number: float) -> str:
    """``512 B``, ``3.1 kB``, ``12 MB``, ``1.7 GB``; powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return (
                f"{number:.0f} {unit}" if number >= 9.95 or unit == "B" else f"{number:.1f} {unit}"
            )
        number /= 1000
    return f"{number:,.1f} GB"


def format_count(number: int, thing: str) -> str:
    """``1 tile``, ``4,000 tiles``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def format_left_out(tiles: Mapping[str, str]) -> str:
    """``1 tile: x215y075 (corrupt input)``; some tiles of more, and the reason of each."""
    named = [f"{tile} ({reason})" for tile, reason in tiles.items()]
    return f"{format_count(len(tiles), 'tile')}: {list_some(named, 4)}"


def format_cpu_time(seconds: float) -> str:
    """``40 CPU seconds``, ``12 CPU minutes`` or ``3.5 CPU hours``."""
    if seconds < 99.5:
        return format_count(round(seconds), "CPU second")
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} CPU minutes"
    return f"{seconds / 3600:,.1f} CPU hours"


def format_dollars(dollars: float) -> str:
    """``$0.17``; ``under $0.01`` where there is something that cents do not show."""
    return "under $0.01" if 0 < dollars < 0.005 else f"${dollars:,.2f}"


def format_rate(per_hour: float) -> str:
    """``260 tiles/h`` or ``0.4 tiles/h``."""
    return f"{per_hour:,.0f} tiles/h" if per_hour >= 9.95 else f"{per_hour:.2g} tiles/h"
