"""The queue in a folder keeps the laws, with many processes, kills and clocks that jump."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from cropmask.errors import Interrupted, LeaseLost, Misconfigured
from cropmask.queue.doors import open_queue
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Counts, Message, Queue
from tests.queues import QueueLaws, taken


class TestFolder(QueueLaws):
    @pytest.fixture
    def queue(self, tmp_path: Path) -> Queue:
        return open_queue(str(tmp_path / "not" / "there" / "_queue"))


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> FolderQueue:
    return FolderQueue(tmp_path / "q", clock=clock)


def test_clock_set_back_delays_but_loses_nothing(queue: FolderQueue, clock: Clock):
    queue.send([Message("held"), Message("delayed"), Message("seen")])
    held, delayed = taken(queue, 300), taken(queue)
    queue.release(delayed, 60)
    clock.now -= 6 * 3600
    assert taken(queue).message.body == "seen"
    queue.renew(held, 300)
    clock.now += 61
    assert taken(queue).message.body == "delayed", "it waits its minute, not six hours more"
    clock.now += 240
    assert taken(queue).message_id == held.message_id, "a dead worker's lease ends in its time"


def test_clock_set_forward_ends_leases_and_the_holder_hears_of_it(queue: FolderQueue, clock: Clock):
    queue.send([Message("a")])
    lease = taken(queue, 300)
    clock.now += 3 * 3600
    with pytest.raises(LeaseLost):
        queue.renew(lease, 300)
    again = taken(queue, 300)
    assert again.message_id == lease.message_id
    queue.release(lease)
    queue.done(lease)
    assert queue.counts() == Counts(0, 1, 0, 0), "the first holder cannot take it away"
    clock.now -= 3 * 3600
    queue.renew(again, 300)
    queue.done(again)
    assert queue.counts() == Counts(0, 0, 0, 0)


def test_a_little_backward_is_no_jump(queue: FolderQueue, clock: Clock):
    """Two readings of one machine's clock may differ while it is being slewed."""
    queue.send([Message("a")])
    taken(queue, 10)
    clock.now -= 1
    assert queue.lease(seconds=10) is None
    clock.now += 12
    assert taken(queue, 10).receives == 2


def test_files_of_others_are_left_alone(queue: FolderQueue):
    queue.send([Message("a")])
    for folder in ("ready", "leased", "later", "dead"):
        (queue.root / folder).mkdir(exist_ok=True)
        for name in ("notes.txt", ".hidden", "a.b.c.d.e"):
            (queue.root / folder / name).touch()
    assert queue.counts() == Counts(1, 0, 0, 0)
    assert taken(queue).message.body == "a"
    assert queue.lease(seconds=30) is None
    assert list(queue.dead_letters()) == []


@pytest.mark.parametrize("content", ["", "no JSON", "[1]", "{}", '{"body": 7, "attributes": 3}'])
def test_a_spoiled_message_is_a_message_all_the_same(queue: FolderQueue, content: str):
    """A worker refuses it and parks it with a reason; nothing stands still."""
    queue.send([Message("a", {"k": "v"})])
    (path,) = (queue.root / "ready").iterdir()
    path.write_text(content)
    lease = taken(queue)
    assert isinstance(lease.message.body, str)
    queue.park(lease, "bad message", "e")
    assert queue.counts().dead == 1


