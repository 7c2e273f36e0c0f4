"""What a web map shows beside yearly maps: a series, figures of a report, and areas of change."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cropmask.assess.change import CHANGE_NAMES
from cropmask.core.series import GAIN, LOSS, STABLE_CROP, STABLE_OTHER
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.product import Product
from cropmask.results.finder import Dataset, find_finished
from cropmask.stac.facts import Document
from cropmask.store.protocol import Store, store_place
from cropmask.task import Period

_RANGE: Final = ("estimate", "low", "high")
_GROWTH: Final = {GAIN: "Became cropland", LOSS: "No longer cropland"}
_STABLE: Final = {STABLE_CROP: "Cropland in both", STABLE_OTHER: "Other in both"}


@dataclass(frozen=True, slots=True)
class ReportedDistricts:
    """Cropland by district of a year, as a report has it."""

    year: str
    """The period in words."""
    level: float
    """Confidence of the intervals."""
    districts: tuple[Document, ...]
    """Name, estimate, low and high, in hectares; null where there are too few points."""


@dataclass(frozen=True, slots=True)
class ReportedChange:
    """Areas of change between two years, from a sample."""

    since: str
    """The first year in words."""
    year: str
    """The last one."""
    level: float
    """Confidence of the intervals."""
    areas: tuple[Document, ...]
    """Name, estimate, low and high, in hectares."""


def parse_districts(path: Path) -> ReportedDistricts:
    """Numbers of districts in the JSON of ``cropmask report``.

    Raises Misconfigured if the file cannot be read, or is something else.
    """
    try:
        document = _load(path)
        if document["mark"] != "cropmask report":
            raise KeyError("mark")
        lines = tuple(_pick(str(line["name"]), line["hectares"]) for line in document["districts"])
        year = Period.parse(str(document["origin"]["period"])).span
        return ReportedDistricts(year, float(document["level"]), lines)
    except _UNLIKE:
        raise Misconfigured(
            f"{path} is no file of 'cropmask report': give the .json beside its page",
            reason=Reason.BAD_VALUE,
        ) from None


def parse_change(path: Path, region: str) -> ReportedChange:
    """Areas of change of a region in what ``cropmask area --change --json`` prints.

    Raises Misconfigured if the file cannot be read, is something else, or of other regions.
    """
    try:
        document = _load(path)
        classes, hectares = document["area"]["classes"], document["area"]["hectares"]
        if tuple(classes) != CHANGE_NAMES:
            raise KeyError("classes")
        years = Period.parse(str(document["period"])).years
        since = Period.parse(str(document.get("since", years[0]))).span
        areas = (
            *(_pick(name, hectares, at) for at, name in _GROWTH.items()),
            _pick("Gain less loss", document["net_gain_hectares"]),
            *(_pick(name, hectares, at) for at, name in _STABLE.items()),
        )
        found = ReportedChange(since, years[-1].span, float(document["level"]), areas)
        regions = [str(name) for name in document["regions"]]
    except _UNLIKE:
        raise Misconfigured(
            f"{path} is not what 'cropmask area --change --json' prints",
            reason=Reason.BAD_VALUE,
        ) from None
    if regions != [region]:
        raise Misconfigured(
            f"{path} has the area of {', '.join(regions)}, not that of {region} alone: estimate it "
            f"with --region {region}",
            reason=Reason.BAD_VALUE,
        )
    return found


_UNLIKE: Final = (
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
    Rejected,
)
"""What is raised where a file is none of ours."""


def _load(path: Path) -> Any:  # noqa: ANN401 (any JSON)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None


def _pick(name: str, figures: Mapping[str, Any], at: int | None = None) -> Document:
    """An estimate and its interval, of several if they are lists; null for too few points."""
    values = {key: figures[key] if at is None else figures[key][at] for key in _RANGE}
    return {
        "name": name,
        **{key: None if value is None else float(value) for key, value in values.items()},
    }


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

    Raises Rejected if there is no series of that period.
    """
    found: dict[Period, list[Dataset]] = defaultdict(list)
    for dataset in find_finished(store, product.series):
        found[Period.parse(dataset.period)].append(dataset)
    periods = sorted(found, key=lambda period: (period.months, period.start))
    if wanted is not None and wanted not in found:
        raise Rejected(
            f"{store_place(store)} has no series of {wanted.span}: {_name(periods)}",
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
    return f"it has {', '.join(period.span for period in periods)}"
