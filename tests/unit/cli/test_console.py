"""How commands end when the streams around them fail; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
        (">/dev/full", "echo", ExitCode.FAILED, "No space left"),
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
