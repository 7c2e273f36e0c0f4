"""Trust zones: what the documents of a catalog may point to.

Hrefs are looked at where documents are parsed, by what is written in them; addresses once more
where a socket is connected, by what it is connected to, so that no name, no redirect and no answer
of a name server leads anywhere else.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import unicodedata
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from cropmask.contract import ENV_TRUST_CATALOG
from cropmask.errors import Reason, Rejected
from cropmask.remote.address import is_remote

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NOT_IN_ADDRESSES: Final = re.compile(r"[\x00-\x1f\x7f\\]")
"""What parsers of addresses disagree about."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


class _Place(Enum):
    """Where an address leads, and what is said of it."""

    PUBLIC = "on the internet"
    PRIVATE = "in a private network"
    LOOPBACK = "on the machine that reads it"
    LINK_LOCAL = "a link-local address"
    NOWHERE = "no address of a server"


_OF_THE_CLOUD: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
"""Where clouds hand out credentials to their machines, link-local or not."""
_NAMES: Final = {"localhost": _Place.LOOPBACK, "metadata.google.internal": _Place.LINK_LOCAL}
"""Names whose meaning is known without asking, as behind a proxy nobody can ask."""


class OutsideZone(Rejected):
    """Something points to where its catalog may not lead."""

    usual = Reason.OUTSIDE_ZONE


@dataclass(frozen=True, slots=True)
class Zone:
    """What the documents of a catalog may point to.

    A catalog read over http(s) or S3 may point to http(s) and S3: to public addresses, and to those
    of the kind that it lies at itself (loopback, private). A local catalog may point to files in
    its folder, and to public addresses. What the user names is trusted.
    """

    catalog: str
    """Path or address of the catalog, as the user names it."""
    endpoint: str | None = None
    """Address of the S3 server, if it is not AWS."""
    trusted: bool = False
    """Whether a local catalog may point to any file, and any catalog to any address."""
    named: frozenset[str] = frozenset()
    """Paths and addresses that the user names beside the catalog."""

    def of(self, href: str) -> Zone:
        """The zone in which to read an address: its own, where the user names it."""
        return replace(self, catalog=href, named=frozenset()) if href in self.named else self

    def check(self, href: str, who: str) -> None:
        """Raise OutsideZone if an absolute href, which ``who`` points to, leads out of the zone."""
        why = self.refusal(href)
        if why is not None:
            raise OutsideZone(
                f"{who} points to {href}, {why}: correct it, "
                f"or set {ENV_TRUST_CATALOG}=1 if you trust the catalog {self.catalog}"
            )

    def refusal(self, href: str) -> str | None:
        """Why an absolute href leads out of the zone, as far as its text tells; None if not."""
        if href == self.catalog or href in self.named:
            return None
        scheme = _SCHEME.match(href)
        kind = scheme[1].lower() if scheme else "file"
        if kind == "s3":
            return None  # AWS, or the endpoint that the user names
        if kind not in ("http", "https"):
            return self._refuse_local(href) if kind == "file" else f"of the unknown kind '{kind}:'"
        try:
            host = urlsplit(href).hostname
        except ValueError:
            host = None
        if not host or _NOT_IN_ADDRESSES.search(href):
            return "which is no address"
        return self.refuse_host(host)

    def refuse_host(self, host: str) -> str | None:
        """Why a host must not be spoken to, as far as its name tells; None if it may."""
        literal = _parse_literal(host)
        if literal is not None:
            return self.refuse_peer(host, literal)
        plain = _plain_host(host)
        known = _NAMES.get("localhost" if plain.endswith(".localhost") else plain)
        return None if known is None or self._admits(known) else f"which is {known.value}"

    def refuse_peer(self, host: str, peer: _IpAddress) -> str | None:
        """Why a host must not be spoken to at the address where it lies; None if it may."""
        place = _place_of(peer)
        if self._is_own(host):
            # A catalog does not move, or its name would lead anywhere on its second day.
            moved = place not in self._home() and not self.trusted
            return f"which has moved to {peer}, {place.value}" if moved else None
        if place is _Place.PUBLIC or self._admits(place):
            return None
        at = "" if _plain_host(host) == str(peer) else f"at {peer}, "
        return f"which is {at}{place.value}"

    def _admits(self, place: _Place) -> bool:
        """Whether others than the catalog's own host may be at a place that is not public."""
        if place is _Place.NOWHERE:
            return False
        return self.trusted or (place is not _Place.LINK_LOCAL and place in self._home())

    def _is_own(self, host: str) -> bool:
        own = self._host()
        return own is not None and _plain_host(own) == _plain_host(host)

    def _home(self) -> frozenset[_Place]:
        """Where the catalog itself lies; only on the internet if any of its addresses is there."""
        host = self._host()
        try:
            return frozenset() if host is None else _find_home(host)
        except (OSError, UnicodeError):  # nothing is known of it now
            return frozenset({_Place.PUBLIC})

    def _host(self) -> str | None:
        """Host of the catalog; None if it is local or at AWS."""
        address = self.endpoint if self.catalog.startswith("s3://") else self.catalog
        if address is None or not (is_remote(address) or address == self.endpoint):
            return None
        try:
            return urlsplit(address if "//" in address else f"//{address}").hostname
        except ValueError:
            return None

    def _refuse_local(self, href: str) -> str | None:
        if is_remote(self.catalog):
            return f"a local path, where the catalog is at {self.catalog}"
        if self.trusted:
            return None
        place = self.catalog.removeprefix("file://")
        is_file = place.endswith("json") and not os.path.isdir(place)  # noqa: PTH112 (never raises)
        folder = (Path(place).parent if is_file else Path(place)).resolve()
        try:
            inside = Path(href.removeprefix("file://")).resolve().is_relative_to(folder)
        except (OSError, ValueError, RuntimeError):
            return "which is no path"
        return None if inside else f"outside of the catalog's folder {folder}"


