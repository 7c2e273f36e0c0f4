"""The file of shared colors: what is read is what was written, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cropmask.core.sharedcolors import SharedColors, fit_colors
from cropmask.core.stretch import NODATA_NDVI, Spread
from cropmask.errors import Misconfigured, Reason
from cropmask.product import Product
from cropmask.results.colorfile import (
    FittedColors,
    colors_key,
    find_color_years,
    find_colors,
    put_colors,
)
from cropmask.results.fittedfile import MAX_BYTES
from cropmask.task import Period
from cropmask.testing.store import MemoryStore

PRODUCT = Product("eastern", "1.1.0")
YEAR = Period.parse("2019")
COLORS = SharedColors(
    (Spread(3_000.25, 812.5), Spread(2_500.1, 0.1 + 0.2)), ((20.5, 1 / 3), (30.0, 200.0))
)
FITTED = FittedColors(COLORS, ("x215y075",), {"x216y075": "missing geomad"}, 42, synthetic=True)


def test_what_is_put_is_found() -> None:
    store = MemoryStore()
    assert find_colors(store, PRODUCT, YEAR, 10) is None
    put_colors(store, PRODUCT, YEAR, 10, FITTED)
    assert find_colors(store, PRODUCT, YEAR, 10) == FITTED
    assert find_colors(store, PRODUCT, YEAR, 20) is None
    assert find_colors(store, PRODUCT, Period.parse("2020"), 10) is None
    assert find_color_years(store, PRODUCT, 10) == ("2019--P1Y",)
    assert find_color_years(store, PRODUCT, 20) == ()


def test_the_digest_is_of_the_colors_alone() -> None:
    other = FittedColors(COLORS, ("x001y001",), {}, 7, synthetic=False)
    assert other.digest == FITTED.digest
    moved = SharedColors(COLORS.spreads, ((20.5, np.nextafter(1 / 3, 1)), COLORS.centers[1]))
    assert FittedColors(moved, (), {}, 7, synthetic=False).digest != FITTED.digest


def document() -> dict[str, Any]:
    return json.loads(FITTED.to_json(PRODUCT, YEAR, 10))


def changed(**more: Any) -> bytes:
    return json.dumps({**document(), **more}).encode()


def bands(**more: Any) -> bytes:
    first, second = document()["bands"]
    return changed(bands=[{**first, **more}, second])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        changed(colors=2),
        changed(bands=[]),
        changed(bands=document()["bands"] * 2),
        changed(unknown=1),
        changed(period="2020--P1Y"),
        changed(resolution=20),
        changed(pixels="42"),
        bands(mean=None),
        bands(deviation=-1.0),
        bands(centers=[]),
        bands(centers=[1.0]),
        bands(centers=[1.0] * 256),
        bands(mean="3000"),
        changed().replace(b"3000.25", b"NaN"),
        changed().replace(b"3000.25", b"1e999"),
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_file_of_colors_is_refused_in_one_line(text: bytes) -> None:
    store = MemoryStore()
    store.put(colors_key(PRODUCT, YEAR, 10), text, "application/json")
    with pytest.raises(Misconfigured, match="fit the colors anew") as refused:
        find_colors(store, PRODUCT, YEAR, 10)
    assert refused.value.reason is Reason.NO_COLORS
    assert "\n" not in str(refused.value)


def test_fitting_is_of_all_pixels_in_whatever_order() -> None:
    rng = np.random.default_rng(5)
    ndvi = rng.normal((3_000, 4_500), (900, 1_500), (4_000, 2)).T.astype(np.int16)
    unseen = np.full((2, 50), NODATA_NDVI, np.int16)
    whole = fit_colors([ndvi], clusters=8)
    pieces = [unseen, ndvi[:, 1_000:], np.empty((2, 0), np.int16), ndvi[:, :1_000]]
    assert fit_colors(pieces, clusters=8) == whole
    for band, spread in zip(ndvi.astype(np.float64), whole.spreads, strict=True):
        assert spread.mean == pytest.approx(band.mean(), rel=1e-12)
        assert spread.deviation == pytest.approx(band.std(), rel=1e-12)
    with pytest.raises(ValueError, match="no pixel"):
        fit_colors([unseen])
