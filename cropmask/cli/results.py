"""``cropmask ls``, ``sync`` and ``rm``: results of a product or tile."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any, Final

import click

from cropmask.cli.console import ProgressBar, confirm
from cropmask.cli.options import (
    json_option,
    models_option,
    place_options,
    read_tiles,
    region_option,
    tiles_option,
)
from cropmask.contract import ExitCode
from cropmask.operate.formats import say_bytes, say_count
from cropmask.operate.transfer import Copied, Fate, remove
from cropmask.operate.transfer import sync as copy_datasets
from cropmask.product import Product
from cropmask.region import load_region
from cropmask.results.finder import Dataset, find_datasets
from cropmask.site.site import open_site
from cropmask.store.doors import open_store
from cropmask.store.protocol import Store
from cropmask.task import Period

LISTED: Final = 20
"""Datasets that are printed before deleting."""

year_option = click.option(
    "--period", metavar="PERIOD", help="Only this year, such as 2019.  [default: all]"
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done.")


def _find(
    store: Store, product: Product, period: str | None, tiles: str | None
) -> tuple[Dataset, ...]:
    year = str(Period.year_of(period)) if period else None
    wanted = read_tiles(tiles) if tiles is not None else None
    found = find_datasets(store, product, year, wanted)
    return tuple(dataset for dataset in found if dataset.entries)


@click.command()
@region_option
@year_option
@tiles_option
@json_option
@place_options
def ls(
    region: str,
    period: str | None,
    tiles: str | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """List the results of a region: tile, year, files, size, and whether they are finished.

    \b
    Examples:
      cropmask ls --region eastern
      cropmask ls --region eastern --period 2019 --tiles x215y075
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site = open_site(options=options)
    found = _find(site.store(), load_region(region, site.models).product, period, tiles)
    if as_json:
        click.echo(json.dumps([_encode(dataset) for dataset in found]))
        return
    for dataset in found:
        click.echo(_line(dataset))
    unfinished = sum(not dataset.is_finished for dataset in found)
    total = sum(dataset.bytes for dataset in found)
    note = f", {unfinished:,} of them unfinished" if unfinished else ""
    click.echo(f"{say_count(len(found), 'dataset')}, {say_bytes(total)}{note}", err=True)


def _line(dataset: Dataset) -> str:
    state = "done" if dataset.is_finished else "unfinished"
    files = say_count(len(dataset.entries), "file")
    return f"{dataset.tile} {dataset.period} {state:<10} {files:>8} {say_bytes(dataset.bytes):>8}"


def _encode(dataset: Dataset) -> dict[str, Any]:
    return {
        "tile": str(dataset.tile),
        "period": dataset.period,
        "finished": dataset.is_finished,
        "bytes": dataset.bytes,
        "files": [dataset.entries[name].key for name in sorted(dataset.entries)],
    }


@click.command()
@click.argument("source")
@click.argument("target")
@region_option
@year_option
@tiles_option
@click.option("--overwrite", is_flag=True, help="Replace other results in the target.")
@dry_run_option
@json_option
@models_option
def sync(
    source: str,
    target: str,
    region: str,
    period: str | None,
    tiles: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    models: str | None,
) -> None:
    """Copy the finished results of a region from SOURCE to TARGET.

    Both are folders or s3://bucket/prefix. The item comes last, so that the target never has one
    whose files are not there; this also holds while a run writes to SOURCE. What the target has
    is not copied again: repeat the command after an interruption. Every file is compared with
    its checksum.

    \b
    Examples:
      cropmask sync s3://my-bucket/cropmask ./eastern --region eastern --dry-run
      cropmask sync ./output s3://my-bucket/cropmask --region eastern --period 2019
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site = open_site(options={"models": models, "output": source})
    from_store, to_store = site.store(), open_store(target, site.write)
    if from_store.uri("x") == to_store.uri("x"):
        raise click.UsageError("SOURCE and TARGET are the same place")
    product = load_region(region, site.models).product
    found = _find(from_store, product, period, tiles)
    if not dry_run:
        to_store.check_writable()
    bar = ProgressBar()
    try:
        copied = copy_datasets(
            from_store,
            to_store,
            product,
            found,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=lambda done, number: bar("copying", done / number),
        )
    finally:
        bar.close()
    click.echo(json.dumps(_encode_copied(copied)) if as_json else _say_copied(copied, dry_run))
    if any(one.fate in (Fate.OTHER, Fate.DAMAGED) for one in copied):
        sys.exit(ExitCode.FAILED)


def _say_copied(copied: list[Copied], dry_run: bool) -> str:
    lines = []
    for one in copied:
        if one.fate in (Fate.OTHER, Fate.DAMAGED):
            lines.append(f"{one.dataset.tile} {one.dataset.period} {one.fate}: {one.note}")
        elif dry_run and one.fate is Fate.COPIED:
            size = say_bytes(one.bytes)
            lines.append(f"{one.dataset.tile} {one.dataset.period} would copy "
                         f"{say_count(one.files, 'file')}, {size}")  # fmt: skip
    counts = Counter(one.fate for one in copied)
    said = {fate: "to copy" if dry_run and fate is Fate.COPIED else str(fate) for fate in Fate}
    words = [f"{counts[fate]:,} {said[fate]}" for fate in Fate if counts[fate]]
    total = say_bytes(sum(one.bytes for one in copied))
    verb = "would be written" if dry_run else "written"
    lines.append(f"{', '.join(words) or 'no results in the source'}; {total} {verb}")
    return "\n".join(lines)


def _encode_copied(copied: list[Copied]) -> list[dict[str, Any]]:
    return [
        {
            "tile": str(one.dataset.tile),
            "period": one.dataset.period,
            "fate": one.fate,
            "files": one.files,
            "bytes": one.bytes,
            "note": one.note,
        }
        for one in copied
    ]


@click.command()
@region_option
@year_option
@tiles_option
@click.option("--all", "every", is_flag=True, help="All tiles, instead of --tiles.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@place_options
def rm(
    region: str,
    period: str | None,
    tiles: str | None,
    every: bool,
    yes: bool,
    dry_run: bool,
    **options: Any,  # noqa: ANN401 (passed on to the site by name)
) -> None:
    """Delete results: of each tile the item first, then its files.

    \b
    Examples:
      cropmask rm --region eastern --tiles x215y075 --dry-run
      cropmask rm --region eastern --period 2019 --all --yes
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    if (tiles is not None) == every:
        raise click.UsageError("give --tiles, or --all")
    site = open_site(options=options)
    store = site.store()
    found = _find(store, load_region(region, site.models).product, period, tiles)
    if not found:
        click.echo("nothing is there to delete")
        return
    for dataset in found[:LISTED]:
        click.echo(_line(dataset))
    if len(found) > LISTED:
        click.echo(f"and {len(found) - LISTED:,} more")
    files = sum(len(dataset.entries) for dataset in found)
    total = say_bytes(sum(dataset.bytes for dataset in found))
    amount = f"{say_count(len(found), 'dataset')}, {say_count(files, 'file')}, {total}"
    if dry_run:
        click.echo(f"would delete {amount}")
        return
    if not yes:
        confirm(f"delete {amount} in {site.output}?")
    bar = ProgressBar()
    try:
        remove(store, found, lambda done, number: bar("deleting", done / number))
    finally:
        bar.close()
    click.echo(f"deleted {amount}")
