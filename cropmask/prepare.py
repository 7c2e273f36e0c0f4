"""A task made ready: everything it names opened and found, nothing computed yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import shapely
from odc.geo.geobox import GeoBox

from cropmask.contract import VERSION
from cropmask.core.cropmap import Statistics
from cropmask.core.features import FEATURES
from cropmask.core.mapper import DEFAULT_ROWS
from cropmask.errors import Misconfigured, Rejected
from cropmask.io.boundary import load_boundary
from cropmask.io.catalogs import Catalog
from cropmask.io.dataset import Place, find_item, make_place
from cropmask.io.fetch import ReadOptions, find_identity
from cropmask.io.search import Identify, Sources, find_sources
from cropmask.io.store import Store
from cropmask.region import Recipe, Region, load_region
from cropmask.runkey import KeyParts, digest_of, find_changes, model_words
from cropmask.site import Site, World
from cropmask.stac import Document, ItemFacts, ModelFacts, Source, degrees_box, make_collection
from cropmask.stac.modelitem import model_href
from cropmask.task import RunKey, Task
from cropmask.tiling import intersects

Progress = Callable[[str, float], None]
"""Told the name of a stage and the share of it that is done, 0 to 1."""

TILE_BYTES: Final = 13
"""Bytes per pixel of the arrays of a whole tile, at most."""
WORKSPACE_BYTES: Final = 4
"""Bytes per pixel of the largest of them, which may be in a file."""
ROW_BYTES: Final = 220
"""Bytes per pixel of the strips that are in memory at the same time."""
BASE_BYTES: Final = 250_000_000
"""Memory of the process before it reads a pixel: libraries, model, caches."""
MIN_ROWS: Final = 16
"""Lowest strips worth computing."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What all tasks of a region share, opened and found."""

    region: Region
    recipe: Recipe
    resolution: int
    world: World
    boundary: shapely.Geometry
    """The region, EPSG:6933."""
    boundary_digest: str

    @property
    def words(self) -> dict[str, str]:
        """Parts of the run key that have words; see :func:`~cropmask.runkey.words_of`."""
        return {
            "model": model_words(self.recipe, self.region.model(self.recipe).sha256),
            "resolution": str(self.resolution),
            "region": self.region.version,
            "code": VERSION,
        }


@dataclass(frozen=True, slots=True)
class Job:
    """A task with everything it names opened and found; nothing is computed yet."""

    task: Task
    basis: Basis
    sources: Sources
    parts: KeyParts
    place: Place

    @property
    def region(self) -> Region:
        """The region."""
        return self.basis.region

    @property
    def recipe(self) -> Recipe:
        """Model of the region."""
        return self.basis.recipe

    @property
    def resolution(self) -> int:
        """Pixel size in meters."""
        return self.basis.resolution

    @property
    def world(self) -> World:
        """Where inputs are."""
        return self.basis.world

    @property
    def boundary(self) -> shapely.Geometry:
        """The region, EPSG:6933."""
        return self.basis.boundary

    @property
    def run_key(self) -> RunKey:
        """Identity of the result."""
        return self.parts.key

    @property
    def synthetic(self) -> bool:
        """Whether any input is made up, and so the result."""
        return self.world.synthetic or self.sources.first.synthetic or self.sources.second.synthetic


def prepare(
    task: Task,
    site: Site,
    *,
    recipe: Recipe = "forest",
    progress: Progress = lambda _stage, _share: None,
    basis: Basis | None = None,
) -> Job:
    """Check a task and find its inputs; nothing is computed or written.

    Parameters
    ----------
    task
        Tile, region and period.
    site
        Where inputs are and results go.
    recipe
        Model of the region to use.
    progress
        Told how far it is.
    basis
        What all tasks of the region share, if it was opened before.

    Raises
    ------
    Rejected
        If the region is unknown, the tile is outside it, or its inputs are not as they must be.
    Misconfigured
        If the site cannot be used.
    Interrupted
        If a server cannot be reached.
    """
    if basis is None:
        basis = open_basis(task.region, site, recipe=recipe, progress=progress)
    progress("search", 0.0)
    job = prepare_on(basis, task, basis.world.catalog, site.read)
    progress("search", 1.0)
    return job


