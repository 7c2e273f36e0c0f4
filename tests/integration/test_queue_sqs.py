"""The laws of queues on SQS (moto's server on loopback)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cropmask.errors import CropmaskError, Interrupted, LeaseLost, Misconfigured
from cropmask.queue import sqs
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Counts, Message, Queue, QueueOptions
from cropmask.queue.sqs import SqsQueue
from tests.clouds import make_queue, serve_aws, use_made_up_credentials
from tests.queues import QueueLaws, taken


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve_aws() as url:
        yield url


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_made_up_credentials(monkeypatch, tmp_path)


class TestSqs(QueueLaws):
    @pytest.fixture
    def queue(self, endpoint: str) -> Queue:
        return open_queue(make_queue(endpoint)[0])


class Clock:
    """A clock that a test may move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(address: str, **options: Any) -> SqsQueue:
    return SqsQueue(address, QueueOptions(**options), clock=Clock())


def client_of(queue: SqsQueue) -> Any:
    return queue._aws.open()


def test_batches_are_ten_and_failed_entries_are_sent_again(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened(make_queue(endpoint)[0])
    monkeypatch.setattr(sqs, "_ROUND_SECONDS", 0.01)
    send, sizes = client_of(queue).send_message_batch, []

    def flaky(**request: Any) -> Any:
        """Refuses every third entry of a batch the first time."""
        entries = request["Entries"]
        sizes.append(len(entries))
        refused = [entry for entry in entries if int(entry["Id"]) % 3 == 1 and len(entries) > 4]
        kept = [entry for entry in entries if entry not in refused]
        answer = send(**{**request, "Entries": kept})
        failed = [
            {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in refused
        ]
        return {**answer, "Failed": failed}

    monkeypatch.setattr(client_of(queue), "send_message_batch", flaky)
    assert queue.send([Message(str(number)) for number in range(25)]) == 25
    assert sizes == [10, 3, 10, 3, 5, 2]
    bodies = sorted(int(taken(queue).message.body) for _ in range(25))
    assert bodies == list(range(25))


@pytest.mark.parametrize(("sender_fault", "requests"), [(True, 2), (False, 5)])
def test_sending_stops_at_what_is_never_accepted(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, sender_fault: bool, requests: int
) -> None:
    queue = opened(make_queue(endpoint)[0])
    monkeypatch.setattr(sqs, "_ROUND_SECONDS", 0.001)
    send, seen = client_of(queue).send_message_batch, []

    def picky(**request: Any) -> Any:
        seen.append(request)
        refused = [entry for entry in request["Entries"] if entry["MessageBody"] == "13"]
        kept = [entry for entry in request["Entries"] if entry not in refused]
        answer = send(**{**request, "Entries": kept}) if kept else {}
        return {
            **answer,
            "Failed": [
                {"Id": entry["Id"], "SenderFault": sender_fault, "Code": "No"} for entry in refused
            ],
        }

    monkeypatch.setattr(client_of(queue), "send_message_batch", picky)
    assert queue.send([Message(str(number)) for number in range(30)]) == 13
    assert len(seen) == requests


def test_what_was_accepted_before_a_failure_is_counted(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened(make_queue(endpoint)[0])
    send = client_of(queue).send_message_batch

    def broken(**request: Any) -> Any:
        if request["Entries"][0]["MessageBody"] == "10":
            raise EndpointConnectionError(endpoint_url=endpoint)
        return send(**request)

    monkeypatch.setattr(client_of(queue), "send_message_batch", broken)
    messages = [Message(str(number)) for number in range(15)]
    assert queue.send(messages) == 10
    with pytest.raises(Interrupted, match="run again"):
        queue.send(messages[10:])


def test_redrive_deletes_only_what_was_accepted(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened(make_queue(endpoint)[0], attempts=1)
    queue.send([Message("a")])
    queue.park(taken(queue), "r", "e")
    (letter,) = queue.dead_letters()

    def broken(**request: Any) -> Any:
        raise EndpointConnectionError(endpoint_url=endpoint)

    with monkeypatch.context() as patch:
        patch.setattr(client_of(queue), "send_message", broken)
        with pytest.raises(Interrupted):
            queue.redrive(letter)
    assert queue.counts() == Counts(0, 0, 0, 1)
    (letter,) = queue.dead_letters()
    queue.redrive(letter)
    assert queue.counts() == Counts(1, 0, 0, 0)


def test_parking_deletes_only_what_was_accepted(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened(make_queue(endpoint)[0], attempts=1)
    queue.send([Message("a")])
    lease = taken(queue)

    def broken(**request: Any) -> Any:
        raise EndpointConnectionError(endpoint_url=endpoint)

    with monkeypatch.context() as patch:
        patch.setattr(client_of(queue), "send_message", broken)
        with pytest.raises(Interrupted):
            queue.park(lease, "r", "e")
    assert queue.counts() == Counts(0, 1, 0, 0)
    queue.park(lease, "r", "e")
    assert queue.counts() == Counts(0, 0, 0, 1)


def test_no_lease_is_longer_than_twelve_hours(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened(make_queue(endpoint)[0])
    clock, asked = Clock(), []
    queue._clock = clock
    queue.send([Message("a")])
    lease = taken(queue, 300)
    change = client_of(queue).change_message_visibility

    def remembered(**request: Any) -> Any:
        asked.append(request["VisibilityTimeout"])
        return change(**{**request, "VisibilityTimeout": min(300, asked[-1])})

    monkeypatch.setattr(client_of(queue), "change_message_visibility", remembered)
    for _ in range(43_200 // 250):
        clock.now += 250
        queue.renew(lease, 300)
    assert asked[:2] == [300, 300]
    assert asked[-1] == 43_200 - 172 * 250 - 1
    clock.now += asked[-1] - 0.5
    with pytest.raises(LeaseLost, match="twelve hours"):
        queue.renew(lease, 300)


def test_a_lease_that_ended_here_is_not_renewed_there(endpoint: str) -> None:
    """SQS may take a renewal long after the end; this process counts the seconds itself."""
    queue = opened(make_queue(endpoint)[0])
    clock = Clock()
    queue._clock = clock
    queue.send([Message("a")])
    lease = taken(queue, 300)
    clock.now += 300
    for touch in (lambda: queue.renew(lease, 300), lambda: queue.park(lease, "r", "e")):
        with pytest.raises(LeaseLost):
            touch()
    queue.release(lease)
    assert queue.counts() == Counts(0, 1, 0, 0), "releasing would take it from its new holder"


def test_messages_of_others(endpoint: str) -> None:
    queue = opened(make_queue(endpoint)[0])
    client_of(queue).send_message(
        QueueUrl=queue.address,
        MessageBody="by hand",
        MessageAttributes={
            **{f"n{k}": {"DataType": "String", "StringValue": "v"} for k in range(8)},
            "number": {"DataType": "Number", "StringValue": "7"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\0"},
        },
    )
    lease = taken(queue)
    assert lease.message.attributes == {**{f"n{k}": "v" for k in range(8)}, "number": "7"}
    queue.park(lease, "bad message", "no task")
    (letter,) = queue.dead_letters()
    assert letter.reason == "bad message", "the reason goes before the error where room is short"
    assert letter.message == lease.message


def test_dead_letters_by_name_or_by_policy(endpoint: str) -> None:
    address, dead = make_queue(endpoint)
    plain, _ = make_queue(endpoint)
    client: Any = boto3.client("sqs", endpoint_url=endpoint)
    client.set_queue_attributes(QueueUrl=plain, Attributes={"RedrivePolicy": ""})
    for touch in (
        lambda: opened(plain).counts(),
        lambda: opened(plain).check(),
        lambda: list(opened(plain).dead_letters()),
    ):
        with pytest.raises(Misconfigured, match=r"redrive policy.*CROPMASK_DEAD_LETTERS"):
            touch()
    named = opened(plain, dead_letters=dead)
    named.check()
    named.send([Message("a")])
    named.park(taken(named), "r", "e")
    assert [letter.reason for letter in opened(address).dead_letters()] == ["r"]


def test_refusals_and_failures(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = opened(f"{endpoint}/123456789012/nothing")
    with pytest.raises(Misconfigured, match="does not exist: check its address"):
        missing.send([Message("a")])
    with pytest.raises(Misconfigured, match="does not exist"):
        missing.check()
    closed = opened("http://127.0.0.1:9/123456789012/tasks", attempts=1)
    with pytest.raises(Interrupted, match="run again"):
        closed.lease(seconds=30)
    for bad in ("https://sqs.us-east-1.amazonaws.com", "https://x/only-a-name"):
        with pytest.raises(Misconfigured, match="URL of an SQS queue"):
            opened(bad)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Misconfigured, match="credentials"):
        opened(make_address(endpoint)).check()


def make_address(endpoint: str) -> str:
    return f"{endpoint}/123456789012/tasks"


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDeniedException", 400, Misconfigured),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, Misconfigured),
        ("UnrecognizedClientException", 400, Misconfigured),
        ("ExpiredTokenException", 400, Misconfigured),
        ("InvalidMessageContents", 400, Misconfigured),
        ("RequestThrottled", 400, Interrupted),
        ("OverLimit", 403, Interrupted),
        ("InternalError", 500, Interrupted),
        ("ServiceUnavailable", 503, Interrupted),
    ],
)
def test_what_answers_mean(
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    status: int,
    expected: type[CropmaskError],
) -> None:
    queue = opened(make_address(endpoint))

    def refuse(**request: Any) -> Any:
        raise ClientError(
            {
                "Error": {"Code": code, "Message": "told so"},
                "ResponseMetadata": {"HTTPStatusCode": status},
            },
            "ReceiveMessage",
        )

    monkeypatch.setattr(client_of(queue), "receive_message", refuse)
    with pytest.raises(expected) as caught:
        queue.lease(seconds=30)
    assert type(caught.value) is expected
    assert queue.address in str(caught.value)


@pytest.mark.parametrize(
    ("address", "region"),
    [
        ("https://sqs.af-south-1.amazonaws.com/123456789012/tasks", "af-south-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/tasks", "cn-north-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/tasks", "us-east-1"),
        ("https://vpce-1-x.sqs.af-south-1.vpce.amazonaws.com/123456789012/tasks", "af-south-1"),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/tasks", "us-gov-west-1"),
    ],
)
def test_the_address_says_the_aws_region(address: str, region: str) -> None:
    client = client_of(opened(address))
    assert client.meta.region_name == region
    assert client.meta.endpoint_url == address.rpartition("/123456789012")[0]


@pytest.mark.parametrize(
    ("free", "reason", "error"),
    [
        (0, "receives used up", None),
        (60, "bad message", None),
        (200, "bad message", "the message is not a task"),
    ],
)
def test_a_message_of_256_kb_is_parked_with_what_there_is_room_for(
    endpoint: str, free: int, reason: str, error: str | None
) -> None:
    queue = opened(make_queue(endpoint)[0])
    assert queue.send([Message("x" * (262_144 - free))]) == 1
    lease = taken(queue)
    queue.park(lease, "bad message", "the message is not a task")
    (letter,) = queue.dead_letters()
    assert (letter.reason, letter.error) == (reason, error)
    assert queue.counts().waiting == 0
