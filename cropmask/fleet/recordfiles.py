"""Records of runs and attempts in the store of results: written by workers, read by operators."""

from __future__ import annotations

import logging
import platform
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from typing import Final, TypeVar

from cropmask.contract import LEASE_SECONDS, RUNS, VERSION
from cropmask.errors import CropmaskError, Reason, Rejected
from cropmask.fleet.control import RunControl, RunState
from cropmask.fleet.outcome import Outcome, Verdict
from cropmask.fleet.records import (
    AttemptKey,
    AttemptRecord,
    RunRecord,
    State,
    run_folder,
    run_key_of,
    write_moment,
)
from cropmask.grid import Tile
from cropmask.product import Product, format_bands, name_products
from cropmask.remote.threads import map_threads
from cropmask.site.site import Site
from cropmask.store.protocol import Absent, Store
from cropmask.task import Order

_PACKAGES: Final = ("numba", "numpy", "odc-stac", "rasterio")
"""Packages whose version may matter for a result or its speed."""
_JSON: Final = "application/json"
_LATER: Final = (
    *(State.PENDING, State.HELD, State.CANCELED, State.PROCESSING, State.FAILED),
    *(State.INVALID, State.SKIPPED, State.SUCCEEDED),
)
"""States, each later than those before it."""
_NEAR_SECONDS: Final = 0.001
"""A document that is there sooner is on a disk of this machine; parsing it is part of the time."""
_PATIENCE_SECONDS: Final = 0.05

R = TypeVar("R")

log = logging.getLogger(__name__)


def put_attempt(store: Store, record: AttemptRecord) -> None:
    """Write the document of an attempt; one that ended takes the place of its own beginning."""
    key = record.key
    # The end first: whoever dies between the two leaves both, and the later state counts.
    store.put(key.key, record.to_json().encode(), _JSON)
    if key.state is not State.PROCESSING:
        store.remove(replace(key, state=State.PROCESSING).key)


def find_attempts(store: Store, product: str, period: str, run: str = "") -> Iterator[AttemptKey]:
    """Attempts of a run, or of all runs of a product and period, from one listing.

    They come by run, tile and start. Of an attempt that ended while it was listed both documents
    may come: the later state counts.
    """
    for entry in store.list(run_folder(product, period, run)):
        key = AttemptKey.parse(entry.key)
        if key is not None:
            yield key


def find_tile_attempts(
    store: Store, product: str, period: str, tile: Tile
) -> tuple[AttemptKey, ...]:
    """Attempts of one tile in all runs of a product and period, by start.

    Of an attempt that ended while it was listed only its end is given.
    """
    folders = [
        f"{run_folder(product, period, run)}{tile}/"
        for run in store.folders(run_folder(product, period))
    ]
    listed = map_threads(lambda folder: tuple(store.list(folder)), folders)
    keys = (AttemptKey.parse(entry.key) for entries in listed for entry in entries)
    return tuple(sorted(latest_states(filter(None, keys))))


def latest_states(keys: Iterable[AttemptKey]) -> tuple[AttemptKey, ...]:
    """Each attempt once: of one with several documents the one that says its end.

    Of several ends, that of its worker counts: another may have taken it for lost meanwhile.
    """
    found: dict[tuple[str, Tile, str], AttemptKey] = {}
    for key in keys:
        attempt = (key.run, key.tile, key.attempt)
        known = found.get(attempt)
        if known is None or (_rank(key), key) > (_rank(known), known):
            found[attempt] = key
    return tuple(found.values())


def _rank(key: AttemptKey) -> int:
    return _LATER.index(key.state)


def close_lost(
    store: Store, keys: Iterable[AttemptKey], now: datetime, *, message: str | None = None
) -> dict[AttemptKey, AttemptRecord]:
    """Records of attempts whose workers have died, as they ended, by the names of their beginnings.

    They are written down, and beginnings that a killed worker left beside an end are removed; not
    where the store refuses or fails. ``message`` is the id of one that has come again: whoever had
    it before has lost it.
    """
    known = tuple(keys)
    open_ = [key for key in latest_states(known) if key.state is State.PROCESSING]
    left = {key for key in known if key.state is State.PROCESSING}.difference(open_)
    records = load_attempts(store, open_)
    found = {key: record.end_if_lost(now, message=message) for key, record in records.items()}
    ends = {key: end for key, end in found.items() if end is not None}
    try:
        for end in ends.values():
            put_attempt(store, end)
        for key in left:
            store.remove(key.key)
    except CropmaskError as error:
        log.debug("attempts of dead workers were not written down: %s", error)
    return ends


