"""Documents and identities of files behind paths, http(s) and s3 addresses.

Only 404 means absent. What is wrong with an address is the fault of whoever names it (Rejected);
credentials that no address would accept are the fault of the site (Misconfigured); the rest may
pass.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn, Self
from urllib.parse import urlsplit

import requests
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointProviderError,
    InvalidDNSNameError,
    InvalidHostLabelError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    UnsupportedOutpostResourceError,
    UnsupportedS3AccesspointConfigurationError,
    UnsupportedS3ArnError,
    UnsupportedS3ConfigurationError,
)
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from cropmask.contract import ENV_S3_UNSIGNED
from cropmask.errors import CropmaskError, Interrupted, Reason, Rejected, blame_configuration
from cropmask.remote.address import is_remote
from cropmask.remote.aws import (
    ABSENT_CODES,
    ADVICE,
    PUBLIC_ADVICE,
    AwsClient,
    make_s3_client,
    translate_aws_errors,
)
from cropmask.remote.body import read_body
from cropmask.remote.limits import (
    USUAL_LIMITS,
    OutOfTime,
    OverLimit,
    ReadLimits,
    parse_json,
)
from cropmask.remote.retries import CountedRetry
from cropmask.remote.session import Deadline, drain, make_session, within
from cropmask.remote.zones import OutsideZone, Zone

PASSING: Final = (429, 500, 502, 503, 504)
"""Statuses of a server that may do better in a moment."""
_DENIED: Final = frozenset({"401", "403", "AccessDenied", "AllAccessDisabled"})
_NO_S3_ADDRESS: Final = (
    EndpointProviderError,
    InvalidDNSNameError,
    InvalidHostLabelError,
    InvalidRegionError,
    ParamValidationError,
    UnsupportedOutpostResourceError,
    UnsupportedS3AccesspointConfigurationError,
    UnsupportedS3ArnError,
    UnsupportedS3ConfigurationError,
)
"""What botocore says of bucket names that it can ask nobody for."""
_NO_FILE: Final = frozenset({errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL})
EDGE_BYTES: Final = 64 * 1024
"""Bytes of both ends of a file that stand for its identity, and of the head that comes at once."""
_PART: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_SHOWN_BYTES: Final = 1000
"""Of the text of a refusal, packed ones included."""


class Verify(StrEnum):
    """Which files are compared with the checksums that their items declare."""

    NONE = "0"
    READ = "1"
    """Local files, and remote ones that are read whole."""
    ALL = "all"
    """All, so that remote ones are fetched whole however little of them is read."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the outer world is read: credentials, patience, memory."""

    s3_endpoint: str | None = None
    """Address of an S3 server other than AWS, such as ``http://127.0.0.1:9000``."""
    s3_region: str | None = None
    s3_unsigned: bool = False
    """Whether requests carry no credentials, as public buckets want it."""
    s3_requester_pays: bool = False
    threads: int = 8
    """Rasters read at the same time."""
    cache_mb: int = 64
    """GDAL's block cache, megabytes."""
    retries: int = 4
    """Further tries after an answer that may pass."""
    retry_delay_seconds: float = 0.5
    """Wait before the first further try; it doubles from try to try."""
    timeout_seconds: float = 60.0
    verify: Verify = Verify.READ
    """Which GeoMAD files are compared with the checksums that their items declare."""
    strict: bool = False
    """Whether several versions of an input are refused, instead of using the newest."""
    limits: ReadLimits = USUAL_LIMITS
    """On what is read of others."""
    trust_catalog: bool = False
    """Whether a local catalog may point to any file, and any catalog to any address."""
    zone: Zone | None = None
    """What a catalog may lead to; by default what an address itself may, so that such options are
    for what the user names, and for nothing that a document says."""

    def at(self, catalog: str, named: Iterable[str] = ()) -> Self:
        """The same options for what a catalog points to, and for what the user names beside it."""
        zone = Zone(catalog, self.s3_endpoint, self.trust_catalog, frozenset(named))
        return replace(self, zone=zone)

    def zone_of(self, href: str) -> Zone:
        """The zone in which to read an address."""
        zone = self.zone or Zone(href, self.s3_endpoint, self.trust_catalog)
        return zone.of(href)


class Absent(Rejected):
    """There is nothing at an address: the only meaning of 404 and NoSuchKey."""


