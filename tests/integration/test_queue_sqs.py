"""The laws of queues on SQS (moto's server on loopback)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cropmask.io.queue import Queue, open_queue
from tests.clouds import make_queue, serve_aws, use_made_up_credentials
from tests.queues import QueueLaws


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
