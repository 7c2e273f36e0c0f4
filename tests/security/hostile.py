"""Servers of attackers, and a port that must not be spoken to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from tests.servers import serving

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Canary:
    """A port of this machine that notes whoever comes."""

    port: int
    connections: int = 0
    received: bytes = b""


@contextmanager
def watch_port() -> Iterator[Canary]:
    """Listen on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        canary = Canary(listening.getsockname()[1])

        def listen() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                canary.connections += 1
                with peer:
                    peer.settimeout(1)
                    try:
                        canary.received += peer.recv(65536)
                    except OSError:
                        continue

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield canary
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@contextmanager
def serve_answers(answers: Mapping[str, Answer] | Callable[[str], Answer]) -> Iterator[str]:
    """Address of a server that says the same to GET, HEAD and POST: status, headers, body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            find = answers if callable(answers) else lambda path: answers.get(path, (404, {}, b""))
            status, headers, body = find(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with serving(Handler) as url:
        yield url
