"""Three workers on one SQS queue that doubles messages, loses answers and takes leases back."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cropmask.contract import ExitCode
from cropmask.fleet.records import State
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Message, QueueOptions
from tests.clouds import make_queue, serve_aws, use_made_up_credentials
from tests.faults.flaky import serve_flaky
from tests.workerprocess import make_region_world, open_crew, send

TILES = 60
TWICE = 15
"""Tiles that are sent doubly: what a queue that delivers at least once may do to any."""
COMPARED = 6
"""Tiles that are computed again undisturbed."""


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_tile_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_up_credentials(monkeypatch, tmp_path)
    world = make_region_world(tmp_path / "world", TILES)
    orders = world.orders()
    with serve_aws() as aws, serve_flaky(aws, refused=0.1, unheard=0.1) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws)
        # An answer that is lost costs a receive: more of them than in a night.
        address, dead = make_queue(aws, max_receives=20)
        messages = [Message(order.body, order.attributes) for order in orders]
        queue = open_queue(address, QueueOptions(endpoint_url=aws))
        assert queue.send([*messages, *messages[:TWICE]]) == TILES + TWICE
        flaky = f"{proxy.url}{urlsplit(address).path}"
        options = ["--queue", flaky, "--lease", "4", "--idle-exit", "12"]
        with open_crew(world, tmp_path / "crew", *options, CROPMASK_DEAD_LETTERS=dead) as crew:
            crew.environ = {**crew.environ, "CROPMASK_SQS_ENDPOINT": proxy.url}
            for _ in range(3):
                crew.start()
            codes = [worker.wait(1200) for worker in crew.workers]
            assert codes == [ExitCode.DONE] * 3
            assert crew.items() == sorted(map(str, world.tiles))
            assert crew.leftovers() == []
            records = crew.records()
            counts = queue.counts()
            assert (counts.waiting, counts.dead) == (0, 0)
            assert proxy.failed["ReceiveMessage"] > 0
            assert proxy.failed["DeleteMessage"] > 0
            found = crew.digests()
    # Nobody computed for nothing, unless two held the same tile at once.
    done = [r for r in records if r.state is State.SUCCEEDED]
    assert {r.tile for r in done} == set(map(str, world.tiles))
    assert not [r for r in records if r.state is State.INVALID]
    with open_crew(world, tmp_path / "undisturbed") as calm:
        send(open_queue(str(calm.output / "_queue")), orders[:COMPARED])
        assert calm.start().wait(600) == ExitCode.DONE
        expected = {k: v for k, v in calm.digests().items() if "1-0-0" in k}
        assert len(calm.items()) == COMPARED
    assert {key: found[key] for key in expected} == expected
