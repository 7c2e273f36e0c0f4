"""One tile's path, from a task to its item: the one path that every command takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cropmask.core.mapper import LAST_BAND, map_crops
from cropmask.errors import OutOfMemory
from cropmask.grid import geobox
from cropmask.machine.limits import find_anonymous_memory, open_workspace, release_heap
from cropmask.machine.meter import Meter, StageUse
from cropmask.modelfile.model import load_forest
from cropmask.pixels.layers import TileLayers, open_layers
from cropmask.pixels.verify import verify_files
from cropmask.product import Recipe
from cropmask.results.dataset import put_dataset, write_band
from cropmask.site.site import Site
from cropmask.store.protocol import Store
from cropmask.task import Task
from cropmask.tile.job import Basis, Job, Progress, find_same, prepare
from cropmask.tile.memory import plan_memory
from cropmask.tile.publish import make_facts, make_product_collection


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
    stages: tuple[StageUse, ...]
    """What each stage took."""


def run_tile(
    task: Task,
    site: Site,
    *,
    recipe: Recipe = "forest",
    overwrite: bool = False,
    progress: Progress = lambda _stage, _share: None,
    check: Callable[[], None] = lambda: None,
    meter: Meter | None = None,
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
        Model of the region to use.
    overwrite
        Whether to replace a result with another run key, which is otherwise refused.
    progress
        Told how far it is.
    check
        Called before the item is written; an exception from it leaves no item.
    meter
        Takes the time of the stages; default one of its own.
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
    meter = meter or Meter()
    watched = metered(meter, site.memory, progress)
    store = site.store()
    job = prepare(task, site, recipe=recipe, progress=watched, basis=basis)
    if not overwrite and (item := find_same(store, job)) is not None:
        return _result(job, store, "SKIPPED", meter, item["properties"]["cropmask:statistics"])
    watched("load", 0.0)
    store.check_writable()
    if site.read.verify:
        verify_files(job.sources.bands, site.read)
    model = job.region.model(recipe)
    forest = load_forest(model.file, model.sha256)
    box = geobox(task.tile, site.resolution)
    budget = plan_memory(box, site.memory)
    with (
        TemporaryDirectory(prefix="cropmask-") as temporary,
        open_layers(
            job.sources, box, boundary=job.boundary, limits=job.region.limits, options=site.read
        ) as layers,
    ):
        folder = Path(temporary)
        put = partial(write_band, folder, job.region.product, task, box)

        def write(name: str, band: NDArray[np.uint8]) -> None:
            # One thread compresses beside the segmentation; the last band has the machine alone.
            put(name, band, threads=site.threads if name == LAST_BAND else 1)

        crop_map, statistics = map_crops(
            layers,
            forest,
            need_both=job.region.limits.require_both_halves,
            rows=budget.rows,
            threads=site.threads,
            progress=counting(watched, meter, layers),
            workspace=open_workspace(layers.shape, on_disk=budget.on_disk),
            sink=write,
            beside=site.threads > 1 and not budget.on_disk,
        )
        watched("write", 0.0)
        published = put_dataset(
            store,
            job.place,
            make_facts(job, statistics, layers.not_applied),
            crop_map,
            make_product_collection(job),
            folder=folder,
            overwrite=overwrite,
            check=check,
        )
        meter.add_bytes(published.bytes)
        progress("write", 1.0)  # what is published is done, whatever memory it took
    return _result(job, store, "SUCCEEDED", meter, asdict(statistics))


def metered(meter: Meter, limit: int | None, progress: Progress) -> Progress:
    """The same progress, which takes the time of stages and watches memory."""

    def watched(stage: str, share: float) -> None:
        meter.enter(stage)
        progress(stage, share)
        if share == 0.0:
            release_heap()
        used = find_anonymous_memory()
        if limit is not None and used > limit:
            raise OutOfMemory(
                f"{used / 1e9:.2f} GB of memory in use while the limit is {limit / 1e9:.2f} GB: "
                "give --memory more, or fewer --threads"
            )

    return watched


def counting(progress: Progress, meter: Meter, layers: TileLayers) -> Progress:
    """The same progress, which counts the bytes that classifying has read."""

    def counted(stage: str, share: float) -> None:
        progress(stage, share)
        if stage == "classify" and share == 1.0:
            meter.add_bytes(layers.stats.pixel_bytes)

    return counted


def _result(
    job: Job,
    store: Store,
    state: Literal["SUCCEEDED", "SKIPPED"],
    meter: Meter,
    statistics: Mapping[str, Any],
) -> TileResult:
    stages = meter.finish()
    label = job.region.product.label(str(job.task.tile), str(job.task.period))
    return TileResult(
        state=state,
        item=store.uri(job.place.item),
        thumbnail=store.uri(job.place.key(f"{label}_thumbnail.png")),
        visual=store.uri(job.place.key(f"{label}_visual.tif")),
        seconds=round(sum(use.wall_seconds for use in stages), 3),
        run_key=str(job.run_key),
        synthetic=job.synthetic,
        statistics=statistics,
        stages=stages,
    )
