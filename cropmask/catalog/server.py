"""A web application on a port of this machine, until a signal comes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from cropmask.errors import Misconfigured, Reason


def require_web_packages() -> None:
    """Check that what a server needs is installed; else it is Misconfigured."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise Misconfigured(
            "this needs the packages starlette and uvicorn: pip install 'cropmask[serve]'",
            reason=Reason.NOT_INSTALLED,
        ) from None


def open_socket(host: str, port: int) -> socket.socket:
    """Socket of a host and port; port 0 is any that is free."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise Misconfigured(
            f"{host}:{port} cannot be listened on: {why}: name another --port",
            reason=Reason.NO_PORT,
        ) from None
    return bound


def serve(app: Any, bound: socket.socket, ready: Callable[[str], None]) -> None:  # noqa: ANN401 (an ASGI application)
    """Serve an ASGI application until SIGINT or SIGTERM; ``ready`` is told the address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal that stopped it once more: here it has done its work.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    host, port = bound.getsockname()[:2]
    bound.listen(128)
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    with bound, suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
