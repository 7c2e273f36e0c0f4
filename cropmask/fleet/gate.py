"""Which orders a worker does not do, because their run waits or is over; and how it stops a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cropmask.errors import CropmaskError, Interrupted, Reason
from cropmask.fleet.control import ControlChange, RunControl, change_control, load_control, stop
from cropmask.fleet.records import run_key_of
from cropmask.fleet.spending import RunLedger, RunSpending
from cropmask.product import Product
from cropmask.site.price import Price
from cropmask.site.site import Site
from cropmask.store.protocol import Store
from cropmask.task import Order

CONTROL_SECONDS: Final = 15.0
"""How long a worker may not notice what was said about a run, or what its others have spent."""

RunPlace = tuple[str, str, str]
"""Product, period and name of a run."""

log = logging.getLogger(__name__)


def place_of(order: Order, product: Product) -> RunPlace:
    """The run of an order."""
    return product.name, str(order.task.period), order.run


@dataclass(frozen=True, slots=True)
class _Known:
    control: RunControl
    read: float
    """When, by a clock that only grows."""


def _tell_nobody(_order: Order, _what: object) -> None:
    pass


@dataclass(slots=True)
class Gate:
    """Asks for every order what was last said about its run, and counts what limited runs take."""

    store: Store
    site: Site
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    on_stopped: Callable[[Order, RunControl], None] = _tell_nobody
    """Told of each run that this worker, and no other, has stopped."""
    on_spent: Callable[[Order, float], None] = _tell_nobody
    """Told, of each run that may cost so much only, the share that it has cost (1: all of it)."""
    _known: dict[RunPlace, _Known] = field(default_factory=dict)
    _ledgers: dict[RunPlace, RunLedger] = field(default_factory=dict)

    def look(self, order: Order, product: Product, *, again: bool = False) -> RunControl | None:
        """Why an order is not to be done; None if it is.

        What is known is believed for :data:`CONTROL_SECONDS`, unless it is asked for ``again``; of
        a run that is new here nothing is.

        Raises Interrupted and Misconfigured if the store fails or refuses and nothing is known of
        the run; Rejected if what was said about the run cannot be read.
        """
        place = place_of(order, product)
        known = self._known.get(place)
        if again or known is None or self.clock() - known.read >= CONTROL_SECONDS:
            known = self._ask(place, order, None if again else known)
        return None if known.control.is_running else known.control

    def stop(self, order: Order, product: Product, reason: Reason, why: str) -> bool:
        """Stop the run of an order; whether it waits now.

        It does not where messages were sent by hand, so that nobody could resume it, or where the
        store refuses or fails.
        """
        place = place_of(order, product)
        try:
            if not self.store.exists(run_key_of(*place)):
                return False
            return not self._stop(place, order, stop(reason, why)).control.is_running
        except CropmaskError as error:
            log.warning("run %s was not stopped: %s", order.run, error)
            return False

    def _ask(self, place: RunPlace, order: Order, known: _Known | None) -> _Known:
        try:
            control = load_control(self.store, *place)
            over = self._find_excess(place, order, control) if control.is_running else None
            if over is not None:
                change = stop(*over)
                # Whoever has given it more money since is not overridden.
                return self._stop(place, order, lambda now: change(now) if now == control else None)
        except Interrupted as error:
            if known is None:
                raise
            log.warning("what was said about run %s is not known now: %s", order.run, error)
            control = known.control
        return self._keep(place, control)

    def _find_excess(
        self, place: RunPlace, order: Order, control: RunControl
    ) -> tuple[Reason, str] | None:
        if not control.is_limited:
            return None
        if place not in self._ledgers:
            self._ledgers[place] = RunLedger(self.store, *place, threads=self.site.threads)
        spending = self._ledgers[place].look(self.now())
        if control.max_cost:
            dollars = price_of(control, self.site.price).of(spending.cpu_seconds)
            self.on_spent(order, dollars / control.max_cost)
        is_new = order.task.tile not in spending.tiles
        return find_excess(control, spending, self.site.price, is_new_tile=is_new)

    def _stop(self, place: RunPlace, order: Order, change: ControlChange) -> _Known:
        control, is_ours = change_control(self.store, *place, change, self.now())
        if is_ours:
            log.error("run %s is stopped: %s", order.run, control.why)
            self.on_stopped(order, control)
        return self._keep(place, control)

    def _keep(self, place: RunPlace, control: RunControl) -> _Known:
        found = self._known[place] = _Known(control, self.clock())
        return found


def find_excess(
    control: RunControl, spending: RunSpending, usual: Price, *, is_new_tile: bool
) -> tuple[Reason, str] | None:
    """Which limit of a run is reached, and how; None if none is.

    ``is_new_tile`` says whether a tile is next that nobody has worked on yet: others may be tried
    again, however many tiles there are.
    """
    price = price_of(control, usual)
    dollars = price.of(spending.cpu_seconds)
    if control.max_cost is not None and dollars >= control.max_cost:
        return Reason.OVER_BUDGET, (
            f"it has cost {write_dollars(dollars)} at ${price.dollars:g} per CPU hour, "
            f"and may cost {write_dollars(control.max_cost)}"
        )
    tiles = len(spending.tiles)
    if is_new_tile and control.max_tiles is not None and tiles >= control.max_tiles:
        return Reason.TOO_MANY_TILES, (
            f"{tiles:,} of its tiles were computed, and {control.max_tiles:,} may be"
        )
    return None


def price_of(control: RunControl, usual: Price) -> Price:
    """Price at which a run is counted: that of when it was submitted, if it was written down."""
    if control.cpu_hour_price is None:
        return usual
    return Price(control.cpu_hour_price, is_default=False, setting="as it was submitted")


def write_dollars(dollars: float) -> str:
    """Dollars that differ where their limit is small."""
    return f"${dollars:,.2f}" if dollars >= 0.1 else f"${dollars:.2g}"
