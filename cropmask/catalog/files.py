"""Files of a store over HTTP, whole or in ranges, as readers of rasters ask for them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Send

from cropmask.catalog.api import FILES_PATH
from cropmask.errors import CropmaskError, Reason, Rejected
from cropmask.stac.links import media_type
from cropmask.store.protocol import Store, checked_key

_LOG: Final = logging.getLogger(__name__)
_CHUNK: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


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
