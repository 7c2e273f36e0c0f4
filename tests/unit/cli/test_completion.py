"""What a shell offers after a tab: asked as bash asks, by click's own protocol."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def complete(line: str, cwd: Path, **environ: str) -> list[str]:
    """Answers to a tab at the end of a command line; ``type,value`` each."""
    words = line.split(" ")
    variable = f"_{words[0].replace('-', '_')}_COMPLETE".upper()
    done = subprocess.run(
        [Path(sys.executable).with_name(words[0])],
        env={
            **os.environ,
            variable: "bash_complete",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
            **environ,
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), "nothing but words comes into the line"
    return [line for line in done.stdout.splitlines() if line]


CASES = [
    ("cropmask pl", ["plain,plan"]),
    ("cropmask plan --region sa", ["plain,sahel"]),
    ("cropmask-job --region we", ["plain,western"]),
    ("cropmask plan --region ./my", ["file,./my"]),
    ("cropmask plan --period 201", ["plain,2017", "plain,2018", "plain,2019"]),
    ("cropmask-job --region eastern --tile x218y07", [f"plain,x218y07{y}" for y in range(10)]),
    ("cropmask plan --region eastern --tiles x218y075,x218y075", ["file,x218y075,x218y075"]),
    ("cropmask-job --tile x2", []),
    ("cropmask-job --model bo", ["plain,boosted"]),
    ("cropmask-job --model ./m", ["file,./m"]),
    ("cropmask plan --env p", ["plain,prod"]),
    ("cropmask models show --models reg", ["dir,reg"]),
    # Whatever is wrong with the line, nothing is offered.
    ("cropmask-job --region nowhere --tile x2", []),
    ("cropmask-job --region nowhere/region.toml --tile x2", []),
    ("cropmask plan --config gone.toml --region ea", ["file,ea"]),
    ("cropmask nonsense --region ea", []),
]


@pytest.mark.parametrize(("line", "offered"), CASES, ids=[line for line, _ in CASES])
def test_what_is_offered(line: str, offered: list[str], tmp_path: Path) -> None:
    assert complete(line, tmp_path) == offered


def test_further_tiles_after_a_comma(tmp_path: Path) -> None:
    found = complete("cropmask plan --region eastern --tiles x218y075,x218y07", tmp_path)
    assert "plain,x218y075,x218y076" in found
    assert "plain,x218y075,x218y075" not in found


def test_regions_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "regions" / "highlands").mkdir(parents=True)
    (tmp_path / "regions" / "highlands" / "region.toml").write_text("")
    line = "cropmask plan --models regions --region h"
    assert complete(line, tmp_path) == ["plain,highlands"]
    (tmp_path / "cropmask.toml").write_text("models = 'regions'\n")
    found = complete("cropmask plan --region h", tmp_path, CROPMASK_CONFIG="")
    assert found == ["plain,highlands"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("program", ["cropmask", "cropmask-job"])
def test_the_documented_line_sets_bash_up(program: str) -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text(encoding="utf-8")
    (line,) = [each for each in page.splitlines() if each.endswith(f'bash_source {program})"')]
    folder = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{line}\ncomplete -p {program}"],
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.split()[-1] == program
