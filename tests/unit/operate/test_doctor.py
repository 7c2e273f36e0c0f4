"""The preflight: what it looks at, and how it ends where something is wrong."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cropmask.cli.doctor import doctor
from cropmask.operate.campaign import NEEDED
from cropmask.operate.doctor import examine
from cropmask.site.site import open_site


def run(cache: Path, *words: str) -> Result:
    environ = {"CROPMASK_CACHE": str(cache), "CROPMASK_RESOLUTION": "100"}
    return CliRunner(env=environ).invoke(doctor, words, catch_exceptions=False)


def state_of(result: Result, name: str) -> str:
    (line,) = (line for line in result.output.splitlines() if line[6:].startswith(f"{name} "))
    return line.split()[0]


def test_all_is_well(demo_cache: Path, tmp_path: Path) -> None:
    result = run(demo_cache, "--output", str(tmp_path / "new"))
    assert result.exit_code == 0, result.output
    for name in ("region", "model forest", "catalog", "layer slope", "output", "queue"):
        assert state_of(result, name) == "ok", result.output
    assert "0 tasks, 0 dead letters" in result.output
    assert not any(path.is_file() for path in tmp_path.rglob("*")), "nothing is left"


def test_what_cannot_be_used_is_said_with_its_exit_code(demo_cache: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    result = run(demo_cache, "--output", str(tmp_path), "--queue", str(blocked / "queue"))
    assert (result.exit_code, state_of(result, "queue")) == (13, "FAIL"), result.output
    result = run(demo_cache, "--output", str(blocked))
    assert (result.exit_code, state_of(result, "output")) == (13, "FAIL"), result.output


def test_an_unknown_region_is_no_reason_to_look_at_nothing_else(
    demo_cache: Path, tmp_path: Path
) -> None:
    result = run(demo_cache, "--region", "nowhere", "--output", str(tmp_path))
    assert (result.exit_code, state_of(result, "output")) == (3, "ok"), result.output


def take_away(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """As if these packages were not installed."""

    def find_version(package: str) -> str:
        if package in missing:
            raise importlib.metadata.PackageNotFoundError(package)
        return importlib.metadata.version(package)

    monkeypatch.setattr("cropmask.operate.doctor.version", find_version)


def test_an_optional_package_that_is_missing_is_a_note(
    demo_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--output", str(tmp_path / "new"))
    assert state_of(run(demo_cache, *words), "packages") == "ok"
    take_away(monkeypatch, "starlette", "rustac", "uvicorn")
    result = run(demo_cache, *words)
    assert (result.exit_code, state_of(result, "packages")) == (0, "warn"), result.output
    assert (
        "without rustac for building the catalog of results, starlette and uvicorn for serving "
        "results: 'make setup' in a clone of cropmask brings them, elsewhere 'pip install rustac "
        "starlette uvicorn'"
    ) in result.output


def test_what_comes_next_can_need_a_package(
    demo_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROPMASK_CACHE", str(demo_cache))
    site = open_site({}, {"output": str(tmp_path)})
    take_away(monkeypatch, "rustac", "matplotlib")
    (check,) = [one for one in examine(site, "eastern", NEEDED) if one.name == "packages"]
    assert (check.state, check.exit_code) == ("failed", 13)
    assert check.detail.startswith("building the catalog of results needs the package rustac: ")
    take_away(monkeypatch, "matplotlib")
    (check,) = [one for one in examine(site, "eastern", NEEDED) if one.name == "packages"]
    assert (check.state, check.exit_code) == ("warning", 0)
