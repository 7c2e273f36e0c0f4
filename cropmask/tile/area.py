"""An area of one's own: the pixels inside it, of every tile and region that it reaches.

Each pixel is mapped as in the run of its tile, by the model of its region; where boundaries
overlap, the region that comes first by name has the pixel. ``mask`` and ``prob`` are those of the
tile. ``filtered`` is segmented in the area and a margin around it, so it may differ: the colors
and clusters of the segmentation follow all pixels that it sees, and the tile has more of them. With
the colors that a seamless site shares, it is that of the seamless tile.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.contract import VERSION
from cropmask.core.cropmap import CropMap, Statistics, mean_percent, sum_counts
from cropmask.core.mapper import map_crops
from cropmask.errors import Reason, Rejected
from cropmask.grid import GridWindow, tiles_within
from cropmask.machine.limits import open_workspace
from cropmask.machine.stages import Stages
from cropmask.modelfile.model import read_model
from cropmask.pixels.verify import verify_files
from cropmask.product import AREAS, NODATA, Recipe, with_extras
from cropmask.region.attribution import Attribution
from cropmask.region.region import region_names
from cropmask.remote.fetch import find_identity
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits
from cropmask.remote.ranges import RemoteFiles
from cropmask.results.finder import Place, find_json, key_beside
from cropmask.results.publish import put_area
from cropmask.site.site import Site
from cropmask.sources.attribution import find_attribution
from cropmask.sources.boundary import load_area
from cropmask.sources.search import Identify
from cropmask.stac.facts import ASSET_SUFFIXES, AreaFacts, Document, area_assets, area_file
from cropmask.stac.footprint import describe_polygons
from cropmask.stac.links import ITEM_SUFFIX
from cropmask.store.protocol import Store
from cropmask.task import Period, RunKey, Task
from cropmask.tile.extras import make_extras
from cropmask.tile.itemfacts import (
    date_inputs,
    make_calibrations,
    make_half_years,
    make_model_facts,
    make_sources,
)
from cropmask.tile.job import Basis, Job, choose_model, make_basis, open_boundary, prepare_on
from cropmask.tile.memory import open_stages, plan_memory
from cropmask.tile.run import TileResult, make_result
from cropmask.tile.runkey import SHORT, digest_json
from cropmask.tile.seam import Seam, find_seam, open_joined, require_colors

AUTO: Final = "auto"
"""Stands for whatever regions an area lies in."""
MARGIN_METERS: Final = 500
"""Width of what is segmented around an area: segments of 1 ha are settled by what is nearer."""
MAX_PIXELS: Final = 100_000_000
"""Most pixels of the box around an area: a little more than a tile of 10 m has."""
MAX_TILES: Final = 16
"""Most tiles that an area reaches: the files of all of them are open at the same time."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


@dataclass(frozen=True, slots=True, eq=False)
class AreaTask:
    """An area to be mapped: where, when and how."""

    name: str
    """Folder of the result, below ``areas/``."""
    polygons: shapely.Geometry
    """The area, EPSG:6933."""
    digest: str
    """SHA-256 of the polygons."""
    period: Period
    region: str
    """Name of a region, path of a region file, or ``auto``."""
    recipe: Recipe | Path


@dataclass(frozen=True, slots=True, eq=False)
class AreaPart:
    """What one region has of an area."""

    basis: Basis
    polygons: shapely.Geometry
    """Its part of the area, EPSG:6933."""
    jobs: tuple[Job, ...]
    """Of the tiles that it reaches."""
    window: GridWindow
    """Pixels of its part and those around it."""
    margin: GridWindow
    """What is segmented: the window and a margin, within the tiles if it shares no colors."""
    seam: Seam | None = None
    """What it shares with tiles around it."""


