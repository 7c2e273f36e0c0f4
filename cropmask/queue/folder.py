"""Tasks in a folder of one machine, for many processes at once; see :mod:`cropmask.queue.protocol`.

A message is a file, and its state is its name::

    ready/ID.RECEIVES                               visible
    later/START.LENGTH.ID.RECEIVES                  delayed
    leased/START.LENGTH.ID.RECEIVES.TOKEN           in flight
    dead/DIED.ID.TOKEN                              among the dead letters
    notes/TOKEN                                     why it is there

Every step is one rename, of which exactly one process is the winner: whoever is killed at any
point leaves the message in one state or in the next. Times are milliseconds of the wall clock.

Folders are not listed for every message: a queue takes what its last look showed, one rename each,
and looks again when that is used up or no longer fresh. What it does not know of yet, such as a
lease of another process that has ended, it sees with the next look.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from cropmask.contract import MAX_RECEIVES
from cropmask.errors import LeaseLost, Reason
from cropmask.queue.protocol import Counts, DeadLetter, Lease, Message, lease_ended, note, poll
from cropmask.remote.localfiles import (
    folders_removed_after,
    part_of,
    sync_folder,
    translate_os_errors,
)

_READY: Final = "ready"
_LATER: Final = "later"
_LEASED: Final = "leased"
_DEAD: Final = "dead"
_NOTES: Final = "notes"
_ID: Final = re.compile(r"\d{14}-[0-9a-f]{16}")
_NAMES: Final = {
    _READY: re.compile(rf"{_ID.pattern}\.\d+"),
    _LATER: re.compile(rf"\d+\.\d+\.{_ID.pattern}\.\d+"),
    _LEASED: re.compile(rf"\d+\.\d+\.{_ID.pattern}\.\d+\.[0-9a-f]+"),
    _DEAD: re.compile(rf"\d+\.{_ID.pattern}\.[0-9a-f]+"),
}
"""Names of files that are ours; others are left alone."""
_NO_TEXT: Final = "(no text)"
"""Stands for what is in the place of a body or of an attribute's value, and is no text."""
_LISTINGS: Final = 3
"""A listing may miss a file that is being renamed: it is looked for again."""
_GONE: Final = (FileNotFoundError, NotADirectoryError)
_SLACK_MS: Final = 5000
"""A clock may be set back by so much without a lease beginning anew."""
_FRESH_MS: Final = 1000
"""How long messages are taken from one look while there are any."""
_ENTRIES_PER_FRESH_MS: Final = 20
"""A look at n names takes n microseconds or two: a large one stays fresh for longer."""


@dataclass(frozen=True, slots=True)
class _Name:
    """Name of a file below ``later`` or ``leased``."""

    start: int
    length: int
    id: str
    receives: int
    token: str = ""

    def __str__(self) -> str:
        words = (f"{self.start:014d}", self.length, self.id, self.receives, self.token)
        return ".".join(str(word) for word in words if word != "")

    @classmethod
    def parse(cls, name: str) -> _Name:
        start, length, id_, receives, *token = name.split(".")
        return cls(int(start), int(length), id_, int(receives), *token)

    def ends(self) -> int:
        return self.start + self.length

    @property
    def visible(self) -> str:
        """Name below ``ready``."""
        return f"{self.id}.{self.receives}"


