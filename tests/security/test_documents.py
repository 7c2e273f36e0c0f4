"""Hostile items, catalogs and APIs: each ends in one line, in time, and reads nothing foreign."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from urllib3.response import HTTPResponse

from cropmask.contract import ExitCode
from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason, Rejected
from cropmask.region.region import Ancillary
from cropmask.remote.fetch import ReadOptions, find_identity, load_bytes, load_json
from cropmask.remote.limits import LIMIT_NAMES, OutOfTime, OverLimit, ReadLimits
from cropmask.remote.retries import LONGEST_WAIT_SECONDS, CountedRetry
from cropmask.site.site import open_site
from cropmask.sources import api  # noqa: F401 (takes a while to load)
from cropmask.sources.catalogs import open_catalog
from cropmask.sources.gather import gather
from cropmask.sources.search import Sources, find_sources
from tests.conftest import REPOSITORY
from tests.security.hostile import Answer, Canary, Drip, drip, serve_answers, watch_port
from tests.servers import CONFORMS, serve_files
from tests.worlds import TILE, YEAR, World, make_world

SECONDS: Final = 20
"""Longest time that any of these may take, on a busy machine."""
SMALL: Final = ReadLimits(
    document_bytes=1_000_000,
    body_seconds=1,
    documents=60,
    pages=7,
    page_items=20,
    search_bytes=3_000_000,
    search_seconds=5,
)
QUICK: Final = ReadOptions(retries=0, retry_delay_seconds=0.01, timeout_seconds=5, limits=SMALL)
PATIENT: Final = replace(QUICK, limits=replace(SMALL, body_seconds=SECONDS))
"""For answers that are whole: on a busy machine even a small one may take its time."""
LAYERS: Final = Ancillary(rain_first_half="/r1", rain_second_half="/r2", slope="/s")
BOMB: Final = gzip.compress(bytes(64_000_000))

_watched: set[str] = set()
_opened: list[str] = []


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]) in _watched:
        _opened.append(str(arguments[0]))


sys.addaudithook(_note_open)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), size=(8, 8))


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copied(tmp_path / "world")


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file of this machine that no item may have read."""
    path = tmp_path / "secret.tif"
    path.write_bytes(b"II*\0secret")
    _watched.add(str(path))
    _opened.clear()
    yield path
    assert _opened == []
    _watched.clear()


@pytest.fixture
def canary() -> Iterator[Canary]:
    """A server of this machine that no item may lead to."""
    with watch_port() as port:
        yield port
    assert port.connections == 0


def end(
    action: Callable[[], object], kind: type[CropmaskError] | tuple[type[CropmaskError], ...]
) -> CropmaskError:
    """The one error of an action: of its kind, in a line, in time."""
    start = time.monotonic()
    with pytest.raises(CropmaskError) as raised:
        action()
    assert time.monotonic() - start < SECONDS
    assert isinstance(raised.value, kind), repr(raised.value)
    assert "\n" not in str(raised.value)
    return raised.value


def blames_the_task(action: Callable[[], object]) -> CropmaskError:
    """The same for what an item or catalog says of one task: parked, and the worker goes on."""
    error = end(action, Rejected)
    assert error.exit_code is ExitCode.REJECTED
    return error


def find(catalog: object, options: ReadOptions = QUICK) -> Sources:
    return find_sources(str(catalog), TILE, YEAR, LAYERS, options=options)


# What an asset or a link may not point to.

OUT_OF_EVERY_ZONE: Final = (
    "{secret}",
    "file://{secret}",
    "//{secret}",
    "file:///etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "/vsicurl/http://127.0.0.1:{port}/x.tif",
    "/vsizip//vsicurl/http://127.0.0.1:{port}/x.zip/x.tif",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://0xa9fea9fe/latest",
    "http://[fd00:ec2::254]/latest",
    "http://[::ffff:169.254.169.254]/latest",
    "http://10.0.0.1/x.tif",
    "https://192.168.0.1:8443/x.tif",
    "http://[fe80::1]/x.tif",
    "http://metadata.google.internal/computeMetadata/v1/",
    "gs://bucket/x.tif",
    "az://container/x.tif",
    "ftp://127.0.0.1:{port}/x.tif",
    "gopher://127.0.0.1:{port}/x",
    "http://[::1/x.tif",
    "http://127.0.0.1:99999/x.tif",
)
OUT_OF_A_FOLDER: Final = (
    "../../../../../../secret.tif",
    "./../../../../x215/../../../../secret.tif",
    "link.tif",
    "http://127.0.0.1:{port}/x.tif",
    "http://localhost:{port}/x.tif",
    "http://2130706433:{port}/x.tif",
    "http://0:{port}/x.tif",
    "http://[::1]:{port}/x.tif",
    "\0",
)


