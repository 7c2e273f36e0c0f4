"""One tile's path, from a task to its item: the one path that every command takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import shapely
from odc.geo.geobox import GeoBox

from cropmask.contract import VERSION
from cropmask.core.cropmap import Statistics
from cropmask.core.features import FEATURES
from cropmask.core.mapper import DEFAULT_ROWS, map_crops
from cropmask.errors import Misconfigured, OutOfMemory, Rejected
from cropmask.grid import EPSG, geobox
from cropmask.io.boundary import load_boundary
from cropmask.io.dataset import Place, find_item, make_place, put_dataset
from cropmask.io.layers import open_layers
from cropmask.io.machine import find_anonymous_memory
from cropmask.io.models import load_forest
from cropmask.io.search import Sources, find_sources
from cropmask.io.store import Store
from cropmask.region import Recipe, Region, load_region
from cropmask.site import Site, World
from cropmask.stac import Document, ItemFacts, ModelFacts, Source, make_collection
from cropmask.task import RunKey, Task
from cropmask.tiling import intersects

Progress = Callable[[str, float], None]
"""Told the name of a stage and the share of it that is done, 0 to 1."""

TILE_BYTES: Final = 17
"""Bytes per pixel of the arrays of a whole tile, at most."""
ROW_BYTES: Final = 220
"""Bytes per pixel of the strips that are in memory at the same time."""
BASE_BYTES: Final = 450_000_000
"""Memory of the process before it reads a pixel: libraries, model, caches."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A task with everything it names opened and found; nothing is computed yet."""

    task: Task
    region: Region
    recipe: Recipe
    resolution: int
    world: World
    boundary: shapely.Geometry
    """The region, EPSG:6933."""
    sources: Sources
    run_key: RunKey
    place: Place


@dataclass(frozen=True, slots=True)
class TileResult:
    """What became of a task."""

    state: Literal["SUCCEEDED", "SKIPPED"]
    item: str
    """Address of the item."""
    thumbnail: str
    visual: str
    seconds: float
    run_key: str
    synthetic: bool
    statistics: Mapping[str, Any]
    """As in the item: :class:`~cropmask.core.cropmap.Statistics` by name."""


def run_tile(
    task: Task,
    site: Site,
    *,
    recipe: Recipe = "forest",
    overwrite: bool = False,
    progress: Progress = lambda _stage, _share: None,
) -> TileResult:
    """Map one tile and publish the result.

    Parameters
    ----------
    task
        Tile, region and period.
    site
        Where inputs are and results go.
    recipe
        Model of the region to use.
    overwrite
        Whether to replace a result with another run key, which is otherwise refused.
    progress
        Told how far it is.

    Returns
    -------
    TileResult
        SKIPPED if the same result is there already.

    Raises
    ------
    Rejected
        If the task is wrong, or another result is in its place.
    Misconfigured
        If the site cannot be used.
    Interrupted
        If reading or writing fails.
    """
    began = time.monotonic()
    store = site.store()
    job = prepare(task, site, recipe=recipe, progress=progress)
    if not overwrite and (item := find_same(store, job)) is not None:
        return _result(job, store, "SKIPPED", began, item["properties"]["cropmask:statistics"])
    store.check_writable()
    forest = load_forest(job.region.model(recipe).file, job.region.model(recipe).sha256)
    box = geobox(task.tile, site.resolution)
    watched = watch_memory(site.memory, progress)
    with open_layers(
        job.sources, box, boundary=job.boundary, limits=job.region.limits, options=site.read
    ) as layers:
        crop_map, statistics = map_crops(
            layers,
            forest,
            need_both=job.region.limits.require_both_halves,
            rows=strip_rows(box, site.memory),
            threads=site.threads,
            progress=watched,
        )
        facts = make_facts(job, statistics, layers.not_applied)
    watched("write", 0.0)
    collection = make_product_collection(job)
    put_dataset(
        store, job.place, facts, crop_map, collection, overwrite=overwrite, threads=site.threads
    )
    watched("write", 1.0)
    figures = {name: getattr(statistics, name) for name in Statistics.__slots__}
    return _result(job, store, "SUCCEEDED", began, figures)


def prepare(
    task: Task,
    site: Site,
    *,
    recipe: Recipe = "forest",
    progress: Progress = lambda _stage, _share: None,
) -> Job:
    """Check a task and find its inputs; nothing is computed or written.

    Raises
    ------
    Rejected
        If the region is unknown, the tile is outside it, or its inputs are not as they must be.
    Misconfigured
        If the site cannot be used.
    Interrupted
        If a server cannot be reached.
    """
    region = load_region(task.region, site.models)
    model = region.model(recipe)
    world = site.world(region, lambda share: progress("demo world", share))
    boundary = load_boundary(world.boundary)
    if not intersects(boundary, task.tile):
        raise Rejected(_outside(task, region, world), reason="outside region")
    progress("search", 0.0)
    sources = find_sources(
        world.catalog, task.tile, task.period, world.ancillary, options=site.read
    )
    key = RunKey.of(
        model=model.sha256,
        features=FEATURES,
        region={"name": region.name, "version": region.version},
        limits=region.limits.model_dump(),
        boundary=boundary.wkb_hex,
        resolution=site.resolution,
        inputs=sources.fingerprint(),
        code=VERSION,
    )
    progress("search", 1.0)
    place = make_place(region.product, task)
    return Job(task, region, recipe, site.resolution, world, boundary, sources, key, place)


