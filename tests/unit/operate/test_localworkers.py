"""Workers on this machine: as many as are asked for and wanted, and none afterwards."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cropmask.errors import Misconfigured
from cropmask.operate.localworkers import LocalWorkers
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Message
from cropmask.site.site import Site, open_site
from tests.runs import make_run
from tests.workerprocess import until

SAY = (
    "import json, pathlib, sys; pathlib.Path('said').open('a').write(json.dumps(sys.argv) + '\\n');"
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    return open_site({}, {"output": "out", "threads": 5, "catalog": "items"})


def open_workers(site: Site, number: int, code: str) -> LocalWorkers:
    return LocalWorkers(site, make_run([]), number, (sys.executable, "-c", SAY + code))


def said() -> list[list[str]]:
    path = Path("said")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ended(workers: LocalWorkers) -> Callable[[], bool]:
    return lambda: all(process.poll() is not None for process in workers._processes)


def test_no_more_are_started_than_tasks_wait_and_they_share_the_processors(site: Site) -> None:
    queue = FolderQueue(Path("out/_queue"))
    with open_workers(site, 2, "import time; time.sleep(60)") as workers:
        workers.keep()
        assert workers._processes == []
        queue.send([Message("{}")])
        workers.keep()
        assert len(workers._processes) == 1
        queue.send([Message("{}")] * 5)
        workers.keep()
        workers.keep()
        assert len(workers._processes) == 2
        until(lambda: len(said()) == 2, 20, "both begin")
        began = time.monotonic()
    assert time.monotonic() - began < 20, "they are told to leave"
    assert ended(workers)()
    words = said()[0][1:]
    assert words[0] == "worker"
    assert words[-2:] == ["--threads", "2"]
    assert words[words.index("--output") + 1] == str(Path("out").absolute())
    assert words[words.index("--catalog") + 1] == str(Path("items").absolute())


def test_one_that_left_is_replaced_while_tasks_wait(site: Site) -> None:
    FolderQueue(Path("out/_queue")).send([Message("{}")])
    with open_workers(site, 1, "sys.exit(0)") as workers:
        for number in (1, 2):
            workers.keep()
            until(ended(workers), 20, "it leaves")
            assert len(said()) == number


def test_one_that_cannot_work_is_not_replaced(site: Site) -> None:
    FolderQueue(Path("out/_queue")).send([Message("{}")])
    with open_workers(site, 1, "sys.exit(13)") as workers:
        workers.keep()
        until(ended(workers), 20, "it leaves")
        with pytest.raises(Misconfigured, match="a worker on this machine ended with 13"):
            workers.keep()
