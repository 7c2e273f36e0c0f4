"""Results on S3, or on an object store that speaks it; see :mod:`cropmask.store.protocol`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import HTTPClientError, IncompleteReadError

from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason
from cropmask.remote.aws import ABSENT_CODES, make_s3_client, translate_aws_errors
from cropmask.remote.localfiles import translate_os_errors
from cropmask.store.protocol import Absent, Entry, StoreOptions, checked_key

_MULTIPART_BYTES: Final = 16 << 20
"""Files over this are sent in parts; three bands of a tile rarely are."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[\w:/-]+")
"""Names of buckets and of access points."""
_PAGE_KEYS: Final = 1000
_ADVICE: Final = {
    "NoSuchBucket": "the bucket does not exist: create it or name another",
    "AccessDenied": "access is denied: check the role's permissions on this bucket, or name "
    "another profile with AWS_PROFILE",
    "403": "access is denied (a key that is absent also looks like this without s3:ListBucket)",
    "AccessControlListNotSupported": "the bucket takes no ACL: leave the ACL option out",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
}
_RACE_ATTEMPTS: Final = 4

T = TypeVar("T")


class S3Store:
    """Results below a prefix of a bucket.

    Only 404 and NoSuchKey mean "absent": a refusal (403, no credentials, no such bucket) is
    :class:`~cropmask.errors.Misconfigured`; a server error or a lost connection, after retries
    with growing waits, is :class:`~cropmask.errors.Interrupted`.
    """

    def __init__(self, bucket: str, prefix: str, options: StoreOptions) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise Misconfigured(
                f"'{bucket}' is not the name of an S3 bucket: write s3://bucket/prefix"
            )
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self._options = options
        self._aws = make_s3_client(
            f"s3://{bucket}",
            endpoint_url=options.endpoint_url,
            may_lack_credentials=options.unsigned,
            requester_pays=options.requester_pays,
            attempts=options.attempts,
        )

    @property
    def _client(self) -> Any:  # noqa: ANN401 (boto3 makes its classes at run time)
        return self._aws.open()

    def _key(self, key: str) -> str:
        checked_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(key)}

    def _headers(self, content_type: str) -> dict[str, str]:
        acl = {"ACL": self._options.acl} if self._options.acl else {}
        return {"ContentType": content_type, **acl}

    def uri(self, key: str) -> str:
        """``s3://bucket/prefix/key``."""
        return f"s3://{self.bucket}/{self._key(key)}"

    def tool_environment(self) -> dict[str, str]:
        """Environment variables by which other programs reach the same object store."""
        endpoint = self._options.endpoint_url
        return {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        return self.find(key) is not None

    def find(self, key: str) -> Entry | None:
        """Size and ETag of an object."""
        try:
            head = self._call(key, lambda client: client.head_object(**self._where(key)))
        except Absent:
            return None
        return Entry(key, head["ContentLength"], head.get("ETag", "").strip('"'))

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """Content of an object; a body cut short is asked for again."""
        request = self._where(key)
        if span is not None:
            request["Range"] = f"bytes={span[0]}-{sum(span) - 1}"

        def read(client: Any) -> bytes:  # noqa: ANN401
            for _ in range(self._options.attempts - 1):
                with contextlib.suppress(IncompleteReadError, HTTPClientError):
                    return bytes(client.get_object(**request)["Body"].read())
            return bytes(client.get_object(**request)["Body"].read())

        return self._call(key, read)

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:
        """Write an object; a large file goes in parts and appears when the last has arrived."""
        headers = self._headers(content_type)
        if isinstance(source, bytes):
            self._call(key, lambda c: c.put_object(**self._where(key), **headers, Body=source))
            return
        config = TransferConfig(
            multipart_threshold=_MULTIPART_BYTES,
            multipart_chunksize=_MULTIPART_BYTES,
            max_concurrency=4,
        )
        with translate_os_errors(source, "read"), source.open("rb") as file:
            self._call(
                key,
                lambda client: client.upload_fileobj(
                    file, self.bucket, self._key(key), ExtraArgs=headers, Config=config
                ),
            )

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        """Write with ``If-None-Match: *``: of several writers exactly one gets True."""
        request = {**self._where(key), **self._headers(content_type), "IfNoneMatch": "*"}
        for _ in range(_RACE_ATTEMPTS):
            try:
                self._call(key, lambda client: client.put_object(**request, Body=data))
            except _Taken:
                return False
            except _Conflict:
                # Another write was under way: it may have won, or have been withdrawn.
                if self.exists(key):
                    return False
            else:
                return True
        raise Interrupted(f"{self.uri(key)} cannot be written: other writers hold it; run again")

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Objects by key, a page at a time."""
        for page in self._pages(prefix):
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._root)
                yield Entry(key, found["Size"], found["ETag"].strip('"'))

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Common prefixes of keys."""
        start = len(self._root + prefix)
        found = (page.get("CommonPrefixes", ()) for page in self._pages(prefix, Delimiter="/"))
        return tuple(sorted(entry["Prefix"][start:-1] for page in found for entry in page))

    @property
    def _root(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def _pages(self, prefix: str, **request: str) -> Iterator[dict[str, Any]]:
        request |= {"Bucket": self.bucket, "Prefix": self._root + prefix}
        with _translate_s3_errors(f"s3://{self.bucket}/{self._root}{prefix}"):
            yield from self._client.get_paginator("list_objects_v2").paginate(
                **request, PaginationConfig={"PageSize": _PAGE_KEYS}
            )

    def remove(self, key: str) -> None:
        """Delete an object."""
        with contextlib.suppress(Absent):
            self._call(key, lambda client: client.delete_object(**self._where(key)))

    def check_writable(self) -> None:
        """Write a small object and delete it."""
        key = ".cropmask-write-check"  # one name: what a killed process leaves, the next removes
        try:
            self.put(key, b"", "text/plain")
            self.remove(key)
        except Absent:
            raise Misconfigured(f"s3://{self.bucket}: {_ADVICE['NoSuchBucket']}") from None

    def _call(self, key: str, request: Callable[[Any], T]) -> T:
        with _translate_s3_errors(self.uri(key)):
            return request(self._client)


class _Taken(CropmaskError):
    """If-None-Match found an object (412)."""


class _Conflict(Interrupted):
    """A conditional write met another one (409)."""


@contextlib.contextmanager
def _translate_s3_errors(uri: str) -> Iterator[None]:
    """Turn what boto3 raises into one line of ours."""

    def special(code: str, status: int) -> CropmaskError | None:
        if code in ABSENT_CODES:
            return Absent(f"{uri} does not exist", reason=Reason.ABSENT)
        if status == 412:
            return _Taken(f"{uri} exists already")
        if status == 409 and code != "OperationAborted":
            return _Conflict(f"{uri} is being written by another")
        return None

    with translate_aws_errors(uri, _ADVICE, special):
        yield
