"""The file of settings: where it is found, what it may say, and that it says what variables do."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from cropmask import contract
from cropmask.errors import Misconfigured
from cropmask.site.configuration import (
    FILE_NAME,
    ConfigFile,
    describe_kind,
    find_config,
    load_config,
    setting_name,
)
from cropmask.site.site import Origin, describe_settings, find_limits, open_site

SAID: dict[str, tuple[str, str]] = {
    "env": ("'dev'", "dev"),
    "catalog": ("'items'", "{folder}/items"),
    "output": ("'s3://bucket/maps'", "s3://bucket/maps"),
    "models": ("'my regions'", "{folder}/my regions"),
    "region_files": ("['a.toml', '/b.toml']", "{folder}/a.toml:/b.toml"),
    "cache": ("'~/fast'", "{home}/fast"),
    "resolution": ("20", "20"),
    "bands": ("'+spread'", "+spread"),
    "seamless": ("true", "1"),
    "threads": ("3", "3"),
    "memory": ("'4GB'", "4GB"),
    "log_format": ("'json'", "json"),
    "queue": ("'../queue'", "{folder}/../queue"),
    "dead_letters": ("'https://sqs/dead'", "https://sqs/dead"),
    "tasks": ("'tasks.jsonl'", "{folder}/tasks.jsonl"),
    "max_tasks": ("7", "7"),
    "max_minutes": ("1.5", "1.5"),
    "idle_exit": ("0", "0"),
    "time_limit": ("900", "900"),
    "breaker": ("0", "0"),
    "heartbeat": ("'beat'", "{folder}/beat"),
    "metrics": ("'CropMask'", "CropMask"),
    "sqs_endpoint": ("'http://127.0.0.1:9324'", "http://127.0.0.1:9324"),
    "image": ("'registry/cropmask:1'", "registry/cropmask:1"),
    "topic": ("'arn:aws:sns:x:1:y'", "arn:aws:sns:x:1:y"),
    "namespace": ("'maps'", "maps"),
    "cpu_hour_price": ("0.02", "0.02"),
    "s3_endpoint": ("'http://127.0.0.1:9000'", "http://127.0.0.1:9000"),
    "verify_inputs": ("'all'", "all"),
    "strict_inputs": ("true", "1"),
    "trust_catalog": ("false", "0"),
    "limits": ("{pages = 500, levels = 80}", "pages=500,levels=80"),
    "s3_acl": ("'bucket-owner-full-control'", "bucket-owner-full-control"),
    "s3_unsigned": ("true", "1"),
    "s3_requester_pays": ("true", "1"),
}
"""Every setting as the file has it, and as its variable has it."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, two folders below where a file of settings may lie."""
    monkeypatch.delenv("CROPMASK_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "project" / "maps" / "kenya"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    return tmp_path / "project"


def write(folder: Path, text: str, name: str = FILE_NAME) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_of_the_table_may_be_said() -> None:
    keys = {setting_name(variable) for variable in contract.ENVIRONMENT_VARIABLES}
    assert set(SAID) == keys - {"config"}


def test_the_file_says_what_the_variables_say(tmp_path: Path, project: Path) -> None:
    path = write(project, "".join(f"{key} = {text}\n" for key, (text, _) in SAID.items()))
    names = {"folder": project, "home": tmp_path / "home"}
    variables = {f"CROPMASK_{key.upper()}": text.format(**names) for key, (_, text) in SAID.items()}
    assert load_config(path, is_named=True).texts == variables
    assert open_site({}, {"config": path}) == open_site(variables)
    assert find_limits({}, path) == find_limits(variables)
    assert open_site({"CROPMASK_CONFIG": str(path)}) == open_site(variables)


def test_the_nearest_file_upwards_counts(project: Path) -> None:
    assert open_site().output == "./output"
    write(project, "output = 'far'\nresolution = 20\n")
    assert (open_site().output, open_site().resolution) == (str(project / "far"), 20)
    write(project / "maps", "output = 'near'\n")
    assert (open_site().output, open_site().resolution) == (str(project / "maps" / "near"), 60)


def test_options_go_before_variables_before_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "output = 'of-file'\nthreads = 3\nresolution = 20\nmemory = ''\n")
    monkeypatch.setenv("CROPMASK_THREADS", "2")
    monkeypatch.setenv("CROPMASK_OUTPUT", "")
    site = open_site(options={"resolution": 100})
    assert (site.output, site.threads, site.resolution) == (str(project / "of-file"), 2, 100)
    assert site.memory == open_site({}).memory


