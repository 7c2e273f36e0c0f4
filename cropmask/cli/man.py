"""``cropmask man``: manual pages of all commands, made from their help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from cropmask.cli import options
from cropmask.cli.output import put_text
from cropmask.contract import ENVIRONMENT_VARIABLES, VERSION
from cropmask.errors import Misconfigured
from cropmask.site.configuration import FILE_NAME

_MARK: Final = '.\\" Written by "cropmask man".'
_SIGNS: Final = str.maketrans(
    {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
)
"""What roff would set as another sign than a shell knows."""


@click.command()
@click.argument("folder", type=options.FOLDER)
def man(folder: Path) -> None:
    """Write the manual pages of all commands into FOLDER.

    \b
    Examples:
      cropmask man ~/.local/share/man/man1
      man cropmask-job
    """
    from cropmask.cli.job import job
    from cropmask.cli.main import cropmask

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{folder} cannot be made: {error.strerror}") from None
    contexts = [*_walk("cropmask-job", job, None), *_walk("cropmask", cropmask, None)]
    names = [_page_name(context) for context in contexts]
    for context, name in zip(contexts, names, strict=True):
        put_text(folder / f"{name}.1", make_page(context, names), _MARK)
    click.echo(f"{folder}: {len(names)} pages")


def _walk(
    name: str, command: click.Command, parent: click.Context | None
) -> Iterator[click.Context]:
    """Contexts of a command and of all below it."""
    context = click.Context(command, parent, name, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _walk(below, found, context)


def _page_name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def make_page(context: click.Context, names: list[str]) -> str:
    """Manual page of a command in roff; ``names`` are those of all pages, to refer to."""
    command, name = context.command, _page_name(context)
    text = list(_set_text(command.help or ""))
    examples = next((i for i, line in enumerate(text) if line.startswith(".SH")), len(text))
    records = [option.get_help_record(context) for option in command.get_params(context)]
    lines = [
        _MARK,
        f'.TH "{_escape(name.upper())}" "1" "" "cropmask {VERSION}" "cropmask"',
        ".SH NAME",
        f"{_escape(name)} \\- {_escape(command.get_short_help_str(200).rstrip('.'))}",
        ".SH SYNOPSIS",
        f"\\fB{_escape(context.command_path)}\\fR",
        _escape(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *text[:examples],
        ".SH OPTIONS",
        *_set_list(filter(None, records)),
    ]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS", *_set_list(_find_summaries(command, context))]
    lines += [*text[examples:], *_set_text(command.epilog or "")]
    if context.parent is None:
        lines += [".SH ENVIRONMENT", *_set_list(ENVIRONMENT_VARIABLES.items())]
        lines += [".SH FILES", *_set_list([(FILE_NAME, "settings: see 'cropmask config'")])]
    lines += [".SH SEE ALSO", _see_also(name, names)]
    return "\n".join(lines) + "\n"


def _find_summaries(group: click.Group, context: click.Context) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is not None:
            yield name, found.get_short_help_str(200)


def _escape(text: str) -> str:
    """Text as roff sets it sign by sign; a period at its begin is no request."""
    plain = "".join(
        sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in text.translate(_SIGNS)
    )
    return f"\\&{plain}" if plain.startswith(".") else plain


def _set_list(records: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in records:
        yield from (".TP", f"\\fB{_escape(term)}\\fR", _escape(" ".join(meaning.split())))


def _set_text(text: str) -> Iterator[str]:
    """Paragraphs of a help text; those after a line with a backspace keep their lines."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        first, *rest = paragraph.splitlines() or [""]
        if first != "\b":
            yield from (".PP", _escape(" ".join(paragraph.split()))) if paragraph else ()
            continue
        heading = re.fullmatch(r"(\w[\w ]*):?", rest[0])
        if heading and all(line.startswith(" ") for line in rest[1:]):
            yield f".SH {heading[1].upper()}"
            rest = rest[1:]
        yield from (".PP", ".nf", *map(_escape, rest), ".fi")


def _see_also(name: str, names: list[str]) -> str:
    """The programs, and the commands above and below one."""
    parent = name.rpartition("-")[0]
    near = {"cropmask", "cropmask-job", parent, *(n for n in names if n.startswith(f"{name}-"))}
    found = (f"\\fB{_escape(other)}\\fR(1)" for other in names if other in near - {name})
    return ", ".join(found)
