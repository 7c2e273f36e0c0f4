"""One tile's path, from a task to its item: the one path that every command takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cropmask.core.mapper import LAST_BAND, map_crops
from cropmask.grid import GridWindow, geobox
from cropmask.machine.limits import open_workspace
from cropmask.machine.stages import Stages, StageUse
from cropmask.modelfile.model import read_model
from cropmask.pixels.verify import verify_files
from cropmask.product import Recipe
from cropmask.remote.fetch import ReadOptions
from cropmask.remote.ranges import RemoteFiles
from cropmask.results.finder import Place, key_beside
from cropmask.results.publish import put_dataset, write_band
from cropmask.site.site import Site
from cropmask.sources.attribution import find_attribution
from cropmask.stac.facts import ASSET_SUFFIXES
from cropmask.store.protocol import Store
from cropmask.task import RunKey, Task
from cropmask.tile.extras import make_extras
from cropmask.tile.itemfacts import make_facts, make_product_collection
from cropmask.tile.job import Basis, find_same, prepare
from cropmask.tile.memory import open_stages, plan_memory
from cropmask.tile.seam import open_joined

if TYPE_CHECKING:
    import xarray as xr


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
    """As in the item: :class:`~cropmask.core.cropmap.Statistics` by name, and those of extra
    bands."""
    stages: tuple[StageUse, ...]
    """What each stage took."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Recipe of the model by region."""

    def open(self, *bands: str, options: ReadOptions | None = None) -> xr.Dataset:
        """The bands in memory; see :func:`~cropmask.tile.open.open_result`.

        Parameters
        ----------
        *bands
            Names of bands; default the three published ones.
        options
            How results are read where they lie in a bucket, such as ``site.read``.

        Returns
        -------
        xarray.Dataset
            Variables uint8 ``(y, x)``, nodata 255; ``.odc.geobox`` is the tile's grid.
        """
        from cropmask.tile.open import open_result

        return open_result(self.item, bands, options)


def run_tile(
    task: Task,
    site: Site,
    *,
    recipe: Recipe | Path = "forest",
    overwrite: bool = False,
    stages: Stages | None = None,
    check: Callable[[], None] = lambda: None,
    basis: Basis | None = None,
) -> TileResult:
    """Map one tile and publish the result.

    Parameters
    ----------
    task
        Tile, region and period.
    site
        Where inputs are and results go.
    recipe
        Model of the region to use, or a model file of one's own.
    overwrite
        Whether to replace a result with another run key, which is otherwise refused.
    stages
        Told how far it is, and measured; default ones that look at the site's memory limit.
    check
        Called before the item is written; an exception from it leaves no item.
    basis
        What all tasks of the region share, if it was opened before.

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
    stages = stages or open_stages(site.memory)
    with RemoteFiles() as files:
        return _run(task, site, recipe, overwrite, stages, check, basis, files)


def _run(
    task: Task,
    site: Site,
    recipe: Recipe | Path,
    overwrite: bool,
    stages: Stages,
    check: Callable[[], None],
    basis: Basis | None,
    files: RemoteFiles,
) -> TileResult:
    """The work of :func:`run_tile`, whose remote files are open from their identity on."""
    store = site.store()
    job = prepare(task, site, recipe=recipe, stages=stages, basis=basis, identify=files.identify)
    if not overwrite and (item := find_same(store, job)) is not None:
        return make_result(job, store, "SKIPPED", stages, item.statistics)
    box = geobox(task.tile, site.resolution)
    window = GridWindow.of_tile(task.tile, site.resolution)
    margin = job.seam.margin if job.seam else window
    budget = plan_memory(margin.geobox, site.memory, job.basis.bands)
    with stages.stage("load"):
        store.check_writable()
        verify_files(job.sources.bands, job.sources.options)
        region = job.basis.region
        model = read_model(job.basis.model.file, job.basis.model.sha256)
        extras = make_extras(model, job.basis.bands, job.basis.resolution)
        attribution = region.attribution.over(find_attribution(job.sources))
    with (
        TemporaryDirectory(prefix="cropmask-") as temporary,
        open_joined(
            {task.tile: job.sources},
            window,
            margin,
            boundary=job.basis.boundary,
            limits=region.limits,
            files_of=lambda _tile: files,
            neighbors=job.seam.neighbors if job.seam else (),
        ) as inputs,
    ):
        folder = Path(temporary)
        put = partial(write_band, folder, region.product, task, box)

        def write(name: str, band: NDArray[np.uint8]) -> None:
            # One thread compresses beside the segmentation; the last band has the machine alone.
            threads = site.threads if name == LAST_BAND else 1
            put(name, band, credit=attribution.line, threads=threads)

        crop_map, statistics = map_crops(
            inputs.layers,
            model.forest,
            need_both=region.limits.require_both_halves,
            rows=budget.rows,
            threads=site.threads,
            stages=stages.stage,
            workspace=open_workspace(inputs.layers.shape, on_disk=budget.on_disk),
            sink=write,
            beside=site.threads > 1 and not budget.on_disk,
            inner=inputs.inner,
            extras=extras,
            origin=(margin.row, margin.column),
            colors=job.seam.fitted.colors if job.seam else None,
        )
        stages.add_bytes("classify", inputs.pixel_bytes)
        with stages.stage("write"):
            inputs.check()
            seamless = job.seam.describe(inputs.left_out) if job.seam else None
            facts = make_facts(job, model, statistics, inputs.not_applied, attribution, seamless)
            collection = make_product_collection(
                job.basis, region.product, attribution, synthetic=job.synthetic
            )
            published = put_dataset(
                store,
                job.place,
                facts,
                crop_map,
                collection,
                folder=folder,
                overwrite=overwrite,
                check=check,
            )
        stages.add_bytes("write", published.bytes)
    return make_result(job, store, "SUCCEEDED", stages, statistics.figures)


class _Mapped(Protocol):
    """What was mapped: a tile's job, or that of an area."""

    @property
    def place(self) -> Place: ...
    @property
    def run_key(self) -> RunKey: ...
    @property
    def synthetic(self) -> bool: ...
    @property
    def models(self) -> Mapping[str, str]: ...


def make_result(
    job: _Mapped,
    store: Store,
    state: Literal["SUCCEEDED", "SKIPPED"],
    stages: Stages,
    statistics: Mapping[str, Any],
) -> TileResult:
    """What became of a job, and what it took: ends the last of its stages."""
    uses = stages.finish()
    return TileResult(
        state=state,
        item=store.uri(job.place.item),
        thumbnail=store.uri(key_beside(job.place.item, ASSET_SUFFIXES["thumbnail"])),
        visual=store.uri(key_beside(job.place.item, ASSET_SUFFIXES["visual"])),
        seconds=round(sum(use.wall_seconds for use in uses), 3),
        run_key=str(job.run_key),
        synthetic=job.synthetic,
        statistics=statistics,
        stages=uses,
        models=job.models,
    )
