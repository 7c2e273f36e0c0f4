"""Record what the dashboard shows: 80 made-up tiles, drained by workers on this machine.

Run ``.venv/bin/python docs/record_dashboard.py``, then ``docs/make_dashboard_figure.py``. Workers
put their metrics to a stand-in for CloudWatch; each second the queue is counted as SQS would count
it, and processes and machine are measured as the CloudWatch agent would measure pods and nodes. Now
and then a worker is killed, one message is no task, and one tile is not of the region.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from moto.cloudwatch.models import cloudwatch_backends
from moto.core import DEFAULT_ACCOUNT_ID

from cropmask import contract
from cropmask.grid import Tile
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Message, Queue
from tests.clouds import serve_aws
from tests.workerprocess import Crew, RegionWorld, WorkerProcess, make_region_world, open_crew, send

RECORDED: Final = Path(__file__).parent / "figures" / "dashboard.json"
AWS_REGION: Final = "af-south-1"
TILES: Final = 80
WORKERS: Final = 3
KILL_SECONDS: Final = 90
QUEUES: Final = {"QueueName": "cropmask-dev-tasks"}
LETTERS: Final = {"QueueName": "cropmask-dev-dead-letters"}
CLUSTER: Final = {"ClusterName": "cropmask-dev"}
PODS: Final = {**CLUSTER, "Namespace": contract.NAMESPACE}
Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass
class Recorder:
    """Values by namespace, name and dimensions; seconds count from the beginning."""

    began: float = field(default_factory=time.time)
    values: dict[Key, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    cpu: tuple[float, float, float] | None = None
    """Clock, CPU seconds of workers, busy seconds of the machine, when they were last looked at."""
    left: int = 0
    """Messages that were there then."""

    def put(self, namespace: str, name: str, dimensions: dict[str, str], value: float) -> None:
        """Keep a value of now."""
        key = (namespace, name, tuple(sorted(dimensions.items())))
        self.values[key].append((round(time.time() - self.began, 1), round(value, 3)))

    def look(self, queue: Queue, crew: Crew) -> None:
        """Count the queue; measure workers and machine."""
        counts = queue.counts()
        before, self.left = self.left, counts.waiting
        for name, value in (
            ("NumberOfMessagesDeleted", max(0, before - self.left)),
            ("ApproximateNumberOfMessagesVisible", counts.visible),
            ("ApproximateNumberOfMessagesNotVisible", counts.in_flight),
            ("ApproximateAgeOfOldestMessage", time.time() - self.began if self.left else 0.0),
        ):
            self.put("AWS/SQS", name, QUEUES, value)
        self.put("AWS/SQS", "ApproximateNumberOfMessagesVisible", LETTERS, counts.dead)
        running = [worker for worker in crew.workers if worker.process.poll() is None]
        self.put(
            contract.METRICS_NAMESPACE, contract.METRIC_ALIVE, {"Environment": "dev"}, len(running)
        )
        self._look_at_machine(running)

    def _look_at_machine(self, running: list[WorkerProcess]) -> None:
        pids = _with_children({worker.process.pid for worker in running})
        now = (time.monotonic(), sum(_cpu_seconds(pid) for pid in pids), _busy_seconds())
        before, self.cpu = self.cpu, now
        limit = _bytes(contract.WORKER_MEMORY) * max(1, len(running))
        used, whole = _memory()
        figures = [
            ("pod_memory_utilization_over_pod_limit", PODS, sum(map(_resident, pids)) / limit),
            ("node_memory_utilization", CLUSTER, used / whole),
        ]
        if before is not None:
            cpus = (now[0] - before[0]) * (os.cpu_count() or 1)
            figures += [
                ("pod_cpu_utilization", PODS, max(0.0, now[1] - before[1]) / cpus),
                ("node_cpu_utilization", CLUSTER, min(1.0, (now[2] - before[2]) / cpus)),
            ]
        for name, dimensions, share in figures:
            self.put("ContainerInsights", name, dimensions, 100 * share)
        self.put("ContainerInsights", "cluster_node_count", CLUSTER, 1)
        self.put("ContainerInsights", "cluster_failed_node_count", CLUSTER, 0)

    def add_metrics_of_workers(self) -> None:
        """What workers put, as the stand-in kept it."""
        backend = cloudwatch_backends[DEFAULT_ACCOUNT_ID][AWS_REGION]
        for datum in backend.metric_data:
            if datum.name != contract.METRIC_ALIVE:
                dimensions = tuple(sorted((d.name, d.value) for d in datum.dimensions))
                second = round(datum.timestamp.timestamp() - self.began, 1)
                self.values[datum.namespace, datum.name, dimensions].append(
                    (second, round(datum.value, 3))
                )


def _bytes(quantity: str) -> float:
    """Of a quantity of Kubernetes, such as ``4Gi``."""
    return float(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


def _with_children(pids: set[int]) -> set[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            parents[int(folder.name)] = int(fields[1])
        except OSError:
            continue
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


def _busy_seconds() -> float:
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _memory() -> tuple[float, float]:
    words = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    whole, free = (float(words[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return whole - free, whole


def main() -> None:
    """Record."""
    with TemporaryDirectory(prefix="cropmask-") as temporary, serve_aws() as endpoint:
        folder = Path(temporary)
        world = make_region_world(folder / "world", TILES)
        environ = {
            "AWS_ENDPOINT_URL_CLOUDWATCH": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": AWS_REGION,
            "AWS_DEFAULT_REGION": AWS_REGION,
            contract.ENV_ENVIRONMENT: "dev",
        }
        options = ("--metrics", contract.METRICS_NAMESPACE, "--lease", "10")
        with open_crew(world, folder / "run", *options, **environ) as crew:
            recorder = Recorder()
            queue = open_queue(str(crew.output / "_queue"))
            _send_all(world, queue)
            _drain(queue, crew, recorder)
            recorder.add_metrics_of_workers()
            lines = [line for worker in crew.workers for line in worker.lines()]
    _write(recorder, lines)
    click.echo(f"wrote {RECORDED}")


def _send_all(world: RegionWorld, queue: Queue) -> None:
    """A large run, a small one of the same tiles, and two messages that somebody sent by hand."""
    first = [replace(order, run="eastern-2019") for order in world.orders()]
    outside = replace(first[0], task=replace(first[0].task, tile=Tile(1, 1)))
    send(queue, [*first[: TILES // 2], outside, *first[TILES // 2 :]])
    queue.send([Message("x215y075, please", {})])
    send(queue, [replace(order, run="eastern-again") for order in first[: TILES // 5]])


def _drain(queue: Queue, crew: Crew, recorder: Recorder) -> None:
    for _ in range(WORKERS):
        crew.start()
    next_kill = time.monotonic() + KILL_SECONDS
    while queue.counts().waiting:
        recorder.look(queue, crew)
        running = [worker for worker in crew.workers if worker.process.poll() is None]
        if time.monotonic() > next_kill and len(running) == WORKERS and len(running[0].begun()) > 1:
            running[0].kill()
            running[0].process.wait()
            crew.start()
            next_kill += KILL_SECONDS
        time.sleep(1)
    for worker in crew.workers:
        worker.wait(60)
    for _ in range(20):
        recorder.look(queue, crew)
        time.sleep(1)


def _write(recorder: Recorder, lines: list[dict[str, Any]]) -> None:
    kept = ("run", "tile", "state", "seconds")
    commit = ["git", "rev-parse", "--short", "HEAD"]
    recorded = {
        "commit": subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip(),
        "metrics": [
            {"namespace": space, "name": name, "dimensions": dict(dimensions), "values": values}
            for (space, name, dimensions), values in sorted(recorder.values.items())
        ],
        "lines": [
            {name: line[name] for name in kept if name in line} for line in lines if "state" in line
        ],
    }
    RECORDED.write_text(json.dumps(recorded, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
