r"""Orders in a file, for Jobs whose pods know no queue: each picks its line by its index.

Line ``i`` (from 0) is the message of order ``i`` as a queue would carry it::

    {"attributes": {"run": "..."}, "body": "{\"period\": ..., \"region\": ..., \"tile\": ...}"}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.fleet.records import RunRecord, run_folder
from cropmask.store.doors import open_store
from cropmask.store.protocol import Absent, Store, StoreOptions
from cropmask.task import Order

_JSON_LINES: Final = "application/jsonl"


def task_file_key(product: str, period: str, run: str) -> str:
    """Key of the task file of a run, beside the document of the run."""
    return f"{run_folder(product, period, run)}tasks.jsonl"


def find_task_file(store: Store, record: RunRecord) -> str | None:
    """Address of the task file of a run that was sent to no queue; None if it is none."""
    key = task_file_key(*record.place)
    return store.uri(key) if record.sent == 0 and store.exists(key) else None


def encode_orders(orders: Iterable[Order]) -> bytes:
    """Task file of orders, one line each; equal orders give equal bytes."""
    lines = (
        json.dumps({"body": order.body, "attributes": order.attributes}, sort_keys=True)
        for order in orders
    )
    return "".join(f"{line}\n" for line in lines).encode()


def parse_order(data: bytes, index: int) -> Order:
    """Order in a line of a task file, counted from 0; the other lines do not matter.

    Raises Misconfigured if the file has no such line; Rejected if the line is no order.
    """
    lines = data.split(b"\n")
    count = len(lines) - (not lines[-1].strip())
    if not 0 <= index < count:
        raise Misconfigured(
            f"the task file has {count} tasks, so index {index} is none of them: "
            "start as many pods as it has lines",
            reason=Reason.NO_TASK_INDEX,
        )
    try:
        line = json.loads(lines[index])
        body, attributes = line["body"], line["attributes"]
        words = [body, *attributes.keys(), *attributes.values()]
        if not all(isinstance(word, str) for word in words):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Rejected(
            f'task {index} of the task file is not {{"body": ..., "attributes": ...}}',
            reason=Reason.BAD_MESSAGE,
        ) from None
    return Order.parse(body, attributes)


def put_orders(store: Store, key: str, orders: Iterable[Order]) -> str:
    """Write a task file; its address, as ``CROPMASK_TASKS`` names it to the pods."""
    store.put(key, encode_orders(orders), _JSON_LINES)
    return store.uri(key)


def load_order(address: str, index: int, options: StoreOptions | None = None) -> Order:
    """Order ``index``, from 0, of the task file at a path or ``s3://bucket/key``.

    Raises Misconfigured if there is no such file, or no such line in it; Rejected if the line is no
    order; Interrupted if the file cannot be read now.
    """
    parent, _, name = address.rpartition("/")
    rooted = "/" if address.startswith("/") else "."
    try:
        if name in ("", ".", ".."):
            raise Absent("a folder")
        data = open_store(parent or rooted, options).get(name)
    except Absent:
        raise Misconfigured(
            f"there is no task file at {address}: give --tasks or set CROPMASK_TASKS to the file "
            "that submitting with --direct wrote",
            reason=Reason.NO_TASK_FILE,
        ) from None
    return parse_order(data, index)
