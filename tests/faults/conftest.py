"""What several files of fault tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.jobs import Jobs, make_tiny, start_jobs
from tests.workerprocess import Crew, RegionWorld, make_region_world, open_crew


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("jobs")
    world = make_tiny(folder / "world")
    jobs = start_jobs(world, folder, {})
    yield jobs
    jobs.close()


@pytest.fixture(scope="module")
def region_world(tmp_path_factory: pytest.TempPathFactory) -> RegionWorld:
    return make_region_world(tmp_path_factory.mktemp("region") / "world", 4)


@pytest.fixture
def crew(region_world: RegionWorld, tmp_path: Path) -> Iterator[Crew]:
    with open_crew(region_world, tmp_path) as opened:
        yield opened
