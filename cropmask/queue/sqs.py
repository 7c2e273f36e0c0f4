"""Tasks on SQS, or on a service that speaks it; see :mod:`cropmask.queue.protocol`."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from cropmask.contract import LONGEST_LEASE_SECONDS, POLL_SECONDS
from cropmask.errors import CropmaskError, LeaseLost, Misconfigured, Reason
from cropmask.queue.protocol import (
    MAX_ATTRIBUTES,
    Counts,
    DeadLetter,
    Lease,
    Message,
    QueueOptions,
    lease_ended,
    note,
)
from cropmask.remote.aws import AwsClient, translate_aws_errors

LAG_SECONDS: Final = 60.0
"""SQS promises its numbers to be right a minute after the last change."""
_BATCH: Final = 10
"""Entries of one request; SQS takes no more."""
_ROUNDS: Final = 4
"""How often entries are sent that SQS reports as failed."""
_ROUND_SECONDS: Final = 0.2
"""First wait between them; doubles."""
_MAX_BYTES: Final = 262_144
"""Size of a message that every queue takes: its body, and names, types and values of attributes."""
_HIDDEN_SECONDS: Final = 300
"""How long dead letters are hidden, unless they are shown before."""
_REASON: Final = "cropmask.reason"
_ERROR: Final = "cropmask.error"
_ADVICE: Final = {
    "NonExistentQueue": "the queue does not exist: check its address",
    "QueueDoesNotExist": "the queue does not exist: check its address",
    "AccessDenied": "access is denied: check the role's permissions on this queue",
    "AccessDeniedException": "access is denied: check the role's permissions on this queue",
}
_ENDED: Final = frozenset(
    {"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidIdFormat"}
)
_REGION: Final = re.compile(
    r"(?:.*\.)?(?:sqs|sqs-fips|queue)\.([a-z]{2}[a-z0-9-]+-\d)\.(?:vpce\.)?(?:amazonaws|api\.aws)"
)
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    """When a lease began, and when it ends, by this process's own clock."""

    began: float
    ends: float


