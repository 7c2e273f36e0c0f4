"""``cropmask catalog``: the STAC catalog, built, checked, published and served."""

from __future__ import annotations

from pathlib import Path
from typing import Final, get_args

import click

from cropmask.catalog.api import Api, AssetPlaces
from cropmask.catalog.build import Built, build_results, build_static
from cropmask.catalog.check import Depth, describe_checked, verify_catalog
from cropmask.catalog.publish import publish_catalog
from cropmask.catalog.schemas import Schemas
from cropmask.catalog.server import open_socket, require_web_packages, serve
from cropmask.cli.console import open_progress
from cropmask.cli.numbers import Whole
from cropmask.cli.options import FILE, models_option
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.operate.formats import say_count
from cropmask.remote.address import is_remote
from cropmask.site.site import Site, open_site
from cropmask.stac.collection import ROOT_KEY
from cropmask.store.protocol import Store

FOLDER: Final = "catalogs"
"""Where the catalog without results is printed."""
ASSET_PLACES: Final = get_args(AssetPlaces)

port_option = click.option(
    "--port", type=Whole(0, 65_535), default=8000, show_default=True, help="0: any port."
)
host_option = click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
)


def open_place(place: str) -> tuple[Site, Store]:
    """Site and store of a place of results, whatever environment is configured."""
    site = open_site(options={"output": place, "env": "local"})
    return site, site.store()


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
    site, store = open_place(results or output or FOLDER)
    store.check_writable()
    if results is None:
        _print_built(build_static(store, models), site.output)
        return
    progress = open_progress("text")
    try:
        built = build_results(store, models, parquet=parquet, progress=progress)
    finally:
        progress.close()
    _print_built(built, site.output)
    if not built.collections:
        click.echo(f"There is no item in {site.output} yet.")
    if built.unusable:
        raise Rejected(
            f"{len(built.unusable)} files in the place of items are none of ours and were left "
            f"out, such as {built.unusable[0]}: remove them, or compute them again",
            reason=Reason.BAD_ITEM,
        )


@catalog.command()
@click.argument("place", default="./output")
@click.option("--quick", is_flag=True, help="Do not read files: no checksums, no rasters.")
@click.option("--external", is_flag=True, help="Look for addresses outside the catalog too.")
@click.option(
    "--schemas",
    type=FILE,
    metavar="FOLDER",
    help="Schemas of STAC extensions, as EXTENSION/VERSION/schema.json.",
)
@click.option("--fetch-schemas", is_flag=True, help="Fetch the schemas that are not at hand.")
def check(
    place: str, quick: bool, external: bool, schemas: Path | None, fetch_schemas: bool
) -> None:
    """Check every document, address, checksum and raster of a catalog.

    PLACE is a folder, s3://bucket/prefix, or the address of a catalog.json. Documents are checked
    against the STAC schemas, which need no network; those of extensions as far as they are given.

    \b
    Examples:
      cropmask catalog check ./output
      cropmask catalog check s3://my-bucket/cropmask --quick
      cropmask catalog check https://data.example.org/cropmask/catalog.json
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    site, _ = open_place(".")
    root = place if place.endswith(".json") else f"{place.rstrip('/')}/{ROOT_KEY}"
    root = root if is_remote(root) else str(Path(root.removeprefix("file://")).absolute())
    progress = open_progress("text")
    try:
        checked = verify_catalog(
            root,
            site.read,
            Schemas(schemas, fetch=fetch_schemas),
            Depth(contents=not quick, elsewhere=external),
            progress,
        )
    finally:
        progress.close()
    for problem in checked.problems:
        click.echo(str(problem))
    for line in describe_checked(checked):
        click.echo(line)
    if checked.problems:
        problems = say_count(len(checked.problems), "problem")
        raise Rejected(f"{problems} in {root}", reason=Reason.BAD_CATALOG)


@catalog.command()
@click.argument("place", default="./output")
@click.option(
    "--base-url",
    required=True,
    metavar="ADDRESS",
    help="Where the files of PLACE will be found, such as https://data.example.org/cropmask.",
)
@click.option(
    "--output", required=True, metavar="PLACE", help="Folder or s3://bucket/prefix to write to."
)
@click.option("--data", is_flag=True, help="Take the rasters along.")
def publish(place: str, base_url: str, output: str, data: bool) -> None:
    """Write a copy of a catalog with absolute addresses, for readers that need them.

    \b
    Examples:
      cropmask catalog publish ./output --base-url https://data.example.org/cropmask \\
                               --output ./public
      cropmask catalog publish catalogs --base-url s3://my-bucket/cropmask \\
                               --output s3://my-bucket/cropmask
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    _, source = open_place(place)
    _, target = open_place(output)
    progress = open_progress("text")
    try:
        published = publish_catalog(source, target, base_url, data=data, progress=progress)
    finally:
        progress.close()
    click.echo(f"{output}: {published.documents} documents, {published.files} other files.")


@catalog.command("serve")
@click.argument("place", default="./output")
@port_option
@host_option
@click.option(
    "--assets",
    type=click.Choice(ASSET_PLACES),
    default="place",
    show_default=True,
    help="Name files where they are (file://, s3://), as an index must, or on this server.",
)
def serve_catalog(place: str, port: int, host: str, assets: AssetPlaces) -> None:
    """Serve a catalog as a STAC API that can be searched.

    PLACE is a folder or s3://bucket/prefix of results. No database is needed; what workers add
    appears within seconds. The server listens on this machine only unless --host says otherwise.

    \b
    Examples:
      cropmask catalog serve ./output
      stac-to-dc --catalog-href http://127.0.0.1:8000 --collections crop_mask_eastern
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    require_web_packages()
    from cropmask.catalog.web import make_api_app

    site, store = open_place(place)
    api = Api(store, assets=assets)
    found = api.index()
    if not found.collections:
        raise Misconfigured(
            f"there is no catalog at {store.uri(ROOT_KEY)}: run 'cropmask catalog build "
            f"--results {place}'",
            reason=Reason.NO_CATALOG,
        )
    app = make_api_app(api, store, site.read)
    bound = open_socket(host, port)

    def ready(address: str) -> None:
        count = f"{len(found.collections)} collections, {len(found)} items"
        click.echo(f"STAC API at {address}/  {count}  (Ctrl-C ends it)")

    serve(app, bound, ready)


def _print_built(built: Built, place: str) -> None:
    for product, items in built.collections.items():
        click.echo(f"  {product:<26} {items:>6} items" if items else f"  {product}")
    read = f", {built.read} items read" if built.read else ""
    click.echo(f"{place}: {built.written} files written{read}.")
