"""Every command that the program prints works when it is pasted, in another folder as well."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from cropmask.cli.main import cropmask
from cropmask.contract import ExitCode
from cropmask.region.region import SAMPLES
from tests.foreignmodels import dump, fitted
from tests.unit.training.tables import make_samples, put_samples

BIN = Path(sys.executable).parent
START = re.compile(r"(?<![\w/.])('?)(cropmask(?:-job)? (?=[a-z-]))")

MAKE = "cropmask demo --region eastern --limit 1 --scenes 1 --output world"
PLACES = "--models world/models --catalog world/catalog.json --output out"


def printed_commands(text: str) -> Iterator[str]:
    """Command lines in what a command says: up to the end of the line, or between quotes."""
    for line in text.splitlines():
        for found in START.finditer(line):
            rest = line[found.start(2) :]
            ends = [i for i, sign in enumerate(rest) if sign == "'"] if found[1] else [len(rest)]
            yield next(rest[:end] for end in ends if is_whole(rest[:end]))


def is_whole(line: str) -> bool:
    try:
        return bool(shlex.split(line)) and not line.endswith(" ")
    except ValueError:  # a quote is open
        return False


@dataclass
class Terminal:
    """Types commands in one folder, and pastes what they print in another one."""

    first: Path
    second: Path
    samples: Path
    monkeypatch: pytest.MonkeyPatch
    seen: list[str] = field(default_factory=list)
    """Command lines that were pasted."""

    def type(self, line: str, *codes: int) -> str:
        """Type a command, which ends with one of these exit codes; paste all that follows."""
        self.monkeypatch.chdir(self.first)
        code, text = self.run(shlex.split(line))
        assert code in (codes or (0,)), f"{line} ended with {code}: {text}"
        self.paste_all(text)
        return text

    def make_world(self, *, pasted: bool = False) -> str:
        """A made-up region in the first folder; its tile."""
        self.monkeypatch.chdir(self.first)
        code, text = self.run(shlex.split(MAKE))
        assert code == 0, text
        if pasted:
            self.paste_all(text)
        return text.split("--tile ")[1].split()[0]

    def left_in_second(self) -> set[str]:
        """What the second folder holds now, but for pictures, which are meant to be there."""
        return {path.name for path in self.second.iterdir() if path.suffix != ".png"}

    def paste_all(self, text: str) -> None:
        for line in printed_commands(text):
            is_again = line in self.seen and " worker " not in line  # who has new tasks
            if is_again or line.endswith(" --help"):
                continue
            self.seen.append(line)
            for part in line.split(" && "):
                self.paste(part)

    def paste(self, line: str) -> None:
        self.monkeypatch.chdir(self.second)
        words = [str(self.samples) if word == SAMPLES else word for word in shlex.split(line)]
        words += ["--yes"] if words[1] == "rm" else []
        code, text = self.run(words)
        # Reconciling ends so where tiles are missing.
        is_fine = code == 0 or (words[1] == "reconcile" and code == ExitCode.PLAN_HAS_CHANGES)
        assert is_fine, f"pasted: {line}\nended with {code}: {text}"
        self.paste_all(text)

    def run(self, words: list[str]) -> tuple[int, str]:
        """Exit code, and what was said."""
        if words[0] == "cropmask-job" or words[1] == "worker":  # they change their process
            command = [str(BIN / words[0]), *words[1:]]
            command += ["--log-format", "text"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr
        result = CliRunner().invoke(cropmask, words[1:])
        code = getattr(result.exception, "exit_code", result.exit_code)
        return int(code), f"{result.output}\n{result.exception or ''}"


@pytest.fixture
def terminal(
    tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    first, second = tmp_path / "first one", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.setenv("CROPMASK_CACHE", str(demo_cache))
    monkeypatch.setenv("CROPMASK_RESOLUTION", "100")
    monkeypatch.setenv("COLUMNS", "400")
    samples = put_samples(tmp_path / "samples of mine.txt", make_samples(120))
    yield Terminal(first, second, samples, monkeypatch)
    os.chdir(tmp_path)


def test_commands_are_found_in_sentences() -> None:
    text = "a: 'cropmask ls --output '/a b'' lists; once done: cropmask redrive --where 'r=x y'\nz"
    assert list(printed_commands(text)) == [
        "cropmask ls --output '/a b'",
        "cropmask redrive --where 'r=x y'",
    ]
    assert list(printed_commands("  cropmask-job --tile x\nsee /opt/cropmask here; cropmask")) == [
        "cropmask-job --tile x"
    ]


@pytest.mark.slow
def test_a_region_in_a_folder_of_regions(terminal: Terminal) -> None:
    """The demo region, with every place named, all of them by relative paths."""
    tile = terminal.make_world(pasted=True)
    places = PLACES
    terminal.type(f"cropmask plan --region eastern {places} --out plan.json")
    terminal.type(f"cropmask reconcile --region eastern {places}")
    terminal.type(f"cropmask explain {tile} --region eastern --period 2019 {places}")
    terminal.type(f"cropmask-job --tile {tile} --region eastern {places}")
    west, south, east, north = json.loads(
        terminal.run(shlex.split(f"cropmask tiles --tiles {tile} --region eastern --json"))[1]
    )[0]["bbox"]
    box = f"{west + 0.4:.3f},{south + 0.4:.3f},{west + 0.5:.3f},{south + 0.5:.3f}"
    assert west + 0.5 < east
    assert south + 0.5 < north
    terminal.type(f"cropmask-job --bbox {box} --region eastern {places}")
    terminal.type(f"cropmask rm --region eastern --tiles {tile} --yes {places}")
    terminal.type(f"cropmask reconcile --region eastern {places}", 20)
    words = {shlex.split(line)[1] for line in terminal.seen}
    assert words >= {"submit", "worker", "status", "show", "reconcile"}
    # The tile of the made-up world goes wherever one is, all else where the first folder says.
    assert terminal.left_in_second() == {"output"}


@pytest.mark.slow
def test_what_is_refused_names_what_to_type(terminal: Terminal) -> None:
    tile = terminal.make_world()
    places = PLACES
    terminal.type(f"cropmask-job --tile x001y001 --region eastern {places}", 3)
    terminal.type(f"cropmask plan --tiles x001y001 --region eastern {places}", 3)
    terminal.type("cropmask demo --region eastern --tiles x001y001 --output nowhere", 3)
    terminal.type("cropmask redrive --where reason=other --output out")
    terminal.type("cropmask show x001y001 --output out", 3)
    terminal.type("cropmask browse empty", 13)
    terminal.type("cropmask catalog publish empty --base-url https://x.org --output there", 13)
    terminal.monkeypatch.setenv("CROPMASK_CATALOG", str(terminal.first / "world" / "catalog.json"))
    terminal.type(f"cropmask-job --tile {tile} {places}", 2)
    terminal.type(f"cropmask tiles --tiles {tile} --models world/models")
    words = {shlex.split(line)[1] for line in terminal.seen}
    assert words >= {"tiles", "redrive", "ls", "catalog", "show"}
    # 'tiles' was pasted, and names a place of results wherever one is.
    assert terminal.left_in_second() == {"output"}


@pytest.mark.slow
def test_a_region_file_of_ones_own(terminal: Terminal) -> None:
    """Named by a relative path with a space; results in the folder that one is in."""
    terminal.make_world()
    own = terminal.first / "world" / "my lands" / "highlands"
    shutil.copytree(terminal.first / "world" / "models" / "eastern", own)
    file = own / "region.toml"
    text = file.read_text().replace('name = "eastern"', 'name = "highlands"')
    text = re.sub(r"\[training\].*?(?=\n\[|\Z)", "", text, flags=re.DOTALL)
    text = re.sub(r"\[models.boosted\][^\[]*", "", text)
    file.write_text(f"{text}\n[training]\ntrees = 12\nfolds = 3\n")
    region = "--region 'world/my lands/highlands/region.toml' --catalog world/catalog.json"
    terminal.type(f"cropmask doctor {region}")
    terminal.type(f"cropmask plan {region} --out plan.json")
    terminal.type(f"cropmask plan {region} --model boosted", 3)
    terminal.type(f"cropmask-job --tile x001y001 {region}", 3)
    terminal.type("cropmask models show 'world/my lands/highlands/region.toml'")
    (terminal.first / "old.joblib").write_bytes(dump(fitted("forest")))
    terminal.type(f"cropmask-job --tile x001y001 {region} --model old.joblib", 3)
    words = {shlex.split(line)[1] for line in terminal.seen}
    assert words >= {"submit", "worker", "status", "reconcile", "train", "tiles", "models"}
    assert terminal.left_in_second() == set()
