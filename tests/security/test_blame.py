"""What an item names is the tile's fault: parked with its reason, and the worker goes on.

Tiles are mapped by the path that workers take, on a small true world with one damaged input.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cropmask.contract import ExitCode
from cropmask.errors import Interrupted, Reason
from cropmask.fleet.attempt import HeldLease
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import Journal, find_attempts, load_attempts
from cropmask.fleet.records import AttemptRecord, State
from cropmask.fleet.worker import OrderRunner, Rules, Worker
from cropmask.grid import Tile
from cropmask.machine.heartbeat import Heartbeat
from cropmask.machine.signals import Stop
from cropmask.queue.protocol import DeadLetter, Message
from cropmask.remote import fetch
from cropmask.remote.fetch import ReadOptions
from cropmask.site.site import Site, open_site
from cropmask.task import Order, Period, Task
from cropmask.testing.metrics import MemoryMetrics
from cropmask.testing.queue import MemoryQueue
from cropmask.tile.run import run_tile
from tests.clouds import use_made_up_credentials
from tests.faults.jobs import RESOLUTION, make_tiny
from tests.servers import Fault, FileServer, serve_files
from tests.worlds import World

TILE, NEXT = Tile(215, 75), Tile(216, 75)
PERIOD = Period.parse("2019")
QUICK = ReadOptions(retries=0, retry_delay_seconds=0.01, timeout_seconds=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_tiny(tmp_path_factory.mktemp("world") / "w")


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copied(tmp_path / "w")


@dataclass
class Line:
    """A worker that maps the damaged tile for true; the next one is said to be done."""

    site: Site
    queue: MemoryQueue = field(default_factory=MemoryQueue)

    def attempt(self, order: Order, _record: AttemptRecord, _held: HeldLease) -> Outcome:
        if order.task.tile != NEXT:
            run_tile(order.task, self.site, recipe=order.recipe)
        return Outcome(state=State.SUCCEEDED)

    def work(self) -> DeadLetter:
        """Work on both tiles; the dead letter of the first."""
        orders = [Order(Task(tile, "tiny", PERIOD), "run-1", "boosted") for tile in (TILE, NEXT)]
        self.queue.send([Message(order.body, order.attributes) for order in orders])
        journal = Journal(self.site.store(), self.site)
        runner = OrderRunner(self.attempt, journal, MemoryMetrics())
        code = Worker(self.queue, runner, Rules(), Heartbeat(None), Stop()).run()
        assert code is ExitCode.DONE
        assert self.queue.counts().waiting == 0
        (letter,) = self.queue.dead_letters()
        keys = tuple(find_attempts(self.site.store(), "crop_mask_tiny", "2019--P1Y"))
        records = load_attempts(self.site.store(), keys).values()
        states = {record.tile: (str(record.state), record.exit_code) for record in records}
        assert states == {str(TILE): ("INVALID", 3), str(NEXT): ("SUCCEEDED", 0)}
        assert len(records) == 2, "at the first try"
        assert str(letter.error).isprintable()
        return letter


def line_of(world: World, catalog: str) -> Line:
    options = {
        "catalog": catalog,
        "output": str(world.folder.parent / "out"),
        "resolution": RESOLUTION,
        "threads": 1,
        "region_files": str(world.folder / "region.toml"),
    }
    site = open_site({}, options)
    object.__setattr__(site, "read", QUICK)
    return Line(site)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing of what a test logs is a traceback."""
    with caplog.at_level(logging.DEBUG):
        yield
    assert not any(record.exc_info for record in caplog.records)


HREFS = (
    *("gs://b/x.tif", "ftp://127.0.0.1/x.tif", "azure://b/x.tif", "hdfs://b/x.tif", "x://y"),
    *("GS://b/x.tif", "file:///dev/zero", "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem"),
    *("/", ".", "..", "/etc", "data:image/tiff;base64,SUkqAA==", "javascript:alert(1)"),
    *("/vsicurl/http://127.0.0.1:9/x.tif", "/vsimem/x.tif", "/vsizip/x.zip/x.tif", "NETCDF:x:y"),
    *("GTIFF_DIR:1:/etc/passwd", "//127.0.0.1/x.tif", "\\\\host\\x.tif", "~/x.tif", "$HOME/x.tif"),
    *("http://", "http:///x.tif", "http://127.0.0.1:99999/x.tif", "https://[::1/x.tif", "s3://"),
    *("s3:///x.tif", "s3://b", "s3://A B/x.tif", "s3://arn:aws:sqs:x:1:q/x.tif", "x\0.tif"),
    *("n" * 300 + ".tif", "n/" * 3000, "\ud800.tif", "x\n.tif", "?", "#", "%00", " "),
)


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_made_up_credentials(monkeypatch, tmp_path)
    fetch._s3.cache_clear()


