"""Words of reports: a language is one file in the folder beside this, and all words are there."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import floor, isfinite, log10
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "languages"
"""One file a language, named by its ISO 639 code."""
ENGLISH: Final = "en"


@dataclass(frozen=True, slots=True)
class Language:
    """Words, and how numbers are written."""

    code: str
    """ISO 639-1, as ``lang`` of a page."""
    words: Mapping[str, str]
    """Texts by table and name, such as ``page.title``, with names in braces to fill in."""

    def say(self, name: str, **values: object) -> str:
        """A text with its values filled in; KeyError if there is no such text."""
        return self.words[name].format(**values)

    def find(self, name: str, default: str) -> str:
        """A text that a language may have, such as the title of a region."""
        return self.words.get(name, default)

    def number(self, value: float, digits: int = 0) -> str:
        """A number with the language's separators; rounded to tens for ``digits`` of -1."""
        if not isfinite(value):
            return self.words["number.none"]
        text = f"{round(value, digits) + 0.0:,.{max(digits, 0)}f}"
        marks = {",": self.words["number.thousands"], ".": self.words["number.decimal"]}
        return "".join(marks.get(sign, sign) for sign in text)

    def percent(self, share: float, digits: int = 1) -> str:
        """A share of 0 to 1 in percent."""
        if not isfinite(share):
            return self.words["number.none"]
        return self.say("number.percent", number=self.number(100 * share, digits))


def languages() -> tuple[str, ...]:
    """Codes of the languages that there are, English first."""
    found = sorted(path.stem for path in FOLDER.glob("*.toml"))
    return (ENGLISH, *(code for code in found if code != ENGLISH))


@cache
def load_language(code: str) -> Language:
    """Words of a language; KeyError if there is no such file."""
    if code not in languages():
        raise KeyError(code)
    tables = tomllib.loads((FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
    words = {
        f"{table}.{name}": text for table, found in tables.items() for name, text in found.items()
    }
    return Language(code, words)


def digits_of(low: float, high: float) -> int:
    """Digits after the point that an interval's two ends are worth: two of half its width.

    Negative for tens and hundreds; never more than one, as figures are hectares.
    """
    half = (high - low) / 2
    return min(1, 1 - floor(log10(half))) if isfinite(half) and half > 0 else 0
