"""Who may ask a server, and the address by which others reach it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from cropmask.catalog import server
from cropmask.catalog.guard import Visitors, make_visitors
from cropmask.catalog.server import describe_address, open_socket


@pytest.fixture
def everywhere() -> Iterator[socket.socket]:
    with open_socket("0.0.0.0", 0) as bound:
        yield bound


@pytest.fixture
def here() -> Iterator[socket.socket]:
    with open_socket("127.0.0.1", 0) as bound:
        yield bound


LOOPBACK = ("localhost", "LOCALHOST:80", "localhost.", "a.localhost", "127.0.0.1:1", "[::1]:8000")
OTHERS = ("10.0.0.1", "example.org", "localhost.example.org", "[2001:db8::1]", "", None, "a b", "[")


@pytest.mark.parametrize("host", LOOPBACK)
def test_this_machine_may_always_ask(host: str) -> None:
    assert Visitors().may_ask(host)


@pytest.mark.parametrize("host", OTHERS)
def test_nobody_else_may(host: str | None) -> None:
    assert not Visitors().may_ask(host)


def test_a_server_of_this_machine_has_no_other_name(here: socket.socket) -> None:
    visitors = make_visitors("127.0.0.1", here, others=("Maps.example.org",))
    assert visitors.may_ask("maps.example.org:443")
    assert not visitors.may_ask(socket.gethostname().replace("localhost", "another"))
    assert not visitors.may_ask("192.0.2.7")


def test_a_server_of_a_network_has_the_names_of_the_machine(everywhere: socket.socket) -> None:
    visitors = make_visitors("0.0.0.0", everywhere)
    name = socket.gethostname()
    assert all(map(visitors.may_ask, (name, f"{name}.local:8000", "192.0.2.7", "[2001:db8::1]:1")))
    assert not visitors.may_ask("example.org")


def test_others_are_told_an_address_that_they_can_reach(
    everywhere: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = everywhere.getsockname()[1]
    monkeypatch.setattr(server, "_outward_address", lambda _: "192.0.2.7")
    assert describe_address(everywhere) == f"http://192.0.2.7:{port}"
    monkeypatch.setattr(server, "_outward_address", lambda _: None)
    assert describe_address(everywhere) == f"http://{socket.gethostname()}:{port}"


def test_a_server_of_this_machine_says_so(here: socket.socket) -> None:
    assert describe_address(here) == f"http://127.0.0.1:{here.getsockname()[1]}"
