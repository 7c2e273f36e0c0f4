"""Words of reports: the same ones in every language, and numbers as people there write them."""

from __future__ import annotations

import math
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.assess.language import digits_of, languages, load_language
from cropmask.region.region import region_names

ENGLISH, FRENCH = load_language("en"), load_language("fr")


def names_in(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_english_and_french_are_there() -> None:
    assert languages()[0] == "en"
    assert {"en", "fr"} <= set(languages())
    with pytest.raises(KeyError):
        load_language("../en")


@pytest.mark.parametrize("code", languages())
def test_every_language_says_the_same_with_the_same_values(code: str) -> None:
    words = load_language(code).words
    assert words.keys() == ENGLISH.words.keys()
    for name, text in words.items():
        assert names_in(text) <= names_in(ENGLISH.words[name]), name
        assert text == text.strip() or name == "number.thousands", name
    assert {f"regions.{name}" for name in region_names()} <= words.keys()


def test_numbers_have_the_marks_of_a_language() -> None:
    assert ENGLISH.number(1234567.89) == "1,234,568"
    assert ENGLISH.number(1234567.89, 1) == "1,234,567.9"
    assert FRENCH.number(1234567.89, 1) == "1\u202f234\u202f567,9"
    assert FRENCH.number(1234567.89, -3) == "1\u202f235\u202f000"
    assert ENGLISH.percent(0.12345) == "12.3 %"
    assert FRENCH.percent(0.12345) == "12,3\u00a0%"
    assert ENGLISH.number(-0.2) == "0"


@given(st.one_of(st.just(math.nan), st.just(math.inf), st.just(-math.inf)))
def test_what_is_no_number_is_a_word(value: float) -> None:
    assert ENGLISH.number(value) == ENGLISH.percent(value) == "not known"


@given(st.floats(-1e12, 1e12), st.integers(-3, 3))
def test_a_number_can_be_read_back(value: float, digits: int) -> None:
    for language in (ENGLISH, FRENCH):
        text = language.number(value, digits)
        back = text.replace(language.words["number.thousands"], "")
        back = back.replace(language.words["number.decimal"], ".")
        assert float(back) == pytest.approx(round(value, digits), abs=1e-9)
        assert re.fullmatch(r"-?\d+(\.\d+)?", back)


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e7))
def test_limits_keep_two_digits_of_the_half_width(low: float, width: float) -> None:
    high = low + width
    digits = digits_of(low, high)
    assert digits <= 1
    half = (high - low) / 2
    if half > 1:
        assert 10 <= half * 10.0**digits < 100 * (1 + 1e-9)


def test_the_golden_example_is_rounded_to_hundreds() -> None:
    assert digits_of(21158 - 6158, 21158 + 6158) == -2
    assert digits_of(5.0, 5.0) == digits_of(math.nan, math.nan) == 0
