"""The colors that tiles of a product and year share, as a small file beside the results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from cropmask.contract import COLORS
from cropmask.core.sharedcolors import SharedColors
from cropmask.core.stretch import Spread
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
from cropmask.stac.facts import encode_json
from cropmask.store.protocol import Store
from cropmask.task import Period

FORMAT: Final = 1

_Centers = Annotated[tuple[float, ...], Field(min_length=1, max_length=255)]


class _Band(StrictDocument):
    mean: float
    deviation: float
    centers: _Centers


class _Document(FittedDocument):
    colors: Literal[1]
    bands: Annotated[tuple[_Band, ...], Field(min_length=2, max_length=2)]
    tiles: tuple[str, ...]
    left_out: dict[str, str]
    pixels: int


@dataclass(frozen=True, slots=True)
class FittedColors:
    """Colors, and what they were fitted to."""

    colors: SharedColors
    tiles: tuple[str, ...]
    """Tiles that pixels were taken of."""
    left_out: Mapping[str, str]
    """Other tiles of the sample, and the reason why nothing could be taken of them."""
    pixels: int
    synthetic: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the colors themselves, 64 hexadecimal digits."""
        text = json.dumps(_describe_bands(self.colors), sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    def to_json(self, product: Product, period: Period, resolution: int) -> str:
        """The document."""
        return encode_json(
            {
                "colors": FORMAT,
                "product": product.name,
                "version": product.version,
                "period": str(period),
                "resolution": resolution,
                "synthetic": self.synthetic,
                "bands": _describe_bands(self.colors),
                "tiles": list(self.tiles),
                "left_out": dict(sorted(self.left_out.items())),
                "pixels": self.pixels,
            }
        )

    @classmethod
    def from_json(cls, text: bytes, product: Product, period: Period, resolution: int) -> Self:
        """Colors of a document; ValueError if it is none, or of something else."""
        found = parse_document(_Document, text, product, period, resolution)
        one, two = found.bands
        colors = SharedColors(
            (Spread(one.mean, one.deviation), Spread(two.mean, two.deviation)),
            (one.centers, two.centers),
        )
        return cls(colors, found.tiles, found.left_out, found.pixels, found.synthetic)


def _describe_bands(colors: SharedColors) -> list[dict[str, object]]:
    return [
        {"mean": spread.mean, "deviation": spread.deviation, "centers": list(centers)}
        for spread, centers in zip(colors.spreads, colors.centers, strict=True)
    ]


def colors_key(product: Product, period: Period, resolution: int) -> str:
    """Key of the file in a store."""
    return fitted_key(COLORS, product, period, resolution)


def find_colors(
    store: Store, product: Product, period: Period, resolution: int
) -> FittedColors | None:
    """Colors that are there; None if none were fitted.

    Raises Misconfigured if the file is something else.
    """
    where = (store, COLORS, product, period, resolution)
    return find_fitted(*where, FittedColors.from_json, what="colors", reason=Reason.NO_COLORS)


def find_color_years(store: Store, product: Product, resolution: int) -> tuple[str, ...]:
    """Periods that have colors, sorted; their files are not opened."""
    ending = f"_{resolution}m.json"
    names = (entry.key.rsplit("/", 1)[-1] for entry in store.list(f"{COLORS}/{product.folder}/"))
    return tuple(name.removesuffix(ending) for name in names if name.endswith(ending))


def put_colors(
    store: Store, product: Product, period: Period, resolution: int, fitted: FittedColors
) -> str:
    """Write colors in place of what was there; the file's address."""
    key = colors_key(product, period, resolution)
    return put_fitted(store, key, fitted.to_json(product, period, resolution))
