"""One tile of a series: from the maps of its years to an item, as one of a year is mapped.

Nothing of a year but its finished result is read. A year without one is evidence of nothing, so
that a series is the same whenever it is made of the same years.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.contract import VERSION
from cropmask.core.scaling import UNDECLARED, Kept
from cropmask.core.series import uses_neighbors
from cropmask.core.seriesmap import SeriesMapper, SeriesPixels, SeriesStatistics, YearsBlock
from cropmask.errors import Interrupted, Misconfigured, Reason, Rejected
from cropmask.grid import AFRICA_10, Tile, geobox
from cropmask.machine.stages import ShareDone, Stages
from cropmask.pixels.gdal import GdalRaster, Part, open_reading_threads
from cropmask.pixels.resample import Window
from cropmask.pixels.resultrows import read_result_rows
from cropmask.pixels.verify import expect_file, verify_files
from cropmask.product import (
    CHANGE_CLASS,
    LEAST_SERIES,
    MASK,
    NODATA,
    PROB,
    SERIES_BANDS,
    SERIES_RECIPE,
    Product,
    format_bands,
)
from cropmask.region.attribution import Attribution
from cropmask.region.region import Region
from cropmask.remote.fetch import ReadOptions
from cropmask.remote.localfiles import translate_os_errors
from cropmask.remote.ranges import RemoteFiles
from cropmask.remote.threads import map_threads
from cropmask.results.finder import Place, find_item, key_beside, make_place
from cropmask.results.publish import put_series, write_band
from cropmask.results.seriesfile import RegionSeries, find_series
from cropmask.site.commands import write_made
from cropmask.site.site import Site
from cropmask.sources.bands import BandSource
from cropmask.stac.facts import Document, ItemFacts, ModelFacts, Source, suffix_of
from cropmask.stac.item import ResultItem
from cropmask.store.protocol import Store
from cropmask.task import Period, RunKey, Task
from cropmask.tile.itemfacts import make_product_collection
from cropmask.tile.job import Basis, find_same, open_basis, require_inside
from cropmask.tile.memory import open_stages
from cropmask.tile.run import TileResult, make_result
from cropmask.tile.runkey import SHORT, SeriesParts, digest_json, model_words

BLOCK_ROWS: Final = 512
"""Rows that are in memory at the same time: the height of a COG's blocks."""
_KEPT: Final = Kept("uint8", NODATA)
_UP: Final = "../../../../../"
"""From a dataset's folder (product, version, column, row, period) to the root of the results."""