@pytest.mark.parametrize("href", [*OUT_OF_EVERY_ZONE, *OUT_OF_A_FOLDER])
def test_an_asset_of_a_local_catalog_leads_out(
    world: World, secret: Path, canary: Canary, href: str
) -> None:
    (world.items[0].parent / "link.tif").symlink_to(secret)
    world.edit_assets(0, B04=href.format(secret=secret, port=canary.port))
    blames_the_task(lambda: find(world.catalog))
    blames_the_task(lambda: find(world.folder))


@pytest.mark.parametrize("href", OUT_OF_EVERY_ZONE)
def test_an_asset_of_a_served_catalog_leads_out(
    world: World, secret: Path, canary: Canary, href: str
) -> None:
    world.edit_assets(1, B11=href.format(secret=secret, port=canary.port))
    with serve_files(world.folder) as server:  # where a path is one of the server
        blames_the_task(lambda: find(f"{server.url}/catalog.json").fingerprint())


@pytest.mark.parametrize("rel", ["child", "item"])
@pytest.mark.parametrize("href", OUT_OF_EVERY_ZONE[::2])
def test_a_link_of_a_served_catalog_leads_out(
    world: World, secret: Path, canary: Canary, href: str, rel: str
) -> None:
    link = {"rel": rel, "href": href.format(secret=secret, port=canary.port)}
    world.catalog.write_text(json.dumps({"type": "Catalog", "links": [link]}))
    with serve_files(world.folder) as server:
        blames_the_task(lambda: find(f"{server.url}/catalog.json"))


def test_a_line_says_which_item_points_where_and_why_not(world: World, secret: Path) -> None:
    world.edit_assets(0, B04=str(secret))
    error = blames_the_task(lambda: find(world.catalog))
    assert error.reason is Reason.OUTSIDE_ZONE
    assert str(error) == (
        f"asset 'B04' of item gm_s2_semiannual_x215y075_2019-01--P6M points to {secret}, "
        f"outside of the catalog's folder {world.folder}: correct it, or set "
        f"CROPMASK_TRUST_CATALOG=1 if you trust the catalog {world.catalog}"
    )


def test_a_file_of_items_that_is_a_link_to_elsewhere(world: World, secret: Path) -> None:
    (world.folder / "also.json").symlink_to(secret)
    blames_the_task(lambda: find(world.folder))


def test_a_mirror_whose_items_point_outside_is_read_with_the_option(
    world: World, tmp_path: Path
) -> None:
    shutil.copytree(world.folder, tmp_path / "mirror")
    for half, path in enumerate(world.items):
        for key, asset in json.loads(path.read_text())["assets"].items():
            moved = tmp_path / "mirror" / path.parent.relative_to(world.folder) / asset["href"]
            world.edit_assets(half, **{key: str(moved)})
    blames_the_task(lambda: find(world.catalog))
    trusting = open_site({"CROPMASK_CATALOG": str(world.catalog), "CROPMASK_TRUST_CATALOG": "1"})
    assert find(world.catalog, trusting.read)


def test_layers_that_the_region_names_may_lie_anywhere(world: World, secret: Path) -> None:
    layers = world.ancillary.model_copy(update={"water": str(secret)})
    sources = find_sources(str(world.catalog), TILE, YEAR, layers, options=QUICK)
    assert sources.options.zone_of(str(secret)).refusal(str(secret)) is None
    assert sources.options.zone_of(f"{secret}2").refusal(f"{secret}2") is not None


# Documents that are too large, too deep or too slow.


def served(answer: Answer, options: ReadOptions = QUICK) -> CropmaskError:
    """How a catalog ends whose item is answered so."""
    root = {"type": "Catalog", "links": [{"rel": "item", "href": "item.json"}]}
    answers = {"/c.json": (200, {}, json.dumps(root).encode()), "/item.json": answer}
    with serve_answers(answers) as url:
        return end(lambda: find(f"{url}/c.json", options), (Rejected, Interrupted))


