"""``cropmask browse``: look at results in STAC Browser."""

from __future__ import annotations

from pathlib import Path

import click

from cropmask.catalog.browser import Settings, ensure_browser
from cropmask.catalog.server import open_socket, require_web_packages, serve
from cropmask.cli.catalog import host_option, open_place, port_option
from cropmask.cli.console import open_progress
from cropmask.errors import CropmaskError, Misconfigured, Reason
from cropmask.site.site import Site
from cropmask.stac.collection import ROOT_KEY


@click.command()
@click.argument("place", default="./output")
@port_option
@host_option
@click.option("--plain", is_flag=True, help="Plain pages: no STAC Browser, no script.")
@click.option("--build-only", is_flag=True, help="Build STAC Browser into the cache, and leave.")
@click.option("--open/--no-open", "launch", default=True, help="Open a web browser, or not.")
def browse(place: str, port: int, host: str, plain: bool, build_only: bool, launch: bool) -> None:
    """Look at a catalog and its maps in STAC Browser.

    PLACE is a folder or s3://bucket/prefix of results; 'cropmask catalog build --results PLACE'
    links what is there. STAC Browser is built on first use, which needs Node.js with npm and
    takes two minutes; without Node.js there are plain pages.

    \b
    Examples:
      cropmask browse
      cropmask browse s3://my-bucket/cropmask --port 8080
    """  # noqa: D301 (click reads the backspace: leave the lines below as they are)
    require_web_packages()
    from cropmask.catalog.web import make_browser_app

    site, store = open_place(place)
    if build_only:
        click.echo(ensure_browser(site.cache))
        return
    if not store.exists(ROOT_KEY):
        raise Misconfigured(
            f"there is no catalog at {store.uri(ROOT_KEY)}: run 'cropmask catalog build "
            f"--results {place}'",
            reason=Reason.NO_CATALOG,
        )
    browser = None if plain else _build(site)
    settings = Settings(catalog=f"/files/{ROOT_KEY}", title="Cropland extent")
    app = make_browser_app(store, site.read, browser, settings)
    bound = open_socket(host, port)

    def ready(address: str) -> None:
        click.echo(f"{address}/  (Ctrl-C ends it)")
        if launch:
            click.launch(f"{address}/")

    serve(app, bound, ready)


def _build(site: Site) -> Path | None:
    progress = open_progress("text")
    try:
        return ensure_browser(site.cache, progress)
    except CropmaskError as error:
        progress.close()
        click.echo(f"{error}. Plain pages are shown instead.", err=True)
        return None
    finally:
        progress.close()
