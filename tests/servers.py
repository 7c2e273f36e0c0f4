"""Loopback servers for tests: files over HTTP with faults on demand, a STAC API, S3."""

from __future__ import annotations

import json
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import shapely
from shapely.geometry import box, shape

from cropmask.catalog.server import describe_address, make_server, open_socket
from cropmask.remote.fetch import ReadOptions
from cropmask.remote.ranges import RemoteFiles


@dataclass
class Fault:
    """What goes wrong for requests whose path contains ``part``."""

    part: str
    status: int = 0
    """Status answered instead of the file; 0 for none."""
    times: int = 1_000_000
    """How many requests it hits."""
    keep_bytes: int | None = None
    """How many bytes of the body are sent before the connection is closed."""
    methods: tuple[str, ...] = ("GET", "HEAD")
    spoil: bool = False
    """Whether bytes in the middle of the body are overwritten."""
    reset: bool = False
    """Whether the connection is reset before anything is answered."""


@dataclass
class FileServer:
    """A folder over HTTP, with ranges, ETags and a list of faults."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request that arrived."""
    sent: list[tuple[str, int, int]] = field(default_factory=list)
    """Path, first byte and number of bytes of every body that was sent."""
    ranges: bool = True
    """Whether it knows ranges."""
    headers: dict[str, str | None] = field(default_factory=dict)
    """Headers said otherwise of every file, or not at all."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.part in path and method in fault.methods and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _FileHandler(BaseHTTPRequestHandler):
    """Answers of :func:`serve_files`."""

    protocol_version = "HTTP/1.1"
    state: FileServer
    folder: Path

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_GET(self) -> None:
        self.answer("GET")

    def answer(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        fault = self.state.fault_of(method, path)
        if fault is not None and fault.status:
            self.refuse(fault.status)
            return
        if fault is not None and fault.reset:
            # Closing with nothing lingering sends RST instead of FIN.
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            self.refuse(404)
            return
        self.send_file(file.read_bytes(), method, fault)

    def refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, content: bytes, method: str, fault: Fault | None) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        total, first = len(content), 0
        etag = f'"{md5(content, usedforsecurity=False).hexdigest()}"'
        if self.headers.get("If-Match", etag) != etag:
            self.refuse(412)
            return
        if asked and self.state.ranges and not total:
            self.refuse(416)
            return
        if asked and self.state.ranges:
            first = int(asked[1])
            last = min(int(asked[2] or total - 1), total - 1)
            content = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        else:
            self.send_response(200)
        said = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Length": str(len(content))}
        for name, value in {**said, **self.state.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if method == "HEAD":
            return
        if fault is not None and fault.spoil:
            middle = len(content) // 2
            content = (
                content[:middle]
                + bytes(b ^ 0x55 for b in content[middle : middle + 8])
                + (content[middle + 8 :])
            )
        if fault is not None and fault.keep_bytes is not None:
            content = content[: fault.keep_bytes]
            self.close_connection = True
        if "Content-Length" in self.state.headers:
            self.close_connection = True
        path = unquote(urlsplit(self.path).path)
        with self.state.lock:
            self.state.sent.append((path, first, len(content)))
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve_app(app: Any) -> Iterator[str]:
    """An application of ours on the server of ours, in a thread."""
    bound = open_socket("127.0.0.1", 0)
    bound.listen(128)
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield describe_address(bound)
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serve_files(folder: Path) -> Iterator[FileServer]:
    """Serve a folder; faults are added to ``.faults`` of the value."""
    state = FileServer("")

    handler = type("Handler", (_FileHandler,), {"state": state, "folder": folder})
    with serving(handler) as url:
        state.url = url
        yield state


CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
]


@dataclass
class StacApi:
    """A made-up STAC API that answers like Digital Earth Africa's Explorer."""

    url: str
    searches: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    """Statuses that the next searches get instead of an answer."""


class _ApiHandler(BaseHTTPRequestHandler):
    """Answers of :func:`serve_stac_api`."""

    protocol_version = "HTTP/1.1"
    state: StacApi
    items: list[dict[str, Any]]
    spoil: Callable[[str], str]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/stac":
            self.send_text(json.dumps(_landing(self.state.url)))
        elif parts.path == "/stac/search":
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            if "intersects" in query:
                query["intersects"] = json.loads(query["intersects"])
            if "bbox" in query:
                query["bbox"] = [float(part) for part in query["bbox"].split(",")]
            if "collections" in query:
                query["collections"] = query["collections"].split(",")
            self.search(query)
        else:
            self.send_text("{}", 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.search(json.loads(body or b"{}"))

    def search(self, query: dict[str, Any]) -> None:
        self.state.searches.append(query)
        if self.state.refusals:
            self.send_text("busy", self.state.refusals.pop(0))
        elif "query" in query or "filter" in query:
            self.send_text('{"code": 400, "description": "not supported"}', 400)
        else:
            self.send_text(self.spoil(json.dumps(_page(self.state.url, self.items, query))))

    def send_text(self, text: str, status: int = 200) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve_stac_api(
    items: list[dict[str, Any]], *, spoil: Callable[[str], str] = lambda text: text
) -> Iterator[StacApi]:
    """Serve items: refuses ``query`` and ``filter``, matches by bounding box, pages by two.

    ``spoil`` changes the text of every page, for instance to put a bare NaN in it.
    """
    state = StacApi("")

    values = {"state": state, "items": items, "spoil": staticmethod(spoil)}
    handler = type("Handler", (_ApiHandler,), values)
    with serving(handler) as url:
        state.url = f"{url}/stac"
        yield state


def _landing(url: str) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "made-up",
        "description": "A made-up STAC API",
        "conformsTo": CONFORMS,
        "links": [
            {"rel": "self", "href": url},
            {"rel": "root", "href": url},
            *(
                {
                    "rel": "search",
                    "href": f"{url}/search",
                    "type": "application/geo+json",
                    "method": method,
                }
                for method in ("GET", "POST")
            ),
        ],
    }


def _page(url: str, items: list[dict[str, Any]], query: dict[str, Any]) -> dict[str, Any]:
    area = (
        shape(query["intersects"])
        if "intersects" in query
        else box(*(query.get("bbox") or (-180, -90, 180, 90)))
    )
    start, _, end = str(query.get("datetime") or "0000/9999").partition("/")
    wanted = query.get("collections")
    found = [
        item
        for item in items
        if (not wanted or item.get("collection") in wanted)
        and shapely.intersects(box(*item["bbox"]), area)
        and start <= str(item["properties"]["datetime"]) <= (end or start)
    ]
    page = int(query.get("_o", 0))
    links = [{"rel": "self", "href": f"{url}/search"}]
    if page + 2 < len(found):
        links.append(
            {
                "rel": "next",
                "href": f"{url}/search",
                "method": "POST",
                "body": {**query, "_o": page + 2},
            }  # type: ignore[dict-item]
        )
    return {"type": "FeatureCollection", "features": found[page : page + 2], "links": links}


def find_size(href: str, options: ReadOptions) -> int:
    """Bytes of a remote file, as its first answer tells them."""
    with RemoteFiles() as files:
        return files.open(href, options).size