def packed(body: bytes, name: str = "gzip") -> Answer:
    return 200, {"Content-Encoding": name}, body


def raw_deflate(body: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(body) + engine.flush()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(packed(BOMB), id="gzip"),
        pytest.param(packed(BOMB, "GZip "), id="gzip-spelled-otherwise"),
        pytest.param(packed(b"".join([gzip.compress(b"[" * 300_000)] * 9)), id="gzip-members"),
        pytest.param(packed(zlib.compress(bytes(64_000_000)), "deflate"), id="deflate"),
        pytest.param(packed(raw_deflate(bytes(64_000_000)), "deflate"), id="raw-deflate"),
        pytest.param((200, {}, b" " * 2_000_000), id="plain"),
        pytest.param(drip(b" " * 100_000, 0.0), id="endless"),
        pytest.param(drip(b"[" * 100_000, 0.0, chunked=True), id="endless-chunks"),
        pytest.param((200, {}, b'{"a": "' + b"x" * 1_000_000 + b'"}'), id="a-text"),
    ],
)
def test_documents_that_are_too_large(answer: Answer) -> None:
    error = served(answer)
    assert isinstance(error, OverLimit)
    assert "exceeds the limit document_bytes=1000000" in str(error)


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, gzip", "compress", "x"])
def test_documents_packed_as_nobody_asked(name: str) -> None:
    error = served(packed(BOMB, name))
    assert isinstance(error, Rejected)
    assert "which nobody asked for" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b'{"a": 1}')[:-12],
        b"\x1f\x8b" + b"\0" * 30,
        b"\x1f\x8b\x08",
        b"no gzip",
        b"",
    ],
    ids=["cut", "zeros", "head", "other", "empty"],  # gzip writes the time into its bytes
)
def test_packed_documents_that_are_none_may_come_whole_the_next_time(body: bytes) -> None:
    assert isinstance(served(packed(body)), Interrupted)


def test_packed_documents_of_every_kind_are_read() -> None:
    text = json.dumps({"type": "Feature", "id": "a" * 100_000}).encode()
    halves = gzip.compress(text[:50]) + gzip.compress(text[50:])
    for answer in (
        packed(gzip.compress(text)),
        packed(halves),
        packed(gzip.compress(text) + b"\0\0\0"),
        packed(zlib.compress(text), "deflate"),
        packed(raw_deflate(text), "deflate"),
        packed(text, "identity"),
    ):
        with serve_answers({"/a.json": answer}) as url:
            assert load_json(f"{url}/a.json", QUICK)["type"] == "Feature"


def test_a_bomb_never_unfolds() -> None:
    whole = gzip.compress(bytes(600_000_000), 1)
    with serve_answers({"/a.json": packed(whole)}) as url:
        tracemalloc.start()
        start = time.monotonic()
        end(lambda: load_json(f"{url}/a.json", ReadOptions(retries=0)), OverLimit)
        assert time.monotonic() - start < SECONDS
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100_000_000  # twice the limit of 32 MB, and what is on its way


def test_local_documents_have_the_same_limit(world: World) -> None:
    with (world.folder / "large.json").open("wb") as file:
        file.truncate(600_000_000)
    assert isinstance(blames_the_task(lambda: find(world.folder)), OverLimit)


def test_a_small_local_file_takes_no_more_memory_than_it_has_bytes(tmp_path: Path) -> None:
    """A reserved gigabyte counts against a limited address space, though nobody writes to it."""
    path = tmp_path / "small.vrt"
    path.write_bytes(b"0123456789")
    tracemalloc.start()
    whole = load_bytes(str(path), ReadOptions())
    span = load_bytes(str(path), ReadOptions(), span=(4, 10**9))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (whole, span) == (b"0123456789", b"456789")
    assert load_bytes(str(path), ReadOptions(), span=(2, 3)) == b"234"
    assert peak < 1_000_000


