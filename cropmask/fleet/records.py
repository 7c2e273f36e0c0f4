"""What is kept of every try of a task: one JSON document an attempt, beside the results.

The name of a document says tile, start and state, so that a listing alone tells how far a run is::

    _runs/{product}/{period}/{run}/run.json
    _runs/{product}/{period}/{run}/{tile}/{started}-{attempt}.{STATE}.json
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from cropmask.contract import LEASE_SECONDS, RUNS, TIME_LIMIT_SECONDS
from cropmask.errors import Reason, Rejected
from cropmask.fleet.strictjson import check_fields, describe_fault, read_known
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.product import RECIPES, find_region, parse_bands
from cropmask.region.region import is_region_file
from cropmask.task import Order, Period, Task, parse_run_id

_MOMENT: Final = "%Y%m%dT%H%M%S%fZ"
_WRONG: Final = (ValueError, TypeError, KeyError, StopIteration, OverflowError, Rejected)
_KEY: Final = re.compile(
    rf"{RUNS}/(?P<product>[^/]+)/(?P<period>[^/]+)/(?P<run>[^/]+)/(?P<tile>x\d{{3}}y\d{{3}})/"
    r"(?P<started>\d{8}T(?:[01]\d|2[0-3])\d{10}Z)-(?P<attempt>[0-9a-f]+)\.(?P<state>[A-Z]+)\.json"
)


_tile_of = lru_cache(maxsize=4096)(Tile.parse)
"""Records name the same tiles over and over."""


class State(StrEnum):
    """Where a task stands."""

    PENDING = "PENDING"
    """No attempt yet."""
    PROCESSING = "PROCESSING"
    """An attempt has begun, and its worker has given a sign of life lately."""
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    """The same result was there already."""
    FAILED = "FAILED"
    """The attempt failed; the task is tried again."""
    INVALID = "INVALID"
    """The task can never succeed; it is among the dead letters."""
    HELD = "HELD"
    """Its run waits: no message of it is in the queue, and resuming the run sends it again."""
    CANCELED = "CANCELED"
    """Its run was canceled: it was dropped when it was received."""

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return self in (State.SUCCEEDED, State.SKIPPED)


PUT_ASIDE: Final = (State.HELD, State.CANCELED)
"""States of orders that nobody has worked on: their run waits, or was canceled."""


@dataclass(frozen=True, slots=True, order=True)
class AttemptKey:
    """One attempt, as the name of its document says it; sorts by start within a tile."""

    tile: Tile
    started: datetime
    """UTC, to the microsecond."""
    attempt: str
    """Hexadecimal digits that no other attempt has."""
    state: State
    product: str
    period: str
    run: str

    @property
    def key(self) -> str:
        """Key of the document in the store."""
        name = f"{self.started.strftime(_MOMENT)}-{self.attempt}.{self.state}.json"
        return f"{run_folder(self.product, self.period, self.run)}{self.tile}/{name}"

    @classmethod
    def parse(cls, key: str) -> AttemptKey | None:
        """The attempt that a key names; None if it names something else."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        text = found["started"]
        try:
            # Not strptime, which takes longer than all the rest.
            started = datetime.fromisoformat(f"{text[:15]}.{text[15:]}")
            state = State(found["state"])
        except ValueError:
            return None
        return cls(
            _tile_of(found["tile"]),
            started,
            found["attempt"],
            state,
            found["product"],
            found["period"],
            found["run"],
        )


