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
    assert "default" in str(Price.parse(None))
    assert str(Price.parse("0.02")) == "$0.02 per CPU hour (CROPMASK_CPU_HOUR_PRICE)"


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "5 cents", ""])
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
