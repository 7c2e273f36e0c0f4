"""What to do about failures, by their reason, and about a run as it stands."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from cropmask.contract import MAX_RECEIVES
from cropmask.errors import Reason
from cropmask.fleet.control import RunControl, RunState
from cropmask.fleet.records import RunRecord, State
from cropmask.grid import Tile
from cropmask.operate.formats import format_count
from cropmask.operate.status import FailureGroup, RunStatus
from cropmask.queue.protocol import Counts
from cropmask.region.region import is_region_file
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter, tiles_argument, write_made

SILENCE: Final = timedelta(minutes=10)
"""Time without a new attempt after which it looks as if no worker were running."""

MAX_NAMED_TILES: Final = 20
"""Tiles that are named in a command, at most; more, and the whole region is sent again."""
_READ_IT: Final = "see what the error says"


def advise_group(
    group: FailureGroup, commands: CommandWriter = PLAIN_COMMANDS, region: str | None = None
) -> str:
    """What to do about tiles of a region that failed for one reason."""
    return advise_failure(group.state, group.reason, group.example, commands, region)


def advise_failure(
    state: State,
    reason: str,
    example: Tile,
    commands: CommandWriter = PLAIN_COMMANDS,
    region: str | None = None,
) -> str:
    """What to do about a failure of a tile, of one state (FAILED or INVALID) and reason."""
    known = Reason.of(reason)
    cause = commands.fill_in((known.advice if known else None) or _READ_IT, example, region)
    if reason == Reason.OUTSIDE_REGION:
        return cause
    if state is State.INVALID:
        back = commands.line("redrive", "--where", f"reason={reason}")
        return f"{cause}; once that is done: {back}"
    return (
        f"{cause}; tried again by itself up to {MAX_RECEIVES} times, then by: "
        f"{commands.line('redrive')}"
    )


def advise_run(
    status: RunStatus, queue: Counts | None, commands: CommandWriter = PLAIN_COMMANDS
) -> tuple[str, ...]:
    """What to do next about a run; empty while all goes well."""
    counts, record = status.counts, status.record
    said = advise_control(record.run, status.control, commands)
    if said is not None:
        lines = [said]
    elif status.remaining == 0:
        check = (
            f"all done; check it: {commands.line_for('reconcile', record.region, record.period)}"
        )
        lines = [] if counts["INVALID"] else [check]
    else:
        lines = _advise_unfinished(status, queue, commands)
    if queue is not None and queue.dead:
        lines.append(
            f"{format_count(queue.dead, 'dead letter')}; to list them with their reasons, before "
            f"they are sent back without --dry-run: {commands.line('redrive', '--dry-run')}"
        )
    return tuple(lines)


def advise_control(
    run: str, control: RunControl, commands: CommandWriter = PLAIN_COMMANDS
) -> str | None:
    """Why a run does not go on, and what to do about it; None if it does."""
    if control.is_running:
        return None
    said = f"is {control.state} since {control.since} by {control.by}: {control.why}"
    if control.state is RunState.CANCELED:
        return f"{said}; its orders are dropped as they are received"
    words: tuple[str, ...] = ()
    then = "to have it go on"
    if control.reason == Reason.OVER_BUDGET and control.max_cost:
        then, words = f"{then} with twice as much", ("--max-cost", f"{2 * control.max_cost:g}")
    elif control.reason == Reason.TOO_MANY_TILES and control.max_tiles:
        then, words = f"{then} with twice as many", ("--max-tiles", str(2 * control.max_tiles))
    elif control.state is RunState.STOPPED:
        then = f"once that is mended, {then}"
    return f"{said}; {then}: {commands.line('run resume', run, *words)}"


def _advise_unfinished(
    status: RunStatus, queue: Counts | None, commands: CommandWriter
) -> list[str]:
    counts, record = status.counts, status.record
    worker = commands.line("worker", *region_words(record))
    lines = []
    is_empty = queue is not None and queue.waiting == queue.dead == 0
    if record.awaits_canary and record.sent:
        lines.append(f"its canary is not judged: {advise_resume(record, commands)}")
    elif 0 < record.sent < len(record.tiles):
        lines.append(f"its submission was stopped: {advise_resume(record, commands)}")
    elif is_empty and record.sent and not counts["PROCESSING"]:
        lines.append(
            f"the queue is empty but {format_count(status.remaining, 'tile')} not done; to send "
            f"what has no result again: {_submit(commands, status)}"
        )
    elif status.last is None and record.sent == 0:
        lines.append(
            "no task of it is known to be in a queue: start workers with --tasks if it was "
            f"submitted with --direct, else {advise_resume(record, commands)}"
        )
    elif status.last is None:
        lines.append(f"no worker has begun a tile yet; start one: {worker}")
    elif not counts["PROCESSING"] and status.moment - status.last > SILENCE:
        lines.append(f"no tile is being worked on; start workers: {worker}")
    return lines


def region_words(record: RunRecord) -> tuple[str, ...]:
    """What a worker must be told to find the region of a run, whose messages only name it."""
    return ("--region-file", record.region) if is_region_file(record.region) else ()


def write_task_worker(record: RunRecord, task_file: str, commands: CommandWriter) -> str:
    """What each pod of an array starts to do its line of a task file."""
    words = ("--tasks", task_file, *region_words(record))
    return commands.line("worker", *words, leave_out=("queue",))


def advise_resume(record: RunRecord, commands: CommandWriter) -> str:
    """How far a submission that was stopped has come, and how to go on."""
    line = commands.line_for("submit", record.region, record.period, "--resume", record.run)
    does = "judges its canary, then sends the rest" if record.awaits_canary else "sends the rest"
    return f"{record.sent} of {len(record.tiles)} tasks were sent: '{line}' {does}"


def _submit(commands: CommandWriter, status: RunStatus) -> str:
    record = status.record
    left = [
        found.tile
        for found in status.tiles
        if found.state not in ("SUCCEEDED", "SKIPPED", "INVALID")
    ]
    made = write_made(
        record.period, record.recipe, record.resolution, record.bands, seamless=record.seamless
    )
    words = (*made, *tiles_argument(left, MAX_NAMED_TILES))
    return commands.line_for("submit", record.region, record.period, *words)
