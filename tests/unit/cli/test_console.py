"""How commands end when the streams around them fail; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cropmask.cli.console import find_color
from cropmask.contract import ExitCode

PROGRAM = """
import click
from cropmask.cli.console import open_logging, run_click
@click.command()
@click.argument("act", type=click.Choice(["echo", "memory", "connection", "stop"]))
def command(act):
    if act == "memory":
        raise MemoryError
    if act == "connection":
        raise BrokenPipeError(32, "Broken pipe")
    if act == "stop":
        raise KeyboardInterrupt
    click.echo("result")
open_logging("json")
run_click(command, "json")
"""


@pytest.mark.parametrize(
    ("redirect", "act", "code", "words"),
    [
        (">/dev/full", "echo", ExitCode.FAILED, '"reason": "disk full"'),
        ("2>&-", "echo", ExitCode.DONE, ""),
        ("", "memory", ExitCode.MEMORY, '"exit_code": 12'),
        ("", "connection", ExitCode.FAILED, "Broken pipe"),
        ("", "stop", ExitCode.DRAINED, "stopped by a signal"),
        ("", "nonsense", ExitCode.USAGE, "'nonsense' is not one of"),
    ],
)
def test_one_line_and_the_documented_code(
    redirect: str, act: str, code: ExitCode, words: str
) -> None:
    script = f'exec "$0" -c "$1" {act} {redirect}'
    ended = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert ended.stderr.strip().count("\n") == 0
    assert "Traceback" not in ended.stderr


def test_a_reader_that_left_is_no_failure() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "echo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == ExitCode.DONE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cropmask", "tile", "--at", "1,1"], "No such command 'tile', did you mean tiles?"),
        (["cropmask-job", "--tile", "nonsense", "--region", "eastern"], "is not a tile name"),
    ],
)
def test_a_mistyped_command_is_answered_in_text_also_through_a_pipe(
    words: list[str], said: str
) -> None:
    program = Path(sys.executable).with_name(words[0])
    ended = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


COLORS = [
    ({}, None),
    ({"NO_COLOR": "1"}, False),
    ({"NO_COLOR": ""}, None),
    ({"FORCE_COLOR": "1"}, True),
    ({"CLICOLOR_FORCE": "1"}, True),
    ({"FORCE_COLOR": "0", "CLICOLOR_FORCE": ""}, None),
    ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ({"TERM": "dumb"}, False),
    ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
]


@pytest.mark.parametrize(("environ", "expected"), COLORS, ids=str)
def test_who_decides_on_colors(environ: dict[str, str], expected: bool | None) -> None:
    assert find_color(environ) is expected


SPEAKER = """
import logging
import click
from cropmask.cli.console import open_logging, run_click, warn
from cropmask.errors import Misconfigured
@click.command()
def command():
    click.echo(click.style("done", fg="green"))
    warn("look")
    logging.getLogger("cropmask").warning("careful")
    raise Misconfigured("wrong")
open_logging("text")
run_click(command, "text")
"""
RED, YELLOW, GREEN = "\x1b[31m", "\x1b[33m", "\x1b[32m"


def speak(environ: dict[str, str], *, terminal: bool) -> str:
    """Everything that a program prints, on a terminal or into a pipe."""
    ours = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    reader, writer = os.openpty() if terminal else os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKER],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
        env={**kept, "TERM": "xterm", **environ},
    ) as process:
        os.close(writer)
        said = b""
        try:
            while part := os.read(reader, 4096):
                said += part
        except OSError:  # so does a terminal end
            pass
        assert process.wait(60) == ExitCode.MISCONFIGURED
    os.close(reader)
    return said.decode()


@pytest.mark.parametrize(
    ("environ", "terminal", "colored"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({}, False, False),
        ({"FORCE_COLOR": "1"}, False, True),
    ],
)
def test_errors_warnings_and_states_have_colors_on_a_terminal(
    environ: dict[str, str], terminal: bool, colored: bool
) -> None:
    said = speak(environ, terminal=terminal)
    parts = (f"{GREEN}done", f"{YELLOW}warning:", f"{YELLOW}careful", f"{RED}error:")
    assert [part in said for part in parts] == [colored] * 4
    assert ("\x1b" in said) == colored
    assert [word in said for word in ("done", "look", "careful", "wrong")] == [True] * 4
