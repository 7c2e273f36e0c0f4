"""``cropmask explain`` and ``logs``: why one tile is as it is."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import click

from cropmask.cli.options import json_option, place_options
from cropmask.contract import NAMESPACE, WORKER
from cropmask.fleet.records import AttemptRecord
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.machine.stages import StageUse, format_uses
from cropmask.operate.explain import Attempt, Explanation, find_attempts_of, find_task
from cropmask.operate.explain import explain as find_out
from cropmask.operate.formats import say_bytes, say_count, say_duration, say_moment
from cropmask.product import RECIPES, Recipe
from cropmask.site.site import open_site
from cropmask.task import Period

region_option = click.option(
    "--region",
    metavar="NAME_OR_PATH",
    help="Region of the tile.  [default: that of the newest run that has the tile]",
)
period_option = click.option(
    "--period", metavar="PERIOD", help="Year of the map, such as 2019.  [default: as the region]"
)


@click.command()
@click.argument("tile")
@region_option
@period_option
@click.option("--resolution", type=click.Choice([str(meters) for meters in RESOLUTIONS]),
              help="Pixel size asked for.  [default: that of the last attempt]")  # fmt: skip
@click.option("--model", type=click.Choice(RECIPES),
              help="Model asked for.  [default: that of the last attempt]")  # fmt: skip
@json_option
@place_options
def explain(
    tile: str,
    region: str | None,
    period: str | None,
    resolution: str | None,
    model: Recipe | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Say why TILE was skipped, failed or changed.

    Shows its attempts of all runs, what is in the store, and whether the same result would be
    made now: the run key of the item against that of the inputs, model and configuration of this
    moment.

    \b
    Examples:
      cropmask explain x215y075
      cropmask explain x215y075 --region eastern --period 2019 --env prod --output s3://my-bucket
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site = open_site(options=options)
    year = Period.year_of(period) if period else None
    task = find_task(site.store(), site, Tile.parse(tile), region, year)
    meters = int(resolution) if resolution else None
    found = find_out(task, site, recipe=model, resolution=meters)
    click.echo(json.dumps(encode_json(found)) if as_json else format_text(found))


def format_text(found: Explanation) -> str:
    """A tile for a terminal."""
    task = found.task
    lines = [f"{task.tile} {task.region} {task.period}: {found.verdict}", ""]
    lines.append(f"store    {found.presence}: {found.item}")
    if found.old_key:
        lines.append(f"was      run key {found.old_key}")
    if found.new_key:
        lines.append(f"now      run key {found.new_key} ({found.recipe}, {found.resolution} m)")
    elif found.trouble is not None:
        lines.append(f"now      not known: {found.trouble}")
    lines += [f"differs  {change}" for change in found.changes]
    lines.append("" if found.attempts else "attempts none")
    for attempt in found.attempts:
        lines += _format_attempt(attempt)
    return "\n".join(lines)


def _format_attempt(attempt: Attempt) -> list[str]:
    key, record = attempt.key, attempt.record
    line = f"attempt  {say_moment(key.started)} {key.state} in run {key.run}"
    if record is None:
        return [f"{line}; its document cannot be read"]
    if record.seconds is not None:
        line += f", {say_duration(record.seconds)}"
    if record.host:
        line += f", on {record.host}"
    return [line, *([f"         {record.reason}: {record.error}"] if record.error else [])]


def encode_json(found: Explanation) -> dict[str, Any]:
    """A tile for programs."""
    return {
        "tile": str(found.task.tile),
        "region": found.task.region,
        "period": str(found.task.period),
        "verdict": found.verdict,
        "presence": found.presence,
        "item": found.item,
        "recipe": found.recipe,
        "resolution": found.resolution,
        "old_key": found.old_key,
        "new_key": found.new_key,
        "changes": found.changes,
        "trouble": found.trouble and str(found.trouble),
        "attempts": [_encode_attempt(attempt) for attempt in found.attempts],
    }


def _encode_attempt(attempt: Attempt) -> dict[str, Any]:
    if attempt.record is not None:
        return asdict(attempt.record)
    key = attempt.key
    return {"attempt": key.attempt, "run": key.run, "state": key.state, "document": None}


@click.command()
@click.argument("tile")
@region_option
@period_option
@click.option("--run", metavar="RUN", help="Only attempts of this run.")
@json_option
@place_options
def logs(
    tile: str,
    region: str | None,
    period: str | None,
    run: str | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Show what was written down of the attempts of TILE: stages, error, place, versions.

    These are the records beside the results. What a worker wrote to its own log is kept by
    whatever runs it: the last lines say where to look.
    """
    site = open_site(options=options)
    year = Period.year_of(period) if period else None
    store = site.store()
    task = find_task(store, site, Tile.parse(tile), region, year)
    attempts = [a for a in find_attempts_of(store, site, task) if run in (None, a.key.run)]
    if as_json:
        click.echo(json.dumps([_encode_attempt(attempt) for attempt in attempts]))
        return
    if not attempts:
        click.echo(f"no attempt of {task.tile} in {task.period} was written down")
    for attempt in attempts:
        click.echo("\n".join(_format_log(attempt)) + "\n")
    if attempts:
        click.echo(_where(attempts))


def _format_log(attempt: Attempt) -> list[str]:
    key, record = attempt.key, attempt.record
    title = (
        f"{key.started:%Y-%m-%d %H:%M:%S} UTC  {key.state}  run {key.run}  attempt {key.attempt}"
    )
    if record is None:
        return [title, "  its document cannot be read"]
    return [title, *(f"  {name:<10}{value}" for name, value in _facts(record)), *_stages(record)]


def _facts(record: AttemptRecord) -> list[tuple[str, str]]:
    made = f"{record.recipe}, {record.resolution} m, {say_count(record.threads or 0, 'thread')}"
    facts = [
        ("error", f"{record.reason}: {record.error}" if record.error else None),
        ("exit code", record.exit_code),
        ("took", record.seconds is not None and f"{record.seconds:,.1f} s"),
        ("CPU", record.cpu_seconds is not None and f"{record.cpu_seconds:,.1f} s"),
        ("memory", record.peak_memory and f"{say_bytes(record.peak_memory)} at most"),
        ("read", record.bytes_read and say_bytes(record.bytes_read)),
        ("retries", record.retries or None),
        ("receives", record.receives),
        ("made", made if record.recipe else None),
        ("host", record.host),
        ("versions", record.versions and ", ".join(f"{k} {v}" for k, v in record.versions.items())),
        ("item", record.item),
    ]
    return [(name, str(value)) for name, value in facts if value is not None and value is not False]


def _stages(record: AttemptRecord) -> list[str]:
    names = {field.name for field in fields(StageUse)}
    try:
        uses = [StageUse(**{k: v for k, v in use.items() if k in names}) for use in record.stages]
        table = format_uses(uses) if uses else ""
    except (TypeError, ValueError, AttributeError):
        return ["  stages    cannot be read"]
    return [f"  {line}" for line in table.splitlines()]


def _where(attempts: list[Attempt]) -> str:
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
