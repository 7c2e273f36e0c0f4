"""Files behind http(s) and S3 of which spans are read, so that a byte crosses the network once.

The first request tells size and identity and brings the head; every other names the identity, so
that a file that is replaced meanwhile is an error and never a mixture. What came is kept in
unlinked files of the temporary folder: in the page cache, not in the memory of the process, and for
so short a time that little of it is ever written to the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import logging
import math
import os
import tempfile
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from threading import Condition, Lock, RLock
from typing import Any, Final, Self

from cropmask.errors import CropmaskError, Interrupted, Reason, Rejected
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import (
    EDGE_BYTES,
    BeyondEnd,
    Body,
    ReadOptions,
    find_identity,
    hash_ends,
    open_body,
)
from cropmask.remote.localfiles import translate_os_errors
from cropmask.remote.retries import count_retries

SPAN_BYTES: Final = 8 << 20
"""Bytes asked for at once: long enough that a request's latency is a small part of its time."""
GAP_BYTES: Final = 16 << 10
"""Bytes between two wanted spans that are fetched rather than asked around."""
AHEAD_BYTES: Final = 512 << 20
"""Bytes of rows fetched before the computation needs them."""
HELD_BYTES: Final = 1 << 30
"""Bytes kept before files are completed, which lets go of what is only kept to be verified."""
_CHUNK_BYTES: Final = 256 << 10
_HASHED_BYTES: Final = 1 << 20
_ROUNDS: Final = 3
"""Tries for a span, each from where the last broke off and patient by itself."""
ALWAYS: Final = math.inf
"""Row below all rows."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WantedSpan:
    """A span of a file, and the rows of a tile that it is read for."""

    start: int
    stop: int
    first: float = -1
    """Row that it is read for first: what is needed first is fetched first."""
    last: float = ALWAYS
    """Row that it is read for last: it is kept until then."""


class _State(Enum):
    WAITING = "waiting"
    COMING = "coming"
    HERE = "here"


class _Place:
    """An unlinked file in the temporary folder, which holds the bytes of one span."""

    def __init__(self) -> None:
        with self._translated():
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (stays open)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, chunk: bytes) -> None:
        with self._translated():
            written = self._file.write(chunk)
            while written < len(chunk):  # a disk that is nearly full takes a part
                written += self._file.write(chunk[written:])

    def read(self, start: int, count: int) -> bytes:
        with self._translated():
            return os.pread(self._file.fileno(), count, start)

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def _translated() -> AbstractContextManager[None]:
        return translate_os_errors(Path(tempfile.gettempdir()), "written")


@dataclass(slots=True, eq=False)
class _Span:
    """Bytes of a file that are fetched, kept and dropped together."""

    start: int
    stop: int
    first: float
    last: float
    state: _State = _State.WAITING
    place: _Place | None = None
    readers: int = 0
    """Threads that read it now."""
    is_ahead: bool = False
    """Whether it counts as fetched ahead of the computation."""
    was_here: bool = False

    @property
    def size(self) -> int:
        return self.stop - self.start

    def read(self, start: int, stop: int) -> bytes:
        assert self.place is not None
        return self.place.read(start - self.start, stop - start)


def merge(wanted: Iterable[WantedSpan]) -> list[WantedSpan]:
    """Spans in the order of the file, joined where they nearly touch, up to about SPAN_BYTES."""
    joined: list[WantedSpan] = []
    for span in sorted(wanted, key=lambda span: span.start):
        before = joined[-1] if joined else None
        if before is None or span.start - before.stop > GAP_BYTES:
            joined.append(span)
        elif max(span.stop, before.stop) - before.start > SPAN_BYTES:
            # What lies between is fetched with the first, or it would be a request of its own.
            joined[-1] = replace(before, stop=max(before.stop, span.start))
            joined.append(span)
        else:
            first, last = min(before.first, span.first), max(before.last, span.last)
            joined[-1] = WantedSpan(before.start, max(before.stop, span.stop), first, last)
    return joined


def corrupt(href: str, kind: str, found: str, expected: str) -> Rejected:
    """The error for a file with another digest than is expected."""
    return Rejected(
        f"{href} is not the file that its item describes: its {kind} is {found[:12]}..., not "
        f"{expected[:12]}...: fetch the file again, or correct its item",
        reason=Reason.CORRUPT_INPUT,
    )


class RemoteFile:
    """A file behind http(s) or S3, opened by :meth:`RemoteFiles.open`; threads share it."""

    def __init__(self, href: str, options: ReadOptions, files: RemoteFiles) -> None:
        self.href = href
        self._options = options
        self._files = files
        self._changed = files._changed
        self._version = ""
        self._spans: list[_Span] = []
        self._row: float = -1
        self._hash: Any = None
        self._expected: tuple[str, str] | None = None
        self._hashed = 0
        self._hashing = Lock()
        self.size = self._open()
        """Bytes of the file."""

    @property
    def identity(self) -> str:
        """What tells this content from any other, as for ``find_identity`` of ``fetch``."""
        if self._version.endswith('"'):
            return "etag:" + self._version.removeprefix("W/").strip('"')
        return hash_ends(self.size, self.read)

    @property
    def is_complete(self) -> bool:
        """Whether every byte is here."""
        with self._changed:
            here = [span for span in self._spans if span.state is _State.HERE]
        return sum(span.size for span in here) == self.size

    def read(self, start: int, count: int) -> bytes:
        """Bytes of a span, fewer at the end of the file; what is not here yet is fetched."""
        stop = min(start + count, self.size)
        parts = []
        for span in self._cover(start, stop):
            self._take(span)
            try:
                left, right = max(start, span.start), min(stop, span.stop)
                parts.append(span.read(left, right))
            finally:
                self._let_go(span)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def want(self, wanted: Iterable[WantedSpan]) -> None:
        """Fetch spans ahead of their reading, in the order of the rows that need them."""
        joined = merge(wanted)
        if joined and self.size - joined[-1].stop <= GAP_BYTES:
            joined[-1] = replace(joined[-1], stop=self.size)
        with self._changed:
            for span in joined:
                for added in self._add(span):
                    self._files._queue(self, added)

    def release(self, row: float) -> None:
        """Let go of what is read for rows above this one only; -1 to read from the first on."""
        with self._changed:
            self._row = row
            for span in self._spans:
                self._drop_if_done(span)
            self._changed.notify_all()

    def forget(self) -> None:
        """Let go of everything: it came damaged, and is fetched again when it is read."""
        with self._hashing, self._changed:
            for span in self._spans:
                if span.state is _State.HERE and not span.readers:
                    self._drop(span)
            self._hashed = 0
            if self._expected is not None:
                self._hash = hashlib.new(self._expected[0], usedforsecurity=False)

    def expect(self, kind: str, digest: str) -> None:
        """Have the whole file hashed as it comes; :meth:`check` compares.

        What is not read otherwise is fetched for it. A file that is here already is compared at
        once, and fetched again if it came damaged. Raises Rejected if it is another one.
        """
        with self._changed:
            if self._expected is not None:
                return
            self._expected = kind, digest
            self._hash = hashlib.new(kind, usedforsecurity=False)
            for span in self._add(WantedSpan(0, self.size, ALWAYS, -ALWAYS)):
                self._files._queue(self, span)
        self._advance()
        for attempt in range(_ROUNDS if self.is_complete else 0):
            found = self._digest()
            if found == digest:
                return
            if attempt == _ROUNDS - 1:
                raise corrupt(self.href, kind, found, digest)
            self._wait(attempt)
            self.forget()

    def check(self) -> None:
        """Wait for the whole file, and compare it with what is expected of it, if anything is.

        Raises Rejected if it is another file; Interrupted if it came damaged, so that what was made
        of it is wrong.
        """
        if self._expected is not None and self._digest() != self._expected[1]:
            self.doubt()

    def doubt(self) -> None:
        """Look at a file anew that seems damaged, if something is expected of it; it raises then.

        Raises Rejected if it is not the expected file; Interrupted if it is, so that only what was
        fetched before was damaged.
        """
        if self._expected is None:
            return
        kind, expected = self._expected
        again = hashlib.new(kind, usedforsecurity=False)
        for start in range(0, self.size, SPAN_BYTES):
            self._load(start, min(start + SPAN_BYTES, self.size), again.update)
        if again.hexdigest() != expected:
            raise corrupt(self.href, kind, again.hexdigest(), expected)
        raise Interrupted(
            f"{self.href} came damaged, and whole when it was fetched again: run again",
            reason=Reason.UNREACHABLE,
        )

    def _digest(self) -> str:
        """Digest of the whole file in hexadecimal digits, when all of it has come."""
        while self._hashed < self.size:
            with self._changed:  # or it could be hashed and let go of meanwhile, and fetched again
                span = self._at(self._hashed)
                span.readers += 1
            try:
                self._take(span)
                self._let_go(span)
                with self._hashing:
                    pass  # whoever hashes now may have reached it
                self._advance()
            finally:
                self._let_go(span)
        return str(self._hash.hexdigest())

    def close(self) -> None:
        """Let go of what is kept."""
        with self._changed:
            for span in self._spans:
                if span.state is _State.HERE:
                    self._drop(span)

    def _open(self) -> int:
        """Ask for the head, and so for the size."""
        for attempt in range(_ROUNDS):
            try:
                with open_body(self.href, self._options, (0, EDGE_BYTES)) as body:
                    return self._keep_head(body)
            except BeyondEnd:
                return 0
            except Interrupted:
                if attempt == _ROUNDS - 1:
                    raise
            self._wait(attempt)
        raise AssertionError("unreachable")

    def _keep_head(self, body: Body) -> int:
        """Size of the file of an answer; of a server that knows no ranges, it is the whole file."""
        self._version = body.version
        limits = self._options.limits
        if body.start or (body.length is None) != (body.size is None):
            raise Interrupted(f"{self.href} is answered with other bytes than its first: run again")
        if (body.length or 0) > EDGE_BYTES:  # the server knows no ranges
            limits.check("file_bytes", body.length or 0, self.href)
        span = _Span(0, 0, -1, ALWAYS, _State.HERE, was_here=True)
        with contextlib.ExitStack() as undo:
            span.place = undo.enter_context(_Place())
            span.stop = self._copy(body, body.length, span.place.write)
            undo.pop_all()
        self._spans = [span]
        with self._changed:
            self._files._count_held(span.size)
        return span.stop if body.size is None else body.size

    def _at(self, position: int) -> _Span:
        with self._changed:
            at = bisect_right(self._spans, position, key=lambda span: span.start) - 1
            return self._spans[at]

    def _cover(self, start: int, stop: int) -> list[_Span]:
        """Spans that hold these bytes; those that nobody asked for yet are added."""
        if start >= stop:
            return []
        with self._changed:
            missing = self._missing(start, stop)
            for left, right in missing:
                end = min(max(right, left + EDGE_BYTES), self.size)
                self._add(WantedSpan(left, end))
            return [span for span in self._spans if span.start < stop and span.stop > start]

    def _missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Parts of a span that no span of ours holds."""
        missing, at = [], start
        for span in self._spans:
            if span.stop <= at or span.start >= stop:
                continue
            if span.start > at:
                missing.append((at, span.start))
            at = span.stop
        return [*missing, *([(at, stop)] if at < stop else [])]

    def _add(self, wanted: WantedSpan) -> list[_Span]:
        """New spans for what is not asked for yet; what is, is kept as long as this wants it."""
        stop = min(wanted.stop, self.size)
        for span in self._spans:
            if span.start < stop and span.stop > wanted.start:
                span.first, span.last = min(span.first, wanted.first), max(span.last, wanted.last)
        added = [
            _Span(left, min(left + SPAN_BYTES, right), wanted.first, wanted.last)
            for begin, right in self._missing(wanted.start, stop)
            for left in range(begin, right, SPAN_BYTES)
        ]
        self._spans = sorted([*self._spans, *added], key=lambda span: span.start)
        return added

    def _take(self, span: _Span) -> None:
        """Have a span here until it is let go: wait for it, or fetch it."""
        with self._changed:
            while span.state is _State.COMING and not self._files._is_closed:
                self._changed.wait()
            self._files._check_open()
            span.readers += 1
            is_mine = span.state is _State.WAITING
            if is_mine:
                self._files._claim(span)
        if is_mine:
            try:
                self._fetch(span)
            except BaseException:
                self._let_go(span)
                raise

    def _let_go(self, span: _Span) -> None:
        with self._changed:
            span.readers -= 1
            self._drop_if_done(span)

    def _fetch(self, span: _Span) -> None:
        """Fetch a claimed span."""
        try:
            with contextlib.ExitStack() as undo:
                place = undo.enter_context(_Place())
                self._load(span.start, span.stop, place.write)
                undo.pop_all()
        except BaseException:
            with self._changed:
                self._files._unclaim(span)
            raise
        with self._changed:
            span.place, span.state, span.was_here = place, _State.HERE, True
            self._changed.notify_all()
        self._advance()
        with self._changed:
            self._drop_if_done(span)

    def _load(self, start: int, stop: int, write: Callable[[bytes], object]) -> None:
        """Give the bytes of a span to ``write``, asked for again from where they break off."""
        at = start

        def count(chunk: bytes) -> None:
            nonlocal at
            write(chunk)
            at += len(chunk)

        for attempt in range(_ROUNDS):
            try:
                with open_body(self.href, self._options, (at, stop - at), self._version) as body:
                    self._check_same(body, at)
                    self._copy(body, at - body.start, lambda _chunk: None)
                    self._copy(body, stop - at, count)
                return
            except Interrupted as error:
                if attempt == _ROUNDS - 1 or error.reason is Reason.REPLACED_INPUT:
                    raise
            self._wait(attempt)

    def _check_same(self, body: Body, at: int) -> None:
        """Raise Interrupted if an answer is not of the file that was opened, or of other bytes."""
        is_same = body.version == self._version and body.size in (None, self.size)
        if not is_same or body.start > at:
            raise Interrupted(
                f"{self.href} is answered otherwise than at first: it was replaced while it was "
                "read; run again",
                reason=Reason.REPLACED_INPUT,
            )

    def _copy(self, body: Body, number: int | None, write: Callable[[bytes], object]) -> int:
        """Give so many bytes of an answer to ``write``, or all if their number is not known."""
        got = 0
        while number is None or got < number:
            chunk = body.read(_CHUNK_BYTES if number is None else min(number - got, _CHUNK_BYTES))
            if not chunk and number is not None:
                raise Interrupted(
                    f"{self.href} cannot be read, it breaks off {number - got} bytes too early: "
                    "try again later",
                    reason=Reason.UNREACHABLE,
                )
            if not chunk:
                break
            write(chunk)
            got += len(chunk)
            if number is None:
                self._options.limits.check("file_bytes", got, self.href)
            self._files._check_open()
        return got

    def _wait(self, attempt: int) -> None:
        count_retries()
        time.sleep(self._options.retry_delay_seconds * 2**attempt)

    def _advance(self) -> None:
        """Hash what follows what is hashed, as far as it is here."""
        while self._hash is not None and self._hashing.acquire(blocking=False):
            try:
                while (span := self._next_to_hash()) is not None:
                    try:
                        for left in range(self._hashed, span.stop, _HASHED_BYTES):
                            right = min(left + _HASHED_BYTES, span.stop)
                            self._hash.update(span.read(left, right))
                        self._hashed = span.stop
                    finally:
                        self._let_go(span)
            finally:
                self._hashing.release()
            # Another thread may have brought the next span while this one held the lock.
            with self._changed:
                if not self._is_next_here():
                    return

    def _is_next_here(self) -> bool:
        return self._hashed < self.size and self._at(self._hashed).state is _State.HERE

    def _next_to_hash(self) -> _Span | None:
        with self._changed:
            if not self._is_next_here():
                return None
            span = self._at(self._hashed)
            span.readers += 1
            return span

    def _drop_if_done(self, span: _Span) -> None:
        """Let go of a span that nobody reads any more."""
        is_hashed = self._hash is None or self._hashed >= span.stop
        if span.last < self._row:
            self._files._uncount_ahead(span)
            if is_hashed and not span.readers and span.state is _State.HERE:
                self._drop(span)

    def _drop(self, span: _Span) -> None:
        assert span.place is not None
        span.place.close()
        span.place = None
        self._files._unclaim(span)