def nest(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "1" + closing * depth


@pytest.mark.parametrize(
    "text",
    [
        "[" * 300_000,
        '{"a":' * 100_000,
        nest("[", "]", 65),
        nest("[", "]", 900),
        nest("[", "]", 20_000),
        nest('{"a":', "}", 65),
        nest('[{"a":', "}]", 40),
        '{"type": "Feature", "properties": ' + nest('{"a":', "}", 900) + "}",
        '{"type": "Feature", "assets": {"B04": ' + nest("[", "]", 70) + "}}",
        '{"links": ' + nest("[", "]", 500) + "}",
    ],
)
@pytest.mark.parametrize("kind", ["local", "served"])
def test_documents_that_are_nested_too_deeply(world: World, text: str, kind: str) -> None:
    if kind == "served":
        error = served((200, {}, text.encode()))
    else:
        (world.folder / "deep.json").write_text(text)
        error = blames_the_task(lambda: find(world.folder))
    assert isinstance(error, OverLimit)
    assert "exceeds the limit nesting=64" in str(error)


def test_what_is_as_deep_as_may_be_is_read_quickly() -> None:
    rows = json.dumps([[[i, i]] for i in range(50_000)]).encode()
    text = nest("[", "]", 64).encode()
    with serve_answers({"/deep": (200, {}, text), "/wide": (200, {}, rows)}) as url:
        assert load_json(f"{url}/deep", QUICK)
        start = time.process_time()
        assert len(load_json(f"{url}/wide", QUICK)) == 50_000
        assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xff" * 100,
        b'{"a": ' + b"1" * 100_000 + b"}",
        b'{"a": \xc3\x28}',
        b"<html><body>maintenance</body></html>",
        b"[]",
        b"1",
        b'"text"',
        b"null",
    ],
)
def test_documents_that_are_no_objects(body: bytes) -> None:
    assert isinstance(served((200, {}, body)), Rejected)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(drip(b"{", 0.2), id="body"),
        pytest.param(drip(b"{", 0.2, chunked=True), id="chunks"),
        pytest.param(drip(b"HTTP/1.1 100 Continue\r\n\r\n", 0.2, head=b""), id="continue"),
        pytest.param(drip(b"X-A: b\r\n", 0.2, head=b"HTTP/1.1 200 OK\r\n"), id="headers"),
        pytest.param(drip(b"1", 0.2, head=b"HTTP/1.1 2"), id="status"),
        pytest.param(
            drip(b"x", 0.2, head=b"HTTP/1.1 302 Found\r\nLocation: /item.json\r\n\r\n"),
            id="redirect",
        ),
        pytest.param(drip(b"x", 0.2, head=b"HTTP/1.1 503 Busy\r\n\r\n"), id="refusal"),
        pytest.param(drip(gzip.compress(b"{" * 99)[:1], 0.2), id="gzip"),
    ],
)
def test_answers_that_drip(answer: Answer) -> None:
    start = time.monotonic()
    error = served(answer)
    assert isinstance(error, Interrupted)
    assert time.monotonic() - start < SECONDS
    assert any(word in str(error) for word in ("body_seconds=1", "503", "TooManyRedirects"))


def test_a_server_may_ask_for_a_wait_but_not_for_a_long_one() -> None:
    answer = HTTPResponse(headers={"Retry-After": "1000000"})
    assert CountedRetry().get_retry_after(answer) == LONGEST_WAIT_SECONDS


