"""``cropmask reconcile``: what should be there against what is."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import click

from cropmask.cli.console import ProgressBar
from cropmask.cli.options import json_option, period_option, place_options, region_option
from cropmask.contract import ExitCode
from cropmask.grid import RESOLUTIONS
from cropmask.operate.formats import say_bytes, say_count
from cropmask.operate.reconcile import Finding, Reconciliation, TileCheck, expected_tiles
from cropmask.operate.reconcile import reconcile as compare
from cropmask.product import RECIPES
from cropmask.region import load_region
from cropmask.site.commands import Commands
from cropmask.site.site import open_site
from cropmask.task import Period

LISTED: Final = 10
"""Tiles of each finding that are printed without --all."""
_COLORS: Final = {
    Finding.OK: "green",
    Finding.PARTIAL: "yellow",
    Finding.MISSING: "yellow",
    Finding.ORPHAN: "magenta",
    Finding.MISMATCH: "red",
}


@click.command()
@region_option
@period_option
@click.option("--verify", is_flag=True, help="Read every file and compare its SHA-256, too.")
@click.option("--all", "every", is_flag=True, help="Print every tile that is not ok.")
@json_option
@place_options
def reconcile(
    region: str,
    period: str,
    verify: bool,
    every: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Compare the tiles of a region with what is in the store.

    \b
    ok        the item is there, and all its files with the sizes it says
    partial   files without an item: an attempt was interrupted
    missing   nothing is there
    orphan    something is there, but the tile is not the region's
    mismatch  the item or a file is damaged, missing or of another size; with --verify also of
              another checksum

    Ends with exit code 0 if all tiles are ok, else with 20. Nothing is changed.
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site = open_site(options=options)
    zone = load_region(region, site.models)
    year = Period.year_of(period)
    expected = expected_tiles(site, zone)
    bar = ProgressBar()
    try:
        found = compare(
            site.store(),
            zone.product,
            year,
            expected,
            verify=verify,
            progress=lambda done, number: bar("reading items", done / number),
        )
    finally:
        bar.close()
    if as_json:
        click.echo(json.dumps(encode_json(found, region, site.commands)))
    else:
        click.echo(format_text(found, region, every, site.commands))
    sys.exit(ExitCode.DONE if found.is_ok else ExitCode.PLAN_HAS_CHANGES)


def advise(found: Reconciliation, finding: Finding, region: str, commands: Commands) -> str:
    """The command that puts tiles with one finding right."""
    where = ("--region", region, "--period", found.period)
    named = ("--tiles", ",".join(str(check.tile) for check in found.of(finding)))
    removed = commands.line("rm", *where, *named)
    submitted = commands.line("submit", *where, *_made(found))
    if finding is Finding.ORPHAN:
        return removed
    if finding is Finding.MISMATCH:
        return f"{removed} && {submitted}"
    return submitted


def _made(found: Reconciliation) -> tuple[str, ...]:
    """Options that make what is missing as most of what is there."""
    way = next(iter(found.ways), None)
    if way is None or way.resolution not in RESOLUTIONS or way.recipe not in RECIPES:
        return ()
    return ("--model", way.recipe, "--resolution", str(way.resolution))


def format_text(found: Reconciliation, region: str, every: bool, commands: Commands) -> str:
    """Findings for a terminal."""
    total = sum(check.bytes for check in found.checks)
    lines = [f"{found.product.folder} {found.period}: {say_count(len(found.checks), 'tile')}"]
    for finding, number in found.counts.items():
        name = click.style(f"{finding:<9}", fg=_COLORS[finding] if number else None)
        lines.append(f"  {name}{number:>7,}")
    checked = "sizes and checksums" if found.verified else "sizes"
    lines.append(f"{say_bytes(total)} in all; {checked} compared with the items")
    for finding in (Finding.PARTIAL, Finding.MISSING, Finding.ORPHAN, Finding.MISMATCH):
        lines += _format_finding(found, finding, every, advise(found, finding, region, commands))
    if len(found.ways) > 1:
        lines += ["", "results were made in more than one way:"]
        lines += [f"  {say_count(number, 'tile')}: {made}" for made, number in found.ways.items()]
    if found.strays:
        lines += ["", f"{say_count(len(found.strays), 'other file')} beside the datasets, such as "
                  f"{found.strays[0]}"]  # fmt: skip
    return "\n".join(lines)


def _format_finding(found: Reconciliation, finding: Finding, every: bool, fix: str) -> list[str]:
    checks = found.of(finding)
    if not checks:
        return []
    shown = checks if every else checks[:LISTED]
    lines = ["", f"{click.style(finding, fg=_COLORS[finding])}: {fix}"]
    lines += [f"  {check.tile}  {'; '.join(check.problems)}" for check in shown]
    if len(shown) < len(checks):
        lines.append(f"  and {len(checks) - len(shown):,} more: --all prints them")
    return lines


def encode_json(found: Reconciliation, region: str, commands: Commands) -> dict[str, Any]:
    """Findings for programs."""
    return {
        "product": found.product.name,
        "version": found.product.version,
        "period": found.period,
        "ok": found.is_ok,
        "verified": found.verified,
        "counts": found.counts,
        "fix": {
            finding: advise(found, finding, region, commands)
            for finding in Finding
            if finding is not Finding.OK and found.of(finding)
        },
        "ways": {str(made): number for made, number in found.ways.items()},
        "strays": found.strays,
        "tiles": [_encode_check(check) for check in found.checks],
    }


def _encode_check(check: TileCheck) -> dict[str, Any]:
    return {
        "tile": str(check.tile),
        "finding": check.finding,
        "problems": check.problems,
        "bytes": check.bytes,
    }
