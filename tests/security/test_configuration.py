"""Odd region files, options and variables: each ends in one clear line, and nothing is written."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from cropmask.cli.console import run_click
from cropmask.cli.job import job
from cropmask.cli.main import cropmask
from cropmask.contract import ExitCode
from cropmask.region.region import models_folder
from cropmask.site.site import open_site
from tests.security.hostile import serve_answers

REGION = """\
name = "valley"
title = "The valley"
version = "1.0.0"
boundary = "boundary.geojson"
"""
SQUARE = (
    '{"type": "Polygon", "coordinates": [[[34, -1.4], [34.5, -1.4], [34.5, -0.8], [34, -1.4]]]}'
)
LAYERS = "rain_first_half = 'a.tif'\nrain_second_half = 'b.tif'\nslope = 'c.tif'\n"
MODEL = f"[models.forest]\nfile = 'a.cropmodel'\nsha256 = '{'0' * 64}'\n"
OF_LIBRARIES = ("pydantic", "Traceback", "Errno", "validation error", "Input should", "Extra input")

Say = Callable[..., str]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command says when it ends with a code; it must be one line of our own words."""
    # A worker sends the logs of its process elsewhere.
    monkeypatch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers[:])

    def run(command: click.Command, code: ExitCode, *words: str, **environ: str) -> str:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["cropmask", *words])
        with pytest.raises(SystemExit) as ended:
            run_click(command)
        said = capsys.readouterr().err
        assert ended.value.code == code, said
        assert said.startswith("error: "), said
        assert said.count("\n") == 1, said
        assert not [word for word in OF_LIBRARIES if word in said], said
        return said

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


