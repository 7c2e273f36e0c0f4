"""``cropmask redrive``: dead letters back into the queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from cropmask.cli import options
from cropmask.cli.console import confirm
from cropmask.cli.output import print_result
from cropmask.operate.formats import format_count, format_moment

if TYPE_CHECKING:
    from cropmask.operate.redrive import LetterGroup
    from cropmask.queue.protocol import DeadLetter, Queue
    from cropmask.site.site import Site

_PRINTED_TILES: Final = 8
"""Tiles of a group that are printed."""


@click.command()
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only those with this reason, run, region, tile or period, such as "
    "reason='receives used up'. Repeated with one field, either value counts.",
)
@click.option("--since", metavar="AGE", help="Only those that died within 90m, 36h, 2d or 1w.")
@click.option("--limit", type=options.WholeNumber(1), help="No more than so many.")
@click.option("--dry-run", is_flag=True, help="List dead letters by reason and leave them.")
@click.option("--discard", is_flag=True, help="Delete them for good instead of sending them back.")
@click.option("--yes", is_flag=True, help="Do not ask before --discard.")
@options.queue_option
@options.output_option
@options.config_option
@options.json_option
def redrive(
    where: tuple[str, ...],
    since: str | None,
    limit: int | None,
    dry_run: bool,
    discard: bool,
    yes: bool,
    as_json: bool,
    **site_options: object,
) -> None:
    """Send dead letters back to the queue, or list them.

    A task whose failure is final is among the dead letters at once, with its reason; one that
    failed too often has the reason 'receives used up'. Each is deleted there only after the queue
    has accepted its copy: whatever happens, no task is lost. A run that was stopped because its
    tiles failed alike goes on, with what is held of it; one that is paused or over its budget does
    not, before 'cropmask run resume'.

    \b
    Examples:
      cropmask redrive --dry-run
      cropmask redrive --where reason='receives used up' --since 2d
      cropmask redrive --where tile=x215y075 --where tile=x216y075
      cropmask redrive --where reason='outside region' --discard
    """
    from cropmask.operate import redrive

    now = datetime.now(UTC)
    since_when = now - redrive.parse_age(since) if since else None
    wanted = redrive.LetterFilter(redrive.parse_where(where), since_when, limit)
    site = options.open_site(site_options)
    queue = site.queue()
    if dry_run:
        groups = redrive.group_letters(redrive.find_letters(queue, wanted))
        print_result(groups, _format_groups(groups), as_json=as_json)
        return
    if discard and not yes:
        waiting = format_count(sum(1 for _ in redrive.find_letters(queue, wanted)), "dead letter")
        confirm(f"delete {waiting} of {queue.address} for good?")
    action, verb = (queue.discard, "deleted") if discard else (queue.redrive, "sent back")
    done = redrive.settle_letters(queue, wanted, action, now)
    letters = _act_and_print(done, verb, as_json=as_json)
    if letters and not discard:
        _resume_stopped(site, queue, letters, quiet=as_json)
    if not letters and (where or since) and not as_json:
        look = site.commands.line("redrive", "--dry-run")
        click.echo(f"none is like that: '{look}' lists those that are there")


def _resume_stopped(
    site: Site, queue: Queue, letters: Sequence[DeadLetter], *, quiet: bool
) -> None:
    """Have runs go on that were stopped because their tiles failed: these are to be tried again."""
    from cropmask.errors import Reason
    from cropmask.fleet.control import RunState
    from cropmask.operate.advice import advise_control
    from cropmask.operate.redrive import find_waiting_runs
    from cropmask.operate.runcontrol import resume_run

    store = site.store()
    limits = (Reason.OVER_BUDGET, Reason.TOO_MANY_TILES)
    for record, control in find_waiting_runs(store, letters):
        if control.state is RunState.STOPPED and control.reason not in limits:
            changed = resume_run(store, queue, record, site, datetime.now(UTC), {})
            held = format_count(changed.tiles, "held tile")
            said = f"run {record.run} goes on, {held} sent as well"
        else:
            said = f"run {record.run} {advise_control(record.run, control, site.commands)}"
        click.echo(said, err=quiet)


def _act_and_print(done: Iterable[DeadLetter], verb: str, *, as_json: bool) -> Sequence[DeadLetter]:
    """Print what was done, also where it ends in an error; returns what it was."""
    from cropmask.operate.redrive import group_letters

    letters: list[DeadLetter] = []
    try:
        letters.extend(done)
    finally:
        groups = group_letters(letters)
        lines = [f"{format_count(len(letters), 'dead letter')} {verb}"]
        lines += [f"  {one.count:>6,}  {one.reason}" for one in groups]
        print_result(groups, lines, as_json=as_json)
    return letters


def _format_groups(groups: tuple[LetterGroup, ...]) -> Iterator[str]:
    yield format_count(sum(one.count for one in groups), "dead letter")
    for one in groups:
        yield f"  {one.count:>6,}  {one.reason}, the last at {format_moment(one.last)}"
        if one.error:
            yield f"          {one.error}"
        if one.tiles:
            more = len(one.tiles) - _PRINTED_TILES
            shown = " ".join(one.tiles[:_PRINTED_TILES])
            yield f"          {shown}{f' and {more:,} more' if more > 0 else ''}"