class BeyondEnd(Interrupted):
    """A file ends before the bytes that are asked for."""

    usual = Reason.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Body:
    """An answer whose bytes are still to be read."""

    start: int
    """Where in the file its first byte is: 0 if the server knows no ranges."""
    length: int | None
    """Its bytes; None if the server does not say."""
    size: int | None
    """Bytes of the whole file."""
    version: str
    """What changes with the file: its ETag, else its date; empty if the server tells neither."""
    read: Callable[[int], bytes]
    """Next bytes, at most so many; none at the end. Raises Interrupted if they do not come."""


def retry_policy(options: ReadOptions) -> Retry:
    """Patience with a busy server: backoff, ``Retry-After`` respected, last answer returned."""
    return CountedRetry(
        total=options.retries,
        backoff_factor=options.retry_delay_seconds,
        status_forcelist=PASSING,
        allowed_methods=None,  # searches by POST change nothing
        raise_on_status=False,
    )


def session_for(href: str, options: ReadOptions) -> requests.Session:
    """Shared session for an http(s) address: it goes nowhere outside of the address's zone."""
    return _session(replace(options, zone=options.zone_of(href)))


@lru_cache(maxsize=32)
def _session(options: ReadOptions) -> requests.Session:
    assert options.zone is not None
    return make_session(options.zone, retry_policy(options), options.threads)


@lru_cache(maxsize=8)
def _s3(options: ReadOptions) -> AwsClient:
    return make_s3_client(
        "s3",
        endpoint_url=options.s3_endpoint,
        region_name=options.s3_region,
        unsigned=options.s3_unsigned,
        requester_pays=options.s3_requester_pays,
        attempts=options.retries + 1,
        config={
            "connect_timeout": min(options.timeout_seconds, 10),
            "read_timeout": options.timeout_seconds,
            "max_pool_connections": max(options.threads, 10),
        },
    )


# A forked child must not talk over its parent's connections.
os.register_at_fork(after_in_child=_session.cache_clear)
os.register_at_fork(after_in_child=_s3.cache_clear)


def load_bytes(
    href: str,
    options: ReadOptions,
    *,
    span: tuple[int, int] | None = None,
    limit: str | None = None,
) -> bytes:
    """Content of a file.

    Parameters
    ----------
    href
        Path, http(s) or s3 address.
    options
        Credentials, patience, zone and limits.
    span
        First byte and number of bytes, instead of all.
    limit
        Name of the limit on the bytes of all; default ``file_bytes``.

    Raises
    ------
    Absent
        If there is no such file.
    Rejected
        If access to it is denied, it is no file, or it exceeds a limit.
    Misconfigured
        If there are no credentials, or nobody accepts them.
    Interrupted
        If it cannot be read now.
    """
    most = span[1] if span else getattr(options.limits, limit or "file_bytes")
    if href.startswith("s3://"):
        content = _load_s3(href, options, span, most)
    elif is_remote(href):
        content = _load_http(href, options, span, most)
    else:
        content = _load_local(href, options, span, most)
    if span is None and len(content) > most:
        raise OverLimit(options.limits.tell(limit or "file_bytes", href))
    return content


def _load_s3(href: str, options: ReadOptions, span: tuple[int, int] | None, most: int) -> bytes:
    answer = _s3_call("get_object", href, options, **({"Range": _range(span)} if span else {}))
    with contextlib.closing(answer["Body"]) as body:
        try:
            return read_body(body.read, answer.get("ContentEncoding", ""), most, href)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise Interrupted(f"{href} broke off: {error}", reason=Reason.UNREACHABLE) from error


def _load_http(href: str, options: ReadOptions, span: tuple[int, int] | None, most: int) -> bytes:
    if span is None:
        return ask("GET", href, options, most=most).content
    headers = {"Range": _range(span), "Accept-Encoding": "identity"}
    answer = ask("GET", href, options, most=sum(span), headers=headers)
    is_whole = answer.status == 200  # of a server without ranges
    return answer.content[span[0] : sum(span)] if is_whole else answer.content[:most]


def _load_local(href: str, options: ReadOptions, span: tuple[int, int] | None, most: int) -> bytes:
    check_local(href, options)
    start, length = span or (0, most + 1)
    try:
        with Path(href).open("rb") as file:
            file.seek(start)
            # Asked for all at once, Python would reserve the limit itself, a gigabyte, at once.
            return read_body(file.read, "", length, href)[:length]
    except OSError as error:
        _translate_local_error(href, error)


