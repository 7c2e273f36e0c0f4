"""``cropmask catalog``: the STAC catalog, built, checked, published and served."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from cropmask.catalog.build import Built, build_results, build_static
from cropmask.cli.console import open_progress
from cropmask.cli.options import models_option
from cropmask.errors import Rejected
from cropmask.site import open_site

FOLDER: Final = "catalogs"
"""Where the catalog without results is printed."""


@click.group()
def catalog() -> None:
    """Build, check, publish and serve the STAC catalog."""


@catalog.command()
@click.option(
    "--output",
    metavar="PLACE",
    help="Folder or s3://bucket/prefix for the catalog without results.  [default: ./catalogs]",
)
@click.option(
    "--results",
    metavar="PLACE",
    help="Folder or s3://bucket/prefix of results: link the items that are there.",
)
@click.option("--parquet/--no-parquet", default=True, help="Write items.parquet too, or not.")
@models_option
def build(output: str | None, results: str | None, parquet: bool, models: Path | None) -> None:
    """Print the catalog of all regions, or bring the catalog of results up to date.

    With --results it links every item that is there, sums up areas by product, and writes the
    items as stac-geoparquet. It may run while workers write, and again at any time: items are
    read only if they are new or have changed, and no link to an item that is there is lost.

    \b
    Examples:
      cropmask catalog build
      cropmask catalog build --results ./output
      cropmask catalog build --results s3://my-bucket/cropmask
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    if output is not None and results is not None:
        raise click.UsageError("give --output (no results) or --results, not both")
    site = open_site(options={"output": results or output or FOLDER, "models": models})
    store = site.store()
    store.check_writable()
    if results is None:
        _print_built(build_static(store, site.models), str(site.output))
        return
    progress = open_progress("text")
    try:
        built = build_results(store, site.models, parquet=parquet, progress=progress)
    finally:
        progress.close()
    _print_built(built, str(site.output))
    if not built.collections:
        click.echo(f"There is no item in {site.output} yet.")
    if built.unusable:
        raise Rejected(
            f"{len(built.unusable)} files in the place of items are none of ours and were left "
            f"out, such as {built.unusable[0]}: remove them, or compute them again",
            reason="bad item",
        )


def _print_built(built: Built, place: str) -> None:
    for product, items in built.collections.items():
        click.echo(f"  {product:<26} {items:>6} items" if items else f"  {product}")
    read = f", {built.read} items read" if built.read else ""
    click.echo(f"{place}: {built.written} files written{read}.")