def write_moment(moment: datetime) -> str:
    """A moment (UTC) as documents have it: RFC 3339, to the microsecond."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def run_folder(product: str, period: str, run: str = "") -> str:
    """Prefix of the keys of a run, or of all runs of a product and period; ends with a slash."""
    return f"{RUNS}/{product}/{period}/{f'{run}/' if run else ''}"


def run_key_of(product: str, period: str, run: str) -> str:
    """Key of the document of a run."""
    return f"{run_folder(product, period, run)}run.json"


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """Everything that is known of one attempt."""

    tile: str
    region: str
    period: str
    product: str
    run: str
    attempt: str
    state: State
    started: str
    """UTC, RFC 3339."""
    ended: str | None = None
    seconds: float | None = None
    """Wall time, start and end of the child process included."""
    receives: int = 1
    """How often the message had been received."""
    message: str | None = None
    """Id of the message."""
    renewed: str | None = None
    """UTC, RFC 3339: last sign of life of the worker; None for none since the start."""
    lease_seconds: float | None = None
    """For how long after such a sign it may be running; None in documents of older versions."""
    exit_code: int | None = None
    reason: str | None = None
    """Groups failures in reports."""
    error: str | None = None
    """One line: what was wrong, and what to do."""
    recipe: str | None = None
    resolution: int | None = None
    bands: str | None = None
    """Extra bands, such as ``+spread``."""
    seamless: bool = False
    """Whether objects go across the tile's edges."""
    threads: int | None = None
    """Threads that computed: what the attempt cost is its seconds on as many CPUs."""
    run_key: str | None = None
    item: str | None = None
    """Address of the item."""
    bytes_read: int | None = None
    retries: int | None = None
    """Requests that were tried again."""
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    """Largest resident size of the child process, bytes."""
    stages: tuple[Mapping[str, Any], ...] = ()
    """:class:`~cropmask.machine.stages.StageUse` of every stage."""
    host: str | None = None
    versions: Mapping[str, str] | None = None
    order: Mapping[str, Any] | None = None
    """Body and attributes of the message, of an order that is held: what is sent again."""

    @property
    def key(self) -> AttemptKey:
        """Name of the document."""
        return AttemptKey(
            _tile_of(self.tile),
            datetime.fromisoformat(self.started).astimezone(UTC),
            self.attempt,
            self.state,
            self.product,
            self.period,
            self.run,
        )

    @property
    def seen(self) -> datetime:
        """Last sign of life of the worker, UTC."""
        return datetime.fromisoformat(self.renewed or self.started).astimezone(UTC)

    def end_if_lost(self, now: datetime, *, message: str | None = None) -> AttemptRecord | None:
        """The record as it ends if its worker has died; None if it has ended, or may be running.

        A worker has died that gave no sign of life for a whole lease, or whose ``message`` has come
        again.
        """
        if self.state is not State.PROCESSING:
            return None
        started, seen = self.key.started, self.seen
        patience = self.lease_seconds or LEASE_SECONDS + TIME_LIMIT_SECONDS
        is_again = message is not None and message == self.message
        if not is_again and (now - seen).total_seconds() <= patience:
            return None
        return replace(
            self,
            state=State.FAILED,
            ended=self.renewed or self.started,
            seconds=round((seen - started).total_seconds(), 3),
            reason=Reason.WORKER_LOST,
            error=f"its worker on {self.host or 'an unknown host'} gave no sign of life after "
            f"{seen:%Y-%m-%d %H:%M:%S} UTC: it was killed, or its node was lost",
        )

    def held_order(self) -> Order:
        """The order that is held; Rejected if the document says none."""
        try:
            found = self.order or {}
            return Order.parse(found["body"], found["attributes"])
        except (KeyError, TypeError, AttributeError):
            raise Rejected(
                f"the record of {self.tile} does not say which order is held",
                reason=Reason.BAD_RECORD,
            ) from None

    def to_json(self) -> str:
        """The document."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> AttemptRecord:
        """Record of a document; names that a later version has added are left alone.

        Raises Rejected if it is no record of an attempt.
        """
        try:
            found = read_known(cls, text)
            found["state"] = State(found["state"])
            found["stages"] = tuple(found.get("stages", ()))
            record = check_fields(cls, found)
            key, _ = record.key, record.seen  # both must be moments
            if AttemptKey.parse(key.key) != key:
                raise ValueError("it names no attempt")
        except _WRONG as error:
            raise Rejected(
                f"the document is no record of an attempt ({describe_fault(error)})",
                reason=Reason.BAD_RECORD,
            ) from None
        return record


PercentBounds = tuple[float, float]
"""Lowest and highest share that is accepted, percent."""


@dataclass(frozen=True, slots=True)
class Canary:
    """The first tiles of a run, which are done and judged before the rest is sent."""

    tiles: int
    """How many."""
    crop: PercentBounds | None = None
    """Bounds of crop in all of them together; None to compare each with last year's result."""
    nodata: PercentBounds | None = None
    """The same of land without a result."""

    @classmethod
    def parse(cls, found: object) -> Canary:
        """Canary of a document; ValueError if it is none."""
        if not isinstance(found, dict):
            raise ValueError("canary: it is no JSON object")
        lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        canary = check_fields(cls, {**found, **lists})
        if canary.tiles < 1:
            raise ValueError(f"canary: it has {canary.tiles} tiles")
        return canary


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One submission of many tasks."""

    run: str
    region: str
    """As it was asked for: a name, or the absolute path of a region file."""
    product: str
    period: str
    submitted: str
    """UTC, RFC 3339."""
    recipe: str
    resolution: int
    overwrite: bool
    tiles: tuple[str, ...]
    """What was asked for; those that were unchanged are not among them."""
    unchanged: int = 0
    """Tiles of the region that had this result already."""
    sent: int = 0
    """Tiles in ``tiles`` whose message is known to be in the queue, from the first on."""
    environment: str | None = None
    catalog: str | None = None
    """Where it was submitted; None for the made-up demo world, or if that was not written down."""
    models: str | None = None
    """Folder of regions, if not the package's."""
    queue: str | None = None
    """Queue that it was sent to; None if it is the folder beside the results, or not known."""
    bands: str | None = None
    """Extra bands, such as ``+spread``; None for none."""
    seamless: bool = False
    """Whether objects go across the edges of tiles."""
    canary: Canary | None = None
    """Which of the first tiles are judged before the rest is sent; None to send all at once."""

    @property
    def awaits_canary(self) -> bool:
        """Whether the rest is not sent before the first tiles are judged."""
        canary = self.canary
        return canary is not None and self.sent <= canary.tiles < len(self.tiles)

    @property
    def place(self) -> tuple[str, str, str]:
        """Product, period and name: where its records are."""
        return self.product, self.period, self.run

    def orders(self) -> tuple[Order, ...]:
        """Orders of the run, in the sequence of its tiles; they name the region by its name."""
        region = self.region
        if is_region_file(region):
            region = find_region(self.product)
        recipe = next(recipe for recipe in RECIPES if recipe == self.recipe)
        period = Period.parse(self.period)
        bands = parse_bands(self.bands or "")
        return tuple(
            Order(
                Task(Tile.parse(tile), region, period),
                self.run,
                recipe,
                self.resolution,
                self.overwrite,
                bands,
                self.seamless,
            )
            for tile in self.tiles
        )

    @property
    def places(self) -> dict[str, str]:
        """Options of a site that name its inputs and its queue, as far as they are written down."""
        known = {
            "env": self.environment,
            "catalog": self.catalog,
            "models": self.models,
            "queue": self.queue,
        }
        return {name: place for name, place in known.items() if place is not None}

    def to_json(self) -> str:
        """The document."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> RunRecord:
        """Run of a document.

        Raises Rejected if it is none.
        """
        try:
            found = read_known(cls, text)
            found["tiles"] = tuple(found["tiles"])
            if found.get("canary") is not None:
                found["canary"] = Canary.parse(found["canary"])
            record = check_fields(cls, found)
            parse_run_id(record.run)
            parse_bands(record.bands or "")
            if record.resolution not in RESOLUTIONS:
                raise ValueError(f"resolution: {record.resolution} m is not offered")
            if datetime.fromisoformat(record.submitted).tzinfo is None:
                raise ValueError("submitted: it says no time zone")
            record.orders()
        except _WRONG as error:
            raise Rejected(
                f"the document is no run ({describe_fault(error)})", reason=Reason.BAD_RECORD
            ) from None
        return record
