"""Remote files read in spans: each byte crosses once, whatever servers and threads do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.remote import ranges
from cropmask.remote.fetch import Absent, ReadOptions, find_identity
from cropmask.remote.limits import OverLimit, ReadLimits
from cropmask.remote.ranges import ALWAYS, RemoteFiles, WantedSpan, merge
from tests.security.hostile import drip, serve_answers
from tests.servers import Fault, FileServer, serve_files

EDGE, SPAN, SIZE = 1000, 8000, 200_003
CONTENT = np.random.default_rng(1).bytes(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OPTIONS = ReadOptions(retries=1, retry_delay_seconds=0.01, timeout_seconds=5, threads=4)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans of thousandths of their size."""
    monkeypatch.setattr(ranges, "EDGE_BYTES", EDGE)
    monkeypatch.setattr(ranges, "SPAN_BYTES", SPAN)
    monkeypatch.setattr(ranges, "GAP_BYTES", 16)
    monkeypatch.setattr(ranges, "_CHUNK_BYTES", 700)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "made.bin").write_bytes(CONTENT)
    with serve_files(tmp_path) as running:
        yield running


@pytest.fixture
def href(server: FileServer) -> str:
    return f"{server.url}/made.bin"


@pytest.fixture
def files() -> Iterator[RemoteFiles]:
    with RemoteFiles() as opened:
        yield opened


def number_sent(server: FileServer) -> int:
    return sum(number for _, _, number in server.sent)


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_the_first_request_tells_size_and_identity(
    server: FileServer, files: RemoteFiles, href: str
) -> None:
    file = files.open(href, OPTIONS)
    assert file.size == SIZE
    assert files.identify(href, OPTIONS) == file.identity
    assert file.read(0, 10) == CONTENT[:10]
    assert server.requests == [("GET", "/made.bin")]
    assert file.identity == find_identity(href, OPTIONS)
    assert files.open(href, OPTIONS) is file


def test_threads_that_read_anything_have_each_byte_sent_once(
    server: FileServer, files: RemoteFiles, href: str
) -> None:
    file = files.open(href, OPTIONS)
    file.want([WantedSpan(5000, 90_000, 1, 1), WantedSpan(90_005, 95_000, 2, 2)])
    places = np.random.default_rng(2).integers(0, SIZE - 1, (400, 2))

    def read(place: Any) -> bool:
        start, count = int(place[0]), int(place[1]) // 20 + 1
        return file.read(start, count) == CONTENT[start : start + count]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(read, places))
    assert number_sent(server) <= SIZE
    seen = np.zeros(SIZE, int)
    for _, first, number in server.sent:
        seen[first : first + number] += 1
    assert seen.max() == 1, "no byte crossed twice"


