"""One run paused, resumed or canceled, whatever others do: by a word beside its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from cropmask.errors import Interrupted, Reason, Rejected, write_command
from cropmask.fleet.control import (
    RunControl,
    RunState,
    cancel,
    change_control,
    load_control,
    pause,
    resume,
)
from cropmask.fleet.gate import find_excess, price_of, write_dollars
from cropmask.fleet.recordfiles import (
    find_attempts,
    latest_states,
    load_attempts,
    load_runs,
    put_attempt,
)
from cropmask.fleet.records import AttemptKey, AttemptRecord, RunRecord, State, run_key_of
from cropmask.fleet.spending import RunLedger
from cropmask.grid import Tile
from cropmask.machine.stages import ShareDone
from cropmask.operate.formats import format_count
from cropmask.operate.planfile import Need, Plan
from cropmask.operate.status import count_states, mark_unsent, tile_statuses
from cropmask.operate.submit import BATCH
from cropmask.queue.protocol import Message, Queue
from cropmask.site.price import Price
from cropmask.site.site import Site
from cropmask.store.protocol import Store

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


def check_estimate(record: RunRecord, plan: Plan, price: Price, limits: RunLimits) -> None:
    """Raise Rejected if a run needs more than it may, by the estimate of its plan."""
    tiles, most = len(record.tiles), limits.get("max_tiles")
    if most is not None and tiles > most:
        raise Rejected(
            f"the run has {format_count(tiles, 'tile')}, and --max-tiles allows {most:,}: name "
            "fewer with --tiles or --aoi, or allow more",
            reason=Reason.TOO_MANY_TILES,
        )
    needs = (Need.NEW, Need.CHANGED, *((Need.UNCHANGED,) if record.overwrite else ()))
    sent = {*record.tiles}
    number = sum(str(planned.tile) in sent for planned in plan.of(*needs))
    dollars, most = plan.estimate.dollars_of(number, price), limits.get("max_cost")
    if most is not None and dollars > most:
        raise Rejected(
            f"{format_count(number, 'tile')} may cost {write_dollars(dollars)} at {price}, from "
            f"{plan.estimate.basis}, and --max-cost allows {write_dollars(most)}: name fewer "
            "tiles, or allow more",
            reason=Reason.OVER_BUDGET,
        )


def put_limits(
    store: Store, record: RunRecord, limits: RunLimits, price: Price, now: datetime
) -> None:
    """Write down what a run may need, before anything of it is sent.

    Raises Rejected if it is under way with other limits.
    """
    if not limits:
        return
    is_new = not store.exists(run_key_of(*record.place))

    def change(known: RunControl) -> RunControl | None:
        changed = replace(known, **limits, cpu_hour_price=price.dollars)  # type: ignore[arg-type]
        if is_new:
            return changed
        if all(getattr(known, name) == limit for name, limit in limits.items()):
            return None
        raise Rejected(
            f"run {record.run} is under way with other limits: '{write_command('run resume')}' "
            "changes them",
            reason=Reason.BAD_VALUE,
        )

    change_control(store, *record.place, change, now)


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
    queue: Queue | None,
    record: RunRecord,
    site: Site,
    now: datetime,
    limits: RunLimits,
    progress: ShareDone = lambda _share: None,
) -> RunChange:
    """Have a run go on: its orders are done again, and those that are held are sent.

    Without a queue, for a run whose orders are in a task file, they are only held no longer.

    Wherever it is stopped and called again, every order is sent; a message that is sent twice is
    skipped by whoever gets it second. Called for a run that goes on it sends what is held.

    Raises Rejected if it was canceled, or a limit of it is reached that is not raised; Interrupted
    if the store or the queue fails.
    """
    known = load_control(store, *record.place)
    if limits.get("max_cost") is not None and known.cpu_hour_price is None:
        limits = {**limits, "cpu_hour_price": site.price.dollars}
    if known.state is not RunState.CANCELED:
        _refuse_excess(store, record, replace(known, **limits), site, now)  # type: ignore[arg-type]
    control, is_new = change_control(store, *record.place, resume(record.run, limits), now)
    if queue is None:
        return RunChange(control, is_new, _free_held(store, record))
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
        dollars = price_of(control, site.price).of(spending.cpu_seconds)
        more = (("--max-cost", f"{2 * dollars:g}") if reason is Reason.OVER_BUDGET
                else ("--max-tiles", str(2 * len(spending.tiles))))  # fmt: skip
        line = site.commands.line("run resume", record.run, *more)
        raise Rejected(
            f"run {record.run} cannot go on: {why}; give more, such as: {line}", reason=reason
        )


def _free_held(store: Store, record: RunRecord) -> int:
    held = _load_held(store, record)
    for key in held:  # the task file has their orders
        store.remove(key.key)
    return len({key.tile for key in held})


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


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run of a list."""

    record: RunRecord
    control: RunControl
    counts: Mapping[str, int]
    """Tiles by state, as :data:`~cropmask.operate.status.TILE_STATES`."""


def list_runs(
    store: Store, product: str | None = None, period: str | None = None, last: int | None = None
) -> tuple[RunSummary, ...]:
    """Runs, the newest first, from one listing of each."""
    records = load_runs(store, product, period)[::-1][:last]
    return tuple(_summarize(store, record) for record in records)


def _summarize(store: Store, record: RunRecord) -> RunSummary:
    control = load_control(store, *record.place)
    wanted = map(Tile.parse, record.tiles)
    tiles = mark_unsent(record, control, tile_statuses(find_attempts(store, *record.place), wanted))
    return RunSummary(record, control, count_states(tiles))
