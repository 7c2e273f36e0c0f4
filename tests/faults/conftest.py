"""What several files of fault tests begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.jobs import Jobs, make_tiny, start_jobs


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("jobs")
    world = make_tiny(folder / "world")
    jobs = start_jobs(world, folder, {})
    yield jobs
    jobs.close()
