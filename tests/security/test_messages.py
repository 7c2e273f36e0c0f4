"""Messages of attackers and broken senders: each is parked with its reason, the next one is done.

The worker's loop, its records and its search for inputs are real, and so is the queue; only pixels
are left out.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cropmask.contract import ExitCode
from cropmask.errors import MAX_MESSAGE, Reason
from cropmask.fleet.attempt import HeldLease
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.recordfiles import Journal, find_attempts
from cropmask.fleet.records import AttemptRecord, State
from cropmask.fleet.worker import OrderRunner, Rules, Worker
from cropmask.machine.heartbeat import Heartbeat
from cropmask.machine.signals import Stop
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import DeadLetter, Message, Queue
from cropmask.site.site import Site, open_site
from cropmask.task import Order
from cropmask.testing.metrics import MemoryMetrics
from cropmask.testing.queue import MemoryQueue
from cropmask.tile.job import prepare
from tests.regions import NAME, RegionWorld, block, make_region

TILES = block(2, 1)
GOOD = {"tile": str(TILES[0]), "region": NAME, "period": "2019--P1Y"}
BODY = json.dumps(GOOD)
LARGE = 262_144
"""Bytes of the largest message that every SQS queue takes."""


def with_(**fields: object) -> str:
    return json.dumps({**GOOD, **fields})


def without(name: str) -> str:
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


NO_TASKS: dict[str, str] = {
    "nothing": "",
    "a space": " ",
    "lines": "\n\r\n",
    "a tile": "x200y070",
    "null": "null",
    "true": "true",
    "a number": "1",
    "a huge number": "9" * 900,
    "an exponent": "1e999",
    "NaN": "NaN",
    "infinity": "-Infinity",
    "a text": json.dumps(BODY),
    "a list": "[]",
    "a task in a list": f"[{BODY}]",
    "an empty object": "{}",
    "half an object": BODY[:-1],
    "two tasks": BODY + BODY,
    "something behind it": f"{BODY}]",
    "single quotes": BODY.replace('"', "'"),
    "a comment": f"{BODY} // please",
    "a byte order mark": f"\ufeff{BODY}",
    "a NUL": f"{BODY}\0",
    "XML": "<task><tile>x200y070</tile></task>",
    "YAML": "tile: x200y070\nregion: testland\nperiod: 2019",
    "a pickle": "cos\nsystem\n(S'id'\ntR.",
    "escape sequences": "\x1b[2J\x1b]0;owned\x07",
    "a lone surrogate": "\ud800",
    "nested lists": "[" * 100_000,
    "nested objects": '{"tile":' * 20_000,
    "a nested field": with_(tile=0).replace("0", "[" * 300 + "]" * 300, 1),
    "no tile": without("tile"),
    "no region": without("region"),
    "no period": without("period"),
    "an unknown field": with_(priority="high"),
    "an option": with_(overwrite="true"),
    "another catalog": with_(catalog="https://127.0.0.1/catalog.json"),
    "another output": with_(output="s3://elsewhere/x"),
    "a prototype": with_(__proto__="x"),
    "a class": with_(**{"py/object": "os.system"}),
    "upper-case fields": BODY.replace('"tile"', '"Tile"'),
    "a field of other letters": BODY.replace('"tile"', '"t\u0456le"'),
    "a field with a NUL": BODY.replace('"tile"', '"tile\\u0000"'),
    "two tiles": f'{BODY[:-1]}, "tile": "x201y070"}}',
    "two regions": f'{BODY[:-1]}, "region": "/x.toml"}}',
    "a tile that is null": with_(tile=None),
    "a tile that is a number": with_(tile=200070),
    "a tile that is NaN": with_(tile=float("nan")),
    "a tile that is a list": with_(tile=[200, 70]),
    "a tile that is an object": with_(tile={"x": 200, "y": 70}),
    "a region that is true": with_(region=True),
    "a region that is a list": with_(region=[NAME]),
    "a period that is a number": with_(period=2019),
    "a period that is an object": with_(period={"start": "2019"}),
    "a message of 256 kB": " " * (LARGE - len(BODY)) + BODY,
    "a list of 256 kB": json.dumps([BODY] * 3000)[:LARGE],
    "a region of 256 kB": with_(region="a" * (LARGE - 100)),
    "a tile of 256 kB": with_(tile="x" * (LARGE - 100)),
    "a period of 256 kB": with_(period="2" * (LARGE - 100)),
}
REGIONS: dict[str, str] = {
    "a path": "/x.toml",
    "a file": "x.toml",
    "a file of the system": "/etc/passwd",
    "a device": "/dev/zero",
    "a process": "/proc/self/environ",
    "a folder": "/",
    "here": ".",
    "above": "..",
    "above by name": f"../{NAME}",
    "here by name": f"./{NAME}",
    "below": f"{NAME}/region.toml",
    "an ending slash": f"{NAME}/",
    "a file address": "file:///etc/passwd",
    "a web address": "https://169.254.169.254/region.toml",
    "an S3 address": "s3://bucket/region.toml",
    "a share": "\\\\host\\share",
    "a drive": "C:\\region.toml",
    "a home": "~/region.toml",
    "a variable": "$HOME",
    "percent signs": "%2e%2e%2fregion",
    "nothing": "",
    "a space": " ",
    "an ending space": f"{NAME} ",
    "an ending line": f"{NAME}\n",
    "an ending NUL": f"{NAME}\0",
    "upper case": NAME.title(),
    "other letters": NAME.replace("e", "\u0435"),
    "a zero width space": "test\u200bland",
    "text from the right": f"{NAME}\u202e",
    "a lone surrogate": "\ud800",
    "an option": "--models",
    "a command": f"{NAME};id",
    "a pattern": "*",
    "too long": "a" * 42,
}
TILE_NAMES: dict[str, str] = {
    "nothing": "",
    "a path": "../../x200y070",
    "a path behind it": "x200y070/../..",
    "a negative column": "x-1y070",
    "an exponent": "x2e2y070",
    "four digits": "x0200y0070",
    "one number": "200",
    "three numbers": "200,70,1",
    "no numbers": "nan,nan",
    "wide digits": "x\uff12\uff10\uff10y\uff10\uff17\uff10",
    "Arabic digits": "\u0662\u0660\u0660,\u0667\u0660",
    "a NUL": "x200y070\0",
    "off the grid": "x999y999",
    "just off the grid": "x362y070",
}
PERIODS: dict[str, str] = {
    "nothing": "",
    "the year 0": "0000",
    "the year 9999": "9999",
    "five digits": "20190",
    "a negative year": "-2019",
    "no months": "2019--P0Y",
    "a century": "2019--P100Y",
    "a half-year": "2019-01--P6M",
    "another year": "2019-02--P12M",
    "month 13": "2019-13--P1Y",
    "a day": "2019-06-01",
    "a word": "now",
    "wide digits": "\uff12\uff10\uff11\uff19",
    "two periods": "2019--P1Y--P1Y",
    "an ending line": "2019--P1Y\n",
}
ATTRIBUTES: dict[str, tuple[dict[str, str], Reason]] = {
    "another recipe": ({"recipe": "oak"}, Reason.BAD_MESSAGE),
    "a path of a recipe": ({"recipe": "../../forest"}, Reason.BAD_MESSAGE),
    "no recipe": ({"recipe": ""}, Reason.BAD_MESSAGE),
    "a resolution of 0": ({"resolution": "0"}, Reason.BAD_MESSAGE),
    "a negative resolution": ({"resolution": "-10"}, Reason.BAD_MESSAGE),
    "a centimeter": ({"resolution": "0.01"}, Reason.BAD_MESSAGE),
    "an exponent": ({"resolution": "1e1"}, Reason.BAD_MESSAGE),
    "NaN": ({"resolution": "NaN"}, Reason.BAD_MESSAGE),
    "many digits": ({"resolution": "1" * 5000}, Reason.BAD_MESSAGE),
    "yes": ({"overwrite": "yes"}, Reason.BAD_MESSAGE),
    "True": ({"overwrite": "True"}, Reason.BAD_MESSAGE),
    "a run above": ({"run": "../../x"}, Reason.BAD_RUN),
    "a run with a slash": ({"run": "a/b"}, Reason.BAD_RUN),
    "no run": ({"run": ""}, Reason.BAD_RUN),
    "a long run": ({"run": "a" * 41}, Reason.BAD_RUN),
    "a run of 256 kB": ({"run": "a" * 200_000}, Reason.BAD_RUN),
    "a run with a line": ({"run": "run-1\n"}, Reason.BAD_RUN),
    "a run of a surrogate": ({"run": "\ud800\ud800"}, Reason.BAD_RUN),
}
WELL_FORMED: dict[str, tuple[dict[str, str], Reason]] = {
    "a region that nobody knows": ({"region": "atlantis"}, Reason.UNKNOWN_REGION),
    "a tile elsewhere": ({"tile": "x001y001"}, Reason.OUTSIDE_REGION),
    "the year 1": ({"period": "0001"}, Reason.MISSING_GEOMAD),
    "the year 9988": ({"period": "9988"}, Reason.MISSING_GEOMAD),
}
"""What is a task, but none that can be done."""


def cases() -> Iterator[Any]:
    """Every hostile message: what it is called, body, attributes, reason."""
    found: list[tuple[str, str, Mapping[str, str], Reason]] = []
    found += [(name, body, {}, Reason.BAD_MESSAGE) for name, body in NO_TASKS.items()]
    for kind, values, reason in (
        ("region", REGIONS, Reason.BAD_REGION),
        ("tile", TILE_NAMES, Reason.BAD_TILE),
        ("period", PERIODS, Reason.BAD_PERIOD),
    ):
        found += [(f"{kind}: {name}", with_(**{kind: text}), {}, reason)
                  for name, text in values.items()]  # fmt: skip
    found += [(f"attribute: {name}", BODY, words, reason)
              for name, (words, reason) in ATTRIBUTES.items()]  # fmt: skip
    found += [(name, with_(**fields), {}, reason)
              for name, (fields, reason) in WELL_FORMED.items()]  # fmt: skip
    for name, body, words, reason in found:
        yield pytest.param(Message(body, dict(words)), reason, id=name)


CASES = list(cases())


@dataclass
class Station:
    """A worker on a region of two tiles, whose attempts find their inputs and compute nothing."""

    site: Site
    opened: list[str]

    def attempt(self, order: Order, _record: AttemptRecord, _held: HeldLease) -> Outcome:
        self.opened.append(order.body)
        job = prepare(order.task, self.site, recipe=order.recipe)
        return Outcome(state=State.SUCCEEDED, run_key=str(job.run_key))

    def work(self, queue: Queue) -> ExitCode:
        journal = Journal(self.site.store(), self.site)
        runner = OrderRunner(self.attempt, journal, MemoryMetrics())
        return Worker(queue, runner, Rules(), Heartbeat(None), Stop()).run()

    def states(self) -> dict[str, str]:
        """State of every tile that has a record."""
        keys = find_attempts(self.site.store(), f"crop_mask_{NAME}", "2019--P1Y")
        return {str(key.tile): str(key.state) for key in keys}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> RegionWorld:
    return make_region(tmp_path_factory.mktemp("world") / "w", TILES)


@pytest.fixture
def station(world: RegionWorld, tmp_path: Path) -> Station:
    options = {"catalog": str(world.catalog), "output": str(tmp_path / "out"), "threads": 1}
    return Station(open_site({}, {**options, "region_files": str(world.region)}), [])


@pytest.fixture(params=["folder", "memory"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Queue:
    return FolderQueue(tmp_path / "queue") if request.param == "folder" else MemoryQueue()


def assert_parked_and_next_done(
    station: Station, queue: Queue, log: pytest.LogCaptureFixture
) -> DeadLetter:
    """Work; the one hostile message is a dead letter, and the good one is done."""
    queue.send([Message(BODY, {"run": "good-1"})])
    with log.at_level(logging.DEBUG):
        assert station.work(queue) is ExitCode.DONE
    (letter,) = queue.dead_letters()
    assert queue.counts().waiting == 0
    said = str(letter.error)
    assert said.isprintable(), "one line, and nothing that a terminal obeys"
    assert 10 < len(said) <= MAX_MESSAGE + 10
    assert station.states()[str(TILES[0])] == "SUCCEEDED"
    assert not any(record.exc_info for record in log.records)
    assert "Traceback" not in log.text
    return letter


@pytest.mark.parametrize(("message", "reason"), CASES)
def test_a_hostile_message_is_parked_and_the_next_task_is_done(
    station: Station,
    queue: Queue,
    message: Message,
    reason: Reason,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.send([message])
    letter = assert_parked_and_next_done(station, queue, caplog)
    assert letter.reason == reason
    assert letter.message == message
    # Whatever is no task is refused before anything is opened.
    looked_for = reason in (Reason.OUTSIDE_REGION, Reason.MISSING_GEOMAD)
    assert len(station.opened) == (2 if looked_for else 1)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 130


def test_the_path_of_a_region_file_that_is_there_is_no_name(
    world: RegionWorld, station: Station, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.send([Message(with_(region=str(world.region)))])
    letter = assert_parked_and_next_done(station, queue, caplog)
    assert letter.reason == Reason.BAD_REGION
    assert "--region-file" in str(letter.error)


def test_a_pipe_that_a_message_names_is_not_opened(
    tmp_path: Path, station: Station, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe.toml")  # opening it would never end
    queue.send([Message(with_(region=str(tmp_path / "pipe.toml")))])
    assert_parked_and_next_done(station, queue, caplog)


def test_all_of_them_at_once_end_no_worker(station: Station) -> None:
    """Well over a hundred failures in a row are of messages: the circuit breaker stays closed."""
    queue = MemoryQueue()
    queue.send([case.values[0] for case in CASES])
    queue.send([Message(BODY)])
    assert station.work(queue) is ExitCode.DONE
    assert queue.counts().dead == len(CASES)
    assert station.states()[str(TILES[0])] == "SUCCEEDED"


FILES: dict[str, bytes] = {
    "no text": b"\xff\xfe\x00\xd8",
    "nothing": b"",
    "a list": b"[1, 2]",
    "pairs": b'[["body", 1]]',
    "no body": b'{"attributes": {}}',
    "a number for a body": b'{"body": 7}',
    "a list for a body": b'{"body": [[[[1]]]]}',
    "a nested body": b'{"body": ' + b"[" * 900 + b"]" * 900 + b"}",
    "a deeply nested body": b'{"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a task that is no text": json.dumps({"body": GOOD}).encode(),
    "a run that is an object": json.dumps({"body": BODY, "attributes": {"run": {"a": 1}}}).encode(),
    "true for a text": json.dumps({"body": BODY, "attributes": {"overwrite": True}}).encode(),
    "digits without end": b'{"body": ' + b"9" * 10_000 + b"}",
    "three megabytes": b'{"body": "' + b"a" * 3_000_000 + b'"}',
}


@pytest.mark.parametrize("content", [pytest.param(FILES[name], id=name) for name in FILES])
def test_a_hostile_file_of_a_queue_is_parked_and_the_next_task_is_done(
    tmp_path: Path, station: Station, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    queue = FolderQueue(tmp_path / "queue")
    queue.send([Message("a place")])
    (path,) = (queue.root / "ready").iterdir()
    path.write_bytes(content)
    letter = assert_parked_and_next_done(station, queue, caplog)
    assert letter.reason in (Reason.BAD_MESSAGE, Reason.BAD_RUN)
    assert len(station.opened) == 1


def test_a_worker_of_its_own_process_parks_a_path_and_leaves_with_0(tmp_path: Path) -> None:
    """As it was found: this message ended the worker with 13, and went back to the queue."""
    queue = FolderQueue(tmp_path / "output" / "_queue")
    queue.send([Message('{"tile": "x210y068", "region": "/x.toml", "period": "2019"}')])
    program = Path(sys.executable).with_name("cropmask")
    ended = subprocess.run(
        [program, "worker", "--threads", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == ExitCode.DONE, ended.stderr
    assert "Traceback" not in ended.stderr
    (letter,) = queue.dead_letters()
    assert letter.reason == Reason.BAD_REGION
    assert queue.counts().waiting == 0
