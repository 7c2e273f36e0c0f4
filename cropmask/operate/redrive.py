"""Dead letters: looked at, sent back, or thrown away."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from cropmask.errors import Reason, Rejected
from cropmask.fleet.control import RunControl, load_control
from cropmask.fleet.recordfiles import load_run
from cropmask.fleet.records import RunRecord
from cropmask.queue.protocol import DeadLetter, Queue
from cropmask.store.protocol import Store
from cropmask.task import Order, Period, name_product

FIELDS: Final = ("reason", "run", "region", "tile", "period")
"""What dead letters are chosen by."""
_AGE: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters; all of them unless something is said."""

    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Values by field: one of the values of every field."""
    since: datetime | None = None
    """Those that died at this moment or later."""
    limit: int | None = None

    def accepts(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is one of them; the limit is not looked at."""
        if self.since is not None and letter.died < self.since:
            return False
        fields = find_fields(letter)
        return all(fields.get(name) in values for name, values in self.where.items())


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Dead letters of one reason."""

    reason: str
    count: int
    last: datetime
    """When the last of them died."""
    error: str | None
    """What was wrong with that one."""
    tiles: tuple[str, ...]
    """Sorted; of messages that are no task, nothing."""


def parse_where(words: Iterable[str]) -> dict[str, frozenset[str]]:
    """Values by field of words like ``reason=bad message``; Rejected for any other."""
    found: dict[str, set[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in FIELDS or not value.strip():
            raise Rejected(
                f"'{word}' chooses no dead letters: write field=value; fields are "
                f"{', '.join(FIELDS)}",
                reason=Reason.BAD_VALUE,
            )
        found.setdefault(name, set()).add(value.strip())
    return {name: frozenset(values) for name, values in found.items()}


def parse_age(text: str) -> timedelta:
    """Length of time of ``90m``, ``36h``, ``2d`` or ``1w``; Rejected if it is none."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise Rejected(
            f"'{text}' is no age: write it like 90m, 36h, 2d or 1w", reason=Reason.BAD_VALUE
        )
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def find_fields(letter: DeadLetter) -> dict[str, str]:
    """Fields of a dead letter; a message that is no task has a reason only."""
    fields = {"reason": letter.reason}
    try:
        order = Order.parse(letter.message.body, letter.message.attributes)
    except Rejected:
        return fields
    task = order.task
    where = {"region": task.region, "tile": str(task.tile), "period": str(task.period)}
    return {**fields, "run": order.run, **where}


def find_letters(queue: Queue, wanted: LetterFilter) -> Generator[DeadLetter, None, None]:
    """Dead letters that are wanted; they stay where they are."""
    with closing(queue.dead_letters()) as letters:
        yield from islice(filter(wanted.accepts, letters), wanted.limit)


def settle_letters(
    queue: Queue, wanted: LetterFilter, action: Callable[[DeadLetter], None], now: datetime
) -> Iterator[DeadLetter]:
    """Redrive or discard, as ``action`` does, wanted dead letters; each is told when it is done.

    Those that die after ``now``, as they failed again at once, are left alone: none is sent twice.
    """
    with closing(find_letters(queue, replace(wanted, limit=None))) as letters:
        chosen = (letter for letter in letters if letter.died <= now)
        for letter in islice(chosen, wanted.limit):
            action(letter)
            yield letter


def find_waiting_runs(
    store: Store, letters: Iterable[DeadLetter]
) -> tuple[tuple[RunRecord, RunControl], ...]:
    """Runs of some dead letters that are not going on, by name: theirs would be put aside."""
    fields = [found for found in map(find_fields, letters) if "run" in found]
    places = {
        (name_product(one["region"], Period.of_task(one["period"])), one["period"], one["run"])
        for one in fields
    }
    controls = {place: load_control(store, *place) for place in sorted(places)}
    return tuple(
        (load_run(store, *place), control)
        for place, control in controls.items()
        if not control.is_running
    )


def group_letters(letters: Iterable[DeadLetter]) -> tuple[LetterGroup, ...]:
    """Dead letters by reason, the largest group first."""
    by_reason: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        by_reason.setdefault(letter.reason, []).append(letter)
    groups = (_group_of(reason, found) for reason, found in by_reason.items())
    return tuple(sorted(groups, key=lambda one: (-one.count, one.reason)))


def _group_of(reason: str, letters: Sequence[DeadLetter]) -> LetterGroup:
    last = max(letters, key=lambda letter: letter.died)
    tiles = {find_fields(letter).get("tile", "") for letter in letters} - {""}
    return LetterGroup(reason, len(letters), last.died, last.error, tuple(sorted(tiles)))
