"""The file of settings on the command line: ``cropmask config``, ``--config``, options from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cropmask.cli.console import find_log_format, run_click
from cropmask.cli.main import cropmask
from tests.conftest import REPOSITORY


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CROPMASK_CONFIG")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cropmask, words)
    assert done.exit_code == code, done.output
    return done.output


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in text.splitlines()}


def test_config_says_what_each_setting_is_and_why(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "cropmask.toml").write_text("env = 'dev'\nmodels = 'mine'\n")
    monkeypatch.setenv("CROPMASK_MODELS", "theirs")
    monkeypatch.setenv("CROPMASK_THREADS", "2")
    found = rows(run("config", "--output", "there"))
    assert found["setting"] == ["value", "from"]
    assert found["env"] == ["dev", f"file {here}/cropmask.toml, line 1"]
    assert found["models"] == ["theirs", "variable CROPMASK_MODELS"]
    assert found["threads"] == ["2", "variable CROPMASK_THREADS"]
    assert found["output"] == ["there", "option --output"]
    assert found["resolution"] == ["60", "default"]
    assert found["image"] == ["none", "default"]


def test_the_page_shows_what_config_prints(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs" / "operate.md").read_text(encoding="utf-8")
    (settings,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"\$ cropmask config\n(.*?)```", page, re.DOTALL)
    (here / "cropmask.toml").write_text(settings)
    monkeypatch.setenv("CROPMASK_THREADS", "4")
    found = rows(run("config"))
    for name, expected in rows(shown.replace("/home/me/kenya", str(here))).items():
        assert name == "..." or found[name] == expected
    assert found["limits"][0] == "pages=500"


def test_config_for_programs(here: Path) -> None:
    (here / "cropmask.toml").write_text("threads = 3\n")
    found = {entry["setting"]: entry for entry in json.loads(run("config", "--json"))}
    assert found["threads"] == {
        "setting": "threads",
        "variable": "CROPMASK_THREADS",
        "value": "3",
        "from": "file",
        "place": f"{here}/cropmask.toml, line 1",
    }
    assert found["image"]["value"] is None


@pytest.mark.parametrize(
    "words", [("--config", "my.toml", "config"), ("config", "--config", "my.toml")]
)
def test_the_file_is_named_before_or_after_the_command(here: Path, words: tuple[str, ...]) -> None:
    (here / "my.toml").write_text("resolution = 20\nimage = 'mine'\n")
    found = rows(run(*words))
    assert found["resolution"] == ["20", f"file {here}/my.toml, line 1"]
    assert found["config"] == ["my.toml", "option --config"]


@pytest.mark.parametrize(
    "words",
    [
        ("tiles", "--region", "highlands", "--config", "my.toml"),
        ("--config", "my.toml", "tiles", "--region", "highlands"),
        ("models", "show", "highlands", "--config", "my.toml"),
        ("--config", "my.toml", "catalog", "build", "--output", "made"),
    ],
)
def test_commands_that_open_no_site_look_for_regions_where_the_file_says(
    here: Path, words: tuple[str, ...]
) -> None:
    (here / "my.toml").write_text("models = 'regions'\n")
    done = CliRunner().invoke(cropmask, words)
    assert done.exception is not None
    assert str(here / "regions") in str(done.exception)


def test_limits_of_the_file_hold_where_no_site_is_opened(here: Path) -> None:
    (here / "my.toml").write_text("[limits]\nboundary_vertices = 10\n")
    done = CliRunner().invoke(cropmask, ["tiles", "--region", "eastern", "--config", "my.toml"])
    assert "boundary_vertices=10" in str(done.exception)
    done = CliRunner().invoke(
        cropmask, ["--config", "my.toml", "catalog", "build", "--output", "made"]
    )
    assert "boundary_vertices=10" in str(done.exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_tasks = 0", "'0' is no whole number of at least 1 ({place})"),
        ("time_limit = 1e9", "({place}): see 'cropmask worker --help'"),
    ],
)
def test_an_option_that_the_file_gives_wrong(
    here: Path,
    text: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / "cropmask.toml").write_text(f"\n{text}\n")
    monkeypatch.setattr("sys.argv", ["cropmask", "worker"])
    with pytest.raises(SystemExit) as ended:
        run_click(cropmask)
    assert ended.value.code == 2
    assert said.format(place=f"{here}/cropmask.toml, line 2") in capsys.readouterr().err


def test_an_option_goes_before_a_variable_before_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on the folder of regions, which is none in each case."""
    (here / "cropmask.toml").write_text("models = 'of-file'\n")

    def asked(*words: str) -> str:
        return str(CliRunner().invoke(cropmask, ["models", "show", "x", *words]).exception)

    assert f"{here}/of-file" in asked()
    monkeypatch.setenv("CROPMASK_MODELS", "of-variable")
    assert "of-variable" in asked()
    assert "of-option" in asked("--models", "of-option")


def test_the_log_format_may_come_from_the_file(here: Path) -> None:
    (here / "cropmask.toml").write_text("log_format = 'json'\n")
    (here / "other.toml").write_text("log_format = 'text'\n")
    assert find_log_format([], {}) == "json"
    assert find_log_format(["--config", "other.toml"], {}) == "text"
    assert find_log_format(["--log-format=text"], {}) == "text"
    assert find_log_format([], {"CROPMASK_LOG_FORMAT": "text"}) == "text"
    assert find_log_format([], {"CROPMASK_CONFIG": os.devnull}) == "auto"
    (here / "cropmask.toml").write_text("log_format = json\n")
    assert find_log_format([], {}) == "auto", "what is wrong is said when the command asks"


def test_a_file_is_not_parsed_where_there_is_none() -> None:
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from cropmask.cli.main import cropmask\n"
        "done = CliRunner().invoke(cropmask, ['config', '--help'])\n"
        "assert done.exit_code == 0\n"
        "assert 'tomllib' not in sys.modules and 'cropmask.region.region' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