def find_addresses(host: str) -> list[_IpAddress]:
    """Addresses that a name has now; OSError if it has none."""
    literal = _parse_literal(host)
    if literal is not None:
        return [literal]
    found = socket.getaddrinfo(_plain_host(host), None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


@lru_cache(maxsize=64)
def _find_home(host: str) -> frozenset[_Place]:
    """Where a host lies: asked once, as a later answer could be another."""
    places = frozenset(map(_place_of, find_addresses(host)))
    return frozenset({_Place.PUBLIC}) if _Place.PUBLIC in places else places


def _plain_host(host: str) -> str:
    """A host as resolvers understand it, whatever signs it is written with."""
    return unicodedata.normalize("NFKC", unquote(host)).strip("[]").rstrip(".").lower()


def _parse_literal(host: str) -> _IpAddress | None:
    """Address that a host is, in any spelling that resolvers take: ``127.1``, ``0x7f000001``."""
    plain = _plain_host(host).partition("%")[0]
    try:
        return ipaddress.ip_address(plain)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(plain))
    except (OSError, UnicodeError, ValueError):
        return None


def _place_of(address: _IpAddress) -> _Place:
    inner = _embedded(address) if isinstance(address, ipaddress.IPv6Address) else None
    if inner is not None:
        return _place_of(inner)
    if address.is_loopback or address.is_unspecified:
        return _Place.LOOPBACK  # systems take 0.0.0.0 for themselves
    if address.is_link_local or address in _OF_THE_CLOUD:
        return _Place.LINK_LOCAL
    if address.is_multicast or address.is_reserved:
        return _Place.NOWHERE
    is_site = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return _Place.PUBLIC if address.is_global and not is_site else _Place.PRIVATE


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to through a gateway."""
    if address.is_loopback or address.is_unspecified:
        return None
    if address in _NAT64 or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