def load_attempt(store: Store, key: AttemptKey) -> AttemptRecord:
    """Document of an attempt.

    Raises Absent if it is not there, as when the attempt has ended since it was listed; Rejected if
    the document is no record of an attempt.
    """
    return AttemptRecord.from_json(store.get(key.key))


def put_run(store: Store, record: RunRecord) -> None:
    """Write the document of a run."""
    key = run_key_of(*record.place)
    store.put(key, record.to_json().encode(), _JSON)


def load_run(store: Store, product: str, period: str, run: str) -> RunRecord:
    """Document of a run.

    Raises Rejected if there is no such run, or the document is none.
    """
    try:
        return RunRecord.from_json(store.get(run_key_of(product, period, run)))
    except Absent:
        known = ", ".join(find_runs(store, product, period)[-3:]) or "none"
        raise Rejected(
            f"there is no run {run} of {product} in {period}; the newest are: {known}",
            reason=Reason.UNKNOWN_RUN,
        ) from None


def find_runs(store: Store, product: str, period: str) -> tuple[str, ...]:
    """Names of the runs of a product and period that were submitted, sorted."""
    names = store.folders(run_folder(product, period))
    keys = [run_key_of(product, period, name) for name in names]
    there = map_threads(store.exists, keys)
    return tuple(name for name, exists in zip(names, there, strict=True) if exists)


def load_runs(
    store: Store, product: str | None = None, period: str | None = None
) -> tuple[RunRecord, ...]:
    """Runs of a product and a period, or of all, in the order in which they were submitted.

    Without a period those of all products of its region. Documents that are no runs are left out.
    """
    products = (product,) if product and period else name_products(product) if product else None
    keys = [
        run_key_of(found, year, run)
        for found in (products or store.folders(f"{RUNS}/"))
        for year in ([period] if period else store.folders(f"{RUNS}/{found}/"))
        for run in store.folders(run_folder(found, year))
    ]
    # Messages sent by hand have a run without a document.
    records = _parse_valid(store, keys, RunRecord.from_json).values()
    return tuple(sorted(records, key=lambda record: (record.submitted, record.run)))


def load_attempts(store: Store, keys: Sequence[AttemptKey]) -> dict[AttemptKey, AttemptRecord]:
    """Documents of attempts; those that are gone or are no records are left out."""
    names = [key.key for key in keys]
    loaded = _parse_valid(store, names, AttemptRecord.from_json)
    return {key: loaded[name] for key, name in zip(keys, names, strict=True) if name in loaded}


def _parse_valid(store: Store, keys: Sequence[str], parse: Callable[[bytes], R]) -> dict[str, R]:
    """What is parsed of documents, by key; those that are not there or not valid are left out."""
    records = {}
    for key, document in zip(keys, _get_all(store, keys), strict=True):
        if document is not None:
            try:
                records[key] = parse(document)
            except Rejected as error:
                log.warning("%s is left out: %s", key, error)
    return records


