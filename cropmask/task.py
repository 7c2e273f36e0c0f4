"""A task (tile, region, period), an order (a task and how to do it), and the key of a result."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from cropmask.errors import Reason, Rejected, write_command
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.product import (
    FAMILY,
    LEAST_SERIES,
    MOST_SERIES,
    RECIPES,
    SERIES_FAMILY,
    Band,
    HalfOrder,
    Product,
    Recipe,
    format_bands,
    parse_bands,
)

_PERIOD: Final = re.compile(r"(\d{4})(?:-(\d{2}))?--P(\d{1,3})([YM])", re.ASCII)
_YEAR: Final = re.compile(r"\d{4}", re.ASCII)
_SPAN_YEAR: Final = re.compile(r"(\d{4})(/\d\d)?", re.ASCII)
_SPANS: Final = "write it like 2019-2024, or of seasons like 2019/20-2024/25"
_REGION: Final = re.compile("[a-z][a-z0-9_]{0,40}")
_YEAR_OF_SEASON: Final = "The year of a season is that in which it begins, in July."
MAX_BODY: Final = 1000
"""Characters of a message; a task needs less than 120."""


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Whole months from the first day of one.

    Prints as ``2019--P1Y``, ``2020-07--P1Y`` or ``2019-07--P6M``.
    """

    start: date
    """First day, the first of a month."""
    months: int
    """Number of months, at least 1."""

    @classmethod
    def parse(cls, text: str) -> Period:
        """Period of ``2019--P1Y``, ``2019-07--P6M`` or just ``2019``.

        Raises
        ------
        Rejected
            If the text is no such period.
        """
        match = _PERIOD.fullmatch(f"{text}--P1Y" if _YEAR.fullmatch(text) else text)
        year, month, count, unit = match.groups() if match else ("0", None, "0", "Y")
        months = int(count) * (12 if unit == "Y" else 1)
        if not (1 <= int(year) <= 9988 and 1 <= int(month or 1) <= 12 and months):
            raise Rejected(
                f"'{text}' is not a period: write it like 2019--P1Y", reason=Reason.BAD_PERIOD
            )
        if months > 12 * MOST_SERIES:
            raise Rejected(
                f"'{text}' is too long: a series has at most {MOST_SERIES} years",
                reason=Reason.BAD_PERIOD,
            )
        return cls(date(int(year), int(month or 1), 1), months)

    @classmethod
    def year_of(cls, text: str) -> Period:
        """Period of a map: a calendar year, or a season from July to June.

        Raises
        ------
        Rejected
            If the text is no period, or neither of these.
        """
        period = cls.parse(text)
        if period.months != 12 or not period.has_whole_years:
            raise Rejected(
                f"'{text}' is not a calendar year, nor twelve months from July: a crop mask needs "
                "one, like 2019--P1Y or 2020-07--P1Y",
                reason=Reason.BAD_PERIOD,
            )
        return period

    @classmethod
    def of_span(cls, text: str) -> Period:
        """Period of whole years as people write them, or as it prints.

        Calendar years are ``2019-2024`` or ``2019``, seasons ``2019/20-2024/25`` or ``2019/20``.

        Raises
        ------
        Rejected
            If the text is none of these, and no period of calendar years or seasons.
        """
        begin, dash, end = text.partition("-")
        first, last = _read_span_year(begin), _read_span_year(end if dash else begin)
        if first and last and first.is_seasonal == last.is_seasonal:
            if last < first:
                raise Rejected(
                    f"'{text}' ends before it begins: {_SPANS}", reason=Reason.BAD_PERIOD
                )
            months = 12 * (last.start.year - first.start.year + 1)
            return cls.parse(str(cls(first.start, months)))  # which says what is too long
        period = cls.parse(text) if "--" in text else None
        if period is None or not period.has_whole_years:
            raise Rejected(f"'{text}' is no span of years: {_SPANS}", reason=Reason.BAD_PERIOD)
        return period

    @classmethod
    def of_task(cls, text: str) -> Period:
        """Period of a task: that of a map, or of several such as ``2019--P6Y``, ``2019-07--P6Y``.

        Raises
        ------
        Rejected
            If the text is no period, or neither of these, or of too few or too many years.
        """
        period = cls.parse(text)
        return period.check_series() if period.is_series else cls.year_of(text)

    def check_series(self) -> Period:
        """The period itself, if a series can be of it.

        Raises
        ------
        Rejected
            If it is not so many whole calendar years, or seasons.
        """
        if not self.has_whole_years:
            raise Rejected(
                f"'{self}' is no series of calendar years or seasons: write it like 2019--P6Y or "
                "2019-07--P6Y",
                reason=Reason.BAD_PERIOD,
            )
        if self.months < 12 * LEAST_SERIES:
            raise Rejected(
                f"{self.months // 12} {self.noun} are too few for a series, which needs "
                f"{LEAST_SERIES}: with three, all change vanishes, since nothing tells it from "
                f"errors of the maps; map more {self.noun}, such as "
                f"{Period(self.start, 12 * LEAST_SERIES)}",
                reason=Reason.BAD_PERIOD,
            )
        return self

    @property
    def is_series(self) -> bool:
        """Whether it is longer than a year."""
        return self.months > 12

    @property
    def is_seasonal(self) -> bool:
        """Whether it begins in July, so that its years are seasons."""
        return self.start.month == 7

    @property
    def has_whole_years(self) -> bool:
        """Whether it is one or more calendar years, or seasons from July to June."""
        return self.start.month in (1, 7) and self.months % 12 == 0

    @property
    def noun(self) -> str:
        """What its years are called."""
        return "seasons" if self.is_seasonal else "years"

    @property
    def years(self) -> tuple[Period, ...]:
        """Its whole years, each a period."""
        return tuple(Period(_add_months(self.start, at), 12) for at in range(0, self.months, 12))

    @property
    def end(self) -> date:
        """Last day."""
        return _add_months(self.start, self.months) - timedelta(days=1)

    @property
    def before(self) -> Period:
        """The period of the same length that ends when this one begins."""
        return Period(_add_months(self.start, -self.months), self.months)

    def find_between(self, last: Period) -> tuple[Period, ...]:
        """Periods of the same length after it, one after the other, that end before another."""
        found = []
        after = Period(_add_months(self.start, self.months), self.months)
        while after.end < last.start:
            found.append(after)
            after = Period(_add_months(after.start, after.months), after.months)
        return tuple(found)

    @property
    def halves(self) -> tuple[Period, Period]:
        """The first and the second half of the period."""
        half = self.months // 2
        return Period(self.start, half), Period(_add_months(self.start, half), half)

    def order_halves(self, order: HalfOrder) -> tuple[Period, Period]:
        """The halves as a model knows them: its first one, then its second."""
        early, late = self.halves
        if order == "calendar" and early.start.month > late.start.month:
            return late, early
        return early, late

    @property
    def calendar_year(self) -> Period:
        """The calendar year that it begins in."""
        return Period(date(self.start.year, 1, 1), 12)

    @property
    def interval(self) -> tuple[str, str]:
        """Start and end as RFC 3339 timestamps, to the last microsecond of the last day."""
        return f"{self.start}T00:00:00Z", f"{self.end}T23:59:59.999999Z"

    @property
    def short(self) -> str:
        """The period in names of columns and files: ``2019`` or ``2020-07`` of twelve months."""
        return str(self).removesuffix("--P1Y")

    @property
    def words(self) -> str:
        """The period for people: ``2019``, ``2019 to 2024`` or ``July 2020 to June 2021``."""
        if self.months % 12:
            return str(self)
        if self.start.month == 1:
            return " to ".join(sorted({f"{day.year:04d}" for day in (self.start, self.end)}))
        return f"{self.start:%B %Y} to {self.end:%B %Y}"

    @property
    def span(self) -> str:
        """Whole years in few letters: ``2019``, ``2019/20``, ``2019-2024``, ``2019/20-2024/25``."""
        if not self.has_whole_years:
            return str(self)
        first, last = self.years[0], self.years[-1]
        return "-".join(dict.fromkeys((_name_span_year(first), _name_span_year(last))))

    def __str__(self) -> str:
        is_years = self.months % 12 == 0
        start = f"{self.start.year:04d}"
        if not is_years or self.start.month != 1:
            start += f"-{self.start.month:02d}"
        return f"{start}--P{self.months // 12}Y" if is_years else f"{start}--P{self.months}M"