@pytest.mark.parametrize("length", ["-1", "1" * 5000, "x", "\u00b2", "1, 2", ""])
def test_lengths_that_are_none(length: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1")
    answers = {"/x": drip(b"", 0.0, head=head)}
    with serve_answers(answers) as url, suppress(CropmaskError):
        find_identity(f"{url}/x", QUICK)


@pytest.mark.parametrize("count", [12, 50])
def test_redirects_without_end(count: int) -> None:
    numbers = itertools.count()

    def answer(_path: str) -> Answer:
        return 302, {"Location": f"/{next(numbers) % count}"}, b""

    with serve_answers(answer) as url:
        end(lambda: load_bytes(f"{url}/x", QUICK), Interrupted)


def test_the_body_of_a_redirect_is_of_no_interest() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\n"
    bodies: dict[str, Answer] = {
        "/bomb": (302, {"Location": "/y", "Content-Encoding": "gzip"}, BOMB),
        "/endless": drip(b"x" * 1000, 0.0, head=head),
        "/y": (200, {}, b"there"),
    }
    with serve_answers(bodies) as url:
        for path in ("/bomb", "/endless"):
            assert load_bytes(f"{url}{path}", QUICK, limit="document_bytes") == b"there"


# Static catalogs without an end.


def catalog_of(links: list[dict[str, Any]], **more: Any) -> Answer:
    return 200, {}, json.dumps({"type": "Catalog", "links": links, **more}).encode()


def chain(path: str) -> Answer:
    number = int(path.strip("/c.json") or 0)
    return catalog_of([{"rel": "child", "href": f"c{number + 1}.json"}])


def tree(path: str) -> Answer:
    name = path.strip("/").removesuffix(".json")
    return catalog_of([{"rel": "child", "href": f"{name}{digit}.json"} for digit in "ab"])


def wide(path: str) -> Answer:
    if path != "/c.json":
        return catalog_of([])
    return catalog_of([{"rel": "item", "href": f"{number}.json"} for number in range(10_000)])


def heavy(path: str) -> Answer:
    name = path.strip("/").removesuffix(".json")
    links = [{"rel": "child", "href": f"{name}{digit}.json"} for digit in "ab"]
    return catalog_of(links, filler="x" * 900_000)


def slow(path: str) -> Answer:
    time.sleep(0.4)
    return tree(path)


@pytest.mark.parametrize(
    ("answers", "limit"),
    [
        (chain, "levels=50"),
        (tree, "documents=60"),
        (wide, "documents=60"),
        (heavy, "search_bytes=3000000"),
        (slow, "_seconds="),
    ],
)
def test_static_catalogs_without_an_end(answers: Callable[[str], Answer], limit: str) -> None:
    with serve_answers(answers) as url:
        error = end(lambda: find(f"{url}/c.json"), (Rejected, OutOfTime))
        assert limit in str(error) or "documents=60" in str(error)
        # Planning a region walks the same way, and does not begin again for every tile.
        place = open_catalog(f"{url}/c.json", QUICK)
        end(lambda: gather(place, [("gm_s2_semiannual", YEAR)], [TILE]), (Rejected, OutOfTime))


@pytest.mark.parametrize(
    "links",
    [
        [{"rel": "child", "href": "c.json"}],
        [{"rel": "child", "href": "./././c.json"}],
        [{"rel": "item", "href": "c.json"}, {"rel": "child", "href": "d.json"}],
        [{"rel": "child", "href": ""}],
        [{"rel": "child", "href": "?x"}, {"rel": "child", "href": "#x"}],
        [{"rel": 1, "href": 1}, {"rel": "child"}, {"href": "x"}, "x", None, 1],
        {"rel": "child"},
        "links",
        5,
    ],
)
def test_catalogs_that_lead_round_in_a_circle(links: Any) -> None:
    answers = {path: catalog_of(links) for path in ("/c.json", "/d.json", "/c.json?x")}
    with serve_answers(answers) as url:
        error = blames_the_task(lambda: find(f"{url}/c.json"))
    assert error.reason is Reason.MISSING_GEOMAD


# APIs.


@contextmanager
def serve_api(pages: Callable[[int], Any], **changes: Any) -> Iterator[str]:
    """A whole API of these pages; ``changes`` are made to its landing page."""
    place: list[str] = []
    document = {
        "type": "Catalog",
        "id": "c",
        "stac_version": "1.0.0",
        "description": "d",
        "conformsTo": CONFORMS,
    }

    def answer(path: str) -> Answer:
        links = [{"rel": "self", "href": place[0]}] + [
            {
                "rel": "search",
                "href": f"{place[0]}/search",
                "method": method,
                "type": "application/geo+json",
            }
            for method in ("GET", "POST")
        ]
        landing = {**document, "links": links, **changes}
        return serve(path, {key: value for key, value in landing.items() if value != "none"})

    numbers = itertools.count()

    def serve(path: str, landing: Any) -> Answer:
        found = pages(next(numbers)) if "search" in path else landing
        if isinstance(found, Drip):
            return found
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        body = body.replace(b"{url}", place[0].encode())
        return 200, {"Content-Type": "application/json"}, body

    with serve_answers(answer) as url:
        place.append(url)
        yield url


def page(ids: list[Any], **link: Any) -> dict[str, Any]:
    following = {"rel": "next", "href": "{url}/search", "method": "POST", "body": {}, **link}
    items = [{"type": "Feature", "id": name, "properties": {}, "assets": {}} for name in ids]
    return {"type": "FeatureCollection", "features": items, "links": [following]}


def test_a_next_that_never_ends() -> None:
    with serve_api(lambda number: page([f"item {number}"])) as url:
        error = blames_the_task(lambda: find(url, PATIENT))
    assert isinstance(error, OverLimit)
    assert "exceeds the limit pages=7" in str(error)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_same_page_again(method: str) -> None:
    with serve_api(lambda _number: page(["a", "b"], method=method)) as url:
        assert "the same page again" in str(blames_the_task(lambda: find(url, PATIENT)))


def test_pages_that_take_turns() -> None:
    with serve_api(lambda number: page([number % 3])) as url:
        assert "the same page again" in str(blames_the_task(lambda: find(url, PATIENT)))


def test_a_page_of_too_many_items() -> None:
    with serve_api(lambda _number: page(list(range(21)))) as url:
        assert "page_items=20" in str(blames_the_task(lambda: find(url, PATIENT)))


def test_pages_of_too_many_bytes() -> None:
    with serve_api(lambda number: page([f"{number}" + "x" * 800_000])) as url:
        assert "search_bytes=3000000" in str(blames_the_task(lambda: find(url, PATIENT)))


def test_pages_that_take_too_long() -> None:
    def late(number: int) -> Any:
        time.sleep(0.9)
        return page([number])

    with serve_api(late) as url:
        error = end(lambda: find(url), Interrupted)
    assert "search_seconds=5" in str(error)


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/passwd",
        "{secret}",
        "http://169.254.169.254/latest/",
        "http://10.0.0.1/search",
        "ftp://127.0.0.1:{port}/search",
        "gopher://127.0.0.1:{port}/search",
        "s3://bucket/search",
        "javascript:alert(1)",
        "",
        5,
        None,
        {"a": 1},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_next_or_a_search_that_leads_out(
    secret: Path, canary: Canary, href: Any, method: str
) -> None:
    if isinstance(href, str):
        href = href.format(secret=secret, port=canary.port)
    with serve_api(lambda number: page([number], href=href, method=method)) as url:
        end(lambda: find(url), (Rejected, Interrupted))
    links = [{"rel": "search", "href": href, "method": method, "type": "application/geo+json"}]
    with serve_api(lambda number: page([number]), links=links) as url:
        end(lambda: find(url), (Rejected, Misconfigured, Interrupted))


@pytest.mark.parametrize("method", ["DELETE", "PUT", "TRACE", 5, None, ["GET"]])
def test_a_next_of_another_method(method: Any) -> None:
    with serve_api(lambda number: page([number], method=method)) as url:
        end(lambda: find(url), (Rejected, Interrupted))


@pytest.mark.parametrize(
    "found",
    [
        b"<html>maintenance</html>",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        5,
        None,
        "text",
        {"features": 5},
        {"features": {"a": 1}},
        {"features": [5, None, "x"]},
        {"features": [{}]},
        {"features": [{"id": 5, "properties": 5, "assets": 5, "links": 5}]},
        {"features": [{"type": "Feature", "id": "a", "bbox": "x"}], "links": 5},
        {"features": [{"type": "Feature"}], "links": [5]},
        {"features": [{"type": "Feature"}], "links": [{}]},
        {"features": [{"type": "Feature"}], "links": [{"rel": "next"}]},
        {"features": [{"type": "Feature"}], "links": [{"rel": "next", "href": "x", "body": 5}]},
        {
            "features": [{"type": "Feature"}],
            "links": [{"rel": "next", "href": "{url}/search", "headers": 5}],
        },
        {
            "features": [{"type": "Feature"}],
            "links": [{"rel": "next", "href": "{url}/search", "headers": {"A": "b\r\nC: d"}}],
        },
        {"type": "FeatureCollection", "features": [{"links": [{"rel": "self", "href": 5}]}]},
    ],
)
def test_answers_to_a_search_that_are_odd(found: Any) -> None:
    with serve_api(lambda _number: found) as url:
        end(lambda: find(url), (Rejected, Interrupted))


@pytest.mark.parametrize(
    "changes",
    [
        {"conformsTo": "none"},
        {"conformsTo": 5},
        {"conformsTo": ["https://api.stacspec.org/v1.0.0/core"]},
        {"conformsTo": [5, None]},
        {"links": []},
        {"links": 5, "conformsTo": CONFORMS},
        {"links": [5]},
        {"links": [{"rel": "search", "href": 5}]},
        {"type": "none"},
        {"type": "Feature"},
        {"type": 5},
        {"id": "none"},
        {"id": {"a": 1}},
        {"stac_version": 5},
        {"stac_version": "99.0.0"},
        {"stac_version": "none"},
        {"description": "none"},
        {"stac_extensions": 5},
        {"stac_extensions": [{"a": 1}]},
    ],
)
def test_landing_pages_that_are_odd(changes: dict[str, Any]) -> None:
    with serve_api(lambda _number: {"features": []}, **changes) as url:
        end(lambda: find(url), (Rejected, Interrupted))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 451, 500, 503])