def test_nothing_is_made_by_looking(tmp_path: Path):
    queue = FolderQueue(tmp_path / "a" / "b")
    queue.check()
    assert queue.lease(seconds=30) is None
    assert queue.counts() == Counts(0, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_refuses(tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(Misconfigured, match="permissions"):
        FolderQueue(tmp_path / "locked" / "q").send([Message("a")])


def test_a_file_in_the_place_of_the_folder(tmp_path: Path):
    (tmp_path / "q").touch()
    with pytest.raises(Misconfigured):
        FolderQueue(tmp_path / "q").send([Message("a")])
    with pytest.raises((Misconfigured, Interrupted)):
        FolderQueue(tmp_path / "q").check()


class Entries:
    """Counts the names that listings of folders give."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = 0
        listdir, scandir = os.listdir, os.scandir

        def count_names(path: str | Path) -> list[str]:
            names = listdir(path)
            self.read += len(names)
            return names

        def count_entries(path: str | Path):
            self.read += len(listdir(path))
            return scandir(path)

        monkeypatch.setattr(os, "listdir", count_names)
        monkeypatch.setattr(os, "scandir", count_entries)


@pytest.mark.parametrize("number", [50, 400])
def test_names_are_read_once_a_message_however_many_wait(
    queue: FolderQueue, monkeypatch: pytest.MonkeyPatch, number: int
):
    entries = Entries(monkeypatch)
    queue.send([Message(str(n)) for n in range(2 * number)])
    assert entries.read <= 8 * number, "sending lists no messages"
    for _ in range(number):  # many that are delayed, and many in flight, are not listed either
        queue.release(taken(queue), 3600)
    held = [taken(queue) for _ in range(number // 2)]
    entries.read = 0
    while (lease := queue.lease(seconds=300)) is not None:
        queue.renew(lease, 300)
        queue.done(lease)
    for lease in held:
        queue.done(lease)
    assert entries.read <= 4 * number
    assert queue.counts() == Counts(0, 0, number, 0)


def test_a_lease_that_ended_comes_back_before_younger_messages(queue: FolderQueue, clock: Clock):
    """A look is used for a second, then what has happened meanwhile counts."""
    queue.send([Message(str(n)) for n in range(50)])
    other = FolderQueue(queue.root, clock=clock)
    lost = taken(other, 10)
    assert taken(queue).message.body == "1"
    clock.now += 9.5
    assert taken(queue).message.body == "2"
    clock.now += 1.01
    assert taken(queue).message_id == lost.message_id


def test_what_others_took_is_not_taken_from_an_old_look(queue: FolderQueue, clock: Clock):
    queue.send([Message(str(n)) for n in range(20)])
    other = FolderQueue(queue.root, clock=clock)
    bodies = [taken(one).message.body for _ in range(10) for one in (queue, other)]
    assert sorted(map(int, bodies)) == list(range(20))
    assert queue.lease(seconds=1) is None
    queue.send([Message("new")])
    assert taken(other).message.body == "new", "nothing left to take: it looks again at once"


def test_a_lease_is_held_by_whoever_has_its_receipt(queue: FolderQueue, clock: Clock):
    """What one object remembers of a lease is no more than where to look first."""
    queue.send([Message("a"), Message("b")])
    first, second = taken(queue, 10), taken(queue, 10)
    other = FolderQueue(queue.root, clock=clock)
    other.renew(first, 60)
    other.park(second, "r", "e")
    clock.now += 30
    queue.renew(first, 60)
    with pytest.raises(LeaseLost):
        queue.renew(second, 60)
    other.done(first)
    queue.done(first)
    assert queue.counts() == Counts(0, 0, 0, 1)


def work(root: str, log: str, delay: float) -> None:
    """Take messages until none is left; write each one's body to a file of its own."""
    queue = FolderQueue(Path(root))
    while queue.counts().waiting:
        lease = queue.lease(seconds=1.5)
        if lease is None:
            time.sleep(0.01)
            continue
        queue.renew(lease, 1.5)
        name = f"{lease.message.body}-{os.getpid()}-{lease.receives}"
        (Path(log) / name).touch()
        time.sleep(delay)
        queue.done(lease)


def test_many_processes_take_each_message_once(tmp_path: Path):
    queue = FolderQueue(tmp_path / "q")
    queue.send([Message(str(number)) for number in range(120)])
    log = tmp_path / "log"
    log.mkdir()
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=work, args=(str(queue.root), str(log), 0.0)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    done = [path.name.split("-")[0] for path in log.iterdir()]
    assert sorted(map(int, done)) == list(range(120))
    assert queue.counts() == Counts(0, 0, 0, 0)


def churn(root: str) -> None:
    """Do everything that a queue can do, over and over."""
    queue = FolderQueue(Path(root), max_receives=10_000)
    number = 0
    while True:
        number += 1
        lease = queue.lease(seconds=0.2)
        if lease is not None:
            queue.renew(lease, 0.2)
            if number % 3 == 0:
                queue.park(lease, "r", "e")
            else:
                queue.release(lease, 0.01 * (number % 2))
        for letter in queue.dead_letters():
            queue.redrive(letter)


def test_killed_anywhere_no_message_is_lost(tmp_path: Path):
    queue = FolderQueue(tmp_path / "q", max_receives=10_000)
    sent = [Message(f"body {number}", {"n": str(number)}) for number in range(8)]
    queue.send(sent)
    context = multiprocessing.get_context("spawn")
    for life in range(6):
        workers = [context.Process(target=churn, args=(str(queue.root),)) for _ in range(2)]
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + 30
        before = sorted(path.name for path in queue.root.rglob("*"))
        while time.monotonic() < deadline:
            if sorted(path.name for path in queue.root.rglob("*")) != before:
                break
            time.sleep(0.01)
        time.sleep(0.05 + 0.037 * life)
        for worker in workers:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(30)
    counts = queue.counts()
    assert counts.waiting + counts.dead == 8
    for letter in queue.dead_letters():
        queue.redrive(letter)
    got = []
    while (lease := queue.lease(seconds=60, wait_seconds=1)) is not None:
        got.append(lease.message)
    assert sorted(got, key=lambda m: m.body) == sent


def test_killed_at_every_call_while_sending(tmp_path: Path):
    """Whatever system call is the last, what was accepted is whole and the rest is not there."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from cropmask.queue.folder import FolderQueue\n"
        "from cropmask.queue.protocol import Message\n"
        "left = int(sys.argv[2])\n"
        "def hook(event, arguments):\n"
        "    global left\n"
        "    if event in ('open', 'os.rename', 'os.mkdir', 'os.remove', 'os.scandir'):\n"
        "        if str(arguments[0]).startswith(sys.argv[1]):\n"
        "            left -= 1\n"
        "            if left == 0:\n"
        "                os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n"
        "queue = FolderQueue(Path(sys.argv[1]))\n"
        "queue.send([Message(str(n)) for n in range(2)])\n"
    )
    codes = []
    for call in range(1, 60):
        root = tmp_path / f"q{call}"
        child = os.spawnv(
            os.P_WAIT, sys.executable, [sys.executable, "-c", program, str(root), str(call)]
        )
        codes.append(child)
        queue = FolderQueue(root)
        bodies = [lease.message.body for lease in iter(lambda q=queue: q.lease(seconds=60), None)]
        assert bodies in ([], ["0"], ["0", "1"])
        if child == 0:
            assert bodies == ["0", "1"]
            break
    assert codes[-1] == 0
    assert codes.count(-signal.SIGKILL) == len(codes) - 1 > 5


def test_the_files_say_what_they_are(queue: FolderQueue):
    """Somebody who looks into the folder can read it."""
    queue.send([Message("body", {"k": "v"})])
    (path,) = (queue.root / "ready").iterdir()
    assert json.loads(path.read_text()) == {"attributes": {"k": "v"}, "body": "body"}
    queue.park(taken(queue), "bad tile", "no such tile")
    (notes,) = (queue.root / "notes").iterdir()
    assert json.loads(notes.read_text()) == {"error": "no such tile", "reason": "bad tile"}
    (letter,) = queue.dead_letters()
    queue.redrive(letter)
    assert list((queue.root / "notes").iterdir()) == []
