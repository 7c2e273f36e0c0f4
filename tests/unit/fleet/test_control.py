"""What was last said about a run: nobody overrides what he has not read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.fleet.control import (
    ControlChange,
    RunControl,
    RunState,
    cancel,
    change_control,
    control_folder,
    load_control,
    pause,
    put_control,
    resume,
    stop,
)
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.testing.store import MemoryStore

RUN = ("crop_mask_eastern", "2019--P1Y", "night-1")
NOW = datetime(2026, 7, 1, 3, tzinfo=UTC)
PAUSED = RunControl(RunState.PAUSED, Reason.RUN_PAUSED, "the catalog moves", max_cost=5.0)


def put_first(store: Store, state: RunState) -> RunControl:
    return change_control(store, *RUN, lambda _: replace(PAUSED, state=state), NOW)[0]


@pytest.mark.parametrize("state", RunState)
def test_what_follows_what(state: RunState) -> None:
    def after(change: ControlChange) -> RunState:
        store = MemoryStore()
        put_first(store, state)
        return change_control(store, *RUN, change, NOW)[0].state

    is_running, is_over = state is RunState.RUNNING, state is RunState.CANCELED
    assert after(cancel("no more")) is RunState.CANCELED
    assert after(stop(Reason.NO_MODEL, "ten")) is (RunState.STOPPED if is_running else state)
    if is_over:
        for change in (pause("night-1", "wait"), resume("night-1", {})):
            with pytest.raises(Rejected, match="night-1 was canceled, which is for good"):
                after(change)
    else:
        assert after(pause("night-1", "wait")) is RunState.PAUSED
        assert after(resume("night-1", {})) is RunState.RUNNING


def test_who_resumes_may_raise_a_limit() -> None:
    store = MemoryStore()
    change_control(store, *RUN, stop(Reason.NO_MODEL, "ten\ntiles"), NOW)
    assert (load_control(store, *RUN).reason, load_control(store, *RUN).why) == (
        "no model",
        "ten tiles",
    )
    said, is_ours = change_control(store, *RUN, resume("night-1", {"max_cost": 9.0}), NOW)
    assert is_ours
    assert (said.state, said.reason, said.why, said.max_cost) == (RunState.RUNNING, None, None, 9.0)
    again, is_ours = change_control(store, *RUN, resume("night-1", {"max_cost": 9.0}), NOW)
    assert not is_ours
    assert again == said


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path)


def test_a_run_of_which_nobody_has_spoken_goes_on(store: Store) -> None:
    assert load_control(store, *RUN) == RunControl()
    assert RunControl().is_running
    assert not RunControl().is_limited


def test_the_last_word_counts_and_the_others_stay(store: Store) -> None:
    said, is_ours = change_control(store, *RUN, lambda _: PAUSED, NOW)
    assert is_ours
    assert said == replace(
        PAUSED, number=1, since="2026-07-01T03:00:00.000000Z", by=said.by, token=said.token
    )
    assert said.by
    assert load_control(store, *RUN) == said
    resumed, _ = change_control(
        store, *RUN, lambda known: replace(known, state=RunState.RUNNING), NOW
    )
    assert load_control(store, *RUN) == resumed
    assert (resumed.number, resumed.max_cost) == (2, 5.0)
    folder = control_folder(*RUN)
    assert [entry.key for entry in store.list(folder)] == [
        f"{folder}0001.json",
        f"{folder}0002.json",
    ]


def test_what_was_not_read_is_not_overridden(store: Store) -> None:
    known = load_control(store, *RUN)
    change_control(store, *RUN, lambda _: PAUSED, NOW)
    assert not put_control(store, *RUN, replace(PAUSED, state=RunState.STOPPED), known)
    assert load_control(store, *RUN).state is RunState.PAUSED


def test_a_change_is_asked_for_again_after_another_one(store: Store) -> None:
    asked = []

    def stop(known: RunControl) -> RunControl | None:
        asked.append(known.state)
        if len(asked) == 1:  # meanwhile somebody pauses it
            change_control(store, *RUN, lambda _: PAUSED, NOW)
        return replace(known, state=RunState.STOPPED) if known.is_running else None

    said, is_ours = change_control(store, *RUN, stop, NOW)
    assert not is_ours
    assert said.state is RunState.PAUSED
    assert asked == [RunState.RUNNING, RunState.PAUSED]


def test_of_many_that_stop_a_run_one_has_done_it(store: Store) -> None:
    def stop(known: RunControl) -> RunControl | None:
        return replace(known, state=RunState.STOPPED) if known.is_running else None

    done: list[bool] = []
    threads = [
        Thread(target=lambda: done.append(change_control(store, *RUN, stop, NOW)[1]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 7 + [True]


def test_an_answer_that_was_lost_is_found_again() -> None:
    class Deaf(MemoryStore):
        def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
            super().put_if_absent(key, data, content_type)
            return False

    said, is_ours = change_control(Deaf(), *RUN, lambda _: PAUSED, NOW)
    assert is_ours
    assert said.number == 1


def test_a_run_that_everybody_changes_is_given_up() -> None:
    class Busy(MemoryStore):
        def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
            other = replace(PAUSED, why=key, since="2026-07-01T03:00:00Z").to_json().encode()
            super().put_if_absent(key, other, content_type)
            return False

    with pytest.raises(Interrupted, match="night-1 is being changed by others"):
        change_control(Busy(), *RUN, lambda _: PAUSED, NOW)


def document(**changed: object) -> str:
    return json.dumps({**json.loads(PAUSED.to_json()), "since": NOW.isoformat(), **changed})


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        document(state="asleep"),
        document(state=None),
        document(max_cost=-1),
        document(max_cost="5"),
        document(max_cost=True),
        document(max_tiles=1.5),
        document(cpu_hour_price=-0.1),
        document(since=None),
        document(since="2026-07-01T03:00:00"),
        document(since="yesterday"),
        document(why=["many"]),
    ],
)
def test_a_document_that_is_none_is_named(text: str) -> None:
    store = MemoryStore()
    store.put(f"{control_folder(*RUN)}0001.json", text.encode(), "application/json")
    with pytest.raises(Rejected, match=r"control/0001.json: .*remove it") as caught:
        load_control(store, *RUN)
    assert caught.value.reason is Reason.BAD_RECORD


def test_what_is_said_in_a_document_fits_a_terminal() -> None:
    store = MemoryStore()
    text = document(why="lunch\n\x1b[31mnow", by="me\x07")
    store.put(f"{control_folder(*RUN)}0001.json", text.encode(), "application/json")
    assert load_control(store, *RUN).why == "lunch ?[31mnow"
    assert load_control(store, *RUN).by == "me?"


def test_what_a_later_version_says_and_files_of_others_are_left_alone() -> None:
    store = MemoryStore()
    folder = control_folder(*RUN)
    store.put(f"{folder}0001.json", document(owner="me").encode(), "application/json")
    store.put(f"{folder}notes.txt", b"for the night", "text/plain")
    assert load_control(store, *RUN) == replace(PAUSED, since=NOW.isoformat(), number=1)
