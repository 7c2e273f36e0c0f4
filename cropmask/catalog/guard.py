"""What a server refuses before anything is read, and what every answer of it says to browsers."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1 << 20
"""Size of the body of a search; one with 10 000 ids or points has half of it."""
BODY_SECONDS: Final = 10.0
"""How long the body of a request may take to arrive."""
_DRAINED_BYTES: Final = 8 * MAX_BODY_BYTES
"""How much of a body that is too large is still taken, so that its sender reads the answer."""
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_NO_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""For what is no page: nothing in it runs, whatever it is."""


@dataclass(frozen=True, slots=True)
class Visitors:
    """Who may ask a server: by the names that it is asked by, and the pages that ask."""

    hosts: frozenset[str] = frozenset()
    """Names and addresses of the server beside those of the loopback, in lower case.

    A page elsewhere may give its own name the address of this machine; the name is still its own.
    """
    any_address: bool = False
    """Whether every IP address is one of the server, as it listens on all that it has."""
    origins: tuple[str, ...] = ()
    """Origins of pages elsewhere that may read, such as ``https://example.org``, or ``*``."""

    def may_ask(self, host: str | None) -> bool:
        """Whether the Host of a request names this server."""
        match = _HOST.fullmatch(host or "")
        if match is None:
            return False
        name = match[1].strip("[]").lower().removesuffix(".")
        if name in self.hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.any_address


def make_visitors(
    host: str,
    bound: socket.socket,
    *,
    others: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
) -> Visitors:
    """Who may ask a server that listens on ``host``; ``others`` are further names of it."""
    address = ipaddress.ip_address(bound.getsockname()[0].partition("%")[0])
    names = {host, str(address), *others}
    if not address.is_loopback:
        names |= {socket.gethostname(), f"{socket.gethostname()}.local"}
    hosts = frozenset(name.lower().removesuffix(".") for name in names)
    return Visitors(hosts, address.is_unspecified, origins)


class Guard:
    """Middleware around a whole application."""

    def __init__(self, app: ASGIApp, visitors: Visitors) -> None:
        self._app = app
        self._visitors = visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message))
            await send(message)

        headers = Headers(scope=scope)
        body: bytes | JSONResponse = b""
        if not self._visitors.may_ask(headers.get("host")):
            body = _refuse(403, "this Host is no name of this server: --allow-host NAME adds one")
        elif scope["method"] == "POST":
            body = await _read_body(receive)
        elif headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            body = _refuse(400, "only a search has a body, by POST")
        if isinstance(body, JSONResponse):
            await body(scope, receive, send_with_headers)
            return
        whole: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def receive_again() -> Message:
            nonlocal whole
            if whole is None or scope["method"] != "POST":
                return await receive()
            message, whole = whole, None
            return message

        await self._app(scope, receive_again, send_with_headers)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers.setdefault("Content-Security-Policy", _NO_POLICY)
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Referrer-Policy", "no-referrer")
        who = "cross-origin" if self._visitors.origins else "same-origin"
        headers["Cross-Origin-Resource-Policy"] = who


def _refuse(status: int, why: str) -> JSONResponse:
    """One line; the connection ends, so that nobody waits for what is still sent on it."""
    content = {"code": status, "description": why}
    return JSONResponse(content, status_code=status, headers={"Connection": "close"})


async def _read_body(receive: Receive) -> bytes | JSONResponse:
    """Body of a request; the refusal of one that is too large or too slow."""
    body, size, more = bytearray(), 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more and size <= _DRAINED_BYTES:
                message = await receive()
                part, more = message.get("body", b""), message.get("more_body", False)
                size += len(part)
                if size <= MAX_BODY_BYTES:
                    body += part
    except TimeoutError:
        return _refuse(408, f"the body did not arrive within {BODY_SECONDS:g} s")
    if size > MAX_BODY_BYTES:
        return _refuse(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)
