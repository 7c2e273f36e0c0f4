"""Hostile requests and documents against `catalog serve` and `browse --plain`, as they are run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from cropmask.catalog import guard, patience
from cropmask.catalog.api import Api
from cropmask.catalog.build import build_results
from cropmask.catalog.guard import MAX_BODY_BYTES
from cropmask.catalog.pages import make_document_page
from cropmask.catalog.patience import HEAD_SECONDS, MAX_CONNECTIONS
from cropmask.catalog.search import MAX_NAMES, MAX_VERTICES
from cropmask.catalog.server import MAX_HEAD_BYTES
from cropmask.catalog.web import make_api_app
from cropmask.errors import Interrupted
from cropmask.stac.links import MAX_DOCUMENT_BYTES, MAX_NESTING
from cropmask.store.folder import FolderStore
from cropmask.testing.store import MemoryStore
from tests.browser import needs_chromium
from tests.demo_run import put_item
from tests.devtools import open_page
from tests.servers import serve_app

PROGRAM = Path(sys.executable).with_name("cropmask")
SECRET = "what nobody may read"
ITEM = "crop_mask_eastern/1-1-0/x221/y075/2019--P1Y"
SAFE_PLACE = re.compile(r"(https?|s3)://[^/]|/(files|pages)/", re.IGNORECASE)


@dataclass
class Running:
    """A server of ours in a process of its own."""

    address: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def running(log: Path, *words: object) -> Iterator[Running]:
    command = [str(PROGRAM), *map(str, words), "--port", "0"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert "http://" in line, log.read_text()
            yield Running(line[line.index("http://") :].split()[0].rstrip("/"), log)
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results, and everything in their folder that an enemy could leave there."""
    root = tmp_path_factory.mktemp("web") / "results"
    store = FolderStore(root)
    put_item(store)
    build_results(store, parquet=False)
    outside = root.with_name("outside")
    outside.mkdir()
    (outside / "secret.json").write_text(json.dumps({"id": SECRET}))
    (root / "link.json").symlink_to(outside / "secret.json")
    (root / "linked").symlink_to(outside)
    (root / "passwd.json").symlink_to("/etc/passwd")
    (root / "zero.json").symlink_to("/dev/zero")
    (root / "environ.json").symlink_to("/proc/self/environ")
    (root / "loop.json").symlink_to("loop.json")
    (root / "dangling.json").symlink_to("nowhere")
    (root / "up").symlink_to("..")
    os.mkfifo(root / "pipe.json")
    os.mkfifo(root / ITEM / "pipe.stac-item.json")
    (root / ITEM / "zero.stac-item.json").symlink_to("/dev/zero")
    (root / ITEM / "secret.stac-item.json").symlink_to(outside / "secret.json")
    (root / ".hidden.json").write_text(json.dumps({"id": SECRET}))
    (root / "page.html").write_text("<script>alert(1)</script>")
    (root / "style.sld").write_text('<x><script xmlns="http://www.w3.org/1999/xhtml"/></x>')
    for name, content in DOCUMENTS.items():
        (root / f"{name}.json").write_bytes(content)
    for number, href in enumerate(HREFS):
        (root / f"href{number}.json").write_text(json.dumps(document_of(href)))
    return root


