"""Requests that are made again are counted, whoever makes them."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import QueueOptions
from cropmask.remote.fetch import ReadOptions, load_json
from cropmask.remote.retries import find_retries
from tests.clouds import make_queue, serve_aws, use_made_up_credentials
from tests.faults.flaky import Flaky, serve_flaky
from tests.servers import Fault, serve_files

OPTIONS = ReadOptions(retry_delay_seconds=0.01)


def test_http(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text("{}")
    with serve_files(tmp_path) as server:
        before = find_retries()
        load_json(f"{server.url}/catalog.json", OPTIONS)
        assert find_retries() == before
        server.faults.append(Fault("catalog.json", status=503, times=2))
        load_json(f"{server.url}/catalog.json", OPTIONS)
        assert find_retries() == before + 2


def test_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_up_credentials(monkeypatch, tmp_path)
    with serve_aws() as aws, serve_flaky(aws, refused=0.0, unheard=0.0) as proxy:
        address, dead = make_queue(aws)
        options = QueueOptions(endpoint_url=proxy.url, dead_letters=dead)
        queue = open_queue(f"{proxy.url}{urlsplit(address).path}", options)
        before = find_retries()
        queue.counts()
        assert find_retries() == before
        fail_once(proxy)
        queue.counts()
        assert find_retries() == before + 1


def fail_once(proxy: Flaky) -> None:
    """Have the next request answered 500."""
    lock = threading.Lock()
    left = [0.0]

    def draw() -> float:
        with lock:
            return left.pop() if left else 1.0

    proxy.draw = draw  # type: ignore[method-assign]
    proxy.refused = 0.5
