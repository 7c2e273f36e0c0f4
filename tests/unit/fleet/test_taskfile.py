"""Task files: every order comes back from its line, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.errors import Misconfigured, Rejected
from cropmask.fleet.taskfile import (
    encode_orders,
    load_order,
    parse_order,
    put_orders,
    task_file_key,
)
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.product import RECIPES
from cropmask.store.folder import FolderStore
from cropmask.task import Order, Period, Task
from cropmask.testing.store import MemoryStore

TASK = Task(Tile(10, 20), "eastern", Period.parse("2019"))
ORDERS = st.builds(
    Order,
    st.builds(
        Task,
        st.builds(Tile, st.integers(10, 99), st.integers(10, 99)),
        st.from_regex("[a-z][a-z0-9_]{0,40}", fullmatch=True),
        st.just(TASK.period),
    ),
    st.just("night-1"),
    st.sampled_from(RECIPES),
    st.sampled_from((None, *RESOLUTIONS)),
    st.booleans(),
    st.sampled_from(((), ("spread",), ("calibrated", "dissimilarity"))),
    st.booleans(),
)


@given(st.lists(ORDERS, min_size=1, max_size=5))
def test_every_order_comes_back_from_its_line(orders: list[Order]) -> None:
    data = encode_orders(orders)
    assert [parse_order(data, index) for index in range(len(orders))] == orders
    for outside in (-1, len(orders)):
        with pytest.raises(Misconfigured, match=f"has {len(orders)} tasks"):
            parse_order(data, outside)


def test_a_file_written_by_hand_needs_no_last_newline() -> None:
    data = encode_orders([Order(TASK), Order(TASK, overwrite=True)]).rstrip()
    assert parse_order(data, 1).overwrite


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"null",
        b'{"body": "{}"}',
        b'{"body": 1, "attributes": {}}',
        b'{"body": "x", "attributes": {"run": 2}}',
        b'{"body": "x", "attributes": []}',
        b'{"body": "x", "attributes": {}}',
        b"[" * 100_000,
    ],
)
def test_a_bad_line_is_rejected_and_leaves_the_others_alone(line: bytes) -> None:
    data = line + b"\n" + encode_orders([Order(TASK)])
    with pytest.raises(Rejected) as caught:
        parse_order(data, 0)
    assert not isinstance(caught.value, Misconfigured)
    assert parse_order(data, 1) == Order(TASK)


def test_the_address_of_a_written_file_loads(tmp_path: Path) -> None:
    key = task_file_key("crop_mask_eastern", "2019--P1Y", "night-1")
    address = put_orders(FolderStore(tmp_path), key, [Order(TASK), Order(TASK, "night-1")])
    assert load_order(address, 1) == Order(TASK, "night-1")


def test_a_path_without_a_folder_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put_orders(FolderStore(tmp_path), "tasks.jsonl", [Order(TASK)])
    assert load_order("tasks.jsonl", 0) == Order(TASK)


def test_no_file_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no task file"):
        load_order(str(tmp_path / "none.jsonl"), 0)


def test_a_task_file_is_no_attempt_and_no_run() -> None:
    from cropmask.fleet.recordfiles import find_attempts, find_runs

    store = MemoryStore()
    product, period = "crop_mask_eastern", "2019--P1Y"
    put_orders(store, task_file_key(product, period, "night-1"), [Order(TASK)])
    assert not list(find_attempts(store, product, period))
    assert find_runs(store, product, period) == ()


def test_a_folder_is_no_task_file(tmp_path: Path) -> None:
    for address in (str(tmp_path), f"{tmp_path}/", "/", "", "s3://bucket/", "."):
        with pytest.raises(Misconfigured, match="no task file"):
            load_order(address, 0)