REGION_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "boundry": (
        REGION.replace("boundary =", "boundry ="),
        ("'boundry' is unknown: did you mean 'boundary'?",),
    ),
    "all at once": (
        'nme = "x"\nversion = 1\nlicence = "MIT"\n[traning]\ntrees = 3\n',
        (
            "'nme' is unknown: did you mean 'name'?",
            "'licence' is unknown: did you mean 'license'?",
            "'traning' is unknown: did you mean 'training'?",
            "'title' is missing",
            "'version' must be a text in quotes, not 1",
            "'boundary' is missing",
        ),
    ),
    "empty": ("", ("'name' is missing", "'boundary' is missing")),
    "lost boundary": (
        REGION.replace("boundary.geojson", "boundry.geojson"),
        ("boundry.geojson does not exist: did you mean 'boundary.geojson'?",),
    ),
    "boundary a folder": (REGION.replace("boundary.geojson", "."), ("is a folder",)),
    "boundary a list": (
        REGION.replace('"boundary.geojson"', "['a']"),
        ("'boundary' must be a path in quotes, not a list",),
    ),
    "name with spaces": (
        REGION.replace('"valley"', '"my valley"'),
        ("'name' must be small letters, digits and _", "not 'my valley'"),
    ),
    "two numbers": (REGION.replace("1.0.0", "1.0"), ("'version' must be three numbers",)),
    "title of nothing": (REGION.replace("The valley", " "), ("'title' must be a line of text",)),
    "countries a text": (f"{REGION}countries = 'Kenya'", ("'countries' must be a list",)),
    "countries dates": (f"{REGION}countries = [2020-01-01]", ("'countries.0' must be a text",)),
    "trees at the top": (f"{REGION}trees = 300", ("it belongs into the table [training]",)),
    "license in a model": (
        f"{REGION}{MODEL}license = 'MIT'",
        ("'models.forest.license' is unknown: it belongs above all tables",),
    ),
    "misspelled criterion": (
        f"{REGION}training = {{ criterion = 'giny', trees = 0, folds = 2.5 }}",
        (
            "must be 'gini' or 'entropy', not 'giny': did you mean 'gini'?",
            "'training.trees' must be at least 1, not 0",
            "'training.folds' must be a whole number, not 2.5",
        ),
    ),
    "odd limits": (
        f"{REGION}[limits]\nwater_frequency = 20\nelevation = 1\nslope_percent = nan\n"
        "require_both_halves = 'yes'",
        (
            "'limits.elevation' is unknown: did you mean 'elevation_m'?",
            "'limits.water_frequency' must be at most 1, not 20",
            "'limits.slope_percent' must be a finite number, not nan",
            "'limits.require_both_halves' must be true or false, not 'yes'",
        ),
    ),
    "limits a number": (f"{REGION}limits = 3", ("'limits' must be a table, not 3",)),
    "half the layers": (
        f"{REGION}[ancillary]\nslope = 's.tif'",
        ("'ancillary.rain_first_half' is missing",),
    ),
    "layer a number": (
        f"{REGION}[ancillary]\n{LAYERS}water = 1",
        ("'ancillary.water' must be a path or address, or a table with collection and asset",),
    ),
    "layer without asset": (
        f"{REGION}[ancillary]\n{LAYERS}water = {{ colection = 'a', dated = 'perhaps' }}",
        (
            "'ancillary.water.colection' is unknown: did you mean 'collection'?",
            "'ancillary.water.asset' is missing",
            "'ancillary.water.dated' must be true or false",
        ),
    ),
    "layer of one slash": (
        f"{REGION}[ancillary]\n{LAYERS}elevation = 's3:/bucket/dem.tif'",
        ("'ancillary.elevation' is no address: did you mean 's3://bucket/dem.tif'?",),
    ),
    "protected areas elsewhere": (
        f"{REGION}protected_areas = 'gs://bucket/parks.tif'",
        ("'protected_areas' is no address: gs:// is not offered",),
    ),
    "models a list": (f"{REGION}models = ['a']", ("'models' must be a table, not a list",)),
    "model a path": (
        f"{REGION}models.forest = 'a.cropmodel'",
        ("'models.forest' must be a table, not 'a.cropmodel'",),
    ),
    "unknown recipe": (
        f"{REGION}{MODEL.replace('forest', 'forrest')}",
        ("'models.forrest' must be 'forest', 'boosted' or 'robust'", "did you mean 'forest'?"),
    ),
    "short digest": (
        f"{REGION}{MODEL.replace('0' * 64, 'abc')}",
        ("'models.forest.sha256' must be 64 digits and letters from a to f, not 'abc'",),
    ),
    "license with spaces": (
        f"{REGION}license = 'CC BY 4.0'",
        ("'license' must be an SPDX identifier", "did you mean 'CC-BY-4.0'?"),
    ),
    "license a number": (f"{REGION}license = 4", ("'license' must be a text in quotes, not 4",)),
    "license a script": (f"{REGION}license = 'javascript:x'", ("must be an SPDX identifier",)),
    "providers a text": (f"{REGION}providers = 'me'", ("'providers' must be a list in [ ]",)),
    "providers one table": (
        f"{REGION}[providers]\nname = 'me'",
        ("'providers' must be a list in [ ], not a table",),
    ),
    "odd provider": (
        f"{REGION}[[providers]]\nnme = 'me'\nroles = ['owner']\nurl = 'x.org'",
        (
            "'providers.0.nme' is unknown: did you mean 'name'?",
            "'providers.0.roles.0' must be 'licensor', 'producer', 'processor' or 'host'",
            "'providers.0.url' must be an address that begins with http:// or https://",
        ),
    ),
    "key twice": (f'{REGION}name = "b"\n', ("is not valid TOML: a key is there twice",)),
    "table twice": (f"{REGION}[limits]\n[limits]\n", ("the table 'limits' is there twice",)),
    "no end of text": (f'{REGION}countries = ["a', ("is not valid TOML",)),
    "no equals sign": (f"{REGION}[limits]\nslope 2", ("is not valid TOML: Expected '='", "line 6")),
    "JSON": ('{"name": "valley"}', ("is not valid TOML",)),
    "zeros": ("\0" * 100, ("is not valid TOML",)),
    "nested": (f"a = {'[' * 100_000}", ("it is nested too deep",)),
    "digits": (f"a = {'9' * 10_000}", ("it has a number of too many digits",)),
}


@pytest.mark.parametrize("case", REGION_FILES)
def test_a_region_file(case: str, here: Path, say: Say) -> None:
    text, expected = REGION_FILES[case]
    (here / "boundary.geojson").write_text(SQUARE)
    (here / "region.toml").write_text(text)
    said = say(cropmask, ExitCode.MISCONFIGURED, "tiles", "--region", "region.toml")
    assert said.startswith("error: region file region.toml")
    for part in expected:
        assert part in said


REGIONS = {
    "a folder with a region file": ("valley", 3, "'./valley' is a folder: name the region file"),
    "a misspelled name": ("eastren", 3, "unknown region 'eastren': did you mean 'eastern'?"),
    "no name": ("", 3, "unknown region '': known regions are central, eastern"),
    "a lost file": ("lost.toml", 13, "region file ./lost.toml cannot be read: No such file"),
    "an address": ("s3://bucket/region.toml", 13, "cannot be read: No such file"),
}


