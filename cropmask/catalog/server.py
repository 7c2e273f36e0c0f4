"""A web application on a port of this machine, until a signal comes."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from cropmask.errors import Misconfigured, Reason, not_installed

MAX_HEAD_BYTES: Final = 32 << 10
"""Size of the first line and the headers of a request, its address included."""


def require_web_packages() -> None:
    """Check that what a server needs is installed; else it is Misconfigured."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise not_installed("starlette", "uvicorn") from None


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


def describe_address(bound: socket.socket) -> str:
    """Address by which others reach a server; of all addresses of a machine, the one outward."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = _outward_address(bound.family) or socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _outward_address(family: int) -> str | None:
    """Address of this machine in its network; nothing is sent."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Addresses of documents: what is asked for is the way there.
        probe.connect(("2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return None


def make_server(app: Any) -> Any:  # noqa: ANN401 (an ASGI application; uvicorn comes with an extra)
    """A server of an ASGI application that waits for nobody for ever."""
    import uvicorn

    from cropmask.catalog.patience import PatientProtocol

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            log_level="warning",
            lifespan="off",
            server_header=False,
        )
    )


def serve(app: Any, bound: socket.socket, ready: Callable[[str], None]) -> None:  # noqa: ANN401 (an ASGI application)
    """Serve an ASGI application until SIGINT or SIGTERM; ``ready`` is told the address."""
    server = make_server(app)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal that stopped it once more: here it has done its work.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    bound.listen(128)
    ready(describe_address(bound))
    with bound, suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
