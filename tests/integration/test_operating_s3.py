"""An operator's day with results in S3 (moto's server on loopback): copied, watched, compared,
looked at, deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import click
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner, Result
from moto.server import ThreadedMotoServer

import cropmask
from cropmask.cli.explain import logs
from cropmask.cli.mosaic import mosaic
from cropmask.cli.reconcile import reconcile
from cropmask.cli.results import ls, rm, sync
from cropmask.cli.sample import sample
from cropmask.cli.status import status
from cropmask.contract import ExitCode
from cropmask.fleet.records import State
from cropmask.grid import Tile, tiles_within
from cropmask.region.region import load_region
from cropmask.site.site import open_site
from cropmask.sources.boundary import load_boundary
from cropmask.store.doors import open_store
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import StoreOptions
from tests.results import EASTERN, put_result
from tests.runs import make_attempt, make_run, put_records

BUCKET = "operating"
PLACE = f"s3://{BUCKET}/cropland"
REGION = ("--region", "eastern")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
        yield url
        server.stop()


@pytest.fixture(scope="module")
def tiles() -> tuple[Tile, ...]:
    return tiles_within(load_boundary(load_region("eastern").boundary))[:2]


def run(endpoint: str, command: click.Command, *words: str) -> Result:
    environ = {"CROPMASK_S3_ENDPOINT": endpoint, "CROPMASK_ENV": "prod"}
    return CliRunner(env=environ).invoke(command, words)


def test_tiles_are_loaded_as_one(endpoint: str, tiles: tuple[Tile, ...], tmp_path: Path) -> None:
    local = FolderStore(tmp_path / "local")
    for seed, tile in enumerate(tiles):
        put_result(local, tile, seed=seed)
    place = f"s3://{BUCKET}/loaded"
    copied = run(endpoint, sync, str(local.root), place, *REGION)
    assert copied.exit_code == 0, copied.output
    site = open_site({}, {"s3_endpoint": endpoint, "output": place})
    found = cropmask.load(place, bands=["prob", "mask"], site=site)
    xr.testing.assert_equal(found, cropmask.load(local.root, bands=["prob", "mask"]))
    (item, *_) = (entry.key for entry in local.list() if entry.key.endswith("stac-item.json"))
    one = cropmask.load(f"{place}/{item}", site=site)
    xr.testing.assert_equal(one, cropmask.load(local.root / item))


def test_a_day(endpoint: str, tiles: tuple[Tile, ...], tmp_path: Path) -> None:
    local = FolderStore(tmp_path / "local")
    for seed, tile in enumerate(tiles):
        put_result(local, tile, seed=seed)
    record = make_run(tiles, sent=0)
    attempts = [
        make_attempt(record, tile, State.SUCCEEDED, i, i, seconds=60.0, threads=2, host="pod-1")
        for i, tile in enumerate(tiles[:-1])
    ]
    remote = open_store(PLACE, StoreOptions(endpoint_url=endpoint))
    put_records(remote, record, attempts)
    place = ("--output", PLACE)

    copied = run(endpoint, sync, str(local.root), PLACE, *REGION)
    assert (copied.exit_code, "2 copied" in copied.output) == (0, True), copied.output
    assert "2 same; 0 B written" in run(endpoint, sync, str(local.root), PLACE, *REGION).output
    assert run(endpoint, ls, *REGION, *place).stdout.count(" done ") == 2

    watched = json.loads(run(endpoint, status, *place, "--json").stdout)
    assert (watched["counts"]["SUCCEEDED"], watched["counts"]["PENDING"]) == (1, 1)
    assert watched["dollars"] == pytest.approx(120 / 3600 * 0.05)
    assert "pod-1" in run(endpoint, logs, str(tiles[0]), *place).output

    compared = run(endpoint, reconcile, *REGION, *place, "--verify", "--json")
    assert compared.exit_code == ExitCode.PLAN_HAS_CHANGES, compared.output
    found = json.loads(compared.stdout)
    assert found["counts"]["ok"] == 2
    assert found["counts"]["missing"] == len(found["tiles"]) - 2

    file = tmp_path / "look.tif"
    looked = run(endpoint, mosaic, *REGION, *place, "--pixel-size", "1600", "--out", str(file))
    assert looked.exit_code == 0, looked.output
    assert f"2 of {len(found['tiles'])} tiles" in looked.output
    with rasterio.open(file) as raster:
        assert (raster.read(1) == 1).sum() > 1000

    drawn = [tmp_path / name for name in ("near.geojson", "far.geojson")]
    for out, where in zip(drawn, (("--output", str(local.root)), place), strict=True):
        words = ("--points", "80", "--partial", "--out", str(out))
        asked = run(endpoint, sample, *REGION, *where, *words)
        assert asked.exit_code == 0, asked.output
    assert drawn[0].read_bytes() == drawn[1].read_bytes()

    back = run(endpoint, sync, PLACE, str(tmp_path / "back"), *REGION)
    assert "2 copied" in back.output
    first = {e.key: local.get(e.key) for e in local.list()}
    again = FolderStore(tmp_path / "back")
    assert {e.key: again.get(e.key) for e in again.list()} == first

    assert run(endpoint, rm, *REGION, *place, "--all").exit_code == ExitCode.USAGE
    gone = run(endpoint, rm, *REGION, *place, "--all", "--yes")
    assert "deleted 2 datasets, 16 files" in gone.output
    assert [e.key for e in remote.list(EASTERN.folder)] == []
    assert remote.exists("catalog.json")
