"""What ``cropmask submit`` prints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import click
import yaml

from cropmask.fleet.records import RunRecord
from cropmask.fleet.taskfile import encode_orders
from cropmask.kube.manifests import Manifest, job_name
from cropmask.operate.formats import say_count
from cropmask.operate.plan import Need, Plan
from cropmask.site.site import Site

_LEFT: Final = {
    Need.UNCHANGED: "unchanged (--all sends them, to be skipped)",
    Need.CHANGED: "changed (--overwrite computes them anew)",
    Need.NO_INPUT: "without GeoMAD",
    Need.INVALID: "with inputs that cannot be used",
}


@dataclass(frozen=True, slots=True)
class Work:
    """A run, and where it is to be done."""

    record: RunRecord
    site: Site
    plan: Plan | None
    """None for a run that goes on."""


def print_dry_run(
    work: Work, manifest: Manifest | None, obstacles: tuple[str, ...], *, as_json: bool
) -> None:
    """Messages and manifest, as they would be sent and created."""
    lines = encode_orders(work.record.orders()).decode().splitlines()
    for obstacle in obstacles:
        click.echo(f"note: pods could not do this run: {obstacle}", err=True)
    if as_json:
        messages = [json.loads(line) for line in lines]
        document = {"run": work.record.run, "messages": messages, "manifest": manifest}
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"# run {work.record.run}: {say_count(len(lines), 'message')}")
    for line in lines:
        click.echo(f"# {line}")
    if manifest is not None:
        click.echo(yaml.safe_dump(manifest, sort_keys=False), nl=False)


def print_nothing(work: Work, *, as_json: bool) -> None:
    """Say that there is nothing to send, and what could be."""
    if as_json:
        click.echo(json.dumps({"run": None, "tiles": 0}))
        return
    click.echo("Nothing to send.")
    for line in _left(work):
        click.echo(line)


def _left(work: Work) -> list[str]:
    """What of the plan is not sent, and how it would be."""
    if work.plan is None:
        return []
    sent = set(work.record.tiles)
    rest = {
        need: sum(str(planned.tile) not in sent for planned in work.plan.of(need)) for need in _LEFT
    }
    return [f"  not sent: {rest[need]:,} {words}" for need, words in _LEFT.items() if rest[need]]


@dataclass(frozen=True, slots=True)
class Report:
    """What was done."""

    work: Work
    record: RunRecord
    task_file: str | None
    created: bool | None
    """Whether the Job is new; None without one."""
    given: dict[str, Any]

    def show(self) -> None:
        """Print it."""
        if self.given["as_json"]:
            click.echo(json.dumps(self._facts()))
            return
        tiles = say_count(len(self.record.tiles), "tile")
        what = f"{tiles} of {self.record.product} {self.record.period}"
        if self.task_file is not None:
            click.echo(f"Run {self.record.run}: {what} in the task file {self.task_file}")
            click.echo(f"  array size {len(self.record.tiles)}, indexes from 0")
        else:
            click.echo(f"Run {self.record.run}: {what} sent to {self.work.site.queue_address}")
        for line in _left(self.work):
            click.echo(line)
        for line in self._next():
            click.echo(line)

    def _facts(self) -> dict[str, Any]:
        return {
            "run": self.record.run,
            "tiles": len(self.record.tiles),
            "queue": None if self.task_file else self.work.site.queue_address,
            "task_file": self.task_file,
            "job": job_name(self.record.run) if self.created is not None else None,
            "job_is_new": self.created,
        }

    def _next(self) -> list[str]:
        commands = self.work.site.commands
        look = commands.line("status", "--run", self.record.run, "--watch")
        if self.created is not None:
            state = "is created" if self.created else "was there already"
            place = f"namespace {self.given['namespace']}"
            return [
                f"  Job {job_name(self.record.run)} in {place} {state}",
                f"Next: {look}",
            ]
        if self.task_file is not None:
            line = commands.line("worker", "--tasks", self.task_file, leave_out=("queue",))
            return [
                f"Next: start that many pods of an array, each with: {line}",
                f"      {look}",
            ]
        return [f"Next: {commands.line('worker')}", f"      {look}"]
