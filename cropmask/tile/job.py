"""A task made ready: everything it names opened and found, nothing computed yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import shapely

from cropmask.contract import VERSION
from cropmask.core.features import FEATURES
from cropmask.errors import Reason, Rejected, write_command
from cropmask.grid import GridWindow, intersects
from cropmask.machine.stages import Stages
from cropmask.modelfile.model import read_model
from cropmask.product import CELL_METERS, DISSIMILARITY, Recipe
from cropmask.region.region import ModelRef, Region
from cropmask.remote.fetch import ReadOptions, find_identity
from cropmask.results.colorfile import FittedColors
from cropmask.results.finder import Place, find_item, make_place
from cropmask.site.site import Inputs, Site
from cropmask.sources.boundary import load_boundary, load_outline
from cropmask.sources.catalogs import Catalog
from cropmask.sources.search import Identify, Sources, find_sources
from cropmask.stac.item import ResultItem
from cropmask.store.protocol import Store
from cropmask.task import RunKey, Task
from cropmask.tile.extras import check_extras
from cropmask.tile.runkey import (
    OWN_COLORS,
    KeyParts,
    RunKeyParts,
    bands_words,
    colors_words,
    digest_json,
    list_changes,
    model_words,
)
from cropmask.tile.seam import Seam, find_seam, require_colors


@dataclass(frozen=True, slots=True)
class Basis:
    """What all tasks of a region share, opened and found."""

    region: Region
    recipe: Recipe
    model: ModelRef
    resolution: int
    bands: tuple[str, ...]
    """Names of extra bands."""
    inputs: Inputs
    boundary: shapely.Geometry
    """The region, EPSG:6933."""
    boundary_digest: str

    @property
    def words(self) -> dict[str, str]:
        """Parts of the run key that have words; see :func:`~cropmask.tile.runkey.item_words`."""
        return {
            "model": model_words(self.recipe, self.model.sha256),
            "resolution": str(self.resolution),
            "bands": bands_words(self.bands) or "",
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
    seam: Seam | None = None
    """What it shares with its neighbors; None for a tile by itself."""

    @property
    def words(self) -> dict[str, str]:
        """Parts of the run key that have words; see :func:`~cropmask.tile.runkey.item_words`."""
        colors = colors_words(self.seam.fitted.digest) if self.seam else None
        return {**self.basis.words, "colors": colors or OWN_COLORS}

    @property
    def run_key(self) -> RunKey:
        """Identity of the result."""
        return self.parts.key

    @property
    def models(self) -> dict[str, str]:
        """Recipe of the model by region."""
        return {self.basis.region.name: self.basis.recipe}

    @property
    def synthetic(self) -> bool:
        """Whether any input is made up, and so the result."""
        halves = (self.sources.first, self.sources.second)
        return self.basis.inputs.synthetic or any(half.synthetic for half in halves)


def prepare(
    task: Task,
    site: Site,
    *,
    recipe: Recipe | Path = "forest",
    stages: Stages | None = None,
    basis: Basis | None = None,
    identify: Identify = find_identity,
) -> Job:
    """Check a task and find its inputs; nothing is computed or written.

    Parameters are those of :func:`~cropmask.tile.run.run_tile`; ``identify`` tells the contents of
    files apart.

    Raises Rejected if the region is unknown, the tile is outside it, or its inputs are not as they
    must be; Misconfigured if the site cannot be used; Interrupted if a server cannot be reached.
    """
    stages = stages or Stages()
    if basis is None:
        basis = open_basis(task.region, site, recipe=recipe, stages=stages)
    with stages.stage("search"):
        fitted = require_colors(site, basis.region, task.period)
        catalog = basis.inputs.catalog
        return prepare_on(basis, task, catalog, site.read, identify, fitted=fitted)


def open_basis(
    region: str,
    site: Site,
    *,
    recipe: Recipe | Path = "forest",
    stages: Stages | None = None,
) -> Basis:
    """Open what all tasks of a region share.

    Raises Rejected if the region or its model is unknown; Misconfigured if the site cannot be used.
    """
    found = site.region(region)
    model = choose_model(found, recipe, site.bands)
    return make_basis(found, model, *open_boundary(found, site, stages or Stages()), site)


ChosenModel = tuple[Recipe, ModelRef]
"""Recipe of a model, and its file."""


def choose_model(region: Region, recipe: Recipe | Path, bands: Sequence[str]) -> ChosenModel:
    """Model of a region; a model file that no region names is tied to what it holds now.

    Raises Rejected if the model has not what some extra ``bands`` need.
    """
    if isinstance(recipe, Path):
        model = read_model(recipe)
        check_extras(model, bands)
        return model.manifest.recipe, ModelRef(file=recipe, sha256=model.forest.digest)
    reference = region.model(recipe)
    if DISSIMILARITY.name in bands:  # so that no task of many has to find it out
        check_extras(read_model(reference.file, reference.sha256), bands)
    return recipe, reference


def open_boundary(region: Region, site: Site, stages: Stages) -> tuple[Inputs, shapely.Geometry]:
    """Inputs of a region, and its boundary in EPSG:6933."""
    # A stage only where there is something to make: nothing is told of a world that is there.
    inputs = site.inputs(region, partial(stages.tell, "demo world"))
    return inputs, load_boundary(inputs.boundary, site.read.limits)


def make_basis(
    region: Region,
    model: ChosenModel,
    inputs: Inputs,
    boundary: shapely.Geometry,
    site: Site,
) -> Basis:
    """What all tasks of a region share, of parts that are open."""
    digest = digest_json(load_outline(inputs.boundary, site.read.limits))
    return Basis(region, *model, site.resolution, site.bands, inputs, boundary, digest)


def prepare_on(
    basis: Basis,
    task: Task,
    catalog: str | Catalog,
    options: ReadOptions,
    identify: Identify = find_identity,
    *,
    fitted: FittedColors | None = None,
    identify_neighbor: Identify = find_identity,
) -> Job:
    """Check a task of a region and find its inputs; the only place where run keys are made.

    With colors that were ``fitted`` for the tiles of the region, the inputs of its neighbors as
    well.

    Raises Rejected if the tile is outside the region, or its inputs are not as they must be.
    """
    require_inside(basis, task)
    region = basis.region
    sources = find_sources(
        catalog,
        task.tile,
        task.period,
        basis.inputs.ancillary,
        order=region.half_years,
        options=options,
    )
    inputs = sources.fingerprint(identify)
    geomad = {name: inputs[name] for name in inputs if name.split("/")[0] in ("first", "second")}
    seam, seam_parts = None, {}
    if fitted is not None:
        seam = find_seam(
            fitted,
            GridWindow.of_tile(task.tile, basis.resolution),
            (task.tile,),
            task.period,
            basis.inputs.ancillary,
            catalog,
            options,
            identify_neighbor,
            order=region.half_years,
        )
        seam_parts = seam.key_parts
    bands = {"bands": list(basis.bands), "cell": CELL_METERS}
    parts = KeyParts.of(
        model=basis.model.sha256,
        region={"name": region.name, "version": region.version},
        limits=region.limits.model_dump(),
        boundary=basis.boundary_digest,
        resolution=basis.resolution,
        geomad=geomad,
        ancillary={name: inputs[name] for name in inputs if name not in geomad},
        features=FEATURES,
        code=VERSION,
        **({"bands": bands} if basis.bands else {}),
        **seam_parts,
    )
    return Job(task, basis, sources, parts, make_place(region.product, task), seam)


def require_inside(basis: Basis, task: Task) -> None:
    """Raise Rejected if a tile is not the region's."""
    if not intersects(basis.boundary, task.tile):
        raise Rejected(_outside(task, basis.region, basis.inputs), reason=Reason.OUTSIDE_REGION)


def _outside(task: Task, region: Region, inputs: Inputs) -> str:
    """What is said of a tile that is not the region's."""
    if inputs.synthetic:
        return (
            f"tile {task.tile} is outside the made-up demo world, which has x010y020 only: "
            "use --tile x10y20, or --env prod or --catalog for real data"
        )
    return (
        f"tile {task.tile} is outside region {region.name}: "
        f"'{write_command('tiles', '--region', region.argument)}' lists its tiles"
    )


class _Keyed(Protocol):
    """What is to be made: a map's job, or that of a series."""

    @property
    def place(self) -> Place: ...
    @property
    def parts(self) -> RunKeyParts: ...
    @property
    def words(self) -> Mapping[str, str]: ...


def find_same(store: Store, job: _Keyed) -> ResultItem | None:
    """Item of the same run key, if the task is done already.

    Raises Rejected if a result with another run key is in its place.
    """
    item = find_item(store, job.place)
    if item is None:
        return None
    changes = list_changes(item.properties, job.parts, job.words)
    if not changes:
        return item
    why = " and ".join(map(str, changes))
    raise Rejected(
        f"{store.uri(job.place.item)} is there with {why}: "
        "use --overwrite to replace it, or another version or --output",
        reason=Reason.CHANGED,
    )
