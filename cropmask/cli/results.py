"""``cropmask ls``, ``sync`` and ``rm``: results of a product or tile."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask.cli import options
from cropmask.cli.console import confirm, show_progress, warn, warn_if_absent
from cropmask.cli.output import pick, print_result
from cropmask.contract import ExitCode
from cropmask.errors import list_some
from cropmask.grid import Tile
from cropmask.operate.formats import format_bytes, format_count
from cropmask.task import Period, choose_products

if TYPE_CHECKING:
    from cropmask.operate.transfer import CopyResult
    from cropmask.product import Product
    from cropmask.results.finder import Dataset
    from cropmask.site.site import Site
    from cropmask.store.protocol import Store

_PRINTED_DATASETS: Final = 20
"""Datasets that are printed before deleting."""

_year_option = click.option(
    "--period",
    type=options.TASK_PERIOD,
    help="Only this year, such as 2019, or season, 2020-07--P1Y, or the series of several, such as "
    "2019--P6Y.  [default: all]",
)


def _find(
    store: Store, product: Product, period: Period | None, tiles: list[Tile] | None
) -> tuple[Dataset, ...]:
    from cropmask.results.finder import find_datasets

    found = find_datasets(store, product, str(period) if period else None, tiles)
    return tuple(dataset for dataset in found if dataset.entries)


@click.command()
@click.option(
    "--region",
    type=options.REGION,
    help="Region, such as eastern, or the path of a region.toml.  [default: all that have results]",
)
@_year_option
@options.tiles_option
@options.json_option
@options.place_options
def ls(
    region: str | None,
    period: Period | None,
    tiles: list[Tile] | None,
    as_json: bool,
    **site_options: object,
) -> None:
    """List results: product, tile, year, files, size, and whether they are finished.

    \b
    Examples:
      cropmask ls
      cropmask ls --region eastern --period 2019 --tiles x215y075
    """
    from cropmask.product import FAMILIES
    from cropmask.region.region import load_region
    from cropmask.results.finder import find_products

    site = options.open_site(site_options)
    warn_if_absent(site.output)
    store = site.store()
    products = (
        tuple(found for family in FAMILIES for found in find_products(store, family))
        if region is None
        else choose_products(load_region(region, site.models).product, period)
    )
    found = tuple(
        dataset for product in products for dataset in _find(store, product, period, tiles)
    )
    print_result(_describe_datasets(found), map(_format_dataset, found), as_json=as_json)
    if not as_json:
        unfinished = sum(not dataset.is_finished for dataset in found)
        note = f", {unfinished:,} of them unfinished" if unfinished else ""
        click.echo(f"{format_count(len(found), 'dataset')}, {_say_size(found)}{note}", err=True)


def _describe_datasets(found: Iterable[Dataset]) -> list[dict[str, Any]]:
    """Datasets for programs."""
    return [
        {
            "product": dataset.product.name,
            "version": dataset.product.version,
            **pick(dataset, "tile", "period", "bytes"),
            "finished": dataset.is_finished,
            "files": [dataset.entries[name].key for name in sorted(dataset.entries)],
        }
        for dataset in found
    ]


def _format_dataset(dataset: Dataset) -> str:
    word, color = ("done", "green") if dataset.is_finished else ("unfinished", "yellow")
    state = click.style(f"{word:<10}", fg=color)
    files = format_count(len(dataset.entries), "file")
    name = f"{dataset.product.folder} {dataset.tile} {dataset.period}"
    return f"{name} {state} {files:>8} {format_bytes(dataset.bytes):>8}"


def _say_size(found: tuple[Dataset, ...]) -> str:
    return format_bytes(sum(dataset.bytes for dataset in found))


@click.command()
@click.argument("source")
@click.argument("target")
@options.region_option
@_year_option
@options.tiles_option
@click.option("--overwrite", is_flag=True, help="Replace other results in the target.")
@options.dry_run_option
@options.json_option
@options.models_option
def sync(
    source: str,
    target: str,
    region: str,
    period: Period | None,
    tiles: list[Tile] | None,
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
    """
    from cropmask.operate import transfer
    from cropmask.region.region import load_region
    from cropmask.store.doors import open_store

    site = options.open_site({"models": models, "output": source, "config": options.given_config()})
    from_store, to_store = site.store(), open_store(target, site.write)
    if from_store.uri("x") == to_store.uri("x"):
        raise click.UsageError("SOURCE and TARGET are the same place")
    products = choose_products(load_region(region, site.models).product, period)
    if not dry_run:
        to_store.check_writable()
    with show_progress() as progress:
        copied = [
            one
            for product in products
            for one in transfer.sync(
                from_store,
                to_store,
                product,
                _find(from_store, product, period, tiles),
                overwrite=overwrite,
                dry_run=dry_run,
                progress=lambda done, number: progress("copying", done / number),
            )
        ]
    document = [
        {**pick(one.dataset, "tile", "period"), **pick(one, "fate", "files", "bytes", "note")}
        for one in copied
    ]
    print_result(document, _format_copied(copied, dry_run), as_json=as_json)
    if any(one.fate in (transfer.CopyState.OTHER, transfer.CopyState.DAMAGED) for one in copied):
        sys.exit(ExitCode.FAILED)