def test_an_environment_of_ones_own_finds_no_file(project: Path) -> None:
    write(project, "output = 'x'\n")
    assert open_site({}).output == "./output"


def test_a_named_file_goes_before_one_that_is_found(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "threads = 1\n")
    monkeypatch.setenv("CROPMASK_CONFIG", str(write(project, "threads = 2\n", "two.toml")))
    assert open_site().threads == 2
    assert open_site(options={"config": write(project, "threads = 3\n", "three.toml")}).threads == 3
    monkeypatch.setenv("CROPMASK_CONFIG", os.devnull)
    assert find_config(None, os.environ) == ConfigFile()
    monkeypatch.setenv("CROPMASK_CONFIG", "")
    assert open_site().threads == 1


def test_a_folder_of_that_name_and_a_working_directory_that_is_gone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "threads = 2\n")
    (project / "maps" / FILE_NAME).mkdir()
    assert open_site().threads == 2
    (project / "maps" / "kenya").rmdir()
    assert find_config(None, {}) == ConfigFile()


WRONG = [
    ("outptu = 'x'", "line 1: 'outptu' is unknown: did you mean 'output'?"),
    ("\n# a word\nenvironment = 'dev'", "line 3: 'environment' is unknown: did you mean 'env'?"),
    ("CROPMASK_OUTPUT = 'x'", "'CROPMASK_OUTPUT' is unknown: did you mean 'output'?"),
    ("s3-endpoint = 'x'", "did you mean 's3_endpoint'?"),
    ("config = 'x'", "line 1: 'config' is unknown: 'cropmask config' lists what there is"),
    ("[limit]\npages = 3", "line 1: 'limit' is unknown: did you mean 'limits'?"),
    ("output = 3", "line 1: 'output' must be a path or an address in quotes"),
    ("env = true", "line 1: 'env' must be a text in quotes"),
    ("threads = '3'", "line 1: 'threads' must be a whole number"),
    ("threads = true", "line 1: 'threads' must be a whole number"),
    ("resolution = 10.0", "line 1: 'resolution' must be a whole number"),
    ("time_limit = 1979-05-27", "line 1: 'time_limit' must be a number"),
    ("strict_inputs = 1", "line 1: 'strict_inputs' must be true or false"),
    ("verify_inputs = 'none'", "'verify_inputs' must be true, false or 'all'"),
    ("region_files = 'a.toml'", "'region_files' must be a list of paths in [ ]"),
    ("region_files = ['a.toml', 1]", "'region_files' must be a list of paths in [ ]"),
    ("limits = {pages = true}", "'limits' must be a table of numbers, such as {pages = 500}"),
    ('models = "a\\u0000b"', "'models' must be a path in quotes"),
    ("env = 'dev'\nthreads = 2\nthreads = 3", "a key is there twice"),
    ("env = 'dev'\nthreads = \n", "is not valid TOML: Invalid value (at line 2, column 11)"),
    ("output = \udcff", "it is no UTF-8 text"),
    ("env = 'd'\nx = 1\noutput = 3", "line 2: 'x' is unknown"),
    # What is found wrong with a value says where it is.
    ("threads = 0", "line 1: threads is '0': it must be a whole number of at least 1"),
    ("\nresolution = 30", "line 2: resolution 30 m is not offered: choose one of"),
    ("env = 'production'", "line 1: unknown environment 'production'"),
    ("memory = 'much'", "line 1: 'much' is not an amount of memory"),
    ("cpu_hour_price = -1", "line 1: cpu_hour_price is '-1': it must be dollars"),
    ("output = 's4://bucket'", "line 1: "),
    ("[limits]\npage = 3", "line 1: limits "),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[text[:30] for text, _ in WRONG])
def test_what_is_wrong_is_one_line_with_its_place(project: Path, text: str, said: str) -> None:
    path = project / FILE_NAME
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Misconfigured) as caught:
        open_site()
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_named_and_not_there(project: Path) -> None:
    with pytest.raises(Misconfigured, match=r"settings .*/gone.toml cannot be read: No such file"):
        open_site(options={"config": "gone.toml"})
    with pytest.raises(Misconfigured, match="cannot be read: Is a directory"):
        open_site(options={"config": str(project)})


NAMED_ONLY = [key for key in SAID if "named" in describe_kind(f"CROPMASK_{key.upper()}")]