@pytest.mark.parametrize("case", REGIONS)
def test_a_region(case: str, here: Path, say: Say) -> None:
    name, code, expected = REGIONS[case]
    (here / "valley").mkdir()
    (here / "valley" / "region.toml").write_text(REGION)
    where = f"./{name}" if name in ("valley", "lost.toml") else name
    assert expected.replace("./lost", "lost") in say(
        cropmask, ExitCode(code), "tiles", "--region", where
    )


def test_the_folder_of_one_region_given_for_that_of_all(say: Say) -> None:
    words = "tiles", "--region", "eastern", "--models", str(models_folder() / "eastern")
    assert "give --models its parent" in say(cropmask, ExitCode.REJECTED, *words)


OUTPUTS = {
    "s3:/foo": "did you mean 's3://foo'?",
    "s3:foo/maps": "did you mean 's3://foo/maps'?",
    "s3//foo": "did you mean 's3://foo'?",
    "s3:///foo": "did you mean 's3://foo'?",
    "S3://foo": "did you mean 's3://foo'?",
    "s3a://foo": "did you mean 's3://foo'?",
    "file:/maps": "did you mean 'file:///maps'?",
    "http:/example.org": "http:// is not offered: give a folder or s3://bucket/prefix",
    "https://example.org/x": "https:// is not offered: give a folder or s3://bucket/prefix",
    "gs://bucket": "gs:// is not offered: give a folder or s3://bucket/prefix",
    "gs:bucket": "gs:// is not offered",
    "az://container": "az:// is not offered",
    "s3://": "s3://bucket/prefix",
    "file://": "give a folder or s3://bucket/prefix",
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("as_variable", [False, True])
def test_an_output(output: str, as_variable: bool, here: Path, say: Say) -> None:
    words = ["--tile", "x10y20", "--region", "eastern"]
    environ = {"CROPMASK_OUTPUT": output} if as_variable else {}
    given = [] if as_variable else ["--output", output]
    said = say(job, ExitCode.MISCONFIGURED, *words, *given, **environ)
    assert f"results cannot be written to '{output}'" in said
    assert OUTPUTS[output] in said
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["plan", "submit", "worker", "status", "ls", "reconcile"])
def test_an_output_of_other_commands(command: str, here: Path, say: Say) -> None:
    words = [] if command in ("worker", "status") else ["--region", "eastern"]
    said = say(cropmask, ExitCode.MISCONFIGURED, command, *words, "--output", "s3:/foo")
    assert "did you mean 's3://foo'?" in said
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("check", "s3:/bucket"), "'s3:/bucket' is no catalog: did you mean 's3://bucket'?"),
        (("check", "gs://bucket"), "'gs://bucket' is no catalog: gs:// is not offered"),
        (("build", "--results", "s3:/bucket"), "did you mean 's3://bucket'?"),
        (("serve", "S3://bucket"), "did you mean 's3://bucket'?"),
        (
            ("publish", "s3//bucket", "--base-url", "https://x.org", "--output", "x"),
            "did you mean 's3://bucket'?",
        ),
    ],
)
def test_a_place_of_results(words: tuple[str, ...], expected: str, here: Path, say: Say) -> None:
    assert expected in say(cropmask, ExitCode.MISCONFIGURED, "catalog", *words)
    assert list(here.iterdir()) == []


def test_a_folder_may_look_like_an_address(here: Path) -> None:
    assert open_site({}, {"output": "./s3:/foo"}).store().uri("x") == str(here / "s3:/foo/x")
    assert open_site({}, {"output": "run:1"}).store().uri("x") == str(here / "run:1/x")


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("https:/sqs.example.org/1/q", "did you mean 'https://sqs.example.org/1/q'?"),
        ("htps://sqs.example.org/1/q", "did you mean 'https://sqs.example.org/1/q'?"),
        ("sqs://queue", "sqs:// is not offered"),
        ("s3://bucket/queue", "s3:// is not offered"),
    ],
)
def test_a_queue(queue: str, expected: str, here: Path, say: Say) -> None:
    said = say(cropmask, ExitCode.MISCONFIGURED, "worker", "--queue", queue, "--idle-exit", "0")
    assert expected in said
    assert list(here.iterdir()) == []


