"""The published Eastern recipe, fitted in this run, and scenes of the demo world to use it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from threadpoolctl import threadpool_limits

from cropmask.core._packets import EDGE
from cropmask.core.features import FEATURES, features
from cropmask.core.forest import Forest
from cropmask.core.strips import Half, Strip
from cropmask.grid import Tile
from cropmask.pixels.layers import open_layers
from cropmask.product import Recipe
from cropmask.region.region import Ancillary, Limits, load_region
from cropmask.sources.boundary import load_boundary
from cropmask.sources.search import find_sources
from cropmask.task import Period
from cropmask.testing.world.demoworld import DEMO_TILE
from cropmask.testing.world.landscape import elevation_row, log_rain, make_sites, salt_of
from cropmask.testing.world.spectra import MIXED, draw_half, draw_truth
from cropmask.training.fit import convert, make_estimator
from cropmask.training.samples import load_samples

PIXEL_M: Final = 10
TERRAIN_PIXELS: Final = 3
"""The demo world's terrain has pixels of 30 m."""
TILE_PIXELS: Final = 9600
MEASURED: Final[tuple[Recipe, ...]] = ("forest", "boosted")
"""Recipes that are fitted and measured."""
DEMO_SAMPLES: Final = 2000
REAL_TILE: Final = Tile(186, 136)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One recipe, fitted, as scikit-learn and as we hold it."""

    recipe: Recipe
    estimator: Any
    forest: Forest


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """Both recipes on the same samples."""

    samples: str
    """What they were fitted on."""
    by_recipe: dict[Recipe, Fitted]


def fit_models(samples: Path | None, *, trees: int | None = None) -> Models:
    """Fit the published Eastern forest and the boosted model beside it.

    Parameters
    ----------
    samples
        Published samples; where there is no such file, pixels of the demo world with their truth
        stand in, which give smaller trees.
    trees
        Trees of the forest; default as published, 500.
    """
    training = load_region("eastern").training
    if trees is not None:
        training = training.model_copy(update={"trees": trees})
    if samples is not None and samples.exists():
        known = load_samples(samples)
        x, labels, name = known.features, known.labels, f"{len(known.labels)} published samples"
    else:
        x, labels = draw_samples(DEMO_SAMPLES)
        name = f"{len(labels)} pixels of the demo world"
    fitted = {}
    for recipe in MEASURED:
        estimator = make_estimator(recipe, training)
        with threadpool_limits(1):
            estimator.fit(x, labels)
        fitted[recipe] = Fitted(recipe, estimator, convert(estimator, FEATURES))
    return Models(name, fitted)


def draw_samples(count: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Features ``(row, feature)`` and labels of random pixels of the demo tile."""
    rng = np.random.default_rng(0)
    parts, labels = [], []
    for row in np.linspace(0, TILE_PIXELS - 8, 40).astype(int):
        strip = draw_strip(int(row), 0, 1, TILE_PIXELS)
        truth = draw_truth(DEMO_TILE, PIXEL_M, int(row), 1)[0]
        chosen = rng.choice(TILE_PIXELS, count // 40, replace=False)
        chosen = chosen[truth[chosen] != MIXED]
        parts.append(features(strip)[:, 0, chosen].T)
        labels.append(truth[chosen])
    return np.ascontiguousarray(np.concatenate(parts)), np.concatenate(labels)


def draw_scene(rows: int, width: int = 1024, places: int = 8) -> Strip:
    """Parcel scene: windows from places all over the demo tile at 10 m, one below the other.

    A window is as wide as a block of packets of a whole tile; ``rows`` is that of one window.
    """
    room = np.linspace(0.06, 0.94, places)
    shuffled = np.random.default_rng(0).permutation(room)
    parts = [
        draw_strip(
            int(down * TILE_PIXELS) // 8 * 8, int(across * (TILE_PIXELS - width)), rows, width
        )
        for down, across in zip(room, shuffled, strict=True)
    ]

    def join(name: str) -> Half:
        halves = [getattr(part, name) for part in parts]
        return Half(
            np.concatenate([half.reflectance for half in halves], axis=1),
            np.concatenate([half.deviation for half in halves], axis=1),
        )

    return Strip(
        0,
        join("first"),
        join("second"),
        np.concatenate([part.rain for part in parts], axis=1),
        np.concatenate([part.slope for part in parts]),
    )


def load_real_scene(folder: Path) -> Strip | None:
    """A real GeoMAD of a square kilometer, read as a tile is; None where the folder is absent.

    Its bands of 8 rows lie side by side, so that blocks are as wide as those of a whole tile.
    """
    if not folder.exists():
        return None
    layers = folder / "ancillary"
    ancillary = Ancillary(
        rain_first_half=str(layers / "rain_jan_jun.tif"),
        rain_second_half=str(layers / "rain_jul_dec.tif"),
        slope=str(layers / "slope_percent.tif"),
    )
    with rasterio.open(next(folder.rglob("*_B02.tif"))) as raster:
        box = GeoBox.from_rio(raster)
    sources = find_sources(str(folder), REAL_TILE, Period.year_of("2021"), ancillary)
    boundary = load_boundary(layers / "boundary.geojson")
    with open_layers(sources, box, boundary=boundary, limits=Limits()) as opened:
        (strip,) = opened.strips(box.shape[0])
        bands = range(0, strip.shape[0] - EDGE + 1, EDGE)

        def lay(array: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([array[..., row : row + EDGE, :] for row in bands], axis=-1)

        halves = [
            Half(lay(half.reflectance), lay(half.deviation)) for half in (strip.first, strip.second)
        ]
        return Strip(0, *halves, lay(strip.rain), lay(strip.slope))


def draw_strip(row: int, column: int, rows: int, width: int) -> Strip:
    """Window of the demo tile at 10 m, as its rasters hold it."""
    window = slice(column, column + width)
    halves = [draw_half(DEMO_TILE, PIXEL_M, half, row, rows) for half in (0, 1)]
    first, second = (
        Half(
            np.ascontiguousarray(half.reflectance[:, :, window]),
            np.ascontiguousarray(half.deviation[:, :, window]),
        )
        for half in halves
    )
    left, _, _, top = DEMO_TILE.bounds
    x = left + (column + 0.5) * PIXEL_M
    y = top - (row + 0.5) * PIXEL_M
    return Strip(row, first, second, _draw_rain(x, y, rows, width), _draw_slope(x, y, rows, width))


def _draw_rain(x: float, y: float, rows: int, width: int) -> NDArray[np.float32]:
    """Rain in mm ``(half, y, x)``, linear within a window, which is far smaller than its waves."""
    salt = salt_of(0)
    across, down = np.linspace(0, 1, width), np.linspace(0, 1, rows)[:, None]
    rain = np.empty((2, rows, width), np.float32)
    for half in (0, 1):
        near = log_rain(half, x, y, salt)
        east = log_rain(half, x + width * PIXEL_M, y, salt) - near
        south = log_rain(half, x, y - rows * PIXEL_M, salt) - near
        rain[half] = np.exp(near + east * across + south * down)
    return rain


def _draw_slope(x: float, y: float, rows: int, width: int) -> NDArray[np.float32]:
    """Slope in percent ``(y, x)`` on pixels of 30 m."""
    step = float(TERRAIN_PIXELS * PIXEL_M)
    shape = rows // TERRAIN_PIXELS + 3, width // TERRAIN_PIXELS + 3
    ground, sites = np.empty(shape), make_sites(DEMO_TILE)
    for r in range(shape[0]):
        elevation_row(ground[r], x - step, step, y + step - r * step, sites)
    down, across = np.gradient(ground, step)
    slope = 100 * np.hypot(down, across)[1:, 1:]
    fine = slope.repeat(TERRAIN_PIXELS, 0).repeat(TERRAIN_PIXELS, 1)
    return np.ascontiguousarray(fine[:rows, :width], np.float32)
