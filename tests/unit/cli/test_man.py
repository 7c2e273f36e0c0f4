"""Manual pages: one for each command, with all that its help says, and clean for groff."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cropmask.cli.console import HELP_SETTINGS
from cropmask.cli.main import COMMANDS, cropmask
from cropmask.cli.man import make_page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    done = CliRunner().invoke(cropmask, ["man", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def read(page: Path) -> str:
    """A page as a reader sees it, unwrapped and without emphasis."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-c", "-rLL=1000n", str(page)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return re.sub(r".\x08", "", done.stdout)


def squeeze(text: str) -> str:
    return " ".join(text.split())


def test_there_is_a_page_for_every_command(pages: Path) -> None:
    names = {path.stem for path in pages.iterdir()}
    assert {f"cropmask-{name}" for name in COMMANDS} < names
    assert {"cropmask", "cropmask-job", "cropmask-catalog-build", "cropmask-models-import"} < names


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
def test_groff_has_nothing_against_them(pages: Path) -> None:
    for page in sorted(pages.iterdir()):
        assert page.stem.upper() in read(page)


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
@pytest.mark.parametrize("name", ["cropmask-job", "cropmask-plan", "cropmask-reconcile"])
def test_they_say_what_the_help_says(pages: Path, name: str) -> None:
    words = name.split("-")
    command: click.Command | None = cropmask
    if name == "cropmask-job":
        from cropmask.cli.job import job

        command = job
    else:
        command = cropmask.get_command(click.Context(cropmask), words[1])
    assert command is not None
    context = click.Context(command, info_name=name, **HELP_SETTINGS)
    text = squeeze(read(pages / f"{name}.1"))
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            assert squeeze(record[0]) in text
            assert squeeze(record[1]) in text
    for line in f"{command.help}\n{command.epilog or ''}".splitlines():
        if line.startswith("  cropmask"):
            assert line.strip() in text, "what is pasted is as it was typed"


def test_signs_that_roff_would_change_are_kept() -> None:
    @click.command(
        help="Say it's `so`: a-b ~ ^ \\ é.\n\n.not a request\n\n\b\nExamples:\n  .x 'y'\n"
    )
    def odd() -> None: ...

    page = make_page(click.Context(odd, info_name="odd"), ["odd"])
    assert "it\\(aqs \\(gaso\\(ga: a\\-b \\(ti \\(ha \\e \\[u00E9]" in page
    assert "\n\\&.not a request\n" in page
    assert "\n.SH EXAMPLES\n" in page
    assert "\n  .x \\(aqy\\(aq\n" in page


def test_a_file_of_others_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "cropmask.1").write_text("mine")
    done = CliRunner().invoke(cropmask, ["man", str(tmp_path)])
    assert "cropmask.1 is there" in str(done.exception)
    assert (tmp_path / "cropmask.1").read_text() == "mine"
