"""What the folder queue and the records of attempts cost, by their number.

    python -m benchmarks.operating [--quick] [--output operating.json]

Baselines are what the file system and Python take for the least that must be done: a message is a
file that is renamed, read and removed; a record is a file that is read, and its JSON parsed. Files
are in the page cache. CPU time, because a disk that others use as well is waited for; the results
in JSON have both. Sending is dearer, because every message is synced to the disk.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.measure import Result, make_parser, put_results, show, table
from cropmask.fleet.recordfiles import find_attempts, find_versions, load_attempts
from cropmask.fleet.records import AttemptRecord, State
from cropmask.grid import Tile
from cropmask.machine.stages import StageUse
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Message
from cropmask.store.folder import FolderStore
from cropmask.task import Order, Period, Task

MESSAGES: Final = (500, 4000, 16000)
RECORDS: Final = 10_000
QUICK: Final[dict[str, Any]] = {"messages": (500, 2000), "records": 1000}
"""Arguments of :func:`measure` for a first look."""
_PRODUCT, _PERIOD, _RUN = "crop_mask_eastern", "2019--P1Y", "20260101t000000-abcd"
_STAGES = ("start", "find", "load", "classify", "segment", "mask", "write", "publish")


@contextmanager
def _timed(found: Result, name: str, number: int) -> Iterator[None]:
    """Milliseconds of CPU and of wall time that one of so many takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    found[name] = {
        "cpu_ms": 1000 * (time.process_time() - cpu) / number,
        "wall_ms": 1000 * (time.perf_counter() - wall) / number,
    }


def measure_queue(number: int, folder: Path) -> Result:
    """Send so many messages and work them off, one process alone."""
    found: Result = {"number": number}
    order = Order(Task(Tile(215, 75), "eastern", Period.parse(_PERIOD)), _RUN)
    queue = FolderQueue(folder / "queue")
    with _timed(found, "send", number):
        queue.send([Message(order.body, order.attributes)] * number)
    with _timed(found, "work_off", number):
        done = 0
        while (lease := queue.lease(seconds=300)) is not None:
            queue.done(lease)
            done += 1
    assert done == number, f"{done} messages of {number} came back"
    paths = [folder / f"{n}.json" for n in range(number)]
    for path in paths:
        with path.open("w") as file:
            file.write(order.body)
            os.fsync(file.fileno())  # a file that is not on the disk yet is removed for nothing
    with _timed(found, "baseline", number):
        for path in paths:
            moved = path.rename(path.with_suffix(".leased"))
            json.loads(moved.read_bytes())
            moved.unlink()
    return found


def write_records(number: int, root: Path) -> None:
    """Records of so many attempts that succeeded, on 400 tiles."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(number):
        record = AttemptRecord(
            tile=str(Tile(200 + n % 400 // 20, 60 + n % 20)),
            region="eastern",
            period=_PERIOD,
            product=_PRODUCT,
            run=_RUN,
            attempt=f"{n:08x}",
            state=State.SUCCEEDED,
            started=(began + timedelta(seconds=n, microseconds=n)).isoformat(),
            ended=(began + timedelta(seconds=n + 100)).isoformat(),
            seconds=100.0 + n / 7,
            exit_code=0,
            recipe="forest",
            resolution=10,
            threads=2,
            run_key=f"{n:064x}",
            item=f"s3://bucket/{_PRODUCT}/{n}.stac-item.json",
            bytes_read=113_000_000 + n,
            retries=0,
            cpu_seconds=200.25,
            peak_memory=1_900_000_000 + n,
            stages=tuple(_make_use(name, n) for name in _STAGES),
            host="worker-0",
            versions=find_versions(),
        )
        path = root / record.key.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.to_json())


def _make_use(stage: str, n: int) -> dict[str, Any]:
    use = StageUse(stage, 1.25 + n, 2.5, 5 * n if stage == "load" else None, 10**9 + n)
    return {name: getattr(use, name) for name in StageUse.__slots__}


def measure_records(number: int, root: Path) -> Result:
    """List and load the records of so many attempts."""
    write_records(number, root)
    found: Result = {"number": number}
    store = FolderStore(root)
    with _timed(found, "load", number):
        records = load_attempts(store, tuple(find_attempts(store, _PRODUCT, _PERIOD)))
    assert len(records) == number, f"{len(records)} records of {number} came back"
    with _timed(found, "baseline", number):
        for folder, _, names in os.walk(root):
            for name in names:
                json.loads(Path(folder, name).read_bytes())
    return found


def measure(messages: Sequence[int] = MESSAGES, records: int = RECORDS) -> Result:
    """All of it, each in a folder of its own."""

    def fresh(work: Callable[[int, Path], Result], number: int) -> Result:
        with TemporaryDirectory(prefix="cropmask-bench-") as folder:
            return work(number, Path(folder))

    return {
        "queue": [fresh(measure_queue, number) for number in messages],
        "records": fresh(measure_records, records),
    }


def report(found: Result) -> str:
    """A line for each number of messages, and one for the records."""
    rows = [
        (
            f"{run['number']} messages",
            *(f"{run[name]['cpu_ms']:.3f}" for name in ("send", "work_off", "baseline")),
            f"{run['work_off']['cpu_ms'] / run['baseline']['cpu_ms']:.1f}",
        )
        for run in found["queue"]
    ]
    records = found["records"]
    load, baseline = (records[name]["cpu_ms"] for name in ("load", "baseline"))
    head = ("Folder queue, CPU ms a message", "send", "lease and done", "bare files", "ratio")
    return (
        f"{table(head, rows)}\n\n"
        f"Records of {records['number']} attempts, listed and loaded: "
        f"{load * records['number'] / 1000:.2f} CPU s, {load / baseline:.1f} times reading the "
        "files and parsing their JSON."
    )


def main() -> None:
    """Measure and print."""
    options = make_parser(__doc__).parse_args()
    found = show("Queue and records", lambda: measure(**(QUICK if options.quick else {})), report)
    put_results(options.output, {"operating": found})


if __name__ == "__main__":
    main()