@pytest.mark.parametrize("href", HREFS, ids=lambda href: ascii(href)[:40])
def test_an_address_that_is_none(world: World, href: str, log: None) -> None:
    world.edit_assets(0, B02=href)
    line_of(world, str(world.catalog)).work()


def test_an_object_of_s3_on_a_worker_that_was_given_no_credentials(
    world: World, log: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    world.edit_assets(0, B02="s3://bucket/x.tif")
    letter = line_of(world, str(world.catalog)).work()
    assert letter.reason == Reason.ACCESS_DENIED
    assert "without AWS credentials" in str(letter.error)


def replaced(place: Callable[[Path], object]) -> Callable[[World], None]:
    def act(world: World) -> None:
        path = world.band_file(0, "blue")
        path.unlink()
        place(path)

    return act


CONTENTS: dict[str, Callable[[World], None]] = {
    "a text": replaced(lambda path: path.write_text("hello")),
    "an error page": replaced(lambda path: path.write_text("<html><h1>503</h1></html>")),
    "an error of S3": replaced(
        lambda path: path.write_text("<Error><Code>SlowDown</Code></Error>")
    ),
    "JSON": replaced(lambda path: path.write_text('{"type": "Feature"}')),
    "nothing": replaced(lambda path: path.write_bytes(b"")),
    "zeros": replaced(lambda path: path.write_bytes(bytes(100_000))),
    "a picture": replaced(lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))),
    "an archive": replaced(lambda path: path.write_bytes(b"PK\x03\x04" + bytes(64))),
    "the first bytes": replaced(lambda path: path.write_bytes(b"II*\0")),
    "half a header": replaced(lambda path: path.write_bytes(b"II*\0\x08\0\0\0\x10\0\0\x01")),
    "a header that points away": replaced(lambda p: p.write_bytes(b"II*\0" + b"\xff" * 60)),
    "a pipe": replaced(os.mkfifo),
    "a folder": replaced(Path.mkdir),
    "a link to a device": replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to itself": replaced(lambda path: path.symlink_to(path)),
    "a link to nothing": replaced(lambda path: path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_raster(world: World, name: str, log: None) -> None:
    CONTENTS[name](world)
    line_of(world, str(world.catalog)).work()


@pytest.mark.parametrize("declared", [True, False])
def test_a_file_that_is_no_raster_whatever_its_item_says(
    world: World, declared: bool, log: None
) -> None:
    blue = world.band_file(0, "blue")
    if declared:
        document = json.loads(world.items[0].read_text())
        document["assets"]["B02"]["file:size"] = blue.stat().st_size
        world.items[0].write_text(json.dumps(document))
    blue.write_text("hello")
    letter = line_of(world, str(world.catalog)).work()
    assert letter.reason == (Reason.CORRUPT_INPUT if declared else Reason.NO_RASTER)


@pytest.fixture
def server(world: World) -> Iterator[FileServer]:
    with serve_files(world.folder) as server:
        yield server


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("part", ["_B02.tif", "stac-item.json"])
def test_one_file_that_a_server_refuses(
    world: World, server: FileServer, part: str, status: int, log: None
) -> None:
    server.faults.append(Fault(part, status=status))
    letter = line_of(world, f"{server.url}/catalog.json").work()
    assert str(status) in str(letter.error) or status == 404


def test_a_download_that_breaks_off_is_tried_again(world: World, server: FileServer) -> None:
    line = line_of(world, f"{server.url}/catalog.json")
    server.faults.append(Fault("_B02.tif", keep_bytes=100, methods=("GET",)))
    with pytest.raises(Interrupted) as caught:
        run_tile(Task(TILE, "tiny", PERIOD), line.site, recipe="boosted")
    assert caught.value.exit_code is ExitCode.FAILED


@pytest.mark.parametrize("where", ["catalog", "layer"])
def test_what_the_configuration_names_is_the_workers_own(
    world: World, server: FileServer, where: str
) -> None:
    """The same answer, 403, for the catalog's root and for a layer of the region file."""
    catalog = f"{server.url}/catalog.json" if where == "catalog" else str(world.catalog)
    if where == "layer":
        region = world.folder / "region.toml"
        region.write_text(region.read_text().replace('"ancillary/slope', f'"{server.url}/slope'))
    server.faults.append(Fault("catalog.json" if where == "catalog" else "slope", status=403))
    line = line_of(world, catalog)
    order = Order(Task(TILE, "tiny", PERIOD), "run-1", "boosted")
    line.queue.send([Message(order.body, order.attributes)])
    runner = OrderRunner(line.attempt, Journal(line.site.store(), line.site), MemoryMetrics())
    code = Worker(line.queue, runner, Rules(), Heartbeat(None), Stop()).run()
    assert code is ExitCode.MISCONFIGURED
    assert line.queue.counts().waiting == 1
