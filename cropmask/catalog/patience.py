"""Connections that end when the other side keeps them waiting."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""How long the first line and the headers of a request may take to arrive."""
STALL_SECONDS: Final = 30.0
"""How long an answer may wait for a reader that takes nearly nothing of it."""
SLOWEST_BYTES: Final = 1000
"""What a reader takes in a second, at least."""
MAX_CONNECTIONS: Final = 500
"""Connections at one time; one more is told to come again."""
_PLAIN: Final = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n"
    "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'\r\n"
    "Connection: close\r\n\r\n{text}"
)
"""An answer that no application gives."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn, with an end to every wait for the other side.

    uvicorn itself ends connections that are idle between two requests, and no other.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 (an asyncio transport)
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse("503 Service Unavailable", "Too many connections: try again later.")
        self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """End a connection on which something else than HTTP is spoken."""
        self._refuse("400 Bad Request", msg)

    def _refuse(self, status: str, text: str) -> None:
        answer = _PLAIN.format(status=status, length=len(text), text=text)
        self.transport.write(answer.encode("ascii"))
        self.transport.close()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._wait_for_head()
        super().on_response_complete()

    def _wait_for_head(self) -> None:
        _cancel(self._head_timer)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._end_if_waiting)

    def _end_if_waiting(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            return
        if self.transport.get_write_buffer_size():  # the end of the last answer
            self._watch_reader()
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Begin to wait for the reader of an answer."""
        super().pause_writing()
        self._watch_reader()

    def _watch_reader(self) -> None:
        _cancel(self._stall_timer)
        left = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self._end_if_stalled, left)

    def _end_if_stalled(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left == 0:
            self._wait_for_head()
        elif before - left < STALL_SECONDS * SLOWEST_BYTES:
            self.transport.abort()
        else:
            self._watch_reader()

    def resume_writing(self) -> None:
        """The reader has taken what was sent."""
        super().resume_writing()
        _cancel(self._stall_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        _cancel(self._head_timer)
        _cancel(self._stall_timer)
        super().connection_lost(exc)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