def item_of(folder: Path) -> str:
    path = folder / "item.json"
    path.write_text(json.dumps({"type": "Feature", "id": "i", "stac_version": "1.0.0"}))
    return str(path)


def file_of(text: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / "catalog.json").write_text(text)
        return str(folder / "catalog.json")

    return write


def empty_folder(folder: Path) -> str:
    (folder / "empty" / "more").mkdir(parents=True)
    (folder / "empty" / "read.me").write_text("nothing")
    return str(folder / "empty")


REAL_TILE = ("--tile", "x215y075", "--region", "eastern", "--log-format", "text")
CATALOGS: dict[str, tuple[Callable[[Path], str], str]] = {
    "a web page": (file_of("<!DOCTYPE html><html></html>"), "is not JSON: it is a web page or XML"),
    "no JSON": (file_of("catalog"), "is not JSON"),
    "no type": (file_of('{"links": []}'), "is no STAC document: give a STAC API"),
    "a type of GeoJSON": (file_of(SQUARE), "is no STAC document: give a STAC API"),
    "a list": (file_of("[]"), "is no STAC document: give a STAC API"),
    "a number": (file_of("3"), "is no STAC document: give a STAC API"),
    "an item": (item_of, "is one STAC item, and a map needs one of each half-year"),
    "a folder of nothing": (empty_folder, "there is no STAC item below"),
    "nothing": (lambda folder: str(folder / "none"), "there is no catalog at"),
    "one slash": (lambda _: "s3:/bucket/catalog.json", "did you mean 's3://bucket/catalog.json'?"),
    "capitals": (lambda _: "HTTPS://example.org", "did you mean 'https://example.org'?"),
    "elsewhere": (lambda _: "gs://bucket", "gs:// is not offered: give a path, or an http(s)://"),
}


@pytest.mark.parametrize("case", CATALOGS)
def test_a_catalog(case: str, tmp_path: Path, say: Say) -> None:
    make, expected = CATALOGS[case]
    words = [*REAL_TILE, "--catalog", make(tmp_path)]
    output = tmp_path / "out"
    assert expected in say(job, ExitCode.MISCONFIGURED, *words, "--output", str(output))
    assert not output.exists()


def test_a_web_page_over_http(tmp_path: Path, say: Say) -> None:
    page = {"/": (200, {"Content-Type": "text/html"}, b"\n <html>Welcome</html>")}
    with serve_answers(page) as address:
        words = [*REAL_TILE, "--catalog", f"{address}/"]
        said = say(job, ExitCode.MISCONFIGURED, *words, "--output", str(tmp_path / "out"))
    assert "is not JSON: it is a web page or XML; give a STAC API" in said


VARIABLES = {
    "CROPMASK_CATALOGUE": "CROPMASK_CATALOG",
    "CROPMASK_OUTPT": "CROPMASK_OUTPUT",
    "CROPMASK_MODEL": "CROPMASK_MODELS",
    "CROPMASK_THREAD": "CROPMASK_THREADS",
    "CROPMASK_CACHE_DIR": "CROPMASK_CACHE",
    "CROPMASK_QUEUE_URL": "CROPMASK_QUEUE",
    "CROPMASK_S3_ENDPOINT_URL": "CROPMASK_S3_ENDPOINT",
    "cropmask_output": "CROPMASK_OUTPUT",
}


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize(
    "command", [["plan", "--region", "eastern"], ["tiles", "--region", "sahel"]]
)
def test_a_misspelled_variable(name: str, command: list[str], here: Path, say: Say) -> None:
    said = say(cropmask, ExitCode.MISCONFIGURED, *command, **{name: "x"})
    meant = VARIABLES[name]
    assert said == f"error: the environment variable {name} is unknown: did you mean {meant}?\n"
    assert list(here.iterdir()) == []


def test_other_variables_are_named_once_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    others = {"CROPMASK_SHARED_DATA": "/data", "CROPMASK_TEST_SOMETHING": "1"}
    with caplog.at_level(logging.WARNING, "cropmask"):
        assert open_site(others) == open_site({})
        open_site(others)
    assert [message for message in caplog.messages if "unknown environment" in message] == [
        "unknown environment variables are ignored: CROPMASK_SHARED_DATA, CROPMASK_TEST_SOMETHING"
    ]