def test_refusals_with_a_bomb_in_them(status: int) -> None:
    def answer(path: str) -> Answer:
        if "search" in path:
            return status, {"Content-Encoding": "gzip"}, BOMB
        return 200, {}, json.dumps(landing).encode()

    landing: dict[str, Any] = {}
    with serve_answers(answer) as url:
        landing |= {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "d"}
        landing |= {
            "conformsTo": CONFORMS,
            "links": [{"rel": "search", "href": f"{url}/search", "type": "application/geo+json"}],
        }
        end(lambda: find(url), CropmaskError)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_a_connection_that_is_cut_in_a_search(head: bytes) -> None:
    with serve_api(lambda _number: drip(b"", 0.0, head=head)) as url:
        error = end(lambda: find(url), Interrupted)
    assert "cannot be reached" in str(error)


# Commands as they are typed.


def program(name: str, place: str, folder: Path) -> tuple[str, ...]:
    """Words of a command on a catalog."""
    words = {
        "cropmask-job": ("--tile", "x215y075", "--region", "eastern", "--log-format", "text"),
        "plan": ("plan", "--region", "eastern", "--tiles", "x215y075,x216y075"),
        "submit": ("submit", "--region", "eastern", "--tiles", "x215y075", "--dry-run"),
    }[name]
    module = "job" if name == "cropmask-job" else "main"
    code = f"from cropmask.cli.{module} import main; main()"
    output = str(folder / "output")
    return (sys.executable, "-c", code, *words, "--catalog", place, "--output", output)


