"""SIGKILL at every write of a real job, then the job again: the dataset of an undisturbed run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from cropmask.store.doors import open_store
from cropmask.store.protocol import Store, StoreOptions
from tests.clouds import serve_aws, use_made_up_credentials
from tests.faults.jobs import ITEM, Jobs, make_tiny, start_jobs

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
KILLED = -9
PROBE = ".cropmask-write-check"


def contents(store: Store) -> dict[str, bytes]:
    """Everything that a reader of results may see."""
    return {entry.key: store.get(entry.key) for entry in store.list()}


def check_unfinished(store: Store, whole: dict[str, bytes]) -> None:
    """After a kill: no key holds a part of anything, and an item stands for all of its files."""
    found = contents(store)
    for key in found.keys() - {PROBE}:
        assert found[key] == whole[key], f"{key} is not as it must be"
    if ITEM in found:
        assert found == whole, "an item without all of its files"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("jobs")
    world = make_tiny(folder / "world")
    jobs = start_jobs(world, folder, {})
    yield jobs
    jobs.close()


def test_in_a_folder(jobs: Jobs, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    assert jobs.run(str(undisturbed)) == 0, jobs.said
    steps = jobs.steps
    whole = contents(open_store(str(undisturbed)))
    assert sum(step.startswith("os.link") for step in steps) == 4, "probe, two catalogs, item"
    assert sum(step.startswith("os.rename") for step in steps) == 7, "files of a dataset"
    for kill in range(1, len(steps) + 2):
        output = tmp_path / f"killed-{kill}"
        store = open_store(str(output))
        code = jobs.run(str(output), kill=kill)
        assert code == (KILLED if kill <= len(steps) else 0), (kill, jobs.said)
        if output.exists():
            check_unfinished(store, whole)
        assert jobs.run(str(output)) == 0, (kill, jobs.said)
        assert contents(store) == whole, (kill, steps[kill - 2 : kill])
        shutil.rmtree(output)


def test_in_the_middle_of_a_file(jobs: Jobs, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    assert jobs.run(str(undisturbed)) == 0, jobs.said
    whole = contents(open_store(str(undisturbed)))
    copies = [number for number, step in enumerate(jobs.steps, 1) if step == "copy"]
    assert len(copies) == 7
    for kill in copies:
        output = tmp_path / f"killed-{kill}"
        store = open_store(str(output))
        assert jobs.run(str(output), kill=kill, half=True) == KILLED, jobs.said
        parts = [path for path in output.rglob("*.cropmask-part") if path.stat().st_size > 0]
        assert len(parts) == 1, "half a file lies there"
        check_unfinished(store, whole)
        assert jobs.run(str(output)) == 0, jobs.said
        assert contents(store) == whole
        shutil.rmtree(output)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve_aws() as url:
        yield url


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
