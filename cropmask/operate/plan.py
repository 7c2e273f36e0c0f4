"""Makes a plan: every tile of a region against what is there, by run key.

Searching is that of one tile; what many tiles share is looked at once: the store is listed, a
static catalog walked, layers beside GeoMAD identified.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache

import shapely

from cropmask.errors import Reason, Rejected, write_command
from cropmask.grid import GridWindow, Tile, intersects, tiles_within
from cropmask.machine.stages import Progress, Stages, tell_nobody
from cropmask.operate.estimate import estimate
from cropmask.operate.planfile import Need, Plan, TilePlan
from cropmask.product import Product, Recipe, format_bands
from cropmask.region.region import Region, StacLayer, is_region_file
from cropmask.remote.fetch import find_identity
from cropmask.remote.limits import EndlessSearch
from cropmask.remote.threads import map_threads
from cropmask.results.finder import find_item, make_place
from cropmask.site.commands import absolute
from cropmask.site.site import Site
from cropmask.sources.bands import GEOMAD
from cropmask.sources.catalogs import Catalog, open_catalog
from cropmask.sources.gather import Wanted, gather
from cropmask.store.protocol import Store
from cropmask.task import Period, Task, choose_product
from cropmask.tile.job import Basis, Job, open_basis, prepare_on
from cropmask.tile.runkey import Change, ChangeCause, list_changes
from cropmask.tile.seam import grow, require_colors
from cropmask.tile.series import SeriesJob, prepare_series, require_series


def make_plan(
    region: str,
    period: Period,
    site: Site,
    *,
    now: datetime,
    recipe: Recipe = "forest",
    only: Collection[Tile] | None = None,
    area: shapely.Geometry | None = None,
    progress: Progress = tell_nobody,
) -> Plan:
    """Compare what is asked for with what is there; nothing is written.

    ``only`` are some tiles of the region, ``area`` polygons in EPSG:6933 that they reach as well.
    Raises Rejected if the region is unknown, a tile is not in it, or none is in the area;
    Misconfigured and Interrupted if the site cannot be used, or a server cannot be reached.
    """
    region = absolute(region) if is_region_file(region) else region
    basis = open_basis(region, site, recipe=recipe, stages=Stages(progress))
    every = tiles_within(basis.boundary)
    tiles = every if only is None else _chosen(only, every, basis.region)
    if area is not None:
        tiles = tuple(tile for tile in tiles if intersects(area, tile))
    if not tiles:
        raise Rejected(f"no tile of region {region} is in the area given", reason=Reason.NO_TILES)
    is_whole = only is None and area is None
    store = site.store()
    progress("search", 0.0)
    kind = _SeriesSearch if period.is_series else _Search
    search = kind(basis, region, period, site, store, tiles)
    planned = search.run(progress)
    if is_whole:
        planned += [TilePlan(tile, Need.ORPHAN) for tile in search.there - set(every)]
    work = sum(tile.need in (Need.NEW, Need.CHANGED) for tile in planned)
    return Plan(
        region=region,
        name=basis.region.name,
        version=basis.region.version,
        period=period,
        recipe=recipe,
        resolution=site.resolution,
        environment=site.environment,
        catalog=site.catalog and absolute(site.catalog),
        output=absolute(site.output),
        whole_region=is_whole,
        made=now.isoformat(timespec="seconds"),
        tiles=tuple(sorted(planned, key=lambda planned: planned.tile)),
        estimate=estimate(store, search.product.name, recipe, site.resolution, work),
        strict_inputs=site.read.strict,
        bands=format_bands(site.bands) if site.bands and not period.is_series else None,
        seamless=site.seamless and not period.is_series,
    )


def _chosen(only: Collection[Tile], every: Sequence[Tile], region: Region) -> tuple[Tile, ...]:
    outside = sorted(set(only) - set(every))
    if outside:
        names = ", ".join(map(str, outside[:5])) + (" ..." if len(outside) > 5 else "")
        listing = write_command("tiles", "--region", region.argument)
        raise Rejected(
            f"not in region {region.name}: {names}; '{listing}' lists its tiles",
            reason=Reason.OUTSIDE_REGION,
        )
    return tuple(sorted(set(only)))


def find_results(store: Store, product: Product, period: Period) -> set[Tile]:
    """Tiles of a product and period that have an item, from one listing."""
    suffix = product.item_name("x000y000", str(period)).partition("x000y000")[2]
    found = set()
    for entry in store.list(f"{product.folder}/"):
        if entry.key.endswith(suffix):
            try:
                tile = Tile.parse(entry.key.removesuffix(suffix)[-len("x000y000") :])
            except Rejected:
                continue
            if entry.key == make_place(product, Task(tile, product.region, period)).item:
                found.add(tile)
    return found


class _Search:
    """What the tiles of one plan share."""

    def __init__(
        self,
        basis: Basis,
        region: str,
        period: Period,
        site: Site,
        store: Store,
        tiles: Sequence[Tile],
    ) -> None:
        self.basis = basis
        self.region = region
        self.period = period
        self.store = store
        self.tiles = tiles
        self.options = site.read
        self.product = choose_product(basis.region.product, period)
        self.there = find_results(store, self.product, period)
        self._open(site)

    def _open(self, site: Site) -> None:
        """Open what all tiles need."""
        self.identify = cache(find_identity)
        self.fitted = require_colors(site, self.basis.region, self.period)
        self.catalog = self._gather()

    def _gather(self) -> Catalog:
        ancillary = self.basis.inputs.ancillary
        layers = [getattr(ancillary, name) for name in type(ancillary).model_fields]
        wanted: set[Wanted] = {
            (layer.collection, self.period.calendar_year if layer.dated else None)
            for layer in layers
            if isinstance(layer, StacLayer)
        }
        catalog = open_catalog(self.basis.inputs.catalog, self.options)
        return gather(catalog, {(GEOMAD, self.period), *wanted}, self._searched)

    @property
    def _searched(self) -> Sequence[Tile]:
        """The tiles, and those around them whose pixels they need."""
        if self.fitted is None:
            return self.tiles
        resolution = self.basis.resolution
        margins = (grow(GridWindow.of_tile(tile, resolution)).tiles for tile in self.tiles)
        return sorted({tile for tiles in margins for tile in tiles})

    def run(self, progress: Progress) -> list[TilePlan]:
        """Every tile, a few at a time."""
        return map_threads(
            self.plan, self.tiles, lambda done, every: progress("search", done / every)
        )

    def _prepare(self, task: Task) -> Job | SeriesJob:
        """What a tile is made of."""
        return prepare_on(
            self.basis,
            task,
            self.catalog,
            self.options,
            self.identify,
            fitted=self.fitted,
            identify_neighbor=self.identify,
        )

    def plan(self, tile: Tile) -> TilePlan:
        """One tile."""
        task = Task(tile, self.region, self.period)
        try:
            job = self._prepare(task)
        except EndlessSearch:  # so it is for every tile
            raise
        except Rejected as error:
            need = Need.NO_INPUT if error.reason is Reason.MISSING_GEOMAD else Need.INVALID
            return TilePlan(tile, need, reason=error.reason, detail=str(error))
        key = str(job.run_key)
        planned = TilePlan(tile, Need.NEW, key)
        if tile not in self.there:
            return planned
        try:
            item = find_item(self.store, job.place)
        except Rejected as error:
            change = (Change(ChangeCause.OTHER, "item"),)
            return replace(planned, need=Need.CHANGED, changes=change, detail=str(error))
        if item is None:  # removed since it was listed
            return planned
        changes = list_changes(item.properties, job.parts, job.words)
        return replace(planned, need=Need.CHANGED if changes else Need.UNCHANGED, changes=changes)


class _SeriesSearch(_Search):
    """The same of a series: its inputs are results of years."""

    def _open(self, site: Site) -> None:
        self.series = require_series(site, self.basis.region, self.period)

    def _prepare(self, task: Task) -> Job | SeriesJob:
        return prepare_series(task, self.basis, self.series, self.store)
