"""A folder over http on loopback, as a distant server would send it: late, and no faster than told.

    python -m benchmarks.rangeserver FOLDER [--milliseconds 30] [--megabytes-per-second 200]

Prints its address. Ranges, ETags and ``If-Match`` are answered as S3 answers them, so that it
stands in for a bucket, too (``http://HOST/BUCKET/KEY``). Each connection and each answer is late by
the latency; all answers together share the bandwidth. ``GET /_counts`` tells what was asked for
since the last time: requests and bytes by path. Files go from the page cache to the socket by
sendfile, which takes the processors little time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

COUNTS: Final = "/_counts"
_CHUNK: Final = 512 << 10
"""Bytes sent at a time, between two looks at the bandwidth."""
_REASONS: Final = {200: "OK", 206: "Partial Content", 404: "Not Found", 412: "Precondition Failed"}


class Counts:
    """Requests and bytes by path."""

    def __init__(self) -> None:
        self._found: dict[str, list[int]] = {}

    def add(self, path: str, number: int) -> None:
        """Count a request, and the bytes of its answer."""
        found = self._found.setdefault(path, [0, 0])
        found[0] += 1
        found[1] += number

    def take(self) -> dict[str, list[int]]:
        """What was counted since the last time."""
        taken, self._found = self._found, {}
        return taken


@dataclass(slots=True)
class Link:
    """What all connections share."""

    folder: Path
    latency: float
    """Seconds until a connection and an answer begin."""
    rate: float
    """Bytes a second; 0 for no limit."""
    counts: Counts = field(default_factory=Counts)
    _free: float = 0.0

    async def wait_for_room(self, number: int) -> None:
        """Wait until so many bytes may be on their way."""
        if self.rate:
            now = time.monotonic()
            self._free = max(self._free, now) + number / self.rate
            await asyncio.sleep(self._free - now)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        await asyncio.sleep(self.latency)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(self.latency)
                await self._answer(head.decode("latin-1"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has left
        finally:
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        method, target = head.split(" ", 2)[:2]
        path = unquote(urlsplit(target).path)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        if path == COUNTS:
            _put(writer, 200, json.dumps(self.counts.take()).encode(), {})
            return
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            self.counts.add(path, 0)
            _put(writer, 404, b"<Error><Code>NoSuchKey</Code></Error>", {})
            return
        facts = file.stat()
        etag = f'"{sha256(f"{path}{facts.st_size}{facts.st_mtime_ns}".encode()).hexdigest()[:32]}"'
        if headers.get("if-match", etag) != etag:
            self.counts.add(path, 0)
            _put(writer, 412, b"<Error><Code>PreconditionFailed</Code></Error>", {})
            return
        start, stop, status = 0, facts.st_size, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        extra = {"ETag": etag, "Last-Modified": formatdate(facts.st_mtime, usegmt=True)}
        if asked:
            start, stop = int(asked[1]), min(int(asked[2] or facts.st_size) + 1, facts.st_size)
            status = 206
            extra["Content-Range"] = f"bytes {start}-{stop - 1}/{facts.st_size}"
        writer.write(_head(status, stop - start, extra))
        await writer.drain()
        self.counts.add(path, stop - start if method != "HEAD" else 0)
        if method != "HEAD":
            await self._send(file, start, stop, writer)

    async def _send(self, path: Path, start: int, stop: int, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with path.open("rb") as file:
            while start < stop:
                number = min(_CHUNK, stop - start)
                await self.wait_for_room(number)
                await loop.sendfile(writer.transport, file, start, number)
                start += number


def _head(status: int, length: int, extra: dict[str, str]) -> bytes:
    lines = {"Content-Length": str(length), "Accept-Ranges": "bytes", **extra}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {_REASONS[status]}\r\n{text}\r\n".encode()


def _put(writer: asyncio.StreamWriter, status: int, body: bytes, extra: dict[str, str]) -> None:
    writer.write(_head(status, len(body), extra) + body)


async def _run(link: Link) -> None:
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--milliseconds", type=float, default=0.0, help="latency")
    parser.add_argument("--megabytes-per-second", type=float, default=0.0, help="default no limit")
    options = parser.parse_args()
    rate = options.megabytes_per_second * 1e6
    asyncio.run(_run(Link(options.folder, options.milliseconds / 1000, rate)))


if __name__ == "__main__":
    main()
