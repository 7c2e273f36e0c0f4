"""From an empty account to the first tile: six commands, and each of them exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from cropmask import contract
from infra.places import Places
from infra.settings import load_settings
from infra.variables import main, operator_variables

ROOT = Path(__file__).parents[2]
MOST = 6


def commands(page: str, heading: str) -> list[str]:
    """Commands of the blocks below a heading."""
    below = (ROOT / page).read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", below, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


PATH = commands("docs/runbook.md", "From an empty account to the first tile")


def test_there_are_six_commands_at_most() -> None:
    assert 0 < len(PATH) <= MOST
    assert PATH[-1].startswith("cropmask submit ")
    assert "--tiles" in PATH[-1]


def test_nothing_but_the_settings_is_written_before() -> None:
    page = " ".join((ROOT / "docs/runbook.md").read_text().split())
    before = page.partition("first tile ")[2].partition("```console")[0]
    assert re.findall(r"`([^`]+)`", before) == ["infra/environments/dev.py"]


def test_targets_of_make_exist() -> None:
    rules = (ROOT / "infra/rules.mk").read_text()
    targets = [words[words.index("make") + 1 :] for words in map(words_of, PATH) if "make" in words]
    assert len(targets) == 2
    for target in targets:
        (name,) = [word for word in target if not word.startswith("-") and "=" not in word]
        assert re.search(rf"(?m)^{name}:.*## ", rules), name


def words_of(command: str) -> list[str]:
    return re.findall(r"[\w=./-]+", command)


def test_the_cdk_is_where_the_activation_puts_it_and_takes_the_options() -> None:
    """Set-up links it there; the first command of the path sets up."""
    cdk = ROOT / ".venv-infra/bin/cdk"
    assert cdk.exists()
    first = (ROOT / "infra/rules.mk").read_text()
    assert re.search(r"(?m)^preflight: .*node_modules/.ready", first)
    for command in PATH:
        if command.startswith("cdk "):
            words = shlex.split(command)
            assert words[1] in ("bootstrap", "deploy")
            assert words[-2:] == ["-c", "env=dev"]
            assert set(words[2:-2]) <= {"--all"}


def test_variables_are_those_of_the_environment() -> None:
    printed = subprocess.run(
        ["bash", "-c", f'eval "$({sys.executable} -m infra.variables dev)"; env; type cropmask'],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout
    known = load_settings("dev")
    for name, value in operator_variables(known).items():
        assert f"\n{name}={value}\n" in f"\n{printed}"
    assert f"{contract.ENV_QUEUE}={Places(known).tasks.url}" in printed
    assert f"{ROOT}/.venv/bin/cropmask" in printed


def test_variables_of_no_environment_are_one_line() -> None:
    assert main(["nowhere"]) == 2
