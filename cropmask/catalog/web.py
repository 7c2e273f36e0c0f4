"""The catalog over HTTP: STAC API, files with ranges, STAC Browser, plain pages."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator
from itertools import chain
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
from starlette.types import ASGIApp, Scope, Send

from cropmask.catalog.api import CONFORMS, FILES_PATH, OPENAPI_TYPE, Api, make_openapi
from cropmask.catalog.browser import CONFIG, POLICY, PREFIX, make_config
from cropmask.catalog.documents import load_document, parse_object
from cropmask.catalog.guard import Guard, Visitors
from cropmask.catalog.mappage import CONFIG_FILE, make_map_page, make_map_policy
from cropmask.catalog.pages import PAGE_POLICY, make_document_page
from cropmask.errors import CropmaskError, Reason, Rejected
from cropmask.stac.collection import ROOT_KEY
from cropmask.stac.facts import Document
from cropmask.stac.links import ITEM_TYPE, JSON_TYPE, media_type
from cropmask.store.folder import confine
from cropmask.store.protocol import Absent, Store, checked_key

PAGES_PATH: Final = "/pages/"
LOOPBACK: Final = Visitors()
"""Programs and pages of this machine."""
_LOG: Final = logging.getLogger(__name__)
_CHUNK: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def make_api_app(api: Api, store: Store, visitors: Visitors = LOOPBACK) -> ASGIApp:
    """STAC API at the root, the catalog's files below ``/files/``."""
    store = confine(store)
    return _make_app([*_api_routes(api), file_route(store), _pages(store)], visitors)


def make_browser_app(
    store: Store, browser: Path | None, visitors: Visitors = LOOPBACK, *, title: str
) -> ASGIApp:
    """STAC Browser on the catalog's files, or plain pages where ``browser`` is None."""
    store = confine(store)
    first = PREFIX if browser else PAGES_PATH
    script = make_config(f"{FILES_PATH}{ROOT_KEY}", title)

    def start(_: Request) -> Response:
        return RedirectResponse(first)

    def config(_: Request) -> Response:
        headers = {"Cache-Control": "no-store"}
        return Response(script, media_type="text/javascript", headers=headers)

    routes: list[BaseRoute] = [Route("/", start), file_route(store), _pages(store)]
    if browser is not None:
        routes += [
            Route(f"{PREFIX}{CONFIG}", config),
            Mount(PREFIX.rstrip("/"), _BrowserFiles(directory=browser, html=True)),
        ]
    return _make_app(routes, visitors)


def make_map_app(store: Store, library: Path, visitors: Visitors = LOOPBACK) -> ASGIApp:
    """The folder of a web map at the root; its pages are made anew of what it says they show.

    So nothing runs but the program of this version, whatever the folder holds.
    """
    store = confine(store)
    headers = {"Content-Security-Policy": make_map_policy(library), "Cache-Control": "no-cache"}

    def page(_: Request) -> Response:
        config = load_document(store, CONFIG_FILE)
        return HTMLResponse(make_map_page(config, library), headers=headers)

    return _make_app(
        [Route("/", page), Route("/index.html", page), file_route(store, "/")], visitors
    )


class _BrowserFiles(StaticFiles):
    """The files of STAC Browser, which runs."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = POLICY
        # Servers of background maps want to know who asks.
        response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        return response


def _make_app(routes: list[BaseRoute], visitors: Visitors) -> ASGIApp:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=visitors.origins,
        allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["Content-Range", "Content-Length", "ETag", "Accept-Ranges"],
    )
    app = Starlette(
        routes=routes,
        middleware=[cors] if visitors.origins else [],
        exception_handlers={CropmaskError: _refuse},
    )
    return Guard(app, visitors)


def _refuse(_: Request, error: Exception) -> Response:
    """Our errors as STAC APIs say them; what is wrong with the world is 502, not a traceback."""
    status, why = 400, str(error)
    if isinstance(error, Absent):
        status, why = 404, "there is no such file"
    elif not isinstance(error, Rejected):
        # It names places of this machine.
        _LOG.warning("%s", error)
        status, why = 502, "the results cannot be read now: the log of the server says why"
    return _Json({"code": status, "description": why}, status_code=status)


class _Json(JSONResponse):
    """Values of others: a bare NaN, which no JSON has, becomes null, half a character "?"."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 (any JSON value)
        try:
            text = _encode(content)
        except ValueError:
            text = _encode(_without_nan(content))
        return text.encode("utf-8", "replace")