def _read_span_year(text: str) -> Period | None:
    """Calendar year ``2019`` or season ``2019/20``; None if the text is neither."""
    match = _SPAN_YEAR.fullmatch(text)
    if match is None:
        return None
    year = Period.parse(f"{match[1]}{'-07' if match[2] else ''}--P1Y")
    return year if year.span == text else None


def _name_span_year(year: Period) -> str:
    after = f"/{(year.start.year + 1) % 100:02d}" if year.is_seasonal else ""
    return f"{year.start.year:04d}{after}"


def _add_months(day: date, months: int) -> date:
    total = day.year * 12 + day.month - 1 + months
    return date(total // 12, total % 12 + 1, 1)


def choose_product(product: Product, period: Period | None) -> Product:
    """Product that has results of a period: the series of a region's, or itself."""
    return product.series if period is not None and period.is_series else product


def choose_products(product: Product, period: Period | None) -> tuple[Product, ...]:
    """The same, and both where no period is named."""
    return (product, product.series) if period is None else (choose_product(product, period),)


def describe_band_of(band: Band, period: Period) -> Band:
    """A band as results of a period have it: which year stands for a season must be said."""
    if band.unit != "year" or not period.is_seasonal:
        return band
    return replace(band, description=f"{band.description} {_YEAR_OF_SEASON}")


def name_product(region: str, period: Period) -> str:
    """Name of the product that has results of a region and period, whatever its version."""
    return f"{SERIES_FAMILY if period.is_series else FAMILY}_{region}"


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """One tile of one region and period."""

    tile: Tile
    region: str
    """Name of the region; what a command line asks for may be the path of its file."""
    period: Period

    def to_json(self) -> str:
        """The message of a queue: a JSON object with sorted keys."""
        return json.dumps(
            {"period": str(self.period), "region": self.region, "tile": str(self.tile)},
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Task of a message, which names its region by name: no message says what is opened.

        Raises
        ------
        Rejected
            If the message is not exactly a task.
        """
        if len(text) > MAX_BODY:
            raise Rejected(
                f"the message is not a task: it has {len(text):,} characters, and a task at most "
                f"{MAX_BODY:,}",
                reason=Reason.BAD_MESSAGE,
            )
        try:
            document = json.loads(text, object_pairs_hook=_without_doubles)
        except (ValueError, RecursionError):
            document = None
        keys = {"period", "region", "tile"}
        if (
            not isinstance(document, dict)
            or set(document) != keys
            or not all(isinstance(value, str) for value in document.values())
        ):
            raise Rejected(
                'the message is not a task: it must be {"period": ..., "region": ..., "tile": ...}',
                reason=Reason.BAD_MESSAGE,
            )
        return cls(
            Tile.parse(document["tile"]),
            parse_region_name(document["region"]),
            Period.of_task(document["period"]),
        )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Object of its fields; ValueError if one is there twice, as readers would not agree on it."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def parse_region_name(text: str) -> str:
    """The name, if it can name a region.

    Raises
    ------
    Rejected
        If it is anything else, such as a path.
    """
    if not _REGION.fullmatch(text):
        raise Rejected(
            f"'{text}' is not the name of a region: a message names one as "
            f"'{write_command('models list')}' does; a region file is named to the worker, with "
            "--region-file",
            reason=Reason.BAD_REGION,
        )
    return text


@dataclass(frozen=True, slots=True)
class RunKey:
    """Identity of a result: a hash of everything that its pixels depend on."""

    digest: str
    """64 hexadecimal digits."""

    @classmethod
    def of(cls, **parts: Any) -> RunKey:  # noqa: ANN401 (any JSON value)
        """Key of named JSON values; their order does not matter."""
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return cls(sha256(text.encode()).hexdigest())

    def __str__(self) -> str:
        return self.digest


ADHOC: Final = "adhoc"
"""Run of messages that say none, such as those sent by hand."""
_RUN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,38}[a-z0-9]")
_FLAGS: Final = {"true": True, "false": False}


def make_run_id(now: datetime, token: Callable[[int], str] = secrets.token_hex) -> str:
    """Name of a run, such as ``20190704t081500-1f3a``: sorts by time, fits a Kubernetes label."""
    return f"{now:%Y%m%dt%H%M%S}-{token(2)}"


def parse_run_id(text: str) -> str:
    """The name, if it can name a run.

    Raises
    ------
    Rejected
        If it is not 2 to 40 lower-case letters, digits and hyphens.
    """
    if not _RUN.fullmatch(text):
        raise Rejected(
            f"'{text}' is not the name of a run: use 2 to 40 lower-case letters, digits and "
            "hyphens",
            reason=Reason.BAD_RUN,
        )
    return text


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """A task, the run that it belongs to, and how it is to be done."""

    task: Task
    run: str = ADHOC
    recipe: Recipe = "forest"
    resolution: int | None = None
    """Pixel size in meters; None for that of the worker's site."""
    overwrite: bool = False
    bands: tuple[str, ...] = ()
    """Names of extra bands."""
    seamless: bool = False
    """Whether objects go across the tile's edges."""

    @property
    def body(self) -> str:
        """Body of the message: the task alone."""
        return self.task.to_json()

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of the message: everything else."""
        attributes = {
            "run": self.run,
            "recipe": self.recipe,
            "overwrite": str(self.overwrite).lower(),
        }
        if self.resolution is not None:
            attributes["resolution"] = str(self.resolution)
        if self.bands:
            attributes["bands"] = format_bands(self.bands)
        if self.seamless:
            attributes["seamless"] = "true"
        return attributes

    @classmethod
    def parse(cls, body: str, attributes: Mapping[str, str]) -> Order:
        """Order of a message; attributes that are not ours are left alone.

        Raises
        ------
        Rejected
            If the body is not a task, or an attribute of ours has no such value.
        """
        task = Task.from_json(body)
        recipe = next((r for r in RECIPES if r == attributes.get("recipe", "forest")), None)
        overwrite = _FLAGS.get(attributes.get("overwrite", "false"))
        seamless = _FLAGS.get(attributes.get("seamless", "false"))
        resolution = {"": None, **{str(m): m for m in RESOLUTIONS}}.get(
            attributes.get("resolution", ""), -1
        )
        bands: tuple[str, ...] | None
        try:
            bands = parse_bands(attributes.get("bands", ""))
        except ValueError:
            bands = None
        if (
            recipe is None
            or overwrite is None
            or resolution == -1
            or bands is None
            or seamless is None
        ):
            wrong = {
                name: attributes[name]
                for name in ("recipe", "overwrite", "resolution", "bands", "seamless")
                if name in attributes
            }
            raise Rejected(
                f"the message asks for what there is not: {wrong}; recipes are "
                f"{', '.join(RECIPES)}, resolutions {', '.join(map(str, RESOLUTIONS))}",
                reason=Reason.BAD_MESSAGE,
            )
        run = parse_run_id(attributes.get("run", ADHOC))
        return cls(task, run, recipe, resolution, overwrite, bands, seamless)