@dataclass(frozen=True, slots=True, eq=False)
class AreaJob:
    """An area with everything that it needs found; nothing is computed yet."""

    task: AreaTask
    window: GridWindow
    hectares: float
    """Of the pixels whose centers are inside."""
    parts: tuple[AreaPart, ...]
    """By region, in the order of their names."""
    run_key: RunKey
    key_parts: Mapping[str, str]
    """First digits of the digest of each part of the run key, as the item keeps them."""
    place: Place

    @property
    def jobs(self) -> Iterator[Job]:
        """Those of all tiles and regions."""
        for part in self.parts:
            yield from part.jobs

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of extra bands."""
        return self.parts[0].basis.bands

    @property
    def models(self) -> dict[str, str]:
        """Recipe of the model by region."""
        return {part.basis.region.name: part.basis.recipe for part in self.parts}

    @property
    def synthetic(self) -> bool:
        """Whether any input is made up, and so the result."""
        return any(job.synthetic for job in self.jobs)


def load_area_task(
    area: object,
    period: Period,
    limits: ReadLimits = USUAL_LIMITS,
    *,
    region: str = AUTO,
    recipe: Recipe | Path = "forest",
    name: str | None = None,
) -> AreaTask:
    """What is asked for; parameters as of :func:`cropmask.map_area`.

    Raises Rejected if the area is none, its file cannot be used, or its name.
    """
    polygons = load_area(area, limits)
    digest = digest_json(shapely.normalize(polygons).wkb_hex)
    name = _check_name(name) if name is not None else _make_name(area, digest)
    return AreaTask(name, polygons, digest, period, region, recipe)


def run_area(
    task: AreaTask, site: Site, *, overwrite: bool = False, stages: Stages | None = None
) -> TileResult:
    """Map an area and publish the result.

    Raises Rejected if the area is in no region, larger than :data:`MAX_PIXELS` or smaller than a
    pixel, if its inputs are not as they must be, or another result is in its place; Misconfigured
    if the site cannot be used; Interrupted if reading or writing fails.
    """
    stages = stages or open_stages(site.memory)
    store = site.store()
    with ExitStack() as stack:
        files: dict[Task, RemoteFiles] = {}

        def open_files(task: Task) -> Identify:
            files[task] = stack.enter_context(RemoteFiles())
            return files[task].identify

        job = prepare_area(task, site, stages=stages, identify_of=open_files)
        if not overwrite and (known := find_same_area(store, job)) is not None:
            return make_result(job, store, "SKIPPED", stages, known)
        with stages.stage("load"):
            store.check_writable()
            for each in job.jobs:
                verify_files(each.sources.bands, each.sources.options, is_whole=False)
            owed = [
                each.basis.region.attribution.over(find_attribution(each.sources))
                for each in job.jobs
            ]
        mapped = [_map_part(part, site, stages, files) for part in job.parts]
        with stages.stage("write"):
            crop_map = _compose(job, [found.crop_map for found in mapped])
            statistics = _add_up(job, crop_map, [found.statistics for found in mapped])
            not_applied = ChainMap(*(dict(found.not_applied) for found in mapped))
            calibrations = {
                key: word for found in mapped for key, word in found.calibrations.items()
            }
            seams = {
                part.basis.region.name: found.seamless
                for part, found in zip(job.parts, mapped, strict=True)
                if found.seamless is not None
            }
            facts = _make_facts(job, statistics, not_applied, owed, calibrations, seams or None)
            written = put_area(
                store, job.place, facts, crop_map, overwrite=overwrite, threads=site.threads
            )
        stages.add_bytes("write", written.bytes)
    return make_result(job, store, "SUCCEEDED", stages, statistics.figures)


def prepare_area(
    task: AreaTask,
    site: Site,
    *,
    stages: Stages | None = None,
    identify_of: Callable[[Task], Identify] = lambda _task: find_identity,
) -> AreaJob:
    """Find what an area needs; nothing is computed or written. See :func:`run_area`.

    ``identify_of`` gives what tells the contents of a tile's files apart.
    """
    stages = stages or Stages()
    window = GridWindow.around(task.polygons.bounds, site.resolution)
    hectares = _measure(task.polygons, window)
    # Worlds that are made on first use tell how far they are.
    shares = [*_share_out(task, site, stages)]
    with stages.stage("search"):
        parts = tuple(
            _prepare_part(basis, mine, task.period, window, site, identify_of)
            for basis, mine in shares
        )
    jobs = [job for part in parts for job in part.jobs]
    keys = [[job.basis.region.name, str(job.task.tile), str(job.run_key)] for job in jobs]
    seams = [part.seam.key_parts for part in parts if part.seam]
    shared = {name: [seam[name] for seam in seams] for name in (seams[0] if seams else ())}
    run_key = RunKey.of(area=task.digest, margin=MARGIN_METERS, tiles=keys, **shared)
    shorts = [job.parts.short for job in jobs]
    each = {name: [short[name] for short in shorts] for name in shorts[0]} | shared
    digests = {name: digest_json(values)[:SHORT] for name, values in each.items()}
    folder = f"{AREAS}/{task.name}/{task.period}"
    return AreaJob(
        task=task,
        window=window,
        hectares=hectares,
        parts=parts,
        run_key=run_key,
        key_parts={"area": task.digest[:SHORT], **digests},
        place=Place(folder, f"{folder}/{area_file(task.name, task.period, ITEM_SUFFIX)}"),
    )


def find_same_area(store: Store, job: AreaJob) -> Mapping[str, object] | None:
    """Figures of the same result, if it is there with all its files.

    Raises Rejected if something else is in its place.
    """
    if not store.exists(job.place.item):
        return None
    properties = find_json(store, job.place.item).get("properties")
    said = properties if isinstance(properties, dict) else {}
    figures, kept = said.get("cropmask:statistics"), said.get("cropmask:run_key_parts")
    if said.get("cropmask:run_key") == str(job.run_key) and isinstance(figures, dict):
        files = (key_beside(job.place.item, ASSET_SUFFIXES[key]) for key in area_assets(job.bands))
        return figures if all(map(store.exists, files)) else None
    old = kept if isinstance(kept, dict) else {}
    asked = dict.fromkeys([*job.key_parts, *old])
    names = [name for name in asked if old.get(name) != job.key_parts.get(name)]
    raise Rejected(
        f"{store.uri(job.place.item)} is there with another {' and '.join(names) or 'margin'}: "
        "use --overwrite to replace it, or another --name or --output",
        reason=Reason.CHANGED,
    )


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Rejected(
            f"'{name}' cannot name an area: use up to 60 small letters, digits, - and _",
            reason=Reason.BAD_VALUE,
        )
    return name


def _make_name(area: object, digest: str) -> str:
    """Name of a file without its suffix, and some digits: another shape has another name."""
    stem = Path(area).stem if isinstance(area, str | Path) else "area"
    word = re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-_")[:40]
    return f"{word or 'area'}-{digest[:8]}"


def _measure(polygons: shapely.Geometry, window: GridWindow) -> float:
    """Hectares of the pixels of a window whose centers are inside polygons."""
    tiles = len(tiles_within(polygons))
    if window.pixels > MAX_PIXELS or tiles > MAX_TILES:
        raise Rejected(
            f"the area reaches {tiles} tiles and {window.pixels:,} pixels of {window.resolution} m "
            f"around it, at most {MAX_TILES} and {MAX_PIXELS:,} are mapped as one: map its tiles, "
            "which the command tiles lists for an --aoi or --bbox",
            reason=Reason.OVER_LIMIT,
        )
    count = int(np.count_nonzero(window.inside(polygons)))
    if count == 0:
        raise Rejected(
            f"no pixel of {window.resolution} m has its center in the area: give a larger one, or "
            "a finer --resolution",
            reason=Reason.BAD_VALUE,
        )
    return count * window.resolution**2 / 10_000


def _find_polygons(shape: shapely.Geometry) -> shapely.Geometry:
    """What has an area of a shape: where boundaries touch, lines and points are left as well."""
    return shapely.union_all([part for part in shapely.get_parts(shape) if part.area > 0])


def _share_out(
    task: AreaTask, site: Site, stages: Stages
) -> Iterator[tuple[Basis, shapely.Geometry]]:
    """Regions that an area lies in, and the part of it that is theirs."""
    names: Iterable[str] = (task.region,)
    if task.region == AUTO:
        names = (*region_names(site.models), *map(str, site.region_files))
    rest, found = task.polygons, False
    for name in names:
        # The boundary first: a region elsewhere need not have such a model.
        region = site.region(name)
        inputs, boundary = open_boundary(region, site, stages)
        mine = _find_polygons(shapely.intersection(rest, boundary))
        if mine.area > 0 and GridWindow.around(mine.bounds, site.resolution).inside(mine).any():
            found, model = True, choose_model(region, task.recipe, site.bands)
            yield make_basis(region, model, inputs, boundary, site), mine
            rest = shapely.difference(rest, boundary)
        if not rest.area > 0:
            return
    if not found:
        where = "every region" if task.region == AUTO else f"region {task.region}"
        what = "the command tiles lists the tiles of an --aoi or --bbox and their regions"
        if site.synthetic:
            where = "the made-up demo world, which has x010y020 only"
            what = "use --env prod or --catalog for real data"
        raise Rejected(f"the area is outside {where}: {what}", reason=Reason.OUTSIDE_REGION)


def _prepare_part(
    basis: Basis,
    polygons: shapely.Geometry,
    period: Period,
    whole: GridWindow,
    site: Site,
    identify_of: Callable[[Task], Identify],
) -> AreaPart:
    tasks = [Task(tile, basis.region.name, period) for tile in tiles_within(polygons)]
    jobs = tuple(
        prepare_on(basis, task, basis.inputs.catalog, site.read, identify_of(task))
        for task in tasks
    )
    window = GridWindow.around(polygons.bounds, site.resolution).within(whole)
    fitted = require_colors(site, basis.region, period)
    if fitted is not None:
        seam = find_seam(
            fitted,
            window,
            [task.tile for task in tasks],
            period,
            basis.inputs.ancillary,
            basis.inputs.catalog,
            site.read,
            order=basis.region.half_years,
        )
        return AreaPart(basis, polygons, jobs, window, seam.margin, seam)
    tiles = [GridWindow.of_tile(task.tile, site.resolution) for task in tasks]
    margin = window.grown(MARGIN_METERS // site.resolution).within(reduce(GridWindow.joined, tiles))
    return AreaPart(basis, polygons, jobs, window, margin)


@dataclass(frozen=True, slots=True, eq=False)
class _MappedPart:
    crop_map: CropMap
    statistics: Statistics
    not_applied: Mapping[str, str]
    calibrations: Mapping[str, str]
    seamless: Document | None


def _map_part(
    part: AreaPart, site: Site, stages: Stages, files: Mapping[Task, RemoteFiles]
) -> _MappedPart:
    basis, limits = part.basis, part.basis.region.limits
    budget = plan_memory(part.margin.geobox, site.memory, basis.bands)
    kept: dict[str, NDArray[np.uint8]] = {}
    with ExitStack() as stack:
        with stages.stage("load"):
            model = read_model(basis.model.file, basis.model.sha256)
            extras = make_extras(model, basis.bands, basis.resolution)
            inputs = stack.enter_context(
                open_joined(
                    {job.task.tile: job.sources for job in part.jobs},
                    part.window,
                    part.margin,
                    boundary=part.polygons,
                    limits=limits,
                    files_of={job.task.tile: files[job.task] for job in part.jobs}.__getitem__,
                    neighbors=part.seam.neighbors if part.seam else (),
                )
            )

        def keep(name: str, band: NDArray[np.uint8]) -> None:
            if name in extras.names:
                kept[name] = band

        crop_map, statistics = map_crops(
            inputs.layers,
            model.forest,
            need_both=limits.require_both_halves,
            rows=budget.rows,
            threads=site.threads,
            stages=stages.stage,
            workspace=open_workspace(inputs.layers.shape, on_disk=budget.on_disk),
            inner=inputs.inner,
            sink=keep,
            extras=extras,
            origin=(part.margin.row, part.margin.column),
            colors=part.seam.fitted.colors if part.seam else None,
        )
        inputs.check()
        stages.add_bytes("classify", inputs.pixel_bytes)
    return _MappedPart(
        replace(crop_map, extras=kept),
        statistics,
        inputs.not_applied,
        make_calibrations(basis, model),
        part.seam.describe(inputs.left_out) if part.seam else None,
    )


def _compose(job: AreaJob, maps: Sequence[CropMap]) -> CropMap:
    """The maps of all parts on the grid of the area; nodata where none of them says anything."""
    shape = (job.window.rows, job.window.columns)
    bands = [band.name for band in with_extras(job.bands)]
    arrays = {name: np.full(shape, NODATA, np.uint8) for name in bands}
    for part, crop_map in zip(job.parts, maps, strict=True):
        seen = crop_map.prob != NODATA
        for name in bands:
            target = arrays[name][part.window.seen_from(job.window)]
            np.copyto(target, crop_map.band(name), where=seen)
    extras = {name: arrays.pop(name) for name in job.bands}
    return CropMap(**arrays, extras=extras)


def _add_up(job: AreaJob, crop_map: CropMap, parts: Sequence[Statistics]) -> Statistics:
    """Figures of all parts; outside is what is in the area and in no region."""
    sums = {
        name: round(sum(getattr(part, name) for part in parts), 4)
        for name in parts[0].figures.keys() - parts[0].extras.keys()
        if name not in ("mean_probability", "outside_hectares")
    }
    within = ("mapped", "missing", "protected", "water", "steep", "high")
    outside = job.hectares - sum(sums[f"{name}_hectares"] for name in within)
    return Statistics(
        mean_probability=mean_percent(sum_counts(crop_map.prob)),
        outside_hectares=round(max(outside, 0), 4),
        extras=_add_up_extras(crop_map, parts),
        **sums,
    )


def _add_up_extras(crop_map: CropMap, parts: Sequence[Statistics]) -> dict[str, float | None]:
    """Figures of extra bands: areas are summed, means taken of all pixels."""
    found: dict[str, float | None] = {}
    for name in parts[0].extras:
        if name.endswith("_hectares"):
            found[name] = round(sum(part.extras[name] or 0 for part in parts), 4)
        else:
            band = crop_map.band(name.removeprefix("mean_"))
            found[name] = mean_percent(sum_counts(band))
    return found


def _make_facts(
    job: AreaJob,
    statistics: Statistics,
    not_applied: Mapping[str, str],
    owed: Sequence[Attribution],
    calibrations: Mapping[str, str],
    seamless: Document | None,
) -> AreaFacts:
    geometry, bounds = describe_polygons(job.task.polygons)
    sources = {source.href: source for each in job.jobs for source in make_sources(each)}
    halves = [(each, make_half_years(each)) for each in job.jobs]
    return AreaFacts(
        name=job.task.name,
        digest=job.task.digest,
        geometry=geometry,
        bounds=bounds,
        window=job.window,
        models={part.basis.region.product: make_model_facts(part.basis) for part in job.parts},
        period=job.task.period,
        resolution=job.window.resolution,
        run_key=job.run_key,
        run_key_parts=job.key_parts,
        as_of=max(date_inputs(each) for each in job.jobs),
        software=VERSION,
        sources=tuple(sources.values()),
        statistics=statistics,
        masks_not_applied=not_applied,
        synthetic=job.synthetic,
        attribution=reduce(Attribution.beside, owed),
        bands=job.bands,
        calibrations=calibrations,
        seamless=seamless,
        half_years={each.basis.region.name: found for each, found in halves if found} or None,
    )