def test_what_is_wanted_comes_in_the_order_of_the_rows_in_few_requests(
    server: FileServer, href: str
) -> None:
    options = ReadOptions(threads=1)
    with RemoteFiles() as files:
        file = files.open(href, options)
        blocks = [
            WantedSpan(at, at + 990, at // 10_000, at // 10_000) for at in range(2000, SIZE, 1000)
        ]
        file.want(reversed(blocks))
        assert file.read(SIZE - 1100, 50) == CONTENT[-1100:-1050]
        file.expect("sha256", DIGEST)
        file.check()
    starts = [first for _, first, _ in server.sent]
    rows = [first for first in starts if first >= 2000]
    late = starts.index(max(starts))  # somebody could not wait for it
    assert sorted(rows) == [first for first in rows if first != starts[late]] + [starts[late]]
    assert number_sent(server) == SIZE, "gaps and the rest are fetched once as well"
    assert len(starts) <= 1 + 1 + -(-SIZE // SPAN) + 2


def test_needs_are_joined_where_they_nearly_touch() -> None:
    made = merge([WantedSpan(20, 30, 2, 2), WantedSpan(0, 10, 1, 1), WantedSpan(100, 110, 3, 9)])
    assert made == [WantedSpan(0, 30, 1, 2), WantedSpan(100, 110, 3, 9)]
    long = merge([WantedSpan(0, 7000, 0, 0), WantedSpan(7008, 9000, 1, 1)])
    assert long == [WantedSpan(0, 7008, 0, 0), WantedSpan(7008, 9000, 1, 1)], (
        "without a hole between them"
    )


def test_what_is_read_is_let_go(
    server: FileServer, files: RemoteFiles, href: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "AHEAD_BYTES", 3 * SPAN)
    monkeypatch.setattr(ranges, "HELD_BYTES", 4 * SPAN)
    file = files.open(href, OPTIONS)
    rows = [WantedSpan(at, at + 1000, at // 1000, at // 1000) for at in range(30_000, SIZE, 1000)]
    file.want(rows)
    file.expect("sha256", DIGEST)
    for need in rows:
        assert file.read(need.start, 1000) == CONTENT[need.start : need.start + 1000]
        files.release(need.last + 1)
    file.check()
    # The limit, what comes before the rows, what is under way, and what nobody could wait for.
    assert files.most_held <= 4 * SPAN + 30_000 + (OPTIONS.threads + 2) * SPAN < SIZE
    assert number_sent(server) == SIZE
    files.release(-1)
    assert file.read(50_000, 9) == CONTENT[50_000:50_009], "what is gone is fetched again"


@pytest.mark.parametrize("said", [{}, {"ETag": None}, {"ETag": 'W/"1"'}, {"Content-Length": None}])
def test_a_server_without_ranges_sends_the_file_once(
    server: FileServer, files: RemoteFiles, href: str, said: dict[str, str | None]
) -> None:
    server.ranges, server.headers = False, said
    file = files.open(href, OPTIONS)
    assert (file.size, file.read(50_000, SIZE)) == (SIZE, CONTENT[50_000:])
    file.expect("sha256", DIGEST)
    file.check()
    assert number_sent(server) == SIZE
    assert len(server.requests) == 1


def test_a_whole_file_has_a_limit(server: FileServer, files: RemoteFiles, href: str) -> None:
    server.ranges = False
    tight = ReadOptions(limits=ReadLimits(file_bytes=SIZE - 1))
    with pytest.raises(OverLimit, match=f"file_bytes={SIZE - 1}"):
        files.open(href, tight)
    server.headers = {"Content-Length": None}
    with pytest.raises(OverLimit, match="file_bytes"):
        files.open(href, tight)


@pytest.mark.parametrize("answers", [{}, {"ETag": None}, {"ETag": 'W/"old"'}])
def test_a_file_that_is_replaced_is_never_mixed(
    server: FileServer, files: RemoteFiles, href: str, tmp_path: Path, answers: dict[str, Any]
) -> None:
    server.headers = {**answers, "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}
    file = files.open(href, OPTIONS)
    (tmp_path / "made.bin").write_bytes(CONTENT[::-1])
    server.headers = {name: f"{said}2" for name, said in server.headers.items() if said}
    if not answers:
        server.headers = {}
    with pytest.raises(Interrupted, match="replaced while it was read") as raised:
        file.read(50_000, 10)
    assert raised.value.reason is Reason.REPLACED_INPUT


def test_a_file_of_another_size_is_never_mixed(
    server: FileServer, files: RemoteFiles, href: str, tmp_path: Path
) -> None:
    server.headers = {"ETag": None}
    file = files.open(href, OPTIONS)
    (tmp_path / "made.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(Interrupted, match="replaced while it was read"):
        file.read(50_000, 10)


def test_what_breaks_off_is_asked_for_from_there(
    server: FileServer, files: RemoteFiles, href: str
) -> None:
    file = files.open(href, OPTIONS)
    server.faults.append(Fault("made", keep_bytes=2100, times=2))
    assert file.read(20_000, SPAN) == CONTENT[20_000 : 20_000 + SPAN]
    assert [sent[1:] for sent in server.sent[1:]] == [
        (20_000, 2100),
        (22_100, 2100),
        (24_200, SPAN - 4200),
    ]
    server.faults.append(Fault("made", keep_bytes=10))
    with pytest.raises(Interrupted, match="cannot be read"):
        file.read(50_000, SPAN)
    server.faults.clear()
    assert file.read(50_000, SPAN) == CONTENT[50_000 : 50_000 + SPAN], "and it goes on"


@pytest.mark.parametrize("fault", [Fault("", status=503, times=2), Fault("", reset=True, times=1)])
def test_a_server_that_fails_and_recovers(
    server: FileServer, files: RemoteFiles, href: str, fault: Fault
) -> None:
    server.faults.append(fault)
    file = files.open(href, OPTIONS)
    assert file.read(0, SIZE) == CONTENT
    assert fault.times == 0


def test_a_byte_that_is_damaged_on_the_way_is_noticed(
    server: FileServer, files: RemoteFiles, href: str
) -> None:
    file = files.open(href, OPTIONS)
    server.faults.append(Fault("made", spoil=True, times=1))
    file.expect("sha256", DIGEST)
    with pytest.raises(Interrupted, match="came damaged, and whole when it was fetched again"):
        file.check()


def test_a_file_that_is_not_the_expected_one_is_refused(
    server: FileServer, files: RemoteFiles, href: str
) -> None:
    file = files.open(href, OPTIONS)
    file.expect("md5", "0" * 32)
    with pytest.raises(Rejected, match=r"its md5 is .*, not 000000000000") as raised:
        file.check()
    assert raised.value.reason is Reason.CORRUPT_INPUT
    assert number_sent(server) == 2 * SIZE, "it was fetched once more before it was blamed"


def test_a_small_file_that_came_damaged_is_fetched_again(
    server: FileServer, files: RemoteFiles, href: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "EDGE_BYTES", SIZE)
    server.faults.append(Fault("made", spoil=True, times=2))
    file = files.open(href, OPTIONS)
    file.expect("sha256", DIGEST)
    assert file.read(0, SIZE) == CONTENT
    file.check()


@pytest.mark.parametrize("packing", ["gzip", "br", "deflate", "made-up"])
def test_what_is_packed_cannot_be_read_in_parts(
    server: FileServer, files: RemoteFiles, href: str, packing: str
) -> None:
    server.headers = {"Content-Encoding": packing}
    with pytest.raises(Rejected, match=f"packed as {packing}"):
        files.open(href, OPTIONS)


def test_an_empty_file_and_none(server: FileServer, files: RemoteFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for server.ranges in (True, False):
        with RemoteFiles() as fresh:
            file = fresh.open(f"{server.url}/empty", OPTIONS)
            assert (file.size, file.read(0, 10)) == (0, b"")
    for _ in range(2):
        with pytest.raises(Absent):
            files.open(f"{server.url}/none", OPTIONS)


def test_bodies_that_drip_are_given_up(files: RemoteFiles) -> None:
    head = (
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-999/5000\r\nContent-Length: 1000\r\n\r\n"
    )
    hasty = ReadOptions(retries=0, retry_delay_seconds=0.01, limits=ReadLimits(body_seconds=1))
    with (
        serve_answers(lambda _path: drip(b"x", 0.1, head=head)) as url,
        pytest.raises(Interrupted, match="body_seconds=1"),
    ):
        files.open(f"{url}/a.tif", hasty)


@pytest.mark.parametrize("part", ["bytes 0-10/*", "bytes=0-9", "", f"bytes 0-{'9' * 20}/1"])
def test_parts_that_are_none_are_taken_for_the_whole(files: RemoteFiles, part: str) -> None:
    answer = (206, {"Content-Range": part}, bytes(1000))
    with serve_answers(lambda _path: answer) as url:
        assert files.open(f"{url}/a.tif", OPTIONS).size == 1000


def test_other_bytes_than_asked_for_are_no_answer(files: RemoteFiles) -> None:
    answer = (206, {"Content-Range": "bytes 5-999/5000"}, bytes(995))
    with (
        serve_answers(lambda _path: answer) as url,
        pytest.raises(Interrupted, match="other bytes than its first"),
    ):
        files.open(f"{url}/a.tif", OPTIONS)


def test_ending_in_the_middle_leaves_nothing_behind(server: FileServer, href: str) -> None:
    threads, descriptors = threading.active_count(), count_descriptors()
    slow = ReadOptions(retries=0, threads=2)
    files = RemoteFiles()
    file = files.open(href, slow)
    file.want([WantedSpan(2000, SIZE, 1, ALWAYS)])
    file.read(90_000, 10)
    files.close()
    files.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch")]
    assert threading.active_count() <= threads + 8, "threads of the server, at most"
    with pytest.raises(Interrupted, match="ended"):
        file.read(90_000, 10)
    assert count_descriptors() <= descriptors + 16, "connections that are kept, at most"


def test_a_full_disk_is_told(
    files: RemoteFiles, href: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = files.open(href, OPTIONS)

    class Full:
        def write(self, _chunk: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(ranges.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(Interrupted, match="free some space") as raised:
        file.read(50_000, 10)
    assert raised.value.reason is Reason.DISK_FULL
