"""What items of a catalog may point to: every spelling of an address, names, redirects, proxies."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from cropmask.errors import Reason
from cropmask.remote.fetch import Absent, ReadOptions, load_bytes
from cropmask.remote.zones import OutsideZone, Zone
from cropmask.site.site import open_site
from tests.security.hostile import Canary, serve_answers, watch_port

PUBLIC = Zone("https://93.184.215.14/catalog.json")  # no name: nobody is asked for it
QUICK = ReadOptions(retries=0, timeout_seconds=5)

THIS_MACHINE = (
    "127.0.0.1",
    "127.8.9.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.0.0.0x1",
    "0",
    "0.0.0.0",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "localhost",
    "LocalHost.",
    "a.localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
)
ELSEWHERE = (
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "3232235777",
    "[fd12:3456::1]",
    "[fec0::1]",
    "[::ffff:192.168.0.1]",
    "169.254.169.254",
    "0xa9fea9fe",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "metadata.google.internal",
    "224.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
)


@pytest.mark.parametrize("host", [*THIS_MACHINE, *ELSEWHERE])
def test_a_public_catalog_leads_to_public_hosts_only(host: str) -> None:
    for address in (f"http://{host}/x.tif", f"https://user@{host}:8443/x.tif", f"HTTP://{host}"):
        with pytest.raises(OutsideZone, match="item a points to") as raised:
            PUBLIC.check(address, "item a")
        assert raised.value.reason is Reason.OUTSIDE_ZONE
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("host", THIS_MACHINE)
def test_a_catalog_on_this_machine_may_lead_there(host: str) -> None:
    for own in ("http://127.0.0.1:8000/", "http://localhost:8000/", "http://[::1]/catalog.json"):
        assert Zone(own).refusal(f"http://{host}:9000/x.tif") is None


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_catalog_on_this_machine_leads_nowhere_else(host: str) -> None:
    assert Zone("http://127.0.0.1:8000/").refusal(f"http://{host}/x.tif") is not None


def test_a_catalog_in_a_private_network_may_lead_there_and_not_to_others() -> None:
    zone = Zone("http://10.0.0.5/stac")
    assert zone.refusal("http://192.168.4.4/x.tif") is None
    assert zone.refusal("http://stac.example.org/x.tif") is None
    for host in ("127.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "224.0.0.1"):
        assert zone.refusal(f"http://{host}/x.tif") is not None


def test_a_link_local_catalog_leads_to_its_own_host_only() -> None:
    zone = Zone("http://169.254.7.7/stac")
    assert zone.refusal("http://169.254.7.7:81/x.tif") is None
    assert zone.refusal("http://169.254.169.254/latest/meta-data") is not None


@pytest.mark.parametrize(
    "href",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "/vsicurl/http://127.0.0.1/x.tif",
        "/dev/zero",
        "gs://bucket/x.tif",
        "ftp://example.org/x.tif",
        "javascript:alert(1)",
        "data:text/plain,x",
        "http:///x.tif",
        "http://[::1/x.tif",
        "http://example.org\\@127.0.0.1/x.tif",
        "http://exam\tple.org/x.tif",
    ],
)
@pytest.mark.parametrize("catalog", ["https://93.184.215.14/stac", "s3://bucket/catalog.json"])
def test_a_remote_catalog_leads_to_no_file_and_no_other_kind(catalog: str, href: str) -> None:
    assert Zone(catalog).refusal(href) is not None
    if href.startswith(("/", "file")):  # not even where it is trusted
        assert Zone(catalog, trusted=True).refusal(href) is not None


@pytest.mark.parametrize(
    "href", ["s3://other/x.tif", "https://other.example.org/x.tif", "http://93.184.216.34/my x.tif"]
)
@pytest.mark.parametrize("catalog", ["https://example.org/stac", "s3://bucket/c.json", "/data"])
def test_every_catalog_may_lead_to_the_internet(catalog: str, href: str) -> None:
    assert Zone(catalog).refusal(href) is None


def test_an_s3_server_of_ones_own_is_where_its_catalogs_lie() -> None:
    here = Zone("s3://bucket/catalog.json", endpoint="http://127.0.0.1:9000")
    assert here.refusal("http://127.0.0.1:9000/bucket/x.tif") is None
    assert Zone("s3://bucket/catalog.json").refusal("http://127.0.0.1:9000/x.tif") is not None


def test_a_local_catalog_leads_into_its_folder(tmp_path: Path) -> None:
    folder, secret = tmp_path / "catalog", tmp_path / "secret.tif"
    folder.mkdir()
    secret.write_bytes(b"")
    (folder / "inside.tif").write_bytes(b"")
    (folder / "catalog.json").write_bytes(b"{}")
    (folder / "link.tif").symlink_to(secret)
    (folder / "near.tif").symlink_to(folder / "inside.tif")
    (tmp_path / "catalog2").mkdir()
    for catalog in (folder, folder / "catalog.json", f"file://{folder}"):
        zone = Zone(str(catalog))
        assert zone.refusal(f"{folder}/inside.tif") is None
        assert zone.refusal(f"{folder}/near.tif") is None
        assert zone.refusal(f"{folder}/not there.tif") is None
        for outside in ("../secret.tif", "link.tif", "../catalog2/x.tif", "\0"):
            assert zone.refusal(f"{folder}/{outside}") is not None
        assert zone.refusal("http://127.0.0.1/x.tif") is not None


def test_what_is_trusted_leads_anywhere_it_could_mean_well(tmp_path: Path) -> None:
    local = Zone(str(tmp_path), trusted=True)
    assert local.refusal("/elsewhere/x.tif") is None
    assert local.refusal("http://127.0.0.1/x.tif") is None
    assert local.refusal("gs://bucket/x.tif") is not None
    assert Zone("http://93.184.215.14", trusted=True).refusal("http://10.0.0.1/x.tif") is None


def test_what_the_user_names_is_trusted_and_its_neighbors_are_not() -> None:
    zone = QUICK.at(PUBLIC.catalog, ["/layers/slope.tif", "http://10.0.0.9/rain.tif"]).zone
    assert zone is not None
    assert zone.refusal("/layers/slope.tif") is None
    assert zone.refusal("http://10.0.0.9/rain.tif") is None
    assert zone.refusal("/layers/other.tif") is not None
    assert zone.refusal("http://10.0.0.9/admin") is not None
    assert zone.of("http://10.0.0.9/rain.tif").refusal("http://10.0.0.9/moved.tif") is None


def test_the_option_reaches_every_read_and_the_workers() -> None:
    site = open_site({"CROPMASK_TRUST_CATALOG": "1", "CROPMASK_CATALOG": "/data"})
    assert site.read.at("/data").zone_of("/x.tif").refusal("/x.tif") is None
    assert site.worker_environment()["CROPMASK_TRUST_CATALOG"] == "1"
    site = open_site({"CROPMASK_CATALOG": "/data"})
    assert site.read.at("/data").zone_of("/x.tif").refusal("/x.tif") is not None
    assert site.read.zone_of("/x.tif").refusal("/x.tif") is None  # named by the user
    assert "CROPMASK_TRUST_CATALOG" not in site.worker_environment()


def answering(answers: dict[str, list[str]]) -> Any:
    """A name server that gives the first answers first, and then goes on with the last."""
    real = socket.getaddrinfo

    def ask(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in answers:
            return real(host, port, *args, **kwargs)
        found = answers[host]
        address = found.pop(0) if len(found) > 1 else found[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0))]

    return ask


def test_a_name_that_leads_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering({"evil.example.org": ["127.0.0.1"]}))
    match = "evil.example.org, which is at 127.0.0.1"
    with watch_port() as canary, pytest.raises(OutsideZone, match=match):
        load_bytes(f"http://evil.example.org:{canary.port}/x", QUICK.at(PUBLIC.catalog))
    assert canary.connections == 0


def test_a_name_that_leads_elsewhere_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"evil.example.org": ["93.184.216.34", "127.0.0.1"]}
    monkeypatch.setattr(socket, "getaddrinfo", answering(answers))
    with watch_port() as canary, pytest.raises(OutsideZone, match=r"at 127.0.0.1"):
        load_bytes(f"http://evil.example.org:{canary.port}/x", QUICK.at(PUBLIC.catalog))
    assert canary.received == b""


def test_a_catalog_that_moves_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"moving.example.org": ["93.184.216.34", "127.0.0.1"]}
    monkeypatch.setattr(socket, "getaddrinfo", answering(answers))
    options = QUICK.at("http://moving.example.org/catalog.json")
    assert options.zone is not None
    assert options.zone.refusal("http://127.0.0.1/") is not None
    with watch_port() as canary, pytest.raises(OutsideZone, match=r"has moved to 127.0.0.1"):
        load_bytes(f"http://moving.example.org:{canary.port}/x", options)
    assert canary.connections == 0


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "/../../../../etc/passwd",
        "ftp://example.org/x",
        "s3://bucket/x",
        "gopher://example.org/x",
        "http://169.254.169.254/latest/meta-data",
        "http://0xa9fea9fe/",
        "http://192.168.0.1/",
        "//10.0.0.1/x",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_stay_in_the_zone(target: str, status: int) -> None:
    with serve_answers({"/x": (status, {"Location": target}, b"")}) as url:
        with pytest.raises(Absent if target.startswith("/..") else OutsideZone) as raised:
            load_bytes(f"{url}/x", QUICK.at(url))
        assert "\n" not in str(raised.value)


def test_neighbors_of_what_the_user_names(canary: Canary) -> None:
    target = f"http://127.0.0.1:{canary.port}/secret"
    with serve_answers({"/x": (302, {"Location": target}, b"")}) as url, pytest.raises(OutsideZone):
        load_bytes(f"{url}/y", QUICK.at("http://10.0.0.5/stac", [f"{url}/x"]))
    assert canary.connections == 0


def test_behind_a_proxy_the_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_answers({"http://public.example.org/x": (200, {}, b"from the proxy")}) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        options = QUICK.at(PUBLIC.catalog)
        assert load_bytes("http://public.example.org/x", options) == b"from the proxy"
        for host in ("127.0.0.1", "localhost", "2130706433", "169.254.169.254"):
            with pytest.raises(OutsideZone):
                load_bytes(f"http://{host}/x", options)


@pytest.fixture
def canary() -> Any:
    with watch_port() as found:
        yield found