class FolderQueue:
    """Messages below a folder, which is made when the first is sent.

    The clock of the machine may be set while messages wait or are in flight: forward, leases end
    early; backward, they begin anew; no message is lost.
    """

    def __init__(
        self,
        root: Path,
        *,
        max_receives: int = MAX_RECEIVES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = Path(os.path.abspath(root.expanduser()))  # noqa: PTH100 (keeps symlinks)
        self.address = str(self.root)
        self.lag_seconds = 0.0
        self._max_receives = max_receives
        self._clock = clock
        self._ready: list[str] = []
        """What the last look showed and nobody here has tried to take, oldest last."""
        self._fresh = range(0)
        """Times at which the last look may still be used; a clock set back is not among them."""
        self._held: dict[str, _Name] = {}
        """Where this object left the messages of its leases, by receipt; others may move them."""

    def _now(self) -> int:
        return round(self._clock() * 1000)

    def send(self, messages: Sequence[Message]) -> int:
        """Write each message under a temporary name, then rename it; synced at the end."""
        ready = self.root / _READY
        for number, message in enumerate(messages):
            document = {"attributes": message.attributes, "body": message.body}
            id_ = f"{self._now():014d}-{number % 0x10000:04x}{uuid4().hex[:12]}"
            self._write(f"{_READY}/{id_}.0", document)
        if messages:
            with translate_os_errors(ready, "written"):
                sync_folder(ready)
        return len(messages)

    def lease(self, *, seconds: float, wait_seconds: float = 0) -> Lease | None:
        """Take the oldest visible message."""
        return poll(lambda: self._take(seconds), wait_seconds, time.monotonic, time.sleep)

    def _take(self, seconds: float) -> Lease | None:
        for name in self._visible():
            id_, receives = name.split(".")
            if int(receives) >= self._max_receives:
                self._move(f"{_READY}/{name}", f"{_DEAD}/{self._now():014d}.{id_}.{uuid4().hex}")
                continue
            taken = _Name(self._now(), round(seconds * 1000), id_, int(receives) + 1, uuid4().hex)
            if self._move(f"{_READY}/{name}", f"{_LEASED}/{taken}"):
                document = self._read(f"{_LEASED}/{taken}")
                if document is not None:
                    self._held[taken.token] = taken
                    return Lease(_message_of(document), id_, taken.token, taken.receives)
        return None

    def _visible(self) -> Iterator[str]:
        """Names below ``ready``, oldest first: of the last look while it is fresh, then of one now.

        Others may have moved them. Each is given once a look, whoever asks.
        """
        if self._now() in self._fresh:
            yield from _popped(self._ready)
        self._look()
        yield from _popped(self._ready)

    def _look(self) -> None:
        """Make visible what is due, and list what is visible."""
        woken = self._wake()
        self._ready = self._names(_READY)[::-1]
        now, entries = self._now(), woken + len(self._ready)
        self._fresh = range(now, now + max(_FRESH_MS, entries // _ENTRIES_PER_FRESH_MS))

    def _wake(self) -> int:
        """Make visible what has waited or been in flight for long enough; how many were seen."""
        now = self._now()
        seen = [(folder, text) for folder in (_LATER, _LEASED) for text in self._names(folder)]
        for folder, text in seen:
            name = _Name.parse(text)
            if name.ends() <= now:
                self._move(f"{folder}/{text}", f"{_READY}/{name.visible}")
            elif name.start > now + _SLACK_MS:
                # The clock was set back: nobody knows how long it has been.
                again = replace(name, start=now)
                self._move(f"{folder}/{text}", f"{folder}/{again}")
        return len(seen)

    def renew(self, lease: Lease, seconds: float) -> None:
        """Rename the message after the new end of its lease."""
        start, length = self._now(), round(seconds * 1000)
        old = self._step(lease, lambda old: f"{_LEASED}/{replace(old, start=start, length=length)}")
        self._held[lease.receipt] = replace(old, start=start, length=length)

    def done(self, lease: Lease) -> None:
        """Delete the message, unless another worker may have it."""
        with contextlib.suppress(LeaseLost):
            # A renewal on another thread may rename the file after it was found: find it again.
            while not self._remove(f"{_LEASED}/{self._find(lease)}"):
                pass

    def release(self, lease: Lease, delay_seconds: float = 0) -> None:
        """Make the message visible, or delay it."""

        def to(old: _Name) -> str:
            later = _Name(self._now(), round(delay_seconds * 1000), old.id, old.receives)
            return f"{_LATER}/{later}" if later.length > 0 else f"{_READY}/{later.visible}"

        with contextlib.suppress(LeaseLost):
            self._step(lease, to)

    def park(self, lease: Lease, reason: str, error: str) -> None:
        """Write the reason, then move the message."""
        # Notes go first: a dead letter whose reason is missing would look used up.
        notes = {"error": note(error), "reason": note(reason)}
        self._write(f"{_NOTES}/{lease.receipt}", notes)
        try:
            self._step(lease, lambda old: f"{_DEAD}/{self._now():014d}.{old.id}.{old.token}")
        except LeaseLost:
            self._remove(f"{_NOTES}/{lease.receipt}")
            raise

    def counts(self) -> Counts:
        """How many there are; of one that is being moved it is sure that it is counted."""
        self._wake()
        folders: dict[str, str] = {}
        # A listing may miss what is moved meanwhile; two in a row hardly ever miss the same.
        for folder in (_READY, _LATER, _LEASED, _DEAD) * 2:
            folders |= {_id_of(name): folder for name in self._names(folder)}
        numbers = Counter(folders.values())
        return Counts(numbers[_READY], numbers[_LEASED], numbers[_LATER], numbers[_DEAD])

    def dead_letters(self) -> Generator[DeadLetter, None, None]:
        """Dead letters, oldest first."""
        for name in self._names(_DEAD):
            died, id_, token = name.split(".")
            document = self._read(f"{_DEAD}/{name}")
            notes = self._read(f"{_NOTES}/{token}") or {}
            if document is not None:
                yield DeadLetter(
                    _message_of(document),
                    id_,
                    name,
                    str(notes.get("reason", Reason.RECEIVES_USED_UP)),
                    notes.get("error"),
                    datetime.fromtimestamp(int(died) / 1000, UTC),
                )

    def redrive(self, letter: DeadLetter) -> None:
        """Move a dead letter back."""
        self._move(f"{_DEAD}/{letter.receipt}", f"{_READY}/{letter.message_id}.0")
        self._remove(f"{_NOTES}/{letter.receipt.rpartition('.')[2]}")

    def discard(self, letter: DeadLetter) -> None:
        """Delete a dead letter."""
        self._remove(f"{_DEAD}/{letter.receipt}")
        self._remove(f"{_NOTES}/{letter.receipt.rpartition('.')[2]}")

    def check(self) -> None:
        """Write and remove a file where messages are."""
        path = self.root / _READY / "check"
        with (
            translate_os_errors(path, "written"),
            folders_removed_after(path.parent),
            part_of(path, b""),
        ):
            pass
        self._names(_READY)

    def _find(self, lease: Lease) -> _Name:
        """Name of a message that is in flight, first as it was left here: it may be moved by now.

        Raises LeaseLost if it is not in flight, or another worker has it.
        """
        left = self._held.pop(lease.receipt, None)
        if left is not None and left.ends() > self._now():
            return left
        for _ in range(_LISTINGS):
            for text in self._names(_LEASED):
                if text.endswith(f".{lease.receipt}"):
                    return _Name.parse(text)
        raise lease_ended(lease)

    def _step(self, lease: Lease, to: Callable[[_Name], str]) -> _Name:
        """Move a message out of the state in which its holder left it; its name before."""
        while True:
            old = self._find(lease)
            if old.ends() <= self._now():
                raise lease_ended(lease)
            if self._move(f"{_LEASED}/{old}", to(old)):
                return old

    def _names(self, folder: str) -> list[str]:
        path = self.root / folder
        with translate_os_errors(path, "listed"):
            try:
                found = os.listdir(path)  # noqa: PTH208 (names, not paths)
            except _GONE:
                return []
        return sorted(filter(_NAMES[folder].fullmatch, found))

    def _move(self, source: str, target: str) -> bool:
        """Rename a file; False if another process was faster."""
        path = self.root / target
        for _ in range(2):
            with translate_os_errors(path, "written"):
                try:
                    (self.root / source).rename(path)
                except FileNotFoundError:
                    # Either the source is gone, or the target's folder was never made.
                    if path.parent.is_dir():
                        return False
                    path.parent.mkdir(parents=True, exist_ok=True)
                else:
                    return True
        return False

    def _remove(self, name: str) -> bool:
        path = self.root / name
        with translate_os_errors(path, "removed"):
            try:
                path.unlink()
            except _GONE:
                return False
        return True

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        path = self.root / name
        content = json.dumps(document, sort_keys=True).encode()
        # The part lies above the messages: looking there for old parts does not list them.
        with translate_os_errors(path, "written"), part_of(self.root / path.name, content) as part:
            path.parent.mkdir(exist_ok=True)
            part.rename(path)

    def _read(self, name: str) -> dict[str, Any] | None:
        """Document of a file; None if it is gone."""
        path = self.root / name
        with translate_os_errors(path, "read"):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except _GONE:
                return None
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return {"body": text}


def _popped(names: list[str]) -> Iterator[str]:
    """Names from the end of a list, until it is empty; threads may share it."""
    with contextlib.suppress(IndexError):
        while True:
            yield names.pop()


def _id_of(name: str) -> str:
    found = _ID.search(name)
    return found[0] if found else name


def _message_of(document: Mapping[str, Any]) -> Message:
    """The message of a file, whatever a hand has written into it."""
    attributes, body = document.get("attributes"), document.get("body")
    known = attributes if isinstance(attributes, dict) else {}
    # Whatever is no text is no task: to write nested values as text could fail.
    words = {name: value if isinstance(value, str) else _NO_TEXT for name, value in known.items()}
    return Message(body if isinstance(body, str) else _NO_TEXT, words)