@dataclass(frozen=True, slots=True)
class SeriesJob:
    """A tile of a series with everything that it is made of; nothing is computed yet."""

    task: Task
    basis: Basis
    fitted: RegionSeries
    years: Mapping[Period, ResultItem | None]
    """Maps of all years in their order; None of a year without one."""
    place: Place

    @property
    def items(self) -> tuple[ResultItem, ...]:
        """Maps that there are, in the order of years."""
        return tuple(item for item in self.years.values() if item is not None)

    @property
    def parts(self) -> SeriesParts:
        """Parts of the run key."""
        region = self.basis.region
        return SeriesParts.of(
            model=self.fitted.digest,
            region={"name": region.name, "version": region.version},
            resolution=self.basis.resolution,
            years=_name_maps(self.years),
            code=VERSION,
        )

    @property
    def words(self) -> dict[str, str]:
        """Parts of the run key that have words; see :func:`~cropmask.tile.runkey.item_words`."""
        return {
            "model": model_words(SERIES_RECIPE, self.fitted.digest),
            "resolution": str(self.basis.resolution),
            "region": self.basis.region.version,
            "code": VERSION,
        }

    @property
    def run_key(self) -> RunKey:
        """Identity of the result."""
        return self.parts.key

    @property
    def synthetic(self) -> bool:
        """Whether any map is made up, and so the series."""
        return any(item.synthetic for item in self.items)

    @property
    def models(self) -> dict[str, str]:
        """What stands for a recipe, by region."""
        return {self.basis.region.name: SERIES_RECIPE}

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the maps that are read, the evidence last."""
        band = self.fitted.band
        return (band,) if band == PROB.name else (MASK.name, band)


def write_series(
    site: Site, region: Region, period: Period, *words: str, command: str = "series"
) -> str:
    """The command that makes the series of a region; ``series fit`` but learns its rates."""
    where = ("--region", region.argument, "--years", period.span)
    return site.commands.line(command, *where, "--resolution", str(site.resolution), *words)


def require_series(site: Site, region: Region, period: Period) -> RegionSeries:
    """What the years of a region are smoothed with.

    Raises Misconfigured if it was not fitted: no tile fits it by itself, as its
    neighbors would be smoothed otherwise.
    """
    fitted = find_series(site.store(), region.product, period, site.resolution)
    if fitted is None:
        raise Misconfigured(
            f"no rates of change of {region.product.name} {region.version}, {period}, at "
            f"{site.resolution} m are in {site.output}, which a series needs: fit them once, with "
            f"'{write_series(site, region, period, command='series fit')}'",
            reason=Reason.NO_SERIES,
        )
    return fitted


def prepare_series(task: Task, basis: Basis, fitted: RegionSeries, store: Store) -> SeriesJob:
    """Check a task and find the maps of its years; nothing is computed or written.

    Raises Rejected if the tile is outside the region, too few years have a map, or one is not as it
    must be.
    """
    task.period.check_series()
    require_inside(basis, task)
    product = basis.region.product
    years = _find_years(task, product, store)
    there = [item for item in years.values() if item is not None]
    if len(there) < LEAST_SERIES:
        raise Rejected(
            f"tile {task.tile} has a map of {len(there)} of the {task.period.noun} {task.period}, "
            f"and a series needs {LEAST_SERIES}: map more of them",
            reason=Reason.TOO_FEW_YEARS,
        )
    job = SeriesJob(
        task,
        basis,
        fitted,
        years,
        make_place(product.series, Task(task.tile, task.region, task.period)),
    )
    for item in there:
        _check_item(item, job, store)
    return job


def _find_years(task: Task, product: Product, store: Store) -> dict[Period, ResultItem | None]:
    return {
        year: find_item(store, make_place(product, Task(task.tile, task.region, year)))
        for year in task.period.years
    }


def _name_maps(years: Mapping[Period, ResultItem | None]) -> dict[str, str | None]:
    """What the run key has of the maps of all years."""
    return {str(year): item.run_key if item else None for year, item in years.items()}


def find_outdated(
    store: Store, product: Product, period: Period, tiles: Sequence[Tile]
) -> tuple[Tile, ...]:
    """Tiles whose series was made of other yearly maps than are there now.

    ``product`` is that of the maps. A plan knows more: also of other rates, or another version.
    """

    def is_outdated(tile: Tile) -> bool:
        task = Task(tile, product.region, period)
        try:
            item = find_item(store, make_place(product.series, task))
            if item is None:
                return False
            known = item.properties.get("cropmask:run_key_parts")
            maps = _name_maps(_find_years(task, product, store))
        except Rejected:  # an item that is none, or damaged
            return True
        return isinstance(known, dict) and known.get("years") != digest_json(maps)[:SHORT]

    found = map_threads(is_outdated, tiles)
    return tuple(tile for tile, outdated in zip(tiles, found, strict=True) if outdated)


def check_resolution(item: ResultItem, resolution: int, store: Store) -> None:
    """Raise Rejected if the map of a year has pixels of another size."""
    if item.resolution != resolution:
        raise Rejected(
            f"{store.uri(item.key)} has pixels of {item.resolution} m, where {resolution} m are "
            "asked for: map all years at one size",
            reason=Reason.CHANGED,
        )


def _check_item(item: ResultItem, job: SeriesJob, store: Store) -> None:
    check_resolution(item, job.basis.resolution, store)
    lacking = [name for name in job.bands if name not in item.assets]
    if lacking:
        raise Rejected(
            f"{store.uri(item.key)} has no band '{lacking[0]}', which the rates of the region were "
            f"fitted with: map it with --bands +{lacking[0]}, or fit them anew",
            reason=Reason.MISSING_BAND,
        )


def run_series(
    task: Task,
    site: Site,
    *,
    overwrite: bool = False,
    stages: Stages | None = None,
    check: Callable[[], None] = lambda: None,
    basis: Basis | None = None,
) -> TileResult:
    """Make one tile of a series and publish it.

    Parameters and result are those of :func:`~cropmask.tile.run.run_tile`: the period is of
    several years, whose maps the site has.

    Raises Rejected if the task is wrong, too few years have a map, or another result is in its
    place; Misconfigured if the site cannot be used, or nothing was fitted to the region;
    Interrupted if reading or writing fails.
    """
    stages = stages or open_stages(site.memory)
    store = site.store()
    basis = basis or open_basis(task.region, site, stages=stages)
    with stages.stage("search"):
        fitted = require_series(site, basis.region, task.period)
        job = prepare_series(task, basis, fitted, store)
    if not overwrite and (item := find_same(store, job)) is not None:
        return make_result(job, store, "SKIPPED", stages, item.statistics)
    attribution = credit(basis.region, job.items)
    with TemporaryDirectory(prefix="cropmask-") as temporary:
        folder = Path(temporary)
        with stages.stage("load"):
            store.check_writable()
            options = site.read_results.at(site.output)
            reader = _open_reader(job, store, options)
        maps = blame_maps(site, basis.region, job.items)
        with maps, reader as years, stages.stage("smooth") as progress:
            classes, statistics = _smooth(job, years, folder, progress)
        stages.add_bytes("smooth", years.bytes)
        with stages.stage("write"):
            _encode(job, folder, attribution.line, site.threads)
            published = put_series(
                store,
                job.place,
                make_series_facts(job, statistics, attribution),
                classes,
                make_product_collection(
                    basis, basis.region.product.series, attribution, synthetic=job.synthetic
                ),
                folder=folder,
                overwrite=overwrite,
                check=check,
            )
        stages.add_bytes("write", published.bytes)
    return make_result(job, store, "SUCCEEDED", stages, statistics.figures)


def _smooth(
    job: SeriesJob, years: _YearsReader, folder: Path, progress: ShareDone
) -> tuple[NDArray[np.uint8], SeriesStatistics]:
    """Write the pixels of all bands to plain files; the class is kept, for pictures."""
    box = geobox(job.task.tile, job.basis.resolution)
    mixes = uses_neighbors(job.basis.resolution)
    mapper = SeriesMapper(job.fitted.model, job.task.period.start.year, mixes=mixes)
    classes = np.empty(box.shape, np.uint8)
    for row, block in years.blocks():
        pixels = mapper.map(block)
        _append_rows(folder, pixels)
        found = pixels[CHANGE_CLASS.name]
        classes[row : row + len(found)] = found
        progress((row + len(found)) / box.shape[0])
    years.check()
    return classes, mapper.statistics(float(job.basis.resolution) ** 2)


def _append_rows(folder: Path, pixels: SeriesPixels) -> None:
    """Write rows below those that are there; unlike GDAL and NumPy, Python tells of a full disk."""
    for band in SERIES_BANDS:
        path = folder / f"{band.name}.raw"
        with translate_os_errors(path, "written"), path.open("ab") as file:
            file.write(np.ascontiguousarray(pixels[band.name], band.dtype).data)


def _encode(job: SeriesJob, folder: Path, line: str, threads: int) -> None:
    """The plain files as cloud-optimized ones, one after the other."""
    box = geobox(job.task.tile, job.basis.resolution)
    for band in SERIES_BANDS:
        raw = folder / f"{band.name}.raw"
        with translate_os_errors(raw, "read"):
            pixels = np.fromfile(raw, band.dtype).reshape(box.shape)
        raw.unlink()
        product = job.basis.region.product.series
        write_band(folder, product, job.task, box, band.name, pixels, credit=line, threads=threads)


def credit(region: Region, items: Sequence[ResultItem]) -> Attribution:
    """Whom a series is owed to: what its region says, then what the maps of its years say."""
    said = reduce(Attribution.beside, (item.attribution for item in items))
    return region.attribution.over(said)


def make_series_facts(
    job: SeriesJob, statistics: SeriesStatistics, attribution: Attribution
) -> ItemFacts:
    """What the item of a series says."""
    basis = job.basis
    end = f"{job.task.period.end}T23:59:59Z"
    return ItemFacts(
        product=basis.region.product.series,
        tile=job.task.tile,
        period=job.task.period,
        resolution=basis.resolution,
        run_key=job.run_key,
        run_key_parts=job.parts.short,
        as_of=max(str(item.properties.get("created") or end) for item in job.items),
        software=VERSION,
        model=ModelFacts(SERIES_RECIPE, job.fitted.digest),
        sources=tuple(Source(item.id, f"{_UP}{item.key}", item.title) for item in job.items),
        statistics=statistics,
        synthetic=job.synthetic,
        attribution=attribution,
        region_title=basis.region.title,
        series=_describe(job),
    )


def _describe(job: SeriesJob) -> Document:
    missing = [str(year) for year, item in job.years.items() if item is None]
    return {
        "years": [str(year) for year in job.years],
        "missing_years": missing,
        "band": job.fitted.band,
        "neighbors": uses_neighbors(job.basis.resolution),
        "rates": job.fitted.rates,
        "left_out_of_rates": dict(job.fitted.left_out),
        "sha256": job.fitted.digest,
    }


def make_band_source(store: Store, item: ResultItem, name: str) -> BandSource:
    """File of a band of a result, with what its item declares of it."""
    asset = item.assets.get(name, {})
    checksum, size = asset.get("file:checksum"), asset.get("file:size")
    return BandSource(
        store.uri(key_beside(item.key, suffix_of(name))),
        _KEPT,
        UNDECLARED,
        checksum if isinstance(checksum, str) else None,
        size if type(size) is int else None,
    )


@contextmanager
def blame_maps(site: Site, region: Region, items: Sequence[ResultItem]) -> Iterator[None]:
    """Say of a map that is damaged how it is made again, and not what is said of inputs.

    Raises Rejected also of a file that is cut short: those of a result are put whole, and its item
    last.
    """
    try:
        yield
    except (Rejected, Interrupted) as error:
        store = site.store()
        names = {store.uri(key_beside(item.key, "_")): item for item in items}
        item = next((item for name, item in names.items() if name in str(error)), None)
        is_passing = isinstance(error, Interrupted) and error.reason is not Reason.TRUNCATED_INPUT
        if item is None or is_passing:
            raise
        what = str(error).partition(": ")[0]  # what is wrong, without the advice
        raise Rejected(
            f"{what}: make the map again, with '{_write_again(site, region, item)}'",
            reason=error.reason,
        ) from error


def _write_again(site: Site, region: Region, item: ResultItem) -> str:
    """The command that makes a map again as it was made."""
    recipe, bands = str(item.model.get("recipe")), format_bands(item.bands)
    made = write_made(item.period, recipe, item.resolution, bands, seamless=item.seamless)
    words = ("--tile", str(item.tile), *made, "--overwrite")
    return site.commands.line_for("job", region.argument, item.period, *words)


@contextmanager
def _open_reader(job: SeriesJob, store: Store, options: ReadOptions) -> Iterator[_YearsReader]:
    """Files of all years, open; local ones are compared with what their items declare before."""
    sources = {
        (number, name): make_band_source(store, item, name)
        for number, item in enumerate(job.years.values())
        if item is not None
        for name in job.bands
    }
    verify_files(sources.values(), options)
    with ExitStack() as stack:
        files = stack.enter_context(RemoteFiles())
        pool = stack.enter_context(open_reading_threads(options))
        opened = pool.map(lambda one: GdalRaster(one.href, options, files), sources.values())
        rasters = dict(zip(sources, opened, strict=True))
        for raster in rasters.values():
            stack.callback(raster.close)
        edge = int(AFRICA_10.size) // job.basis.resolution
        reader = _YearsReader(rasters, files, pool, len(job.years), job.bands, edge)
        reader.plan(sources, options)
        yield reader


class _YearsReader:
    """Reads blocks of rows of all years, each row once."""

    def __init__(
        self,
        rasters: Mapping[tuple[int, str], GdalRaster],
        files: RemoteFiles,
        pool: ThreadPoolExecutor,
        years: int,
        bands: tuple[str, ...],
        edge: int,
    ) -> None:
        self._rasters = rasters
        self._files = files
        self._pool = pool
        self._years = years
        self._bands = bands
        self._edge = edge
        self.bytes = 0
        """Bytes of pixels read so far."""

    def plan(self, sources: Mapping[tuple[int, str], BandSource], options: ReadOptions) -> None:
        """Have remote files fetched ahead, and compared with their items as they come."""

        def plan(key: tuple[int, str]) -> None:
            raster = self._rasters[key]
            rows = range(0, self._edge, BLOCK_ROWS)
            raster.want(
                Part(row, row, Window(row, 0, min(BLOCK_ROWS, self._edge - row), self._edge))
                for row in rows
            )
            if raster.remote is not None:
                expect_file(raster.remote, sources[key], options, is_whole=True)

        for _ in self._pool.map(plan, sources):
            pass

    def blocks(self) -> Iterator[tuple[int, YearsBlock]]:
        """First row and pixels of every block, from north to south."""
        before: NDArray[np.uint8] | None = None
        here = self._load(0)
        for row in range(0, self._edge, BLOCK_ROWS):
            prob, evidence = here
            last = row + BLOCK_ROWS >= self._edge
            after = None if last else self._load(row + BLOCK_ROWS)
            parts = [] if before is None else [before]
            parts += [evidence]
            parts += [] if after is None else [after[1][:, :1]]
            yield row, YearsBlock(prob, np.concatenate(parts, axis=1), 0 if before is None else 1)
            before = evidence[:, -1:]
            if after is not None:
                here = after

    def check(self) -> None:
        """Wait for remote files that are compared with what their items declare.

        Raises Rejected if one is another file; Interrupted if one came damaged.
        """
        for file in self._files.opened:
            file.check()

    def _load(self, row: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """``prob`` as the smoothing has it, and the evidence, ``(year, y, x)`` each."""
        rows = min(BLOCK_ROWS, self._edge - row)
        shape = (len(self._bands), self._years, rows, self._edge)
        pixels = np.full(shape, NODATA, np.uint8)

        def read(key: tuple[int, str]) -> None:
            year, name = key
            found = read_result_rows(self._rasters[key], row, rows, self._edge)
            if name == MASK.name:  # only on which side of one half it is counts
                found = np.where(found == NODATA, found, found * np.uint8(100))
            pixels[self._bands.index(name), year] = found

        for _ in self._pool.map(read, self._rasters):
            pass
        self._files.release(row + rows)
        self.bytes += len(self._rasters) * rows * self._edge
        return pixels[0], pixels[-1]