def open_basis(
    region: str,
    site: Site,
    *,
    recipe: Recipe = "forest",
    progress: Progress = lambda _stage, _share: None,
) -> Basis:
    """Open what all tasks of a region share.

    Raises
    ------
    Rejected
        If the region or its model is unknown.
    Misconfigured
        If the site cannot be used.
    """
    found = load_region(region, site.models)
    found.model(recipe)
    world = site.world(found, lambda share: progress("demo world", share))
    boundary = load_boundary(world.boundary)
    digest = digest_of(boundary.wkb_hex)
    return Basis(found, recipe, site.resolution, world, boundary, digest)


def prepare_on(
    basis: Basis,
    task: Task,
    catalog: str | Catalog,
    options: ReadOptions,
    identify: Identify = find_identity,
) -> Job:
    """Check a task of a region and find its inputs; the only place where run keys are made.

    Parameters
    ----------
    basis
        The region, opened.
    task
        The task.
    catalog
        Where to search.
    options
        Credentials and patience.
    identify
        As of :meth:`~cropmask.io.search.Sources.fingerprint`.

    Raises
    ------
    Rejected, Misconfigured, Interrupted
        As :func:`prepare`.
    """
    region, world = basis.region, basis.world
    if not intersects(basis.boundary, task.tile):
        raise Rejected(_outside(task, region, world), reason="outside region")
    sources = find_sources(catalog, task.tile, task.period, world.ancillary, options=options)
    inputs = sources.fingerprint(identify)
    geomad = {name: inputs[name] for name in inputs if name.split("/")[0] in ("first", "second")}
    parts = KeyParts.of(
        model=region.model(basis.recipe).sha256,
        region={"name": region.name, "version": region.version},
        limits=region.limits.model_dump(),
        boundary=basis.boundary_digest,
        resolution=basis.resolution,
        geomad=geomad,
        ancillary={name: inputs[name] for name in inputs if name not in geomad},
        features=FEATURES,
        code=VERSION,
    )
    return Job(task, basis, sources, parts, make_place(region.product, task))


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
    why = " and ".join(map(str, find_changes(item["properties"], job.parts, job.basis.words)))
    raise Rejected(
        f"{store.uri(job.place.item)} is there with {why}: "
        "use --overwrite to replace it, or another version or --output",
        reason="changed",
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """How a run stays below a memory limit."""

    rows: int
    """Rows of a strip."""
    on_disk: bool
    """Whether the largest array of the tile is kept in a temporary file."""


def plan_memory(box: GeoBox, memory: int | None) -> Budget:
    """Rows of strips, and whether to use a file, so that a tile stays below a memory limit.

    Raises
    ------
    Misconfigured
        If even the smallest strips with a file need more.
    """
    if memory is None:
        return Budget(DEFAULT_ROWS, on_disk=False)
    pixels, width = box.shape[0] * box.shape[1], box.shape[1]
    for on_disk in (False, True):
        whole = BASE_BYTES + (TILE_BYTES - WORKSPACE_BYTES * on_disk) * pixels
        rows = (memory - whole) // (ROW_BYTES * width)
        if rows >= MIN_ROWS:
            return Budget(int(min(rows, DEFAULT_ROWS)), on_disk)
    least = (whole + MIN_ROWS * ROW_BYTES * width) / 1e9
    raise Misconfigured(
        f"{memory / 1e9:.1f} GB of memory is too little for {box.shape[0]} x {width} pixels: "
        f"give --memory {least + 0.05:.1f}GB or more, or a coarser --resolution",
        reason="too little memory",
    )


def make_facts(job: Job, statistics: Statistics, not_applied: Mapping[str, str]) -> ItemFacts:
    """What the item of a job says."""
    geomads = (job.sources.first, job.sources.second)
    end = f"{job.task.period.end}T23:59:59Z"
    sha256 = job.region.model(job.recipe).sha256
    return ItemFacts(
        product=job.region.product,
        tile=job.task.tile,
        period=job.task.period,
        resolution=job.resolution,
        run_key=job.run_key,
        run_key_parts=job.parts.short,
        as_of=max((geomad.created or end for geomad in geomads), default=end),
        software=VERSION,
        model=ModelFacts(job.recipe, sha256, model_href(job.region.name, job.recipe, sha256)),
        sources=tuple(Source(geomad.item_id, geomad.href, geomad.title) for geomad in geomads),
        statistics=statistics,
        masks_not_applied=not_applied,
        synthetic=job.synthetic,
    )


def make_product_collection(job: Job) -> Document:
    """Collection of a job's product, over all of its region."""
    return make_collection(
        job.region.title,
        job.region.product,
        degrees_box(*job.boundary.bounds),
        resolutions=(job.resolution,),
        synthetic=job.synthetic,
    )
