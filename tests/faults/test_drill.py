"""A small drill: its workers are killed, and the region is there all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.drill import Drill, find_faults, run_drill
from tests.workerprocess import make_region_world


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_small_drill(tmp_path: Path) -> None:
    region = make_region_world(tmp_path / "world", 20)
    drill = Drill(kill_seconds=7, lease_seconds=10, recipe="boosted", most_seconds=600)
    figures = run_drill(region, tmp_path / "run", drill)
    assert not find_faults(figures), figures
    assert figures.kills >= 1
