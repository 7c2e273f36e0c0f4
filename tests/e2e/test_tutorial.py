"""The tutorial, typed into a shell word by word: commands work, and say what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "tutorial.md"
TEXT = PAGE.read_text(encoding="utf-8")
PARTS = [part for part in TEXT.split("\n## ")[1:] if "```console" in part]
MARK = "@@@ done"
VARIES = re.compile(
    r"(?P<run>\d{8}t\d{6}-[0-9a-f]{4})|(?P<took>\d[\d.]*(?= (?:s|min|MB|GB|CPU)\b))|(?P<gap>\.\.\.)"
)
"""What is another in every run: names of runs, times and sizes; an ellipsis stands for anything."""


@dataclass
class Typed:
    """A command as the page has it, and the lines that it shows below."""

    line: str
    shown: list[str] = field(default_factory=list)


def typed(part: str) -> list[Typed]:
    """Commands of a part, and its programs, which say below what they print."""
    found: list[Typed] = []
    for kind, block, below in re.findall(r"```(console|python)\n(.*?)```\s*([^\n]*)", part, re.S):
        if kind == "python":
            said = re.findall(r"It prints `([^`]+)`", below)
            found.append(Typed(f"python - <<'END'\n{block}END", said))
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Typed(line[2:]))
            else:
                found[-1].shown.append(line)
    return found


class Shell:
    """A shell that is typed into: what one line exports, the next one sees."""

    def __init__(self, folder: Path, cache: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if "CROPMASK_" not in name}
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env={
                **kept,
                "CROPMASK_CACHE": str(cache),
                "CROPMASK_LOG_FORMAT": "text",  # as on a terminal
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("exit\n", timeout=10)

    def type(self, line: str) -> list[str]:
        """What a command prints; it must succeed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f'{line}\necho "{MARK} $?"\n')
        self._process.stdin.flush()
        printed = []
        for said in self._process.stdout:
            if said.startswith(MARK):
                assert said == f"{MARK} 0\n", (line, printed)
                return printed
            printed.append(said.rstrip("\n"))
        raise AssertionError(f"the shell ended: {line}")


def pattern(shown: str) -> str:
    """A line of the page as a regular expression."""
    parts, end = [], 0
    for match in VARIES.finditer(shown):
        parts += [re.escape(shown[end : match.start()]), ".*" if match["gap"] else r"\S+"]
        end = match.end()
    return "".join([*parts, re.escape(shown[end:])])


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, demo_cache: Path) -> Iterator[Shell]:
    """One shell for all of the page, in a folder of its own."""
    with Shell(tmp_path_factory.mktemp("tutorial"), demo_cache) as opened:
        yield opened


def test_the_page_has_all_of_its_steps() -> None:
    lines = " ".join(one.line for part in PARTS for one in typed(part))
    for step in (
        "cropmask-job --bbox",
        "cropmask.map_area",
        "cropmask show",
        "cropmask-job --tile",
        "cropmask plan",
    ):
        assert step in lines
    assert [part.partition("\n")[0] for part in PARTS] == ["One area", "One tile", "A region"]


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.partition("\n")[0])
def test_commands_say_what_the_page_shows(shell: Shell, part: str) -> None:
    for one in typed(part):
        printed = shell.type(one.line)
        for shown in one.shown:
            if shown.strip() not in ("", "..."):
                assert any(re.fullmatch(pattern(shown), line) for line in printed), (shown, printed)