def _format_copied(copied: list[CopyResult], dry_run: bool) -> Iterator[str]:
    from cropmask.operate.transfer import CopyState

    for one in copied:
        name = f"{one.dataset.tile} {one.dataset.period}"
        if one.fate in (CopyState.OTHER, CopyState.DAMAGED):
            yield f"{name} {one.fate}: {one.note}"
        elif dry_run and one.fate is CopyState.COPIED:
            yield f"{name} would copy {format_count(one.files, 'file')}, {format_bytes(one.bytes)}"
    counts = Counter(one.fate for one in copied)
    said = {
        fate: "to copy" if dry_run and fate is CopyState.COPIED else str(fate) for fate in CopyState
    }
    words = [f"{counts[fate]:,} {said[fate]}" for fate in CopyState if counts[fate]]
    total = format_bytes(sum(one.bytes for one in copied))
    verb = "would be written" if dry_run else "written"
    yield f"{', '.join(words) or 'no results in the source'}; {total} {verb}"


@click.command()
@options.region_option
@_year_option
@options.tiles_option
@click.option("--all", "every", is_flag=True, help="All tiles, instead of --tiles.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.dry_run_option
@options.json_option
@options.place_options
def rm(
    region: str,
    period: Period | None,
    tiles: list[Tile] | None,
    every: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **site_options: object,
) -> None:
    """Delete results: of each tile the item first, then its files.

    A catalog that links them is brought up to date, as by 'catalog build'.

    \b
    Examples:
      cropmask rm --region eastern --tiles x215y075 --dry-run
      cropmask rm --region eastern --period 2019 --all --yes
    """
    if (tiles is not None) == every:
        raise click.UsageError("give --tiles, or --all")
    from cropmask.operate.transfer import remove
    from cropmask.region.region import load_region

    site = options.open_site(site_options)
    store = site.store()
    product = load_region(region, site.models).product
    products = choose_products(product, period)
    found = tuple(one for each in products for one in _find(store, each, period, tiles))
    print_result(_describe_datasets(found), _format_removed(found, dry_run), as_json=as_json)
    if dry_run or not found:
        return
    if not yes:
        confirm(f"delete {_say_amount(found)} in {site.output}?")
    with show_progress() as progress:
        remove(store, found, lambda done, number: progress("deleting", done / number))
    if not as_json:
        click.echo(f"deleted {_say_amount(found)}")
    _unlink(site, store, products, {dataset.item_key for dataset in found})
    _warn_of_series(site, store, region, product, found)


def _warn_of_series(
    site: Site, store: Store, region: str, product: Product, removed: tuple[Dataset, ...]
) -> None:
    """Say which series were made of yearly maps that were deleted."""
    from cropmask.operate.mapseries import find_series_without

    for period, tiles in find_series_without(store, product, removed).items():
        line = site.commands.line_for("plan", region, period)
        warn(
            f"the series {period} of {list_some([*map(str, tiles)], 4)} is out of date, as it was "
            f"made of maps that are deleted: '{line}'"
        )


def _format_removed(found: tuple[Dataset, ...], dry_run: bool) -> Iterator[str]:
    """Lines about what is to be deleted."""
    if not found:
        yield "nothing is there to delete"
        return
    yield from map(_format_dataset, found[:_PRINTED_DATASETS])
    if len(found) > _PRINTED_DATASETS:
        yield f"and {len(found) - _PRINTED_DATASETS:,} more"
    if dry_run:
        yield f"would delete {_say_amount(found)}"


def _say_amount(found: tuple[Dataset, ...]) -> str:
    files = format_count(sum(len(dataset.entries) for dataset in found), "file")
    return f"{format_count(len(found), 'dataset')}, {files}, {_say_size(found)}"


def _unlink(site: Site, store: Store, products: Iterable[Product], items: set[str]) -> None:
    """Take items that were deleted out of the catalog, or say the command that does it."""
    from cropmask.catalog.build import build_results, is_linked
    from cropmask.errors import CropmaskError
    from cropmask.stac.collection import PARQUET

    linked = [product.name for product in products if is_linked(store, product.name, items)]
    if not linked:
        return
    try:
        with show_progress() as progress:
            parquet = store.exists(f"{linked[0]}/{PARQUET}")
            build_results(
                store,
                site.models,
                limits=site.read.limits,
                parquet=parquet,
                progress=progress,
            )
    except CropmaskError as error:
        line = site.commands.line("catalog build", "--results", site.output)
        click.echo(f"its catalog still links what was deleted ({error}): run '{line}'", err=True)
        return
    click.echo("its catalog no longer links what was deleted", err=True)
