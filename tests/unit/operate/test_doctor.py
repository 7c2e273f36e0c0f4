"""The preflight: what it looks at, and how it ends where something is wrong."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from cropmask.cli.doctor import doctor


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
