"""What becomes of a run that is under way: it goes on, waits, was canceled, or was stopped.

Every word about a run is a document of its own, numbered, and the last one counts::

    _runs/{product}/{period}/{run}/control/{number}.json

A number is written only where none is (:meth:`~cropmask.store.protocol.Store.put_if_absent`), so
that nobody overrides what he has not read: a worker that finds a run too expensive does not stop
one that somebody has just given more money. What is older stays, and tells the run's story.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cropmask.errors import Interrupted, Reason, Rejected, one_line
from cropmask.fleet.records import run_folder, write_moment
from cropmask.fleet.strictjson import check_fields, describe_fault, read_known
from cropmask.store.protocol import Store

_JSON: Final = "application/json"
_NAME: Final = re.compile(r"(\d{4,9})\.json")
_ROUNDS: Final = 20
"""How often a change is tried while others change the same run."""


class RunState(StrEnum):
    """What becomes of the orders of a run that workers receive."""

    RUNNING = "running"
    """They are done."""
    PAUSED = "paused"
    """They are held, until somebody resumes the run."""
    CANCELED = "canceled"
    """They are dropped; this is for good."""
    STOPPED = "stopped"
    """They are held: a worker has found that it cannot go on like this."""


@dataclass(frozen=True, slots=True)
class RunControl:
    """The last word about a run."""

    state: RunState = RunState.RUNNING
    reason: str | None = None
    """Of a run that is not running: groups it in reports (:class:`~cropmask.errors.Reason`)."""
    why: str | None = None
    """One line."""
    since: str | None = None
    """UTC, RFC 3339; None if nobody has said anything yet."""
    by: str | None = None
    """Host of whoever said it."""
    token: str | None = None
    """Hexadecimal digits that no other word has."""
    max_cost: float | None = None
    """Dollars that the run may cost; None for no limit."""
    max_tiles: int | None = None
    """Tiles that may be computed; None for no limit."""
    cpu_hour_price: float | None = None
    """Dollars for an hour of one CPU, at which the run is counted; None for that of the site."""
    number: int = 0
    """Of its document; 0 if there is none."""

    @property
    def is_running(self) -> bool:
        """Whether its orders are done."""
        return self.state is RunState.RUNNING

    @property
    def is_limited(self) -> bool:
        """Whether anything is to be counted."""
        return self.max_cost is not None or self.max_tiles is not None

    def to_json(self) -> str:
        """The document."""
        found = asdict(self)
        del found["number"]
        return json.dumps(found, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, number: int) -> RunControl:
        """Word of a document; names that a later version has added are left alone.

        Raises Rejected if it is none.
        """
        try:
            known = read_known(cls, text)
            known |= {name: one_line(text) for name, text in known.items() if type(text) is str}
            known["state"] = RunState(known["state"])
            control = check_fields(cls, {**known, "number": number})
            numbers = (control.max_cost, control.max_tiles, control.cpu_hour_price)
            if any(number is not None and number < 0 for number in numbers):
                raise ValueError("a limit or price is below zero")
            if control.since is None or datetime.fromisoformat(control.since).tzinfo is None:
                raise ValueError("since: it is no moment")
        except (ValueError, TypeError, KeyError) as error:
            raise Rejected(
                f"the document is no word about a run ({describe_fault(error)}): remove it, and "
                "the one before it counts",
                reason=Reason.BAD_RECORD,
            ) from None
        return control


ControlChange = Callable[[RunControl], RunControl | None]
"""What follows for a run from the last word about it; None if that is to stay."""


def stop(reason: str, why: str) -> ControlChange:
    """A run that is running is stopped; one that waits or was canceled stays as it is."""

    def change(known: RunControl) -> RunControl | None:
        if not known.is_running:
            return None
        return replace(known, state=RunState.STOPPED, reason=reason, why=one_line(why))

    return change


def pause(run: str, why: str) -> ControlChange:
    """A run waits for somebody, also one that was stopped, which 'redrive' would let go on.

    Raises Rejected if it was canceled.
    """

    def change(known: RunControl) -> RunControl | None:
        refuse_canceled(run, known)
        if known.state is RunState.PAUSED:
            return None
        reason = Reason.RUN_PAUSED
        return replace(known, state=RunState.PAUSED, reason=reason, why=one_line(why))

    return change


def resume(run: str, limits: Mapping[str, float | int | None]) -> ControlChange:
    """A run that waits goes on, with limits in place of those it had.

    Raises Rejected if it was canceled.
    """

    def change(known: RunControl) -> RunControl | None:
        refuse_canceled(run, known)
        changed = replace(known, state=RunState.RUNNING, reason=None, why=None, **limits)  # type: ignore[arg-type]
        return None if changed == known else changed

    return change


def cancel(why: str) -> ControlChange:
    """A run comes to its end, whatever it was doing."""

    def change(known: RunControl) -> RunControl | None:
        if known.state is RunState.CANCELED:
            return None
        reason = Reason.RUN_CANCELED
        return replace(known, state=RunState.CANCELED, reason=reason, why=one_line(why))

    return change


def refuse_canceled(run: str, known: RunControl) -> None:
    """Raise Rejected if a run was canceled."""
    if known.state is RunState.CANCELED:
        raise Rejected(
            f"run {run} was canceled, which is for good: submit what is still wanted as a run of "
            "its own",
            reason=Reason.RUN_CANCELED,
        )


def control_folder(product: str, period: str, run: str) -> str:
    """Prefix of the keys of what was said about a run; ends with a slash."""
    return f"{run_folder(product, period, run)}control/"


def load_control(store: Store, product: str, period: str, run: str) -> RunControl:
    """The last word about a run; that it is running if nobody has said anything.

    Raises Rejected, which names the document, if it is none; Misconfigured and Interrupted if the
    store refuses or fails.
    """
    folder = control_folder(product, period, run)
    names = (entry.key.removeprefix(folder) for entry in store.list(folder))
    last = max((int(found[1]) for found in map(_NAME.fullmatch, names) if found), default=0)
    if not last:
        return RunControl()
    key = _key(folder, last)
    try:
        return RunControl.from_json(store.get(key), last)
    except Rejected as error:
        raise Rejected(f"{store.uri(key)}: {error}", reason=error.reason) from None


def put_control(
    store: Store, product: str, period: str, run: str, control: RunControl, known: RunControl
) -> bool:
    """Say something about a run, unless somebody else has said something since ``known``.

    Whoever gets False reads again; it may have been its own word, where a connection was lost.
    """
    key = _key(control_folder(product, period, run), known.number + 1)
    return store.put_if_absent(key, control.to_json().encode(), _JSON)


def change_control(
    store: Store, product: str, period: str, run: str, change: ControlChange, now: datetime
) -> tuple[RunControl, bool]:
    """Have a run's last word changed; the last word, and whether it is ours.

    ``change`` is called with the last word, again whenever another one came in between; when
    (``now``, UTC) and where it was said is filled in here. Raises Interrupted if others change it
    all the time, or the store fails; Rejected and Misconfigured as :func:`load_control`, and what
    ``change`` raises.
    """
    since = write_moment(now.astimezone(UTC))
    host, token = socket.gethostname(), secrets.token_hex(4)
    ours: RunControl | None = None
    for _ in range(_ROUNDS):
        known = load_control(store, product, period, run)
        if ours is not None and known == ours:  # the answer to it was lost
            return known, True
        changed = change(known)
        if changed is None:
            return known, False
        ours = replace(changed, number=known.number + 1, since=since, by=host, token=token)
        if put_control(store, product, period, run, ours, known):
            return ours, True
    raise Interrupted(f"run {run} is being changed by others all the time: try again")


def _key(folder: str, number: int) -> str:
    return f"{folder}{number:04d}.json"