def _range(span: tuple[int, int]) -> str:
    return f"bytes={span[0]}-{sum(span) - 1}"


def load_span(href: str, options: ReadOptions, start: int, count: int) -> bytes:
    """So many bytes of a file from a position on; raises as :func:`load_bytes`."""
    return load_bytes(href, options, span=(start, count))


@contextlib.contextmanager
def open_body(
    href: str, options: ReadOptions, span: tuple[int, int], version: str = ""
) -> Iterator[Body]:
    """A span of a remote file, to be read within the block.

    Address, options and span are those of :func:`load_bytes`; a server may answer with the whole
    file, or with less. A file that is another one by now than ``version``, which an answer said
    before, is not sent. Raises BeyondEnd if the file ends before the span; Interrupted also if it
    was replaced; else as :func:`load_bytes`.
    """
    if href.startswith("s3://"):
        extra = {"IfMatch": version} if version else {}
        answer = _s3_call("get_object", href, options, Range=_range(span), **extra)
        said = {
            "Content-Range": answer.get("ContentRange", ""),
            "Content-Length": str(answer["ContentLength"]),
            "ETag": answer["ETag"],
            "Content-Encoding": answer.get("ContentEncoding", ""),
        }
        with contextlib.closing(answer["Body"]) as body:
            yield _make_body(href, said, body.read)
        return
    # A weak tag says that a file means the same, not that its bytes are the same.
    same = {"If-Match": version} if version.startswith('"') else {}
    headers = {"Range": _range(span), "Accept-Encoding": "identity", **same}
    seconds = options.limits.seconds_for(span[1])
    with _answered("GET", href, options, seconds, headers) as (found, deadline):
        read = partial(found.raw.read, decode_content=False)
        made = _make_body(href, found.headers, read)
        if (made.length or 0) > span[1]:
            deadline.extend(options.limits.seconds_for(made.length or 0))
        yield made


def _make_body(href: str, said: Mapping[str, str], read: Callable[[int], bytes]) -> Body:
    packing = said.get("Content-Encoding", "").strip().lower()
    if packing not in ("", "identity", "binary", "aws-chunked"):
        raise Rejected(
            f"{href} comes packed as {packing}, so that no part of it can be read by itself: "
            "store it as it is",
            reason=Reason.BAD_ADDRESS,
        )

    def read_next(number: int) -> bytes:
        try:
            return read(number)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise Interrupted(
                f"{href} cannot be read to its end ({type(error).__name__}): try again later",
                reason=Reason.UNREACHABLE,
            ) from error

    part = _PART.fullmatch(said.get("Content-Range", ""))
    whole = _parse_length(said)
    start, stop, size = map(int, part.groups()) if part else (0, (whole or 0) - 1, whole)
    length = whole if part is None else stop + 1 - start
    return Body(start, length, size, said.get("ETag") or said.get("Last-Modified", ""), read_next)


def _parse_length(said: Mapping[str, str]) -> int | None:
    length = said.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None


def load_json(
    href: str, options: ReadOptions, count: Callable[[int], None] = lambda _bytes: None
) -> Any:  # noqa: ANN401 (any JSON value)
    """JSON value of a file; a bare NaN, as some servers write it, is accepted.

    ``count`` is told its bytes. Raises Rejected if the file is no JSON, or exceeds a limit.
    """
    content = load_bytes(href, options, limit="document_bytes")
    count(len(content))
    try:
        return parse_json(content, options.limits, href)
    except ValueError as error:
        why = "it is a web page or XML" if content.lstrip().startswith(b"<") else error
        raise Rejected(f"{href} is not JSON: {why}", reason=Reason.BAD_DOCUMENT) from None


def find_identity(href: str, options: ReadOptions) -> str:
    """What tells this content from any other, the same on every machine: never a time.

    The ETag of an object or page; else a hash of the size and of both ends of the file.
    """
    if href.startswith("s3://"):
        head = _s3_call("head_object", href, options)
        return "etag:" + str(head["ETag"]).strip('"')
    if is_remote(href):
        answer = ask("HEAD", href, options, most=0)
        if answer.headers.get("ETag"):
            return "etag:" + answer.headers["ETag"].removeprefix("W/").strip('"')
        size = answer.length or 0
    else:
        size = check_local(href, options).st_size
    return hash_ends(size, partial(load_span, href, options))


