"""One tile's path, from a task to its item: the one path that every command takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cropmask.core.cropmap import Statistics
from cropmask.core.mapper import map_crops
from cropmask.errors import OutOfMemory
from cropmask.grid import geobox
from cropmask.io.dataset import put_dataset
from cropmask.io.layers import open_layers
from cropmask.io.machine import find_anonymous_memory
from cropmask.io.models import load_forest
from cropmask.io.store import Store
from cropmask.prepare import (
    Job,
    Progress,
    find_same,
    make_facts,
    make_product_collection,
    prepare,
    strip_rows,
)
from cropmask.region import Recipe
from cropmask.site import Site
from cropmask.task import Task


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
