"""The layer of change of a web map: which series of years it is of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cropmask.errors import Reason, Rejected
from cropmask.product import Product
from cropmask.results.finder import Dataset, find_datasets
from cropmask.store.protocol import Store, store_place
from cropmask.task import Period


@dataclass(frozen=True, slots=True)
class ShownSeries:
    """A series of years, and what else there would be to show."""

    period: Period
    datasets: tuple[Dataset, ...]
    others: tuple[Period, ...]
    """Periods of other series that are there."""


def choose_series(store: Store, product: Product, wanted: Period | None) -> ShownSeries | None:
    """The longest series of a region's maps, the newest of equally long ones; None without any.

    ``wanted`` names another one by its period.

    Raises
    ------
    Rejected
        If there is no series of that period.
    """
    found: dict[Period, list[Dataset]] = defaultdict(list)
    for dataset in find_datasets(store, product.series):
        if dataset.is_finished:
            found[Period.parse(dataset.period)].append(dataset)
    periods = sorted(found, key=lambda period: (period.months, period.start))
    if wanted is not None and wanted not in found:
        raise Rejected(
            f"{store_place(store)} has no series of {wanted.words}: {_name(periods)}",
            reason=Reason.NO_RESULTS,
        )
    if not periods:
        return None
    chosen = wanted or periods[-1]
    others = tuple(period for period in periods if period != chosen)
    return ShownSeries(chosen, tuple(found[chosen]), others)


def _name(periods: Sequence[Period]) -> str:
    if not periods:
        return "make it with 'cropmask series'"
    return f"it has {', '.join(period.words for period in periods)}"
