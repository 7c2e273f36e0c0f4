"""One run paused, resumed or canceled, whatever others do: by a word beside its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cropmask.errors import Interrupted, Reason, Rejected
from cropmask.fleet.control import (
    RunControl,
    RunState,
    cancel,
    change_control,
    load_control,
    pause,
    resume,
)
from cropmask.fleet.gate import find_excess
from cropmask.fleet.recordfiles import find_attempts, latest_states, load_attempts, put_attempt
from cropmask.fleet.records import AttemptKey, AttemptRecord, RunRecord, State
from cropmask.fleet.spending import RunLedger
from cropmask.machine.stages import ShareDone
from cropmask.operate.formats import format_count
from cropmask.queue.protocol import Message, Queue
from cropmask.site.site import Site
from cropmask.store.protocol import Store

BATCH: Final = 50
"""Held orders that are sent between two notes of how far it is."""

RunLimits = Mapping[str, float | int | None]
"""``max_cost`` and ``max_tiles`` that are to hold from now on; the others stay."""


@dataclass(frozen=True, slots=True)
class RunChange:
    """What became of a run."""

    control: RunControl
    """The last word about it."""
    is_new: bool
    """Whether it was said now."""
    tiles: int = 0
    """Held tiles that were sent again, or dropped."""


def pause_run(store: Store, record: RunRecord, why: str, now: datetime) -> RunChange:
    """Have the orders of a run held; what is being worked on is finished.

    Raises Rejected if it was canceled.
    """
    return RunChange(*change_control(store, *record.place, pause(record.run, why), now))


def cancel_run(store: Store, record: RunRecord, why: str, now: datetime) -> RunChange:
    """Have the orders of a run dropped as they are received, and those that are held at once.

    It is for good; called again after it was stopped, it goes on.
    """
    control, is_new = change_control(store, *record.place, cancel(why), now)
    held = _load_held(store, record)
    for key, found in held.items():
        dropped = replace(
            found, state=State.CANCELED, reason=control.reason, error=control.why, order=None
        )
        put_attempt(store, dropped)
        store.remove(key.key)
    return RunChange(control, is_new, len({key.tile for key in held}))


def resume_run(
    store: Store,
    queue: Queue,
    record: RunRecord,
    site: Site,
    now: datetime,
    limits: RunLimits,
    progress: ShareDone = lambda _share: None,
) -> RunChange:
    """Have a run go on: its orders are done again, and those that are held are sent.

    Wherever it is stopped and called again, every order is sent; a message that is sent twice is
    skipped by whoever gets it second. Called for a run that goes on it sends what is held.

    Raises
    ------
    Rejected
        If it was canceled, or a limit of it is reached that is not raised.
    Interrupted
        If the store or the queue fails.
    """
    known = load_control(store, *record.place)
    if known.state is not RunState.CANCELED:
        _refuse_excess(store, record, replace(known, **limits), site, now)  # type: ignore[arg-type]
    control, is_new = change_control(store, *record.place, resume(record.run, limits), now)
    return RunChange(control, is_new, _send_held(store, queue, record, progress))


def _refuse_excess(
    store: Store, record: RunRecord, control: RunControl, site: Site, now: datetime
) -> None:
    """Raise Rejected if a worker would stop the run at once."""
    if not control.is_limited:
        return
    spending = RunLedger(store, *record.place, threads=site.threads).look(now)
    left = {*record.tiles} - {str(tile) for tile in spending.tiles}
    excess = find_excess(control, spending, site.price, is_new_tile=bool(left))
    if excess is not None:
        reason, why = excess
        option = "--max-cost" if reason is Reason.OVER_BUDGET else "--max-tiles"
        raise Rejected(f"run {record.run} cannot go on: {why}; give {option} more", reason=reason)


def _send_held(store: Store, queue: Queue, record: RunRecord, progress: ShareDone) -> int:
    held = _load_held(store, record)
    orders: dict[tuple[str, str], tuple[Message, list[AttemptKey]]] = {}
    for key, found in held.items():
        order = found.held_order()
        message = Message(order.body, order.attributes)
        same = (order.body, repr(sorted(order.attributes.items())))
        orders.setdefault(same, (message, []))[1].append(key)
    waiting = list(orders.values())
    for start in range(0, len(waiting), BATCH):
        progress(start / len(waiting))
        batch = waiting[start : start + BATCH]
        accepted = queue.send([message for message, _ in batch])
        for _, keys in batch[:accepted]:  # only now: a queue that has them cannot lose them
            for key in keys:
                store.remove(key.key)
        if accepted < len(batch):
            left = format_count(len(waiting) - start - accepted, "held order")
            raise Interrupted(
                f"the queue {queue.address} does not accept more messages: {left} of run "
                f"{record.run} are not sent; resume it again",
                reason=Reason.QUEUE_REFUSED,
            )
    progress(1.0)
    return len(waiting)


def _load_held(store: Store, record: RunRecord) -> dict[AttemptKey, AttemptRecord]:
    """Records of orders that are held; what was done meanwhile is held no longer."""
    keys = tuple(find_attempts(store, *record.place))
    latest = latest_states(keys)
    done = {key.tile for key in latest if key.state.is_done}
    held = [key for key in latest if key.state is State.HELD and key.tile not in done]
    for key in keys:
        if key.state is State.HELD and key not in held:
            store.remove(key.key)
    return load_attempts(store, held)