def _outside(task: Task, region: Region, world: World) -> str:
    if world.synthetic:
        return (
            f"tile {task.tile} is outside the made-up demo world, which has x010y020 only: "
            "use --tile x10y20, or --env prod or --catalog for real data"
        )
    return (
        f"tile {task.tile} is outside region {region.name}: "
        f"'cropmask tiles --region {task.region}' lists its tiles"
    )


def find_same(store: Store, job: Job) -> Document | None:
    """Item of the same run key, if the task is done already.

    Raises
    ------
    Rejected
        If a result with another run key is in its place.
    """
    item = find_item(store, job.place)
    if item is None or item["properties"]["cropmask:run_key"] == str(job.run_key):
        return item
    raise Rejected(
        f"{store.uri(job.place.item)} is there with {_difference(item, job)}: "
        "use --overwrite to replace it, or another version or --output",
        reason="changed",
    )


def _difference(item: Document, job: Job) -> str:
    known = item["properties"]
    pairs = {
        "resolution": (known.get("cropmask:resolution"), job.resolution),
        "model": (known.get("cropmask:model", {}).get("recipe"), job.recipe),
        "model file": (
            str(known.get("cropmask:model", {}).get("sha256"))[:12],
            job.region.model(job.recipe).sha256[:12],
        ),
        "software": (known.get("processing:version"), VERSION),
    }
    for name, (old, new) in pairs.items():
        if old != new:
            return f"another {name} ({old}, now {new})"
    return "other inputs or limits"


def strip_rows(box: GeoBox, memory: int | None) -> int:
    """Rows of a strip so that a tile stays below a memory limit.

    Raises
    ------
    Misconfigured
        If even the smallest strips need more.
    """
    if memory is None:
        return DEFAULT_ROWS
    whole = BASE_BYTES + TILE_BYTES * box.shape[0] * box.shape[1]
    rows = (memory - whole) // (ROW_BYTES * box.shape[1])
    if rows < 8:
        least = (whole + 8 * ROW_BYTES * box.shape[1]) / 1e9
        raise Misconfigured(
            f"{memory / 1e9:.1f} GB of memory is too little for {box.shape[0]} x {box.shape[1]} "
            f"pixels: give --memory {least:.1f}GB or more, or a coarser --resolution",
            reason="too little memory",
        )
    return int(min(rows, DEFAULT_ROWS))


def watch_memory(limit: int | None, progress: Progress) -> Progress:
    """The same progress, which ends the attempt when memory is over a limit."""

    def watched(stage: str, share: float) -> None:
        progress(stage, share)
        used = find_anonymous_memory()
        if limit is not None and used > limit:
            raise OutOfMemory(
                f"{used / 1e9:.2f} GB of memory in use while the limit is {limit / 1e9:.2f} GB: "
                "give --memory more, or fewer --threads"
            )

    return watched


def make_facts(job: Job, statistics: Statistics, not_applied: Mapping[str, str]) -> ItemFacts:
    """What the item of a job says."""
    geomads = (job.sources.first, job.sources.second)
    end = f"{job.task.period.end}T23:59:59Z"
    return ItemFacts(
        product=job.region.product,
        tile=job.task.tile,
        period=job.task.period,
        resolution=job.resolution,
        run_key=job.run_key,
        as_of=max((geomad.created or end for geomad in geomads), default=end),
        software=VERSION,
        model=ModelFacts(job.recipe, job.region.model(job.recipe).sha256),
        sources=tuple(Source(geomad.item_id, geomad.href, geomad.title) for geomad in geomads),
        statistics=statistics,
        masks_not_applied=not_applied,
        synthetic=job.world.synthetic,
    )


def make_product_collection(job: Job) -> Document:
    """Collection of a job's product, over all of its region."""
    import pyproj

    lonlat = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True)
    left, bottom, right, top = job.boundary.bounds
    west, south = lonlat.transform(left, bottom)
    east, north = lonlat.transform(right, top)
    bounds = (round(west, 6), round(south, 6), round(east, 6), round(north, 6))
    return make_collection(
        job.region.title,
        job.region.product,
        bounds,
        resolutions=(job.resolution,),
        synthetic=job.world.synthetic,
    )


def _result(
    job: Job,
    store: Store,
    state: Literal["SUCCEEDED", "SKIPPED"],
    began: float,
    statistics: Mapping[str, Any],
) -> TileResult:
    label = job.region.product.label(str(job.task.tile), str(job.task.period))
    return TileResult(
        state=state,
        item=store.uri(job.place.item),
        thumbnail=store.uri(job.place.key(f"{label}_thumbnail.png")),
        visual=store.uri(job.place.key(f"{label}_visual.tif")),
        seconds=round(time.monotonic() - began, 3),
        run_key=str(job.run_key),
        synthetic=job.world.synthetic,
        statistics=statistics,
    )