def hash_ends(size: int, read: Callable[[int, int], bytes]) -> str:
    """Identity of a file without an ETag; ``read`` gives so many of its bytes from a position."""
    digest = sha256(str(size).encode())
    digest.update(read(0, min(size, EDGE_BYTES)) if size else b"")
    if size > EDGE_BYTES:
        digest.update(read(size - EDGE_BYTES, EDGE_BYTES))
    return "ends:" + digest.hexdigest()


def find_names(prefix: str, options: ReadOptions, suffix: str) -> list[str]:
    """Addresses below a local folder or an ``s3://`` prefix that end with ``suffix``, sorted.

    Raises Misconfigured if it may not be listed: only the configuration names what is listed.
    """
    if not prefix.startswith("s3://"):
        return sorted(str(path) for path in Path(prefix).rglob(f"*{suffix}"))
    bucket, _, key = prefix.removeprefix("s3://").partition("/")
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        with blame_configuration():
            page = _s3_call("list_objects_v2", f"s3://{bucket}", options, Prefix=key, **token)
        names += [f"s3://{bucket}/{entry['Key']}" for entry in page.get("Contents", ())]
        if not page.get("IsTruncated"):
            return sorted(name for name in names if name.endswith(suffix))
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _advise_denied(href: str, *, unsigned: bool) -> str:
    """What to do where a server refuses to hand something out."""
    if not href.startswith("s3://"):
        return "it is asked for without credentials, so only what is public can be read"
    if unsigned:
        return f"it was asked for without credentials; {ENV_S3_UNSIGNED}=0 uses yours"
    return f"name another profile with AWS_PROFILE, or {PUBLIC_ADVICE}"


def translate_status(status: str, href: str, *, unsigned: bool = False) -> CropmaskError:
    """The error that an answer other than success stands for.

    ``unsigned`` says whether a request to S3 carried no credentials.
    """
    if status in ABSENT_CODES:
        return Absent(f"{href} does not exist", reason=Reason.ABSENT)
    if status == "NoSuchBucket":
        return Rejected(
            f"the bucket of {href} does not exist: check its name", reason=Reason.ABSENT
        )
    if status in ("416", "InvalidRange"):
        return BeyondEnd(f"{href} ends before the bytes that are asked for: try again later")
    if status in ("412", "PreconditionFailed"):
        return Interrupted(
            f"{href} was replaced while it was read: run again", reason=Reason.REPLACED_INPUT
        )
    if status in _DENIED:
        return Rejected(
            f"access to {href} is denied ({status}): {_advise_denied(href, unsigned=unsigned)}",
            reason=Reason.ACCESS_DENIED,
        )
    return Interrupted(
        f"{urlsplit(href).netloc} answered {status} for {href}: try again later",
        reason=Reason.UNREACHABLE,
    )