class RemoteFiles:
    """The remote files of one piece of work: each is opened once, and read ahead of its need.

    Threads share it. Leaving it ends what is under way and lets go of everything.
    """

    def __init__(self, ahead_bytes: int = AHEAD_BYTES) -> None:
        self._ahead_bytes = ahead_bytes
        self._changed = Condition(RLock())
        self._files: dict[str, Future[RemoteFile]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._planned: list[tuple[float, int, RemoteFile, _Span]] = []
        self._rest: deque[tuple[RemoteFile, _Span]] = deque()
        self._queued = 0
        self._held = 0
        self._ahead = 0
        self.most_held = 0
        """Most bytes that were kept at the same time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, href: str, options: ReadOptions) -> RemoteFile:
        """A file, opened by the first who asks.

        Raises Absent if there is none; Rejected if access is denied; Interrupted if it cannot be
        read now.
        """
        with self._changed:
            known = self._files.get(href)
            future = self._files[href] = known or Future()
        if known is None:
            try:
                future.set_result(RemoteFile(href, options, self))
            except BaseException as error:
                with self._changed:
                    del self._files[href]
                future.set_exception(error)
                raise
        return future.result()

    def release(self, row: float) -> None:
        """Let go of what is read for rows above this one only, of every file."""
        for file in self.opened:
            file.release(row)

    def identify(self, href: str, options: ReadOptions) -> str:
        """Identity of a file, as :func:`~cropmask.remote.fetch.find_identity`, kept open."""
        if not is_remote(href):
            return find_identity(href, options)
        return self.open(href, options).identity

    def end(self) -> None:
        """Have what is under way fail; more than once does no harm."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """End what is under way and let go of everything; more than once does no harm."""
        self.end()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for file in self.opened:
            file.close()

    @property
    def opened(self) -> list[RemoteFile]:
        """Every file that is open."""
        with self._changed:
            done = [future for future in self._files.values() if future.done()]
        return [future.result() for future in done if not future.exception()]

    def _queue(self, file: RemoteFile, span: _Span) -> None:
        """Fetch a span when its turn comes."""
        if span.first == ALWAYS:
            self._rest.append((file, span))
        else:
            self._queued += 1
            heapq.heappush(self._planned, (span.first, self._queued, file, span))
        if self._pool is None:
            threads = file._options.threads
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        if not self._is_closed:
            self._pool.submit(self._fetch_next)
        self._changed.notify_all()

    def _fetch_next(self) -> None:
        with self._changed:
            while (turn := self._next()) is None or turn[1].state is not _State.WAITING:
                if self._is_closed or not (self._planned or self._rest):
                    return
                if turn is None:
                    self._changed.wait()
            file, span = turn
            self._claim(span)
            if span.last != ALWAYS and span.last >= file._row:
                span.is_ahead = True
                self._ahead += span.size
        try:
            file._fetch(span)
        except (CropmaskError, OSError) as error:
            log.info("%s", error)  # whoever needs it asks once more, and is told what is wrong

    def _next(self) -> tuple[RemoteFile, _Span] | None:
        """File and span whose turn it is; None if nothing may be fetched now."""
        while self._planned and self._planned[0][3].was_here:
            heapq.heappop(self._planned)  # somebody could not wait for its turn
        while self._rest and self._rest[0][1].was_here:
            self._rest.popleft()
        is_full = self._ahead >= self._ahead_bytes or (self._held >= HELD_BYTES and self._rest)
        if self._planned and not is_full:
            return heapq.heappop(self._planned)[2:]
        return self._rest.popleft() if self._rest else None

    def _claim(self, span: _Span) -> None:
        span.state = _State.COMING
        self._count_held(span.size)

    def _unclaim(self, span: _Span) -> None:
        span.state = _State.WAITING
        self._uncount_ahead(span)
        self._count_held(-span.size)
        self._changed.notify_all()

    def _uncount_ahead(self, span: _Span) -> None:
        self._ahead -= span.size if span.is_ahead else 0
        span.is_ahead = False

    def _count_held(self, number: int) -> None:
        self._held += number
        self.most_held = max(self.most_held, self._held)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Interrupted("reading was ended before its end")