def _get_all(store: Store, keys: Sequence[str]) -> Iterator[bytes | None]:
    """Documents of keys in their order, None where there is none.

    They are read one after the other, because threads that wait for nothing only hinder each
    other, until that takes longer than it does on a disk; from then on a few at a time.
    """

    def get(key: str) -> bytes | None:
        try:
            return store.get(key)
        except Absent:
            return None

    began = time.perf_counter()
    for number, key in enumerate(keys):
        if time.perf_counter() - began > _PATIENCE_SECONDS + number * _NEAR_SECONDS:
            yield from map_threads(get, keys[number:])
            return
        yield get(key)


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes the documents of attempts."""

    store: Store
    site: Site
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    lease_seconds: float = LEASE_SECONDS
    """For how long an attempt counts as running after a sign of life."""

    def begin(
        self,
        order: Order,
        product: Product,
        receives: int,
        message: str | None = None,
        *,
        on_lost: Callable[[AttemptRecord], None] | None = None,
    ) -> AttemptRecord:
        """Write that an attempt has begun; its record.

        If its message has come before, whoever had it then and wrote no end has died: ``on_lost``
        is told of that attempt.
        """
        record = self._record(order, product, receives, message, State.PROCESSING)
        lost = self._close_earlier(record) if receives > 1 else None
        if lost is not None and on_lost is not None:
            on_lost(lost)
        self._put(record)
        return record

    def _record(
        self, order: Order, product: Product, receives: int, message: str | None, state: State
    ) -> AttemptRecord:
        return AttemptRecord(
            tile=str(order.task.tile),
            region=order.task.region,
            period=str(order.task.period),
            product=product.name,
            run=order.run,
            attempt=secrets.token_hex(4),
            state=state,
            started=write_moment(self.now()),
            receives=receives,
            message=message,
            lease_seconds=self.lease_seconds,
            recipe=order.recipe,
            resolution=order.resolution or self.site.resolution,
            bands=format_bands(order.bands) if order.bands else None,
            seamless=order.seamless,
            threads=self.site.threads,
            host=socket.gethostname(),
            versions=find_versions(),
        )

    def put_aside(
        self,
        order: Order,
        product: Product,
        receives: int,
        message: str | None,
        control: RunControl,
    ) -> AttemptRecord:
        """Write that an order is held, or dropped if its run was canceled; its record.

        Raises Misconfigured or Interrupted if the store refuses or fails: without the record, its
        message must not be deleted.
        """
        is_dropped = control.state is RunState.CANCELED
        state = State.CANCELED if is_dropped else State.HELD
        record = self._record(order, product, receives, message, state)
        record = replace(
            record,
            ended=record.started,
            seconds=0.0,
            reason=control.reason,
            error=control.why,
            order=None if is_dropped else {"body": order.body, "attributes": order.attributes},
        )
        if receives > 1:
            self._close_earlier(record)
        put_attempt(self.store, record)
        return record

    def take_up(self, record: AttemptRecord) -> None:
        """Remove the record of an order that was held and is done after all."""
        try:
            self.store.remove(record.key.key)
        except CropmaskError as error:
            log.warning("%s is still said to be held: %s", record.tile, error)

    def renew(self, record: AttemptRecord) -> None:
        """Write that an attempt is still running."""
        self._put(replace(record, renewed=write_moment(self.now())))

    def end(
        self, record: AttemptRecord, outcome: Outcome, verdict: Verdict, seconds: float
    ) -> AttemptRecord:
        """Write how an attempt ended; its record."""
        ended = replace(
            record,
            state=verdict.state,
            ended=write_moment(self.now()),
            seconds=round(seconds, 3),
            exit_code=int(outcome.exit_code),
            reason=None if outcome.error is None else outcome.error.reason,
            error=describe(outcome, verdict),
            run_key=outcome.run_key,
            item=outcome.item,
            bytes_read=outcome.bytes_read,
            retries=outcome.retries,
            cpu_seconds=outcome.cpu_seconds,
            peak_memory=outcome.peak_memory,
            stages=outcome.stages,
        )
        self._put(ended)
        return ended

    def _close_earlier(self, record: AttemptRecord) -> AttemptRecord | None:
        """The attempt before, if its worker has died, whoever wrote that down."""
        folder = f"{run_folder(record.product, record.period, record.run)}{record.tile}/"
        try:
            keys = [AttemptKey.parse(entry.key) for entry in self.store.list(folder)]
            begun = [key for key in keys if key is not None]
            self._take_up_again(record.message, begun)
            ends = close_lost(self.store, begun, self.now(), message=record.message)
            last = max(latest_states(begun), default=None)
            if last is None or last.state not in (State.PROCESSING, State.FAILED):
                return None
            before = ends.get(last) or load_attempt(self.store, last)
        except CropmaskError as error:
            log.warning("records of earlier attempts were not looked at: %s", error)
            return None
        is_lost = before.reason == Reason.WORKER_LOST and before.message == record.message
        return before if is_lost else None

    def _take_up_again(self, message: str | None, keys: Iterable[AttemptKey]) -> None:
        """Remove what says that a message is held which has come again."""
        held = [key for key in keys if key.state is State.HELD]
        for key, record in load_attempts(self.store, held).items():
            if message is not None and record.message == message:
                self.store.remove(key.key)

    def _put(self, record: AttemptRecord) -> None:
        try:
            put_attempt(self.store, record)
        except CropmaskError as error:
            log.warning("the record of this attempt was not written: %s", error)


def describe(outcome: Outcome, verdict: Verdict) -> str | None:
    """One line: what was wrong, and what follows; None if nothing was."""
    if outcome.error is None:
        return None
    return f"{outcome.error}; {verdict.note}" if verdict.note else str(outcome.error)


@lru_cache(maxsize=1)
def find_versions() -> Mapping[str, str]:
    """Versions of the software and of the packages that matter for it."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return {"cropmask": VERSION, "python": platform.python_version(), **versions}