def check_local(href: str, options: ReadOptions) -> os.stat_result:
    """Facts of a local file in its zone; a pipe or a device would be read without end."""
    options.zone_of(href).check(href, "the catalog")
    try:
        facts = Path(href).stat()
        if stat.S_ISDIR(facts.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
    except OSError as error:
        _translate_local_error(href, error)
    except ValueError:
        raise Rejected(f"'{href}' is no path: correct it", reason=Reason.BAD_DOCUMENT) from None
    if not stat.S_ISREG(facts.st_mode):
        raise Rejected(
            f"{href} is not a file: a pipe or device cannot be read", reason=Reason.BAD_ADDRESS
        )
    return facts


def _translate_local_error(href: str, error: OSError) -> NoReturn:
    if re.match(r"^[A-Za-z0-9+]+://", href):
        raise Rejected(
            f"{href} cannot be read: give a path, or an http(s):// or s3:// address",
            reason=Reason.BAD_ADDRESS,
        ) from None
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        raise Absent(f"{href} does not exist", reason=Reason.ABSENT) from None
    if isinstance(error, PermissionError) or error.errno in _NO_FILE:
        raise Rejected(
            f"{href} cannot be read: {error.strerror}; check the path and its permissions",
            reason=Reason.BAD_ADDRESS if error.errno in _NO_FILE else Reason.ACCESS_DENIED,
        ) from None
    raise Interrupted(f"{href} cannot be read: {error}", reason=Reason.UNREADABLE_FILE) from error


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server answers."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def length(self) -> int | None:
        """Bytes that its header names; None if it names none."""
        return _parse_length(self.headers)


def ask(
    method: str,
    href: str,
    options: ReadOptions,
    *,
    most: int,
    headers: Mapping[str, str] | None = None,
    refuse: Callable[[int, str], CropmaskError] | None = None,
    **body: Any,  # noqa: ANN401 (requests')
) -> HttpAnswer:
    """Answer of a server with the content unpacked; what follows ``most`` bytes is cut off.

    ``refuse`` makes the error of a status other than success and of the beginning of its text;
    ``body`` is what requests takes: ``json``, ``params``. Raises what :func:`load_bytes` raises.
    """
    # A size is of the file, not of what a server makes of it on the way.
    headers = {**({"Accept-Encoding": "identity"} if method == "HEAD" else {}), **(headers or {})}
    seconds = options.limits.seconds_for(most)
    with _answered(method, href, options, seconds, headers, refuse, **body) as (answer, _):
        if method == "HEAD":
            drain(answer.raw)
            return HttpAnswer(answer.status_code, answer.headers, b"")
        packing = answer.headers.get("Content-Encoding", "")
        read = partial(answer.raw.read, decode_content=False)
        content = read_body(read, packing, most, href)
        return HttpAnswer(answer.status_code, answer.headers, content)


@contextlib.contextmanager
def _answered(
    method: str,
    href: str,
    options: ReadOptions,
    seconds: float,
    headers: Mapping[str, str],
    refuse: Callable[[int, str], CropmaskError] | None = None,
    **body: Any,  # noqa: ANN401 (requests')
) -> Iterator[tuple[requests.Response, Deadline]]:
    """A successful answer whose content is to be read within the block, and until when."""
    limits = options.limits
    refuse = refuse or (lambda status, _text: translate_status(str(status), href))
    timeout = (min(options.timeout_seconds, 10), options.timeout_seconds)
    with within(seconds) as deadline:
        try:
            with session_for(href, options).request(
                method, href, headers=headers, timeout=timeout, stream=True, **body
            ) as answer:
                if not answer.ok:
                    text = answer.raw.read(_SHOWN_BYTES, decode_content=False)
                    drain(answer.raw)
                    raise refuse(answer.status_code, text.decode(errors="replace"))
                yield answer, deadline
        except OutsideZone as error:
            raise OutsideZone(f"reading {href} leads to {error}") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError):
            raise Rejected(f"{href} is no address: correct it", reason=Reason.BAD_ADDRESS) from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Interrupted(
                f"{href} cannot be reached ({type(error).__name__}): check the address, "
                "or try again later",
                reason=Reason.UNREACHABLE,
            ) from error
        finally:
            if deadline.has_passed:  # whatever the connection made of it
                raise OutOfTime(limits.tell("body_seconds", href)) from None


def _s3_call(name: str, href: str, options: ReadOptions, **extra: str) -> Any:  # noqa: ANN401
    """Answer of S3 to a request about an address."""
    bucket, _, key = href.removeprefix("s3://").partition("/")
    arguments = {"Bucket": bucket, **({"Key": key} if key else {}), **extra}

    def special(code: str, _status: int) -> CropmaskError:
        # Whatever else an address is answered, another try may help: it says nothing of our
        # settings.
        return translate_status(code, href, unsigned=options.s3_unsigned)

    with translate_aws_errors(href, special=special):
        try:
            return getattr(_s3(options).open(), name)(**arguments)
        except ClientError:
            if name == "head_object":  # its answer has no room for a code: asked for a byte
                _s3_call("get_object", href, options, Range="bytes=0-0")["Body"].close()
            raise
        except NoCredentialsError:
            # Who was given none is meant to read no S3, or the catalog would have said so first.
            raise Rejected(
                f"{href} cannot be read without AWS credentials: {ADVICE}; {PUBLIC_ADVICE}",
                reason=Reason.ACCESS_DENIED,
            ) from None
        except _NO_S3_ADDRESS:
            raise Rejected(
                f"{href} is no S3 address: write it like s3://bucket/key",
                reason=Reason.BAD_ADDRESS,
            ) from None
