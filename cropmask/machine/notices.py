"""Messages to people: by an SNS topic, or to nobody."""

from __future__ import annotations

import re
from typing import Final, Protocol

from cropmask.errors import Misconfigured, Reason
from cropmask.remote.aws import AwsClient, translate_aws_errors

_TOPIC: Final = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}")
_MAX_SUBJECT: Final = 99
"""Characters; SNS takes fewer than a hundred, ASCII only."""


class Notices(Protocol):
    """Tells people something."""

    def tell(self, subject: str, text: str) -> None:
        """Send one message.

        Raises Misconfigured if the place refuses, Interrupted if it fails.
        """
        ...


class NoNotices:
    """Tells nobody."""

    def tell(self, subject: str, text: str) -> None:
        """Send nothing."""


class SnsNotices:
    """Publishes to a topic of SNS, which sends mails or whatever its subscribers want.

    Raises Misconfigured if the address is no topic's.
    """

    def __init__(self, topic: str) -> None:
        match = _TOPIC.fullmatch(topic)
        if match is None:
            raise Misconfigured(
                f"'{topic}' is no topic of SNS: write it like "
                "arn:aws:sns:af-south-1:123456789012:cropmask-dev-alarms",
                reason=Reason.BAD_ADDRESS,
            )
        self._topic = topic
        self._aws = AwsClient("sns", topic, region_name=match["region"])

    def tell(self, subject: str, text: str) -> None:
        """Publish one message."""
        plain = subject.encode("ascii", "replace").decode()[:_MAX_SUBJECT]
        with translate_aws_errors(self._topic):
            self._aws.open().publish(TopicArn=self._topic, Subject=plain, Message=text)


def open_notices(topic: str | None) -> Notices:
    """Messages to a topic; without one nobody is told."""
    return SnsNotices(topic) if topic else NoNotices()