class SqsQueue:
    """An SQS queue and its dead letters.

    The address says endpoint and region. Leases are timed here as well: SQS may answer
    "done" to the renewal of a lease that has ended, and do nothing.
    """

    def __init__(
        self, address: str, options: QueueOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parts = urlsplit(address)
        if not parts.netloc or len(parts.path.strip("/").split("/")) < 2:
            raise Misconfigured(
                f"'{address}' is not the URL of an SQS queue: "
                "write https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
            )
        self.address = address
        self.lag_seconds = LAG_SECONDS
        self._options = options
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()
        self._dead = options.dead_letters
        known = _REGION.match(parts.netloc)
        self._aws = AwsClient(
            "sqs",
            address,
            endpoint_url=options.endpoint_url or f"{parts.scheme}://{parts.netloc}",
            attempts=options.attempts,
            region_name=known[1] if known else None,
        )

    def send(self, messages: Sequence[Message]) -> int:
        """Send in batches of ten; entries that failed are sent again."""
        accepted = 0
        for batch in _cut(messages):
            try:
                sent = self._send_batch(batch)
            except CropmaskError as error:
                if not accepted:
                    raise
                log.warning("%s of %s messages were sent: %s", accepted, len(messages), error)
                return accepted
            accepted += sent
            if sent < len(batch):
                break
        return accepted

    def _send_batch(self, batch: Sequence[Message]) -> int:
        left = dict(enumerate(batch))
        for attempt in range(_ROUNDS):
            if attempt:
                time.sleep(_ROUND_SECONDS * 2 ** (attempt - 1))
            entries = [{"Id": str(at), **_body_of(message)} for at, message in left.items()]
            answer = self._call("send_message_batch", Entries=entries)
            failed = {int(entry["Id"]): entry for entry in answer.get("Failed", ())}
            left = {at: message for at, message in left.items() if at in failed}
            if not left:
                return len(batch)
            for at, entry in failed.items():
                why = f"{entry.get('Code')} {entry.get('Message', '')}"
                log.warning("%s: message %s was not accepted: %s", self.address, at, why)
            if all(entry.get("SenderFault") for entry in failed.values()):
                break
        return min(left)

    def lease(self, *, seconds: float, wait_seconds: float = 0) -> Lease | None:
        """Take a message; SQS itself moves those that were received too often."""
        until = self._clock() + wait_seconds
        while True:
            left = max(0.0, until - self._clock())
            found = self._receive(self.address, 1, seconds, min(left, POLL_SECONDS))
            if found:
                break
            if self._clock() >= until - 0.5:
                return None
        message = found[0]
        now = self._clock()
        receipt = str(message["ReceiptHandle"])
        with self._lock:
            # SQS ends every lease after twelve hours: older ones need not be remembered.
            old = now - LONGEST_LEASE_SECONDS
            self._held = {key: held for key, held in self._held.items() if held.began > old}
            self._held[receipt] = _Held(now, now + _whole(seconds))
        return Lease(
            Message(message["Body"], _attributes_of(message)),
            message["MessageId"],
            receipt,
            int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
        )

    def renew(self, lease: Lease, seconds: float) -> None:
        """Keep a message; at most twelve hours after it was received."""
        held = self._still_held(lease)
        now = self._clock()
        if held is None:
            self._change(lease, _whole(seconds))
            return
        # A second less than SQS would still take: its own clock began before the answer came.
        most = int(held.began + LONGEST_LEASE_SECONDS - now - 1)
        if most < 1:
            raise LeaseLost(
                f"message {lease.message_id} has been in flight for twelve hours, the most that "
                "SQS allows: split the task or give it more CPUs"
            )
        length = min(_whole(seconds), most)
        self._change(lease, length)
        with self._lock:
            self._held[lease.receipt] = _Held(held.began, now + length)

    def done(self, lease: Lease) -> None:
        """Delete a message; after the end of its lease SQS may keep it all the same."""
        # Whether or not SQS deletes it, no later call of ours may count on this lease.
        self._end(lease)
        with contextlib.suppress(LeaseLost):
            self._call("delete_message", ReceiptHandle=lease.receipt)

    def release(self, lease: Lease, delay_seconds: float = 0) -> None:
        """Change the visibility of a message, unless another worker may have it by now."""
        with contextlib.suppress(LeaseLost):
            held = self._still_held(lease)
            most = LONGEST_LEASE_SECONDS
            if held is not None:
                most = max(0, int(held.began + LONGEST_LEASE_SECONDS - self._clock() - 1))
            self._change(lease, min(_whole(delay_seconds, least=0), most))
        self._end(lease)

    def park(self, lease: Lease, reason: str, error: str) -> None:
        """Send a copy to the dead letters with the reason as an attribute, then delete."""
        self._still_held(lease)
        message = _annotated(lease.message, {_REASON: note(reason), _ERROR: note(error)})
        # In this order: a worker that dies between the two leaves the message twice, never nowhere.
        self._call("send_message", queue=self._dead_address(), **_body_of(message))
        self.done(lease)

    def counts(self) -> Counts:
        """SQS's own numbers, of the queue and of its dead letters."""
        visible, in_flight, delayed = self._numbers(self.address)
        return Counts(visible, in_flight, delayed, sum(self._numbers(self._dead_address())))

    def _numbers(self, queue: str) -> tuple[int, int, int]:
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        found = self._call("get_queue_attributes", queue=queue, AttributeNames=names)
        visible, in_flight, delayed = (int(found["Attributes"].get(name, 0)) for name in names)
        return visible, in_flight, delayed

    def dead_letters(self) -> Generator[DeadLetter, None, None]:
        """Receive dead letters until none is new; those that stay are shown again at the end."""
        queue = self._dead_address()
        seen: dict[str, str] = {}
        try:
            while True:
                found = self._receive(queue, _BATCH, _HIDDEN_SECONDS, 1)
                new = [message for message in found if message["MessageId"] not in seen]
                seen |= {message["MessageId"]: message["ReceiptHandle"] for message in found}
                if not new:
                    return
                yield from map(_letter_of, new)
        finally:
            self._show(queue, list(seen.values()))

    def redrive(self, letter: DeadLetter) -> None:
        """Send a copy to the queue, then delete the dead letter."""
        self._call("send_message", **_body_of(letter.message))
        self.discard(letter)

    def discard(self, letter: DeadLetter) -> None:
        """Delete a dead letter."""
        with contextlib.suppress(LeaseLost):
            self._call("delete_message", queue=self._dead_address(), ReceiptHandle=letter.receipt)

    def check(self) -> None:
        """Find the dead letters, then receive: one message may come one receive nearer to them."""
        self._numbers(self._dead_address())
        self._receive(self.address, 1, 0, 0)

    def _dead_address(self) -> str:
        if self._dead is None:
            self._dead = self._find_dead_letters()
        return self._dead

    def _find_dead_letters(self) -> str:
        named = "set CROPMASK_DEAD_LETTERS to the URL of the queue of its dead letters"
        try:
            found = self._call("get_queue_attributes", AttributeNames=["RedrivePolicy"])
            policy = json.loads(found.get("Attributes", {}).get("RedrivePolicy", "{}"))
            _, _, _, _, account, name = policy["deadLetterTargetArn"].split(":")
        except (KeyError, ValueError):
            raise Misconfigured(
                f"{self.address} has no dead letters: give it a redrive policy, or {named}",
                reason=Reason.NO_DEAD_LETTERS,
            ) from None
        place = {"QueueName": name, "QueueOwnerAWSAccountId": account}
        with _translate_sqs_errors(f"{name}, the dead letters of {self.address}"):
            return str(self._aws.open().get_queue_url(**place)["QueueUrl"])

    def _show(self, queue: str, receipts: Sequence[str]) -> None:
        """Make dead letters visible; those that are gone by now fail, which is no harm."""
        for batch in _cut(receipts):
            entries = [
                {"Id": str(at), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for at, receipt in enumerate(batch)
            ]
            self._call("change_message_visibility_batch", queue=queue, Entries=entries)

    def _receive(
        self, queue: str, most: int, seconds: float, wait_seconds: float
    ) -> list[dict[str, Any]]:
        answer = self._call(
            "receive_message",
            queue=queue,
            MaxNumberOfMessages=most,
            VisibilityTimeout=_whole(seconds, least=0),
            WaitTimeSeconds=math.ceil(wait_seconds),
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", ()))

    def _change(self, lease: Lease, seconds: int) -> None:
        self._call(
            "change_message_visibility", ReceiptHandle=lease.receipt, VisibilityTimeout=seconds
        )

    def _still_held(self, lease: Lease) -> _Held | None:
        """Times of a lease; None for one that another process took."""
        with self._lock:
            held = self._held.get(lease.receipt)
        if held is not None and self._clock() >= held.ends:
            raise lease_ended(lease)
        return held

    def _end(self, lease: Lease) -> None:
        """Count a lease as ended."""
        with self._lock:
            held = self._held.get(lease.receipt)
            if held is not None:
                self._held[lease.receipt] = _Held(held.began, held.began)

    def _call(self, name: str, *, queue: str | None = None, **request: Any) -> Any:  # noqa: ANN401
        address = queue or self.address
        with _translate_sqs_errors(address):
            return getattr(self._aws.open(), name)(QueueUrl=address, **request)


@contextlib.contextmanager
def _translate_sqs_errors(address: str) -> Iterator[None]:
    def special(code: str, _status: int) -> CropmaskError | None:
        if code in _ENDED:
            return LeaseLost(f"{address}: a lease has ended ({code}): another worker may have it")
        return None

    with translate_aws_errors(address, _ADVICE, special):
        yield


def _cut(sequence: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(sequence), _BATCH):
        yield sequence[start : start + _BATCH]


def _whole(seconds: float, *, least: int = 1) -> int:
    """Whole seconds, as SQS takes them, rounded up."""
    return max(least, min(math.ceil(seconds), LONGEST_LEASE_SECONDS))


def _body_of(message: Message) -> dict[str, Any]:
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in message.attributes.items()
    }
    return {"MessageBody": message.body, "MessageAttributes": attributes}


def _annotated(message: Message, notes: Mapping[str, str]) -> Message:
    """The message with as many of some attributes, the first ones first, as there is room for."""
    attributes = dict(message.attributes)
    free = _MAX_BYTES - len(message.body.encode()) - sum(map(_size_of, attributes.items()))
    for name, value in notes.items():
        free -= _size_of((name, value))
        if free >= 0 and len(attributes) < MAX_ATTRIBUTES + len(notes):
            attributes[name] = value
    return Message(message.body, attributes)


def _size_of(attribute: tuple[str, str]) -> int:
    return len("String") + sum(len(word.encode()) for word in attribute)


def _attributes_of(message: Mapping[str, Any]) -> dict[str, str]:
    """Attributes that are text; others are not ours."""
    found = message.get("MessageAttributes", {})
    return {name: value["StringValue"] for name, value in found.items() if "StringValue" in value}


def _letter_of(message: Mapping[str, Any]) -> DeadLetter:
    attributes = _attributes_of(message)
    reason = attributes.pop(_REASON, Reason.RECEIVES_USED_UP)
    error = attributes.pop(_ERROR, None)
    # SQS keeps the time at which a message was sent when it moves it.
    sent = int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000
    return DeadLetter(
        Message(message["Body"], attributes),
        message["MessageId"],
        message["ReceiptHandle"],
        reason,
        error,
        datetime.fromtimestamp(sent, UTC),
    )
