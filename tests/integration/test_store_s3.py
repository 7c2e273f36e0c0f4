"""The store contract on S3 (moto's server on loopback), and on servers that misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from botocore.httpsession import URLLib3Session

from cropmask.errors import CropmaskError, Interrupted, Misconfigured
from cropmask.remote.fetch import ReadOptions, find_names, load_bytes
from cropmask.store import s3
from cropmask.store.doors import open_store
from cropmask.store.protocol import Store, StoreOptions
from tests.clouds import serve_aws, use_made_up_credentials
from tests.servers import find_size
from tests.unit.store.test_store import TEXT, StoreContract

BUCKET = "stored"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve_aws() as url:
        yield url


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_made_up_credentials(monkeypatch, tmp_path)


@pytest.fixture
def client(endpoint: str) -> Iterator[Any]:
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=BUCKET)


class TestS3(StoreContract):
    @pytest.fixture
    def store(self, endpoint: str, client: Any) -> Store:
        return open_store(f"s3://{BUCKET}/some/prefix", StoreOptions(endpoint_url=endpoint))

    def test_prefix_content_type_and_acl(self, endpoint: str, client: Any, tmp_path: Path) -> None:
        options = StoreOptions(endpoint_url=endpoint, acl="public-read")
        store = open_store(f"s3://{BUCKET}/p", options)
        (tmp_path / "f").write_bytes(b"file")
        store.put("bytes", b"1", "application/json")
        store.put("file", tmp_path / "f", "image/png")
        store.put_if_absent("item", b"3", "application/geo+json")
        expected = {
            "bytes": "application/json",
            "file": "image/png",
            "item": "application/geo+json",
        }
        for key, content_type in expected.items():
            head = client.head_object(Bucket=BUCKET, Key=f"p/{key}")
            assert head["ContentType"] == content_type
            grants = client.get_object_acl(Bucket=BUCKET, Key=f"p/{key}")["Grants"]
            assert any("AllUsers" in grant["Grantee"].get("URI", "") for grant in grants)

    def test_large_file_goes_in_parts(self, store: Store, client: Any, tmp_path: Path) -> None:
        source = tmp_path / "large"
        source.write_bytes(bytes(range(256)) * (17 << 12))
        store.put("large", source, "image/tiff")
        head = client.head_object(Bucket=BUCKET, Key="some/prefix/large")
        assert head["ETag"].strip('"').endswith("-2")
        assert store.get("large") == source.read_bytes()

    def test_listing_turns_pages(
        self, store: Store, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3, "_PAGE_KEYS", 3)
        keys = [f"n/{number:02d}" for number in range(10)]
        for key in keys:
            store.put(key, b"", TEXT)
        client.put_object(Bucket=BUCKET, Key="some/prefixed", Body=b"")
        assert [entry.key for entry in store.list("n/")] == keys
        assert not [entry for entry in store.list() if "prefixed" in entry.key]

    def test_missing_bucket(self, endpoint: str) -> None:
        store = open_store("s3://nowhere", StoreOptions(endpoint_url=endpoint))
        for touch in (
            store.check_writable,
            lambda: store.put("a", b"", TEXT),
            lambda: store.get("a"),
            lambda: list(store.list()),
        ):
            with pytest.raises(Misconfigured, match="bucket does not exist"):
                touch()

    def test_no_credentials(self, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        store = open_store(f"s3://{BUCKET}", StoreOptions(endpoint_url=endpoint))
        with pytest.raises(Misconfigured, match="credentials"):
            store.check_writable()

    def test_without_credentials_it_says_what_to_do(
        self, endpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        store = open_store(f"s3://{BUCKET}", StoreOptions(endpoint_url=endpoint))
        with pytest.raises(Misconfigured) as caught:
            store.exists("a")
        said = str(caught.value)
        assert "AWS_PROFILE" in said
        assert "CROPMASK_S3_UNSIGNED=1 reads a public bucket" in said

    def test_credentials_are_used_where_there_are_some(self, endpoint: str, client: Any) -> None:
        options = StoreOptions(endpoint_url=endpoint, unsigned=True)
        signed: list[bool] = []
        store: Any = open_store(f"s3://{BUCKET}", options)
        store._client.meta.events.register(
            "before-send.s3", lambda request, **_: signed.append("Authorization" in request.headers)
        )
        store.put("b", b"1", "text/plain")
        assert signed == [True]

    def test_unsigned_needs_no_credentials(
        self, endpoint: str, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.put_object(Bucket=BUCKET, Key="a", Body=b"1", ACL="public-read")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        options = StoreOptions(endpoint_url=endpoint, unsigned=True)
        assert open_store(f"s3://{BUCKET}", options).get("a") == b"1"

    def test_unknown_profile_and_bad_endpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(Misconfigured, match="endpoint"):
            open_store("s3://b", StoreOptions(endpoint_url="not an address")).exists("a")
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(Misconfigured, match="profile"):
            open_store("s3://b").exists("a")


def test_every_request_agrees_to_pay_if_asked_to(
    endpoint: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payers: list[str] = []
    send = URLLib3Session.send

    def record(session: URLLib3Session, request: Any) -> Any:
        said = request.headers.get("x-amz-request-payer", "nobody")
        payers.append(said.decode() if isinstance(said, bytes) else said)
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", record)
    (tmp_path / "large").write_bytes(bytes(s3._MULTIPART_BYTES + 1))
    place = f"s3://{BUCKET}/p"

    def use(*, pays: bool) -> set[str]:
        payers.clear()
        store = open_store(place, StoreOptions(endpoint_url=endpoint, requester_pays=pays))
        store.put("bytes", b"1", TEXT)
        store.put("large", tmp_path / "large", TEXT)
        assert not store.put_if_absent("bytes", b"2", TEXT)
        assert store.exists("bytes")
        assert store.get("bytes") == b"1"
        assert [entry.key for entry in store.list()] == ["bytes", "large"]
        assert store.folders() == ()
        options = ReadOptions(s3_endpoint=endpoint, s3_requester_pays=pays)
        assert load_bytes(f"{place}/bytes", options) == b"1"
        assert find_size(f"{place}/bytes", options) == 1
        assert find_names(f"{place}/", options, "s") == [f"{place}/bytes"]
        store.remove("bytes")
        assert len(payers) >= 13
        return set(payers)

    assert use(pays=True) == {"requester"}
    assert use(pays=False) == {"nobody"}


class _Scripted(BaseHTTPRequestHandler):
    """Gives the answers of ``script`` one after another, the last one for ever."""

    script: ClassVar[list[tuple[int, str, bytes]]]
    served: ClassVar[list[str]]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        type(self).served.append(self.command)
        script = type(self).script
        status, code, body = script.pop(0) if len(script) > 1 else script[0]
        cut = code == "cut"
        if code and not cut:
            body = f"<Error><Code>{code}</Code><Message>told so</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + (5 if cut else 0)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_DELETE = _answer

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def scripted(*script: tuple[int, str, bytes]) -> Iterator[tuple[Store, list[str]]]:
    handler = type("Handler", (_Scripted,), {"script": list(script), "served": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield open_store("s3://b/p", StoreOptions(endpoint_url=address, attempts=2)), handler.served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error(status: int, code: str) -> tuple[int, str, bytes]:
    return status, code, b""


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (error(403, "AccessDenied"), Misconfigured, "permissions"),
        (error(403, "SignatureDoesNotMatch"), Misconfigured, "secret key"),
        (error(400, "ExpiredToken"), Misconfigured, "renew"),
        (error(400, "AccessControlListNotSupported"), Misconfigured, "ACL"),
        (error(400, "InvalidArgument"), Misconfigured, "told so"),
        (error(500, "InternalError"), Interrupted, "500 InternalError"),
        (error(503, "SlowDown"), Interrupted, "503 SlowDown"),
        (error(409, "OperationAborted"), Interrupted, "409"),
    ],
)
def test_only_404_is_absent(
    answer: tuple[int, str, bytes], kind: type[CropmaskError], says: str
) -> None:
    with scripted(answer) as (store, _):
        for touch in (lambda: store.get("a"), lambda: store.put("a", b"x", TEXT)):
            with pytest.raises(kind, match=says) as caught:
                touch()
            assert type(caught.value) is kind
            assert "\n" not in str(caught.value)
        with pytest.raises(kind):
            store.exists("a")
        with pytest.raises(kind):
            store.check_writable()


def test_retry_survives_one_503() -> None:
    with scripted(error(503, "SlowDown"), (200, "", b"whole")) as (store, served):
        assert store.get("a") == b"whole"
    assert served == ["GET", "GET"]


def test_body_cut_short_is_asked_for_again_and_never_returned() -> None:
    with scripted((200, "cut", b"ha"), (200, "", b"whole")) as (store, _):
        assert store.get("a") == b"whole"
    with scripted((200, "cut", b"ha")) as (store, _), pytest.raises(Interrupted):
        store.get("a")


def test_conflict_then_taken() -> None:
    conflict = error(409, "ConditionalRequestConflict")
    with scripted(conflict, (200, "", b"")) as (store, served):
        assert not store.put_if_absent("a", b"x", TEXT)
    assert served == ["PUT", "HEAD"]


def test_conflict_then_free() -> None:
    conflict = error(409, "ConditionalRequestConflict")
    with scripted(conflict, error(404, "NoSuchKey"), (200, "", b"")) as (store, served):
        assert store.put_if_absent("a", b"x", TEXT)
    assert served == ["PUT", "HEAD", "PUT"]


def test_nobody_listens() -> None:
    options = StoreOptions(endpoint_url="http://127.0.0.1:9", attempts=1)
    with pytest.raises(Interrupted, match="run again"):
        open_store("s3://b", options).exists("a")
