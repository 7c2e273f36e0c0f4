"""Shared colors on the command line: fitted once, then planned, checked and mapped with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cropmask.cli.colors import colors
from cropmask.cli.doctor import doctor
from cropmask.cli.job import job
from cropmask.cli.plan import plan
from cropmask.errors import Misconfigured
from tests.demo_run import EASTERN, Results

TILE = str(EASTERN[0])


@pytest.fixture
def places(results: Results, tmp_path: Path) -> dict[str, str]:
    return {
        "CROPMASK_CATALOG": str(results.world),
        "CROPMASK_MODELS": str(results.models),
        "CROPMASK_OUTPUT": str(tmp_path / "out"),
        "CROPMASK_RESOLUTION": "100",
    }


def run(command: object, places: dict[str, str], *words: str) -> Result:
    return CliRunner(env=places).invoke(command, words, catch_exceptions=False)  # type: ignore[arg-type]


def test_fitted_planned_checked_and_mapped(places: dict[str, str]) -> None:
    region = ("--region", "eastern")
    with pytest.raises(Misconfigured, match=r"cropmask colors fit --region .* --period 2019--P1Y"):
        run(job, places, *region, "--tile", TILE, "--seamless")
    seamless = {**places, "CROPMASK_SEAMLESS": "1"}
    assert "FAIL  colors" in run(doctor, seamless, *region).output

    first = run(colors, places, "fit", *region, "--json")
    said = json.loads(first.output)
    assert said["new"]
    assert said["tiles"] == [TILE, str(EASTERN[1])]
    text = Path(said["file"]).read_text()
    again = run(colors, places, "fit", *region)
    assert again.output.startswith("Nothing to do"), again.output
    run(colors, places, "fit", *region, "--overwrite")
    assert Path(said["file"]).read_text() == text, "equal pixels, equal colors"
    assert "ok    colors" in run(doctor, seamless, *region).output

    assert run(job, places, *region, "--tile", TILE).exit_code == 0
    found = run(plan, places, *region, "--tiles", TILE, "--seamless", "--json")
    planned = json.loads(found.output)
    assert planned["seamless"]
    assert planned["counts"]["changed"] == 1, planned
    done = run(job, places, *region, "--tile", TILE, "--seamless", "--overwrite")
    assert done.exit_code == 0, done.output
    same = json.loads(run(plan, seamless, *region, "--tiles", TILE, "--json").output)
    assert same["counts"]["unchanged"] == 1
    alone = json.loads(run(plan, places, *region, "--tiles", TILE, "--json").output)
    assert alone["counts"]["changed"] == 1
