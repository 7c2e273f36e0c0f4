"""What a report of a region says, as values: the page and the JSON are both made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

from cropmask.assess.intervals import Estimated
from cropmask.stac.facts import Document


@dataclass(frozen=True, slots=True)
class Ranged:
    """One figure with its interval; NaN where it is not known."""

    estimate: float
    low: float
    high: float
    standard_error: float = math.nan

    @classmethod
    def of(cls, figures: Estimated, *index: int) -> Self:
        """One of many figures."""
        found = figures.at(*index)
        return cls(
            float(found.estimate), float(found.low), float(found.high), float(found.standard_error)
        )

    @property
    def is_known(self) -> bool:
        """Whether there is a figure."""
        return not math.isnan(self.estimate)


@dataclass(frozen=True, slots=True)
class LandPart:
    """Some of the region's land."""

    kind: str
    """``mapped``, ``shared``, ``protected``, ``water``, ``steep``, ``high`` or ``missing``."""
    hectares: float


@dataclass(frozen=True, slots=True)
class StratumLine:
    """A stratum, and what was drawn of it."""

    name: str
    hectares: float
    drawn: int
    labeled: int


@dataclass(frozen=True, slots=True)
class DistrictLine:
    """Cropland of a district."""

    name: str
    hectares: Ranged
    share: Ranged
    """Of its mapped land."""
    mapped_hectares: float
    """Its land that the map shows."""
    unmapped_hectares: float
    """Masked, not seen, or not mapped."""
    pixel_hectares: float
    """Pixels of the map that are crop: biased."""
    points: int
    effective_points: float
    estimator: str


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """What became of the sampled places."""

    drawn: int
    labeled: int
    left_out: Mapping[str, int]
    """Places without a class, by the reason."""
    labelers: int | None
    """People who labeled; None if files do not tell them apart."""
    percent_agreed: float | None
    """Pairs of answers for one place that are the same; None without two labelers of a place."""
    kappa: float | None
    digest: str
    """SHA-256 of the files of labels."""


@dataclass(frozen=True, slots=True)
class AccuracyFacts:
    """How right the map is."""

    overall: Ranged
    producers: Ranged
    users: Ranged
    f1: Ranged
    """These three of crop."""
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """Points ``(map class, reference class)``."""
    area_shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ReportOrigin:
    """All that it takes to compute the same again."""

    product: str
    version: str
    period: str
    band: str
    meters: int
    """Pixel size."""
    run_keys: Mapping[str, str]
    """By tile."""
    models: tuple[str, ...]
    """Recipe and first digits of the digest."""
    seed: int
    allocation: str
    stratified_by: tuple[str, ...]
    sample_digest: str
    """SHA-256 of the sample's file."""
    software: str


@dataclass(frozen=True, slots=True)
class Report:
    """Area and accuracy of a region's map."""

    region: str
    region_title: str
    is_synthetic: bool
    level: float
    """Confidence of all intervals."""
    method: str
    hectares: Ranged
    """Area of cropland."""
    share: Ranged
    """The same as a share of the mapped land."""
    pixel_hectares: float
    """Pixels of the map that are crop: biased."""
    accuracy: AccuracyFacts
    land: tuple[LandPart, ...]
    strata: tuple[StratumLine, ...]
    districts: tuple[DistrictLine, ...]
    min_points: int
    """A district with fewer has no figure."""
    min_cell_points: int
    """A district with so many in each stratum stands by itself."""
    labels: LabelFacts
    origin: ReportOrigin
    credit: str
    license: str
    training_places: int | None
    """Places that the sample was compared with; None if none were given."""
    has_plots: bool
    """Whether several points of a plot were drawn together."""

    @property
    def mapped_hectares(self) -> float:
        """Land that the figures are about."""
        return next(part.hectares for part in self.land if part.kind == "mapped")


def encode_report(report: Report) -> Document:
    """The report as a JSON document: numbers as they are, null where a figure is not known."""
    document = _encode(report)
    document["mapped_hectares"] = report.mapped_hectares
    return dict(document)


def _encode(value: object) -> Any:  # noqa: ANN401 (any JSON value)
    if is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _encode(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_encode(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
