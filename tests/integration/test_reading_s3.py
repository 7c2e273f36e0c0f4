"""Items and rasters in S3, on a stand-in server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import shapely
from botocore.exceptions import FlexibleChecksumError
from botocore.response import StreamingBody
from moto.server import ThreadedMotoServer

from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.grid import geobox
from cropmask.pixels.layers import open_layers
from cropmask.region.region import Ancillary, Limits
from cropmask.remote.fetch import ReadOptions, find_identity, load_bytes
from cropmask.sources.search import find_sources
from tests.servers import find_size
from tests.worlds import TILE, YEAR, World, make_world

BOX = geobox(TILE)[1000:1096, 2000:2128]
COARSE = geobox(TILE, 60)[160:190, 330:360]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def options(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ReadOptions:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return ReadOptions(
        s3_endpoint=endpoint, s3_region="af-south-1", retries=1, retry_delay_seconds=0.01
    )


@pytest.fixture(scope="module")
def made(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("s3") / "w", offset=(1000, 2000))
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="af-south-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(
        Bucket="world", CreateBucketConfiguration={"LocationConstraint": "af-south-1"}
    )
    for path in world.folder.rglob("*"):
        if path.is_file():
            key = str(path.relative_to(world.folder))
            client.upload_file(str(path), "world", key, ExtraArgs={"ACL": "public-read"})
    return world


def in_s3(world: World) -> Ancillary:
    return Ancillary(
        **{
            name: f"s3://world/{Path(path).relative_to(world.folder)}"
            for name, path in world.ancillary.model_dump().items()
        }
    )


CATALOGS = [
    "s3://world/catalog.json",
    "s3://world/gm_s2_semiannual/collection.json",
    "s3://world/gm_s2_semiannual/",
    "s3://world/gm_s2_semiannual",
    "s3://world",
]


@pytest.mark.parametrize("catalog", CATALOGS)
def test_every_kind_of_catalog(made: World, options: ReadOptions, catalog: str):
    sources = find_sources(catalog, TILE, YEAR, in_s3(made), options=options)
    href = sources.second.bands["bcdev"].href
    assert href.startswith("s3://world/gm_s2_semiannual/x215/y075/2019-07--P6M/")
    assert href.endswith("_BCMAD.tif")


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("box", [BOX, COARSE], ids=["own grid", "resampled"])
def test_reading(
    made: World,
    options: ReadOptions,
    box: Any,
    unsigned: bool,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
):
    if unsigned:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        options = ReadOptions(s3_endpoint=endpoint, s3_region="af-south-1", s3_unsigned=True)
    sources = find_sources(CATALOGS[0], TILE, YEAR, in_s3(made), options=options)
    local = find_sources(str(made.catalog), TILE, YEAR, made.ancillary)
    boundary, limits = shapely.box(*box.boundingbox.bbox), Limits(min_coverage_percent=0)
    strips = []
    for each in (sources, local):
        with open_layers(each, box, boundary=boundary, limits=limits) as layers:
            strips.append((next(layers.strips(box.shape.y)), layers.excluded()))
    (remote, remote_causes), (near, near_causes) = strips
    assert remote.first.reflectance.any()
    assert remote.first.reflectance.tobytes() == near.first.reflectance.tobytes()
    assert remote.second.deviation.tobytes() == near.second.deviation.tobytes()
    assert remote.rain.tobytes() == near.rain.tobytes()
    np.testing.assert_array_equal(remote_causes, near_causes)


def test_fingerprint_is_of_etags(made: World, options: ReadOptions):
    prints = find_sources(CATALOGS[0], TILE, YEAR, in_s3(made), options=options).fingerprint()
    assert len(prints) == 2 + 24 + 7
    assert prints["first/blue"].startswith("etag:")
    assert '"' not in prints["first/blue"]


def test_absent_denied_and_misnamed(made: World, options: ReadOptions):
    with pytest.raises(Rejected, match="s3://world/nothing does not exist"):
        load_bytes("s3://world/nothing", options)
    with pytest.raises(Rejected, match="does not exist"):
        find_identity("s3://world/nothing", options)
    with pytest.raises(Misconfigured, match="the bucket of s3://nowhere"):
        find_sources("s3://nowhere/catalog.json", TILE, YEAR, in_s3(made), options=options)
    with pytest.raises(Misconfigured, match=r"there is no catalog at s3://world/other\.json"):
        find_sources("s3://world/other.json", TILE, YEAR, in_s3(made), options=options)
    assert load_bytes("s3://world/catalog.json", options, span=(0, 1)) == b"{"


def test_raster_that_is_gone(made: World, options: ReadOptions):
    layers = in_s3(made).model_copy(update={"water": "s3://world/gone.tif"})
    sources = find_sources(CATALOGS[0], TILE, YEAR, layers, options=options)
    boundary, limits = shapely.box(*BOX.boundingbox.bbox), Limits(min_coverage_percent=0)
    with open_layers(sources, BOX, boundary=boundary, limits=limits) as opened:
        assert opened.not_applied == {"water": "s3://world/gone.tif does not exist"}
    wrong = layers.model_copy(update={"slope": "s3://world/gone.tif"})
    sources = find_sources(CATALOGS[0], TILE, YEAR, wrong, options=options)
    with pytest.raises(Misconfigured, match="'slope' is a feature"):
        open_layers(sources, BOX, boundary=boundary, limits=limits)


def test_no_credentials(
    made: World, options: ReadOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fresh = ReadOptions(s3_endpoint=options.s3_endpoint, s3_region="eu-west-1")
    with pytest.raises(Misconfigured, match="without AWS credentials"):
        find_sources(CATALOGS[0], TILE, YEAR, in_s3(made), options=fresh)


class Refusing(BaseHTTPRequestHandler):
    """An S3 that refuses every request with the code that the key names; a HEAD has no body."""

    def do_HEAD(self) -> None:
        self.refuse(b"")

    def do_GET(self) -> None:
        code = self.path.rpartition("/")[2].partition("?")[0]
        self.refuse(f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def refuse(self, body: bytes) -> None:
        self.send_response(400 if "Expired" in self.path else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDenied", Rejected),
        ("AllAccessDisabled", Rejected),
        ("ExpiredToken", Misconfigured),
        ("InvalidAccessKeyId", Misconfigured),
        ("InvalidToken", Misconfigured),
        ("RequestTimeTooSkewed", Misconfigured),
        ("SignatureDoesNotMatch", Misconfigured),
    ],
)
@pytest.mark.parametrize("find", [find_identity, find_size, load_bytes])
def test_one_object_denied_is_its_own_fault_and_bad_credentials_are_ours(
    options: ReadOptions, find: Callable[[str, ReadOptions], object], code: str, error: type
):
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(error):
            find(f"s3://world/{code}", replace(options, s3_endpoint=address))
        server.shutdown()


@pytest.mark.parametrize("href", ["s3://world", "s3://a b/key", "s3://arn:x/k"])
def test_what_is_no_address_is_the_fault_of_who_named_it(made: World, options: ReadOptions, href):
    with pytest.raises(Rejected, match="write it like s3://bucket/key"):
        load_bytes(href, options)


def test_an_answer_that_says_nothing_of_our_settings_may_pass(made: World, options: ReadOptions):
    with pytest.raises(Interrupted, match="try again later"):
        load_bytes("s3://world/catalog.json", options, span=(10**9, 5))  # 416


def test_a_body_that_is_damaged_on_the_way_is_read_again_later(
    made: World, options: ReadOptions, monkeypatch: pytest.MonkeyPatch
):
    def damaged(self: StreamingBody, amount: int | None = None) -> bytes:
        raise FlexibleChecksumError(error_msg="it differs")

    monkeypatch.setattr(StreamingBody, "read", damaged)
    with pytest.raises(Interrupted, match="broke off"):
        load_bytes("s3://world/catalog.json", options)