def test_variables_of_kubernetes_are_none_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    host = "tcp://10.0.0.1:80"
    of_services = {
        "CROPMASK_PORT": host,
        "CROPMASK_SERVICE_HOST": "10.0.0.1",
        "CROPMASK_SERVICE_PORT": "80",
        "CROPMASK_SERVICE_PORT_HTTP": "80",
        "CROPMASK_PORT_80_TCP": host,
        "CROPMASK_PORT_80_TCP_ADDR": "10.0.0.1",
        "CROPMASK_QUEUE_SERVICE_HOST": "10.0.0.1",
        "CROPMASK_QUEUE_PORT": host,
        "CROPMASK_OUTPUT_PORT_80_TCP_PORT": "80",
    }
    with caplog.at_level(logging.WARNING, "cropmask"):
        assert open_site({**of_services, "CROPMASK_UNSET": ""}) == open_site({})
    assert caplog.messages == []


SETTINGS: dict[str, Callable[[Path], object]] = {
    "no text": lambda path: path.write_bytes(b"\x00\xff" * 50),
    "nested": lambda path: path.write_text("limits = " + "[" * 100_000),
    "nested tables": lambda path: path.write_text("limits" + ".a" * 9_000 + " = 1"),
    "large": lambda path: path.write_text("# " + "x" * 10_000_000),
    "many digits": lambda path: path.write_text(f"threads = {'9' * 10_000}"),
    "long key": lambda path: path.write_text(f"{'x' * 19_000} = 1"),
    "many keys": lambda path: path.write_text("".join(f"x{i} = 1\n" for i in range(1_800))),
    "two lines": lambda path: path.write_text('"a\\nb" = 1'),
    "two lines in a value": lambda path: path.write_text('output = "a\\nb"'),
    "codes of a terminal": lambda path: path.write_text('output = "\\u001b[31mred"'),
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a loop": lambda path: path.symlink_to(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("what", SETTINGS)
def test_a_hostile_file_of_settings(what: str, here: Path, say: Say) -> None:
    SETTINGS[what](here / "odd.toml")
    before, began = list(here.iterdir()), time.process_time()
    said = say(cropmask, ExitCode.MISCONFIGURED, "config", "--config", "odd.toml")
    assert "odd.toml" in said
    assert len(said) < 1000
    assert time.process_time() - began < 10
    assert list(here.iterdir()) == before


@pytest.mark.parametrize("key", ["cache", "heartbeat", "image", "trust_catalog"])
def test_a_file_that_only_lies_there_cannot_say_all(
    key: str, here: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROPMASK_CONFIG")
    value = "true" if key == "trust_catalog" else "'x'"
    (here / "cropmask.toml").write_text(f"{key} = {value}\n")
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    said = say(cropmask, ExitCode.MISCONFIGURED, "worker")
    assert f"line 1: '{key}' counts only in a file that is named" in said
    assert sorted(path.name for path in here.iterdir()) == ["below", "cropmask.toml"]


VALUES: list[tuple[dict[str, Any], str]] = [
    ({"CROPMASK_ENV": "production"}, "unknown environment 'production': choose one of"),
    ({"CROPMASK_RESOLUTION": "30"}, "resolution 30 m is not offered"),
    ({"CROPMASK_THREADS": "-1"}, "CROPMASK_THREADS is '-1'"),
    ({"CROPMASK_MEMORY": "much"}, "write it like 4GB"),
    ({"CROPMASK_S3_UNSIGNED": "maybe"}, "CROPMASK_S3_UNSIGNED is 'maybe'"),
    ({"CROPMASK_CPU_HOUR_PRICE": "free"}, "it must be dollars"),
]


@pytest.mark.parametrize(("environ", "expected"), VALUES)
def test_a_value_of_a_variable(environ: dict[str, str], expected: str, say: Say) -> None:
    said = say(cropmask, ExitCode.MISCONFIGURED, "plan", "--region", "eastern", **environ)
    assert expected in said


def test_the_program_itself_says_one_line(tmp_path: Path) -> None:
    words = "cropmask-job", "--tile", "x10y20", "--region", "eastern", "--output", "s3:/foo"
    done = subprocess.run(
        [Path(sys.executable).with_name(words[0]), *words[1:], "--log-format", "text"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == ExitCode.MISCONFIGURED
    assert (
        done.stderr == "error: results cannot be written to 's3:/foo': did you mean 's3://foo'?\n"
    )
    assert list(tmp_path.iterdir()) == []
