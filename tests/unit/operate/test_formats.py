"""Times and amounts as people read them: small ones are not nothing."""

from __future__ import annotations

import pytest

from cropmask.operate.formats import format_cpu_time, format_dollars, format_rate


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 CPU seconds"),
        (1, "1 CPU second"),
        (80.2, "80 CPU seconds"),
        (288, "5 CPU minutes"),
        (7199, "120 CPU minutes"),
        (12_600, "3.5 CPU hours"),
    ],
)
def test_cpu_time(seconds: float, said: str) -> None:
    assert format_cpu_time(seconds) == said


@pytest.mark.parametrize(
    ("dollars", "said"),
    [(0, "$0.00"), (0.004, "under $0.01"), (0.006, "$0.01"), (1234.5, "$1,234.50")],
)
def test_dollars(dollars: float, said: str) -> None:
    assert format_dollars(dollars) == said


@pytest.mark.parametrize(("rate", "said"), [(0.41, "0.41 tiles/h"), (260.2, "260 tiles/h")])
def test_rates(rate: float, said: str) -> None:
    assert format_rate(rate) == said
