"""HTTP connections that stay in their zone and in time: looked at before a byte is sent."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError
from urllib3.response import HTTPResponse
from urllib3.util.retry import Retry

from cropmask.remote.limits import OutOfTime
from cropmask.remote.zones import OutsideZone, Zone, find_addresses

_REDIRECTS: Final = 10
"""Redirects that are followed from one address."""
_DRAINED_BYTES: Final = 64 * 1024
"""Longest body without a use that is read to keep its connection."""


class Deadline:
    """Cuts the connection over which an answer does not arrive in time, however steadily it drips.

    A timeout of a socket only says how long nothing may arrive.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.has_passed = False
        self._timer: threading.Timer | None = None
        self._connected: socket.socket | None = None

    def start(self, connection: HTTPConnection) -> None:
        """Begin anew for an answer; after one that was cut there is none."""
        if self.has_passed:
            raise OutOfTime("an answer did not arrive in time")  # urllib3 tries others again
        self._connected = connection.sock
        self.extend(self.seconds)

    def extend(self, seconds: float) -> None:
        """Give the answer so long from now on: it is longer than was asked for."""
        self.stop()
        self._timer = threading.Timer(seconds, self._cut, [self._connected])
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Let the connection be."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut(self, connected: socket.socket | None) -> None:
        self.has_passed = True
        with suppress(OSError, AttributeError):
            connected.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Give every answer so long, from its first byte to its last, in this thread."""
    deadline = Deadline(seconds)
    token = _deadline.set(deadline)
    try:
        yield deadline
    finally:
        _deadline.reset(token)
        deadline.stop()


def make_session(zone: Zone, retries: Retry, connections: int) -> requests.Session:
    """Session that connects to nothing outside of a zone, wherever names and redirects lead.

    What it would have to leave the zone for raises OutsideZone.
    """
    session = requests.Session()
    session.max_redirects = _REDIRECTS
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["Accept-Encoding"] = "gzip, deflate"  # what is unpacked with a limit
    session.adapters.clear()
    # Also of addresses that are not http: a redirect may lead to a file.
    session.mount("", _ZoneAdapter(zone, retries, connections))
    return session


class _ZoneAdapter(HTTPAdapter):
    """Sends a request if its address is in the zone, over connections that look themselves."""

    def __init__(self, zone: Zone, retries: Retry, connections: int) -> None:
        self._zone = zone
        self._pools = _make_pools(zone)
        super().__init__(max_retries=retries, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (requests')
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        """Answer to a request, or OutsideZone."""
        address = str(request.url)
        why = self._zone.refusal(address)
        if why is None and not address.lower().startswith(("http://", "https://")):
            why = "which is no http(s) address"
        if why is not None:
            raise OutsideZone(f"{address}, {why}")
        answer = super().send(request, **kwargs)
        if answer.is_redirect:  # requests would read its body to the end, whatever that is
            drain(answer.raw)
            answer._content = b""
        return answer


class _InZone(HTTPConnection):
    """A connection that is closed before a byte is sent, if its other end is outside of a zone."""

    _zone: Zone

    def _new_conn(self) -> socket.socket:
        if self.proxy is not None:  # it connects; of its target only the name is known
            return super()._new_conn()
        # Before: nobody is knocked at who must not be. After: a name may have two answers.
        try:
            addresses = find_addresses(self.host)
        except (OSError, UnicodeError) as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        for address in addresses:
            self._check(address)
        connected = super()._new_conn()
        try:
            self._check(ipaddress.ip_address(connected.getpeername()[0].partition("%")[0]))
        except BaseException:
            connected.close()
            raise
        return connected

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Answer in time, of which urllib3 reads no endless body before it tries again."""
        deadline = _deadline.get()
        if deadline is not None:
            deadline.start(self)
        answer = super().getresponse()
        answer.drain_conn = partial(drain, answer)  # type: ignore[method-assign]
        return answer

    def _check(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        why = self._zone.refuse_peer(self.host, address)
        if why is not None:
            raise OutsideZone(f"{self.host}, {why}")


def _make_pools(zone: Zone) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools, of connections that look whom they speak to."""

    class Plain(_InZone):
        _zone = zone

    class Secure(_InZone, HTTPSConnection):
        _zone = zone

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def drain(answer: HTTPResponse) -> None:
    """Make a connection ready for its next request, or give it up."""
    left = answer.length_remaining
    if left is not None and left <= _DRAINED_BYTES:
        answer.read(decode_content=False)
    else:
        answer.close()
