"""``cropmask catalog``, ``browse`` and ``index``: results as a catalog, and into a data cube."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask.cli import options
from cropmask.cli.console import STAGES, show_progress, warn_if_absent
from cropmask.cli.output import pick, print_result
from cropmask.errors import (
    CropmaskError,
    Interrupted,
    Misconfigured,
    Reason,
    Rejected,
    doubt_address,
)
from cropmask.operate.formats import format_count

if TYPE_CHECKING:
    from cropmask.catalog.api import AssetPlaces
    from cropmask.catalog.build import Built
    from cropmask.catalog.guard import Visitors
    from cropmask.catalog.index import Indexed
    from cropmask.machine.stages import Progress
    from cropmask.site.site import Site
    from cropmask.store.protocol import Store

_CATALOG_FOLDER: Final = "catalogs"
"""Where the catalog without results is printed."""
_ASSET_PLACES: Final[tuple[AssetPlaces, ...]] = ("place", "server")

_ORIGIN: Final = re.compile(r"\*|https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")


def _check_each(form: re.Pattern[str], what: str) -> Callable[..., tuple[str, ...]]:
    """Callback of an option with several values, each of a form."""

    def check(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if form.fullmatch(value) is None:
                raise click.BadParameter(f"'{value}' is no {what}")
        return values

    return check


_server_options = options.combine(
    click.option("--port", type=options.WholeNumber(0, 65_535), default=8000, help="0: any port."),
    click.option("--host", default="127.0.0.1", help="Address to listen on."),
    click.option(
        "--allow-host",
        "others",
        multiple=True,
        metavar="NAME",
        callback=_check_each(_HOST, "name of a server: give a name or address without a port"),
        help="Further name by which others reach this server; may be repeated.",
    ),
    click.option(
        "--cors",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        callback=_check_each(_ORIGIN, "origin: give one such as https://example.org, or *"),
        help="Let pages of this origin read, such as https://example.org; may be repeated.",
    ),
)


def _open_place(place: str) -> tuple[Site, Store]:
    """Site and store of a place of results, whatever environment is configured."""
    site = options.open_site({"output": place, "env": "local", "config": options.given_config()})
    return site, site.store()


def _serve(
    make_app: Callable[[Visitors], Any], where: dict[str, Any], about: str, *, launch: bool = False
) -> None:
    """Serve an application until a signal comes; says where as soon as it can be reached."""
    from cropmask.catalog.guard import make_visitors
    from cropmask.catalog.server import open_socket, serve

    def print_address(address: str) -> None:
        click.echo(f"{about.format(address=address)}  (Ctrl-C ends it)")
        if launch:
            click.launch(f"{address}/")

    host = where["host"]
    bound = open_socket(host, where["port"])
    visitors = make_visitors(host, bound, others=where["others"], origins=where["origins"])
    serve(make_app(visitors), bound, print_address)


def _no_catalog(site: Site, address: str) -> Misconfigured:
    line = site.commands.line("catalog build", "--results", site.output)
    return Misconfigured(
        f"there is no catalog at {address}: run '{line}'",
        reason=Reason.NO_CATALOG,
    )


@click.group()
def catalog() -> None:
    """Build, check, publish and serve the STAC catalog."""


@catalog.command()
@click.option(
    "--output", type=options.PLACE, help="Catalog without results.  [default: ./catalogs]"
)
@click.option("--results", type=options.PLACE, help="Place of results whose items to link.")
@click.option("--parquet/--no-parquet", default=True, help="Write items.parquet too, or not.")
@options.json_option
@options.models_option
def build(
    output: str | None, results: str | None, parquet: bool, as_json: bool, models: Path | None
) -> None:
    """Print the catalog of all regions, or bring the catalog of results up to date.

    With --results it links every item that is there, sums up areas by product, and writes the
    items as stac-geoparquet. It may run while workers write, and again at any time: items are
    read only if they are new or have changed, and no link to an item that is there is lost.

    \b
    Examples:
      cropmask catalog build
      cropmask catalog build --results ./output
      cropmask catalog build --results s3://my-bucket/cropmask
    """
    from cropmask.catalog.build import build_results, build_static

    if output is not None and results is not None:
        raise click.UsageError("give --output (no results) or --results, not both")
    site, store = _open_place(results or output or _CATALOG_FOLDER)
    if results is not None:
        warn_if_absent(site.output)
    store.check_writable()
    if results is None:
        built = build_static(store, models, site.read.limits)
    else:
        with show_progress() as progress:
            built = build_results(
                store, models, limits=site.read.limits, parquet=parquet, progress=progress
            )
    document = {"place": site.output, **pick(built, "collections", "read", "written", "unusable")}
    print_result(document, _format_built(built, site.output), as_json=as_json)
    if built.unusable:
        raise Rejected(
            f"{len(built.unusable)} files in the place of items are none of ours and were left "
            f"out, such as {built.unusable[0]}: remove them, or compute them again",
            reason=Reason.BAD_ITEM,
        )


def _format_built(built: Built, place: str) -> Iterator[str]:
    for product, items in built.collections.items():
        yield f"  {product:<26} {items:>6} items" if items else f"  {product}"
    read = f", {built.read} items read" if built.read else ""
    yield f"{place}: {built.written} files written{read}."
    if not built.collections:
        yield f"There is no item in {place} yet."


@catalog.command()
@click.argument("place", default="./output")
@click.option("--quick", is_flag=True, help="Do not read files: no checksums, no rasters.")
@click.option("--external", is_flag=True, help="Look for addresses outside the catalog too.")
@click.option(
    "--schemas", type=options.FOLDER, help="STAC extensions, as EXTENSION/VERSION/schema.json."
)
@click.option("--fetch-schemas", is_flag=True, help="Fetch the schemas that are not at hand.")
@options.plain_config_option
@options.json_option
def check(
    place: str,
    quick: bool,
    external: bool,
    schemas: Path | None,
    fetch_schemas: bool,
    as_json: bool,
) -> None:
    """Check every document, address, checksum and raster of a catalog.

    PLACE is a folder, s3://bucket/prefix, or the address of a catalog.json. Documents are checked
    against the STAC schemas, which need no network; those of extensions as far as they are given.

    \b
    Examples:
      cropmask catalog check ./output
      cropmask catalog check s3://my-bucket/cropmask --quick
      cropmask catalog check https://data.example.org/cropmask/catalog.json
    """
    from cropmask.catalog.check import Depth, describe_checked, verify_catalog
    from cropmask.catalog.schemas import Schemas
    from cropmask.remote.address import is_remote
    from cropmask.stac.collection import ROOT_KEY

    if doubt := doubt_address(place, ("s3", "http", "https", "file")):
        raise Misconfigured(f"'{place}' is no catalog{doubt}", reason=Reason.NO_CATALOG)
    site, _ = _open_place(".")
    root = place if place.endswith(".json") else f"{place.rstrip('/')}/{ROOT_KEY}"
    root = root if is_remote(root) else str(Path(root.removeprefix("file://")).absolute())
    known = Schemas(schemas, fetch=fetch_schemas)
    depth = Depth(contents=not quick, elsewhere=external)
    with show_progress() as progress:
        checked = verify_catalog(root, site.read, known, depth, progress)
    counts = ("documents", "addresses", "files", "rasters", "elsewhere", "unchecked")
    document = {
        "root": root,
        **pick(checked, *counts),
        "problems": [pick(problem, "where", "what") for problem in checked.problems],
    }
    lines = (*map(str, checked.problems), *describe_checked(checked))
    print_result(document, lines, as_json=as_json)
    if checked.problems:
        problems = format_count(len(checked.problems), "problem")
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
    "--output", required=True, type=options.PLACE, help="Folder or s3://bucket/prefix to write to."
)
@click.option("--data", is_flag=True, help="Take the rasters along.")
@options.plain_config_option
def publish(place: str, base_url: str, output: str, data: bool) -> None:
    """Write a copy of a catalog with absolute addresses, for readers that need them.

    \b
    Examples:
      cropmask catalog publish ./output --base-url https://data.example.org/cropmask \\
                               --output ./public
      cropmask catalog publish catalogs --base-url s3://my-bucket/cropmask \\
                               --output s3://my-bucket/cropmask
    """
    from cropmask.catalog.publish import publish_catalog

    _, source = _open_place(place)
    _, target = _open_place(output)
    with show_progress() as progress:
        published = publish_catalog(source, target, base_url, data=data, progress=progress)
    click.echo(f"{output}: {published.documents} documents, {published.files} other files.")


@catalog.command("serve")
@click.argument("place", default="./output")
@_server_options
@click.option(
    "--assets",
    type=click.Choice(_ASSET_PLACES),
    default="server",
    show_default=True,
    help="Name files on this server, for readers anywhere, or where they are (file://, s3://), "
    "as an index must.",
)
@options.plain_config_option
def serve_catalog(place: str, assets: AssetPlaces, **where: Any) -> None:  # noqa: ANN401
    """Serve a catalog as a STAC API that can be searched.

    PLACE is a folder or s3://bucket/prefix of results. No database is needed; what workers add
    appears within seconds. The server listens on this machine only unless --host says otherwise,
    and answers only who asks for it by its own name; addresses in answers begin with that name.

    \b
    Examples:
      cropmask catalog serve ./output
      cropmask catalog serve ./output --host 0.0.0.0 --allow-host maps.example.org
      cropmask catalog serve ./output --assets place
      stac-to-dc --catalog-href http://127.0.0.1:8000 --collections crop_mask_eastern
    """
    from cropmask.catalog.server import require_web_packages

    require_web_packages()
    from cropmask.catalog.api import Api
    from cropmask.catalog.web import make_api_app
    from cropmask.stac.collection import ROOT_KEY

    site, store = _open_place(place)
    api = Api(store, assets=assets)
    found = api.index()
    if not found.collections:
        raise _no_catalog(site, store.uri(ROOT_KEY))
    count = f"{len(found.collections)} collections, {len(found)} items"
    about = f"STAC API at {{address}}/  {count}"
    _serve(partial(make_api_app, api, store), where, about)


@click.command()
@click.argument("place", default="./output")
@_server_options
@click.option("--plain", is_flag=True, help="Plain pages: no STAC Browser, no script.")
@click.option("--build-only", is_flag=True, help="Build STAC Browser into the cache, and leave.")
@click.option("--open/--no-open", "launch", default=True, help="Open a web browser, or not.")
@options.plain_config_option
def browse(place: str, plain: bool, build_only: bool, launch: bool, **where: Any) -> None:  # noqa: ANN401
    """Look at a catalog and its maps in STAC Browser.

    PLACE is a folder or s3://bucket/prefix of results; 'cropmask catalog build --results PLACE'
    links what is there. A folder that 'cropmask web' has made is shown as the map that it is.
    STAC Browser is built on first use, which needs Node.js with npm and takes two minutes; without
    Node.js there are plain pages.

    \b
    Examples:
      cropmask browse
      cropmask browse s3://my-bucket/cropmask --port 8080
    """
    from cropmask.catalog.server import require_web_packages

    require_web_packages()
    from cropmask.catalog.browser import ensure_browser
    from cropmask.catalog.mappage import CONFIG_FILE, ensure_map_library
    from cropmask.catalog.web import make_browser_app, make_map_app
    from cropmask.stac.collection import ROOT_KEY

    site, store = _open_place(place)
    if build_only:
        with _show_building(site.cache) as progress:
            folder = ensure_browser(site.cache, progress)
        click.echo(folder)
        return
    if not store.exists(ROOT_KEY):
        if store.exists(CONFIG_FILE):
            with show_progress() as progress:
                library = ensure_map_library(site.cache, progress)
            make_map = partial(make_map_app, store, library)
            _serve(make_map, where, "{address}/", launch=launch)
            return
        raise _no_catalog(site, store.uri(ROOT_KEY))
    browser = None
    if not plain:
        try:
            with _show_building(site.cache) as progress:
                browser = ensure_browser(site.cache, progress)
        except CropmaskError as error:
            click.echo(f"{error}. Plain pages are shown instead.", err=True)
    make_app = partial(make_browser_app, store, browser, title="Cropland extent")
    _serve(make_app, where, "{address}/", launch=launch)


@contextmanager
def _show_building(cache: Path) -> Iterator[Progress]:
    """Say what is done before a browser can be shown, and how long it takes, unless it is there.

    Where no terminal shows a bar, each step is a line.
    """
    from cropmask.catalog.browser import browser_folder, is_built

    if is_built(cache):
        yield lambda _stage, _share: None
        return
    started = time.monotonic()
    told: set[str] = set()
    with show_progress() as bar:

        def tell(stage: str, share: float) -> None:
            if not told:
                where = browser_folder(cache)
                click.echo(f"Building STAC Browser in {where}: once, in 2 to 3 minutes.", err=True)
            if stage not in told and not sys.stderr.isatty():
                click.echo(f"  {time.monotonic() - started:3.0f} s  {STAGES[stage]}", err=True)
            told.add(stage)
            bar(stage, share)

        yield tell
    if told:
        click.echo(f"Built in {time.monotonic() - started:.0f} s.", err=True)


@click.command()
@click.argument("place", default="./output")
@click.option("--dc", is_flag=True, required=True, help="Into an Open Data Cube.")
@click.option(
    "--tools",
    type=options.FOLDER,
    help="With its programs.  [default: beside this one, or on the PATH]",
)
@click.option("-E", "--environment", default="", help="Environment of its configuration.")
@click.option(
    "--api",
    metavar="ADDRESS",
    help="Read by stac-to-dc from this API, such as 'cropmask catalog serve --assets place'.",
)
@click.option("--update", is_flag=True, help="Replace datasets that have changed.")
@click.option("--lineage", is_flag=True, help="The GeoMAD datasets are in the index too.")
@options.plain_config_option
@options.json_option
def index(
    place: str,
    dc: bool,  # noqa: ARG001 (there is no other index yet)
    tools: Path | None,
    environment: str,
    api: str | None,
    update: bool,
    lineage: bool,
    as_json: bool,
) -> None:
    """Index results, and count what is really in the index afterwards.

    PLACE is a folder (fs-to-dc reads the EO3 documents) or s3://bucket/prefix (s3-to-dc reads the
    STAC items); with --api, stac-to-dc reads a STAC API. The database is the one that the Open
    Data Cube is configured for, for instance by ODC_DEFAULT_DB_URL.

    \b
    Examples:
      cropmask index --dc ./output
      cropmask index --dc s3://my-bucket/cropmask --tools /env/bin --update
    """
    from cropmask.catalog.index import IndexOptions, index_results

    _, store = _open_place(place)
    index_options = IndexOptions(tools, environment, api, update, lineage)
    with show_progress() as progress:
        indexed = index_results(store, index_options, progress)
    counts = ("expected", "added", "updated", "unchanged", "outdated", "missing")
    print_result(pick(indexed, *counts), _format_indexed(indexed), as_json=as_json)
    if indexed.missing:
        raise Interrupted(
            f"{len(indexed.missing)} of {indexed.expected} items are not in the index; the program "
            f"said: {indexed.said}",
            reason=Reason.NOT_INDEXED,
        )


def _format_indexed(indexed: Indexed) -> Iterator[str]:
    yield (
        f"{indexed.expected} items: {indexed.added} added, {indexed.updated} updated, "
        f"{indexed.unchanged} unchanged, {len(indexed.outdated)} outdated, "
        f"{len(indexed.missing)} missing."
    )
    yield from (f"  outdated  {key}" for key in indexed.outdated)
    yield from (f"  missing   {key}" for key in indexed.missing)
    if indexed.outdated and not indexed.missing:
        yield "Replace outdated ones with --update."
