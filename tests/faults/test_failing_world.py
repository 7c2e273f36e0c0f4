"""Servers that fail, damaged files and full disks: the tile succeeds or says why it does not."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cropmask.contract import ExitCode
from cropmask.grid import Tile
from cropmask.site.site import Site, open_site
from cropmask.store.doors import open_store
from cropmask.task import Period, Task
from cropmask.tile.run import run_tile
from tests.faults.jobs import ITEM, RESOLUTION, contents, make_tiny, words_of
from tests.servers import Fault, FileServer, serve_files
from tests.worlds import World, declare_checksums

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]
TASK_TILE, YEAR = Tile(215, 75), Period.parse("2019")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_tiny(tmp_path_factory.mktemp("world") / "w")
    declare_checksums(world, sizes=True)
    return world


def site_of(world: World, output: Path, catalog: str | None = None, **options: object) -> Site:
    found = open_site(
        {},
        {
            "catalog": catalog or str(world.catalog),
            "output": str(output),
            "resolution": RESOLUTION,
            "threads": 1,
            **options,
        },
    )
    quick = replace(found.read, retry_delay_seconds=0.05, timeout_seconds=5.0)
    return replace(found, read=quick)


def run(world: World, site: Site) -> None:
    run_tile(Task(TASK_TILE, f"{world.folder}/region.toml", YEAR), site, recipe="boosted")


@pytest.fixture(scope="module")
def expected(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Pixels of an undisturbed run; items differ by the addresses of their inputs."""
    output = tmp_path_factory.mktemp("expected")
    run(world, site_of(world, output))
    return pixels_of(output)


def pixels_of(output: Path) -> dict[str, bytes]:
    return {k: v for k, v in contents(open_store(str(output))).items() if k.endswith(".tif")}


@pytest.fixture
def server(world: World):
    with serve_files(world.folder) as server:
        yield server


FAULTS = {
    "503": [Fault(".tif", status=503, times=6), Fault(".json", status=503, times=2)],
    "429": [Fault("_B08", status=429, times=3)],
    "reset": [Fault("_B04", reset=True, times=2, methods=("GET",))],
    "truncated": [Fault("_B11", keep_bytes=400, times=2, methods=("GET",))],
    "damaged on the way": [Fault("_B02", spoil=True, times=1, methods=("GET",))],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_recovers(
    name: str, world: World, server: FileServer, expected: dict[str, bytes], tmp_path: Path
) -> None:
    server.faults.extend(FAULTS[name])
    run(world, site_of(world, tmp_path / "o", f"{server.url}/catalog.json"))
    assert all(fault.times == 0 for fault in server.faults), "every fault was met"
    assert pixels_of(tmp_path / "o") == expected


def job(words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from cropmask.cli.job import main; main()", *words]
    return subprocess.run(program, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


def test_a_corrupt_block_is_refused(world: World, tmp_path: Path) -> None:
    """GDAL reads it without a word: only the checksum tells, and without it pixels are wrong."""
    damaged = world.copied(tmp_path / "damaged")
    path = damaged.band_file(0, "red")
    with rasterio.open(path) as raster:
        offset = int(raster.tags(1, ns="TIFF").get("BLOCK_OFFSET_0_0", 0)) or None
        before = raster.read(1)
    content = bytearray(path.read_bytes())
    silent = None
    for at in range((offset or 600) + 2000, len(content) - 600, 131):
        spoiled = bytearray(content)
        spoiled[at] ^= 0x10
        path.write_bytes(spoiled)
        try:
            with rasterio.open(path) as raster:
                after = raster.read(1)
        except rasterio.errors.RasterioIOError:
            continue
        if not np.array_equal(before, after):
            silent = at
            break
    assert silent is not None, "no damage passes GDAL unseen: the checksums would not be needed"
    done = job(words_of(damaged, str(tmp_path / "o")))
    assert done.returncode == ExitCode.REJECTED, done.stderr
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["reason"] == "corrupt input"
    assert path.name in said["message"]
    assert not list((tmp_path / "o").rglob("*.tif"))
    trusting = job(["--no-verify-inputs", *words_of(damaged, str(tmp_path / "o2"))])
    assert trusting.returncode == ExitCode.DONE, trusting.stderr


def test_a_server_with_a_corrupt_block(world: World, server: FileServer, tmp_path: Path) -> None:
    server.faults.append(Fault("_B02", spoil=True, methods=("GET",)))
    output = tmp_path / "o"
    done = job(words_of(world, str(output), catalog=f"{server.url}/catalog.json"))
    assert done.returncode == ExitCode.REJECTED, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["reason"] == "corrupt input"
    assert not list(output.rglob("*.tif"))


@pytest.mark.parametrize("kilobytes", [1, 4])
def test_no_room_for_a_file_then_room(
    kilobytes: int, world: World, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """The system cuts files short that grow over a limit, as a full disk does."""
    output = tmp_path / "o"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, kilobytes << 10))

    full = job(words_of(world, str(output)), preexec_fn=limit)
    assert full.returncode == ExitCode.FAILED, full.stderr
    assert "Traceback" not in full.stderr
    assert not (output / ITEM).exists()
    assert job(words_of(world, str(output))).returncode == ExitCode.DONE
    assert pixels_of(output) == expected


def test_a_disk_that_is_full(world: World, expected: dict[str, bytes], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk may be mounted here: {mounted.stderr.decode().strip()}")
    try:
        full = job(words_of(world, str(disk / "o")))
        assert full.returncode == ExitCode.FAILED, full.stderr
        said = json.loads(full.stderr.splitlines()[-1])
        assert said["reason"] == "disk full"
        assert "free some space" in said["message"]
        assert not (disk / "o" / ITEM).exists()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert job(words_of(world, str(disk / "o"))).returncode == ExitCode.DONE
        assert pixels_of(disk / "o") == expected
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
