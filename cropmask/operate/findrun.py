"""How far a run is, found out: one listing, and few documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cropmask.contract import ENV_CATALOG
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.fleet.control import load_control
from cropmask.fleet.recordfiles import (
    close_lost,
    find_attempts,
    latest_states,
    load_attempts,
    load_runs,
)
from cropmask.fleet.records import AttemptKey, RunRecord
from cropmask.grid import Tile
from cropmask.operate.status import (
    RunStatus,
    choose_failures,
    choose_sample,
    make_run_status,
    mark_unsent,
    tile_statuses,
)
from cropmask.product import Product, find_region
from cropmask.region.region import load_region
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter
from cropmask.site.site import Site
from cropmask.store.protocol import Store, store_place
from cropmask.task import Period, choose_product

MAX_SAMPLED: Final = 24
"""Documents of ended attempts that are read for times and cost, of each state."""
MAX_FAILURES: Final = 400
"""Documents of failed attempts that are read; of more, the latest."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which run is asked for; None where anything goes."""

    product: str | None = None
    period: str | None = None
    run: str | None = None
    region: str | None = None
    """What commands call the region of the product, if that is not in its name."""
    commands: CommandWriter = PLAIN_COMMANDS
    """How to write commands."""


def find_product(site: Site, region: str, period: Period | None) -> Product:
    """Product that has results of a region and period."""
    return choose_product(load_region(region, site.models).product, period)


def _advise_first(query: RunQuery) -> str:
    """How to start the first run, as far as it is known of what."""
    if query.product is None:
        return "start one with submit, or "
    region = query.region or find_region(query.product)
    period = ("--period", query.period) if query.period else ()
    line = query.commands.line("submit", "--region", region, *period)
    return f"start one with '{line}', or "


def find_run(store: Store, query: RunQuery) -> tuple[RunRecord, tuple[RunRecord, ...]]:
    """The run asked for, the newest without a name; and the others, newest first.

    Raises Rejected if there is none.
    """
    runs = load_runs(store, query.product, query.period)[::-1]
    chosen = next((record for record in runs if query.run in (None, record.run)), None)
    if chosen is not None:
        return chosen, tuple(record for record in runs if record is not chosen)
    where = f"of {query.product} " if query.product else ""
    where += f"in {query.period} " if query.period else ""
    if query.run is None:
        raise Rejected(
            f"no run {where}was submitted to {store_place(store)} yet: {_advise_first(query)}name "
            "another --output",
            reason=Reason.UNKNOWN_RUN,
        )
    known = ", ".join(record.run for record in runs[:3]) or "none"
    raise Rejected(
        f"there is no run '{query.run}' {where}in {store_place(store)}; the newest are: {known}",
        reason=Reason.UNKNOWN_RUN,
    )


def check_worker_catalog(site: Site) -> None:
    """Raise Misconfigured if the newest run has a catalog and this site has none.

    Its worker would look in the made-up demo world, and reject every tile for good.
    """
    if not site.synthetic:
        return
    newest = next(reversed(load_runs(site.store())), None)
    if newest is not None and newest.catalog is not None:
        raise Misconfigured(
            f"run {newest.run} was submitted with the catalog {newest.catalog}, this worker has "
            f"none: give --catalog (and --models, if it had any), or set {ENV_CATALOG}",
            reason=Reason.NO_CATALOG,
        )


def load_run_status(store: Store, record: RunRecord, now: datetime) -> RunStatus:
    """Where a run stands at a moment (UTC).

    Attempts whose workers have died count as failed, and are written down so.
    """
    found = tuple(find_attempts(store, *record.place))
    ends = close_lost(store, found, now)
    keys = tuple(ends[key].key if key in ends else key for key in latest_states(found))
    control = load_control(store, *record.place)
    tiles = mark_unsent(record, control, tile_statuses(keys, map(Tile.parse, record.tiles)))
    wanted: dict[AttemptKey, None] = dict.fromkeys(choose_failures(tiles, MAX_FAILURES))
    wanted |= dict.fromkeys(choose_sample(keys, MAX_SAMPLED))
    loaded = load_attempts(store, tuple(wanted)) | {end.key: end for end in ends.values()}
    return make_run_status(record, tiles, keys, loaded, now, control)


def utc_now() -> datetime:
    """Present moment."""
    return datetime.now(UTC)
