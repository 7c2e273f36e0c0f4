"""Yearly maps of made-up land whose changes are known, for tests of series."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from cropmask.cli.series import series
from cropmask.core.cropmap import CropMap
from cropmask.core.series import SeriesModel
from cropmask.core.seriesmap import SeriesMapper, SeriesPixels, YearsBlock
from cropmask.grid import Tile
from cropmask.operate import fitseries
from cropmask.product import CALIBRATED, SERIES_BANDS, Product
from cropmask.results.cog import write_cog
from cropmask.results.finder import make_place
from cropmask.results.publish import put_dataset, put_series
from cropmask.results.seriesfile import RegionSeries, put_region_series
from cropmask.site.site import Site, open_site
from cropmask.stac.collection import make_collection
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store
from cropmask.task import Period, RunKey, Task
from tests.demo_run import locked
from tests.regions import NAME, RegionWorld, block, make_region
from tests.results import make_facts, put_files

TILES = block(2, 1)
"""The first has maps of all years, the second of too few."""
PERIOD = Period.parse("2019--P6Y")
PRODUCT = Product(NAME, "1.0.0")
TASK = Task(TILES[0], NAME, PERIOD)
PLACE = make_place(PRODUCT.series, TASK)
"""Of the series of the first tile."""
FEW_PIXELS = 8000
"""Pixels that rates are fitted to, so that it takes a second."""
EDGE = 960
_FIELD = 12
"""Pixels of a field's edge."""


