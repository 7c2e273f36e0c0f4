"""How often this process has asked for something again; GDAL's own retries inside it excepted."""

from __future__ import annotations

import threading
from typing import Any, Final, Self

from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

LONGEST_WAIT_SECONDS: Final = 60.0
"""Longest wait before another try, whatever ``Retry-After`` says."""

_lock = threading.Lock()
_counted = 0


def count_retries(number: int = 1) -> None:
    """Count requests that were made again."""
    global _counted
    with _lock:
        _counted += number


def find_retries() -> int:
    """Requests that were made again since the process began."""
    return _counted


class CountedRetry(Retry):
    """urllib3's policy, counted, and with a longest wait that a server may ask for."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds that a server asks to wait; None if it does not."""
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT_SECONDS)

    def increment(self, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 (urllib3's)
        """Policy for the next try; raises where there is none."""
        following = super().increment(*args, **kwargs)
        count_retries()
        return following


def count_of_client(client: Any) -> None:  # noqa: ANN401 (boto3 makes its classes at run time)
    """Count the retries of a boto3 client whose answer came in the end."""

    def count(parsed: dict[str, Any], **_: object) -> None:
        count_retries(int(parsed.get("ResponseMetadata", {}).get("RetryAttempts", 0)))

    client.meta.events.register("after-call", count)
