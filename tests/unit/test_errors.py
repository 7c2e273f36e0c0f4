"""Reasons: one word for one cause, raised by somebody, with advice or none on purpose."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cropmask import errors
from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason, Rejected
from cropmask.fleet.records import State
from cropmask.grid import Tile
from cropmask.operate.advice import advise_failure
from tests.conftest import REPOSITORY


@cache
def sources() -> dict[Path, ast.Module]:
    return {
        path.relative_to(REPOSITORY): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((REPOSITORY / "cropmask").rglob("*.py"))
    }


def calls_with_reason() -> Iterator[tuple[str, ast.expr]]:
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "reason":
                        yield f"{path}:{node.lineno}", keyword.value


def named_members() -> set[str]:
    """Members that the code names outside of their definition."""
    return {
        node.attr
        for path, tree in sources().items()
        if path.name != "errors.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Reason"
    }


def test_every_raise_site_names_a_member_and_never_a_text() -> None:
    sites = list(calls_with_reason())
    assert len(sites) > 150
    free = [
        where
        for where, value in sites
        if isinstance(value, ast.Constant | ast.JoinedStr)
        and getattr(value, "value", "") is not None
    ]
    # Layers that are not applied say why in the item; that is a sentence, no reason of an error.
    assert [where for where in free if "sources/search.py" not in where] == []


def test_every_member_is_raised_by_somebody() -> None:
    usual = {
        kind.usual
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, CropmaskError)
    }
    named = named_members()
    unused = [member.name for member in Reason if member.name not in named and member not in usual]
    assert unused == []


@pytest.mark.parametrize("reason", list(Reason))
def test_what_an_operator_reads(reason: Reason) -> None:
    said = advise_failure(State.FAILED, str(reason), Tile(215, 75))
    assert said.startswith(("see what the error says", str(reason.advice)[:20]))
    assert (reason.advice is None) <= said.startswith("see what the error says")
    assert "TILE" not in said
    assert Reason.of(str(reason)) is reason


def test_an_attempt_that_timed_out_is_told_what_to_raise() -> None:
    assert errors.TimedOut("it took long").reason == "timed out"
    said = advise_failure(State.FAILED, "timed out", Tile(215, 75))
    assert "CROPMASK_TIME_LIMIT" in said
    assert "cropmask logs x215y075" in said


def test_a_word_of_another_version_is_no_fault() -> None:
    assert Reason.of("something new") is None
    said = advise_failure(State.INVALID, "something new", Tile(1, 1))
    assert said.startswith("see what the error says")


def test_rejected_and_misconfigured_are_siblings() -> None:
    kinds = (Rejected, Misconfigured, Interrupted)
    for kind in kinds:
        assert [issubclass(kind, other) for other in kinds].count(True) == 1
