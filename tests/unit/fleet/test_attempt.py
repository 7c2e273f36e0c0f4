"""An attempt in a real child process: whatever the child does, we hear of it and it is gone."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest

from cropmask.contract import ExitCode
from cropmask.errors import (
    CropmaskError,
    Drained,
    Interrupted,
    LeaseLost,
    OutOfMemory,
    Rejected,
    TimedOut,
)
from cropmask.fleet.attempt import (
    AttemptLimits,
    ChildWork,
    HeldLease,
    NoLease,
    StageReport,
    run_attempt,
)
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.records import State
from cropmask.machine.child import start_forkserver
from cropmask.machine.limits import find_anonymous_memory
from tests.workers import make_order, make_site

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def nothing() -> None:
    """In place of opening the log."""


class Attempting:
    """Runs children; where they are told to write is ``mark``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "attempt"
        self.folder.mkdir()
        self.mark = folder / "mark"
        self.progress: list[StageReport] = []

    def __call__(
        self,
        name: str,
        *,
        held: HeldLease | None = None,
        seconds: float = 60,
        stopping: Callable[[], str | None] = lambda: None,
        memory: int | None = None,
    ) -> Outcome:
        site = replace(make_site(), memory=memory)
        work = ChildWork(make_order(region=str(self.mark)), site, self.folder, nothing)
        return run_attempt(
            work,
            held or NoLease(),
            AttemptLimits(seconds, stopping),
            progress=self.progress.append,
            target=f"tests.children:{name}",
        )


@pytest.fixture(scope="module", autouse=True)
def running_forkserver() -> None:
    # One that an earlier test left has its socket in a folder that may be gone.
    with suppress(FileNotFoundError):
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
    multiprocessing.current_process()._config.pop("tempdir", None)  # type: ignore[attr-defined]
    start_forkserver(["tests.children"])


@pytest.fixture
def attempt(tmp_path: Path) -> Attempting:
    return Attempting(tmp_path)


def test_what_the_child_says_comes_back(attempt: Attempting) -> None:
    outcome = attempt("succeed")
    assert (outcome.state, outcome.item, outcome.run_key) == (State.SUCCEEDED, "item", "ab")
    assert attempt.progress == [StageReport("classify", 0.5)]
    wrong = attempt("reject")
    assert isinstance(wrong.error, Rejected)
    assert wrong.error.reason == "missing geomad"
    assert wrong.exit_code is ExitCode.REJECTED


@LINUX
def test_what_the_child_takes_is_counted_and_it_dies_before_us(attempt: Attempting) -> None:
    outcome = attempt("report")
    assert outcome.item == "1000"
    assert outcome.cpu_seconds is not None
    assert 0.2 < outcome.cpu_seconds < 10  # it burns 0.3, counted in coarse ticks
    assert outcome.peak_memory is not None
    assert outcome.peak_memory > 5e6


@pytest.mark.parametrize(
    ("name", "kind", "reason", "text"),
    [
        ("crash", Interrupted, "crashed", "SIGSEGV"),
        ("leave", Interrupted, "crashed", "exit code 7"),
        ("be_killed", Interrupted, "killed", "killed"),
    ],
)
def test_a_child_that_dies_is_an_interruption(
    attempt: Attempting, name: str, kind: type[CropmaskError], reason: str, text: str
) -> None:
    error = attempt(name).error
    assert type(error) is kind
    assert error.reason == reason
    assert text in str(error)


def test_a_child_that_hangs_and_will_not_stop_is_killed_at_its_time_limit(
    attempt: Attempting,
) -> None:
    began = time.monotonic()
    error = attempt("hang", seconds=2).error
    assert isinstance(error, TimedOut)
    assert error.exit_code is ExitCode.TIMED_OUT
    assert time.monotonic() - began < 30
    assert (attempt.folder / "half").exists()  # for whoever made the folder to remove


@pytest.mark.parametrize("why", ["SIGTERM", "lost"])
def test_a_child_that_is_stopped_may_tidy_up(attempt: Attempting, why: str) -> None:
    class Losing(NoLease):
        @property
        def lost(self) -> CropmaskError | None:  # type: ignore[override]
            return LeaseLost("gone") if why == "lost" and attempt.progress else None

    def stopping() -> str | None:
        return why if why == "SIGTERM" and attempt.progress else None

    error = attempt("clean_up", held=Losing(), stopping=stopping).error
    assert isinstance(error, Drained if why == "SIGTERM" else LeaseLost)
    assert attempt.mark.read_text() == "tidy"


def test_the_item_waits_for_the_lease(attempt: Attempting) -> None:
    class Slow(NoLease):
        asked = 0
        looked = 0

        def ask(self) -> float:
            Slow.asked += 1
            return 1.0

        def renewed_since(self, mark: float) -> bool:
            assert mark == 1.0
            assert not attempt.mark.exists()
            Slow.looked += 1
            return Slow.looked > 2

    assert attempt("publish", held=Slow()).state is State.SUCCEEDED
    assert (Slow.asked, Slow.looked) == (1, 3)
    assert attempt.mark.read_text() == "item"


def test_a_lease_that_cannot_be_confirmed_writes_no_item(attempt: Attempting) -> None:
    class Losing(NoLease):
        looks = 0

        @property
        def lost(self) -> CropmaskError | None:  # type: ignore[override]
            return LeaseLost("gone") if self.looks > 2 else None

        def renewed_since(self, mark: float) -> bool:
            self.looks += 1
            return False

    error = attempt("publish", held=Losing()).error
    assert isinstance(error, LeaseLost)
    assert not attempt.mark.exists()


@LINUX
def test_a_child_that_grows_is_stopped_before_the_kernel_must(attempt: Attempting) -> None:
    room = 150 << 20
    outcome = attempt("grow", memory=find_anonymous_memory() + room)
    assert isinstance(outcome.error, OutOfMemory)
    assert outcome.exit_code is ExitCode.MEMORY
    assert outcome.peak_memory is not None
    assert room * 0.8 < outcome.peak_memory < room * 3


@LINUX
def test_nobody_is_left_behind(attempt: Attempting) -> None:
    parent = int(str(attempt("report").run_key))
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert children == []
    os.kill(parent, 0)  # only the process that children are forked from lives on