@pytest.fixture(scope="module")
def api(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("log") / "api"
    with running(log, "catalog", "serve", folder) as server:
        yield server


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("log") / "plain"
    with running(log, "browse", folder, "--plain", "--no-open") as server:
        yield server


@dataclass
class Answer:
    """What came back; status 0 where the server ended the connection without a word."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(server: Running, request: bytes) -> Answer:
    """Send bytes as they are."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        response = HTTPResponse(connection)
        try:
            with suppress(ConnectionError):
                connection.sendall(request)
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        except (ConnectionError, HTTPException):
            return Answer(0, {}, b"")
        finally:
            response.close()


def get(server: Running, path: str, host: str = "localhost", method: str = "GET") -> Answer:
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return ask(server, head.encode())


def post(server: Running, body: bytes, path: str = "/search") -> Answer:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    return ask(server, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def check(server: Running, answer: Answer) -> None:
    """What holds of every answer."""
    assert answer.status < 500
    for word in (b"Traceback", b'File "/', SECRET.encode(), b"root:x:0"):
        assert word not in answer.body
    if answer.status:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "access-control-allow-origin" not in answer.headers
    assert "Traceback" not in server.log.read_text()


PATHS = (
    *("../outside/secret.json", "../../../../etc/passwd", "..", "../", "./../outside/secret.json"),
    *("%2e%2e/outside/secret.json", "%2e%2e%2foutside%2fsecret.json", ".%2e/outside/secret.json"),
    *("%252e%252e/outside/secret.json", "..%5coutside%5csecret.json", "..\\outside\\secret.json"),
    *("crop_mask_eastern/../../outside/secret.json", "crop_mask_eastern/..%2f..%2foutside"),
    *("/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "%2Fproc%2Fself%2Fenviron"),
    *("catalog.json%00", "%00", "catalog.json%00.png", "catalog.json%0ax", "%0d%0aSet-Cookie:x=1"),
    *("..%c0%af..%c0%afetc/passwd", "%ff%fe", "%e2%80%ae", "%", "%zz", "file:///etc/passwd"),
    *("http://127.0.0.1/", "s3://bucket/key", "C:%5cWindows", "con", "~root/.bashrc", "*", "?"),
    *(
        ".hidden.json",
        ".git/config",
        "crop_mask_eastern/.git",
        "crop_mask_eastern",
        "catalogs.json",
    ),
    *("link.json", "linked/secret.json", "passwd.json", "zero.json", "environ.json", "loop.json"),
    *("dangling.json", "pipe.json", f"{ITEM}/pipe.stac-item.json", f"{ITEM}/zero.stac-item.json"),
    *("up/outside/secret.json", "up/results/up/outside/secret.json", "a" * 300, "a/" * 2000),
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("where", ["files", "pages"])
def test_only_what_lies_below_the_folder_is_served(plain: Running, where: str, path: str) -> None:
    answer = get(plain, f"/{where}/{path}")
    check(plain, answer)
    assert answer.status in (400, 404) or path == "?"


@pytest.mark.parametrize(
    "path",
    [
        "/collections/..%2f..%2foutside",
        "/collections/%00",
        "/collections/linked/items",
        "/collections/crop_mask_eastern/items/..%2f..",
        "/collections/crop_mask_eastern/items?limit=-1",
        "/collections/crop_mask_eastern/items?limit=9" + "9" * 5000,
        "/collections/crop_mask_eastern/items?token=9" + "9" * 30,
        "/search?bbox=1,2,3",
        "/search?bbox=nan,nan,nan,nan",
        "/search?bbox=1e999,0,0,0",
        "/search?datetime=9999-12-31/..&limit=1",
        "/search?datetime=0001-01-01T00:00:00%2B23:59",
        "/search?datetime=" + "/" * 1000,
        "/search?intersects=%5B%5B%5B",
        "/search?intersects=5",
        "/search?filter=1%3D1&filter-lang=cql2-text",
        "/search?" + "&".join(f"a{number}=1" for number in range(2000)),
        "/search?ids=" + "x," * 9000,
        "/search?collections=%ff%fe",
        "/" + "a" * 10_000,
        "/search?ids=" + "a" * MAX_HEAD_BYTES,
    ],
    ids=lambda path: path[:40],
)
def test_addresses_of_the_api(api: Running, path: str) -> None:
    check(api, get(api, path))


def nested(levels: int, inner: str = "1") -> bytes:
    return f"{'[' * levels}{inner}{']' * levels}".encode()


def collection_of(levels: int) -> Any:
    inner: Any = {"type": "Point", "coordinates": [0, 0]}
    for _ in range(levels):
        inner = {"type": "GeometryCollection", "geometries": [inner]}
    return inner


SPIKES = [[number % 7, number % 11] for number in range(MAX_VERTICES)]
BODIES: dict[str, Any] = {
    "no JSON": b"{",
    "no object": b"[]",
    "a number": b"5",
    "null": b"null",
    "no text": b"\xff\xfe\x00",
    "NULs": b"\0" * 100,
    "deep": nested(100_000),
    "deep object": b'{"a":' * 900 + b"1" + b"}" * 900,
    "deep filter": b'{"filter":' + b'{"op":"not","args":[' * 400 + b"1" + b"]}" * 400 + b"}",
    "long number": b'{"limit": ' + b"9" * 5000 + b"}",
    "NaN": b'{"bbox": [NaN, 0, 1, 1]}',
    "half a character": b'{"ids": ["\\ud800"]}',
    "half a name": b'{"\\ud800": 1}',
    "filter": {"filter": {"op": "=", "args": [{"property": "id"}, "x"]}},
    "long name": {"x" * 100_000: 1},
    "lines": {"a\r\nSet-Cookie: x=1": 1},
    "many ids": {"ids": ["x"] * (MAX_NAMES + 1)},
    "ids as objects": {"ids": [{"a": 1}]},
    "ids as number": {"ids": 5},
    "collections as object": {"collections": {"a": 1}},
    "bbox of texts": {"bbox": ["a", "b", "c", "d"]},
    "bbox of lists": {"bbox": [[0], [0], [1], [1]]},
    "bbox of long numbers": {"bbox": [10**400, 0, 1, 1]},
    "many points": {"intersects": {"type": "LineString", "coordinates": [*SPIKES, [0, 0]]}},
    "a star": {"intersects": {"type": "Polygon", "coordinates": [[*SPIKES[1:], SPIKES[1]]]}},
    "collections in collections": {"intersects": collection_of(20)},
    "too many of them": {"intersects": collection_of(MAX_NESTING)},
    "endless point": b'{"intersects": {"type": "Point", "coordinates": [1e999, 0]}}',
    "point of texts": {"intersects": {"type": "Point", "coordinates": ["a", "b"]}},
    "no coordinates": {"intersects": {"type": "Polygon"}},
    "short ring": {"intersects": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}},
    "a text": {"intersects": "POINT (0 0)"},
    "a feature": {"intersects": {"type": "Feature", "geometry": None}},
    "limit as list": {"limit": [1]},
    "limit as object": {"limit": {}},
    "token as object": {"token": {"a": 1}},
    "datetime as list": {"datetime": ["2019"]},
    "datetime at the end": {"datetime": "9999-12-31T23:59:59.999999-23:59/.."},
    "datetime of the 13th month": {"datetime": "2019-13-01"},
    "spaces": b" " * MAX_BODY_BYTES,
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_searches(api: Running, name: str) -> None:
    body = BODIES[name]
    answer = post(api, body if isinstance(body, bytes) else json.dumps(body).encode())
    check(api, answer)
    assert answer.status in (200, 400)
    if answer.status == 400:
        assert len(json.loads(answer.body)["description"].splitlines()) == 1


def test_a_body_has_a_size(api: Running) -> None:
    for size, status in ((MAX_BODY_BYTES, 400), (MAX_BODY_BYTES + 1, 413), (99_000_000, (413, 0))):
        answer = post(api, b"x" * size)
        check(api, answer)
        assert answer.status in (status if isinstance(status, tuple) else (status,))


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
SEARCH = b"POST /search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
REQUESTS = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00" * 100 + b"\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP 0.9": b"GET /\r\n\r\n",
    "HTTP 1.0 without Host": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP 9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two Hosts": HEAD + b"Host: evil.example\r\n\r\n",
    "long header": HEAD + b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "many headers": HEAD + b"A: a\r\n" * 10_000 + b"\r\n",
    "NUL in a header": HEAD + b"A: a\0b\r\n\r\n",
    "folded header": HEAD + b"A: a\r\n  b\r\n\r\n",
    "no colon": HEAD + b"A a\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "long method": b"A" * 9000 + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "TRACE": HEAD.replace(b"GET", b"TRACE") + b"\r\n",
    "DELETE": HEAD.replace(b"GET /", b"DELETE /files/catalog.json") + b"\r\n",
    "PUT": HEAD.replace(b"GET /", b"PUT /files/catalog.json") + b"Content-Length: 2\r\n\r\n{}",
    "proxy request": HEAD.replace(b"GET /", b"GET http://evil.example/") + b"\r\n",
    "body of a GET": HEAD + b"Content-Length: 5\r\n\r\nhello",
    "endless body of a GET": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "two lengths": SEARCH + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "negative length": SEARCH + b"Content-Length: -1\r\n\r\n",
    "long length": SEARCH + b"Content-Length: " + b"9" * 500 + b"\r\n\r\n{}",
    "length and chunks": SEARCH
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
    "no chunk": SEARCH + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "unknown encoding": SEARCH + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "gzip": SEARCH + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\0",
    "websocket": HEAD.replace(b"close", b"Upgrade")
    + b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AA==\r\n\r\n",
    "HTTP 2 upgrade": HEAD.replace(b"close", b"Upgrade") + b"Upgrade: h2c\r\n\r\n",
    "forwarded": HEAD + b"X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: javascript\r\n\r\n",
    "many ranges": HEAD.replace(b"GET /", b"GET /files/catalog.json")
    + b"Range: bytes="
    + b"0-1," * 1000
    + b"\r\n\r\n",
    "long range": HEAD.replace(b"GET /", b"GET /files/catalog.json")
    + b"Range: bytes="
    + b"9" * 5000
    + b"-\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_that_no_client_sends(api: Running, name: str) -> None:
    answer = ask(api, REQUESTS[name])
    check(api, answer)
    assert b"evil.example" not in answer.body
    assert get(api, "/").status == 200


HOSTS = (
    *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("evillocalhost", "localhost@evil.example", "localhost:80:80", "localhost/", "localhost#"),
    *("192.0.2.1", "10.0.0.1:8000", "169.254.169.254", "[2001:db8::1]", "0.0.0.0", "0x7f000001"),
    *("2130706433", "127.1", "[::1", "::1", "", "*", "localhost, evil.example", "l\u043ecalhost"),
)


@pytest.mark.parametrize("host", HOSTS)
def test_a_server_is_asked_by_its_own_name(api: Running, plain: Running, host: str) -> None:
    for server in (api, plain):
        answer = get(server, "/files/catalog.json", host)
        check(server, answer)
        assert answer.status in (400, 403)


def test_a_server_for_others_is_asked_by_names_that_they_know(folder: Path, tmp_path: Path) -> None:
    words = ("catalog", "serve", folder, "--host", "0.0.0.0", "--allow-host", "maps.example.org")
    with running(tmp_path / "log", *words) as server:
        printed = server.address.removeprefix("http://")
        assert not printed.startswith(("0.0.0.0", "127.", "localhost:"))
        for host in (printed, "maps.example.org", "192.0.2.7:80"):
            landing = json.loads(get(server, "/", host).body)
            assert {link["href"].startswith(f"http://{host}/") for link in landing["links"]} == {
                True
            }
        assert get(server, "/", "evil.example").status == 403


@pytest.mark.parametrize(
    "words",
    [
        ("--cors", "evil.example"),
        ("--cors", "https://example.org/path"),
        ("--cors", "https://example.org\r\nSet-Cookie: x=1"),
        ("--cors", "null"),
        ("--allow-host", "*"),
        ("--allow-host", "https://example.org"),
        ("--allow-host", ""),
    ],
)
def test_what_is_no_origin_and_no_host_is_a_matter_of_usage(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    command = [PROGRAM, "catalog", "serve", tmp_path, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["localhost", "LocalHost:1", "127.0.0.1", "127.9.9.9", "[::1]:9"])
def test_addresses_begin_with_the_name_that_is_asked(api: Running, host: str) -> None:
    landing = json.loads(get(api, "/", host).body)
    assert {link["href"].startswith(f"http://{host}") for link in landing["links"]} == {True}
    (item,) = json.loads(get(api, "/collections/crop_mask_eastern/items", host).body)["features"]
    links = (*item["links"], *item["assets"].values())
    assert any(link["href"].startswith(f"http://{host}/files/") for link in links)
    assert not [link for link in links if not link["href"].startswith(("http://", "https://"))]


DOCUMENTS: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"id": "x", "links": [',
    "html": b"<script>alert(1)</script>",
    "list": b"[1, 2]",
    "text": b'"text"',
    "number": b"5",
    "null": b"null",
    "nan": b"NaN",
    "latin": '{"id": "é"}'.encode("latin-1"),
    "utf16": '{"id": "x"}'.encode("utf-16"),
    "nuls": b"\0" * 1000,
    "binary": bytes(range(256)) * 16,
    "deep-list": nested(100_000),
    "deep-object": b'{"a":' * 900 + b"1" + b"}" * 900,
    "deep-enough": b'{"properties":' + b'{"a":' * MAX_NESTING + b"1" + b"}" * (MAX_NESTING + 1),
    "long-number": b'{"id": ' + b"9" * 5000 + b"}",
    "large": b'{"id": "' + b"a" * MAX_DOCUMENT_BYTES + b'"}',
    "infinite": b'{"id": "x", "properties": {"a": 1e999, "b": NaN}, "bbox": [-Infinity, 0, 1, 1]}',
    "half-character": b'{"id": "\\ud800", "description": "\\udfff", "\\ud800": 1}',
    "wrong-types": b'{"id": 5, "links": "x", "assets": [], "properties": [], "title": {"a": 1}}',
    "null-types": b'{"id": null, "links": null, "assets": null, "properties": null, "bbox": null}',
    "number-types": b'{"id": 1e308, "links": 5, "assets": 5, "properties": 5, "description": 5}',
    "wrong-links": b'{"links": [null, 5, "x", [], {}, {"rel": ["child"]}, {"rel": {"a": 1}}]}',
    "wrong-hrefs": b'{"links": [{"rel": "child"}, {"rel": "child", "href": 5}, {"rel": "child", '
    b'"href": ["x"]}, {"rel": "child", "href": {}}, {"rel": "child", "href": null}]}',
    "wrong-assets": b'{"assets": {"a": 5, "b": [], "c": {"href": 5}, "d": {"href": ["x"], '
    b'"roles": 5}, "e": {"roles": "thumbnail", "href": "x"}, "f": {"roles": [["thumbnail"]], '
    b'"title": []}}}',
    "wrong-geometry": b'{"type": "Feature", "geometry": null, "bbox": ["a", {}, [], null]}',
    "wrong-properties": b'{"properties": {"title": [], "description": {"a": []}, "renders": 5}}',
    "wrong-legends": json.dumps(
        {
            "properties": {
                "renders": {
                    "c": {"colormap_name": "inferno", "rescale": [['<b x="', {"a": "</svg>"}]]},
                    "d": {"colormap_name": ["inferno"], "rescale": 5},
                    "e": {"colormap_name": "inferno", "rescale": [5]},
                }
            },
            "assets": {
                "a": {"classification:classes": 5},
                "b": {
                    "classification:classes": [
                        *(None, 5, [], {}),
                        {"color_hint": '00FF00" onload="alert(1)', "title": "</td><script>"},
                        {"color_hint": "red;}", "title": ["<i>"]},
                        {"color_hint": {"a": 1}, "name": '"><img src=x onerror=alert(1)>'},
                        {"color_hint": "00FF00", "value": {"<u>": "</svg>"}},
                    ]
                },
                **{name: {"title": f"<{name}>"} for name in "cde"},
            },
        }
    ).encode(),
    "markup": json.dumps(
        {
            "id": '"><script>alert(1)</script>',
            "title": "</title><script>alert(1)</script>",
            "description": "</pre><img src=x onerror=alert(1)>",
            "properties": {'" onclick="alert(1)': "<td><script>", "<td>": {"<td x>": "<td>"}},
            "links": [{"rel": "child", "href": '"onmouseover="alert(1)', "title": "<b>"}],
            "assets": {'<svg onload="alert(1)">': {"href": "x' onx='", "title": "<td><iframe>"}},
        }
    ).encode(),
    "many-links": json.dumps({"links": [{"rel": "child", "href": "x"}] * 50_000}).encode(),
}
SAFE_ELEMENTS = frozenset(
    "html head meta title style body h1 h2 p pre img ul li a table thead tbody tr th td br "
    "svg rect".split()
)
SAFE_ATTRIBUTES = frozenset(
    "lang charset name content http-equiv src alt href x width height fill".split()
)


class Elements(HTMLParser):
    """Elements and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.places: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.places += [str(value) for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(answer: Answer) -> Elements:
    """A page, on which nothing is but text and links that lead to where they may."""
    page = Elements(answer.body.decode())
    assert page.names <= SAFE_ELEMENTS
    assert page.attributes <= SAFE_ATTRIBUTES
    for place in page.places:
        assert SAFE_PLACE.match(place), place
    return page


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_that_are_none(plain: Running, folder: Path, name: str) -> None:
    answer = get(plain, f"/pages/{name}.json")
    check(plain, answer)
    assert answer.status in (200, 422)
    if answer.status == 422:
        assert len(answer.body.splitlines()) == 1
        assert answer.body.startswith(f"{name}.json".encode())
    else:
        read_page(answer)
    file = get(plain, f"/files/{name}.json")
    check(plain, file)
    assert file.body == (folder / f"{name}.json").read_bytes()
    assert file.headers["content-security-policy"].endswith("sandbox")


HREFS = (
    *(
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "\tjavascript:alert(1)",
    ),
    *(
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "java\rscript:alert(1)",
        "\x01javascript:x",
    ),
    *(
        "javascript\t:alert(1)",
        "\x00javascript:alert(1)",
        "java\x00script:alert(1)",
        "\x0bjavascript:x",
    ),
    *("javascript&#58;alert(1)", "javascript&colon;alert(1)", "&#106;avascript:alert(1)"),
    *(
        "javascript%3Aalert(1)",
        "javascript://example.org/%0aalert(1)",
        "javascript:/*://*/alert(1)",
    ),
    *("data:text/html,<script>alert(1)</script>", "DATA:text/html;base64,PHNjcmlwdD4="),
    *("vbscript:msgbox(1)", "VbScript:x", "view-source:javascript:x", "blob:http://x/y"),
    *(
        "file:///etc/passwd",
        "ftp://example.org/x",
        "about:blank",
        "chrome://settings",
        "mailto:a@b",
    ),
    *(
        "//evil.example/x",
        "\\\\evil.example\\x",
        "/\\evil.example",
        "https:\\\\evil.example",
        "http:x",
    ),
    *(
        "/etc/passwd",
        "../../etc/passwd",
        "https://",
        "https:///x",
        "\ud800javascript:x",
        "\u00a0javascript:alert(1)",
    ),
    *(
        "a\ud800",
        "\u2028javascript:alert(1)",
        "\ufeffjavascript:alert(1)",
        "",
        " ",
        ".",
        "..",
        "http://a\nb",
    ),
)


def document_of(href: str) -> dict[str, Any]:
    """A document that gives an address wherever one is shown."""
    return {
        "type": "Catalog",
        "id": "x",
        "links": [{"rel": rel, "href": href, "title": "a link"} for rel in ("child", "related")],
        "assets": {"thumb": {"href": href, "roles": ["thumbnail"]}, "data": {"href": href}},
    }


@pytest.mark.parametrize("number", range(len(HREFS)), ids=lambda number: ascii(HREFS[number])[:40])
def test_addresses_that_must_not_become_links(plain: Running, number: int) -> None:
    answer = get(plain, f"/pages/href{number}.json")
    check(plain, answer)
    assert answer.status == 200
    page = read_page(answer)
    assert not [place for place in page.places if place.lower().startswith(("http", "s3"))]
    assert page.text.count("a link") == 2


NAMES = st.sampled_from(["href", "rel", "title", "roles", "links", "assets", "description", *HREFS])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES | st.just("child"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=40,
)
MEMBERS = ("links", "assets", "properties", "title", "id", "description")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, VALUES)))
def test_any_object_gives_a_page(document: dict[str, Any]) -> None:
    text = make_document_page("a/b.json", document, pages="/pages/", files="/files/")
    read_page(Answer(200, {}, text.encode()))


@needs_chromium
@pytest.mark.slow
def test_a_web_browser_agrees_about_all_of_them(plain: Running) -> None:
    with open_page() as page:
        for number in range(len(HREFS)):
            page.open(f"{plain.address}/pages/href{number}.json")
            page.wait(f"location.pathname == '/pages/href{number}.json' && document.body !== null")
            page.see("a link")
            places = page.value("[...document.links].map(a => a.protocol + a.host + a.pathname)")
            for place in places:
                assert place.startswith(f"http:127.0.0.1:{plain.port}/files/"), HREFS[number]
            page.value("[...document.links].filter(a => a.protocol != 'http:').map(a => a.click())")
        assert page.errors == []


@pytest.mark.parametrize(
    ("href", "place"),
    [
        ("https://example.org/x?a=1&b=2#c", "https://example.org/x?a=1&b=2#c"),
        ("HTTP://example.org", "HTTP://example.org"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("./x.tif", "/files/a/x.tif"),
        ("../x y#.tif", "/files/x%20y%23.tif"),
        ("b/../c.json", "/pages/a/c.json"),
    ],
)
def test_addresses_that_are_links(href: str, place: str, tmp_path: Path) -> None:
    text = make_document_page("a/b.json", document_of(href), pages="/pages/", files="/files/")
    assert place in read_page(Answer(200, {}, text.encode())).places


@pytest.mark.parametrize("name", ["page.html", "style.sld"])
def test_files_do_not_run(plain: Running, name: str) -> None:
    answer = get(plain, f"/files/{name}")
    check(plain, answer)
    assert answer.status == 200
    assert "html" not in answer.headers["content-type"]
    assert "sandbox" in answer.headers["content-security-policy"]


MODELS = {"type": "Collection", "id": "crop_mask_models", "links": []}


def models_with(**more: Any) -> bytes:
    return json.dumps({**MODELS, **more}).encode()


def links_to(*hrefs: str) -> list[dict[str, str]]:
    return [{"rel": "item", "href": href} for href in hrefs]


HARMS = {
    "links climb": models_with(links=links_to("../../outside/secret.json", "/etc/passwd", "")),
    "links to itself": models_with(links=links_to("collection.json")),
    "another name": models_with(id="../../outside"),
    "a deep title": models_with(title=5).replace(b"5", nested(500)),
    "a bare NaN": models_with(extent=float("nan")),
    "half a character": models_with(a="\ud800"),
    "too large": b'{"id": "' + b"a" * MAX_DOCUMENT_BYTES + b'"}',
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("place", ["catalog.json", "crop_mask_models/collection.json"])
def test_a_damaged_catalog_is_served_without_the_damage(harm: str, place: str) -> None:
    store = MemoryStore()
    put_item(store)
    store.put(place, HARMS[harm], "application/json")
    store.put("crop_mask_eastern/collection.json", EASTERN, "application/json")
    with serve_app(make_api_app(Api(store), store)) as address:
        for path in ("/", "/collections", "/search", "/collections/crop_mask_eastern"):
            answer = requests.get(f"{address}{path}", timeout=60)
            assert answer.status_code == 200, answer.text
            assert "NaN" not in answer.text
            answer.json()


EASTERN = json.dumps(
    {
        "type": "Collection",
        "id": "crop_mask_eastern",
        "links": [{"rel": "about", "href": href} for href in HREFS],
        "assets": {str(number): {"href": href} for number, href in enumerate(HREFS)},
    }
).encode()
ITEMS: dict[str, Any] = {
    "properties": {"a": float("nan"), "b": float("inf"), "c": "\ud800"},
    "geometry": None,
    "bbox": [float("nan"), 0, 1, 1],
    "links": [{"rel": "about", "href": href} for href in HREFS],
    "assets": {str(number): {"href": href} for number, href in enumerate(HREFS)},
    "collection": "../../<script>",
    "id": "../../<script>\ud800",
}


@pytest.mark.parametrize("member", ITEMS)
def test_hostile_items_are_left_out_or_made_harmless(member: str) -> None:
    store = MemoryStore()
    key = put_item(store)
    item = json.loads(store.get(key))
    value = {**item[member], **ITEMS[member]} if member == "properties" else ITEMS[member]
    store.put(key, json.dumps({**item, member: value}).encode(), "application/json")
    store.put("crop_mask_eastern/collection.json", EASTERN, "application/json")
    with serve_app(make_api_app(Api(store), store)) as address:
        found = requests.get(f"{address}/search", timeout=60)
        assert found.status_code == 200
        (collection,) = requests.get(f"{address}/collections", timeout=60).json()["collections"]
        for document in (collection, *found.json()["features"]):
            links = (*document["links"], *document["assets"].values())
            for link in links:
                assert link["href"].startswith((f"{address}/", "https://")), link


class Failing(MemoryStore):
    """Fails in the middle of a file."""

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        if span is not None and span[0] >= self.good:
            raise Interrupted("/secret/place of this machine cannot be read: it is on fire")
        return super().get(key, span)

    good = 0


@pytest.mark.parametrize("good", [0, 1])
def test_a_file_that_cannot_be_read_ends_in_one_line(
    good: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = Failing()
    store.put("a.tif", bytes(3 << 20), "image/tiff")
    store.good = good
    with serve_app(make_api_app(Api(store), store)) as address:
        if good:
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                requests.get(f"{address}/files/a.tif", timeout=60).content  # noqa: B018
        else:
            answer = requests.get(f"{address}/files/a.tif", timeout=60)
            assert (answer.status_code, "secret" in answer.text) == (502, False)
    (record,) = caplog.records
    assert "on fire" in record.getMessage()
    assert record.exc_info is None


def test_half_open_connections_end(api: Running) -> None:
    """Headers that never come, that never end, that drip; bodies that drip; while others ask."""
    began = time.monotonic()
    half = b"GET / HTTP/1.1\r\nHost: localhost\r\nA: "
    beginnings = (
        b"",
        half,
        half,
        b"POST /search HTTP/1.1\r\nHost: l\r\nContent-Length: 9\r\n\r\n{",
    )
    beginnings = (*beginnings[:3], beginnings[3].replace(b"Host: l", b"Host: localhost"))
    with ExitStack() as stack:
        sockets = []
        for number in range(400):
            opened = socket.create_connection(("127.0.0.1", api.port), timeout=60)
            sockets.append(stack.enter_context(opened))
            opened.sendall(beginnings[number % 4])
        for _ in range(5):
            assert get(api, "/").status == 200
            for opened in sockets[2:]:
                with suppress(OSError):
                    opened.sendall(b"a")
            time.sleep(1)
        assert time.monotonic() - began < 60
        for opened in sockets:
            with suppress(ConnectionError):
                while opened.recv(4096):
                    pass
    assert HEAD_SECONDS - 1 < time.monotonic() - began < 60
    assert get(api, "/").status == 200
    assert "Traceback" not in api.log.read_text()


def test_a_reader_that_stops_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "STALL_SECONDS", 0.5)
    dropped = threading.Event()

    class Watched(patience.PatientProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            dropped.set()

    monkeypatch.setattr(patience, "PatientProtocol", Watched)
    store = MemoryStore()
    store.put("a.tif", bytes(64 << 20), "image/tiff")
    with (
        serve_app(make_api_app(Api(store), store)) as address,
        socket.socket() as reader,
    ):
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(60)
        reader.connect(("127.0.0.1", int(address.rpartition(":")[2])))
        reader.sendall(b"GET /files/a.tif HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert dropped.wait(60)
        received = 0
        with suppress(ConnectionError):
            while part := reader.recv(1 << 20):
                received += len(part)
        assert received < 64 << 20
        assert requests.get(f"{address}/", timeout=60).status_code == 200


def test_a_slow_body_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    store = MemoryStore()
    with serve_app(make_api_app(Api(store), store)) as address:
        server = Running(address, Path(os.devnull))
        answer = ask(server, SEARCH + b"Content-Length: 9\r\n\r\n{")
        check(server, answer)
        assert answer.status == 408
        assert "0.5 s" in json.loads(answer.body)["description"]


def test_connections_have_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CONNECTIONS > 400
    monkeypatch.setattr(patience, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(patience, "HEAD_SECONDS", 1.0)
    store = MemoryStore()
    with serve_app(make_api_app(Api(store), store)) as address, ExitStack() as stack:
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
        for _ in range(3):
            stack.enter_context(socket.create_connection(place))
        busy = requests.get(f"{address}/", timeout=60)
        assert busy.status_code == 503
        assert busy.headers["X-Content-Type-Options"] == "nosniff"
        deadline = time.monotonic() + 60
        while requests.get(f"{address}/", timeout=60).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert requests.get(f"{address}/", timeout=60).status_code == 200


def test_many_ask_at_once(api: Running) -> None:
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(get(api, "/search").status)) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 50
