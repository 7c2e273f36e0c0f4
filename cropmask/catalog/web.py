"""The catalog over HTTP: STAC API, files with ranges, STAC Browser, plain pages. Loopback only."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from cropmask.catalog.api import CONFORMS, FILES_PATH, Api
from cropmask.catalog.browser import CONFIG, PREFIX, Settings
from cropmask.catalog.pages import make_document_page
from cropmask.catalog.ranges import OutOfRange, find_part, load_part
from cropmask.errors import CropmaskError, Reason, Rejected
from cropmask.remote.fetch import ReadOptions
from cropmask.stac.collection import ROOT_KEY
from cropmask.stac.links import media_type
from cropmask.store.protocol import Absent, Store

PAGES_PATH: Final = "/pages/"
_GEOJSON: Final = "application/geo+json"
Answer = Callable[[Request], Awaitable[Response]]


def make_api_app(api: Api, store: Store, options: ReadOptions) -> Starlette:
    """STAC API at the root, the catalog's files below ``/files/``.

    Parameters
    ----------
    api
        The API's documents.
    store, options
        The results, and how to read them.
    """
    return _app([*_api_routes(api), _files(store, options), _pages(store)])


def make_browser_app(
    store: Store, options: ReadOptions, browser: Path | None, settings: Settings
) -> Starlette:
    """STAC Browser, or plain pages where it could not be built, on the catalog's files.

    Parameters
    ----------
    store, options
        The results, and how to read them.
    browser
        Folder of the built STAC Browser; None for plain pages only.
    settings
        What the browser is told.
    """
    first = PREFIX if browser else PAGES_PATH

    async def start(_: Request) -> Response:
        return RedirectResponse(first)

    async def config(_: Request) -> Response:
        headers = {"Cache-Control": "no-store"}
        return Response(settings.script(), media_type="text/javascript", headers=headers)

    routes: list[BaseRoute] = [Route("/", start), _files(store, options), _pages(store)]
    if browser is not None:
        routes += [
            Route(f"{PREFIX}{CONFIG}", config),
            Mount(PREFIX.rstrip("/"), StaticFiles(directory=browser, html=True)),
        ]
    return _app(routes)


def _app(routes: list[BaseRoute]) -> Starlette:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["Content-Range", "Content-Length", "ETag", "Accept-Ranges"],
    )
    return Starlette(routes=routes, middleware=[cors], exception_handlers={CropmaskError: _refuse})


async def _refuse(_: Request, error: Exception) -> Response:
    """Our errors as STAC APIs say them; what is wrong with the world is 502, not a traceback."""
    status, headers = (400 if isinstance(error, Rejected) else 502), {}
    if isinstance(error, OutOfRange):
        status, headers = 416, {"Content-Range": f"bytes */{error.size}"}
    content = {"code": status, "description": str(error)}
    return JSONResponse(content, status_code=status, headers=headers)


def _api_routes(api: Api) -> list[BaseRoute]:
    async def landing(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(api.landing, _base(request)))

    async def conformance(_: Request) -> Response:
        return JSONResponse({"conformsTo": list(CONFORMS)})

    async def openapi(request: Request) -> Response:
        kind = "application/vnd.oai.openapi+json;version=3.0"
        return JSONResponse(api.openapi(_base(request)), media_type=kind)

    async def collections(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(api.collections, _base(request)))

    async def collection(request: Request) -> Response:
        name = request.path_params["collection"]
        found = await run_in_threadpool(api.collection, _base(request), name)
        return _or_absent(found, f"collection {name}", "application/json")

    async def items(request: Request) -> Response:
        name = request.path_params["collection"]
        words = dict(request.query_params)
        found = await run_in_threadpool(api.items, _base(request), name, words)
        return _or_absent(found, f"collection {name}", _GEOJSON)

    async def item(request: Request) -> Response:
        names = request.path_params["collection"], request.path_params["item"]
        found = await run_in_threadpool(api.item, _base(request), *names)
        return _or_absent(found, f"item {names[1]}", _GEOJSON)

    async def search(request: Request) -> Response:
        post = request.method == "POST"
        words = await _body(request) if post else _parameters(request)
        found = await run_in_threadpool(api.search, _base(request), words, post=post)
        return JSONResponse(found, media_type=_GEOJSON)

    one = "/collections/{collection}"
    return [
        Route("/", landing),
        Route("/api", openapi),
        Route("/conformance", conformance),
        Route("/collections", collections),
        Route(one, collection),
        Route(f"{one}/items", items),
        Route(f"{one}/items/{{item}}", item),
        Route("/search", search, methods=["GET", "POST"]),
    ]


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _or_absent(found: dict[str, Any] | None, what: str, kind: str) -> Response:
    if found is None:
        return JSONResponse({"code": 404, "description": f"there is no {what}"}, status_code=404)
    return JSONResponse(found, media_type=kind)


async def _body(request: Request) -> dict[str, Any]:
    try:
        words = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise Rejected("the body of a search is a JSON object", reason=Reason.BAD_QUERY)
    return words


def _parameters(request: Request) -> dict[str, Any]:
    words: dict[str, Any] = dict(request.query_params)
    if "intersects" in words:
        try:
            words["intersects"] = json.loads(words["intersects"])
        except (ValueError, RecursionError):
            raise Rejected("intersects is no GeoJSON", reason=Reason.BAD_QUERY) from None
    return words


def _files(store: Store, options: ReadOptions) -> BaseRoute:
    async def file(request: Request) -> Response:
        key = _plain(request.path_params["key"])
        part = await run_in_threadpool(find_part, store, key, request.headers.get("Range"))
        if part is None:
            return PlainTextResponse(f"there is no {key}", status_code=404)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(part.length),
            "ETag": f'"{part.etag}"',
            # Workers replace files while somebody looks.
            "Cache-Control": "no-cache",
        }
        if part.asked:
            headers["Content-Range"] = part.content_range
        status, kind = 206 if part.asked else 200, media_type(key)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=kind)
        return StreamingResponse(
            load_part(part, options), status_code=status, headers=headers, media_type=kind
        )

    return Route(f"{FILES_PATH}{{key:path}}", file, methods=["GET", "HEAD"])


def _plain(key: str) -> str:
    """The same key in its shortest form; hidden files, as of version control, are not served."""
    plain = posixpath.normpath(key)
    if any(part.startswith(".") for part in plain.split("/")):
        raise Rejected("hidden files are not served", reason=Reason.BAD_QUERY)
    return plain


def _pages(store: Store) -> BaseRoute:
    async def page(request: Request) -> Response:
        key = _plain(request.path_params["key"] or ROOT_KEY)
        try:
            document = json.loads(await run_in_threadpool(store.get, key))
        except (Absent, ValueError, RecursionError):
            return PlainTextResponse(f"there is no document {key}", status_code=404)
        if not isinstance(document, dict):
            return PlainTextResponse(f"{key} is no STAC document", status_code=404)
        return HTMLResponse(make_document_page(key, document, pages=PAGES_PATH, files=FILES_PATH))

    return Route(f"{PAGES_PATH}{{key:path}}", page)
