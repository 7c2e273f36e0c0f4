"""Commands that people are told to type: they exist, have these options, and open the same site."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from cropmask.cli import options
from cropmask.cli.job import job
from cropmask.cli.main import cropmask
from cropmask.errors import Reason
from cropmask.site.commands import PLACE_OPTIONS, CommandWriter, absolute, tiles_argument
from cropmask.site.site import Site, open_site
from tests.conftest import REPOSITORY

NAMES = ("env", "catalog", "output", "models", "queue", "config")
LINE = re.compile(
    r"cropmask (tiles|models|train|validate|plan|submit|worker|status|redrive|explain|logs|"
    r"reconcile|mosaic|show|ls|sync|rm|catalog|demo|browse|index|doctor|config)\b|cropmask-job -"
)
HELP = re.compile(r".*(HELP|EXAMPLES|EXAMPLES_AND_EXIT_CODES)$|COMMANDS$|_MADE_BY$|MARK$")
"""Names of texts that are help, where examples are written as they are read."""


def command_of(name: str) -> click.Command:
    """A command by the words that are typed for it."""
    found: click.Command = cropmask
    for word in () if name == "job" else name.split():
        assert isinstance(found, click.Group)
        command = found.get_command(click.Context(found), word)
        assert command is not None, f"there is no command '{name}'"
        found = command
    return job if name == "job" else found


def place_options() -> dict[str, str | None]:
    """Help of the options that say where things are."""

    @click.command
    @options.place_options
    @options.queue_option
    def known(**_: object) -> None: ...

    return {str(p.name): p.help for p in known.params if isinstance(p, click.Option)}


@pytest.mark.parametrize("name", PLACE_OPTIONS)
def test_each_command_has_the_options_that_are_printed_for_it(name: str) -> None:
    known = place_options()
    assert set(known) == set(NAMES)
    same = {
        parameter.name
        for parameter in command_of(name).params
        # Some have another --output, such as the file that 'models import' writes.
        if isinstance(parameter, click.Option) and known.get(str(parameter.name)) == parameter.help
    }
    assert set(PLACE_OPTIONS[name]) == same


def places_of(site: Site) -> Site:
    """A site whose places are whole, so that two of them compare."""
    return replace(
        site,
        catalog=site.catalog and absolute(site.catalog),
        output=absolute(site.output),
        models=site.models and site.models.absolute(),
        queue_address=site.queue_address and absolute(site.queue_address),
    )


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({}, {}),
        ({}, {"output": "my results", "catalog": "c.json", "models": "m"}),
        ({}, {"output": "s3://bucket/x", "env": "prod", "queue": "https://sqs.x.y.z/1/q"}),
        ({"CROPMASK_OUTPUT": "there", "CROPMASK_QUEUE": "q"}, {"output": "here"}),
        ({"CROPMASK_OUTPUT": "there"}, {}),
        ({"CROPMASK_ENV": "prod", "CROPMASK_OUTPUT": "x"}, {"env": "local"}),
        ({"CROPMASK_CATALOG": "a", "CROPMASK_MODELS": "m"}, {"catalog": "b", "queue": "q"}),
        ({"CROPMASK_CATALOG": "s3://b/c", "CROPMASK_OUTPUT": "/x"}, {"models": "m"}),
    ],
)
def test_the_printed_options_open_the_same_site_in_any_folder(
    environ: dict[str, str],
    options: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = open_site(environ, options)
    meant = places_of(site)
    words = shlex.split(site.commands.line("status", "--run", "one"))
    assert words[:4] == ["cropmask", "status", "--run", "one"]
    printed = {
        name.removeprefix("--"): value for name, value in zip(words[4::2], words[5::2], strict=True)
    }
    monkeypatch.chdir(tmp_path)
    assert places_of(open_site(environ, printed)) == meant


def test_what_the_environment_says_is_left_out() -> None:
    here = str(Path("results").absolute())
    site = open_site({"CROPMASK_OUTPUT": here}, {"output": "./results", "env": "local"})
    assert site.commands == CommandWriter()
    environ = {"CROPMASK_CATALOG": "s3://b/c", "CROPMASK_MODELS": "/m", "CROPMASK_OUTPUT": "s3://o"}
    assert open_site(environ, {}).commands == CommandWriter()


def test_a_relative_place_is_another_one_in_another_folder() -> None:
    site = open_site({"CROPMASK_OUTPUT": "./results"}, {})
    assert site.commands == CommandWriter((("output", str(Path("results").absolute())),))


def test_words_are_quoted_for_a_shell() -> None:
    commands = CommandWriter((("output", "my results"), ("catalog", "c.json"), ("queue", "q")))
    line = commands.line("redrive", "--where", "reason=missing geomad", leave_out=("queue",))
    assert line == "cropmask redrive --where 'reason=missing geomad' --output 'my results'"
    assert commands.line("job", "--tile", "x1") == (
        "cropmask-job --tile x1 --output 'my results' --catalog c.json"
    )


def test_a_region_file_is_named_by_its_whole_path() -> None:
    commands = CommandWriter()
    line = commands.line_for("plan", "my/region.toml", "2019--P1Y")
    assert line == f"cropmask plan --region {Path('my/region.toml').absolute()} --period 2019--P1Y"
    assert commands.line("tiles", "--region", "eastern") == "cropmask tiles --region eastern"


def test_few_tiles_are_named() -> None:
    assert tiles_argument(["x1", "x2"], 2) == ("--tiles", "x1,x2")
    assert tiles_argument(["x1", "x2", "x3"], 2) == tiles_argument([], 2) == ()


@pytest.mark.parametrize("reason", [r for r in Reason if "cropmask " in str(r.advice)])
def test_advice_of_a_reason_has_whole_commands(reason: Reason) -> None:
    commands = CommandWriter((("models", "/m"), ("output", "/o")))
    said = commands.fill_in(str(reason.advice), "x215y075", "/my/region.toml")
    assert "TILE" not in said
    for line in re.findall(r"'(cropmask [^']+)'", said):
        name, *words = shlex.split(line)[1:]
        if name == "models":
            name, words = f"models {words[0]}", words[1:]
        with command_of(name).make_context(name, words) as context:
            given = {str(value) for value in context.params.values()}
        assert "/m" in given
        assert {"x215y075", "/my/region.toml", "('/my/region.toml',)"} & given


def written_texts(path: Path) -> Iterator[str]:
    """Texts of a module that may be printed: neither docstrings nor help."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(node.value)
        if isinstance(node, ast.keyword) and node.arg in ("help", "epilog"):
            left_out |= set(ast.walk(node.value))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and HELP.match(target.id) and node.value:
                left_out |= set(ast.walk(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out:
            yield node.value


def test_commands_are_written_in_one_place() -> None:
    """No other module has the text of a command, but for templates of advice and manual pages."""
    apart = {"commands.py", "contract.py", "errors.py", "man.py"}
    found = {
        f"{path.relative_to(REPOSITORY)}: {text}"
        for path in sorted((REPOSITORY / "cropmask").rglob("*.py"))
        if path.name not in apart
        for text in written_texts(path)
        if LINE.search(text)
    }
    assert found == set()
