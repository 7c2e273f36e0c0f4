"""What a worker writes down of its attempts: documents in the store of results.

The store may fail while the task does well: that is told in the log, and nothing else follows.
"""

from __future__ import annotations

import logging
import platform
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from typing import Final

from cropmask.contract import VERSION
from cropmask.errors import CropmaskError
from cropmask.fleet.outcome import Outcome, Verdict
from cropmask.fleet.recordfiles import put_attempt
from cropmask.fleet.records import AttemptRecord, State
from cropmask.product import Product
from cropmask.site.site import Site
from cropmask.store.protocol import Store
from cropmask.task import Order

_PACKAGES: Final = ("numba", "numpy", "odc-stac", "rasterio")
"""Packages whose version may matter for a result or its speed."""

log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes the documents of attempts."""

    store: Store
    site: Site
    now: Callable[[], datetime] = _now

    def begin(self, order: Order, product: Product, receives: int) -> AttemptRecord:
        """Write that an attempt has begun; its record."""
        record = AttemptRecord(
            tile=str(order.task.tile),
            region=order.task.region,
            period=str(order.task.period),
            product=product.name,
            run=order.run,
            attempt=secrets.token_hex(4),
            state=State.PROCESSING,
            started=_text(self.now()),
            receives=receives,
            recipe=order.recipe,
            resolution=order.resolution or self.site.resolution,
            threads=self.site.threads,
            host=socket.gethostname(),
            versions=find_versions(),
        )
        self._put(record)
        return record

    def end(
        self, record: AttemptRecord, outcome: Outcome, verdict: Verdict, seconds: float
    ) -> AttemptRecord:
        """Write how an attempt ended; its record.

        Parameters
        ----------
        record
            As it began.
        outcome, verdict
            How it ended, and what follows.
        seconds
            Wall time of the attempt.
        """
        ended = replace(
            record,
            state=verdict.state,
            ended=_text(self.now()),
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


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
