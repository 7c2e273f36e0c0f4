"""Files are compared with what their items declare; a corrupt block is never taken for pixels."""

from __future__ import annotations

import hashlib
import struct
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from cropmask.core.scaling import KEPT, Declared
from cropmask.errors import Interrupted, Rejected
from cropmask.pixels import verify
from cropmask.pixels.verify import expect_file, verify_files
from cropmask.remote import ranges
from cropmask.remote.fetch import Absent, ReadOptions, Verify
from cropmask.remote.ranges import RemoteFiles
from cropmask.sources.bands import BandSource
from tests.servers import FileServer, serve_files

HEADER = (
    b"II*\0\x08\0\0\0\x04\0"
    + b"".join(
        struct.pack("<HHII", tag, kind, 1, value)
        for tag, kind, value in ((256, 3, 1), (257, 3, 1), (273, 4, 0), (279, 4, 1))
    )
    + bytes(4)
)
"""Of a TIFF of one pixel, in one strip."""
CONTENT = HEADER + (bytes(range(256)) * 100)[len(HEADER) :]
QUICK = ReadOptions(retry_delay_seconds=0.01, retries=1, threads=2)
PREFIXES = {"sha1": "1114", "sha256": "1220", "sha512": "1340", "md5": "d50110"}


def multihash(kind: str, content: bytes = CONTENT) -> str:
    return PREFIXES[kind] + hashlib.new(kind, content).hexdigest()


def band(href: str, checksum: str | None = None, size: int | None = None) -> BandSource:
    return BandSource(href, KEPT["blue"], Declared(0.0), checksum, size)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(verify, "_CHUNK_BYTES", 1000)
    path = tmp_path / "band.tif"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("kind", PREFIXES)
def test_every_kind_of_checksum(file: Path, kind: str):
    good = band(str(file), multihash(kind), len(CONTENT))
    assert verify_files([good, band(str(file), multihash(kind).upper())], QUICK) == 2
    for damaged in range(0, len(CONTENT), 4999):
        spoiled = bytearray(CONTENT)
        spoiled[damaged] ^= 1
        file.write_bytes(spoiled)
        with pytest.raises(Rejected, match=rf"band\.tif.*{kind}.*fetch the file again") as caught:
            verify_files([good], QUICK)
        assert caught.value.reason == "corrupt input"


def test_size_alone(file: Path):
    assert verify_files([band(str(file), size=len(CONTENT))], QUICK) == 1
    with pytest.raises(Rejected, match="25600 bytes, its item says 7"):
        verify_files([band(str(file), size=7)], QUICK)
    with pytest.raises(Interrupted, match="25600 of 25601 bytes"):
        verify_files([band(str(file), size=25_601)], QUICK)


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", CONTENT[:9]])
def test_a_file_that_is_no_raster_is_not_read_again(file: Path, content: bytes):
    file.write_bytes(content)
    with pytest.raises(Rejected, match=r"band\.tif is not the file that its item describes"):
        verify_files([band(str(file), size=len(CONTENT))], QUICK)


def test_what_is_not_declared_or_not_known_is_left_alone(
    file: Path, caplog: pytest.LogCaptureFixture
):
    assert verify_files([band(str(file))], QUICK) == 0
    for unknown in ("zQmFoo", "1220abcd", "1620" + "0" * 64, "1220" + "0" * 66):
        verify_files([band(str(file), unknown)], QUICK)
        assert "unknown kind" in caplog.text
        caplog.clear()
    with pytest.raises(Absent):
        verify_files([band(f"{file}.none", multihash("sha1"))], QUICK)


@pytest.fixture
def server(file: Path):
    with serve_files(file.parent) as server:
        yield server


@pytest.mark.parametrize("kind", PREFIXES)
def test_a_remote_file_is_compared_as_it_comes(server: FileServer, kind: str):
    good = band(f"{server.url}/band.tif", multihash(kind), len(CONTENT))
    assert verify_files([good], QUICK) == 0
    assert server.requests == [], "its reader compares it"
    with RemoteFiles() as files:
        file = files.open(good.href, QUICK)
        expect_file(file, good, QUICK, is_whole=True)
        file.check()
    other = replace(good, checksum=multihash(kind, b"other"))
    with RemoteFiles() as files, pytest.raises(Rejected, match=rf"its {kind} is"):
        expect_file(files.open(good.href, QUICK), other, QUICK, is_whole=True)


def test_sizes_of_remote_files(server: FileServer):
    href = f"{server.url}/band.tif"
    with RemoteFiles() as files:
        file = files.open(href, QUICK)
        expect_file(file, band(href, size=len(CONTENT)), QUICK, is_whole=False)
        with pytest.raises(Rejected, match="25600 bytes, its item says 7"):
            expect_file(file, band(href, size=7), QUICK, is_whole=False)
        with pytest.raises(Interrupted, match="25600 of 25601 bytes"):
            expect_file(file, band(href, size=25_601), QUICK, is_whole=False)
        trusting = replace(QUICK, verify=Verify.NONE)
        expect_file(file, band(href, multihash("md5", b""), 7), trusting, is_whole=True)
        file.check()


@pytest.mark.parametrize(
    ("verify", "is_whole", "compared"),
    [
        (Verify.NONE, True, False),
        (Verify.READ, True, True),
        (Verify.READ, False, False),
        (Verify.ALL, False, True),
    ],
)
def test_what_is_read_in_part_is_compared_if_asked(
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    verify: Verify,
    is_whole: bool,
    compared: bool,
):
    monkeypatch.setattr(ranges, "EDGE_BYTES", 1000)
    wrong = band(f"{server.url}/band.tif", multihash("sha256", b"other"))
    options = replace(QUICK, verify=verify)
    with RemoteFiles() as files:
        file = files.open(wrong.href, options)
        expect_file(file, wrong, options, is_whole=is_whole)
        with pytest.raises(Rejected, match="sha256") if compared else nullcontext():
            file.check()
    sent = sum(number for _, _, number in server.sent)
    assert sent == (2 * len(CONTENT) if compared else 1000)
