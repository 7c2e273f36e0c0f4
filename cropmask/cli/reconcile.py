"""``cropmask reconcile``: what should be there against what is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress
from cropmask.cli.output import pick, print_result
from cropmask.contract import ExitCode
from cropmask.grid import RESOLUTIONS
from cropmask.operate.formats import format_bytes, format_count
from cropmask.product import RECIPES, SERIES_RECIPE
from cropmask.site.commands import write_made
from cropmask.task import Period, choose_product

if TYPE_CHECKING:
    from cropmask.operate.reconcile import Finding, Reconciliation
    from cropmask.site.commands import CommandWriter

_PRINTED_TILES: Final = 10
"""Tiles of each finding that are printed without --all."""
_COLORS: Final = {
    "ok": "green",
    "partial": "yellow",
    "missing": "yellow",
    "orphan": "magenta",
    "mismatch": "red",
}


@click.command()
@options.region_option
@options.task_period_option
@click.option("--verify", is_flag=True, help="Read every file and compare its SHA-256, too.")
@click.option("--all", "every", is_flag=True, help="Print every tile that is not ok.")
@options.json_option
@options.place_options
def reconcile(
    region: str, period: Period, verify: bool, every: bool, as_json: bool, **site_options: object
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
    """
    from cropmask.operate.reconcile import Finding, expected_tiles
    from cropmask.operate.reconcile import reconcile as compare
    from cropmask.region.region import load_region

    site = options.open_site(site_options)
    zone = load_region(region, site.models)
    expected = expected_tiles(site, zone)
    with show_progress() as progress:
        found = compare(
            site.store(),
            choose_product(zone.product, period),
            period,
            expected,
            verify=verify,
            progress=lambda done, number: progress("reading items", done / number),
        )
    fixes: dict[Finding, str] = {
        finding: _find_fix(found, finding, region, site.commands)
        for finding in Finding
        if finding is not Finding.OK and found.of(finding)
    }
    document = {
        "product": found.product.name,
        "ok": found.is_ok,
        **pick(found.product, "version"),
        **pick(found, "period", "verified", "counts", "strays"),
        "fix": fixes,
        "ways": {str(made): number for made, number in found.ways.items()},
        "tiles": [pick(check, "tile", "finding", "problems", "bytes") for check in found.checks],
    }
    print_result(document, _format_findings(found, fixes, every), as_json=as_json)
    sys.exit(ExitCode.DONE if found.is_ok else ExitCode.PLAN_HAS_CHANGES)


def _find_fix(found: Reconciliation, finding: Finding, region: str, commands: CommandWriter) -> str:
    """The command that puts tiles with one finding right."""
    where = ("--region", region, "--period", found.period)
    tiles = ",".join(str(check.tile) for check in found.of(finding))
    remove = commands.line("rm", *where, "--tiles", tiles)
    # What is missing is made as most of what is there.
    way = next(iter(found.ways), None)
    made: tuple[str, ...] = ()
    known = (*RECIPES, SERIES_RECIPE)
    if way is not None and way.resolution in RESOLUTIONS and way.recipe in known:
        made = write_made(
            found.period, way.recipe, way.resolution, way.bands, seamless=way.seamless
        )
    submit = commands.line("submit", *where, *made)
    return {"orphan": remove, "mismatch": f"{remove} && {submit}"}.get(finding, submit)


def _format_findings(
    found: Reconciliation, fixes: dict[Finding, str], every: bool
) -> Iterator[str]:
    yield f"{found.product.folder} {found.period}: {format_count(len(found.checks), 'tile')}"
    for finding, number in found.counts.items():
        name = click.style(f"{finding:<9}", fg=_COLORS[finding] if number else None)
        yield f"  {name}{number:>7,}"
    checked = "sizes and checksums" if found.verified else "sizes"
    total = format_bytes(sum(check.bytes for check in found.checks))
    yield f"{total} in all; {checked} compared with the items"
    for finding, fix in fixes.items():
        checks = found.of(finding)
        shown = checks if every else checks[:_PRINTED_TILES]
        yield f"\n{click.style(finding, fg=_COLORS[finding])}: {fix}"
        for check in shown:
            yield f"  {check.tile}  {'; '.join(check.problems)}"
        if len(shown) < len(checks):
            yield f"  and {len(checks) - len(shown):,} more: --all prints them"
    if len(found.ways) > 1:
        yield "\nresults were made in more than one way:"
        for made, number in found.ways.items():
            yield f"  {format_count(number, 'tile')}: {made}"
    if found.strays:
        others = format_count(len(found.strays), "other file")
        yield f"\n{others} beside the datasets, such as {found.strays[0]}"