@pytest.mark.parametrize("name", ["cropmask-job", "plan", "submit"])
@pytest.mark.parametrize("kind", ["a chain", "an API", "the same page", "a bomb"])
def test_commands_end_in_one_line(tmp_path: Path, name: str, kind: str) -> None:
    pages = (lambda _number: page(["a"])) if kind == "the same page" else (lambda n: page([n]))
    answers = (lambda _path: packed(BOMB)) if kind == "a bomb" else chain
    is_api = kind in ("an API", "the same page")
    with serve_api(pages) if is_api else serve_answers(answers) as url:
        place = url if is_api else f"{url}/c.json"
        environ = {**os.environ, "HOME": str(tmp_path), "http_proxy": "", "no_proxy": "*"}
        done = subprocess.run(
            program(name, place, tmp_path),
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
        )
    expected = ExitCode.MISCONFIGURED if kind == "a bomb" else ExitCode.REJECTED
    assert done.returncode == expected, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "output").exists()


# The table of limits, and how they are changed.


def test_the_table_of_limits_is_that_of_the_code() -> None:
    lines = (
        (REPOSITORY / "docs" / "reference" / "limits.md").read_text(encoding="utf-8").splitlines()
    )
    rows = [line for line in lines if line.startswith("| `") and line.count("|") == 4]
    there = [tuple(cell.strip(" `") for cell in row.strip("|").split("|")) for row in rows]
    usual = ReadLimits()
    wanted = [(name, f"{getattr(usual, name):,}", what) for name, what in LIMIT_NAMES.items()]
    assert [row for row in there if row[0] in LIMIT_NAMES] == wanted


def test_limits_are_set_by_name_and_reach_the_workers() -> None:
    site = open_site({"CROPMASK_LIMITS": " pages=500, levels = 80"})
    assert (site.read.limits.pages, site.read.limits.levels) == (500, 80)
    assert site.read.limits.nesting == ReadLimits().nesting
    assert site.worker_environment()["CROPMASK_LIMITS"] == "levels=80,pages=500"
    assert "CROPMASK_LIMITS" not in open_site({}).worker_environment()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("page=5", "did you mean 'pages'"),
        ("zzz=5", "choose of document_bytes, "),
        ("pages", "to ''"),
        ("pages=0", "to '0'"),
        ("pages=-1", "to '-1'"),
        ("pages=1e9", "to '1e9'"),
        ("pages=\u00b2", "whole number"),
        (",", "unknown limit ''"),
    ],
)
def test_limits_that_are_none(text: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        open_site({"CROPMASK_LIMITS": text})
