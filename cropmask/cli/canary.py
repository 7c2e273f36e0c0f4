"""Options of a canary, and its verdict for people and programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cropmask.cli import options
from cropmask.cli.output import pick
from cropmask.operate.formats import format_count

if TYPE_CHECKING:
    from cropmask.fleet.records import Canary, RunRecord
    from cropmask.operate.canary import CanaryTile, CanaryVerdict
    from cropmask.site.commands import CommandWriter

canary_options = options.combine(
    click.option(
        "--canary",
        type=options.WholeNumber(0, 1_000),
        help="Tiles, spread over all, that must be done and pass before the rest is sent; 0 with "
        "--resume sends the rest as it is.  [default: none]",
    ),
    click.option(
        "--canary-crop",
        type=options.BOUNDS,
        metavar="LOW,HIGH",
        help="Percent of crop that the canary may have.  [default: each tile within 15 points of "
        "its result of the year before; where there is none, 0.1,90]",
    ),
    click.option(
        "--canary-nodata",
        type=options.BOUNDS,
        metavar="LOW,HIGH",
        help="Percent of land without a result that the canary may have.  [default: each tile "
        "within 10 points of the year before, else 0,50]",
    ),
)
"""What is judged before a run is sent."""


def make_canary(given: Mapping[str, Any]) -> Canary | None:
    """The canary that options ask for."""
    from cropmask.fleet.records import Canary

    if not given["canary"]:
        for name in ("canary_crop", "canary_nodata"):
            if given[name]:
                raise click.UsageError(f"--{name.replace('_', '-')} is of a canary: add --canary")
        return None
    return Canary(given["canary"], given["canary_crop"], given["canary_nodata"])


def change_canary(record: RunRecord, given: Mapping[str, Any]) -> RunRecord:
    """A run that goes on, with what options say of its canary.

    Raises Rejected if they ask for another one than it began with.
    """
    canary = record.canary
    _refuse_other(record, given["canary"])
    if canary is None or given["canary"] == 0:
        return replace(record, canary=None)
    crop = given["canary_crop"] or canary.crop
    nodata = given["canary_nodata"] or canary.nodata
    return replace(record, canary=replace(canary, crop=crop, nodata=nodata))


def _refuse_other(record: RunRecord, number: int | None) -> None:
    """Raise Rejected if a canary is asked for that would not be waited for."""
    from cropmask.errors import Reason, Rejected

    if not number or record.sent == len(record.tiles) or number >= len(record.tiles):
        return
    has = record.canary.tiles if record.canary else 0
    if number != has:
        began = f"a canary of {format_count(has, 'tile')}" if has else "no canary"
        raise Rejected(
            f"run {record.run} was begun with {began}, not of {number:,}: leave --canary out",
            reason=Reason.BAD_VALUE,
        )


def warn_of_silence(worker: str) -> Callable[[CanaryVerdict], None]:
    """Says once that no tile is being worked on, and how workers are started."""
    from cropmask.cli.console import warn
    from cropmask.operate.waiting import Silence

    silence = Silence()

    def look(verdict: CanaryVerdict) -> None:
        signs = [tile.state for tile in verdict.tiles]
        if silence.hears(signs, datetime.now(UTC)) and "PROCESSING" not in signs:
            warn(f"no tile of the canary is being worked on; start workers: {worker}")

    return look


def describe_verdict(verdict: CanaryVerdict) -> dict[str, Any]:
    """The verdict for programs."""
    return {
        **pick(verdict, "state", "done", "rules", "problems"),
        "tiles": [
            {
                **pick(tile, "tile", "state", "problem"),
                "percents": tile.shares and tile.shares.percents,
                "percents_before": tile.before and tile.before.percents,
            }
            for tile in verdict.tiles
        ],
    }


def format_verdict(verdict: CanaryVerdict) -> Iterator[str]:
    """The verdict for people, with every tile."""
    color = {"passed": "green", "failed": "red"}.get(verdict.state)
    state = click.style(str(verdict.state), fg=color)
    number = format_count(len(verdict.tiles), "tile")
    yield f"Canary of run {verdict.run} {state}: {verdict.done} of {number} done"
    for tile in verdict.tiles:
        yield f"  {tile.tile}  {tile.state:<11}{_format_shares(tile)}".rstrip()
    yield from (f"  asked for: {rule}" for rule in verdict.rules)
    yield from (f"  {click.style('not so:', fg='red')} {what}" for what in verdict.problems)


def _format_shares(tile: CanaryTile) -> str:
    if tile.shares is None:
        return ""
    words = [f"{share:5.1f} % {name}" for name, share in tile.shares.percents.items()]
    if tile.before is not None:
        before = (f"{share:.1f} % {name}" for name, share in tile.before.percents.items())
        words.append(f"the year before {', '.join(before)}")
    return ", ".join(words)


def advise_failed(record: RunRecord, commands: CommandWriter) -> Iterator[str]:
    """What can be done about a run whose canary failed."""
    rest = len(record.tiles) - record.sent
    words = (record.region, record.period, "--resume", record.run)
    yield f"The rest, {format_count(rest, 'tile')}, is not sent. To"
    yield f"  see how its tiles stand: {commands.line('status', '--run', record.run)}"
    yield f"  judge it again, and go on if it passes: {commands.line_for('submit', *words)}"
    yield f"  send the rest as it is: {commands.line_for('submit', *words, '--canary', '0')}"
    yield f"  give it up: {commands.line('run cancel', record.run)}"
