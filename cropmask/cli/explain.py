"""``cropmask explain`` and ``logs``: why one tile is as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

import click

from cropmask.cli import options
from cropmask.cli.output import pick, print_result
from cropmask.contract import NAMESPACE, WORKER
from cropmask.grid import Tile
from cropmask.operate.formats import format_bytes, format_count, format_duration, format_moment
from cropmask.product import Recipe, name_maker
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.fleet.records import AttemptRecord
    from cropmask.operate.explain import Attempt, Explanation

_region_option = click.option(
    "--region", type=options.REGION, help="[default: that of the newest run with the tile]"
)
_period_option = click.option(
    "--period",
    type=options.TASK_PERIOD,
    help="Year of the map, such as 2019.  [default: as the region]",
)


@click.command()
@click.argument("tile", type=options.TILE)
@_region_option
@_period_option
@click.option(
    "--resolution", type=options.RESOLUTION, help="In meters.  [default: that of the last attempt]"
)
@click.option(
    "--model", type=options.RECIPE, help="Model asked for.  [default: that of the last attempt]"
)
@options.json_option
@options.place_options
def explain(
    tile: Tile,
    region: str | None,
    period: Period | None,
    resolution: int | None,
    model: Recipe | None,
    as_json: bool,
    **site_options: object,
) -> None:
    """Say why TILE was skipped, failed or changed.

    Shows its attempts of all runs, what is in the store, and whether the same result would be
    made now: the run key of the item against that of the inputs, model and configuration of this
    moment.

    \b
    Examples:
      cropmask explain x215y075
      cropmask explain x215y075 --region eastern --period 2019 --env prod --output s3://my-bucket
    """
    from cropmask.operate.explain import explain, find_task

    site = options.open_site(site_options)
    task = find_task(site.store(), site, tile, region, period)
    options.refuse_with_series(task.period)
    found = explain(task, site, recipe=model, resolution=resolution)
    document = {
        **pick(task, "tile", "region", "period"),
        **pick(found, "verdict", "presence", "item", "recipe", "resolution"),
        **pick(found, "old_key", "new_key", "changes", "trouble"),
        "attempts": [_make_attempt_document(attempt) for attempt in found.attempts],
    }
    print_result(document, _format_explanation(found), as_json=as_json)


def _format_explanation(found: Explanation) -> Iterator[str]:
    task = found.task
    yield f"{task.tile} {task.region} {task.period}: {found.verdict}"
    yield f"\nstore    {found.presence}: {found.item}"
    if found.old_key:
        yield f"was      run key {found.old_key}"
    if found.new_key:
        yield f"now      run key {found.new_key} ({found.made_with})"
    elif found.trouble is not None:
        yield f"now      not known: {found.trouble}"
    for change in found.changes:
        yield f"differs  {change}"
    yield "" if found.attempts else "attempts none"
    for attempt in found.attempts:
        yield from _format_attempt(attempt)


def _format_attempt(attempt: Attempt) -> Iterator[str]:
    key, record = attempt.key, attempt.record
    line = f"attempt  {format_moment(key.started)} {key.state} in run {key.run}"
    if record is None:
        yield f"{line}; its document cannot be read"
        return
    took = f", {format_duration(record.seconds)}" if record.seconds is not None else ""
    yield line + took + (f", on {record.host}" if record.host else "")
    if record.error:
        yield f"         {record.reason}: {record.error}"


def _make_attempt_document(attempt: Attempt) -> object:
    if attempt.record is not None:
        return attempt.record
    return {**pick(attempt.key, "attempt", "run", "state"), "document": None}


@click.command()
@click.argument("tile", type=options.TILE)
@_region_option
@_period_option
@click.option("--run", type=options.RUN, help="Only attempts of this run.")
@options.json_option
@options.place_options
def logs(
    tile: Tile,
    region: str | None,
    period: Period | None,
    run: str | None,
    as_json: bool,
    **site_options: object,
) -> None:
    """Show what was written down of the attempts of TILE: stages, error, place, versions.

    These are the records beside the results. What a worker wrote to its own log is kept by
    whatever runs it: the last lines say where to look.
    """
    from cropmask.operate.explain import find_task, find_task_attempts

    site = options.open_site(site_options)
    store = site.store()
    task = find_task(store, site, tile, region, period)
    attempts = [a for a in find_task_attempts(store, site, task) if run in (None, a.key.run)]
    lines = [line for attempt in attempts for line in (*_format_log(attempt), "")]
    lines.append(
        _say_where_logs_are(attempts)
        if attempts
        else f"no attempt of {task.tile} in {task.period} was written down"
    )
    document = [_make_attempt_document(attempt) for attempt in attempts]
    print_result(document, lines, as_json=as_json)


def _format_log(attempt: Attempt) -> list[str]:
    key, record = attempt.key, attempt.record
    title = (
        f"{key.started:%Y-%m-%d %H:%M:%S} UTC  {key.state}  run {key.run}  attempt {key.attempt}"
    )
    if record is None:
        return [title, "  its document cannot be read"]
    return [
        title,
        *(f"  {name:<10}{value}" for name, value in _facts(record)),
        *_format_stages(record),
    ]


def _facts(record: AttemptRecord) -> list[tuple[str, str]]:
    maker = name_maker(record.product, record.recipe or "")
    made = f"{maker}, {record.resolution} m, {format_count(record.threads or 0, 'thread')}"
    facts = [
        ("error", f"{record.reason}: {record.error}" if record.error else None),
        ("exit code", record.exit_code),
        ("took", record.seconds is not None and f"{record.seconds:,.1f} s"),
        ("CPU", record.cpu_seconds is not None and f"{record.cpu_seconds:,.1f} s"),
        ("memory", record.peak_memory and f"{format_bytes(record.peak_memory)} at most"),
        ("read", record.bytes_read and format_bytes(record.bytes_read)),
        ("retries", record.retries or None),
        ("receives", record.receives),
        ("made", made if record.recipe else None),
        ("host", record.host),
        ("versions", record.versions and ", ".join(f"{k} {v}" for k, v in record.versions.items())),
        ("item", record.item),
    ]
    return [(name, str(value)) for name, value in facts if value is not None and value is not False]


def _format_stages(record: AttemptRecord) -> list[str]:
    from cropmask.machine.stages import StageUse, format_uses

    names = {field.name for field in fields(StageUse)}
    try:
        uses = [StageUse(**{k: v for k, v in use.items() if k in names}) for use in record.stages]
        table = format_uses(uses) if uses else ""
    except (TypeError, ValueError, AttributeError):
        return ["  stages    cannot be read"]
    return [f"  {line}" for line in table.splitlines()]


def _say_where_logs_are(attempts: list[Attempt]) -> str:
    hosts = sorted({a.record.host for a in attempts if a.record is not None and a.record.host})
    last = attempts[-1].key
    pods = [host for host in hosts if host.startswith(WORKER)]
    place = (
        f"of the pod: 'kubectl -n {NAMESPACE} logs {pods[-1]}' while it exists, else in your log "
        "service"
        if pods
        else f"of whatever ran the worker on {hosts[-1] if hosts else 'its host'}"
    )
    return (
        "cropmask keeps no other log. Workers write lines to stderr, which are in the log "
        f"{place}; JSON lines have run, tile and attempt (the last is {last.attempt})."
    )
