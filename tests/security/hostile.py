"""Servers of attackers, and a port that must not be spoken to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.servers import serving


@dataclass(frozen=True)
class Drip:
    """An answer that does not end by itself."""

    part: bytes
    """Sent over and over."""
    seconds: float
    """Between two parts."""
    head: bytes
    """Sent first, as it is."""
    chunked: bool


Answer = tuple[int, Mapping[str, str], bytes] | Drip

_LONGEST_SECONDS = 30.0
_PLAIN = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def drip(part: bytes, seconds: float, *, head: bytes | None = None, chunked: bool = False) -> Drip:
    """An answer of ever the same part; of nothing more than the head if that is empty."""
    return Drip(part, seconds, (_CHUNKED if chunked else _PLAIN) if head is None else head, chunked)


@dataclass
class Canary:
    """A port of this machine that notes whoever comes."""

    port: int
    connections: int = 0
    received: bytes = b""


@contextmanager
def watch_port() -> Iterator[Canary]:
    """Listen on a port of this machine; all who came are counted when it is left."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        canary = Canary(listening.getsockname()[1])
        last: list[Any] = []

        def listen() -> None:
            while True:
                peer, address = listening.accept()
                with peer:
                    if address in last:
                        return
                    canary.connections += 1
                    peer.settimeout(1)
                    with suppress(OSError):
                        canary.received += peer.recv(65536)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield canary
        with socket.socket() as closing:  # comes after all others
            closing.bind(("127.0.0.1", 0))
            last.append(closing.getsockname())
            closing.connect(listening.getsockname())
            thread.join()


@contextmanager
def serve_answers(answers: Mapping[str, Answer] | Callable[[str], Answer]) -> Iterator[str]:
    """Address of a server that says the same to GET, HEAD and POST: status, headers, body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            find = answers if callable(answers) else lambda path: answers.get(path, (404, {}, b""))
            answer = find(self.path)
            if isinstance(answer, Drip):
                self.close_connection = True
                self.drip(answer)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def drip(self, answer: Drip) -> None:
            part = answer.part
            if answer.chunked:
                part = b"%x\r\n%b\r\n" % (len(part), part)
            until = time.monotonic() + _LONGEST_SECONDS
            with suppress(OSError):
                self.wfile.write(answer.head)
                while part and time.monotonic() < until:
                    self.wfile.write(part)
                    time.sleep(answer.seconds)

        def log_message(self, *args: object) -> None:
            pass

    with serving(Handler) as url:
        yield url
