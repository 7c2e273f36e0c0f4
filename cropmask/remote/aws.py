"""Clients of AWS, or of what stands in for it; what their failures mean, in one line each."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import boto3
from boto3.exceptions import Boto3Error
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 (botocore's name)
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from cropmask.contract import ENV_S3_UNSIGNED
from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason
from cropmask.remote.retries import count_of_client

ABSENT_CODES: Final = frozenset({"404", "NoSuchKey", "NotFound"})
"""What S3 says of a key that holds nothing; a bucket that does not exist is another matter."""
_TRANSIENT: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "OverLimit",
        "RequestThrottled",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
    }
)
_CREDENTIALS: Final = {
    "ExpiredToken": "the session token has expired: renew the credentials",
    "ExpiredTokenException": "the session token has expired: renew the credentials",
    "InvalidAccessKeyId": "the access key is unknown: check the credentials",
    "InvalidToken": "the session token is unknown: renew the credentials",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
    "InvalidClientTokenId": "the access key is unknown: check the credentials",
    "SignatureDoesNotMatch": "the secret key is wrong: check the credentials",
    "UnrecognizedClientException": "the access key is unknown: check the credentials",
}
ADVICE: Final = (
    "name a profile with AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
"""What to do where there are no credentials."""
PUBLIC_ADVICE: Final = f"{ENV_S3_UNSIGNED}=1 reads a public bucket without any"
LOST: Final = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    CredentialRetrievalError,
    MetadataRetrievalError,
)
"""Failures of the network, or of the service that hands out credentials."""

Special = Callable[[str, int], CropmaskError | None]
"""From error code and HTTP status to what it means for one service; None if nothing special."""


class AwsClient:
    """A boto3 client that is opened on first use and then shared by all threads."""

    def __init__(
        self,
        service: str,
        where: str,
        *,
        endpoint_url: str | None = None,
        attempts: int = 6,
        region_name: str | None = None,
        config: Mapping[str, Any] | None = None,
        may_lack_credentials: bool = False,
        prepare: Callable[[Any], None] = lambda _client: None,
    ) -> None:
        self._service = service
        self._may_lack_credentials = may_lack_credentials
        self._where = where
        self._prepare = prepare
        self._place = {"endpoint_url": endpoint_url, "region_name": region_name}
        self._settings = {
            "retries": {"mode": "standard", "total_max_attempts": attempts},
            "connect_timeout": 10,
            "read_timeout": 60,
            **(config or {}),
        }
        self._lock = threading.Lock()
        self._opened: Any = None

    def open(self) -> Any:  # noqa: ANN401 (boto3 makes its classes at run time)
        """The client.

        Raises Misconfigured if profile, region or endpoint cannot be used.
        """
        with self._lock:
            if self._opened is None:
                with translate_aws_errors(self._where):
                    session = boto3.session.Session()
                    config = Config(**self._settings)
                    if self._may_lack_credentials and session.get_credentials() is None:
                        config = config.merge(Config(signature_version=UNSIGNED))
                    client = session.client(self._service, **self._place, config=config)
                count_of_client(client)
                self._prepare(client)
                self._opened = client
            return self._opened


def make_s3_client(
    where: str,
    *,
    endpoint_url: str | None = None,
    region_name: str | None = None,
    unsigned: bool = False,
    may_lack_credentials: bool = False,
    requester_pays: bool = False,
    attempts: int = 6,
    config: Mapping[str, Any] | None = None,
) -> AwsClient:
    """Client of S3, or of an object store that speaks it; opened on first use.

    ``unsigned`` requests carry no credentials; with ``may_lack_credentials`` none do if there are
    none.
    """
    # Other object stores may not know AWS's newer checksum trailers.
    checksums = "when_required" if endpoint_url else "when_supported"
    settings = {
        "request_checksum_calculation": checksums,
        "response_checksum_validation": checksums,
        **({"s3": {"addressing_style": "path"}} if endpoint_url else {}),
        **({"signature_version": UNSIGNED} if unsigned else {}),
        **(config or {}),
    }
    return AwsClient(
        "s3",
        where,
        endpoint_url=endpoint_url,
        region_name=region_name,
        attempts=attempts,
        config=settings,
        may_lack_credentials=may_lack_credentials,
        prepare=_pay_requests if requester_pays else lambda _client: None,
    )


def _pay_requests(client: Any) -> None:  # noqa: ANN401 (boto3 makes its classes at run time)
    """Agree to pay in every request that can say so."""

    def agree(params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401
        if "RequestPayer" in model.input_shape.members:
            params["RequestPayer"] = "requester"

    client.meta.events.register("before-parameter-build.s3", agree)


@contextlib.contextmanager
def translate_aws_errors(
    where: str,
    advice: Mapping[str, str] | None = None,
    special: Special = lambda _code, _status: None,
) -> Iterator[None]:
    """Turn what boto3 raises into one line of ours.

    Raises Misconfigured if the service refuses, or no request could be made; Interrupted if the
    connection was lost or the server failed.
    """
    try:
        yield
    except ClientError as error:
        raise _translate_answer(where, error, {**_CREDENTIALS, **(advice or {})}, special) from None
    except LOST as error:
        raise Interrupted(f"{where}: {error}: run again", reason=Reason.UNREACHABLE) from None
    except (BotoCoreError, Boto3Error, ValueError) as error:
        raise _translate_refusal(where, error) from None


def _translate_refusal(where: str, error: Exception) -> Misconfigured:
    """What is wrong before any request is made: credentials, profile, region, endpoint."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        public = f"; {PUBLIC_ADVICE}" if where.startswith("s3://") else ""
        said = "" if isinstance(error, NoCredentialsError) else f" ({error})"
        return Misconfigured(
            f"{where}: there are no AWS credentials{said}: {ADVICE}{public}",
            reason=Reason.ACCESS_DENIED,
        )
    said = str(error).removesuffix(".")
    if isinstance(error, ProfileNotFound):
        advice = "correct AWS_PROFILE; 'aws configure list-profiles' shows what there is"
        return Misconfigured(f"{where}: {said}: {advice}", reason=Reason.ACCESS_DENIED)
    if isinstance(error, SSOError | TokenRetrievalError):
        advice = "log in again with 'aws sso login'"
        return Misconfigured(f"{where}: {said}: {advice}", reason=Reason.ACCESS_DENIED)
    advice = ": set AWS_REGION" if isinstance(error, NoRegionError) else ""
    return Misconfigured(f"{where}: {said}{advice}")


def _translate_answer(
    where: str, error: ClientError, advice: Mapping[str, str], special: Special
) -> CropmaskError:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # Codes of SQS come with the service's name or without it.
    code = str(error.response.get("Error", {}).get("Code", status)).rpartition(".")[2]
    said = error.response.get("Error", {}).get("Message", "")
    if code in advice:
        return Misconfigured(f"{where}: {advice[code]}")
    known = special(code, status)
    if known is not None:
        return known
    if status >= 500 or status in (0, 408, 409, 429) or code in _TRANSIENT:
        return Interrupted(
            f"{where}: the server answers {status} {code}: run again", reason=Reason.UNREACHABLE
        )
    return Misconfigured(f"{where}: the server answers {status} {code}: {said}")
