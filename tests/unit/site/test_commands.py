"""Commands that people are told to type: they exist, have these options, and open the same site."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

import click
import pytest

from cropmask.cli.main import COMMANDS
from cropmask.site.commands import PLACE_OPTIONS, CommandWriter, tiles_argument
from cropmask.site.site import absolute, open_site

NAMES = ("env", "catalog", "output", "models", "queue", "config")


@pytest.mark.parametrize("name", PLACE_OPTIONS)
def test_each_command_has_the_options_that_are_printed_for_it(name: str) -> None:
    command: click.Command = getattr(importlib.import_module(COMMANDS[name][0]), name)
    options = {parameter.name for parameter in command.params}
    assert set(PLACE_OPTIONS[name]) == options & set(NAMES)


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({}, {}),
        ({}, {"output": "my results", "catalog": "c.json", "models": "m"}),
        ({}, {"output": "s3://bucket/x", "env": "prod", "queue": "https://sqs.x.y.z/1/q"}),
        ({"CROPMASK_OUTPUT": "there", "CROPMASK_QUEUE": "q"}, {"output": "here"}),
        ({"CROPMASK_ENV": "prod", "CROPMASK_OUTPUT": "x"}, {"env": "local"}),
        ({"CROPMASK_CATALOG": "a", "CROPMASK_MODELS": "m"}, {"catalog": "b", "queue": "q"}),
    ],
)
def test_the_printed_options_open_the_same_site(
    environ: dict[str, str], options: dict[str, str]
) -> None:
    site = open_site(environ, options)
    words = shlex.split(site.commands.line("status", "--run", "one"))
    assert words[:4] == ["cropmask", "status", "--run", "one"]
    printed = {
        name.removeprefix("--"): value for name, value in zip(words[4::2], words[5::2], strict=True)
    }
    whole = {name: value if name == "env" else absolute(value) for name, value in options.items()}
    assert open_site(environ, printed) == open_site(environ, whole)
    assert set(printed) <= set(options), "what the environment says is not repeated"


def test_what_the_environment_says_is_left_out(tmp_path: Path) -> None:
    here = str(Path("results").absolute())
    site = open_site({"CROPMASK_OUTPUT": "./results"}, {"output": here, "env": "local"})
    assert site.commands == CommandWriter()


def test_words_are_quoted_for_a_shell() -> None:
    commands = CommandWriter((("output", "my results"), ("catalog", "c.json"), ("queue", "q")))
    line = commands.line("redrive", "--where", "reason=missing geomad", leave_out=("queue",))
    assert line == "cropmask redrive --where 'reason=missing geomad' --output 'my results'"


def test_few_tiles_are_named() -> None:
    assert tiles_argument(["x1", "x2"], 2) == ("--tiles", "x1,x2")
    assert tiles_argument(["x1", "x2", "x3"], 2) == tiles_argument([], 2) == ()
