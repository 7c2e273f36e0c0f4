"""``cropmask redrive``: dead letters back into the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click

from cropmask.cli.console import confirm
from cropmask.cli.numbers import Whole
from cropmask.cli.options import json_option, queue_option
from cropmask.operate.formats import say_count, say_moment
from cropmask.operate.redrive import (
    Group,
    Wanted,
    find,
    group,
    parse_age,
    parse_where,
    send_back,
    throw_away,
)
from cropmask.queue.protocol import DeadLetter
from cropmask.site.site import open_site

_SHOWN: Final = 8
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
@click.option("--limit", type=Whole(1), help="No more than so many.")
@click.option("--dry-run", is_flag=True, help="List dead letters by reason and leave them.")
@click.option("--discard", is_flag=True, help="Delete them for good instead of sending them back.")
@click.option("--yes", is_flag=True, help="Do not ask before --discard.")
@queue_option
@click.option(
    "--output",
    metavar="PLACE",
    help="Folder of the results, beside which the queue is if none is named.",
)
@json_option
def redrive(
    where: tuple[str, ...],
    since: str | None,
    limit: int | None,
    dry_run: bool,
    discard: bool,
    yes: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Send dead letters back to the queue, or list them.

    A task whose failure is final is among the dead letters at once, with its reason; one that
    failed too often has the reason 'receives used up'. Each is deleted there only after the queue
    has accepted its copy: whatever happens, no task is lost.

    \b
    Examples:
      cropmask redrive --dry-run
      cropmask redrive --where reason='receives used up' --since 2d
      cropmask redrive --where tile=x215y075 --where tile=x216y075
      cropmask redrive --where reason='outside region' --discard
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    now = datetime.now(UTC)
    wanted = Wanted(parse_where(where), now - parse_age(since) if since else None, limit)
    queue = open_site(options=options).queue()
    if dry_run:
        found = group(find(queue, wanted))
        count = sum(one.count for one in found)
        click.echo(json.dumps([_encode(one) for one in found]) if as_json else _say(found, count))
        return
    if discard and not yes:
        waiting = say_count(sum(1 for _ in find(queue, wanted)), "dead letter")
        confirm(f"delete {waiting} of {queue.address} for good?")
    act = throw_away if discard else send_back
    verb = "deleted" if discard else "sent back"
    done = _report(act(queue, wanted, now=now), verb, as_json=as_json)
    if not done and (where or since) and not as_json:
        click.echo("none is like that: 'cropmask redrive --dry-run' lists those that are there")


def _report(done: Iterator[DeadLetter], verb: str, *, as_json: bool) -> int:
    """Say what was done, also where it ends in an error; how many it were."""
    letters: list[DeadLetter] = []
    try:
        letters.extend(done)
    finally:
        groups = group(letters)
        if as_json:
            click.echo(json.dumps([_encode(one) for one in groups]))
        else:
            kinds = "".join(f"\n  {one.count:>6,}  {one.reason}" for one in groups)
            click.echo(f"{say_count(len(letters), 'dead letter')} {verb}{kinds}")
    return len(letters)


def _say(groups: tuple[Group, ...], count: int) -> str:
    lines = [say_count(count, "dead letter")]
    for one in groups:
        lines.append(f"  {one.count:>6,}  {one.reason}, the last at {say_moment(one.last)}")
        if one.error:
            lines.append(f"          {one.error}")
        if one.tiles:
            more = len(one.tiles) - _SHOWN
            shown = " ".join(one.tiles[:_SHOWN])
            lines.append(f"          {shown}{f' and {more:,} more' if more > 0 else ''}")
    return "\n".join(lines)


def _encode(one: Group) -> dict[str, Any]:
    return {
        "reason": one.reason,
        "count": one.count,
        "last": one.last.isoformat(),
        "error": one.error,
        "tiles": list(one.tiles),
    }
