"""Dead letters are chosen, grouped, sent back and thrown away; none is lost or done twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from cropmask.cli.main import cropmask
from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.grid import Tile
from cropmask.operate.redrive import (
    LetterFilter,
    find_letters,
    group_letters,
    parse_age,
    parse_where,
    settle_letters,
)
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import DeadLetter, Lease, Message, Queue
from cropmask.task import Order, Period, Task
from cropmask.testing.queue import MemoryQueue

YEAR = Period.parse("2019")
DAY = 86_400.0


def order(x: int, run: str = "run-1", region: str = "eastern") -> Order:
    return Order(Task(Tile(x, 75), region, YEAR), run)


def park(queue: Queue, body: Order | str, reason: str, error: str = "it was wrong") -> None:
    message = Message(body) if isinstance(body, str) else Message(body.body, body.attributes)
    assert queue.send([message]) == 1
    queue.park(taken(queue), reason, error)


def taken(queue: Queue) -> Lease:
    lease = queue.lease(seconds=60)
    assert lease is not None
    return lease


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 10, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> MemoryQueue:
    """Five dead letters, one of them four days old, and one message that waits."""
    queue = MemoryQueue(clock=clock)
    clock.now -= 4 * DAY
    park(queue, order(210), "outside region")
    clock.now += 4 * DAY
    park(queue, order(211), "missing band")
    park(queue, order(212, run="run-2"), "missing band", "another one")
    park(queue, order(213, region="sahel"), Reason.RECEIVES_USED_UP)
    park(queue, "no task at all", "bad message")
    queue.send([Message("waits")])
    return queue


def tiles(letters: list[DeadLetter]) -> list[str]:
    return [str(Order.parse(one.message.body, one.message.attributes).task.tile) for one in letters]


def test_everything_goes_back_as_it_was(queue: MemoryQueue, clock: Clock):
    before = {letter.message.body: letter.message for letter in queue.dead_letters()}
    sent = list(settle_letters(queue, LetterFilter(), queue.redrive, clock.moment))
    assert len(sent) == 5
    assert queue.counts().dead == 0
    got = [taken(queue).message for _ in range(6)]
    assert {message.body: message for message in got} == {**before, "waits": Message("waits")}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reason=missing band"], ["x211y075", "x212y075"]),
        (["reason=missing band", "run=run-1"], ["x211y075"]),
        (["region=sahel"], ["x213y075"]),
        (["tile=x210y075", "tile=x213y075"], ["x210y075", "x213y075"]),
        (["period=2019--P1Y", "reason=bad message"], []),
    ],
)
def test_where(queue: MemoryQueue, clock: Clock, words: list[str], expected: list[str]):
    wanted = LetterFilter(parse_where(words))
    assert tiles(list(find_letters(queue, wanted))) == expected
    assert tiles(list(settle_letters(queue, wanted, queue.redrive, clock.moment))) == expected
    assert queue.counts().dead == 5 - len(expected)


def test_since_and_limit(queue: MemoryQueue, clock: Clock):
    recent = LetterFilter(since=clock.moment - parse_age("2d"))
    assert len(list(find_letters(queue, recent))) == 4
    assert len(list(find_letters(queue, LetterFilter(limit=2)))) == 2
    assert (
        len(
            list(
                settle_letters(
                    queue, LetterFilter(since=recent.since, limit=3), queue.redrive, clock.moment
                )
            )
        )
        == 3
    )
    assert next(queue.dead_letters()).reason == "outside region"


def test_thrown_away_is_gone(queue: MemoryQueue, clock: Clock):
    gone = list(
        settle_letters(
            queue, LetterFilter(parse_where(["reason=missing band"])), queue.discard, clock.moment
        )
    )
    assert len(gone) == 2
    assert (queue.counts().dead, queue.counts().visible) == (3, 1)


def test_what_fails_again_at_once_is_sent_back_once():
    class Relentless(MemoryQueue):
        """Whatever is sent back dies at once, and is listed again in the same listing."""

        def dead_letters(self):
            for _ in range(10):
                yield from super().dead_letters()

        def redrive(self, letter: DeadLetter) -> None:
            super().redrive(letter)
            self.park(taken(self), "again", "e")

    now = [1000.0]

    def clock() -> float:
        now[0] += 1
        return now[0]

    queue = Relentless(clock=clock)
    park(queue, order(210), "first")
    began = datetime.fromtimestamp(clock(), UTC)
    sent = settle_letters(queue, LetterFilter(), queue.redrive, began)
    assert [letter.reason for letter in sent] == ["first"]
    assert queue.counts().dead == 1


def test_a_queue_that_does_not_accept_keeps_the_letter(queue: MemoryQueue, clock: Clock):
    class Failing(MemoryQueue):
        sent = 0

        def redrive(self, letter: DeadLetter) -> None:
            if self.sent == 2:
                raise Interrupted("the server answers 503: run again")
            super().redrive(letter)
            self.sent += 1

    failing = Failing(clock=clock)
    for x in range(5):
        park(failing, order(x), "r")
    done = []
    with pytest.raises(Interrupted):
        done.extend(settle_letters(failing, LetterFilter(), failing.redrive, clock.moment))
    assert (failing.counts().dead, failing.counts().visible) == (3, 2)


def test_groups(queue: MemoryQueue, clock: Clock):
    groups = group_letters(queue.dead_letters())
    assert [(one.reason, one.count) for one in groups] == [
        ("missing band", 2),
        ("bad message", 1),
        ("outside region", 1),
        (Reason.RECEIVES_USED_UP, 1),
    ]
    assert groups[0].tiles == ("x211y075", "x212y075")
    assert groups[0].last == clock.moment
    assert groups[1].tiles == ()


@pytest.mark.parametrize("word", ["reason", "reason=", "=x", "color=red", "reason= "])
def test_bad_choices(word: str):
    with pytest.raises(Rejected, match="reason, run, region, tile, period"):
        parse_where([word])


def test_ages():
    ages = {"90m": 5400, "2d": 172_800, "1w": 604_800, "36 h": 129_600, "5s": 5}
    for text, seconds in ages.items():
        assert parse_age(text) == timedelta(seconds=seconds)
    for text in ("", "2", "d", "-1d", "2 days", "1.5h", "9999999d"):
        with pytest.raises(Rejected, match="36h"):
            parse_age(text)


@pytest.fixture
def folder(tmp_path: Path) -> FolderQueue:
    queue = FolderQueue(tmp_path / "output" / "_queue")
    park(queue, order(210), "missing band", "item X has no band 'nir'")
    park(queue, order(211), "missing band", "item X has no band 'nir'")
    park(queue, "{}", "bad message", "the message is not a task")
    return queue


def run(tmp_path: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cropmask, ["redrive", "--output", str(tmp_path / "output"), *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_command_lists_then_sends(folder: FolderQueue, tmp_path: Path):
    code, said = run(tmp_path, "--dry-run")
    assert code == 0
    assert said.startswith("3 dead letters\n       2  missing band, the last at 2")
    assert "item X has no band 'nir'\n          x210y075 x211y075" in said
    assert folder.counts().dead == 3
    code, said = run(tmp_path, "--dry-run", "--json")
    assert [one["count"] for one in json.loads(said)] == [2, 1]
    code, said = run(tmp_path, "--where", "reason=missing band", "--since", "1h", "--limit", "1")
    assert (code, said) == (0, "1 dead letter sent back\n       1  missing band\n")
    assert (folder.counts().dead, folder.counts().visible) == (2, 1)
    code, said = run(tmp_path, "--where", "reason=none")
    assert (code, said.splitlines()[0]) == (0, "0 dead letters sent back")
    assert "none is like that" in said


def test_command_asks_before_it_deletes(folder: FolderQueue, tmp_path: Path):
    code, said = run(tmp_path, "--discard")
    assert code == 2
    assert "--yes" in said
    assert folder.counts().dead == 3
    code, said = run(tmp_path, "--discard", "--yes", "--where", "reason=bad message")
    assert (code, said) == (0, "1 dead letter deleted\n       1  bad message\n")
    assert (folder.counts().dead, folder.counts().visible) == (2, 0)
