"""The catalog over HTTP: STAC API, files with ranges, STAC Browser, plain pages. Loopback only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

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
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from cropmask.catalog.api import CONFORMS, FILES_PATH, OPENAPI_TYPE, Api, make_openapi
from cropmask.catalog.browser import CONFIG, PREFIX, make_config
from cropmask.catalog.files import file_route, plain_key
from cropmask.catalog.pages import make_document_page
from cropmask.errors import CropmaskError, Reason, Rejected
from cropmask.remote.fetch import ReadOptions
from cropmask.stac.collection import ROOT_KEY
from cropmask.stac.facts import Document
from cropmask.stac.links import ITEM_TYPE, JSON_TYPE
from cropmask.store.protocol import Absent, Store

PAGES_PATH: Final = "/pages/"


def make_api_app(api: Api, store: Store, options: ReadOptions) -> Starlette:
    """STAC API at the root, the catalog's files below ``/files/``."""
    return _app([*_api_routes(api), file_route(store, options), _pages(store)])


def make_browser_app(
    store: Store, options: ReadOptions, browser: Path | None, *, title: str
) -> Starlette:
    """STAC Browser on the catalog's files, or plain pages where ``browser`` is None."""
    first = PREFIX if browser else PAGES_PATH
    script = make_config(f"{FILES_PATH}{ROOT_KEY}", title)

    def start(_: Request) -> Response:
        return RedirectResponse(first)

    def config(_: Request) -> Response:
        headers = {"Cache-Control": "no-store"}
        return Response(script, media_type="text/javascript", headers=headers)

    routes: list[BaseRoute] = [Route("/", start), file_route(store, options), _pages(store)]
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


def _refuse(_: Request, error: Exception) -> Response:
    """Our errors as STAC APIs say them; what is wrong with the world is 502, not a traceback."""
    status = 400 if isinstance(error, Rejected) else 502
    return JSONResponse({"code": status, "description": str(error)}, status_code=status)


def _api_routes(api: Api) -> list[BaseRoute]:
    """Routes of the API; starlette runs what is not async in threads."""

    def landing(request: Request) -> Response:
        return JSONResponse(api.landing(_base(request)))

    def conformance(_: Request) -> Response:
        return JSONResponse({"conformsTo": list(CONFORMS)})

    def openapi(request: Request) -> Response:
        return JSONResponse(make_openapi(_base(request)), media_type=OPENAPI_TYPE)

    def collections(request: Request) -> Response:
        return JSONResponse(api.collections(_base(request)))

    def collection(request: Request) -> Response:
        name = request.path_params["collection"]
        found = api.collection(_base(request), name)
        return _or_absent(found, f"collection {name}", JSON_TYPE)

    def items(request: Request) -> Response:
        name = request.path_params["collection"]
        found = api.items(_base(request), name, dict(request.query_params))
        return _or_absent(found, f"collection {name}", ITEM_TYPE)

    def item(request: Request) -> Response:
        names = request.path_params["collection"], request.path_params["item"]
        return _or_absent(api.item(_base(request), *names), f"item {names[1]}", ITEM_TYPE)

    async def search(request: Request) -> Response:
        post = request.method == "POST"
        query = _parse_body(await request.body()) if post else _parameters(request)
        found = await run_in_threadpool(api.search, _base(request), query, post=post)
        return JSONResponse(found, media_type=ITEM_TYPE)

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


def _or_absent(found: Document | None, what: str, kind: str) -> Response:
    if found is None:
        return JSONResponse({"code": 404, "description": f"there is no {what}"}, status_code=404)
    return JSONResponse(found, media_type=kind)


def _parse_body(body: bytes) -> Document:
    try:
        query = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        query = None
    if not isinstance(query, dict):
        raise Rejected("the body of a search is a JSON object", reason=Reason.BAD_QUERY)
    return query


def _parameters(request: Request) -> Document:
    query: Document = dict(request.query_params)
    if "intersects" in query:
        try:
            query["intersects"] = json.loads(query["intersects"])
        except (ValueError, RecursionError):
            raise Rejected("intersects is no GeoJSON", reason=Reason.BAD_QUERY) from None
    return query


def _pages(store: Store) -> BaseRoute:
    def page(request: Request) -> Response:
        key = plain_key(request.path_params["key"] or ROOT_KEY)
        try:
            document = json.loads(store.get(key))
        except (Absent, ValueError, RecursionError):
            return PlainTextResponse(f"there is no document {key}", status_code=404)
        if not isinstance(document, dict):
            return PlainTextResponse(f"{key} is no STAC document", status_code=404)
        return HTMLResponse(make_document_page(key, document, pages=PAGES_PATH, files=FILES_PATH))

    return Route(f"{PAGES_PATH}{{key:path}}", page)
