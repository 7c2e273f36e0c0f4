"""The whole job with results in S3: the same bytes as in a folder, and skipped the second time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cropmask.errors import Reason, Rejected
from cropmask.grid import Tile
from cropmask.operate import fitseries
from cropmask.operate.fitseries import fit_region_series
from cropmask.operate.mapseries import map_series
from cropmask.remote.fetch import Verify
from cropmask.site.site import Site, open_site
from cropmask.task import Period, Task
from cropmask.tile.run import run_tile
from cropmask.tile.series import run_series
from tests.years import FEW_PIXELS, NAME, PERIOD, TILES, YearlyMaps
from tests.years import TASK as SERIES

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


def test_a_series_of_maps_in_s3_is_that_of_maps_in_a_folder(
    endpoint: str, yearly: YearlyMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitseries, "MOST_PIXELS", FEW_PIXELS)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="years")
    files = {str(p.relative_to(yearly.folder)): p for p in yearly.folder.rglob("*") if p.is_file()}
    made = {name for name in files if "--P6Y" in name}
    for name in files.keys() - made:
        if name.endswith((".json", "_prob.tif")):
            client.upload_file(str(files[name]), "years", name)
    site = open_site({**yearly.places, "CROPMASK_S3_ENDPOINT": endpoint}, {"output": "s3://years"})
    found = map_series(NAME, PERIOD, site)
    assert [one.state for one in found.done.values()] == ["SUCCEEDED"]
    for name in made:
        body = client.get_object(Bucket="years", Key=name)["Body"].read()
        assert body == files[name].read_bytes(), name
    assert run_series(SERIES, site).state == "SKIPPED"

    (name,) = (name for name in files if f"{TILES[0]}_2022--P1Y_prob" in name)
    damaged = bytearray(files[name].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    client.put_object(Bucket="years", Key=name, Body=bytes(damaged))
    every = replace(site, read=replace(site.read, verify=Verify.ALL))
    for again in (
        lambda: run_series(SERIES, site, overwrite=True),
        lambda: fit_region_series(site.region(NAME), PERIOD, every, overwrite=True),
    ):
        with pytest.raises(Rejected, match=r"2022--P1Y_prob\.tif") as why:
            again()
        assert why.value.reason is Reason.CORRUPT_INPUT
