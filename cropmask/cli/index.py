"""``cropmask index``: results into an Open Data Cube."""

from __future__ import annotations

from pathlib import Path

import click

from cropmask.catalog.index import Indexed, IndexOptions, index_results
from cropmask.cli.catalog import open_place
from cropmask.cli.console import open_progress
from cropmask.cli.options import FILE
from cropmask.errors import Interrupted, Reason


@click.command()
@click.argument("place", default="./output")
@click.option("--dc", is_flag=True, required=True, help="Into an Open Data Cube.")
@click.option(
    "--tools",
    type=FILE,
    metavar="FOLDER",
    help="Folder of its programs, such as /env/bin.  [default: beside this one, or on the PATH]",
)
@click.option("-E", "--environment", default="", help="Environment of its configuration.")
@click.option(
    "--api",
    metavar="ADDRESS",
    help="Read from this STAC API by stac-to-dc, as 'cropmask catalog serve' starts one.",
)
@click.option("--update", is_flag=True, help="Replace datasets that have changed.")
@click.option("--lineage", is_flag=True, help="The GeoMAD datasets are in the index too.")
def index(
    place: str,
    dc: bool,  # noqa: ARG001 (there is no other index yet)
    tools: Path | None,
    environment: str,
    api: str | None,
    update: bool,
    lineage: bool,
) -> None:
    """Index results, and count what is really in the index afterwards.

    PLACE is a folder (fs-to-dc reads the EO3 documents) or s3://bucket/prefix (s3-to-dc reads the
    STAC items); with --api, stac-to-dc reads a STAC API. The database is the one that the Open
    Data Cube is configured for, for instance by ODC_DEFAULT_DB_URL.

    \b
    Examples:
      cropmask index --dc ./output
      cropmask index --dc s3://my-bucket/cropmask --tools /env/bin --update
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    _, store = open_place(place)
    options = IndexOptions(tools, environment, api, update, lineage)
    progress = open_progress("text")
    try:
        indexed = index_results(store, options, progress)
    finally:
        progress.close()
    _print(indexed)


def _print(indexed: Indexed) -> None:
    click.echo(
        f"{indexed.expected} items: {indexed.added} added, {indexed.updated} updated, "
        f"{indexed.unchanged} unchanged, {len(indexed.outdated)} outdated, "
        f"{len(indexed.missing)} missing."
    )
    for key in indexed.outdated:
        click.echo(f"  outdated  {key}")
    for key in indexed.missing:
        click.echo(f"  missing   {key}")
    if indexed.missing:
        raise Interrupted(
            f"{len(indexed.missing)} of {indexed.expected} items are not in the index; the program "
            f"said: {indexed.said}",
            reason=Reason.NOT_INDEXED,
        )
    if indexed.outdated:
        click.echo("Replace outdated ones with --update.")
