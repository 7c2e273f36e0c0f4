"""The page on statistics runs word by word, and prints what it shows."""

from __future__ import annotations

import contextlib
import io
import re

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "statistics.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n<!-- printed -->\n```text\n(.*?)```)?", re.DOTALL)


def run_page(text: str) -> list[tuple[str, str]]:
    """What each block shows, and what it prints."""
    names: dict[str, object] = {}
    found = []
    for code, shown in BLOCK.findall(text):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(code, str(PAGE), "exec"), names)
        found.append((shown, said.getvalue()))
    return found


def test_the_page_prints_what_it_shows() -> None:
    blocks = run_page(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    for shown, said in blocks:
        assert shown == said
