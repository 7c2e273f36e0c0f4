"""Prices and what they make of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.errors import Misconfigured
from cropmask.site.price import DEFAULT_DOLLARS, Price, occupied_seconds
from cropmask.site.site import open_site


def test_a_price_says_where_it_comes_from() -> None:
    assert Price.parse(None) == Price(DEFAULT_DOLLARS, is_default=True)
    assert str(Price.parse(None)) == (
        "$0.05 per CPU hour (default of 2026-06-17, about AWS on demand; set "
        "CROPMASK_CPU_HOUR_PRICE)"
    )
    assert str(Price.parse("0.02")) == "$0.02 per CPU hour (CROPMASK_CPU_HOUR_PRICE)"


def test_a_price_may_say_when_it_was_looked_up_and_of_what() -> None:
    price = Price.parse("0.034, 2026-11-20, spot c7i, af-south-1")
    assert (price.dollars, price.date, price.source) == (
        0.034,
        "2026-11-20",
        "spot c7i, af-south-1",
    )
    assert str(price) == "$0.034 per CPU hour (2026-11-20, spot c7i, af-south-1)"
    assert str(Price.parse("0.034,2026-11-20")) == "$0.034 per CPU hour (2026-11-20)"


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-1", "5 cents", "", "0.03, spot", "0.03, 2026-13-01, spot"]
)
def test_what_is_no_price_is_one_line(text: str) -> None:
    with pytest.raises(Misconfigured, match="CROPMASK_CPU_HOUR_PRICE"):
        Price.parse(text)


def test_the_site_reads_the_price() -> None:
    assert open_site({"CROPMASK_CPU_HOUR_PRICE": "0.5"}).price.dollars == 0.5
    assert open_site({}).price.is_default


@given(st.floats(0, 1e6), st.integers(1, 64), st.floats(0, 10))
def test_cost_grows_with_time_and_threads(seconds: float, threads: int, dollars: float) -> None:
    price = Price(dollars, is_default=False)
    one = price.of(occupied_seconds(seconds, 1))
    assert price.of(occupied_seconds(seconds, threads)) == pytest.approx(threads * one)


def test_an_attempt_that_says_nothing_counts_with_the_cpus_of_a_worker() -> None:
    assert occupied_seconds(10, None) == 20
    assert occupied_seconds(None, None) == 0
