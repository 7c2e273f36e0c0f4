"""The whole job with results in S3: the same bytes as in a folder, and skipped the second time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cropmask.grid import Tile
from cropmask.site.site import Site, open_site
from cropmask.task import Period, Task
from cropmask.tile.run import run_tile

TASK = Task(Tile(10, 20), "eastern", Period.parse("2019"))
KEYS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "me", "AWS_REGION": "us-east-1"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def make_site(output: str, cache: Path, endpoint: str = "") -> Site:
    environ = {"CROPMASK_CACHE": str(cache), "CROPMASK_S3_ENDPOINT": endpoint}
    return open_site(environ, {"output": output, "resolution": "100"})


def test_results_in_s3_are_those_in_a_folder(
    endpoint: str, tmp_path: Path, demo_cache: Path
) -> None:
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="maps")
    remote = make_site("s3://maps/cropland", demo_cache, endpoint)
    result = run_tile(TASK, remote, recipe="boosted")
    assert result.item.startswith("s3://maps/cropland/crop_mask_eastern/1-1-0/x010/y020/2019--P1Y/")
    run_tile(TASK, make_site(str(tmp_path), demo_cache), recipe="boosted")
    files = {str(p.relative_to(tmp_path)): p for p in tmp_path.rglob("*") if p.is_file()}
    listed = client.list_objects_v2(Bucket="maps")["Contents"]
    assert {entry["Key"] for entry in listed} == {f"cropland/{name}" for name in files}
    for name, path in files.items():
        body = client.get_object(Bucket="maps", Key=f"cropland/{name}")["Body"].read()
        assert body == path.read_bytes(), name
    again = run_tile(TASK, remote, recipe="boosted")
    assert (again.state, again.item) == ("SKIPPED", result.item)