@pytest.mark.parametrize("key", NAMED_ONLY)
def test_what_only_a_named_file_may_say(project: Path, key: str) -> None:
    path = write(project, f"{key} = {SAID[key][0]}\n")
    with pytest.raises(Misconfigured, match=f"line 1: '{key}' counts only in a file that is named"):
        open_site()
    open_site(options={"config": path})


def test_what_runs_code_or_replaces_files_is_among_them() -> None:
    assert set(NAMED_ONLY) == {"cache", "heartbeat", "image", "trust_catalog"}


@pytest.mark.parametrize(
    "options", [{}, {"output": "here"}, {"env": "local", "catalog": "items.json"}]
)
@pytest.mark.parametrize("named", [False, True])
def test_printed_commands_open_the_same_site_in_any_folder(
    project: Path,
    options: dict[str, str],
    named: bool,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(
        project,
        "env = 'prod'\noutput = 'maps'\nmodels = 'm'\ns3_endpoint = 'http://127.0.0.1:1'\n",
        "mine.toml" if named else FILE_NAME,
    )
    config = {"config": str(path)} if named else {}
    given: dict[str, Any] = {**options, **config}
    site = open_site(options=given)
    words = shlex.split(site.commands.line("plan"))[2:]
    names = [word.removeprefix("--") for word in words[::2]]
    places = {name: str(Path(v).absolute()) if name != "env" else v for name, v in options.items()}
    meant = open_site(options={**places, **config})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    pasted = open_site(options=dict(zip(names, words[1::2], strict=True)))
    assert pasted == meant
    assert words[words.index("--config") + 1] == str(path), "it is not found elsewhere"
    assert "--models" not in words, "what the file says is not repeated"


def test_workers_elsewhere_are_told_what_the_file_says(project: Path) -> None:
    write(
        project,
        "env = 'prod'\noutput = 's3://bucket/maps'\nqueue = 'https://sqs.eu-west-1.x/1/q'\n"
        "limits = {pages = 500}\ns3_unsigned = true\nstrict_inputs = true\nresolution = 20\n",
    )
    site = open_site()
    told = site.worker_environment()
    assert told["CROPMASK_LIMITS"] == "pages=500"
    assert open_site(told) == site
    assert "CROPMASK_CONFIG" not in told, "the file is not there"


def test_every_setting_is_described_with_what_says_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(project, "env = 'prod'\n\nthreads = 3\n")
    monkeypatch.setenv("CROPMASK_OUTPUT", "there")
    found = {s.name: s for s in describe_settings(options={"resolution": 20})}
    assert list(found) == [setting_name(v) for v in contract.ENVIRONMENT_VARIABLES]
    told = {name: (s.text, s.origin, s.place) for name, s in found.items()}
    assert told["config"] == (str(path), Origin.DEFAULT, None)
    assert told["env"] == ("prod", Origin.FILE, f"{path}, line 1")
    assert told["threads"] == ("3", Origin.FILE, f"{path}, line 3")
    assert told["output"] == ("there", Origin.VARIABLE, "CROPMASK_OUTPUT")
    assert told["resolution"] == ("20", Origin.OPTION, "--resolution")
    assert told["queue"] == ("there/_queue", Origin.DEFAULT, None)
    assert told["heartbeat"] == (None, Origin.DEFAULT, None)


def test_what_is_described_opens_the_same_site(project: Path) -> None:
    price = "cpu_hour_price = '0.5, 2026-11-20, spot'"
    write(project, f"catalog = 'items'\nstrict_inputs = true\n{price}\n")
    told = {s.variable: s.text for s in describe_settings() if s.text is not None}
    del told["CROPMASK_CONFIG"], told["CROPMASK_MODELS"]  # None means the package's
    assert open_site(told) == open_site(options={"config": project / FILE_NAME})


def test_an_output_that_is_missing_is_described_as_such() -> None:
    (found,) = [s for s in describe_settings({}, {"env": "prod"}) if s.name == "output"]
    assert found.text is None


def test_the_docs_name_every_setting() -> None:
    tables = Path(__file__).parents[3] / "docs" / "reference"
    text = (tables / "configuration.md").read_text()
    for variable, meaning in contract.ENVIRONMENT_VARIABLES.items():
        key = "" if variable == contract.ENV_CONFIG else f"`{setting_name(variable)}`"
        kind = "" if variable == contract.ENV_CONFIG else describe_kind(variable)
        assert f"| {key} | {kind} | `{variable}` | {meaning} |\n" in text
