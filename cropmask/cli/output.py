"""Results as they are printed: one JSON document for programs, lines and tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click

from cropmask.errors import Misconfigured


def print_result(document: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a result as a JSON document, or else as lines of text.

    ``lines`` may be a generator, which does not run if JSON is asked for.
    """
    for line in [json.dumps(document, default=_encode)] if as_json else lines:
        click.echo(line)


def pick(value: object, *names: str) -> dict[str, Any]:
    """Some attributes of a value, as a part of a JSON document."""
    return {name: getattr(value, name) for name in names}


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows of cells, the head among them, in aligned columns."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def put_text(path: Path, text: str, mark: str) -> None:
    """Write a text file that the user has named; see :func:`put_file`."""
    put_file(path, text.encode(), mark.encode())


def put_file(path: Path, content: bytes, mark: bytes) -> None:
    """Write a file that the user has named, unless another file than ours is in its place.

    ``mark`` is a part of the content that every file of this kind has, and hardly another one.
    """
    assert mark in content
    check_target(path, mark)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None


def check_target(path: Path, mark: bytes) -> None:
    """Raise UsageError without its folder, Misconfigured if another file is in its place.

    To be asked before long work; :func:`put_file` asks it as well.
    """
    if not path.absolute().parent.is_dir():
        raise click.UsageError(
            f"the folder of '{path}' is not there: make it, or name a file in another one"
        )
    refuse_other_file(path, mark)


def refuse_other_file(path: Path, mark: bytes) -> None:
    """Raise Misconfigured if there is a file without this mark; to be asked before long work.

    In an empty one, as mktemp makes it, nothing is lost.
    """
    try:
        is_other = path.exists() and not (path.is_file() and _is_ours(path.read_bytes(), mark))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None
    if is_other:
        raise Misconfigured(
            f"{path} is there, and is no file of this kind that cropmask has written: "
            "remove it, or name another file"
        )


def _is_ours(content: bytes, mark: bytes) -> bool:
    return mark in content or not content


def _encode(value: object) -> object:
    """What JSON does not know: times, values with a text of their own, and other dataclasses."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if type(value).__str__ is not object.__str__:  # such as tiles, periods, paths and errors
        return str(value)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON")
