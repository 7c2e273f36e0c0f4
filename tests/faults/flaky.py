"""A proxy in front of SQS that fails now and then, before or after it has passed a request on."""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Flaky:
    """What goes wrong, and what has gone wrong."""

    url: str = ""
    refused: float = 0.1
    """Share of requests that are answered 500 and not passed on."""
    unheard: float = 0.1
    """Share of requests that are passed on and answered 500: the caller never hears of it."""
    seed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Failures by action."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.lock = threading.Lock()

    def draw(self) -> float:
        with self.lock:
            return self.chance.random()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Flaky
    host: str
    port: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        drawn = self.state.draw()
        if drawn < self.state.refused:
            self.fail(action)
            return
        upstream = http.client.HTTPConnection(self.host, self.port, timeout=60)
        upstream.request("POST", self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if drawn < self.state.refused + self.state.unheard:
            self.fail(action)
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def fail(self, action: str) -> None:
        with self.state.lock:
            self.state.failed[action] += 1
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve_flaky(upstream: str, **faults: float) -> Iterator[Flaky]:
    """Serve a proxy of an address; faults as of :class:`Flaky`."""
    state = Flaky(**faults)  # type: ignore[arg-type]
    parts = urlsplit(upstream)
    values = {"state": state, "host": parts.hostname, "port": parts.port}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), values))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
