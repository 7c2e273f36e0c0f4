"""SIGKILL around every request of a job that writes to S3, then the job again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from cropmask.store.doors import open_store
from cropmask.store.protocol import StoreOptions
from tests.clouds import serve_aws, use_made_up_credentials
from tests.faults.jobs import KILLED, Jobs, check_unfinished, contents, start_jobs

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve_aws() as url:
        yield url


@pytest.mark.slow
def test_in_s3(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> None:
    use_made_up_credentials(monkeypatch, tmp_path)
    client: Any = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="results")
    options = StoreOptions(endpoint_url=endpoint)
    remote = start_jobs(jobs.world, tmp_path, {"CROPMASK_S3_ENDPOINT": endpoint})
    try:
        assert remote.run("s3://results/undisturbed") == 0, remote.said
        steps = remote.steps
        whole = contents(open_store("s3://results/undisturbed", options))
        assert jobs.run(str(tmp_path / "folder")) == 0, jobs.said
        assert contents(open_store(str(tmp_path / "folder"))) == whole
        assert sum(step.startswith("before PUT") for step in steps) == 11, "ten and the probe"
        for kill in range(1, len(steps) + 1):
            place = f"s3://results/killed-{kill}"
            store = open_store(place, options)
            assert remote.run(place, kill=kill) == KILLED, (kill, remote.said)
            check_unfinished(store, whole)
            assert remote.run(place) == 0, (kill, remote.said)
            assert contents(store) == whole, (kill, steps[kill - 1])
    finally:
        remote.close()
