"""What a series of a region is smoothed with, as a small file beside the results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import Field

from cropmask.contract import SERIES
from cropmask.core.series import SeriesModel
from cropmask.core.seriesfit import Rate
from cropmask.errors import Reason
from cropmask.product import Product
from cropmask.results.fittedfile import (
    FittedDocument,
    StrictDocument,
    find_fitted,
    fitted_key,
    parse_document,
    put_fitted,
)
from cropmask.stac.facts import Document, encode_json
from cropmask.store.protocol import Store
from cropmask.task import Period

FORMAT: Final = 1

_Shares = Annotated[tuple[float, ...], Field(min_length=101, max_length=101)]
_States = Annotated[tuple[_Shares, ...], Field(min_length=2, max_length=2)]
_Start = Annotated[tuple[float, ...], Field(min_length=2, max_length=2)]


class _RateDocument(StrictDocument):
    value: float
    low: float | None
    high: float | None


class _SeriesDocument(FittedDocument):
    series: Literal[1]
    band: Literal["calibrated", "prob"]
    gain: _RateDocument
    loss: _RateDocument
    start: Annotated[tuple[_Start, ...], Field(min_length=1, max_length=8)]
    evidence: Annotated[tuple[_States, ...], Field(min_length=1, max_length=8)]
    tiles: int
    places: int
    pixels: int
    left_out: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class RegionSeries:
    """How years of a region are smoothed, and what that was fitted to."""

    model: SeriesModel
    gain: Rate | None
    """With its interval; None if the rate was given."""
    loss: Rate | None
    band: str
    """That percentages of years are read of: ``calibrated``, which is better, or ``prob``."""
    tiles: int
    """Tiles that pixels were taken of."""
    places: int
    """Windows of them with data."""
    pixels: int
    synthetic: bool
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Tiles with a map that cannot be read, and the reason."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything that pixels depend on, 64 hexadecimal digits."""
        text = json.dumps([self.band, self._figures], sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    @property
    def rates(self) -> Document:
        """Rates of change a year as documents say them; without an interval where given."""
        return {
            "gain": _describe_rate(self.model.gain, self.gain),
            "loss": _describe_rate(self.model.loss, self.loss),
        }

    @property
    def _figures(self) -> Document:
        return {
            "gain": self.model.gain,
            "loss": self.model.loss,
            "start": self.model.start.tolist(),
            "evidence": self.model.evidence.tolist(),
        }

    def to_json(self, product: Product, period: Period, resolution: int) -> str:
        """The document."""
        return encode_json(
            {
                "series": FORMAT,
                "product": product.name,
                "version": product.version,
                "period": str(period),
                "resolution": resolution,
                "synthetic": self.synthetic,
                "band": self.band,
                "tiles": self.tiles,
                "places": self.places,
                "pixels": self.pixels,
                "left_out": dict(sorted(self.left_out.items())),
                **self._figures,
                **self.rates,
            }
        )

    @classmethod
    def from_json(cls, text: bytes, product: Product, period: Period, resolution: int) -> Self:
        """What a document says; ValueError if it is none, or of something else."""
        found = parse_document(_SeriesDocument, text, product, period, resolution)
        model = SeriesModel(
            np.array(found.evidence), np.array(found.start), found.gain.value, found.loss.value
        )
        return cls(
            model,
            _parse_rate(found.gain),
            _parse_rate(found.loss),
            found.band,
            found.tiles,
            found.places,
            found.pixels,
            found.synthetic,
            found.left_out,
        )


def _describe_rate(value: float, fitted: Rate | None) -> dict[str, Any]:
    low, high = (fitted.low, fitted.high) if fitted else (None, None)
    return {"value": value, "low": low, "high": high}


def _parse_rate(found: _RateDocument) -> Rate | None:
    if found.low is None or found.high is None:
        return None
    return Rate(found.value, found.low, found.high)


def series_key(product: Product, period: Period, resolution: int) -> str:
    """Key of the file in a store."""
    return fitted_key(SERIES, product, period, resolution)


def find_series(
    store: Store, product: Product, period: Period, resolution: int
) -> RegionSeries | None:
    """What was fitted; None if nothing was.

    Raises Misconfigured if the file is something else.
    """
    where = (store, SERIES, product, period, resolution)
    return find_fitted(*where, RegionSeries.from_json, what="series", reason=Reason.NO_SERIES)


def put_region_series(
    store: Store, product: Product, period: Period, resolution: int, fitted: RegionSeries
) -> str:
    """Write what was fitted in place of what was there; the file's address."""
    key = series_key(product, period, resolution)
    return put_fitted(store, key, fitted.to_json(product, period, resolution))
