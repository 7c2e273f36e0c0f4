"""The queue in a folder keeps the laws."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmask.io.queue import Queue, open_queue
from tests.queues import QueueLaws


class TestFolder(QueueLaws):
    @pytest.fixture
    def queue(self, tmp_path: Path) -> Queue:
        return open_queue(str(tmp_path / "not" / "there" / "_queue"))
