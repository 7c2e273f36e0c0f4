"""Commands of the operator's pages exist and take their options; they run where that is safe."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from cropmask.cli.main import cropmask
from cropmask.contract import ExitCode
from cropmask.errors import CropmaskError
from cropmask.operate.estimate import DEFAULT_THREADS, DEFAULTS
from cropmask.testing.cluster import MemoryCluster

ROOT = Path(__file__).parents[3]
PAGES = ("docs/deploy.md", "docs/runbook.md", "jobs/README.md")
COMMAND = re.compile(r"^\$ (cropmask .+)$|`(cropmask [a-z][^`]*)`", re.MULTILINE)
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
NEED_A_RUN = ("status", "logs", "submit", "mosaic", "resume")
SUM = re.compile(r"((?:\d[\d.]* +[x/] +)+\d[\d.]*) += (\d[\d.]*) (USD|minutes)")
SQS = "https://sqs.af-south-1.amazonaws.com/111111111111/cropmask-dev-tasks"


def lines() -> list[tuple[str, str]]:
    """Page and command line, of blocks and of sentences."""
    found = set()
    for page in PAGES:
        for block, inline in COMMAND.findall((ROOT / page).read_text()):
            found.add((page, (block or inline).strip()))
    return sorted(found)


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that a line names, and what is left of the line."""
    found: Any = cropmask
    while isinstance(found, click.Group):
        assert words, "the line names a group only"
        context = click.Context(found)
        command = found.get_command(context, words[0])
        assert command is not None, f"there is no command '{words[0]}'"
        found, words = command, words[1:]
    return found, words


def filled_in(line: str, output: Path) -> list[str]:
    variables = {"CROPMASK_OUTPUT": str(output), "CROPMASK_QUEUE": str(output / "_queue")}
    for name, value in variables.items():
        line = line.replace(f"${name}", value)
    return shlex.split(line)[1:]


def test_the_arithmetic_of_costs_is_right() -> None:
    """Seconds are those of ``estimate.DEFAULTS``; every line says what it comes to."""
    block = RUNBOOK.partition("dollars a tile = ")[2].partition("```")[0]
    for recipe in ("forest", "boosted"):
        (line,) = [found for found in block.splitlines() if f"({recipe})" in found]
        seconds = DEFAULTS[recipe, 10][0]
        assert re.match(rf" *= {DEFAULT_THREADS} x +{seconds} / 3600 x", line), line
        measured = (ROOT / "docs/performance.md").read_text()
        assert re.search(rf"^\| {recipe} \| \d+ \| {seconds} \|", measured, re.MULTILINE)
    sums = SUM.findall(re.sub(r"(?<=\d) (tiles|region-tiles|s)\b", "", block))
    assert len(sums) == 5
    for term, result, unit in sums:
        # Only digits, points and signs: SUM lets nothing else pass.
        exact = eval(term.replace("x", "*"))
        exact /= 60 if unit == "minutes" else 1
        digits = len(result.partition(".")[2])
        assert round(exact, digits) == float(result), term


def test_pages_have_commands() -> None:
    assert {page for page, _ in lines()} == set(PAGES)
    named = {line.split()[1] for _, line in lines()}
    assert named >= {"plan", "submit", "status", "redrive", "explain", "logs", "reconcile"}


@pytest.mark.parametrize(("page", "line"), lines())
def test_every_command_exists_and_takes_its_options(page: str, line: str, tmp_path: Path) -> None:
    command, words = command_of(filled_in(line, tmp_path))
    if not words and any(p.required for p in command.params):
        return  # named in a sentence
    with command.make_context("x", list(words)) as context:
        assert context.params


@pytest.mark.parametrize(
    "line", [line for page, line in lines() if "runbook" in page and len(line.split()) > 2]
)
def test_commands_of_the_runbook_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_cache: Path
) -> None:
    """With --dry-run, or as they stand where they only look, on the made-up world and a folder.

    A folder without any run is refused by one line, where a run is asked for.
    """
    for name in list(os.environ):
        if name.startswith("CROPMASK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CROPMASK_CONFIG", os.devnull)
    monkeypatch.setenv("CROPMASK_CACHE", str(demo_cache))
    monkeypatch.setenv("CROPMASK_OUTPUT", str(tmp_path))
    monkeypatch.setenv("CROPMASK_QUEUE", str(tmp_path / "_queue"))
    monkeypatch.chdir(tmp_path)
    words = filled_in(line, tmp_path)
    command, rest = command_of(words)
    dry = any("--dry-run" in parameter.opts for parameter in command.params)
    if dry:
        rest = [*rest, "--dry-run"] if "--dry-run" not in rest else rest
        rest = [word for word in rest if word != "--discard"]
    if command.name in ("plan", "submit") and "--cancel" not in rest:
        rest += ["--tiles", "x10y20"]
    if command.name == "index":
        rest = ["--help"]  # needs the tools and the database of a datacube
    monkeypatch.setattr(
        "cropmask.kube.doors.open_cluster", lambda _namespace: MemoryCluster("here")
    )
    result = CliRunner().invoke(command, rest, standalone_mode=False)
    if command.name == "reconcile":  # everything is missing
        assert result.exit_code == ExitCode.PLAN_HAS_CHANGES
        return
    refused = result.exception if isinstance(result.exception, CropmaskError) else None
    assert result.exception is refused, result.output
    assert refused is None or command.name in NEED_A_RUN, refused
