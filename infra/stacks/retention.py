"""How long logs are kept, in the steps that CloudWatch knows."""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_logs as logs

_STEPS: Final = {
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
}


def retention_of(days: int) -> logs.RetentionDays:
    """CloudWatch's step of a number of days.

    Raises
    ------
    ValueError
        If CloudWatch has no such step.
    """
    if days not in _STEPS:
        raise ValueError(f"logs cannot be kept for {days} days: choose one of {sorted(_STEPS)}")
    return _STEPS[days]