@dataclass(frozen=True)
class YearlyMaps:
    """A region with its maps, and where they are."""

    region: RegionWorld
    folder: Path

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder)

    @property
    def places(self) -> dict[str, str]:
        """Variables of the environment that name them."""
        return {
            "CROPMASK_CATALOG": str(self.region.catalog),
            "CROPMASK_OUTPUT": str(self.folder),
            "CROPMASK_RESOLUTION": "100",
            "CROPMASK_REGION_FILES": str(self.region.region),
        }

    def site(self) -> Site:
        return open_site({**self.places, "CROPMASK_THREADS": "1"})

    def copied(self, folder: Path) -> YearlyMaps:
        """The same maps in another folder, to be changed there."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)


def draw_truth(years: int = 6, seed: int = 0) -> NDArray[np.bool_]:
    """Where crop really is ``(year, y, x)``, by fields."""
    rng = np.random.default_rng(seed)
    fields = np.empty((years, EDGE // _FIELD, EDGE // _FIELD), bool)
    fields[0] = rng.random(fields.shape[1:]) < 0.35
    for year in range(1, years):
        drawn = rng.random(fields.shape[1:])
        fields[year] = np.where(fields[year - 1], drawn >= 0.03, drawn < 0.015)
    return fields.repeat(_FIELD, axis=1).repeat(_FIELD, axis=2)


def draw_prob(truth: NDArray[np.bool_], seed: int = 0, grain: int = 1) -> NDArray[np.uint8]:
    """Percentages of yearly maps of it; nodata in the west, and in one year in the north.

    Errors are of fields, and of squares of ``grain`` pixels.
    """
    rng = np.random.default_rng(seed + 100)
    small = (EDGE // _FIELD, EDGE // _FIELD)
    prob = np.empty(truth.shape, np.uint8)
    for year, states in enumerate(truth):
        score = np.where(states, 1.5, -1.5)
        fine = 0.6 * rng.standard_normal((EDGE // grain, EDGE // grain))
        score += fine.repeat(grain, axis=0).repeat(grain, axis=1)
        errors = 0.6 * rng.standard_normal(small)
        score += errors.repeat(_FIELD, axis=0).repeat(_FIELD, axis=1)
        prob[year] = np.rint(100 / (1 + np.exp(-score)))
    prob[:, :, :96] = 255
    prob[2, :200] = 255
    return prob


def draw_whole() -> dict[Tile, NDArray[np.uint8]]:
    """Percentages of each tile; the truth of each is drawn by its number."""
    return {
        tile: draw_prob(draw_truth(seed=seed), seed, grain=4) for seed, tile in enumerate(TILES)
    }


def put_year(
    store: Store,
    tile: Tile,
    year: Period,
    prob: NDArray[np.uint8],
    *,
    key: str = "a",
    calibrated: NDArray[np.uint8] | None = None,
) -> None:
    """The finished map of a year."""
    mask = np.where(prob == 255, 255, prob > 50).astype(np.uint8)
    extras = {} if calibrated is None else {CALIBRATED.name: calibrated}
    facts = make_facts(tile, PRODUCT, period=year, run_key=RunKey(key * 64), bands=tuple(extras))
    collection = make_collection("A made-up region", PRODUCT, (28.0, -12.0, 52.0, 18.0))
    place = make_place(PRODUCT, Task(tile, NAME, year))
    put_dataset(store, place, facts, CropMap(mask, prob, mask, extras), collection, overwrite=True)


def put_model(maps: YearlyMaps, period: Period = PERIOD) -> None:
    """What a series is smoothed with, counted where the truth is known: nothing is fitted."""
    truth = draw_truth(3, seed=9)
    prob = draw_prob(truth, 9, grain=4)
    counts = [np.bincount(prob[truth == state], minlength=256)[:101] + 1.0 for state in (0, 1)]
    evidence = np.array([each / each.sum() for each in counts])[None]
    model = SeriesModel(evidence, np.array([[0.65, 0.35]]), gain=0.015, loss=0.03)
    fitted = RegionSeries(model, None, None, "prob", 1, 1, prob.size, synthetic=False)
    put_region_series(maps.store, PRODUCT, period, 100, fitted)


def put_simple_series(
    store: Store, product: Product, tile: Tile, prob: NDArray[np.uint8], period: Period = PERIOD
) -> SeriesPixels:
    """The finished series of percentages that are rather sure, without neighbors; its bands."""
    share = np.clip(np.arange(101), 2, 98) ** 4
    evidence = np.array([[share[::-1], share]]) / share.sum()
    model = SeriesModel(evidence, np.full((1, 2), 0.5), 0.015, 0.03)
    mapper = SeriesMapper(model, period.start.year, mixes=False)
    pixels = mapper.map(YearsBlock(prob, prob, above=0))
    statistics = mapper.statistics(10_000.0)
    facts = make_facts(tile, product.series, period=period, statistics=statistics)
    collection = make_collection("A made-up region", product.series, (28.0, -12.0, 52.0, 18.0))
    with TemporaryDirectory() as name:
        folder = Path(name)
        for band in SERIES_BANDS:
            write_cog(folder / facts.file_name(band.name), pixels[band.name], facts.box, band)
        place = make_place(product.series, Task(tile, product.region, period))
        put_series(store, place, facts, pixels["class"], collection, folder=folder)
    return pixels


def make_years(folder: Path, *, whole: bool = False, period: Period = PERIOD) -> YearlyMaps:
    """Write the region, and the maps of its tiles.

    If it is to be whole, both have maps of all years but the third, as :func:`draw_whole` has them.
    """
    made = YearlyMaps(make_region(folder / "region", TILES, years=()), folder / "results")
    drawn = draw_whole() if whole else {TILES[0]: draw_prob(draw_truth())}
    for tile, prob in drawn.items():
        for at, (year, values) in enumerate(zip(period.years, prob, strict=True)):
            if not (whole and at == 2):
                put_year(made.store, tile, year, values)
    if not whole:
        for year in period.years[:4]:
            put_files(made.store, [TILES[1]], PRODUCT, period=year)
    return made


def ensure_series(folder: Path) -> YearlyMaps:
    """Such maps with the series of them, made once for all processes of a test run."""
    marker = folder / "made.json"
    with locked(folder.with_suffix(".lock")):
        if not marker.exists():
            shutil.rmtree(folder, ignore_errors=True)
            made = make_years(folder)
            marker.write_text(_make_series(made))
    region = RegionWorld(
        folder / "region", folder / "region/region.toml", folder / "region/catalog.json", TILES
    )
    return YearlyMaps(region, folder / "results")


def _make_series(made: YearlyMaps) -> str:
    """What the command says that makes the series."""
    words = ["--region", NAME, "--years", "2019-2024", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitseries, "MOST_PIXELS", FEW_PIXELS)
        said = CliRunner(env=made.places).invoke(series, words, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    document = json.loads(said.output)
    assert [tile["state"] for tile in document["tiles"]] == ["SUCCEEDED"]
    assert document["left_out"] == {str(TILES[1]): "too few years"}
    return said.output