def _encode(content: Any) -> str:  # noqa: ANN401 (any JSON value)
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _without_nan(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _api_routes(api: Api) -> list[BaseRoute]:
    """Routes of the API; starlette runs what is not async in threads."""

    def landing(request: Request) -> Response:
        return _Json(api.landing(_base(request)))

    def conformance(_: Request) -> Response:
        return _Json({"conformsTo": list(CONFORMS)})

    def openapi(request: Request) -> Response:
        return _Json(make_openapi(_base(request)), media_type=OPENAPI_TYPE)

    def collections(request: Request) -> Response:
        return _Json(api.collections(_base(request)))

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
        return await run_in_threadpool(_search, api, request, await request.body())

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
        return _Json({"code": 404, "description": f"there is no {what}"}, status_code=404)
    return _Json(found, media_type=kind)


def _search(api: Api, request: Request, body: bytes) -> Response:
    post = request.method == "POST"
    query = (
        parse_object(body or b"{}", "the body of a search", Reason.BAD_QUERY)
        if post
        else _parameters(request)
    )
    return _Json(api.search(_base(request), query, post=post), media_type=ITEM_TYPE)


def _parameters(request: Request) -> Document:
    query: Document = dict(request.query_params)
    if "intersects" in query:
        query["intersects"] = parse_object(query["intersects"], "intersects", Reason.BAD_QUERY)
    return query


def _pages(store: Store) -> BaseRoute:
    def page(request: Request) -> Response:
        key = plain_key(request.path_params["key"] or ROOT_KEY)
        try:
            document = load_document(store, key)
        except Absent:
            return PlainTextResponse(f"there is no document {key}", status_code=404)
        except Rejected as error:
            return PlainTextResponse(str(error), status_code=422)
        headers = {"Content-Security-Policy": PAGE_POLICY}
        content = make_document_page(key, document, pages=PAGES_PATH, files=FILES_PATH)
        return HTMLResponse(content, headers=headers)

    return Route(f"{PAGES_PATH}{{key:path}}", page)


def file_route(store: Store, below: str = FILES_PATH) -> BaseRoute:
    """The files of a store below a path."""

    def file(request: Request) -> Response:
        key = plain_key(request.path_params["key"])
        entry = store.find(key)
        if entry is None:
            return PlainTextResponse(f"there is no {key}", status_code=404)
        span = _parse_range(request.headers.get("Range", ""), entry.size)
        if span is not None and span[1] == 0:
            return _out_of_range(entry.size)
        first, length = span or (0, entry.size)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(length),
            "ETag": f'"{entry.etag}"',
            # Workers replace files while somebody looks.
            "Cache-Control": "no-cache",
        }
        if span is not None:
            headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{entry.size}"
        status, kind = 206 if span is not None else 200, media_type(key)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=kind)
        parts = _load(store, key, first, length)
        # What cannot be read is told before an answer has begun.
        content = chain((next(parts),), parts) if length else ()
        return _FileResponse(content, status_code=status, headers=headers, media_type=kind)

    return Route(f"{below}{{key:path}}", file, methods=["GET", "HEAD"])


def plain_key(key: str) -> str:
    """The key, if it is one; hidden files, as of version control, are not served."""
    if any(part.startswith(".") for part in key.split("/")):
        raise Rejected("hidden files are not served", reason=Reason.BAD_QUERY)
    return checked_key(key)


class _FileResponse(StreamingResponse):
    """A file of which a part may turn out to be unreadable: then the connection ends."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except CropmaskError as error:
            _LOG.warning("an answer was broken off: %s", error)


def _parse_range(wanted: str, size: int) -> tuple[int, int] | None:
    """First byte and number of bytes; no byte if the range is outside of the file.

    None for the whole file, which is also the answer to several ranges and to what is no range.
    """
    match = _RANGE.fullmatch(wanted)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last bytes
        length = min(int(match[2]), size)
        return size - length, length
    first = int(match[1])
    last = int(match[2]) if match[2] else max(first, size - 1)
    if last < first:
        return None
    return first, max(0, min(last, size - 1) - first + 1)


def _out_of_range(size: int) -> Response:
    content = {"code": 416, "description": f"the range is outside of {size} bytes"}
    return JSONResponse(content, status_code=416, headers={"Content-Range": f"bytes */{size}"})


def _load(store: Store, key: str, first: int, length: int) -> Iterator[bytes]:
    end = first + length
    for start in range(first, end, _CHUNK):
        yield store.get(key, (start, min(_CHUNK, end - start)))
